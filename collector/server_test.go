package collector

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
		{"GET", "/healthz", 200, "", false},
		{"HEAD", "/healthz", 200, "", false},
		{"GET", "/readyz", 200, "", false},
		{"HEAD", "/ff.js", 200, "", false},
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
		if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 200 {
			t.Errorf("healthz answered %d", a.StatusCode)
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
		e.ID = 0
		if i > 0 && fmt.Sprint(e) != fmt.Sprint(want) {
			t.Fatalf("got  %+v\nwant %+v", e, want)
		}
		want = e
	}
}

func TestSlowAndBrokenClients(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Limits = Limits{ReadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond, Connections: 50}
	})
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		return nc
	}
	ends := func(why string, nc net.Conn, status int) {
		t.Helper()
		b, err := io.ReadAll(nc)
		if err != nil {
			t.Errorf("%s: %v", why, err)
		}
		if want := fmt.Sprintf("HTTP/1.1 %d ", status); status != 0 && !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: answered %.60q", why, b)
		}
	}
	slowHeader := dial()
	go func() {
		for range 20 { // a byte now and then does not win time
			if _, err := io.WriteString(slowHeader, "G"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	slowBody, silent, idle := dial(), dial(), dial()
	fmt.Fprintf(slowBody, "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	fmt.Fprintf(idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	start := time.Now()
	ends("slow body", slowBody, 408)
	ends("silent", silent, 0)
	ends("idle", idle, 200)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
	if _, err := io.Copy(io.Discard, slowHeader); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("slow header: %v", err)
	}

	huge := dial()
	fmt.Fprintf(huge, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", maxHeader))
	ends("huge header", huge, 431)
	longPath := dial()
	fmt.Fprintf(longPath, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", maxHeader))
	ends("long path", longPath, 431)
	for _, bad := range []string{"\x16\x03\x01\x02\x00\x01\x00", "GET\r\n\r\n", "GET / HTTP/1.1\r\nBad Header\r\n\r\n",
		"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		nc := dial()
		_, _ = io.WriteString(nc, bad+"\r\n\r\n")
		ends(fmt.Sprintf("%q", bad), nc, 400)
	}
	if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
	if r.metric(t, "footfall_bad_requests_total") < 7 {
		t.Errorf("%v bad requests counted", r.metric(t, "footfall_bad_requests_total"))
	}
}

func TestConnectionLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Connections = 3 })
	var held []net.Conn
	for range 3 {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
	}
	if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 503 {
		t.Errorf("the fourth connection answered %d", a.StatusCode)
	}
	held[0].Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if a := r.do(t, "GET", "/healthz", ""); a.StatusCode == 200 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("a closed connection makes no room")
		}
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t)
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", chrome, len(okBody))
	br := bufio.NewReader(nc)
	if line, err := br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(nc, okBody)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 202 {
		t.Fatalf("%v %v", resp, err)
	}
}

// gate is a spool whose Append waits.
type gate struct {
	memory
	entered, open chan struct{}
}

func (g *gate) Append(e *event.Event) error {
	g.entered <- struct{}{}
	<-g.open
	return g.memory.Append(e)
}

func TestShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		t.Run(fmt.Sprintf("patient=%v", patient), func(t *testing.T) {
			var o Options
			o, _, _, _, _ = options(t, &clock{t: noon})
			g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
			o.Spool = g
			c, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- c.Serve(ln) }()
			r := &rig{c: c, addr: ln.Addr().String()}
			idle, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			fmt.Fprintf(idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
				t.Fatal(err)
			}

			nc, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			fmt.Fprintf(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nContent-Length: %d\r\n\r\n%s", chrome, len(okBody), okBody)
			<-g.entered
			timeout := 5 * time.Second
			if !patient {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- c.Shutdown(ctx) }()
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
			if _, err := net.Dial("tcp", r.addr); err == nil {
				t.Error("a connection was taken after the intake closed")
			}
			if patient {
				close(g.open)
			}
			err = <-done
			if !patient {
				close(g.open)
			}
			if patient != (err == nil) {
				t.Errorf("shutdown: %v", err)
			}
			_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
			b, _ := io.ReadAll(nc)
			if patient != strings.HasPrefix(string(b), "HTTP/1.1 202 ") || patient && !strings.Contains(string(b), "Connection: close") {
				t.Errorf("answered %q", b)
			}
			// Cut off or not, what the spool was given it keeps.
			n := 0
			for deadline := time.Now().Add(5 * time.Second); n == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				n = len(g.take(t))
			}
			if n != 1 {
				t.Errorf("%d events of the hit in flight", n)
			}
		})
	}
}

// TestShutdownDuringStart: a stop that comes while the program starts ends Serve too, whichever of
// the two is called first.
func TestShutdownDuringStart(t *testing.T) {
	for i := range 50 {
		o, _, _, _, _ := options(t, &clock{t: noon})
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		serve := func() { served <- c.Serve(ln) }
		if i > 0 {
			go serve()
			time.Sleep(time.Duration(i%10) * 10 * time.Microsecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err = c.Shutdown(ctx)
		cancel()
		if err != nil {
			t.Fatalf("shutdown: %v", err)
		}
		if i == 0 {
			go serve()
		}
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Serve goes on after Shutdown")
		}
		if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			t.Error("a connection was taken after the intake closed")
		}
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
