package dashboard

import (
	"io"
	"net/http"

	"github.com/kantarainitiative/footfall/dashboard/auth"
)

// route is one address of the staff listener. What asks for no right is open to strangers.
type route struct {
	pattern string // as of [http.ServeMux]
	right   auth.Right
	handler http.Handler
}

// table is every address of the staff listener with the right that it asks for.
func (h *handler) table() []route {
	page := func(f http.HandlerFunc) http.Handler { return compress(f) }
	out := []route{
		{"GET /healthz", 0, http.HandlerFunc(health)},
		{"GET /assets/{file}", 0, h.assets},
		{"GET /favicon.ico", 0, http.RedirectHandler(h.assets.URL("mark.svg"), http.StatusFound)},
		{"GET /{$}", auth.Stats, page(h.sites)},
		{"GET /{site}", auth.Stats, page(h.onSite(h.site))},
		// One pattern for all pages of a site: "/{site}/details" would quarrel with "/assets/{file}".
		{"GET /{site}/{page}", auth.Stats, page(h.onSite(h.sitePage))},
		{"/", auth.Stats, page(h.noPage)},
	}
	if h.o.Login != nil {
		for _, p := range []string{"GET /login", "POST /login", "GET /login/oidc", "GET /login/oidc/back", "POST /logout"} {
			out = append(out, route{p, 0, h.o.Login})
		}
	}
	// No domain begins with a hyphen.
	if h.o.Staff != nil {
		out = append(out,
			route{"GET /-/account", auth.Stats, page(h.account)}, route{"POST /-/account", auth.Stats, page(h.account)},
			route{"GET /-/staff", auth.Staff, page(h.staff)}, route{"POST /-/staff", auth.Staff, page(h.staff)})
	}
	if h.o.Audit != nil {
		out = append(out, route{"GET /-/audit", auth.Privacy, page(h.audit)})
	}
	if h.o.Stats != nil {
		out = append(out, route{"/api/v2/", auth.Stats, h.o.Stats})
	}
	if h.o.Metrics != nil {
		out = append(out, route{"GET /metrics", auth.Metrics, h.o.Metrics})
	}
	return out
}

// sitePages are the pages below a site's.
func (h *handler) sitePages() map[string]func(http.ResponseWriter, *http.Request, Site) {
	return map[string]func(http.ResponseWriter, *http.Request, Site){
		"details":    h.details,
		"export.csv": h.export,
		"series.csv": h.seriesCSV,
		"values":     h.values,
		"ledger":     h.ledger,
		"live":       h.live,
	}
}

func (h *handler) sitePage(w http.ResponseWriter, r *http.Request, s Site) {
	if f := h.sitePages()[r.PathValue("page")]; f != nil {
		f(w, r, s)
		return
	}
	h.noPage(w, r)
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	for _, x := range h.table() {
		served := x.handler
		if x.right != 0 {
			served = h.o.Auth.Require(x.right, served)
		}
		if x.right == auth.Metrics { // a program on this machine needs no token
			open, guarded := x.handler, served
			served = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if fromLoopback(r) {
					open.ServeHTTP(w, r)
					return
				}
				guarded.ServeHTTP(w, r)
			})
		}
		mux.Handle(x.pattern, served)
	}
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, r, http.StatusForbidden, "This came from another site", "Forms are taken from Footfall's own pages only. Open the page again and repeat what you did.")
	}))
	return secure(h.recover(guard.Handler(mux)))
}

func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n")
}
