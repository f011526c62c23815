// Package dashboard is what staff look at: the pages, drawn on the server, and the frame in
// which login, the Stats API and metrics are served.
//
// Rules it keeps:
//   - Every page is complete without JavaScript; the script only swaps parts in place, adds
//     hovering to the chart and writes dates and numbers the reader's way.
//   - The address holds the whole view: what is on the screen can be bookmarked and sent on.
//   - Nothing but the login page, its assets and /healthz is served without leave of [Auth].
//   - No inline script and no inline style: the Content-Security-Policy allows neither.
//   - What visitors sent (paths, titles, campaigns, properties) is hostile text: HTML goes
//     through html/template, CSV through [csvCell], addresses through net/url.
//   - No path, query or value out of a report reaches a log line.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/ui"
	"github.com/kantarainitiative/footfall/store"
)

// Reader answers reports. *store.Store is one. A query that cannot be answered as asked is a
// *store.QueryError; any other error means that the store is not there now.
type Reader interface {
	Query(ctx context.Context, q store.Query) (*store.Result, error)
	Overview(ctx context.Context, q store.OverviewQuery) (*store.Overview, error)
	// Realtime is the number of visitors in the last five minutes, or a *store.FewError.
	Realtime(ctx context.Context, site string) (uint64, error)
}

// Site is one configured site.
type Site struct {
	Domain   string
	Location *time.Location // nil: UTC
	LongIDs  bool           // its visitor ids outlive a day, so that visitors of several days are counted, not added up
	Daily    bool           // its reports are no finer than a day
}

// Auth decides who may see what. It is asked on every request.
type Auth interface {
	// Require serves next to somebody who is signed in (or holds a token) and has the right; it
	// sends strangers to /login?next=…, answers programs 401, and who has not the right 403.
	Require(right auth.Right, next http.Handler) http.Handler
	// User is the name of who is signed in, as shown beside "Sign out"; "" for a token.
	User(r *http.Request) string
	// Allowed reports whether who asks may see the site. It is called behind Require only.
	Allowed(r *http.Request, site string) bool
}

// Options is what a dashboard is made of. Reader, Sites, Auth and Log are needed.
type Options struct {
	Reader Reader
	Sites  func() []Site // the configured sites, at each request
	Auth   Auth

	// Login serves /login and what is below it, and POST /logout. It draws with [LoginPage].
	Login http.Handler
	// Stats serves /api/v2/…, behind Auth.
	Stats http.Handler
	// Metrics serves /metrics: to loopback as it is, to others behind Auth.
	Metrics http.Handler

	// Staff is who may see what, and CheckPassword tells whether a password is a user's. Nil: there
	// are no pages about it.
	Staff         *auth.Files
	CheckPassword func(name, password string) (bool, error)
	// Audit reads the audit log (nil: there is no page of it), and Note writes to it.
	Audit Audit
	Note  func(actor, action, object string, pairs ...string)

	// ScriptTag and PixelTag are the HTML to paste into a page of the site.
	ScriptTag, PixelTag func(site string) string
	// Foot tells, for a site and period, whether the books balance and which notice is in
	// force. Nil, or a nil part of the answer, leaves the card out.
	Foot func(ctx context.Context, site string, from, to time.Time) (Foot, error)

	// TooOld tells since when something of a site that is older than is kept could not be removed, zero: it is
	// not so. Nil: nobody knows.
	TooOld func(site string) time.Time

	// Ledger is what the page /{site}/ledger is drawn from, and the outages on the graph. Nil:
	// there is neither.
	Ledger Ledger

	Now     func() time.Time
	Log     *slog.Logger
	Timeout time.Duration // of one page's reports; 0: 30 s
}

// Foot is the two lines at the foot of a dashboard.
type Foot struct {
	Books  *Books
	Notice *Notice
}

// Books is the ledger of a site and period: Received = Counted + Erased + Disposed + the sum of Dropped + Pending
// if it balances.
type Books struct {
	Received, Counted, Erased, Disposed, Pending uint64
	Dropped                                      []Dropped // by reason, most first
	URL                                          string    // the ledger's page, "" if there is none
}

// Dropped is how many hits were not counted for one reason, in words ("robots").
type Dropped struct {
	Reason string
	Hits   uint64
}

// Notice is the privacy notice in force.
type Notice struct {
	Title string // "Notice 3, in force since 1 Nov"
	Text  string // what it says in short
	URL   string // where visitors read it
}

// handler is the dashboard.
type handler struct {
	o      Options
	assets *ui.Assets
	tmpl   *template.Template
	now    func() time.Time
}

// New returns the staff listener's handler.
func New(o Options) (http.Handler, error) {
	h, err := newHandler(o)
	if err != nil {
		return nil, err
	}
	return h.routes(), nil
}

func newHandler(o Options) (*handler, error) {
	switch {
	case o.Reader == nil:
		return nil, errors.New("dashboard: no reader")
	case o.Sites == nil:
		return nil, errors.New("dashboard: no sites")
	case o.Auth == nil:
		return nil, errors.New("dashboard: no auth: pages would be open to everybody")
	case o.Log == nil:
		return nil, errors.New("dashboard: no log")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	assets, err := ui.Load()
	if err != nil {
		return nil, err
	}
	tmpl, err := parseTemplates(assets)
	if err != nil {
		return nil, err
	}
	return &handler{o: o, assets: assets, tmpl: tmpl, now: o.Now}, nil
}

func (h *handler) noPage(w http.ResponseWriter, r *http.Request) {
	h.problem(w, r, http.StatusNotFound, "There is no such page", "The address may be mistyped, or the page may have moved.")
}

// csp forbids everything but what the pages use: own script, style, pictures, requests, forms.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// secure sets the headers that hold for every answer.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("Content-Security-Policy", csp)
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("X-Frame-Options", "DENY")
		hd.Set("Referrer-Policy", "same-origin")
		hd.Set("Cross-Origin-Opener-Policy", "same-origin")
		hd.Set("Cross-Origin-Resource-Policy", "same-origin")
		hd.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), browsing-topics=()")
		hd.Set("X-Robots-Tag", "noindex, nofollow")
		next.ServeHTTP(w, r)
	})
}

// recover answers a panic with a calm page. The panic's value may quote what a visitor sent,
// so only its type is logged.
func (h *handler) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			h.o.Log.Error("dashboard: a page failed", "panic", fmt.Sprintf("%T", v))
			h.problem(w, r, http.StatusInternalServerError, "Something went wrong here", "It was noted in the log. Nothing that was counted is affected.")
		}()
		next.ServeHTTP(w, r)
	})
}

// fromLoopback reports whether the client itself is on this machine. A request that a reverse
// proxy on this machine passes on is not: its headers say so.
func fromLoopback(r *http.Request) bool {
	for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(k) != "" {
			return false
		}
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// onSite finds the site named in the path and hands it on; an unknown one, or one that who
// asks may not see, is 404 alike.
func (h *handler) onSite(f func(http.ResponseWriter, *http.Request, Site)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("site")
		for _, s := range h.o.Sites() {
			if s.Domain == name && h.o.Auth.Allowed(r, name) {
				if s.Location == nil {
					s.Location = time.UTC
				}
				ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
				defer cancel()
				f(w, r.WithContext(ctx), s)
				return
			}
		}
		h.problem(w, r, http.StatusNotFound, "There is no such site", "Sites are added in the configuration file, under sites.")
	}
}

// failed answers a report that could not be had.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	var q *store.QueryError
	switch {
	case errors.As(err, &q):
		h.problem(w, r, http.StatusBadRequest, "That cannot be shown", q.Error())
	case r.Context().Err() != nil && errors.Is(r.Context().Err(), context.Canceled):
		// Nobody is waiting for the answer.
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrLimit):
		h.o.Log.Warn("dashboard: a report was stopped for what it cost", "limit", h.o.Timeout)
		h.problem(w, r, http.StatusServiceUnavailable, "This asks for too much",
			"The report was stopped for the time or memory it took. A shorter period or fewer filters will be quicker.")
	default:
		h.o.Log.Warn("dashboard: the store did not answer a report", "error", errorText(err))
		w.Header().Set("Retry-After", "15")
		h.problem(w, r, http.StatusServiceUnavailable, "The numbers are out of reach for the moment",
			"The database does not answer. Hits are still being taken and wait on disk, so nothing is lost. This page tries again by itself.")
	}
}
