package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const cookieName = "footfall_session"

// Identity is who a request is from.
type Identity struct {
	Name  string   // the user's or token's name; "" for somebody who came by a login link
	Token bool     // a program
	Sites []string // the only sites it may see; empty: every site
}

// MaySee tells whether the identity may see the site.
func (i Identity) MaySee(site string) bool {
	return len(i.Sites) == 0 || slices.Contains(i.Sites, site)
}

type identityKey struct{}

// From returns who the request is from. Behind [Guard.Require] there always is somebody.
func From(r *http.Request) (Identity, bool) {
	id, ok := r.Context().Value(identityKey{}).(Identity)
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

// LoginView is what the login page shows.
type LoginView struct {
	Next  string // where to go afterwards: a path on this listener
	Name  string // as typed
	Error string // "" at first
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
}

// Guard lets requests through, or not.
type Guard struct {
	Options
	seed maphash.Seed

	mu       sync.Mutex
	limiters map[uint64]*rate.Limiter // by hashed client or token: an address is not kept
	decoy    string                   // a hash to check against when there is no such user
}

// NewGuard returns a guard.
func NewGuard(o Options) (*Guard, error) {
	decoy, err := hashPassword("no such user")
	if err != nil {
		return nil, err
	}
	return &Guard{Options: o, seed: maphash.MakeSeed(), limiters: map[uint64]*rate.Limiter{}, decoy: decoy}, nil
}

// Limits: guesses at passwords and links a client, and requests a token.
const (
	loginEvery  = 2 * time.Second
	loginBurst  = 10
	tokenPerSec = 100
	tokenBurst  = 500
	maxLimiters = 10_000
)

// allow takes one step of the budget of who, which is made on first sight.
func (g *Guard) allow(kind, who string, every rate.Limit, burst int) bool {
	key := maphash.String(g.seed, kind+"\x00"+who)
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.limiters[key]
	if l == nil {
		if len(g.limiters) >= maxLimiters { // forget those that are full again anyway
			for k, v := range g.limiters {
				if v.TokensAt(g.Now()) >= float64(v.Burst()) {
					delete(g.limiters, k)
				}
			}
			if len(g.limiters) >= maxLimiters {
				return false
			}
		}
		l = rate.NewLimiter(every, burst)
		g.limiters[key] = l
	}
	return l.AllowN(g.Now(), 1)
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

// Require serves next to those who are known. A person without a session is sent to the
// login page; a program gets a 401 in JSON.
func (g *Guard) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, status := g.identify(r)
		switch status {
		case http.StatusOK:
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
			if t.Hash == hash {
				if !g.allow("token", t.Name, tokenPerSec, tokenBurst) {
					return Identity{}, http.StatusTooManyRequests
				}
				return Identity{Name: t.Name, Token: true, Sites: t.Sites}, http.StatusOK
			}
		}
		return Identity{}, http.StatusUnauthorized
	}
	if c, err := r.Cookie(cookieName); err == nil {
		if name, ok := s.session(c.Value, g.Now()); ok {
			return Identity{Name: name}, http.StatusOK
		}
	}
	return Identity{}, http.StatusUnauthorized
}

// A session is base64(name) "." expiry "." HMAC-SHA256(key, name, expiry, the user's
// password hash). The last part ends sessions on a change of password. Somebody who came by
// a link has the empty name, and a session of a day only, since nothing can end it.

func (s *state) sign(name, expiry string) string {
	m := hmac.New(sha256.New, s.Key)
	for _, part := range []string{name, expiry, s.secretOf(name)} {
		m.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (s *state) secretOf(name string) string {
	for _, u := range s.Users {
		if u.Name == name {
			return u.Hash
		}
	}
	return ""
}

func (s *state) newSession(name string, expires time.Time) string {
	expiry := strconv.FormatInt(expires.Unix(), 10)
	return base64.RawURLEncoding.EncodeToString([]byte(name)) + "." + expiry + "." + s.sign(name, expiry)
}

func (s *state) session(cookie string, now time.Time) (name string, ok bool) {
	parts := strings.Split(cookie, ".")
	if len(parts) != 3 {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return "", false
	}
	name = string(raw)
	expires, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || now.Unix() >= expires || !hmac.Equal([]byte(parts[2]), []byte(s.sign(name, parts[1]))) {
		return "", false
	}
	return name, name == "" || s.secretOf(name) != ""
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

// Login is the handler of /login: the page, the form it posts, and one-time links.
func (g *Guard) Login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // a link's secret stays here
	switch r.Method {
	case http.MethodGet:
		if secret := r.URL.Query().Get("token"); secret != "" {
			g.loginByLink(w, r, secret)
			return
		}
		g.LoginPage(w, r, http.StatusOK, LoginView{Next: localPath(r.URL.Query().Get("next"))})
	case http.MethodHead:
		w.WriteHeader(http.StatusOK)
	case http.MethodPost:
		g.loginByPassword(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (g *Guard) loginByLink(w http.ResponseWriter, r *http.Request, secret string) {
	v := LoginView{Next: localPath(r.URL.Query().Get("next"))}
	if !g.allow("login", g.client(r), rate.Every(loginEvery), loginBurst) {
		v.Error = "Too many attempts. Wait a moment and try again."
		g.LoginPage(w, r, http.StatusTooManyRequests, v)
		return
	}
	ok, err := g.Files.takeLink(secret)
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	if !ok {
		v.Error = "This login link was used already or is too old. Make a new one with: footfall user link"
		g.LoginPage(w, r, http.StatusForbidden, v)
		return
	}
	g.start(w, r, "", v)
}

func (g *Guard) loginByPassword(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		g.LoginPage(w, r, http.StatusBadRequest, LoginView{Next: "/", Error: "The form could not be read."})
		return
	}
	v := LoginView{Next: localPath(r.PostForm.Get("next")), Name: r.PostForm.Get("name")}
	if !g.allow("login", g.client(r), rate.Every(loginEvery), loginBurst) {
		w.Header().Set("Retry-After", "10")
		v.Error = "Too many attempts. Wait a moment and try again."
		g.LoginPage(w, r, http.StatusTooManyRequests, v)
		return
	}
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	hash := s.secretOf(v.Name)
	known := hash != ""
	if !known {
		hash = g.decoy // the same work, so that time does not tell who has an account
	}
	if !checkPassword(hash, r.PostForm.Get("password")) || !known {
		v.Error = "Wrong name or password."
		g.LoginPage(w, r, http.StatusUnauthorized, v)
		return
	}
	g.start(w, r, v.Name, v)
}

func (g *Guard) start(w http.ResponseWriter, r *http.Request, name string, v LoginView) {
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	life := sessionLife
	if name == "" {
		life = linkSessionLife
	}
	g.setCookie(w, r, s.newSession(name, g.Now().Add(life)), life)
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
}

func (g *Guard) fail(w http.ResponseWriter, r *http.Request, v LoginView, err error) {
	g.Log.Error("staff file", "error", err)
	v.Error = "The staff file cannot be read or written; the server's log says why."
	g.LoginPage(w, r, http.StatusInternalServerError, v)
}

// Logout is the handler of POST /logout.
func (g *Guard) Logout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	g.setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
