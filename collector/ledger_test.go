package collector

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/event"
)

// TestEveryReasonIsNoted sends one hit of each fate and looks at what is noted of it: the
// site, the minute and the reason, before the answer.
func TestEveryReasonIsNoted(t *testing.T) {
	const limit = 20
	r := newRig(t, func(o *Options) { o.RateLimit = limit; o.Sites[3].PII, o.Sites[3].NoPixel = PIIDrop, true })
	token, err := r.key.SealOpen(email.Open{Site: "example.org", Campaign: "c"})
	if err != nil {
		t.Fatal(err)
	}
	hit := func(site string) string { return `{"n":"pageview","u":"https://` + site + `/","d":"` + site + `"}` }
	const none = event.UnknownSite
	noted := map[string]bool{}
	for _, c := range []struct {
		name    string
		send    func()
		events  int
		site    string
		reasons string // of the drops, in order
	}{
		{"counted", func() { r.post(t, hit("example.org")) }, 1, "", ""},
		{"open", func() { r.do(t, "GET", "/o/"+token+".gif", "") }, 1, "", ""},
		{"not configured", func() { r.post(t, hit("nobody.example")) }, 0, none, "site"},
		{"another host", func() { r.post(t, `{"n":"pageview","u":"https://elsewhere.example/","d":"shop.example"}`) }, 0, "shop.example", "host"},
		{"do not track", func() { r.post(t, hit("quiet.example"), "DNT: 1") }, 0, "quiet.example", "dnt"},
		{"opted out", func() { r.post(t, hit("example.org"), "Cookie: footfall_optout=1") }, 0, "example.org", "optout"},
		{"prefetch", func() { r.post(t, hit("example.org"), "Sec-Purpose: prefetch") }, 0, "example.org", "prefetch"},
		{"robot", func() { r.post(t, hit("example.org"), "User-Agent: "+google) }, 0, "example.org", "bot"},
		{"robot at www.", func() { r.post(t, hit("www.example.org"), "User-Agent: "+google) }, 0, "example.org", "bot"},
		{"spam", func() {
			r.post(t, `{"n":"pageview","u":"https://example.org/","d":"example.org","r":"https://semalt.com/"}`)
		}, 0, "example.org", "spam"},
		{"sent again", func() {
			again := `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"e1"}`
			r.post(t, again)
			r.post(t, again)
		}, 1, "example.org", "duplicate"},
		{"broken", func() { r.post(t, `{"n":`) }, 0, none, "malformed"},
		{"compressed", func() { r.post(t, hit("example.org"), "Content-Encoding: gzip") }, 0, none, "malformed"},
		{"pixel without a page", func() { r.do(t, "GET", "/ff.gif?d=example.org", "") }, 0, none, "malformed"},
		{"another token", func() { r.do(t, "GET", "/o/abc.gif", "") }, 0, none, "malformed"},
		{"too large", func() { r.post(t, strings.Repeat("x", maxBody+1)) }, 0, none, "too_large"},
		{"full", func() {
			r.spool.fail = func(*event.Event) error { return errors.New("full") }
			r.post(t, hit("example.org"))
			r.spool.fail = nil
		}, 0, "example.org", "full"},
		{"two sites", func() {
			r.post(t, `{"n":"pageview","u":"https://example.org/","d":"example.org,nobody.example,deaf.example"}`)
		}, 2, none, "site"},
		{"more than one network may send", func() {
			for range limit + 1 {
				r.post(t, hit("example.org"), "X-Forwarded-For: 198.51.100.7")
			}
		}, limit, "example.org", "rate"},
		{"personal data", func() { r.post(t, `{"n":"pageview","u":"https://deaf.example/ann@example.net","d":"deaf.example"}`) }, 0, "deaf.example", "pii"},
		{"not by a picture", func() { r.do(t, "GET", "/ff.gif?d=deaf.example&u=https://deaf.example/", "") }, 0, "deaf.example", "means"},
		{"looked at by nobody", func() { r.do(t, "HEAD", "/ff.gif?d=example.org", "") }, 0, "", ""},
		{"no hit", func() { r.do(t, "GET", "/api/event", ""); r.do(t, "GET", "/ff.js", ""); r.do(t, "GET", "/nothing", "") }, 0, "", ""},
	} {
		c.send()
		if got := len(r.spool.take(t)); got != c.events {
			t.Errorf("%s: %d events, want %d", c.name, got, c.events)
		}
		var want []event.Drop
		if c.reasons != "" {
			want = append(want, event.Drop{Site: c.site, Minute: noon.Unix() / 60, Reason: c.reasons, Count: 1})
			if c.reasons == "pii" {
				want[0].Masked, want[0].Page = 1, "/(email)"
			}
		}
		if got := r.spool.takeDrops(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: noted %+v, want %+v", c.name, got, want)
		}
		noted[c.reasons] = true
	}
	for _, reason := range reasonNames {
		if !noted[reason] {
			t.Errorf("no case ends with %q", reason)
		}
	}
	if len(reasonNames) != int(reasons) {
		t.Error(fmt.Sprint(reasonNames))
	}
}

// TestUnreadableIsNoted sends what cannot be read to its end. What was a hit, or may have been, is noted,
// so that the books hold what a sender counts; what was none is not.
func TestUnreadableIsNoted(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Limits = Limits{ReadTimeout: 200 * time.Millisecond, IdleTimeout: 200 * time.Millisecond}
	})
	const hit = "POST /api/event HTTP/1.1\r\nHost: x\r\n"
	long := "X-Long: " + strings.Repeat("x", maxHeader) + "\r\n"
	for _, c := range []struct {
		name, sent string
		status     int // 0: no answer is waited for
		noted      string
	}{
		{"a hit without its body", hit + "Content-Length: 100\r\n\r\n{", 408, "malformed"},
		{"a hit without its body, after another", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + hit + "Content-Length: 100\r\n\r\n{", 200, "malformed"},
		{"half a header", "POST /api/ev", 408, "malformed"},
		{"a header too large", hit + long + "\r\n", 431, "too_large"},
		{"a header too large, wherever", "GET /healthz HTTP/1.1\r\nHost: x\r\n" + long + "\r\n", 431, "too_large"},
		{"a broken header", hit + "Bad Header\r\n\r\n", 400, "malformed"},
		{"a broken length", hit + "Content-Length: -1\r\n\r\n", 400, "malformed"},
		{"broken chunks", hit + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed"},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "malformed"},
		{"a body too large", hit + "Content-Length: 70000\r\n\r\n", 413, "too_large"},
		{"a body too large for a page", "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n", 413, ""},
		{"a body that does not come, wherever", "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", 408, "malformed"},
		{"a pixel with a body that does not come", "GET /ff.gif?d=example.org HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 408, "malformed"},
		{"silence", "", 0, ""},
		{"silence after a request", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
	} {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(nc, c.sent); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(nc)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		nc.Close()
		if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); c.status != 0 && !strings.HasPrefix(string(answer), want) {
			t.Errorf("%s: answered %.60q", c.name, answer)
		}
		var want []event.Drop
		if c.noted != "" {
			want = []event.Drop{{Site: event.UnknownSite, Minute: noon.Unix() / 60, Reason: c.noted, Count: 1}}
		}
		if got := r.spool.takeDrops(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: noted %+v, want %+v", c.name, got, want)
		}
	}
}
