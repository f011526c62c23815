package collector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

func (r *rig) link(t testing.TB, c email.Click) string {
	t.Helper()
	if c.Site == "" {
		c.Site = "example.org"
	}
	if c.Campaign == "" {
		c.Campaign = "autumn"
	}
	if c.URL == "" {
		c.URL = "https://example.org/in?page=2&x=secret#top"
	}
	token, err := r.key.SealClick(c)
	if err != nil {
		t.Fatal(err)
	}
	return "/c/" + token
}

// click follows a link, which must lead to want, and returns why it was not counted.
func (r *rig) click(t testing.TB, path, want string, headers ...string) string {
	t.Helper()
	a := r.do(t, "GET", path, "", headers...)
	if a.StatusCode != 302 || a.Header.Get("Location") != want || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Set-Cookie") != "" {
		t.Fatalf("answered %d, %v", a.StatusCode, a.Header)
	}
	return a.Header.Get("X-Footfall-Dropped")
}

func TestEmailClick(t *testing.T) {
	r := newRig(t)
	const dest = "https://example.org/in?page=2&x=secret#top"
	path := r.link(t, email.Click{Message: "two"})
	if why := r.click(t, path, dest); why != "" {
		t.Fatalf("dropped %q", why)
	}
	e := r.spool.take(t)[0]
	if e.Kind != event.EmailClick || e.Name != "click" || e.Site != "example.org" || e.Visit.UTMCampaign != "autumn" || e.Visit.UTMContent != "two" ||
		e.Visit.Source != "Email" || e.Visit.Channel != "Email" || e.VisitorID == 0 || e.Visit.ID != 0 || e.Seq != 0 ||
		e.Hostname != "example.org" || e.Page != "/in?page=2" || e.Visit.Country != "DE" || e.Interactive {
		t.Errorf("%+v", e)
	}
	if got := r.metric(t, "footfall_hits_total", "source", "email", "outcome", "counted"); got != 1 {
		t.Errorf("%v counted", got)
	}
	// Nobody's reading: answered and not counted.
	for header, want := range map[string]string{
		"Cookie: " + privacy.OptOutName + "=" + privacy.OptOutValue: "optout",
		"User-Agent: " + google: "bot",
		"User-Agent: " + gmail:  "bot",
		"Sec-Purpose: prefetch": "prefetch",
	} {
		if why := r.click(t, path, dest, header); why != want {
			t.Errorf("%s: dropped %q, want %q", header, why, want)
		}
	}
	if a := r.do(t, "HEAD", path, ""); a.StatusCode != 302 || a.Header.Get("Location") != dest {
		t.Errorf("HEAD: %d", a.StatusCode)
	}
	if a := r.do(t, "POST", path, ""); a.StatusCode != 405 || a.Header.Get("Location") != "" {
		t.Errorf("POST: %d", a.StatusCode)
	}
	if es := r.spool.take(t); len(es) != 0 {
		t.Errorf("%d events", len(es))
	}
	// Signals of the browser.
	if why := r.click(t, path, dest, "DNT: 1"); why != "" {
		t.Errorf("unlinked: %q", why)
	}
	if e := r.spool.take(t)[0]; e.VisitorID != 0 {
		t.Error("an unlinked click has an id")
	}
	quiet := r.link(t, email.Click{Site: "quiet.example"})
	if why := r.click(t, quiet, dest, "Sec-GPC: 1"); why != "dnt" {
		t.Errorf("dropped %q", why)
	}
	// Campaign parameters only where asked.
	r.click(t, r.link(t, email.Click{URL: "https://example.org/?a=b#c", UTM: true}), "https://example.org/?a=b&utm_source=email&utm_medium=email&utm_campaign=autumn#c")
	// Personal data in the destination is masked in what is kept, and the link leads there all the same.
	r.spool.take(t)
	r.click(t, r.link(t, email.Click{URL: "https://example.org/u/anna@example.com"}), "https://example.org/u/anna@example.com")
	if e := r.spool.take(t)[0]; strings.Contains(e.Page, "anna") || e.Masked == 0 {
		t.Errorf("page %q", e.Page)
	}
}

// A link leads on whatever becomes of the hit, and nothing else leads anywhere.
func TestEmailClickNeverRedirectsElsewhere(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Sites = append(o.Sites, Site{Domain: "silent.example", NoEmail: true})
	})
	good := r.link(t, email.Click{Expires: noon.Add(48 * time.Hour)})
	open, err := r.key.SealOpen(email.Open{Site: "example.org", Campaign: "autumn"})
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"/c/x", "/c/" + open, good + "A", good[:len(good)-2], "/c/" + good[4:], "/c/https:%2f%2fevil.example", "/c/" + strings.Repeat("A", 8000), good + "%0d%0aX:1"}
	for _, path := range append(bad, "/c/", good+"/", "/c//evil.example") {
		if a := r.do(t, "GET", path, ""); a.StatusCode != 404 || a.Header.Get("Location") != "" {
			t.Errorf("%.60s: %d, %q", path, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if got := r.metric(t, "footfall_hits_total", "source", "email", "outcome", "dropped", "reason", "malformed"); got != float64(len(bad)) {
		t.Errorf("%v malformed, want %d", got, len(bad))
	}
	if a := r.do(t, "GET", "/o/"+good[3:]+".gif", ""); a.Header.Get("X-Footfall-Dropped") != "malformed" {
		t.Error("a link's token was taken for an open")
	}
	const dest = "https://example.org/in?page=2&x=secret#top"
	if why := r.click(t, r.link(t, email.Click{Site: "gone.example"}), dest); why != "site" {
		t.Errorf("a site that is gone: %q", why)
	}
	if why := r.click(t, r.link(t, email.Click{Site: "silent.example"}), dest); why != "means" {
		t.Errorf("a site that counts no mail: %q", why)
	}
	r.spool.mu.Lock()
	r.spool.fail = func(*event.Event) error { return errors.New("full") }
	r.spool.mu.Unlock()
	if why := r.click(t, good, dest); why != "full" {
		t.Errorf("a full spool: %q", why)
	}
	r.clock.add(72 * time.Hour)
	if a := r.do(t, "GET", good, ""); a.StatusCode != 404 || a.Header.Get("Location") != "" {
		t.Errorf("expired: %d", a.StatusCode)
	}
}

func TestVisitFromAClick(t *testing.T) {
	r := newRig(t)
	const dest = "https://example.org/in?utm_campaign=own"
	follow := func(message string, headers ...string) event.Event {
		t.Helper()
		r.click(t, r.link(t, email.Click{Message: message, URL: dest}), dest, headers...)
		return r.spool.take(t)[0]
	}
	from := func(e event.Event, message string) bool {
		return e.Visit.Source == "Email" && e.Visit.Channel == "Email" && e.Visit.UTMCampaign == "autumn" && e.Visit.UTMContent == message
	}
	before := r.hit(t, page("/"))
	click := follow("one")
	a := r.hit(t, page("/in?utm_campaign=own&utm_term=t"))
	if !from(a, "one") || a.Visit.ID == before.Visit.ID || a.VisitorID != click.VisitorID || a.Visit.UTMTerm != "t" || a.Visit.EntryPage != "/in" {
		t.Errorf("%+v", a.Visit)
	}
	if e := r.hit(t, page("/in?utm_campaign=own&utm_term=t")); e.Visit != a.Visit {
		t.Errorf("loading the page again left the visit: %+v", e.Visit)
	}
	if e := r.hit(t, page("/next")); e.Visit != a.Visit {
		t.Error("the next page is in another visit")
	}
	follow("one")
	if e := r.hit(t, page("/again")); e.Visit != a.Visit {
		t.Error("another link of the same mail began a visit")
	}
	follow("two")
	b := r.hit(t, page("/in"))
	if !from(b, "two") || b.Visit.ID == a.Visit.ID {
		t.Errorf("another mail began no visit: %+v", b.Visit)
	}
	if e := r.hit(t, page("/?utm_campaign=ad")); from(e, "two") || e.Visit.ID == b.Visit.ID {
		t.Error("a campaign after the mail's began no visit")
	}
	// Events do not use the click up, and make no visit of it.
	follow("three")
	r.hit(t, engaged(1000, "/"))
	r.hit(t, named("Sign up", "/"))
	if e := r.hit(t, page("/in")); !from(e, "three") {
		t.Errorf("%+v", e.Visit)
	}
	// Somebody else, later, or after the opt-out.
	other := "X-Forwarded-For: 203.0.113.5"
	follow("four")
	if e := r.hit(t, page("/in"), other); e.Visit.Source != "" {
		t.Error("somebody else has the source")
	}
	r.clock.add(30 * time.Minute)
	if e := r.hit(t, page("/in")); e.Visit.Source != "" {
		t.Error("the source was lent for longer than 30 minutes")
	}
	// A page view that could not be kept leaves the source for the one that is sent again.
	follow("five", other)
	r.spool.mu.Lock()
	r.spool.fail = func(*event.Event) error { return errors.New("full") }
	r.spool.mu.Unlock()
	if a := r.post(t, page("/in"), other); a.StatusCode != 503 {
		t.Fatalf("answered %d", a.StatusCode)
	}
	r.spool.mu.Lock()
	r.spool.fail = nil
	r.spool.mu.Unlock()
	if e := r.hit(t, page("/in"), other); !from(e, "five") {
		t.Errorf("%+v", e.Visit)
	}
}

// TestClickMeetsTheCookie: the click has the id of the day, and the visit that follows it the cookie's.
func TestClickMeetsTheCookie(t *testing.T) {
	r := newRig(t)
	tag := privacy.TagOf("club.example")
	cookie := "Cookie: " + privacy.ConsentName + "=1.20781." + string(tag[:]) + "AAAAAAAAAAAAAAAAAAAAAA"
	r.click(t, r.link(t, email.Click{Site: "club.example", URL: "https://club.example/"}), "https://club.example/", cookie)
	click := r.spool.take(t)[0]
	e := r.hit(t, `{"n":"pageview","u":"https://club.example/","d":"club.example"}`, cookie)
	if e.VisitorID == click.VisitorID || e.Visit.Source != "Email" {
		t.Errorf("same id %v, source %q", e.VisitorID == click.VisitorID, e.Visit.Source)
	}
}

func TestRestoreClick(t *testing.T) {
	r := newRig(t)
	follow := func() event.Event {
		r.click(t, r.link(t, email.Click{}), "https://example.org/in?page=2&x=secret#top")
		return r.spool.take(t)[0]
	}
	before := r.hit(t, page("/"))
	r.clock.add(time.Minute)
	click := follow()
	r.clock.add(time.Minute)
	for _, order := range [][]event.Event{{before, click}, {click, before}} {
		again := newRig(t, func(o *Options) { o.Keys, o.Now = r.c.keys, r.clock.now })
		for _, e := range order {
			again.c.Restore(&e)
		}
		if e := again.hit(t, page("/in")); e.Visit.Source != "Email" || e.Visit.ID == before.Visit.ID {
			t.Errorf("%+v", e.Visit)
		}
	}
	after := r.hit(t, page("/in"))
	r.clock.add(time.Minute)
	for _, order := range [][]event.Event{{before, click, after}, {after, click, before}, {click, after}} {
		again := newRig(t, func(o *Options) { o.Keys, o.Now = r.c.keys, r.clock.now })
		for _, e := range order {
			again.c.Restore(&e)
		}
		if e := again.hit(t, page("/?utm_campaign=x")); e.Visit.Source == "Email" {
			t.Error("the click was lent twice")
		}
	}
}

func TestLoansAreBounded(t *testing.T) {
	vs := newVisits(1 << 20)
	for i := range uint64(visitShards * maxLoans * 2) {
		vs.lend(visitKey{visitor: i + 1}, loan{at: 100, day: 1})
	}
	n := 0
	for i := range vs.shards {
		n += len(vs.shards[i].loans)
	}
	if n != visitShards*maxLoans {
		t.Errorf("%d loans", n)
	}
	for i := range visitShards {
		vs.sweep(i, 100+visitTimeout)
		if len(vs.shards[i].loans) != 0 {
			t.Fatal("old loans stay")
		}
	}
}
