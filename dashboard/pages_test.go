package dashboard

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/store"
)

func TestDashboard(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Foot = foot })
	text := b.page("/example.org")
	wants(t, text, "example.org", "14</span> here now", "Last 30 days", "vs previous",
		"Visitors", "Visits", "Page views", "Views per visit", "Bounce rate", "Visit duration",
		"Organic Search", "/docs/getting-started", "Germany", "Chrome", "Newsletter: sign up", "november-newsletter",
		`href="/example.org?f=is,visit:channel,Organic%20Search"`, `href="/example.org?metric=visits"`,
		"The books balance", "1,000 hits received = 900 counted + 90 not counted (90 robots) + 10 pending", "Notice 3", "26 Oct – 24 Nov 2026")
	if strings.Contains(text, ">pageview<") {
		t.Error("page views are listed among the events")
	}
	q := b.store.Overviews()[0]
	if got := q.From.Format(time.RFC3339) + " " + q.To.Format(time.RFC3339); got != "2026-10-26T00:00:00+01:00 2026-11-25T00:00:00+01:00" {
		t.Errorf("asked for %s", got)
	}
	if got := q.PrevFrom.Format(time.RFC3339) + " " + q.PrevTo.Format(time.RFC3339); got != "2026-09-26T00:00:00+02:00 2026-10-25T09:47:00+01:00" {
		t.Errorf("compared with %s", got)
	}
	if q.Site != "example.org" || q.Interval != "time:day" || !q.Now.Equal(clock()) || len(q.Panels) != 13 {
		t.Errorf("asked %+v", q)
	}
}

func foot(_ context.Context, _ string, _, _ time.Time) (Foot, error) {
	return Foot{Books: &Books{Received: 1000, Counted: 900, Pending: 10, Dropped: []Dropped{{"robots", 90}}},
		Notice: &Notice{Title: "Notice 3, in force since 1 Nov", Text: "No cookies."}}, nil
}

// Books that do not balance say so, and an unknown foot is left out.
func TestFoot(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Foot = func(context.Context, string, time.Time, time.Time) (Foot, error) {
			return Foot{Books: &Books{Received: 1000, Counted: 900}}, nil
		}
	})
	wants(t, b.page("/example.org"), "The books do not balance", "≠")
	b = newBench(t, func(o *Options) {
		o.Foot = func(context.Context, string, time.Time, time.Time) (Foot, error) { return Foot{}, down }
	})
	if text := b.page("/example.org"); strings.Contains(text, "The books") {
		t.Error("books that are not known are shown")
	}
	wants(t, b.log.String(), "connection refused")
}

// What the address says is what the store is asked for.
func TestAddressToQuery(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ query, from, to, prev, step, filters string }{
		{"period=day", "11-24 00:00", "11-25 00:00", "11-23 00:00", "time:hour", ""},
		{"period=24h", "11-23 10:00", "11-24 10:00", "11-22 10:00", "time:hour", ""},
		{"period=month&interval=week", "11-01 00:00", "12-01 00:00", "10-01 00:00", "time:week", ""},
		{"period=month&interval=hour", "11-01 00:00", "12-01 00:00", "10-01 00:00", "time:day", ""},
		{"period=7d&compare=off", "11-18 00:00", "11-25 00:00", "", "time:day", ""},
		{"period=7d&compare=year", "11-18 00:00", "11-25 00:00", "11-18 00:00", "time:day", ""},
		{"from=2026-11-01&to=2026-11-02", "11-01 00:00", "11-03 00:00", "10-30 00:00", "time:hour", ""},
		{"period=all", "03-09 00:00", "11-25 00:00", "", "time:month", ""},
		{"f=is,visit:source,Google,Bing&f=contains_not,event:page,a%5C%2Cb", "10-26 00:00", "11-25 00:00", "09-26 00:00", "time:day",
			"is visit:source [Google Bing] false; contains_not event:page [a,b] true; "},
		{"metric=nonsense&interval=nonsense&sources=nonsense&compare=nonsense", "10-26 00:00", "11-25 00:00", "09-26 00:00", "time:day", ""},
	} {
		b.page("/example.org?" + c.query)
		all := b.store.Overviews()
		q := all[len(all)-1]
		prev := ""
		if !q.PrevFrom.IsZero() {
			prev = q.PrevFrom.Format("01-02 15:04")
		}
		var fs string
		for _, f := range q.Filters {
			fs += f.Op + " " + f.Dimension + " [" + strings.Join(f.Values, " ") + "] " + map[bool]string{true: "true", false: "false"}[f.IgnoreCase] + "; "
		}
		got := []string{q.From.Format("01-02 15:04"), q.To.Format("01-02 15:04"), prev, q.Interval, fs}
		if want := []string{c.from, c.to, c.prev, c.step, c.filters}; !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", c.query, got, want)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	b := newBench(t)
	for query, says := range map[string]string{
		"period=fortnight":                             "There is no period",
		"from=yesterday&to=2026-11-24":                 "is not written like 2026-11-24",
		"from=2026-11-24":                              "the last date",
		"from=2026-11-24&to=2026-11-01":                "ends (2026-11-01) before it begins",
		"from=1970-01-01&to=2148-01-01":                "too long",
		"f=is":                                         "is not of the form",
		"f=equals,visit:source,Google":                 "is no way to filter",
		"f=is,visit:shoe_size,44":                      "nothing called",
		"f=is,event:props:,x":                          "nothing called",
		strings.Repeat("f=is,event:page,/&", 21):       "more than 20 filters",
		"f=is,event:page," + strings.Repeat("x", 3000): "too long",
		"add=visit:shoe_size&op=is&value=44":           "nothing called",
	} {
		res := b.get("/example.org?" + query)
		text := strings.ToLower(body(t, res))
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(text, strings.ToLower(says)) {
			t.Errorf("%.60s: %d %s", query, res.StatusCode, text)
		}
	}
	for query, says := range map[string]string{
		"": "nothing called", "by=visit:nonsense": "nothing called", "by=event:page&page=0": "no page", "by=event:page&page=x": "no page",
		"by=event:page&q=" + strings.Repeat("x", 300): "too long",
	} {
		res := b.get("/example.org/details?" + query)
		if text := body(t, res); res.StatusCode != http.StatusBadRequest || !strings.Contains(text, says) {
			t.Errorf("details?%.60s: %d %s", query, res.StatusCode, text)
		}
	}
}

// The filter form without script sends its fields; they become a legible address.
func TestFilterForm(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ from, to string }{
		{"/example.org?period=7d&add=visit:source&op=is&value=Google", "/example.org?period=7d&f=is,visit:source,Google"},
		{"/example.org?add=visit:country&op=is_not&value=germany", "/example.org?f=is_not,visit:country,DE"},
		{"/example.org?add=visit:country&op=is&value=gb", "/example.org?f=is,visit:country,GB"},
		{"/example.org?add=event:props&key=plan&op=contains&value=a,b%5C", `/example.org?f=contains,event:props:plan,a%5C,b%5C%5C`},
		{"/example.org?f=is,visit:source,Bing&add=visit:source&op=is&value=Google", "/example.org?f=is,visit:source,Google"},
		{"/example.org/details?by=event:page&q=news&add=event:page&op=is&value=/", "/example.org/details?f=is,event:page,/&by=event:page&q=news"},
	} {
		res := b.get(c.from)
		if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || got != c.to {
			t.Errorf("%s\n got %s\nwant %s", c.from, got, c.to)
		}
	}
}

// Every link of a page leads to a page, whatever is in its values.
func TestLinksWork(t *testing.T) {
	b := newBench(t)
	seen := map[string]bool{}
	for _, start := range []string{"/", "/example.org?f=is,event:name,Newsletter:%20sign%20up", "/example.org/details?by=event:page&period=7d"} {
		for _, link := range addresses(b.page(start), "/") {
			link = strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#39;", "'").Replace(link)
			if seen[link] {
				continue
			}
			seen[link] = true
			if res := b.get(link); res.StatusCode >= 400 {
				t.Errorf("%s leads to %s: %d", start, link, res.StatusCode)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d links were followed", len(seen))
	}
}

// A link made from a row filters to exactly that row's value.
func TestRowLinkRoundTrip(t *testing.T) {
	for _, value := range []string{"Google", "", "a,b", `back\slash`, `\,`, "日本語", "50% & more+plus", `"quoted" <b>`, "#frag?x=y&f=is", "line\nbreak", "=cmd()"} {
		b := newBench(t)
		b.store.Values = map[string][]store.PanelRow{"visit:source": {{Value: value, Visitors: 3}}}
		m := regexp.MustCompile(`href="(/example\.org\?f=is,visit:source[^"]*)"`).FindStringSubmatch(b.page("/example.org"))
		if m == nil {
			t.Errorf("%q: no link", value)
			continue
		}
		b.page(strings.ReplaceAll(m[1], "&amp;", "&"))
		all := b.store.Overviews()
		if f := all[len(all)-1].Filters; len(f) != 1 || len(f[0].Values) != 1 || f[0].Values[0] != value {
			t.Errorf("%q came back as %+v", value, f)
		}
	}
}

// Hostile text in every exit: as text in HTML, harmless in CSV, whole in addresses.
func TestHostileText(t *testing.T) {
	evil := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `=cmd|' /C calc'!A0`, `javascript:alert(1)`,
		"\u202eevil", "=HYPERLINK(\"https://evil.example\")", `{{.}}`, "</title><svg onload=alert(1)>"}
	b := newBench(t)
	var rows []store.PanelRow
	for i, e := range evil {
		rows = append(rows, store.PanelRow{Value: e, Label: e, Visitors: uint64(100 - i), PageViews: 200, Visits: 90, Events: 7})
	}
	b.store.Values = map[string][]store.PanelRow{}
	for _, d := range append(dimensions(), dimension{Name: "event:props:plan"}) {
		b.store.Values[d.Name] = rows
	}
	b.store.Email = []store.EmailRow{{Campaign: evil[0], Message: evil[1], Opens: 2, Openers: 1}}
	for _, e := range evil {
		q := "f=" + url.QueryEscape(filter{"is", "event:name", []string{e}}.String())
		for _, u := range []string{"/example.org?" + q, "/example.org/details?by=event:page&q=" + url.QueryEscape(e) + "&" + q,
			"/example.org/details?by=visit:referrer", "/example.org?period=" + url.QueryEscape(e), "/example.org?f=" + url.QueryEscape(e),
			"/example.org/details?by=" + url.QueryEscape(e), "/" + url.PathEscape(e), "/login?name=" + url.QueryEscape(e) + "&next=" + url.QueryEscape(e)} {
			for _, problem := range foreign(t, body(t, b.get(u))) {
				t.Errorf("GET %s: %s", u, problem)
			}
		}
	}
	for _, d := range []string{"event:page", "visit:source", "event:props:plan", "visit:country"} {
		res := b.get("/example.org/export.csv?by=" + d)
		recs, err := csv.NewReader(res.Body).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) != len(evil)+1 {
			t.Fatalf("%s: %d records", d, len(recs))
		}
		for i, rec := range recs[1:] {
			want := evil[i]
			if strings.HasPrefix(want, "=") {
				want = "'" + want
			}
			if rec[0] != want {
				t.Errorf("%s: CSV holds %q, want %q", d, rec[0], want)
			}
		}
	}
}

// foreign lists what a page of ours never has: elements and attributes that run or load
// something, and links that lead elsewhere.
func foreign(t *testing.T, text string) []string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ours := strings.Fields("html head meta title link script noscript body a div p header main footer nav section span b i details summary " +
		"ul li form input label select datalist option optgroup button h1 h2 table thead tbody tr th td time code pre svg g path rect line circle text dl dt dd")
	var out []string
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(ours, n.Data) {
			out = append(out, "a <"+n.Data+">")
		}
		for _, a := range n.Attr {
			local := strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//") || strings.HasPrefix(a.Val, "#")
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc":
				out = append(out, "an attribute "+a.Key)
			case slices.Contains([]string{"href", "src", "action", "formaction"}, a.Key) && !local:
				out = append(out, "a link to "+a.Val)
			}
		}
		if n.Data == "script" && n.FirstChild != nil {
			out = append(out, "an inline script")
		}
	}
	return out
}

// A dashboard whose every panel is empty says why, and what to do.
func TestQuiet(t *testing.T) {
	b := newBench(t)
	b.store.Quiet, b.store.Email = true, []store.EmailRow{}
	text := b.page("/example.org")
	wants(t, text, "Nobody came in this period.", "No mail was opened", "▼", "nothing to compare")
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a division by nothing shows")
	}
	wants(t, b.page("/example.org?f=is,visit:source,Google"), "Nothing in this period fits the filters.")
	wants(t, b.page("/example.org/details?by=visit:city&q=x"), "Nothing in this period fits.")
	b = newBench(t)
	b.store.Values = map[string][]store.PanelRow{"visit:country": {{Value: "", Visitors: 5}}, "visit:utm_campaign": {{Value: "(not set)", Visitors: 5}}, "event:name": {{Value: "pageview", Visitors: 5}}}
	wants(t, b.page("/example.org"), "No events of your own", "set geoip in the configuration", "Add ?utm_campaign=name")
}

func TestNothingBefore(t *testing.T) {
	b := newBench(t)
	b.store.NoBefore = true
	text := b.page("/example.org")
	wants(t, text, "nothing before", "Nothing was counted 26 Sep – 25 Oct 2026")
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a division by nothing shows")
	}
	if text := b.page("/example.org?compare=off"); strings.Contains(text, `class="c `) || strings.Contains(text, "key prev") {
		t.Error("a change is shown without comparison")
	}
}

// A site without a hit shows what to paste, and waits.
func TestWaiting(t *testing.T) {
	b := newBench(t)
	b.store.Empty = true
	wants(t, b.page("/example.org"), "Waiting for the first visit to example.org", "data-wait",
		`&lt;script defer src=&#34;https://s.example/ff.js&#34; data-domain=&#34;example.org&#34;&gt;&lt;/script&gt;`, `<noscript><meta http-equiv="refresh"`)
	wants(t, b.page("/"), "Waiting for the first visit.")
}

func TestSites(t *testing.T) {
	b := newBench(t)
	wants(t, b.page("/"), `href="/example.org"`, `href="/public.example"`, "14 here now", "<path", "Page views")
	b = newBench(t, func(o *Options) { o.Sites = func() []Site { return nil } })
	wants(t, b.page("/"), "No site is set up for you")
	b = newBench(t, func(o *Options) { o.Sites = func() []Site { return []Site{{Domain: "one.example"}} } })
	res := b.get("/")
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/one.example" {
		t.Errorf("the only site: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	wants(t, b.page("/one.example"), `<a class="site"`)
}

// A fragment is the page without its head, from the same address.
func TestFragment(t *testing.T) {
	b := newBench(t)
	whole := b.page("/example.org?period=7d")
	res := b.get("/example.org?period=7d", fragmentHeader, "1")
	part := body(t, res)
	if strings.Contains(part, "<html") || !strings.Contains(part, `id="lead"`) || !strings.Contains(whole, strings.TrimSpace(part)) {
		t.Error("the fragment is not a part of the page")
	}
	if !slices.Contains(res.Header.Values("Vary"), fragmentHeader) {
		t.Error("a cache may take the fragment for the page")
	}
}

// Properties of the event that is filtered to.
func TestProperties(t *testing.T) {
	b := newBench(t)
	b.store.Values = map[string][]store.PanelRow{"event:props:plan": {{Value: "yearly", Visitors: 9, Events: 12}, {Value: "monthly", Visitors: 4, Events: 4}}}
	wants(t, b.page("/example.org?f=is,event:name,Signup"), "Properties of Signup", "yearly", "f=is,event:props:plan,yearly")
	if strings.Contains(b.page("/example.org"), "Properties of") {
		t.Error("properties without an event")
	}
}

func TestLive(t *testing.T) {
	b := newBench(t)
	b.store.Here = 1234
	if got := strings.TrimSpace(b.page("/example.org/live")); got != `{"visitors":1234}` {
		t.Errorf("live answers %s", got)
	}
	wants(t, b.page("/example.org"), "1,234</span> here now")
}

// The filter form is offered what there is, countries by name.
func TestValues(t *testing.T) {
	b := newBench(t)
	if got := b.page("/example.org/values?by=visit:country"); got != `["Germany","United States","United Kingdom","Netherlands","Côte d’Ivoire"]` {
		t.Errorf("countries %s", got)
	}
	b.store.Values = map[string][]store.PanelRow{"visit:source": {{Value: "</script><b>"}, {Value: ""}}}
	if got := b.page("/example.org/values?by=visit:source"); got != `["\u003c/script\u003e\u003cb\u003e"]` {
		t.Errorf("sources %s", got)
	}
	if res := b.get("/example.org/values?by=nonsense"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("nonsense: %d", res.StatusCode)
	}
}

// A problem is swapped in like a page.
func TestProblemFragment(t *testing.T) {
	b := newBench(t)
	b.store.Err = down
	text := body(t, b.get("/example.org", fragmentHeader, "1"))
	if strings.Contains(text, "<html") || !strings.Contains(text, `data-retry="15"`) {
		t.Errorf("fragment %s", text)
	}
}

func TestLogin(t *testing.T) {
	b := newBench(t)
	text := body(t, b.do(http.MethodGet, "/login?next=/example.org%3Fperiod=7d"))
	wants(t, text, `action="/login"`, `name="name"`, `name="password"`, `name="next" value="/example.org?period=7d"`, "Sign in")
	if strings.Contains(text, "Sign out") {
		t.Error("a stranger can sign out")
	}
	wants(t, b.page("/example.org"), `action="/logout"`, "Signed in as ada")
}

// A long path and other scripts stay whole in the title and the address.
func TestLongPath(t *testing.T) {
	wants(t, newBench(t).page("/example.org"), `title="`+fake.LongPath+`"`, "/日本語/はじめに", "Côte d’Ivoire", "(few): rows with too few visitors")
}

// Where a period has a day with more values than are kept, the list says so, and its last row is no
// filter. Where it has none, "(other)" is a value that somebody has called so.
func TestCapped(t *testing.T) {
	b := newBench(t)
	b.store.Values = map[string][]store.PanelRow{"event:page": {{Value: "/", Visitors: 9}, {Value: store.Other, Visitors: 7}},
		"visit:utm_campaign": {{Value: store.Other, Visitors: 3}}}
	filtered := `f=is,event:page,%28other%29`
	for _, page := range []string{"/example.org", "/example.org/details?by=event:page"} {
		text := b.page(page)
		if strings.Contains(text, "100,000") || !strings.Contains(text, filtered) {
			t.Errorf("%s: a value called (other) is taken for the rest", page)
		}
	}
	b.store.Capped = map[string]int{"event:page": 3, "visit:referrer": 1}
	for _, page := range []string{"/example.org", "/example.org/details?by=event:page"} {
		text := b.page(page)
		wants(t, text, "On 3 days there were more than 100,000 different pages; the rarest are together as (other).")
		if strings.Contains(text, filtered) {
			t.Errorf("%s: the rest is a filter", page)
		}
	}
	wants(t, b.page("/example.org"), `f=is,visit:utm_campaign,%28other%29`)
	wants(t, b.page("/example.org/details?by=visit:referrer"), "On 1 day there were more than 100,000 different referrers;")
}
