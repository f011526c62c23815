package collector

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
)

// The names of the kinds that events have are those that are written in their texts.
func TestMaskedKindsAgree(t *testing.T) {
	for text, kind := range map[string]string{
		"ann@example.org": "email", "+49 30 1234567": "phone", "203.0.113.77": "ip", "4111 1111 1111 1111": "card",
		"DE89370400440532013000": "iban", "550e8400-e29b-41d4-a716-446655440000": "token",
	} {
		got, found := anonymize.Mask(text)
		if kinds := event.Masked(found).Kinds(); got != "("+kind+")" || len(kinds) != 1 || kinds[0] != kind {
			t.Errorf("%s: %s, %v", text, got, kinds)
		}
	}
	if got, _ := anonymize.Mask("203.0.113.77"); got != maskedHost {
		t.Error(got)
	}
}

const secret = "ann.lee@example.net"

// strayed is a hit with an address in each text that its sender chooses.
func strayed(site string) string {
	return fmt.Sprintf(`{"n":"Mail %[1]s","u":"https://example.org/hi/%[2]s/x?page=%[2]s&utm_source=%[1]s&utm_medium=%[2]s&utm_campaign=%[1]s&utm_content=%[1]s&utm_term=%[1]s",
		"d":%[3]q,"r":"https://other.example/of/%[1]s","t":"Hello %[1]s","p":{"to %[1]s":"x","who":"%[1]s","plan":"pro"}}`, secret, url.QueryEscape(secret), site)
}

// texts are all texts of an event.
func texts(e *event.Event) string {
	s := string(e.AppendTo(nil))
	return s
}

// TestMaskEverywhere sends personal data in every text of a hit and looks for it in what is kept.
func TestMaskEverywhere(t *testing.T) {
	r := newRig(t)
	e := r.hit(t, strayed("example.org"))
	if s := texts(&e); strings.Contains(s, "ann") || strings.Contains(s, "example.net") {
		t.Errorf("kept: %+v", e)
	}
	v := e.Visit
	for what, got := range map[string][2]string{
		"page": {e.Page, "/hi/(email)/x?page=(email)"}, "entry page": {v.EntryPage, "/hi/(email)/x?page=(email)"}, "name": {e.Name, "Mail (email)"},
		"title": {e.Title, "Hello (email)"}, "referrer": {v.Referrer, "other.example/of/(email)"}, "source": {v.Source, "(email)"},
		"utm_source": {v.UTMSource, "(email)"}, "utm_medium": {v.UTMMedium, "(email)"}, "utm_campaign": {v.UTMCampaign, "(email)"},
		"utm_content": {v.UTMContent, "(email)"}, "utm_term": {v.UTMTerm, "(email)"},
		"properties": {fmt.Sprint(e.Props), "[{to (email) x} {who (email)} {plan pro}]"}, "kinds": {fmt.Sprint(e.Masked.Kinds()), "[email]"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %q, want %q", what, got[0], got[1])
		}
	}
	if strings.Contains(r.log.String(), "ann") {
		t.Error("the log has it")
	}

	// The same visitor with the same campaign goes on with the same visit.
	next := r.hit(t, strayed("example.org"))
	if next.Visit.ID != v.ID || next.Seq != 2 {
		t.Errorf("visit %d, place %d, after visit %d", next.Visit.ID, next.Seq, v.ID)
	}

	// What is cut afterwards is not cut in front of the recogniser.
	long := r.hit(t, `{"n":"pageview","u":"https://example.org/`+strings.Repeat("a", event.MaxPage-10)+`/`+secret+`","d":"example.org"}`)
	if strings.Contains(long.Page, "ann") || len(long.Page) > event.MaxPage {
		t.Errorf("a long page ends in %q", long.Page[len(long.Page)-30:])
	}

	for _, c := range []struct{ url, host string }{
		{"http://203.0.113.77:8080/", "(ip)"}, {"http://[2001:db8::77]/", "(ip)"}, {"http://127.0.0.1/", "127.0.0.1"}, {"https://1und1.example.org/", "1und1.example.org"},
	} {
		if e := r.hit(t, fmt.Sprintf(`{"n":"pageview","u":%q,"d":"example.org"}`, c.url)); e.Hostname != c.host || (e.Masked != 0) != (c.host == "(ip)") {
			t.Errorf("%s: host %q, masked %v", c.url, e.Hostname, e.Masked.Kinds())
		}
	}
	if e := r.hit(t, page("/2026/11/an-article")); e.Masked != 0 || e.Page != "/2026/11/an-article" {
		t.Errorf("%+v", e)
	}
}

// TestMaskPlus: a plus that was not escaped is a space in a query. The number behind it is masked all the same, and
// nothing else changes.
func TestMaskPlus(t *testing.T) {
	const number = "+4915112345678"
	r := newRig(t)
	e := r.hit(t, `{"n":"pageview","d":"example.org","u":"https://example.org/q?page=`+number+`&utm_source=`+number+`&utm_campaign=+49+151+12345678&utm_term=+new+shoes&utm_content=+42"}`)
	if v := e.Visit; e.Page != "/q?page=(phone)" || v.UTMSource != "(phone)" || v.UTMCampaign != "(phone)" || v.UTMTerm != "new shoes" || v.UTMContent != "42" {
		t.Errorf("%+v", e)
	}
	for _, u := range []string{"https://example.org/q?page=" + number, url.QueryEscape("https://example.org/q?page=" + number + "&utm_term=" + number)} {
		r.do(t, "GET", "/ff.gif?d=example.org&t="+number+"&u="+u, "")
		es := r.spool.take(t)
		if len(es) != 1 || strings.Contains(texts(&es[0]), "4915") || es[0].Title != "(phone)" || es[0].Page != "/q?page=(phone)" {
			t.Errorf("%s: %+v", u, es)
		}
	}
}

// Each site of a hit has it as its own setting says.
func TestMaskPerSite(t *testing.T) {
	r := newRig(t, func(o *Options) {
		for i := range o.Sites {
			switch o.Sites[i].Domain {
			case "deaf.example":
				o.Sites[i].PII = PIIDrop
			case "localhost":
				o.Sites[i].PII = PIIOff
			}
		}
	})
	a := r.post(t, strayed("example.org,localhost,deaf.example,bücher.example"))
	if a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
		t.Fatalf("%d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	es := r.spool.take(t)
	if len(es) != 3 {
		t.Fatalf("%d events", len(es))
	}
	for i, want := range []string{"[{to (email) x} {who (email)} {plan pro}]", "[{to ann.lee@example.net x} {who ann.lee@example.net} {plan pro}]", "[{to (email) x} {who (email)} {plan pro}]"} {
		if got := fmt.Sprint(es[i].Props); got != want || (es[i].Masked != 0) != (i != 1) {
			t.Errorf("%s: %s, masked %v", es[i].Site, got, es[i].Masked)
		}
	}
	want := event.Drop{Site: "deaf.example", Minute: noon.Unix() / 60, Reason: "pii", Count: 1, Masked: event.Masked(anonymize.FoundEmail), Page: "/hi/(email)/x"}
	if got := r.spool.takeDrops(); len(got) != 1 || got[0] != want {
		t.Errorf("noted %+v, want %+v", got, want)
	}

	// Alone the hit says why it is not counted, also when it is sent again with its id.
	for range 2 {
		a := r.post(t, `{"n":"pageview","u":"https://example.org/`+secret+`","d":"deaf.example","id":"77"}`)
		if a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "pii" {
			t.Errorf("%d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
		}
	}
	if n := len(r.spool.takeDrops()); n != 2 || len(r.spool.take(t)) != 0 {
		t.Errorf("%d drops", n)
	}
	if n := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "dropped", "reason", "pii"); n != 3 {
		t.Errorf("%v hits dropped for it", n)
	}
}

// Pages of dropped hits are told apart up to a number a minute.
func TestDropPagesAreBounded(t *testing.T) {
	d := newDropPages()
	a, b := &site{number: 1}, &site{number: 2}
	for i := range maxDropPages - 1 {
		if p := fmt.Sprintf("/%d/(email)", i); d.of(a, p, 5) != p {
			t.Fatalf("page %d is not told apart", i)
		}
	}
	if d.of(b, "/0/(email)", 5) != "/0/(email)" || d.of(b, "/1/(email)", 5) != event.OtherPages || d.of(a, "/0/(email)", 5) != "/0/(email)" {
		t.Error("the last one, one more, and the first again")
	}
	if d.of(b, "/1/(email)", 6) != "/1/(email)" {
		t.Error("in the next minute")
	}
}

func TestPIIRoundTrip(t *testing.T) {
	for p := PIIMask; p <= PIIOff; p++ {
		if got, err := ParsePII(p.String()); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePII("hash"); err == nil {
		t.Error("hash is a way to treat it")
	}
}
