package privacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

// shelf holds rows in memory, and notes what it was asked.
type shelf struct {
	mu     sync.Mutex
	rows   []event.Event
	looked []event.Subject
	detail []event.Subject // of those, the ones with details
	did    []string
	err    error
	later  bool
	away   error         // of look-ups only
	block  chan struct{} // look-ups wait for it
}

func of(s []event.Subject, e *event.Event) bool {
	return slices.ContainsFunc(s, func(s event.Subject) bool {
		return e.Site == s.Site && e.VisitorID == s.Visitor && s.First <= e.Day && e.Day <= s.Last
	})
}

func (s *shelf) Held(ctx context.Context, who []event.Subject, details bool) (h event.Held, err error) {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return h, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, "held")
	s.looked = append(s.looked, who...)
	if details {
		s.detail = append(s.detail, who...)
	}
	n := map[event.Kind]uint64{}
	for _, e := range s.rows {
		if of(who, &e) {
			n[e.Kind]++
			h.Visits = 1
			if details {
				h.Events = append(h.Events, e)
			}
		}
	}
	for k, rows := range n {
		h.Counts = append(h.Counts, event.KindCount{Kind: k, Rows: rows})
	}
	return h, cmp.Or(s.err, s.away)
}

func (s *shelf) Erase(_ context.Context, who []event.Subject) (e event.Erasure, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, "erase")
	e = event.Erasure{ID: 1 << 16, At: noon, Done: !s.later}
	if s.err != nil || s.later {
		return e, s.err
	}
	n := len(s.rows)
	s.rows = slices.DeleteFunc(s.rows, func(r event.Event) bool { return of(who, &r) })
	e.Rows = uint64(n - len(s.rows))
	return e, nil
}

type stamp struct{ fail bool }

func (s stamp) Issue(act policy.Act, site string) ([]byte, error) {
	if s.fail {
		return nil, errors.New("the disk is full")
	}
	return fmt.Appendf(nil, `{"receipt":{"act":%q,"site":%q}}`, act, site), nil
}
func (stamp) Keys() []byte { return []byte(`{"keys":[{"kty":"OKP"}]}`) }

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const dayNumber = event.Day(20781)

// desk is Pages on a shelf, and whoever asks them.
type desk struct {
	*Pages
	*shelf
	sites *Sites
	key   *anonymize.CookieKey
	at    time.Time
	said  bytes.Buffer
}

func newDesk(t *testing.T, receipts Receipts) *desk {
	t.Helper()
	key, err := anonymize.OpenCookieKey(filepath.Join(t.TempDir(), "cookie.key"))
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{shelf: new(shelf), key: key, at: noon}
	d.sites = NewSites([]Site{{Domain: "club.example", Location: berlin, Cookie: true, Unlinked: true}, {Domain: "other.example", Location: time.UTC}}, noon)
	d.Pages, err = New(Options{
		Key: key, Records: d.shelf, Receipts: receipts, Now: func() time.Time { return d.at }, Log: slog.New(slog.NewTextHandler(&d.said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shared is the number that everybody behind the test's network has with the test's browser.
func shared(domain string, day event.Day) uint64 { return uint64(len(domain))<<32 + uint64(day) }

func (d *desk) ask(method, target, body, consent string, change ...func(*Request)) (status int, h *fasthttp.ResponseHeader, text string) {
	path, query, _ := strings.Cut(target, "?")
	r := &Request{
		Method: method, Path: path, Query: new(fasthttp.Args), Body: []byte(body), Host: "stats.club.example", Accept: "text/html,*/*;q=0.8",
		FetchSite: "same-origin", Consent: consent, Sites: d.sites, Number: shared,
	}
	r.Query.Parse(query)
	for _, f := range change {
		f(r)
	}
	var w fasthttp.Response
	d.Serve(context.Background(), r, &w)
	return w.StatusCode(), &w.Header, string(w.Body())
}

func accept(what string) func(*Request) { return func(r *Request) { r.Accept = what } }

// agreed returns a consent cookie for club.example, and its id.
func (d *desk) agreed() (value string, id uint64) {
	var c Consent
	c.give(TagOf("club.example"), dayNumber)
	random, _ := c.Of(TagOf("club.example"))
	return c.Value(), d.key.ID("club.example", random)
}

func row(id uint64, page string) event.Event {
	return event.Event{Site: "club.example", Day: dayNumber, Time: noon.Unix() - 3600, Kind: event.PageView, Name: "pageview", VisitorID: id, Page: page,
		Title: "Secret title", Hostname: "club.example", Network: "203.0.113.0/24", Props: []event.Prop{{Key: "plan", Value: "secretplan"}},
		Visit: event.Visit{ID: 7777777, Source: "Secretsource", Browser: "Secretbrowser", EntryPage: page, City: "Secretcity", Referrer: "secret.example/x"}}
}

// TestAttackOnSharedNumber: somebody behind the same network with the same browser, who has neither cookie, asks in every way
// there is, and learns counts only.
func TestAttackOnSharedNumber(t *testing.T) {
	d := newDesk(t, stamp{})
	cookie, id := d.agreed()
	d.rows = []event.Event{row(shared("club.example", dayNumber), "/secret-ward"), row(shared("club.example", dayNumber), "/secret-ward/2"), row(id, "/secret-own")}
	forged := strings.Replace(cookie, cookie[len(cookie)-22:], "AAAAAAAAAAAAAAAAAAAAAA", 1)
	asked := 0
	for _, consent := range []string{"", forged, "1.20781." + strings.Repeat("A", 26), "1"} {
		for _, target := range []string{"/privacy/me", "/privacy/me?site=club.example", "/privacy/me?format=json", "/privacy/me?details=1&format=json&site=club.example"} {
			for _, a := range []string{"text/html", "application/json", "*/*", ""} {
				for _, m := range []string{"GET", "HEAD"} {
					status, _, text := d.ask(m, target, "", consent, accept(a))
					asked++
					if low := strings.ToLower(text); status != 200 || strings.Contains(low, "secret") || strings.Contains(low, "7777777") ||
						strings.Contains(low, "203.0.113") || strings.Contains(low, fmt.Sprint(shared("club.example", dayNumber))) || strings.Contains(low, "10:00") || strings.Contains(low, "11:00:00") {
						t.Fatalf("%s %s as %q with the cookie %q: %d\n%s", m, target, a, consent, status, text)
					}
				}
			}
		}
	}
	for _, s := range d.detail {
		if s.Visitor == shared("club.example", dayNumber) || s.Visitor == id {
			t.Fatalf("details were asked for of %+v", s)
		}
	}
	_, _, text := d.ask("GET", "/privacy/me", "", "", accept("application/json"))
	var got struct {
		Sites []struct {
			Site   string
			Number struct {
				PageViews, Visits uint64
				Shared            bool
			}
			Cookie *struct{}
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Sites) != 1 || got.Sites[0].Number.PageViews != 2 || got.Sites[0].Number.Visits != 1 || !got.Sites[0].Number.Shared || got.Sites[0].Cookie != nil {
		t.Errorf("%v %s", err, text)
	}
	// And who has the cookie sees what is under it, all of it, and of the shared number still counts only.
	for _, a := range []string{"text/html", "application/json"} {
		_, _, text := d.ask("GET", "/privacy/me", "", cookie, accept(a))
		for _, want := range []string{"/secret-own", "Secret title", "secretplan", "Secretsource", "Secretbrowser", "Secretcity", "secret.example/x", "203.0.113.0/24"} {
			if !strings.Contains(text, want) {
				t.Errorf("as %s the cookie's own page lacks %q", a, want)
			}
		}
		if strings.Contains(text, "/secret-ward") || strings.Contains(text, cookie[len(cookie)-22:]) || strings.Contains(text, fmt.Sprint(id)) {
			t.Errorf("as %s:\n%s", a, text)
		}
	}
	if asked != 4*4*4*2 || d.said.Len() > 0 {
		t.Errorf("%d requests; the log says %q", asked, d.said.String())
	}
}

// TestNumbersThatCanBeComputed: while yesterday's key lives, because the day is not over everywhere, yesterday's rows can be found.
func TestNumbersThatCanBeComputed(t *testing.T) {
	d := newDesk(t, nil)
	for at, want := range map[string][]event.Day{
		"2026-11-24T12:00:00Z": {20781},
		"2026-11-24T23:30:00Z": {20782, 20781}, // the 25th in Berlin, the 24th at the site in UTC
		"2026-11-25T00:00:00Z": {20782},
	} {
		var err error
		if d.at, err = time.Parse(time.RFC3339, at); err != nil {
			t.Fatal(err)
		}
		d.looked = nil
		_, _, text := d.ask("GET", "/privacy/me", "", "")
		var got []event.Day
		for _, s := range d.looked {
			if s.First != s.Last || s.Visitor != shared("club.example", s.First) {
				t.Errorf("%s: %+v", at, s)
			}
			got = append(got, s.First)
		}
		if !slices.Equal(got, want) || strings.Contains(text, "yesterday and today") != (len(want) == 2) {
			t.Errorf("%s: looked for days %v, want %v", at, got, want)
		}
	}
}

func TestDelete(t *testing.T) {
	d := newDesk(t, stamp{})
	cookie, id := d.agreed()
	number := shared("club.example", dayNumber)
	d.rows = []event.Event{row(number, "/a"), row(id, "/b"), row(id+1, "/somebody-else")}
	for _, c := range []struct {
		body   string
		change func(*Request)
		status int
	}{
		{"action=delete", func(r *Request) { r.FetchSite = "cross-site" }, 403},
		{"action=delete", func(r *Request) { r.FetchSite, r.Origin = "", "https://evil.example" }, 403},
		{"action=look", func(r *Request) {}, 400},
		{"", func(r *Request) {}, 400},
		{"action=delete&site=nobody.example", func(r *Request) {}, 404},
	} {
		if status, _, _ := d.ask("POST", "/privacy/me", c.body, cookie, c.change); status != c.status || len(d.rows) != 3 {
			t.Fatalf("%q: %d, %d rows", c.body, status, len(d.rows))
		}
	}
	d.did = nil
	status, h, text := d.ask("POST", "/privacy/me", "action=delete", cookie)
	if want := []string{"erase", "held", "held"}; status != 200 || !slices.Equal(d.did, want) {
		t.Errorf("%d, what happened: %q, want %q", status, d.did, want)
	}
	if len(d.rows) != 1 || d.rows[0].VisitorID != id+1 || !strings.Contains(text, "Deleted: 2 rows") || !strings.Contains(text, "it holds nothing any more") ||
		!strings.Contains(text, `download="receipt-erasure.json"`) || len(h.PeekAll("Set-Cookie")) != 0 {
		t.Errorf("%d rows are left; the page says\n%s", len(d.rows), text)
	}
	// Once more changes nothing, and withdrawing is a choice.
	_, h, text = d.ask("POST", "/privacy/me", `{"action":"delete","withdraw":true}`, cookie, accept("application/json"))
	var got struct {
		Deleted struct {
			Rows                      uint64
			Done, Verified, Withdrawn bool
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Deleted.Rows != 0 || !got.Deleted.Done || !got.Deleted.Verified || !got.Deleted.Withdrawn ||
		!strings.HasPrefix(string(h.Peek("Set-Cookie")), "footfall_id=; Path=/; Max-Age=0;") {
		t.Errorf("%v %s, cookie %q", err, text, h.Peek("Set-Cookie"))
	}
	// The order is kept where the database is away, and nothing is claimed.
	d.rows, d.later = []event.Event{row(id, "/b")}, true
	if _, _, text = d.ask("POST", "/privacy/me", "action=delete", cookie); !strings.Contains(text, "Your order is written down") || strings.Contains(text, "it holds nothing any more") {
		t.Errorf("the page says\n%s", text)
	}
	d.err = errors.New("dial tcp 10.1.2.3:9000: refused")
	if status, _, text = d.ask("POST", "/privacy/me", "action=delete", cookie); status != 503 || !strings.Contains(text, "Nothing was deleted.") || strings.Contains(text, "10.1.2.3") {
		t.Errorf("%d\n%s", status, text)
	}
}

// TestDeleteWhileDown: the order is taken while the database is away. No figure is given then, neither 0 nor another, and
// the words say what becomes of it.
func TestDeleteWhileDown(t *testing.T) {
	d := newDesk(t, stamp{})
	cookie, id := d.agreed()
	d.rows, d.later, d.away = []event.Event{row(id, "/b"), row(shared("club.example", dayNumber), "/a")}, true, errors.New("dial tcp 10.1.2.3:9000: refused")
	status, _, text := d.ask("POST", "/privacy/me", "action=delete", cookie, accept("application/json"))
	var got struct {
		Deleted struct{ Done, Verified bool }
		Sites   []struct{ Number, Cookie map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || got.Deleted.Done || got.Deleted.Verified || len(got.Sites) != 1 || got.Sites[0].Cookie == nil {
		t.Fatalf("%d %v %s", status, err, text)
	}
	for _, part := range []map[string]any{got.Sites[0].Number, got.Sites[0].Cookie} {
		for _, name := range []string{"pageviews", "events", "reading_times", "mails_opened", "mail_links", "visits", "waiting", "rows"} {
			if v, is := part[name]; is && v != nil {
				t.Errorf("%s is said to be %v", name, v)
			}
		}
	}
	for _, want := range []string{"Nothing could be looked up now", "written down and will be carried out", "Until then everything is as before"} {
		if !strings.Contains(text, want) {
			t.Errorf("it is not said that %q: %s", want, text)
		}
	}
	status, _, text = d.ask("POST", "/privacy/me", "action=delete", cookie)
	for _, want := range []string{"Nothing could be looked up now", "Your order is written down", "will be carried out", "Until then everything is as before"} {
		if !strings.Contains(text, want) || status != 200 {
			t.Errorf("%d, the page does not say %q", status, want)
		}
	}
	for _, not := range []string{"Looked up for you", "Nothing.", "How many", "0 rows", "10.1.2.3"} {
		if strings.Contains(text, not) {
			t.Errorf("the page says %q", not)
		}
	}
}

// TestStoreIsDown: an answer comes in any case, and no more than a few requests wait for the database at a time.
func TestStoreIsDown(t *testing.T) {
	d := newDesk(t, stamp{})
	d.block = make(chan struct{})
	var wg sync.WaitGroup
	for range 3 * maxLookups {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			var w fasthttp.Response
			d.Serve(ctx, &Request{Method: "GET", Path: PathMe, Query: new(fasthttp.Args), Host: "club.example", Accept: "application/json", Sites: d.sites, Number: shared}, &w)
			if w.StatusCode() != 503 || len(w.Header.Peek("Retry-After")) == 0 || !strings.Contains(string(w.Body()), "cannot be asked") {
				t.Errorf("%d %s", w.StatusCode(), w.Body())
			}
		})
	}
	wg.Wait()
	close(d.block)
	if status, _, text := d.ask("GET", "/privacy/me", "", ""); status != 200 {
		t.Errorf("afterwards: %d %s", status, text)
	}
	d.shelf.err = errors.New("secret of the database")
	if status, _, text := d.ask("GET", "/privacy/me", "", ""); status != 503 || strings.Contains(text+d.said.String(), "secret") {
		t.Errorf("%d %s; the log says %s", status, text, d.said.String())
	}
	if len(d.lookups) != 0 {
		t.Error("a turn was not given back")
	}
}

// TestManySites: no page asks the database without end.
func TestManySites(t *testing.T) {
	d := newDesk(t, nil)
	var many []Site
	for i := range maxSites + 1 {
		many = append(many, Site{Domain: fmt.Sprintf("s%d.example", i), Location: time.UTC})
	}
	d.sites = NewSites(many, noon)
	if status, _, text := d.ask("GET", "/privacy/me", "", ""); status != 200 || !strings.Contains(text, "/privacy/me?site=s8.example") || len(d.looked) != 0 {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text := d.ask("GET", "/privacy/me?format=json", "", ""); status != 400 || !strings.Contains(text, `"field":"site"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := d.ask("GET", "/privacy/me?site=s8.example", "", ""); status != 200 || len(d.looked) != 1 {
		t.Errorf("%d, %d looked for", status, len(d.looked))
	}
}

func TestReceipts(t *testing.T) {
	d := newDesk(t, stamp{})
	cookie, _ := d.agreed()
	for _, c := range []struct{ path, body, consent, want string }{
		{"/optout", "optout=1", "", `{"receipt":{"act":"opt-out","site":"club.example"}}`},
		{"/optout", "optout=0", "", `{"receipt":{"act":"opt-in","site":"club.example"}}`},
		{"/optout?site=club.example,other.example", "optout=1", "", `{"receipt":{"act":"opt-out","site":""}}`},
		{"/consent", "consent=1&site=club.example", "", `{"receipt":{"act":"consent","site":"club.example"}}`},
		{"/consent", "consent=0&site=club.example", cookie, `{"receipt":{"act":"withdrawal","site":"club.example"}}`},
		{"/consent", "consent=1&site=club.example", cookie, `{"optout":false,"sites":[{"site":"club.example","cookie":true,"consent":true}]}`},
		{"/consent", "consent=1&site=other.example", "", `{"optout":false,"sites":[{"site":"other.example","cookie":false,"consent":false}]}`},
	} {
		if status, h, text := d.ask("POST", c.path, c.body, c.consent, accept("application/json")); status != 200 || text != c.want || string(h.ContentType()) != "application/json" {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.body, status, text, c.want)
		}
	}
	if status, h, text := d.ask("POST", "/optout", "optout=1", "", accept("*/*")); status != 200 || text != "ok\n" || len(h.Peek("Set-Cookie")) == 0 {
		t.Errorf("the tracker's answer: %d %q", status, text)
	}
	if status, h, text := d.ask("GET", "/.well-known/footfall-receipt-key.json", "", ""); status != 200 || text != string(stamp{}.Keys()) || string(h.Peek("Access-Control-Allow-Origin")) != "*" {
		t.Errorf("keys: %d %s", status, text)
	}
	// A choice holds without a receipt, too.
	d = newDesk(t, stamp{fail: true})
	if status, h, text := d.ask("POST", "/optout", "optout=1", "", accept("application/json")); status != 200 || len(h.Peek("Set-Cookie")) == 0 || !strings.Contains(text, `"optout":true`) {
		t.Errorf("without a receipt: %d %s", status, text)
	}
	if !strings.Contains(d.said.String(), "no receipt was given") {
		t.Errorf("the log says %q", d.said.String())
	}
}

// TestGuards: no page can be framed, stored, or read by another site where that would tell something.
func TestGuards(t *testing.T) {
	d := newDesk(t, stamp{})
	for _, path := range []string{"/optout", "/privacy/me", "/privacy/me?format=json", "/optout?site=nobody.example"} {
		_, h, text := d.ask("GET", path, "", "", func(r *Request) { r.HTTPS = true })
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Set-Cookie": "",
		} {
			if got := string(h.Peek(name)); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		csp := string(h.Peek("Content-Security-Policy"))
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
			t.Errorf("%s: %s", path, csp)
		}
		if open := string(h.Peek("Access-Control-Allow-Origin")) == "*"; open == strings.HasPrefix(path, "/privacy/me") {
			t.Errorf("%s: open to other sites: %v", path, open)
		}
		if strings.Contains(text, "<script") || strings.Contains(text, " style=") {
			t.Errorf("%s has a script or inline style", path)
		}
	}
}

// TestSignalIsSaid: who sends Do-Not-Track is told what it does, and who keeps the cookie unused why.
func TestSignalIsSaid(t *testing.T) {
	d := newDesk(t, nil)
	cookie, _ := d.agreed()
	signal := func(r *Request) { r.Signal = true }
	if _, _, text := d.ask("GET", "/optout", "", "", signal); !strings.Contains(text, "counted without any number") {
		t.Errorf("the page says\n%s", text)
	}
	if _, _, text := d.ask("GET", "/privacy/me", "", "", signal); !strings.Contains(text, "while your browser asked not to be tracked") {
		t.Errorf("the page says\n%s", text)
	}
	out := func(r *Request) { r.OptedOut = true }
	if _, _, text := d.ask("GET", "/optout", "", cookie, out); !strings.Contains(text, "While you are not counted it is not used.") {
		t.Errorf("the page says\n%s", text)
	}
	if _, _, text := d.ask("GET", "/optout", "", "", out); strings.Contains(text, "I agree to the cookie") {
		t.Error("who does not want to be counted is asked to agree to a cookie")
	}
}
