package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store/engine"
	"github.com/kantarainitiative/footfall/store/storetest"
)

// shared are the databases of all tests that do not hurt theirs. Each starts with the
// first test that wants it.
var shared struct {
	dir       string
	databases atomic.Int64

	serverOnce sync.Once
	server     *storetest.Server
	serverErr  error

	engineOnce sync.Once
	engine     *engine.Supervisor
	engineErr  error
}

func TestMain(m *testing.M) {
	storetest.Child()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "footfall-store")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared.dir = dir
	defer os.RemoveAll(dir)
	code := m.Run()
	if shared.server != nil {
		shared.server.Kill()
	}
	if shared.engine != nil {
		storetest.StopEngine(shared.engine)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

func sharedServer(t testing.TB) *storetest.Server {
	t.Helper()
	shared.serverOnce.Do(func() {
		dir := filepath.Join(shared.dir, "server")
		if shared.serverErr = os.Mkdir(dir, 0o700); shared.serverErr == nil {
			shared.server, shared.serverErr = storetest.NewServer(dir)
		}
	})
	if shared.serverErr != nil {
		t.Fatal(shared.serverErr)
	}
	return shared.server
}

func sharedEngine(t testing.TB) *engine.Supervisor {
	t.Helper()
	shared.engineOnce.Do(func() {
		shared.engine, shared.engineErr = storetest.NewEngine(filepath.Join(shared.dir, "engine"))
	})
	if shared.engineErr != nil {
		t.Fatal(shared.engineErr)
	}
	return shared.engine
}

// backend is a database that the table of cases runs against.
type backend struct {
	name string
	// options returns those of a database of its own.
	options func(t testing.TB) Options
	pid     func() int
}

func backends() []backend {
	return []backend{
		{"server", func(t testing.TB) Options { return Options{URL: sharedServer(t).NewURL()} }, func() int { return shared.server.Pid() }},
		{"engine", func(t testing.TB) Options {
			name := fmt.Sprintf("test_%d", shared.databases.Add(1))
			return Options{Engine: storetest.Database{Engine: sharedEngine(t), Name: name}}
		}, func() int { return shared.engine.Pid() }},
	}
}

// onEach runs a test on each kind of database, with a store on a fresh one.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) { test(t, openStore(t, b.options(t))) })
	}
}

// openStore opens a store that retries fast and logs to the test.
func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	o.RetryMin, o.RetryMax = or(o.RetryMin, 10*time.Millisecond), or(o.RetryMax, 200*time.Millisecond)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// testDay is the day of events that need none in particular.
var testDay = event.DayOf(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))

// testBatch returns a batch of n different, plausible events of one day.
func testBatch(id uint64, n int) *event.Batch {
	b := &event.Batch{ID: id, Events: make([]event.Event, n)}
	for i := range b.Events {
		b.Events[i] = testEvent(id<<32 + uint64(i))
	}
	return b
}

func testEvent(id uint64) event.Event {
	pick := func(of ...string) string { return of[id%uint64(len(of))] }
	return event.Event{
		ID: id | 1<<63, Site: pick("example.org", "example.net", "münchen.example"),
		Day: testDay, Time: testDay.Time().Unix() + int64(id%86400),
		Kind: event.PageView, Name: "pageview", VisitorID: id%1000 + 1, Interactive: true,
		Visit: event.Visit{
			ID: id%3000 + 1, EntryPage: fmt.Sprintf("/blog/%d", id%50), Referrer: pick("www.google.com/", "", "news.example/a"),
			Source: pick("Google", "", "news.example"), Channel: pick("Organic Search", "Direct", "Referral"),
			UTMSource: pick("", "", "letter"), UTMMedium: pick("", "", "email"), UTMCampaign: pick("", "", "spring"),
			Device: pick("Desktop", "Mobile"), Browser: pick("Chrome", "Firefox", "Safari"), BrowserVersion: fmt.Sprint(100 + id%30),
			OS: pick("Windows", "Mac", "GNU/Linux", "iOS"), OSVersion: fmt.Sprint(id % 18),
			Country: pick("DE", "FR", "US"), Region: pick("DE-BY", "FR-75", "US-NY"), RegionName: pick("Bayern", "Paris", "New York"),
			City: pick("München", "Paris", "New York"),
		},
		Hostname: pick("www.example.org", "example.net", "münchen.example"), Page: fmt.Sprintf("/page/%d", id%2000), Title: fmt.Sprintf("Page %d", id%2000),
		Props: []event.Prop{{Key: "plan", Value: pick("free", "paid")}}, Network: fmt.Sprintf("203.0.%d.0/24", id%256), Notice: 3,
	}
}

// counts returns how many rows the database holds of a batch, and how many different events.
func counts(t testing.TB, s *Store, batch uint64) (rows, events uint64) {
	t.Helper()
	c, err := s.conn(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	err = c.QueryRow(testContext(t), "SELECT count(), uniqExact(event_id) FROM events WHERE batch_id = ?", batch).Scan(&rows, &events)
	if err != nil {
		t.Fatal(err)
	}
	return rows, events
}

// wantOnce fails unless each of n events of the batch is in the database once.
func wantOnce(t testing.TB, s *Store, batch uint64, n int) {
	t.Helper()
	if rows, events := counts(t, s, batch); rows != uint64(n) || events != uint64(n) {
		t.Errorf("batch %x: %d rows of %d events, want %d", batch, rows, events, n)
	}
}

// value returns a counter's value.
func value(c prometheus.Metric) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}
