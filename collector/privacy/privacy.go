package privacy

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

// What the pages use. Both must be safe for concurrent use.
type (
	// Records is where what was counted is kept, and what waits to be stored.
	Records interface {
		// Held returns what is kept of the subjects, with details the newest events too. The context bounds it.
		Held(ctx context.Context, of []event.Subject, details bool) (event.Held, error)
		// Erase orders that the subjects' rows be erased, and ends the visits they are in. When it returns without an
		// error that will happen, whatever is killed; Done says whether it has.
		Erase(ctx context.Context, of []event.Subject) (event.Erasure, error)
	}
	// Receipts signs receipts: [policy.Receipts].
	Receipts interface {
		// Issue returns the receipt of an act, as a file; site is "" for all sites.
		Issue(act policy.Act, site string) ([]byte, error)
		// Keys returns the key set that receipts are checked against, as JSON.
		Keys() []byte
	}
)

// Options are what [Pages] are made of.
type Options struct {
	Key      *anonymize.CookieKey // nil: no site may have Cookie set
	Records  Records              // nil: it is said that nothing can be looked up now
	Receipts Receipts             // nil: there are no receipts
	Now      func() time.Time     // nil: time.Now
	Log      *slog.Logger         // nil: nothing is logged
	Notices  *policy.Notices      // nil: there is no notice
	Notice   *NoticePages         // nil: in our own words
}

// maxLookups is how many requests may ask the database at a time.
const maxLookups = 4

// Pages answers what visitors ask. Make it with [New]; its methods may be called at the same time.
type Pages struct {
	key      *anonymize.CookieKey
	records  Records
	receipts Receipts
	lookups  chan struct{}
	now      func() time.Time
	log      *slog.Logger
	tpl      *templates
	notices  *policy.Notices
	notice   *NoticePages
}

// New returns pages that are ready to serve.
func New(o Options) (*Pages, error) {
	tpl, err := newTemplates()
	if err != nil {
		return nil, err
	}
	p := &Pages{
		key: o.Key, records: o.Records, receipts: o.Receipts,
		lookups: make(chan struct{}, maxLookups), now: o.Now, log: o.Log, tpl: tpl,
		notices: o.Notices, notice: o.Notice,
	}
	if p.notice == nil {
		p.notice = &NoticePages{tpl: tpl}
	}
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
	PathMe      = "/privacy/me"
	PathGPC     = "/.well-known/gpc.json"
	PathKeys    = "/.well-known/footfall-receipt-key.json"
)

// Serve answers a request for one of the paths. r's method is GET, HEAD or POST.
func (p *Pages) Serve(ctx context.Context, r *Request, w *fasthttp.Response) {
	p.guard(r, w)
	if r.Path == PathMe {
		// A page of another site could read the counts even without cookies: they belong to the network.
		w.Header.Set("Cross-Origin-Resource-Policy", "same-origin")
	} else {
		w.Header.Set("Cross-Origin-Resource-Policy", "cross-origin")
		w.Header.Set("Access-Control-Allow-Origin", "*")
	}
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
	case r.Path == PathMe && post:
		p.postMe(ctx, r, w)
	case r.Path == PathMe:
		p.getMe(ctx, r, w)
	case r.Path == PathNotice && !post:
		p.getNotice(r, w)
	case r.Path == PathHistory && !post:
		p.getHistory(r, w)
	case r.Path == PathGPC && !post:
		p.getGPC(r, w)
	case r.Path == PathKeys && !post && p.receipts != nil:
		public(w)
		answerJSON(w, p.receipts.Keys())
	case r.Path == PathKeys && !post:
		p.refuse(r, w, fasthttp.StatusNotFound, problem{msg: "there are no receipts here"})
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
func (p *Pages) guard(r *Request, w *fasthttp.Response) {
	h := &w.Header
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", p.tpl.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if r.HTTPS { // browsers complain of it elsewhere
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Vary", "Accept, Cookie")
}

// public lets anybody read an answer, and keep it for an hour: it says nothing of who asks.
func public(w *fasthttp.Response) {
	w.Header.Set("Cache-Control", "public, max-age=3600")
	w.Header.Set("Access-Control-Allow-Origin", "*")
	w.Header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	w.Header.Del("Vary")
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
