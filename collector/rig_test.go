package collector

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
)

// Two goroutines of fasthttp outlive a server: the one that keeps the Date header is there
// once a process, and the one that ends idle workers sleeps ten seconds before it looks.
func TestMain(m *testing.M) {
	if what := os.Getenv(loadEnv); what != "" {
		os.Exit(generateLoad(what))
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// Agents as browsers and robots send them.
const (
	chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	gmail  = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
)

// memory is a spool that keeps the bytes of events, as a real one does.
type memory struct {
	mu    sync.Mutex
	recs  []string
	drops []event.Drop
	// fail decides whether an event is refused; nil takes everything.
	fail   func(*event.Event) error
	status spool.Status
}

func (m *memory) Status() spool.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *memory) Append(e *event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(e); err != nil {
			return err
		}
	}
	m.recs = append(m.recs, string(e.AppendTo(nil)))
	return nil
}

func (m *memory) Drop(d *event.Drop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := *d
	kept.Page = strings.Clone(d.Page) // part of the request
	m.drops = append(m.drops, kept)
}

// takeDrops returns the drops since it was last called.
func (m *memory) takeDrops() []event.Drop {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.drops
	m.drops = nil
	return out
}

// take returns the events since it was last called.
func (m *memory) take(t testing.TB) []event.Event {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]event.Event, len(m.recs))
	for i, rec := range m.recs {
		if err := out[i].Decode(rec); err != nil {
			t.Fatal(err)
		}
		was := out[i]
		if out[i].Normalize(); string(out[i].AppendTo(nil)) != rec {
			t.Errorf("the event was not normalised: %+v", was)
		}
	}
	m.recs = nil
	return out
}

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// atlas is a geographic database of two networks.
type atlas struct{}

func (atlas) Lookup(a netip.Addr) classify.Place {
	switch a.String() {
	case "203.0.113.0":
		return classify.Place{Country: "DE", Region: "DE-BE", RegionName: "Land Berlin", City: "Berlin"}
	case "2001:db8:7::":
		return classify.Place{Country: "FR"}
	}
	return classify.Place{}
}

// logBuffer is a log that tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// rig is a collector on a real socket, with real classification and keys.
type rig struct {
	c     *Collector
	spool *memory
	clock *clock
	addr  string
	key   *email.Key
	reg   *prometheus.Registry
	log   *logBuffer
}

// noon is when tests begin: 2026-11-24 12:00 UTC.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func testSites() []Site {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return []Site{
		{Domain: "example.org", Location: berlin, QueryParams: []string{"page", "q q"}, Notice: 7},
		{Domain: "shop.example", Hostnames: []string{"shop.example", "Pay.Example"}, IP: anonymize.ModeHash},
		{Domain: "quiet.example", DNT: DNTDrop, IP: anonymize.ModeDrop, GeoOff: true},
		{Domain: "deaf.example", DNT: DNTIgnore, Window: anonymize.Week},
		{Domain: "localhost"},
		{Domain: "bücher.example"},
		{Domain: "club.example", Location: berlin, Cookie: true, DNT: DNTUnlinked},
		{Domain: "blog.club.example", Cookie: true},
	}
}

// The tables take a while to read and have no state that tests could see.
var (
	testAgents  = sync.OnceValues(classify.NewAgents)
	testSources = sync.OnceValues(classify.NewSources)
)

func options(t testing.TB, clk *clock) (Options, *memory, *logBuffer, *prometheus.Registry, *email.Key) {
	t.Helper()
	log := new(logBuffer)
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	keys, err := anonymize.Open(filepath.Join(dir, "keys"), anonymize.Options{Now: clk.now, Log: logger,
		Zones: func() (zones []*time.Location) {
			for _, s := range testSites() {
				zones = append(zones, or(s.Location, time.UTC))
			}
			return zones
		}})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := testAgents()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := testSources()
	if err != nil {
		t.Fatal(err)
	}
	key, err := email.LoadOrCreateKey(filepath.Join(dir, "email.key"), clk.now)
	if err != nil {
		t.Fatal(err)
	}
	cookies, err := anonymize.OpenCookieKey(filepath.Join(dir, "cookie.key"))
	if err != nil {
		t.Fatal(err)
	}
	sp := new(memory)
	reg := prometheus.NewRegistry()
	return Options{
		Settings: Settings{Sites: testSites(), Geo: atlas{},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}},
		Keys: keys, Agents: agents, Sources: sources, Spool: sp, EmailKey: key, CookieKey: cookies,
		Now: clk.now, Log: logger, Registerer: reg,
	}, sp, log, reg, key
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{clock: &clock{t: noon}}
	var o Options
	o, r.spool, r.log, r.reg, r.key = options(t, r.clock)
	for _, f := range change {
		f(&o)
	}
	var err error
	if r.c, err = New(o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.c.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.c.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// raw sends bytes and reads n answers.
func (r *rig) raw(t testing.TB, request string, methods ...string) []answer {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(nc)
	var out []answer
	for _, m := range methods {
		resp, err := http.ReadResponse(br, &http.Request{Method: m})
		if err != nil {
			t.Fatalf("reading an answer: %v", err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		out = append(out, answer{resp, string(b)})
	}
	return out
}

// do sends one request. headers are lines without their ends; a client address, an agent
// and a host are added where they are missing.
func (r *rig) do(t testing.TB, method, target, body string, headers ...string) answer {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	all := strings.ToLower(strings.Join(headers, "\n"))
	if !strings.HasPrefix(all, "host:") && !strings.Contains(all, "\nhost:") {
		b.WriteString("Host: count.example.org\r\n")
	}
	if !strings.Contains(all, "user-agent:") {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", chrome)
	}
	if !strings.Contains(all, "forwarded") && !strings.Contains(all, "x-real-ip") {
		b.WriteString("X-Forwarded-For: 203.0.113.77\r\n")
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if method == "POST" || body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return r.raw(t, b.String(), method)[0]
}

func (r *rig) post(t testing.TB, body string, headers ...string) answer {
	t.Helper()
	return r.do(t, "POST", "/api/event", body, headers...)
}

// hit posts a body that must be counted once and returns its event.
func (r *rig) hit(t testing.TB, body string, headers ...string) event.Event {
	t.Helper()
	a := r.post(t, body, headers...)
	if a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
		t.Fatalf("%s\nanswered %d %q, dropped %q", body, a.StatusCode, a.body, a.Header.Get("X-Footfall-Dropped"))
	}
	es := r.spool.take(t)
	if len(es) != 1 {
		t.Fatalf("%s\nmade %d events", body, len(es))
	}
	return es[0]
}

// metric returns the value of a counter or gauge, -1 where it is missing.
func (r *rig) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.Metric {
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.Label {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				if !found {
					continue next
				}
			}
			switch {
			case m.Counter != nil:
				return m.Counter.GetValue()
			case m.Gauge != nil:
				return m.Gauge.GetValue()
			case m.Histogram != nil:
				return float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return -1
}
