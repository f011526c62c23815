package privacy

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/policy"
)

//go:embed pages.html
var pagesHTML string

//go:embed pages.css
var pagesCSS string

//go:embed notice.css
var noticeCSS string

// templates are the pages. The style sheet is part of each, so that a page is one answer; the policy
// allows it by its hash and no other.
type templates struct {
	*template.Template
	policy string
}

func newTemplates() (*templates, error) {
	css := strings.TrimSpace(pagesCSS + noticeCSS)
	source := strings.Replace(pagesHTML, "/*style*/", css, 1) + noticeHTML
	t, err := template.New("pages").Funcs(template.FuncMap{"count": count, "plural": plural}).Parse(source)
	if err != nil {
		return nil, fmt.Errorf("privacy: the pages: %w", err)
	}
	sum := sha256.Sum256([]byte(css))
	return &templates{Template: t, policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}, nil
}

// render answers with a page. A page that cannot be made is a programming error, which the listener reports.
func (t *templates) render(w *fasthttp.Response, name string, v any) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		panic(err)
	}
	w.Header.SetContentType("text/html; charset=utf-8")
	w.SetBody(b.Bytes())
}

// count writes a number with thin groups of thousands.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// plural puts the noun that fits after a number.
func plural(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + more
}

// view is what all pages have.
type view struct {
	Title   string
	Brand   string // the site, or none where there are several
	Query   string // "?site=…" where the request had it: links keep it
	At      string // the page's own path
	Problem string
	OptOut  *optOutView
	Me      *meView
	noticeViews

	Deleting bool // the request that could not be answered was to delete

	Cookies  []cookieView // of the sites that have one
	Unused   bool         // no cookie is used while the browser is not counted
	Receipts []receiptView
}

// receiptView is a receipt to take away. The page holds it: nothing of it but a hash is kept.
type receiptView struct {
	File string
	URL  template.URL
	Text string
}

func receiptViews(act policy.Act, files [][]byte) (out []receiptView) {
	for i, b := range files {
		v := receiptView{File: "receipt-" + string(act) + ".json", Text: string(b),
			URL: template.URL("data:application/json;base64," + base64.StdEncoding.EncodeToString(b))}
		if len(files) > 1 {
			v.File = fmt.Sprintf("receipt-%s-%d.json", act, i+1)
		}
		out = append(out, v)
	}
	return out
}

// optOutView is the page where a visitor chooses.
type optOutView struct {
	Out     bool
	Did     bool // the choice was made just now
	Here    []*Site
	Other   []*Site
	Alone   bool // no pages at all are the same site as this host
	Domain  string
	Host    string
	Days    int
	Signals []*Site // that heed what this browser sent
	Snippet string
}

// cookieView is a site's cookie for those who agree, and whether this browser did.
type cookieView struct {
	Site         string
	Agreed       bool
	Given, Until string
	Just         bool // agreed or withdrawn by this request
}

// snippet is what a site's owner embeds where the site is on another domain than Footfall.
const snippet = `<button type="button" onclick="footfall.optout(true)">Do not count me</button>
<button type="button" onclick="footfall.optout(false)">Count me again</button>`

func (p *Pages) optOutView(r *Request, sites []*Site, c choice) *view {
	reach := reachOf(r.host(), sites)
	v := &optOutView{
		Out: c.optedOut, Did: c.did == policy.OptOut || c.did == policy.OptIn, Here: reach.Here, Other: reach.Elsewhere, Alone: len(reach.Here) == 0,
		Domain: reach.Domain, Host: r.host(), Days: OptOutDays, Snippet: snippet,
	}
	for _, s := range sites {
		if r.Signal && (s.Unlinked || s.Dropped) {
			v.Signals = append(v.Signals, s)
		}
	}
	title := "You can choose not to be counted"
	if c.optedOut {
		title = "You are not counted"
	}
	return &view{Title: title, Brand: brandOf(sites), Query: queryOf(r), At: PathOptOut, OptOut: v,
		Cookies: cookieViews(reach.Here, c.consent, c.did, c.optedOut), Unused: c.optedOut}
}

// cookieViews tells of the cookie of each site that has one. Who does not want to be counted is not asked to agree.
func cookieViews(sites []*Site, c Consent, did policy.Act, optedOut bool) (out []cookieView) {
	for _, s := range sites {
		k := cookieView{Site: s.Domain, Just: did == policy.Consent || did == policy.Withdrawal}
		if _, k.Agreed = c.Of(s.tag); k.Agreed {
			k.Given, k.Until = dateText(c.Day.Time()), dateText((c.Day + ConsentDays).Time())
		}
		if s.Cookie && (k.Agreed || k.Just || !optedOut) {
			out = append(out, k)
		}
	}
	return out
}

func brandOf(sites []*Site) string {
	if len(sites) == 1 {
		return sites[0].Domain
	}
	return ""
}

func dateText(t time.Time) string { return t.Format("2 January 2006") }

func timeText(t time.Time) string { return t.Format("2 Jan 2006, 15:04") }
