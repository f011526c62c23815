package collector

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
)

const okBody = `{"n":"pageview","u":"https://example.org/","d":"example.org"}`

func TestRoutes(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, target string
		status         int
		allow          string
		cors           bool
	}{
		{"GET", "/", 404, "", false},
		{"GET", "/index.html", 404, "", false},
		{"GET", "/metrics", 404, "", false},
		{"GET", "/api/v2/query", 404, "", false},
		{"POST", "/api/events", 404, "", false},
		{"GET", "/API/EVENT", 404, "", false},
		{"GET", "/o/", 404, "", false},
		{"GET", "/o/.gif", 404, "", false},
		{"GET", "/o/a/b.gif", 404, "", false},
		{"GET", "/o/abc", 404, "", false},
		{"GET", "/api/event", 405, "POST, OPTIONS", true},
		{"HEAD", "/api/event", 405, "POST, OPTIONS", true},
		{"PUT", "/api/event", 405, "POST, OPTIONS", true},
		{"POST", "/ff.gif", 405, "GET, HEAD, OPTIONS", true},
		{"DELETE", "/o/abc.gif", 405, "GET, HEAD, OPTIONS", true},
		{"POST", "/ff.js", 405, "GET, HEAD", false},
		{"OPTIONS", "/ff.js", 405, "GET, HEAD", false},
		{"POST", "/healthz", 405, "GET, HEAD", false},
		{"OPTIONS", "/api/event", 204, "POST, OPTIONS", true},
		{"OPTIONS", "/ff.gif", 204, "GET, HEAD, OPTIONS", true},
		{"OPTIONS", "/o/abc.gif", 204, "GET, HEAD, OPTIONS", true},
		{"GET", "/healthz", 200, "", true},
		{"HEAD", "/healthz", 200, "", true},
		{"GET", "/readyz", 200, "", true},
		{"GET", "/ff.js", 200, "", true},
		{"HEAD", "/js/script.js", 200, "", true},
		{"HEAD", "/ff.gif?d=example.org&u=https://example.org/", 200, "", true},
		{"HEAD", "/o/abc.gif", 200, "", true},
		{"POST", "/api/event?x=1", 202, "", true},
	} {
		body := ""
		if c.method == "POST" {
			body = okBody
		}
		a := r.do(t, c.method, c.target, body, "Origin: https://example.org")
		if a.StatusCode != c.status || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s answered %d, Allow %q", c.method, c.target, a.StatusCode, a.Header.Get("Allow"))
		}
		if cors := a.Header.Get("Access-Control-Allow-Origin"); (cors == "*") != c.cors {
			t.Errorf("%s %s: Access-Control-Allow-Origin %q", c.method, c.target, cors)
		}
		if a.Header.Get("Access-Control-Allow-Credentials") != "" || a.Header.Get("Server") != "" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s %s: %v", c.method, c.target, a.Header)
		}
		if c.method == "OPTIONS" && c.status == 204 && (a.Header.Get("Access-Control-Allow-Headers") == "" || a.Header.Get("Access-Control-Allow-Methods") == "") {
			t.Errorf("%s %s: %v", c.method, c.target, a.Header)
		}
	}
	if es := r.spool.take(t); len(es) != 1 {
		t.Errorf("%d events, want one", len(es))
	}
}

func TestScript(t *testing.T) {
	r := newRig(t)
	want := beacon.Script()
	for _, target := range []string{"/ff.js", "/js/script.js", "/ff.js?v=1"} {
		for _, c := range []struct{ accept, encoding string }{
			{"", ""}, {"gzip", "gzip"}, {"gzip, deflate, br", "br"}, {"br;q=0, gzip;q=0.5", "gzip"}, {"identity", ""}, {"BR", "br"}, {"br;q=0", ""}, {"brotli", ""},
		} {
			a := r.do(t, "GET", target, "", "Accept-Encoding: "+c.accept)
			if a.StatusCode != 200 || a.Header.Get("Content-Encoding") != c.encoding {
				t.Errorf("%s %q: %d, %q", target, c.accept, a.StatusCode, a.Header.Get("Content-Encoding"))
			}
			var body io.Reader = strings.NewReader(a.body)
			switch c.encoding {
			case "gzip":
				zr, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = zr
			case "br":
				body = brotli.NewReader(body)
			}
			if b, err := io.ReadAll(body); err != nil || string(b) != string(want.Body) {
				t.Errorf("%s %q: another script, %v", target, c.accept, err)
			}
			if a.Header.Get("ETag") != want.ETag || a.Header.Get("Vary") != "Accept-Encoding" || !strings.Contains(a.Header.Get("Cache-Control"), "max-age") ||
				a.Header.Get("Content-Type") != beacon.ScriptType || a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v", a.Header)
			}
		}
		strong := strings.TrimPrefix(want.ETag, "W/")
		for _, match := range []string{want.ETag, strong, "*", `"x", ` + want.ETag} {
			if a := r.do(t, "GET", target, "", "If-None-Match: "+match); a.StatusCode != 304 || a.body != "" || a.Header.Get("ETag") != want.ETag {
				t.Errorf("If-None-Match %s: %d", match, a.StatusCode)
			}
		}
		if a := r.do(t, "GET", target, "", `If-None-Match: "x"`); a.StatusCode != 200 {
			t.Errorf("answered %d", a.StatusCode)
		}
	}
}

func TestReady(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		err  error
		want string
	}{{spool.ErrFull, "the spool is full\n"}, {spool.ErrClosed, "shutting down\n"}, {errors.New("open /secret/path: broken"), "the spool cannot be written\n"}} {
		r.spool.mu.Lock()
		r.spool.status.Err = c.err
		r.spool.mu.Unlock()
		if a := r.do(t, "GET", "/readyz", ""); a.StatusCode != 503 || a.body != c.want {
			t.Errorf("answered %d %q", a.StatusCode, a.body)
		}
		if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("healthz answered %d %v", a.StatusCode, a.Header)
		}
		if a := r.do(t, "HEAD", "/readyz", ""); a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("readyz answered %v", a.Header)
		}
	}
}

// TestReadyTellsOfWaitingHits: a store that is down makes nothing unready, but is no secret.
func TestReadyTellsOfWaitingHits(t *testing.T) {
	r := newRig(t)
	for age, want := range map[time.Duration]string{
		59 * time.Second:  "ready\n",
		130 * time.Second: "ready\nhits wait to be stored, the oldest for 2m10s\n",
	} {
		r.spool.mu.Lock()
		r.spool.status.Oldest = r.clock.now().Add(-age)
		r.spool.mu.Unlock()
		if a := r.do(t, "GET", "/readyz", ""); a.StatusCode != 200 || a.body != want {
			t.Errorf("%v: answered %d %q", age, a.StatusCode, a.body)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	r := newRig(t)
	pad := func(n int) string {
		return okBody[:len(okBody)-1] + `,"zz":"` + strings.Repeat("x", n-len(okBody)-8) + `"}`
	}
	if a := r.post(t, pad(maxBody)); a.StatusCode != 202 {
		t.Errorf("64 KiB answered %d %s", a.StatusCode, a.body)
	}
	for _, n := range []int{maxBody + 1, 10 * maxBody} {
		a := r.post(t, pad(n))
		if a.StatusCode != 413 || !strings.HasPrefix(a.body, `{"error":`) || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d bytes answered %d %s", n, a.StatusCode, a.body)
		}
	}
	chunked := "POST /api/event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	body := pad(maxBody + 1)
	for i := 0; i < len(body); i += 8192 {
		c := body[i:min(i+8192, len(body))]
		chunked += fmt.Sprintf("%x\r\n%s\r\n", len(c), c)
	}
	if a := r.raw(t, chunked+"0\r\n\r\n", "POST")[0]; a.StatusCode != 413 {
		t.Errorf("chunks answered %d", a.StatusCode)
	}

	if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "rejected", "reason", "too_large"); got != 3 {
		t.Errorf("%v counted as too large", got)
	}
	if es := r.spool.take(t); len(es) != 1 {
		t.Errorf("%d events", len(es))
	}
}

func TestChunkedBody(t *testing.T) {
	r := newRig(t)
	half := len(okBody) / 2
	req := fmt.Sprintf("POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
		chrome, half, okBody[:half], len(okBody)-half, okBody[half:])
	if a := r.raw(t, req, "POST")[0]; a.StatusCode != 202 || a.body != "ok" {
		t.Errorf("answered %d %s", a.StatusCode, a.body)
	}
	bad := "POST /api/event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx"
	if a := r.raw(t, bad, "POST")[0]; a.StatusCode != 400 {
		t.Errorf("broken chunks answered %d", a.StatusCode)
	}
}

func TestCompressedBody(t *testing.T) {
	r := newRig(t)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "x"} {
		if a := r.post(t, okBody, "Content-Encoding: "+coding); a.StatusCode != 415 || !strings.HasPrefix(a.body, `{"error":`) {
			t.Errorf("%s answered %d %s", coding, a.StatusCode, a.body)
		}
	}
	if a := r.post(t, okBody, "Content-Encoding: identity"); a.StatusCode != 202 {
		t.Errorf("identity answered %d", a.StatusCode)
	}
}

func TestContentTypes(t *testing.T) {
	r := newRig(t)
	for _, ct := range []string{"text/plain;charset=UTF-8", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "nonsense"} {
		if a := r.post(t, okBody, "Content-Type: "+ct); a.StatusCode != 202 || len(r.spool.take(t)) != 1 {
			t.Errorf("%q answered %d", ct, a.StatusCode)
		}
	}
}

func TestPipelining(t *testing.T) {
	r := newRig(t)
	one := func(path string) string {
		body := strings.Replace(okBody, "example.org/", "example.org"+path, 1)
		return fmt.Sprintf("POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nX-Forwarded-For: 203.0.113.77\r\nContent-Length: %d\r\n\r\n%s", chrome, len(body), body)
	}
	var req strings.Builder
	var methods []string
	for i := range 50 {
		req.WriteString(one(fmt.Sprintf("/p%02d", i)))
		methods = append(methods, "POST")
	}
	for i, a := range r.raw(t, req.String(), methods...) {
		if a.StatusCode != 202 || a.body != "ok" {
			t.Fatalf("answer %d: %d %q", i, a.StatusCode, a.body)
		}
	}
	es := r.spool.take(t)
	if len(es) != 50 {
		t.Fatalf("%d events", len(es))
	}
	for i, e := range es {
		if e.Page != fmt.Sprintf("/p%02d", i) || e.Visit != es[0].Visit {
			t.Errorf("event %d: %+v", i, e)
		}
	}
}

// TestBuffersAreUsedAgain mixes hits of all shapes on one connection: nothing of one may
// show in the next.
func TestBuffersAreUsedAgain(t *testing.T) {
	r := newRig(t)
	full := `{"n":"Buy","u":"https://example.org/aaaaaaaa%20?page=1&utm_source=nl7","d":"example.org","r":"https://www.google.com/","t":"Title","p":{"k":"v"},"$":{"currency":"EUR","amount":5},"i":false,"h":1}`
	var want event.Event
	for i := range 20 {
		r.hit(t, full)
		r.post(t, `{"n":"x","p":{"a":"b"}`)
		e := r.hit(t, `{"n":"y","u":"https://example.org/","d":"example.org"}`, "X-Forwarded-For: 203.0.113.5")
		if len(e.Props) != 0 || e.Title != "" || e.Revenue != 0 || e.Currency != "" || !e.Interactive || e.Page != "/" || e.Visit.UTMSource != "" {
			t.Fatalf("%+v", e)
		}
		if e.Seq != uint16(i+1) {
			t.Fatalf("event %d of its visit has the place %d", i+1, e.Seq)
		}
		e.ID, e.Seq = 0, 0
		if i > 0 && fmt.Sprint(e) != fmt.Sprint(want) {
			t.Fatalf("got  %+v\nwant %+v", e, want)
		}
		want = e
	}
}

func TestConfigure(t *testing.T) {
	r := newRig(t)
	first := r.hit(t, page("/"))
	if a := r.post(t, `{"n":"pageview","u":"https://new.example/","d":"new.example"}`); a.Header.Get("X-Footfall-Dropped") != "site" {
		t.Error("an unknown site was counted")
	}
	sites := append([]Site{{Domain: "new.example"}}, testSites()...)
	if err := r.c.Configure(Settings{Sites: sites}); err != nil {
		t.Fatal(err)
	}
	e := r.hit(t, `{"n":"pageview","u":"https://new.example/","d":"new.example"}`)
	if e.Network != "127.0.0.0/24" || e.Visit.Country != "" {
		t.Errorf("proxies and places are still the old ones: %+v", e)
	}
	if err := r.c.Configure(Settings{Sites: sites, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104")}, Geo: atlas{}}); err != nil {
		t.Fatal(err)
	}
	if again := r.hit(t, page("/b")); again.Visit != first.Visit {
		t.Error("the visit did not go on")
	}
	for want, bad := range map[string]Settings{
		`"a b" is no domain`:               {Sites: []Site{{Domain: "a b"}}},
		`"" is no domain`:                  {Sites: []Site{{}}},
		`"x.example" is there twice`:       {Sites: []Site{{Domain: "x.example"}, {Domain: "X.example."}}},
		`"http://x" is no host name`:       {Sites: []Site{{Domain: "x.example", Hostnames: []string{"http://x"}}}},
		`query parameter "utm_term"`:       {Sites: []Site{{Domain: "x.example", QueryParams: []string{"utm_term"}}}},
		`query parameter "gclid" is never`: {Sites: []Site{{Domain: "x.example", QueryParams: []string{"gclid"}}}},
		"is no network":                    {TrustedProxies: []netip.Prefix{{}}},
	} {
		if err := r.c.Configure(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	r.hit(t, page("/still"))
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("made of nothing")
	}
	o, _, _, _, _ := options(t, &clock{t: noon})
	if _, err := New(o); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); !errors.As(err, &prometheus.AlreadyRegisteredError{}) {
		t.Errorf("metrics registered twice: %v", err)
	}
}

// broken panics as a programming error would, with an address in its words.
type broken struct{ Sources }

func (broken) ClickID(string) string { panic("198.51.100.23 " + chrome) }

func TestPanicIsAnAnswer(t *testing.T) {
	r := newRig(t)
	r.c.sources = broken{r.c.sources}
	if a := r.post(t, page("/?x=1")); a.StatusCode != 500 {
		t.Errorf("answered %d", a.StatusCode)
	}
	if got := r.metric(t, "footfall_panics_total"); got != 1 {
		t.Errorf("%v counted", got)
	}
	log := r.log.String()
	if !strings.Contains(log, "programming error") || !strings.Contains(log, "ClickID") || strings.Contains(log, "198.51.100.23") || strings.Contains(log, "Mozilla") {
		t.Errorf("log: %s", log)
	}
	r.hit(t, page("/"))
}
