package auth

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kantarainitiative/footfall/policy"
)

const cookieName = "footfall_session"

type identityKey struct{}

// From returns who the request is from. Behind [Guard.Require] there always is somebody.
func From(r *http.Request) (Identity, bool) { return Of(r.Context()) }

// Of is From for what has only the request's context.
func Of(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// User is the name of who is signed in; "" for a token or somebody who came by a link.
func (g *Guard) User(r *http.Request) string {
	if id, _ := From(r); !id.Token {
		return id.Name
	}
	return ""
}

// Allowed reports whether who asks may see the site.
func (g *Guard) Allowed(r *http.Request, site string) bool {
	id, ok := From(r)
	return ok && id.MaySee(site)
}

// With returns a context in which [From] finds id.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// Options are a Guard's parts.
type Options struct {
	Files *Files
	Now   func() time.Time
	Log   *slog.Logger
	// Trusted are the proxies whose X-Forwarded-For is believed; nil: none are.
	Trusted func() []netip.Prefix
	// LoginPage writes the login page. The status is already decided.
	LoginPage func(w http.ResponseWriter, r *http.Request, status int, v LoginView)
	// RefusedPage tells a person that their role is not enough. nil: in plain text.
	RefusedPage func(w http.ResponseWriter, r *http.Request)
	// OIDC is the OpenID provider now configured; nil, or a nil answer: there is none.
	OIDC func() *OIDC
	// Proxy is the login by a reverse proxy's header; nil, or a nil answer: there is none.
	Proxy func() *ProxyLogin
	// Note writes to the audit log; nil: nothing is noted.
	Note func(actor, action, object string, pairs ...string)
}

// ProxyLogin believes a reverse proxy that says in a header who somebody is.
type ProxyLogin struct {
	Header string         // "X-Remote-User"
	From   []netip.Prefix // the proxies: the header of any other peer is not looked at
	Role   Role
	Sites  []string // empty: every site
}

// Guard lets requests through, or not.
type Guard struct {
	Options
	seed maphash.Seed

	decoy string // a hash to check against when there is no such user

	mu       sync.Mutex
	limiters map[uint64]*rate.Limiter // by hashed client or token: an address is not kept
	noted    map[string]time.Time     // when the use of each token was noted last
}

// NewGuard returns a guard.
func NewGuard(o Options) (*Guard, error) {
	decoy, err := hashPassword("no such user")
	if err != nil {
		return nil, err
	}
	return &Guard{Options: o, seed: maphash.MakeSeed(), limiters: map[uint64]*rate.Limiter{}, noted: map[string]time.Time{}, decoy: decoy}, nil
}

// Limits: guesses at passwords and links a client, and requests a token.
const (
	loginEvery  = 2 * time.Second
	loginBurst  = 10
	tokenPerSec = 100
	tokenBurst  = 500
	maxLimiters = 10_000
)

// limiter returns the budget of who, which is made on first sight; nil where there are too many.
// g.mu is held.
func (g *Guard) limiter(kind, who string, every rate.Limit, burst int) *rate.Limiter {
	key := maphash.String(g.seed, kind+"\x00"+who)
	l := g.limiters[key]
	if l == nil {
		if len(g.limiters) >= maxLimiters { // forget those that are full again anyway
			for k, v := range g.limiters {
				if v.TokensAt(g.Now()) >= float64(v.Burst()) {
					delete(g.limiters, k)
				}
			}
			if len(g.limiters) >= maxLimiters {
				return nil
			}
		}
		l = rate.NewLimiter(every, burst)
		g.limiters[key] = l
	}
	return l
}

// allow takes one step of the budget of who, if it has one left.
func (g *Guard) allow(kind, who string, every rate.Limit, burst int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.limiter(kind, who, every, burst)
	return l != nil && l.AllowN(g.Now(), 1)
}

// may tells whether who has a step left, and takes none.
func (g *Guard) may(kind, who string, every rate.Limit, burst int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.limiter(kind, who, every, burst)
	return l != nil && l.TokensAt(g.Now()) >= 1
}

func (g *Guard) note(actor, action, object string, pairs ...string) {
	if g.Note != nil {
		g.Note(actor, action, object, pairs...)
	}
}

// noteToken notes that a token is used, once an hour.
func (g *Guard) noteToken(name string) {
	now := g.Now()
	g.mu.Lock()
	due := now.Sub(g.noted[name]) >= time.Hour
	if due {
		if len(g.noted) >= maxLimiters {
			clear(g.noted)
		}
		g.noted[name] = now
	}
	g.mu.Unlock()
	if due {
		g.note("token "+name, policy.AuditToken, "")
	}
}

// client is whose guesses are counted together: the address that the last untrusted hop came
// from, of IPv6 the network that one customer gets.
func (g *Guard) client(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := ap.Addr().Unmap().WithZone("")
	var trusted []netip.Prefix
	if g.Trusted != nil {
		trusted = g.Trusted()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap().WithZone("")
	}
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// Require serves next to those who are known and have the right. A person without a session is
// sent to the login page; a program gets a 401 in JSON, and whoever has not the right 403.
func (g *Guard) Require(right Right, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, status := g.identify(r)
		switch status {
		case http.StatusOK:
			if !id.May(right) {
				switch {
				case isPage(r) && g.RefusedPage != nil:
					g.RefusedPage(w, r)
					return
				case isPage(r):
					http.Error(w, "Your role does not let you see this page.", http.StatusForbidden)
					return
				}
				JSONError(w, http.StatusForbidden, "this needs another role, or a token made for it")
				return
			}
			next.ServeHTTP(w, r.WithContext(With(r.Context(), id)))
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "1")
			JSONError(w, status, "too many requests for this token")
		case http.StatusInternalServerError:
			JSONError(w, status, "the staff file cannot be read; the server's log says why")
		default:
			if isPage(r) {
				http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="footfall"`)
			JSONError(w, http.StatusUnauthorized, "log in, or send a token: Authorization: Bearer TOKEN")
		}
	})
}

func isPage(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Authorization") == "" &&
		!strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/metrics"
}

// JSONError answers with {"error": msg}.
func JSONError(w http.ResponseWriter, status int, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": msg})
}

// identify returns who the request is from, with status 200, or why nobody.
func (g *Guard) identify(r *http.Request) (Identity, int) {
	s, err := g.Files.current()
	if err != nil {
		g.Log.Error("staff file", "error", err)
		return Identity{}, http.StatusInternalServerError
	}
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Identity{}, http.StatusUnauthorized
		}
		hash := digest(strings.TrimSpace(token))
		for _, t := range s.Tokens {
			if t.Hash == hash && (t.Expires.IsZero() || g.Now().Before(t.Expires)) {
				if !g.allow("token", t.Name, tokenPerSec, tokenBurst) {
					return Identity{}, http.StatusTooManyRequests
				}
				g.noteToken(t.Name)
				return Identity{Name: t.Name, Token: true, Sites: t.Sites, Scopes: t.Scopes}, http.StatusOK
			}
		}
		return Identity{}, http.StatusUnauthorized
	}
	if c, err := r.Cookie(cookieName); err == nil {
		if _, id, ok := s.session(c.Value, g.Now()); ok {
			return id, http.StatusOK
		}
	}
	if id, ok := g.byProxy(r); ok {
		return id, http.StatusOK
	}
	return Identity{}, http.StatusUnauthorized
}

// byProxy is who a trusted reverse proxy says somebody is.
func (g *Guard) byProxy(r *http.Request) (Identity, bool) {
	if g.Proxy == nil {
		return Identity{}, false
	}
	p := g.Proxy()
	if p == nil {
		return Identity{}, false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(peer.Addr().Unmap().WithZone("")) }) {
		return Identity{}, false
	}
	names := r.Header.Values(p.Header)
	if len(names) != 1 || checkName(names[0]) != nil { // two: one of them may be the client's own
		return Identity{}, false
	}
	return Identity{Name: names[0], Role: p.Role, Sites: p.Sites}, true
}

// overTLS tells whether the browser came over https, to here or to a proxy in front of us. A
// browser that says so falsely of itself only loses its own cookie.
func overTLS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https")
}

func (g *Guard) setCookie(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, Secure: overTLS(r), SameSite: http.SameSiteLaxMode,
	})
}

// localPath returns next if it is a path on this listener, else "/": a login must not
// send people elsewhere.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") {
		return "/"
	}
	return next
}
