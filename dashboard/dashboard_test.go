package dashboard

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the moment at which all tests look.
func clock() time.Time { return time.Date(2026, 11, 24, 8, 47, 0, 0, time.UTC) } // 09:47 in Berlin

// gate lets in who has the header User, and lets "guest" see public.example only.
type gate struct{}

func (gate) Require(_ auth.Right, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User") == "" {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (gate) User(r *http.Request) string { return r.Header.Get("User") }

func (gate) Allowed(r *http.Request, site string) bool {
	return r.Header.Get("User") != "guest" || site == "public.example"
}

// bench is a dashboard over a fake store.
type bench struct {
	*testing.T
	store *fake.Store
	log   bytes.Buffer
	opts  Options
	h     http.Handler
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	loginPage, err := LoginPage()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, store: &fake.Store{Here: 14}}
	b.opts = Options{
		Reader: b.store, Auth: gate{}, Now: clock, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		Sites: func() []Site {
			return []Site{{Domain: "example.org", Location: berlin(t)}, {Domain: "public.example"}}
		},
		ScriptTag: func(site string) string {
			return `<script defer src="https://s.example/ff.js" data-domain="` + site + `"></script>`
		},
		Login: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			loginPage(w, r, http.StatusOK, auth.LoginView{Name: r.FormValue("name"), Next: r.FormValue("next")})
		}),
	}
	for _, c := range change {
		c(&b.opts)
	}
	h, err := New(b.opts)
	if err != nil {
		t.Fatal(err)
	}
	b.h = h
	return b
}

// get asks for an address as ada.
func (b *bench) get(url string, header ...string) *http.Response {
	b.Helper()
	return b.do(http.MethodGet, url, append([]string{"User", "ada"}, header...)...)
}

func (b *bench) do(method, url string, header ...string) *http.Response {
	b.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// page asks for an address and wants it to be there.
func (b *bench) page(url string) string {
	b.Helper()
	res := b.get(url)
	text := body(b, res)
	if res.StatusCode != http.StatusOK {
		b.Fatalf("GET %s: %d %s", url, res.StatusCode, text)
	}
	return text
}

func wants(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("lacks %q", p)
		}
	}
}

func TestOptions(t *testing.T) {
	whole := newBench(t).opts
	for name, drop := range map[string]func(*Options){
		"reader": func(o *Options) { o.Reader = nil }, "sites": func(o *Options) { o.Sites = nil },
		"auth": func(o *Options) { o.Auth = nil }, "log": func(o *Options) { o.Log = nil },
	} {
		o := whole
		drop(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Nothing but the login page, its assets and /healthz is served to strangers.
func TestStrangers(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Stats = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "stats") })
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") })
	})
	for _, url := range []string{"/", "/example.org", "/example.org/details?by=visit:source", "/example.org/export.csv?by=visit:source",
		"/example.org/series.csv", "/example.org/live", "/nowhere", "/api/v2/query", "/api/v2/realtime", "/metrics", "/a/b/c", "/favicon.txt"} {
		if res := b.do(http.MethodGet, url); res.StatusCode != http.StatusSeeOther || strings.Contains(body(t, res), "example.org") {
			t.Errorf("GET %s for a stranger: %d", url, res.StatusCode)
		}
	}
	login := body(t, b.do(http.MethodGet, "/login"))
	for _, url := range append(addresses(login, "/assets/"), "/login", "/healthz") {
		if res := b.do(http.MethodGet, url); res.StatusCode != http.StatusOK {
			t.Errorf("GET %s for a stranger: %d", url, res.StatusCode)
		}
	}
	if got := body(t, b.get("/api/v2/realtime")); got != "stats" {
		t.Errorf("the Stats API behind the door: %q", got)
	}
}

// addresses are the href and src values in html that begin with prefix.
func addresses(html, prefix string) []string {
	var out []string
	for _, attr := range []string{`href="`, `src="`} {
		for rest := html; ; {
			_, after, ok := strings.Cut(rest, attr+prefix)
			if !ok {
				break
			}
			value, end, _ := strings.Cut(after, `"`)
			out, rest = append(out, prefix+value), end
		}
	}
	return out
}

// Every asset that a page names is there, for good, compressed as asked.
func TestAssets(t *testing.T) {
	b := newBench(t)
	urls := addresses(b.page("/example.org"), "/assets/")
	if len(urls) != 3 {
		t.Fatalf("the page names %v", urls)
	}
	for _, url := range urls {
		for _, enc := range []string{"", "gzip", "br", "gzip;q=0, br;q=0"} {
			res := b.do(http.MethodGet, url, "Accept-Encoding", enc)
			want := enc
			if strings.Contains(enc, "q=0") {
				want = ""
			}
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Encoding") != want ||
				!strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("Content-Type") == "" {
				t.Errorf("GET %s with %q: %d %v", url, enc, res.StatusCode, res.Header)
			}
		}
	}
	if res := b.do(http.MethodGet, "/assets/app.js"); res.StatusCode != http.StatusNotFound {
		t.Errorf("an asset without its hash: %d", res.StatusCode)
	}
	if res := b.do(http.MethodGet, "/favicon.ico"); res.StatusCode != http.StatusFound {
		t.Errorf("favicon: %d", res.StatusCode)
	}
}

// A page weighs at most 60 KB compressed with everything.
func TestWeight(t *testing.T) {
	b := newBench(t)
	res := b.get("/example.org?f=is,visit:country,DE&period=12mo&interval=day", "Accept-Encoding", "gzip")
	var raw bytes.Buffer
	total, err := raw.ReadFrom(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("the page is not compressed")
	}
	zr, err := gzip.NewReader(&raw)
	if err != nil {
		t.Fatal(err)
	}
	html, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("page: %d bytes, %d gzipped", len(html), total)
	for _, url := range addresses(string(html), "/assets/") {
		n := len(body(t, b.do(http.MethodGet, url, "Accept-Encoding", "gzip")))
		t.Logf("%s: %d gzipped", url, n)
		total += int64(n)
	}
	if total > 60_000 {
		t.Errorf("the dashboard weighs %d bytes gzipped, at most 60000 are wanted", total)
	}
}

func TestHeaders(t *testing.T) {
	b := newBench(t)
	for _, url := range []string{"/", "/example.org", "/login", "/healthz", "/nowhere", "/example.org/live", "/example.org/series.csv"} {
		res := b.get(url)
		got := res.Header.Get("Content-Security-Policy")
		wants(t, got, "default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
		if strings.Contains(got, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") == "" {
			t.Errorf("GET %s: %v", url, res.Header)
		}
		if text := body(t, res); strings.Contains(text, "style=") || strings.Contains(text, "<style") || strings.Contains(text, "onclick") {
			t.Errorf("GET %s has what its policy forbids", url)
		}
	}
	if cc := b.get("/example.org").Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("a page may be kept: %q", cc)
	}
}

// A form on another site cannot post here; programs and our own forms can.
func TestCrossOrigin(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		site, origin string
		want         int
	}{
		{"same-origin", "", http.StatusOK}, {"", "", http.StatusOK}, {"", "http://example.com", http.StatusOK},
		{"cross-site", "", http.StatusForbidden}, {"same-site", "", http.StatusForbidden}, {"", "https://evil.example", http.StatusForbidden},
	} {
		res := b.do(http.MethodPost, "/login", "Sec-Fetch-Site", c.site, "Origin", c.origin)
		if res.StatusCode != c.want {
			t.Errorf("POST from %q %q: %d, want %d", c.site, c.origin, res.StatusCode, c.want)
		}
	}
}

func TestMetricsDoor(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") })
	})
	for _, c := range []struct {
		addr, header string
		open         bool
	}{
		{"127.0.0.1:4000", "", true}, {"[::1]:4000", "", true}, {"[::ffff:127.0.0.1]:4000", "", true},
		{"192.0.2.1:4000", "", false}, {"", "", false},
		{"127.0.0.1:4000", "X-Forwarded-For", false}, {"127.0.0.1:4000", "Forwarded", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr = c.addr
		if c.header != "" {
			r.Header.Set(c.header, "198.51.100.7")
		}
		w := httptest.NewRecorder()
		b.h.ServeHTTP(w, r)
		if (w.Body.String() == "metrics") != c.open {
			t.Errorf("from %q %s: %d", c.addr, c.header, w.Code)
		}
	}
}

func TestUnknown(t *testing.T) {
	b := newBench(t)
	for _, url := range []string{"/nowhere.example", "/example.org/nothing", "/example.org/a/b", "/%00", "/example.org%2Fx"} {
		res := b.get(url)
		if text := body(t, res); res.StatusCode != http.StatusNotFound || !strings.Contains(text, "There is no such") {
			t.Errorf("GET %s: %d", url, res.StatusCode)
		}
	}
	// A site that one may not see is not there, and is not listed.
	if res := b.do(http.MethodGet, "/example.org", "User", "guest"); res.StatusCode != http.StatusNotFound {
		t.Errorf("a guest on a site not theirs: %d", res.StatusCode)
	}
	res := b.do(http.MethodGet, "/", "User", "guest")
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/public.example" {
		t.Errorf("the only site: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
	text := body(t, b.do(http.MethodGet, "/public.example", "User", "guest"))
	if strings.Contains(text, "example.org") {
		t.Error("a guest reads of a site not theirs")
	}
}

// down is a failed connection, as the store's client has it.
var down = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// A store that is down or slow, or refuses: calm words, the right status, no secrets in the log.
func TestStoreErrors(t *testing.T) {
	secret := errors.New("code 62, syntax error: SELECT ... WHERE page = '/patients/jane-doe'")
	for _, c := range []struct {
		err    error
		status int
		says   string
		logs   string
	}{
		{down, http.StatusServiceUnavailable, "out of reach", "connection refused"},
		{secret, http.StatusServiceUnavailable, "out of reach", "errorString"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "asks for too much", "what it cost"},
		{fmt.Errorf("figures.sql: %w: 1024 MB", store.ErrLimit), http.StatusServiceUnavailable, "asks for too much", "what it cost"},
		{&store.QueryError{Part: "filters", Msg: "it cannot be matched"}, http.StatusBadRequest, "it cannot be matched", ""},
	} {
		for _, url := range []string{"/example.org", "/example.org?period=all", "/example.org/details?by=event:page",
			"/example.org/export.csv?by=event:page", "/example.org/series.csv", "/example.org/live"} {
			b := newBench(t)
			b.store.Err = c.err
			res := b.get(url)
			text := body(t, res)
			if res.StatusCode != c.status || !strings.Contains(text, c.says) {
				t.Errorf("%v: GET %s: %d %s", c.err, url, res.StatusCode, text)
			}
			if strings.Contains(text, "SELECT") || strings.Contains(text+b.log.String(), "jane-doe") || strings.Contains(text, "goroutine") {
				t.Errorf("%v: GET %s tells too much", c.err, url)
			}
			if !strings.Contains(b.log.String(), c.logs) {
				t.Errorf("%v: the log says %q", c.err, b.log.String())
			}
			if c.err == down && res.Header.Get("Retry-After") == "" {
				t.Errorf("GET %s: no Retry-After", url)
			}
		}
	}
	b := newBench(t)
	b.store.Err = down
	wants(t, b.page("/"), "example.org", "out of reach for the moment")
}

// panics breaks in the middle of an answer.
type panics struct{ Reader }

func (panics) Overview(context.Context, store.OverviewQuery) (*store.Overview, error) {
	panic("a path: /patients/jane-doe")
}

func TestPanic(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Reader = panics{o.Reader} })
	res := b.get("/example.org", "Accept-Encoding", "gzip")
	if text := body(t, res); res.StatusCode != http.StatusInternalServerError || !strings.Contains(text, "Something went wrong") {
		t.Errorf("%d %q", res.StatusCode, text)
	}
	if strings.Contains(b.log.String(), "jane-doe") || !strings.Contains(b.log.String(), "page failed") {
		t.Errorf("the log says %q", b.log.String())
	}
}
