package privacy

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
)

// Options are what [Pages] are made of.
type Options struct {
	Key *anonymize.CookieKey // nil: no site may have Cookie set
	Now func() time.Time     // nil: time.Now
	Log *slog.Logger         // nil: nothing is logged
}

// Pages answers what visitors ask. Make it with [New]; its methods may be called at the same time.
type Pages struct {
	key *anonymize.CookieKey
	now func() time.Time
	log *slog.Logger
	tpl *templates
}

// New returns pages that are ready to serve.
func New(o Options) (*Pages, error) {
	tpl, err := newTemplates()
	if err != nil {
		return nil, err
	}
	p := &Pages{key: o.Key, now: o.Now, log: o.Log, tpl: tpl}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p, nil
}

// The paths that Serve answers.
const (
	PathOptOut  = "/optout"
	PathConsent = "/consent"
	PathGPC     = "/.well-known/gpc.json"
)

// Serve answers a request for one of the paths. r's method is GET, HEAD or POST.
func (p *Pages) Serve(ctx context.Context, r *Request, w *fasthttp.Response) {
	p.guard(w)
	post := r.Method == fasthttp.MethodPost
	switch {
	case r.Path == PathOptOut && post:
		p.postOptOut(r, w)
	case r.Path == PathOptOut:
		p.getOptOut(r, w)
	case r.Path == PathConsent && post:
		p.postConsent(r, w)
	case r.Path == PathConsent: // the page that a form was sent from
		w.Header.Set("Location", PathOptOut+queryOf(r))
		w.SetStatusCode(fasthttp.StatusSeeOther)
	case r.Path == PathGPC && !post:
		p.getGPC(r, w)
	default:
		w.Header.Set("Allow", "GET, HEAD")
		p.refuse(r, w, fasthttp.StatusMethodNotAllowed, problem{msg: "this address is only for reading"})
	}
}

func queryOf(r *Request) string {
	if site := r.Query.Peek("site"); len(site) > 0 {
		var a fasthttp.Args
		a.SetBytesV("site", site)
		return "?" + a.String()
	}
	return ""
}

// guard sets what protects every answer: nothing is loaded that the page does not hold, nobody frames it, nobody
// stores it. The referrer stays within the site; were there none, forms would have no Origin.
func (p *Pages) guard(w *fasthttp.Response) {
	h := &w.Header
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", p.tpl.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Vary", "Accept, Cookie")
}

// problem is why a request is refused, in words for whoever sent it.
type problem struct{ msg, field string }

var (
	badSite  = problem{"no such site is counted here", "site"}
	notByYou = problem{"this can be asked for from the site's own pages only", ""}
)

// refuse says why nothing was done.
func (p *Pages) refuse(r *Request, w *fasthttp.Response, status int, why problem) {
	w.SetStatusCode(status)
	if r.wants() == formPage {
		p.tpl.render(w, "problem", &view{Title: "That did not work", Problem: why.msg, Query: queryOf(r)})
		return
	}
	b := append([]byte(`{"error":`), strconv.Quote(why.msg)...)
	b = append(append(b, `,"field":`...), strconv.Quote(why.field)...)
	answerJSON(w, append(b, '}'))
}

func answerJSON(w *fasthttp.Response, b []byte) {
	w.Header.SetContentType("application/json")
	w.SetBody(b)
}

// note answers a program that reads nothing.
func note(w *fasthttp.Response) {
	w.Header.SetContentType("text/plain; charset=utf-8")
	w.SetBodyString("ok\n")
}
