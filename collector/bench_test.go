package collector

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
)

// discard is a sink that stores nothing.
type discard struct{}

func (discard) Write(context.Context, *event.Batch) error { return nil }

// realCollector is a collector as the program runs it, with a spool on disk.
func realCollector(b *testing.B, sync time.Duration) *Collector {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := b.TempDir()
	keys, err := anonymize.Open(filepath.Join(dir, "keys"), anonymize.Options{Now: time.Now, Log: log,
		Zones: func() []*time.Location { return []*time.Location{time.UTC} }})
	if err != nil {
		b.Fatal(err)
	}
	agents, err := testAgents()
	if err != nil {
		b.Fatal(err)
	}
	sources, err := testSources()
	if err != nil {
		b.Fatal(err)
	}
	var geo *classify.Geo // without the file that the Makefile sets up: no places
	if _, err := os.Stat("../.parts/country.mmdb"); err == nil {
		if geo, err = classify.OpenGeo("../.parts/country.mmdb"); err != nil {
			b.Fatal(err)
		}
	} else {
		b.Log("no country file: places are not looked up")
	}
	sp, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool"), Sync: sync, MaxBytes: 4 << 30, Now: time.Now, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- sp.Run(ctx, discard{}) }()
	b.Cleanup(func() {
		if err := sp.Close(context.Background()); err != nil {
			b.Error(err)
		}
		cancel()
		<-ran
		geo.Close()
	})
	c, err := New(Options{
		Settings: Settings{Sites: []Site{{Domain: "example.org"}}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Geo: geo},
		Keys:     keys, Agents: agents, Sources: sources, Spool: sp, Log: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// requests are 20,000 hits as a reverse proxy passes them on: of 5,000 visitors with forty
// agents, six in ten page views, three engagement, one a custom event, some with a
// campaign or a referrer, and one hit in twenty by a robot.
func requests() [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var agents []string
	for v := range 20 {
		agents = append(agents, strings.Replace(chrome, "142", fmt.Sprint(120+v), 1), strings.Replace(safari, "18.1", fmt.Sprintf("18.%d", v), 1))
	}
	out := make([][]byte, 20000)
	for i := range out {
		who := rnd.IntN(5000)
		ua := agents[who%len(agents)]
		if rnd.IntN(20) == 0 {
			ua = google
		}
		n, more, u := "pageview", "", fmt.Sprintf("https://example.org/blog/2026/an-article-%d", rnd.IntN(500))
		ref := "null"
		switch rnd.IntN(10) {
		case 0:
			n, more = "Sign up", `,"p":{"plan":"pro","from":"header"}`
		case 1, 2, 3:
			n, more = "engagement", fmt.Sprintf(`,"e":%d,"sd":%d`, rnd.IntN(60000), rnd.IntN(100))
		case 4:
			u += "?utm_source=newsletter&utm_medium=email&utm_campaign=autumn"
		case 5:
			ref = `"https://www.google.com/"`
		}
		body := fmt.Sprintf(`{"n":%q,"u":%q,"d":"example.org","r":%s,"t":"An article about something","w":1440,"v":1,"id":"%016x"%s}`, n, u, ref, rnd.Uint64(), more)
		out[i] = fmt.Appendf(nil, "POST /api/event HTTP/1.1\r\nHost: count.example.org\r\nUser-Agent: %s\r\nAccept: */*\r\nAccept-Language: en-GB,en;q=0.9\r\n"+
			"Accept-Encoding: gzip, deflate, br\r\nContent-Type: text/plain;charset=UTF-8\r\nOrigin: https://example.org\r\nReferer: https://example.org/\r\n"+
			"Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-site\r\nX-Forwarded-For: %d.%d.%d.%d\r\nContent-Length: %d\r\n\r\n%s",
			ua, 80+who%100, who/100, who%250, who%200, len(body), body)
	}
	return out
}

// loadEnv makes the test binary a load generator: "address hits".
const loadEnv = "FOOTFALL_TEST_LOAD"

// generateLoad is the load generator, a process of its own so that its processor time is not
// the server's. It prints the hits a second.
func generateLoad(what string) int {
	var addr string
	var n int
	if _, err := fmt.Sscan(what, &addr, &n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	reqs := requests()
	start := time.Now()
	if err := load(addr, reqs, n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(float64(n) / time.Since(start).Seconds())
	return 0
}

// load sends n requests over 64 connections and returns when all are answered by a 202.
func load(addr string, reqs [][]byte, n int) error {
	var next atomic.Int64
	errs := make(chan error, 64)
	for range cap(errs) {
		go func() { errs <- loadConn(addr, reqs, &next, n) }()
	}
	var all []error
	for range cap(errs) {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func loadConn(addr string, reqs [][]byte, next *atomic.Int64, n int) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	br := bufio.NewReaderSize(nc, 4096)
	req := make([]byte, 0, 4096)
	seed := rand.Uint64() >> 32 << 32
	for {
		i := int(next.Add(1))
		if i > n {
			return nil
		}
		// Every id is new, so that nothing is a duplicate.
		req = append(req[:0], reqs[i%len(reqs)]...)
		at := bytes.LastIndex(req, []byte(`"id":"`)) + 6
		const digits = "0123456789abcdef"
		for j, v := 0, seed+uint64(i); j < 16; j, v = j+1, v<<4 {
			req[at+j] = digits[v>>60]
		}
		if _, err := nc.Write(req); err != nil {
			return err
		}
		if err := readAccepted(br); err != nil {
			return err
		}
	}
}

// readAccepted reads one answer, of which the length is known.
func readAccepted(br *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 202 ")) {
			return fmt.Errorf("answered %q", line)
		}
		if bytes.HasPrefix(line, []byte("Content-Length: ")) {
			length = int(line[16] - '0')
		}
		if len(line) <= 2 {
			break
		}
	}
	_, err := br.Discard(length)
	return err
}

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// defaultSync is spool.sync where nothing is configured.
const defaultSync = 200 * time.Millisecond

// served is a server under load.
type served struct {
	addr        string
	rates, cpus []float64 // of each measurement: hits a second, microseconds of processor time a hit
}

func serve(b *testing.B, serve func(net.Listener) error) *served {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = serve(ln) }()
	return &served{addr: ln.Addr().String()}
}

// serveFloor serves what every collector is measured against: a bare fasthttp server that answers 202.
func serveFloor(b *testing.B) *served {
	bare := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(fasthttp.StatusAccepted)
		ctx.SetBodyString("ok")
	}}
	b.Cleanup(func() { _ = bare.Shutdown() })
	return serve(b, bare.Serve)
}

func serveFull(b *testing.B, sync time.Duration) *served {
	c := realCollector(b, sync)
	b.Cleanup(func() { _ = c.Shutdown(context.Background()) })
	return serve(b, c.Serve)
}

// load has another process send n hits.
func (s *served) load(b *testing.B, n int) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	used := cpu()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", loadEnv, s.addr, n))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var rate float64
	if _, err := fmt.Sscan(string(out), &rate); err != nil {
		b.Fatal(err)
	}
	s.rates = append(s.rates, rate)
	s.cpus = append(s.cpus, float64(cpu()-used)/float64(n)/1000)
}

// compare measures servers in turn, so that what else the machine does hits all of them.
func compare(b *testing.B, rounds, n int, servers ...*served) {
	for _, s := range servers {
		s.load(b, n/2) // to warm up
		s.rates, s.cpus = nil, nil
	}
	for b.Loop() {
		for range rounds {
			for _, s := range servers {
				s.load(b, n)
			}
		}
	}
}

// BenchmarkFullPath measures acknowledged hits a second against the floor, both under the same
// load by another process on the same machine. of-floor is the ratio of hits a second, and
// of-floor-cpu that of the servers' processor time a hit, which other work on the machine
// moves less. Each is the median of five pairs.
func BenchmarkFullPath(b *testing.B) {
	floor, full := serveFloor(b), serveFull(b, defaultSync)
	compare(b, 5, 40000, floor, full)
	b.ReportMetric(median(full.rates)/median(floor.rates), "of-floor")
	b.ReportMetric(median(floor.cpus)/median(full.cpus), "of-floor-cpu")
	b.ReportMetric(median(full.rates), "hits/s")
	b.ReportMetric(median(full.cpus), "cpu-us/hit")
	b.ReportMetric(median(floor.cpus), "floor-cpu-us/hit")
}

// BenchmarkSync measures what spool.sync costs: the full path with each setting beside the
// others and the floor, as ratios to it. fsync-us is what the disk needs to sync four KiB, which
// is what always waits for.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var syncs []float64
	for i := range 101 {
		start := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), int64(i)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		syncs = append(syncs, float64(time.Since(start).Microseconds()))
	}
	floor := serveFloor(b)
	always, usual, second := serveFull(b, 0), serveFull(b, defaultSync), serveFull(b, time.Second)
	compare(b, 5, 20000, floor, always, usual, second)
	for name, s := range map[string]*served{"always": always, "200ms": usual, "1s": second} {
		b.ReportMetric(median(s.rates)/median(floor.rates), name+"-of-floor")
		b.ReportMetric(median(s.rates), name+"-hits/s")
	}
	b.ReportMetric(median(syncs), "fsync-us")
}

func median(v []float64) float64 {
	for i := range v {
		for j := i; j > 0 && v[j] < v[j-1]; j-- {
			v[j], v[j-1] = v[j-1], v[j]
		}
	}
	return v[len(v)/2]
}

// BenchmarkHandler measures the path of a hit without the network, with the spool.
func BenchmarkHandler(b *testing.B) {
	c := realCollector(b, defaultSync)
	benchHandler(b, c)
}

// BenchmarkHandlerNoSpool measures it without writing anything.
func BenchmarkHandlerNoSpool(b *testing.B) {
	c := realCollector(b, defaultSync)
	c.spool = nowhere{}
	benchHandler(b, c)
}

type nowhere struct{}

func (nowhere) Append(*event.Event) error { return nil }
func (nowhere) Drop(*event.Drop)          {}
func (nowhere) Status() spool.Status      { return spool.Status{} }

func benchHandler(b *testing.B, c *Collector) {
	var reqs []*fasthttp.RequestCtx
	peer := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, raw := range requests() {
		var req fasthttp.Request
		if err := req.Read(bufio.NewReader(bytes.NewReader(raw))); err != nil {
			b.Fatal(err)
		}
		// Ids would make duplicates of everything after the first round.
		req.SetBody(bytes.Replace(req.Body(), []byte(`"id"`), []byte(`"ix"`), 1))
		ctx := new(fasthttp.RequestCtx)
		ctx.Init2(fakeConn{peer}, nil, false)
		req.CopyTo(&ctx.Request)
		reqs = append(reqs, ctx)
	}
	for _, ctx := range reqs {
		c.handle(ctx)
	}
	b.ReportAllocs()
	i := 0
	used := cpu()
	for b.Loop() {
		ctx := reqs[i%len(reqs)]
		ctx.Response.Reset()
		c.handle(ctx)
		i++
	}
	b.ReportMetric(float64(cpu()-used)/float64(b.N), "cpu-ns/op")
}

// fakeConn is a connection that only has a peer.
type fakeConn struct{ peer net.Addr }

func (f fakeConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (f fakeConn) Write(p []byte) (int, error)      { return len(p), nil }
func (f fakeConn) Close() error                     { return nil }
func (f fakeConn) LocalAddr() net.Addr              { return f.peer }
func (f fakeConn) RemoteAddr() net.Addr             { return f.peer }
func (f fakeConn) SetDeadline(time.Time) error      { return nil }
func (f fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (f fakeConn) SetWriteDeadline(time.Time) error { return nil }
