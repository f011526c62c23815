package collector

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/event"
)

// TestEventBody goes from the body of a hit to what is in its event. Fields that a case
// does not name are not compared.
func TestEventBody(t *testing.T) {
	type want struct {
		kind                           event.Kind
		name, host, page, title, entry string
		props                          []event.Prop
		revenue                        int64
		currency                       string
		engaged                        uint32
		scroll                         uint8
		visit                          event.Visit // Source, Channel, Referrer, UTM, ClickID, Device only
		passive                        bool
	}
	view := func(page string) want {
		return want{kind: event.PageView, name: "pageview", host: "example.org", page: page, entry: page}
	}
	custom := func(name string) want {
		return want{kind: event.Custom, name: name, host: "example.org", page: "/", entry: "/"}
	}
	with := func(w want, f func(*want)) want { f(&w); return w }
	r := newRig(t)
	for i, c := range []struct {
		why, body string
		want      want
	}{
		{"short names", `{"n":"pageview","u":"https://example.org/a","d":"example.org","r":null,"t":"T","w":1280,"v":1}`,
			with(view("/a"), func(w *want) { w.title = "T" })},
		{"long names", `{"name":"pageview","url":"https://example.org/a","domain":"example.org","referrer":"https://news.ycombinator.com/item?id=1"}`,
			with(view("/a"), func(w *want) {
				w.visit = event.Visit{Source: "Hacker News", Channel: "Organic Social", Referrer: "news.ycombinator.com/item"}
			})},
		{"domain from the address", `{"n":"pageview","u":"https://EXAMPLE.org:8443/a"}`, view("/a")},
		{"domain from the address, www", `{"n":"pageview","u":"https://www.example.org/a"}`,
			with(view("/a"), func(w *want) { w.host = "www.example.org" })},
		{"domain in capitals with spaces", `{"n":"pageview","u":"https://example.org/","d":" Example.ORG "}`, view("/")},
		{"unknown fields", `{"n":"pageview","u":"https://example.org/","d":"example.org","zz":{"a":[1,2]},"zz":1}`, view("/")},
		{"escapes", `{"n":"pageview","u":"https:\/\/example.org\/\u00fc","d":"example.org"}`, view("/ü")},
		{"query and fragment dropped", `{"n":"pageview","u":"https://example.org/a?token=1#secret","d":"example.org"}`, view("/a")},
		{"query allowed", `{"n":"pageview","u":"https://example.org/a?x=1&page=2&q+q=%C3%BC&page=3","d":"example.org"}`, view("/a?page=2&q+q=%C3%BC&page=3")},
		{"hash routing", `{"n":"pageview","u":"https://example.org/#/r/%C3%BC?token=1","d":"example.org","h":1}`, view("/#/r/ü")},
		{"hash routing by true", `{"n":"pageview","u":"https://example.org/app/#!/r","d":"example.org","h":true}`, view("/app#!/r")},
		{"hash that holds a secret", `{"n":"pageview","u":"https://example.org/#access_token=1&x=2","d":"example.org","h":true}`, view("/")},
		{"trailing slash", `{"n":"pageview","u":"https://example.org/A/b/","d":"example.org"}`, view("/A/b")},
		{"double slashes stay", `{"n":"pageview","u":"https://example.org//A//b","d":"example.org"}`, view("//A//b")},
		{"no path", `{"n":"pageview","u":"https://example.org","d":"example.org"}`, view("/")},
		{"path decoded", `{"n":"pageview","u":"https://example.org/%E2%82%AC%20%2fx%3Fy%zz","d":"example.org"}`, view("/€ %2Fx%3Fy%zz")},
		{"invalid UTF-8 replaced", "{\"n\":\"pageview\",\"u\":\"https://example.org/\xff%fe\",\"d\":\"example.org\",\"t\":\"a\xc3\"}",
			with(view("/\ufffd\ufffd"), func(w *want) { w.title = "a\ufffd" })},
		{"user info", `{"n":"pageview","u":"https://jane:pw@example.org/a","d":"example.org"}`, view("/a")},
		{"app address", `{"n":"pageview","u":"app://example.org/screen","d":"example.org"}`, view("/screen")},
		{"saved copy", `{"n":"pageview","u":"file:///home/jane/x.html","d":"example.org"}`,
			with(view("/"), func(w *want) { w.host = "(none)" })},
		{"international", `{"n":"pageview","u":"https://bücher.example/","d":"example.org"}`,
			with(view("/"), func(w *want) { w.host = "xn--bcher-kva.example" })},
		{"campaign", `{"n":"pageview","u":"https://example.org/?utm_source=Nl&utm_medium=email&utm_campaign=a%20b&utm_content=c&utm_term=d+e&gclid=SECRET","d":"example.org"}`,
			with(view("/"), func(w *want) {
				w.visit = event.Visit{Source: "Nl", Channel: "Email", UTMSource: "Nl", UTMMedium: "email",
					UTMCampaign: "a b", UTMContent: "c", UTMTerm: "d e", ClickID: "gclid"}
			})},
		{"ref", `{"n":"pageview","u":"https://example.org/?ref=friend.example","d":"example.org"}`,
			with(view("/"), func(w *want) { w.visit = event.Visit{Source: "friend.example", Channel: "Referral"} })},
		{"unreadable referrer", `{"n":"pageview","u":"https://example.org/","d":"example.org","r":"::::"}`, view("/")},
		{"referrer of another type", `{"n":"pageview","u":"https://example.org/","d":"example.org","r":7}`, view("/")},
		{"own referrer", `{"n":"pageview","u":"https://example.org/b","d":"example.org","r":"https://example.org/a"}`, view("/b")},
		{"pageview with revenue", `{"n":"pageview","u":"https://example.org/","d":"example.org","$":{"currency":"EUR","amount":1}}`, view("/")},

		{"custom", `{"n":"Sign up","u":"https://example.org/","d":"example.org","p":{"plan":"pro","n":12.50,"y":true,"z":false,"o":{"a":1},"l":[1],"e":"","x":null,"":"k"}}`,
			with(custom("Sign up"), func(w *want) {
				w.props = []event.Prop{{Key: "plan", Value: "pro"}, {Key: "n", Value: "12.50"}, {Key: "y", Value: "true"}, {Key: "z", Value: "false"}}
			})},
		{"props as text", `{"n":"x","u":"https://example.org/","d":"example.org","m":"{\"a\":\"b\",\"a\":\"c\",\"d\":1}"}`,
			with(custom("x"), func(w *want) { w.props = []event.Prop{{Key: "a", Value: "c"}, {Key: "d", Value: "1"}} })},
		{"props that are none", `{"n":"x","u":"https://example.org/","d":"example.org","props":"[1"}`, custom("x")},
		{"short name wins", `{"n":"x","name":"y","u":"https://example.org/","d":"example.org","p":{"a":1},"props":{"a":2}}`,
			with(custom("x"), func(w *want) { w.props = []event.Prop{{Key: "a", Value: "1"}} })},
		{"null short name", `{"n":null,"name":"y","u":"https://example.org/","d":"example.org"}`, custom("y")},
		{"revenue", `{"n":"Buy","u":"https://example.org/","d":"example.org","$":{"currency":"eur","amount":1234.567891}}`,
			with(custom("Buy"), func(w *want) { w.revenue, w.currency = 1234567891, "EUR" })},
		{"revenue as texts", `{"n":"Buy","u":"https://example.org/","d":"example.org","p":"{\"k\":\"v\"}","revenue":"{\"currency\":\"USD\",\"amount\":\"-0.5\"}"}`,
			with(custom("Buy"), func(w *want) {
				w.revenue, w.currency, w.props = -500000, "USD", []event.Prop{{Key: "k", Value: "v"}}
			})},
		{"revenue without currency", `{"n":"Buy","u":"https://example.org/","d":"example.org","$":{"amount":1}}`, custom("Buy")},
		{"revenue too large", `{"n":"Buy","u":"https://example.org/","d":"example.org","$":{"currency":"EUR","amount":1e300}}`, custom("Buy")},
		{"passive", `{"n":"x","u":"https://example.org/","d":"example.org","i":false}`, with(custom("x"), func(w *want) { w.passive = true })},
		{"passive as text", `{"n":"x","u":"https://example.org/","d":"example.org","interactive":"false"}`, with(custom("x"), func(w *want) { w.passive = true })},
		{"engagement", `{"n":"engagement","u":"https://example.org/","d":"example.org","e":1234.6,"sd":55}`,
			want{kind: event.Engagement, name: "engagement", host: "example.org", page: "/", engaged: 1235, scroll: 55, passive: true}},
		{"engagement out of bounds", `{"n":"engagement","u":"https://example.org/","d":"example.org","e":1e30,"sd":-5}`,
			want{kind: event.Engagement, name: "engagement", host: "example.org", page: "/", engaged: event.MaxEngagedMS, passive: true}},
		{"engagement of other types", `{"n":"engagement","u":"https://example.org/","d":"example.org","e":"9","sd":true}`,
			want{kind: event.Engagement, name: "engagement", host: "example.org", page: "/", passive: true}},
	} {
		t.Run(c.why, func(t *testing.T) {
			e := r.hit(t, c.body, "Content-Type: text/plain", fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i))
			got := want{e.Kind, e.Name, e.Hostname, e.Page, e.Title, e.Visit.EntryPage, e.Props, e.Revenue, e.Currency, e.EngagedMS, e.Scroll,
				event.Visit{Source: e.Visit.Source, Channel: e.Visit.Channel, Referrer: e.Visit.Referrer, UTMSource: e.Visit.UTMSource,
					UTMMedium: e.Visit.UTMMedium, UTMCampaign: e.Visit.UTMCampaign, UTMContent: e.Visit.UTMContent, UTMTerm: e.Visit.UTMTerm,
					ClickID: e.Visit.ClickID}, !e.Interactive}
			if c.want.visit == (event.Visit{}) {
				c.want.visit.Channel = "Direct"
			}
			if len(got.props) == 0 {
				got.props = nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s\ngot  %+v\nwant %+v", c.body, got, c.want)
			}
			if e.Site != "example.org" || e.Notice != 7 || e.Time != noon.Unix() || e.Day.String() != "2026-11-24" || e.ID == 0 || e.VisitorID == 0 {
				t.Errorf("site %q, notice %d, time %d, day %s, id %d, visitor %d", e.Site, e.Notice, e.Time, e.Day, e.ID, e.VisitorID)
			}
			if e.Network != "203.0.113.0/24" || e.Visit.Country != "DE" || e.Visit.Region != "DE-BE" || e.Visit.RegionName != "Land Berlin" || e.Visit.City != "Berlin" {
				t.Errorf("network %q, place %+v", e.Network, e.Visit)
			}
			if e.Visit.Browser != "Chrome" || e.Visit.BrowserVersion != "142.0" || e.Visit.OS != "GNU/Linux" || e.Visit.Device != "Desktop" {
				t.Errorf("agent %+v", e.Visit)
			}
			if wantVisit := e.Kind != event.Engagement; (e.Visit.ID != 0) != wantVisit {
				t.Errorf("visit %d", e.Visit.ID)
			}
		})
	}
}

// Of a field that cannot make a hit malformed, the first of two counts.
func TestFieldsThereTwice(t *testing.T) {
	r := newRig(t)
	e := r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org","t":"one","t":"two","sd":1,"sd":2}`)
	if e.Title != "one" {
		t.Errorf("title %q", e.Title)
	}
}

func TestMalformed(t *testing.T) {
	r := newRig(t)
	many := strings.Repeat("example.org,", maxDomains) + "example.org"
	n := 0
	for _, c := range []struct{ body, field string }{
		{``, ""},
		{`{`, ""},
		{`[]`, ""},
		{`"x"`, ""},
		{`{"n":"pageview","u":"https://example.org/"} x`, ""},
		{"{\"n\":\"page\x01view\",\"u\":\"https://example.org/\"}", ""},
		{"{\"n\":\"page\nview\",\"u\":\"https://example.org/\"}", ""},
		{`{"u":"https://example.org/","d":"example.org"}`, "name"},
		{`{"n":"","u":"https://example.org/","d":"example.org"}`, "name"},
		{`{"n":null,"u":"https://example.org/","d":"example.org"}`, "name"},
		{`{"n":1,"u":"https://example.org/","d":"example.org"}`, "name"},
		{`{"n":"a","n":"b","u":"https://example.org/","d":"example.org"}`, "name"},
		{`{"n":"pageview","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":["https://example.org/"],"d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"not an address","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"/path","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https:///path","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https://exa mple.org/","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https://example.org:port/","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https://[::1/","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"data:text/html,x","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"javascript:alert(1)","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https://example.org/","url":"a","url":"b","d":"example.org"}`, "url"},
		{`{"n":"pageview","u":"https://example.org/","d":7}`, "domain"},
		{`{"n":"pageview","u":"https://example.org/","d":" "}`, "domain"},
		{`{"n":"pageview","u":"https://example.org/","d":" , ,"}`, "domain"},
		{`{"n":"pageview","u":"https://example.org/","d":"` + many + `"}`, "domain"},
		{`{"n":"pageview","u":"file:///x"}`, "domain"},
	} {
		n++
		a := r.post(t, c.body)
		if a.StatusCode != 400 || !strings.Contains(a.body, fmt.Sprintf(`"field":%q`, c.field)) || !strings.HasPrefix(a.body, `{"error":"`) {
			t.Errorf("%s\nanswered %d %s", c.body, a.StatusCode, a.body)
		}
		if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("headers %v", a.Header)
		}
	}
	if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "rejected", "reason", "malformed"); got != float64(n) {
		t.Errorf("%v rejected, want %d", got, n)
	}
	if es := r.spool.take(t); len(es) != 0 {
		t.Errorf("%d events", len(es))
	}
}

func TestDropped(t *testing.T) {
	const page = `{"n":"pageview","u":"https://example.org/","d":"example.org"`
	for _, c := range []struct {
		why, body string
		headers   []string
		reason    string
	}{
		{"unknown site", `{"n":"pageview","u":"https://example.org/","d":"nobody.example"}`, nil, "site"},
		{"unknown site of the address", `{"n":"pageview","u":"https://nobody.example/"}`, nil, "site"},
		{"what cannot be a site", `{"n":"pageview","u":"https://example.org/","d":"a b/c"}`, nil, "site"},
		{"robot", page + `}`, []string{"User-Agent: " + google}, "bot"},
		{"no agent", page + `}`, []string{"User-Agent: "}, "bot"},
		{"mail proxy on a page", page + `}`, []string{"User-Agent: " + gmail}, "bot"},
		{"prefetch", page + `}`, []string{"Sec-Purpose: prefetch;prerender"}, "prefetch"},
		{"prefetch, old", page + `}`, []string{"Purpose: prefetch"}, "prefetch"},
		{"prefetch, Firefox", page + `}`, []string{"x-moz: prefetch"}, "prefetch"},
		{"preview, Safari", page + `}`, []string{"X-Purpose: preview"}, "prefetch"},
		{"spam", page + `,"r":"https://semalt.com/x"}`, nil, "spam"},
		{"host", `{"n":"pageview","u":"https://evil.example/","d":"shop.example"}`, nil, "host"},
		{"host that ends alike", `{"n":"pageview","u":"https://myshop.example/","d":"shop.example"}`, nil, "host"},
		{"dnt", `{"n":"pageview","u":"https://quiet.example/","d":"quiet.example"}`, []string{"DNT: 1"}, "dnt"},
		{"gpc", `{"n":"pageview","u":"https://quiet.example/","d":"quiet.example"}`, []string{"Sec-GPC: 1"}, "dnt"},
		{"two sites", `{"n":"pageview","u":"https://evil.example/","d":"nobody.example,shop.example"}`, nil, "site"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			a := r.post(t, c.body, c.headers...)
			if a.StatusCode != 202 || a.body != "ok" || a.Header.Get("X-Footfall-Dropped") != c.reason || a.Header.Get("x-plausible-dropped") != "1" {
				t.Errorf("answered %d %q, dropped %q %q", a.StatusCode, a.body, a.Header.Get("X-Footfall-Dropped"), a.Header.Get("x-plausible-dropped"))
			}
			if es := r.spool.take(t); len(es) != 0 {
				t.Errorf("%d events", len(es))
			}
			if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "dropped", "reason", c.reason); got < 1 {
				t.Errorf("%v counted as dropped", got)
			}
		})
	}
}

func TestSeveralSites(t *testing.T) {
	r := newRig(t)
	a := r.post(t, `{"n":"pageview","u":"https://example.org/","d":"example.org, nobody.example,shop.example,localhost,example.org"}`)
	if a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" || a.Header.Get("x-plausible-dropped") != "" {
		t.Errorf("answered %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	es := r.spool.take(t)
	if len(es) != 2 || es[0].Site != "example.org" || es[1].Site != "localhost" {
		t.Fatalf("%d events: %+v", len(es), es)
	}
	if es[0].VisitorID == es[1].VisitorID || es[0].Visit.ID == es[1].Visit.ID || es[0].ID == es[1].ID {
		t.Error("the sites share an id")
	}
	for labels, want := range map[[2]string]float64{{"counted", ""}: 2, {"dropped", "site"}: 1, {"dropped", "host"}: 1} {
		if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", labels[0], "reason", labels[1]); got != want {
			t.Errorf("%v: %v, want %v", labels, got, want)
		}
	}
}

func TestDoNotTrack(t *testing.T) {
	for _, header := range []string{"DNT: 1", "Sec-GPC: 1"} {
		r := newRig(t)
		e := r.hit(t, `{"n":"pageview","u":"https://example.org/a?utm_source=nl7","d":"example.org","r":"https://www.google.com/"}`, header)
		if e.VisitorID != 0 || e.Visit.ID != 0 || e.Visit.EntryPage != "" {
			t.Errorf("%s: linked: %+v", header, e)
		}
		if e.Visit.Source != "nl7" || e.Visit.Browser != "Chrome" || e.Visit.Country != "DE" {
			t.Errorf("%s: attributes lost: %+v", header, e.Visit)
		}
		if e := r.hit(t, `{"n":"pageview","u":"https://deaf.example/","d":"deaf.example"}`, header); e.VisitorID == 0 || e.Visit.ID == 0 {
			t.Errorf("%s: not ignored", header)
		}
	}
	r := newRig(t)
	for _, header := range []string{"DNT: 0", "DNT: unspecified", "Sec-GPC: ?1"} {
		if e := r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org"}`, header); e.VisitorID == 0 {
			t.Errorf("%s: unlinked", header)
		}
	}
}

func TestWhatIsKeptOfAnAddress(t *testing.T) {
	r := newRig(t)
	hit := func(site string, headers ...string) event.Event {
		return r.hit(t, `{"n":"pageview","u":"https://`+site+`/","d":"`+site+`"}`, headers...)
	}
	if e := hit("shop.example"); e.Network != "" || e.Visit.Country != "DE" || e.VisitorID == 0 {
		t.Errorf("hash: %+v", e)
	}
	if e := hit("quiet.example"); e.Network != "" || e.Visit.Country != "" || e.VisitorID == 0 {
		t.Errorf("drop, no places: %+v", e)
	}
	if e := hit("example.org", "X-Forwarded-For: 2001:db8:7:1234::1"); e.Network != "2001:db8:7::/48" || e.Visit.Country != "FR" {
		t.Errorf("IPv6: %+v", e)
	}
	first := hit("example.org")
	if again := hit("example.org", "X-Forwarded-For: ::ffff:203.0.113.77"); again.VisitorID != first.VisitorID {
		t.Error("an IPv4-mapped address is another visitor")
	}
	if other := hit("example.org", "X-Forwarded-For: 203.0.113.78"); other.VisitorID == first.VisitorID {
		t.Error("another address is the same visitor")
	}
	if other := hit("example.org", "User-Agent: "+safari); other.VisitorID == first.VisitorID || other.Visit.Device != "Mobile" {
		t.Error("another agent is the same visitor")
	}
}

// witness remembers which addresses places were looked up by.
type witness struct {
	mu   sync.Mutex
	seen map[netip.Addr]bool
}

func (w *witness) Lookup(a netip.Addr) classify.Place {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[a] = true
	return classify.Place{Country: strings.ToUpper(a.String())}
}

// Each site sees its own prefix of an address: it is what is stored, what a place is looked up by,
// and one site's place is not another's. The visitor's id is the whole address's.
func TestPrefixLengths(t *testing.T) {
	w := &witness{seen: map[netip.Addr]bool{}}
	r := newRig(t, func(o *Options) {
		o.Geo = w
		o.Sites = []Site{{Domain: "example.org"}, {Domain: "short.example", Bits4: 16, Bits6: 32}, {Domain: "long.example", Bits4: 32, Bits6: 128}}
	})
	for _, c := range []struct{ site, from, network, where string }{
		{"example.org", "203.0.113.77", "203.0.113.0/24", "203.0.113.0"},
		{"short.example", "203.0.113.77", "203.0.0.0/16", "203.0.0.0"},
		{"example.org", "203.0.113.77", "203.0.113.0/24", "203.0.113.0"},
		{"long.example", "203.0.113.77", "203.0.113.0/24", "203.0.113.0"},
		{"example.org", "2001:db8:7:1234::1", "2001:db8:7::/48", "2001:DB8:7::"},
		{"short.example", "2001:db8:7:1234::1", "2001:db8::/32", "2001:DB8::"},
		{"long.example", "2001:db8:7:1234::1", "2001:db8:7::/48", "2001:DB8:7::"},
	} {
		e := r.hit(t, `{"n":"pageview","u":"https://`+c.site+`/","d":"`+c.site+`"}`, "X-Forwarded-For: "+c.from)
		if e.Network != c.network || e.Visit.Country != c.where {
			t.Errorf("%s: network %q, looked up %q, want %q and %q", c.site, e.Network, e.Visit.Country, c.network, c.where)
		}
	}
	if len(w.seen) != 4 {
		t.Errorf("places were looked up by %v", w.seen)
	}
	one := r.hit(t, `{"n":"pageview","u":"https://short.example/","d":"short.example"}`, "X-Forwarded-For: 203.0.113.77")
	if two := r.hit(t, `{"n":"pageview","u":"https://short.example/","d":"short.example"}`, "X-Forwarded-For: 203.0.5.9"); two.Network != one.Network || two.VisitorID == one.VisitorID {
		t.Error("two addresses of one network are one visitor")
	}
}

func TestDuplicates(t *testing.T) {
	r := newRig(t)
	const body = `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"abc"}`
	r.hit(t, body)
	if a := r.post(t, body); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "duplicate" {
		t.Errorf("dropped %q", a.Header.Get("X-Footfall-Dropped"))
	}
	r.hit(t, strings.Replace(body, "abc", "abd", 1))
	both := strings.Replace(body, `"example.org","id"`, `"example.org,localhost","id"`, 1)
	if e := r.hit(t, both); e.Site != "localhost" {
		t.Errorf("counted for %s", e.Site)
	}
	r.clock.add(59 * time.Minute)
	if a := r.post(t, body); a.Header.Get("X-Footfall-Dropped") != "duplicate" {
		t.Error("forgotten within the hour")
	}
	r.clock.add(time.Minute)
	r.hit(t, body)
	for range 2 { // without an id, or with one that is none, nothing is a duplicate
		r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org"}`)
		r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"`+strings.Repeat("x", 33)+`"}`)
		r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org","id":5}`)
	}
}

func TestFullSpool(t *testing.T) {
	r := newRig(t)
	refuse := func(sites ...string) {
		r.spool.mu.Lock()
		defer r.spool.mu.Unlock()
		r.spool.fail = func(e *event.Event) error {
			for _, s := range sites {
				if e.Site == s {
					return errors.New("spool: full")
				}
			}
			return nil
		}
	}
	const body = `{"n":"pageview","u":"https://example.org/first","d":"example.org,localhost","id":"abc"}`
	refuse("example.org", "localhost")
	for range 2 {
		a := r.post(t, body)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !strings.HasPrefix(a.body, `{"error":`) {
			t.Fatalf("answered %d %q", a.StatusCode, a.body)
		}
	}
	if a := r.do(t, "GET", "/ff.gif?d=localhost&u=https://localhost/", ""); a.StatusCode != 200 || a.Header.Get("X-Footfall-Dropped") != "full" {
		t.Errorf("pixel answered %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	// The second of two sites cannot keep it: refused, and sent again counted once at each.
	refuse("localhost")
	if a := r.post(t, body); a.StatusCode != 503 {
		t.Errorf("answered %d", a.StatusCode)
	}
	refuse()
	if a := r.post(t, body); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
		t.Errorf("answered %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	es := r.spool.take(t)
	if len(es) != 2 || es[0].Site != "example.org" || es[1].Site != "localhost" {
		t.Fatalf("%d events", len(es))
	}
	if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "rejected", "reason", "full"); got != 5 {
		t.Errorf("%v counted as full, want 5", got)
	}
	// A visit that an event could not begin is not begun: its entry page is the next one's.
	refuse("example.org")
	r.post(t, `{"n":"pageview","u":"https://example.org/lost","d":"example.org"}`, "X-Forwarded-For: 203.0.113.9")
	refuse()
	if e := r.hit(t, `{"n":"pageview","u":"https://example.org/kept","d":"example.org"}`, "X-Forwarded-For: 203.0.113.9"); e.Visit.EntryPage != "/kept" {
		t.Errorf("entry page %q", e.Visit.EntryPage)
	}
}
