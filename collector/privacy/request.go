package privacy

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/event"
)

// Request is what the listener hands over of a request. Its texts may be parts of the request: nothing of
// it is kept.
type Request struct {
	Method    string // "GET", "HEAD" or "POST"
	Path      string
	Query     *fasthttp.Args
	Body      []byte
	Host      string // as the browser named it
	HTTPS     bool   // the browser's connection is encrypted, to us or to a proxy before us
	Accept    string
	Origin    string
	FetchSite string // Sec-Fetch-Site
	OptedOut  bool   // the opt-out cookie was sent
	Consent   string // the consent cookie's value, "" for none
	Signal    bool   // DNT: 1 or Sec-GPC: 1

	Sites *Sites
	// Number returns the id that whoever asks has at a configured site on a date, without a cookie, as far as there
	// is a key for it. It is called before Serve returns.
	Number func(domain string, day event.Day) uint64
}

// form returns the fields of a body: an HTML form's or a JSON object's, whatever its content type says,
// since a fetch that no other site may read can name text/plain only.
func (r *Request) form() func(name string) string {
	if b := strings.TrimSpace(string(r.Body)); strings.HasPrefix(b, "{") {
		var fields map[string]any
		if json.Unmarshal([]byte(b), &fields) != nil {
			return func(string) string { return "" }
		}
		return func(name string) string {
			switch v := fields[name].(type) {
			case string:
				return v
			case bool:
				return strconv.FormatBool(v)
			case float64:
				return strconv.FormatFloat(v, 'f', -1, 64)
			}
			return ""
		}
	}
	fields, _ := url.ParseQuery(string(r.Body)) // of a bad one the good fields count
	return fields.Get
}

// yes reads a choice: 1 or 0, true or false.
func yes(s string) (choice, ok bool) {
	switch s {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// host returns the host that was asked, without its port.
func (r *Request) host() string { return normalHost(r.Host) }

// sites returns the sites that the request is about: those that a form's field lists, else ?site=, else the host's.
func (r *Request) sites(list string) ([]*Site, bool) {
	return r.sitesOf(list, string(r.Query.Peek("site")))
}

func (r *Request) sitesOf(lists ...string) ([]*Site, bool) {
	for _, list := range lists {
		if list != "" {
			return r.Sites.named(list)
		}
	}
	return r.Sites.addressed(r.host()), true
}

// fromHere reports whether a page of the same site, or the person directly, made the request. Browsers say so in
// Sec-Fetch-Site, over plain HTTP in Origin only. What sends neither is no browser, and carries
// nobody's cookies or address but its own.
func (r *Request) fromHere() bool {
	switch r.FetchSite {
	case "same-origin", "same-site", "none":
		return true
	case "":
		if r.Origin == "" {
			return true
		}
		u, err := url.Parse(r.Origin)
		return err == nil && u.Host != "" && SameSite(normalHost(u.Host), r.host())
	}
	return false
}

// What kind of answer is wanted.
type form uint8

const (
	formNote form = iota // a few words: the tracker reads nothing
	formPage
	formJSON
)

// wants returns the kind of answer that is asked for.
func (r *Request) wants() form {
	switch {
	case string(r.Query.Peek("format")) == "json":
		return formJSON
	case strings.Contains(r.Accept, "text/html"):
		return formPage
	case strings.Contains(r.Accept, "application/json"):
		return formJSON
	case r.Method != fasthttp.MethodPost:
		return formPage
	}
	return formNote
}

// cookie is one that an answer sets. A life of 0 removes it.
type cookie struct {
	name, value, domain string
	life                time.Duration
}

func (r *Request) setCookie(w *fasthttp.Response, c cookie) {
	var b strings.Builder
	b.WriteString(c.name + "=" + c.value + "; Path=/; Max-Age=" + strconv.FormatInt(int64(c.life/time.Second), 10))
	if c.domain != "" {
		b.WriteString("; Domain=" + c.domain)
	}
	b.WriteString("; HttpOnly; SameSite=Lax")
	if r.HTTPS {
		b.WriteString("; Secure")
	}
	w.Header.Add(fasthttp.HeaderSetCookie, b.String())
}
