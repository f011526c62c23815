package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/kantarainitiative/footfall/event"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// rig is a spool with a registry and a log of its own.
type rig struct {
	*Spool
	dir string
	reg *prometheus.Registry
	log *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func openRig(t testing.TB, dir string, fs FileSystem, change func(*Options)) *rig {
	t.Helper()
	r := &rig{dir: dir, reg: prometheus.NewRegistry(), log: &syncBuffer{}}
	o := Options{Dir: dir, Sync: 200 * time.Millisecond, MaxBytes: 1 << 30, MaxAge: 20 * time.Millisecond,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(r.log, nil)), Registerer: r.reg}
	if change != nil {
		change(&o)
	}
	var err error
	o.Files = fs
	if r.Spool, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(canceled()) })
	return r
}

func newRig(t testing.TB, change func(*Options)) *rig {
	return openRig(t, filepath.Join(t.TempDir(), "spool"), diskFS{}, change)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// metric returns the sum of a metric's values.
func (r *rig) metric(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		found = true
		for _, m := range f.Metric {
			sum += value(m)
		}
	}
	if !found {
		t.Fatalf("there is no metric %s", name)
	}
	return sum
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// counter returns c's value, which can be asked for after Close too.
func counter(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return -1
	}
	return value(&m)
}

// hit returns an event that is told from others by n.
func hit(n int) *event.Event {
	e := &event.Event{ID: uint64(n), Site: "example.org", Day: 20781, Time: 1795500000 + int64(n), Kind: event.PageView,
		Name: "pageview", VisitorID: uint64(n) * 7, Hostname: "example.org", Page: fmt.Sprintf("/page/%d", n),
		Network: "203.0.113.0/24", Interactive: true}
	e.Visit = event.Visit{ID: uint64(n) * 11, EntryPage: "/", Source: "Google", Channel: "Organic Search", Device: "Desktop",
		Browser: "Firefox", BrowserVersion: "140.0", OS: "GNU/Linux", Country: "DE", Region: "DE-BE", RegionName: "Berlin", City: "Berlin"}
	if n%3 == 0 {
		e.Props = []event.Prop{{Key: "plan", Value: strings.Repeat("p", n%50)}}
	}
	return e
}

// memory is a sink that keeps what it is given.
type memory struct {
	mu      sync.Mutex
	batches []event.Batch
	fail    error
	gate    chan struct{} // if not nil, Write waits for it or ctx
}

func (m *memory) Write(ctx context.Context, b *event.Batch) error {
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	kept := event.Batch{ID: b.ID, Replayed: b.Replayed, Drops: append([]event.Drop(nil), b.Drops...)}
	for _, e := range b.Events {
		e.Props = append([]event.Prop(nil), e.Props...)
		kept.Events = append(kept.Events, e)
	}
	m.batches = append(m.batches, kept)
	return nil
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) events() (all []event.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.batches {
		all = append(all, b.Events...)
	}
	return all
}

func (m *memory) ids() map[uint64]int {
	ids := map[uint64]int{}
	for _, e := range m.events() {
		ids[e.ID]++
	}
	return ids
}

// drainAll stores what is in the spool and closes it.
func (r *rig) drainAll(t testing.TB) *memory {
	t.Helper()
	m := &memory{}
	done := make(chan error)
	go func() { done <- r.Run(context.Background(), m) }()
	r.untilRunning(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return m
}

// untilRunning waits until Run has begun: a Close before that would find no sink.
func (r *rig) untilRunning(t testing.TB) {
	t.Helper()
	eventually(t, "Run has begun", func() bool {
		r.Spool.mu.Lock()
		defer r.Spool.mu.Unlock()
		return r.running != nil
	})
}

func (r *rig) append(t testing.TB, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := r.Append(hit(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) files(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func same(t testing.TB, got []event.Event, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d events, want %d", len(got), to-from)
	}
	for i := range got {
		want := *hit(from + i)
		if !reflect.DeepEqual(got[i], want) {
			t.Fatalf("event %d is %+v, want %+v", i, got[i], want)
		}
	}
}

func TestEventsComeOutAsTheyWentIn(t *testing.T) {
	for _, sync := range []time.Duration{0, 10 * time.Millisecond} {
		r := newRig(t, func(o *Options) { o.Sync = sync; o.SegmentEvents = 70; o.MaxAge = time.Hour })
		r.append(t, 1, 500)
		if st := r.Status(); st.Events != 499 || st.Err != nil || st.Oldest.IsZero() {
			t.Errorf("status %+v", st)
		}
		m := r.drainAll(t)
		same(t, m.events(), 1, 500)
		seen := map[uint64]bool{}
		for _, b := range m.batches {
			if b.ID == 0 || seen[b.ID] || b.Replayed || len(b.Events) > 70 {
				t.Errorf("batch %x, replayed %v, %d events", b.ID, b.Replayed, len(b.Events))
			}
			seen[b.ID] = true
		}
		if len(r.files(t)) != 0 {
			t.Errorf("left: %v", r.files(t))
		}
		if st := r.Status(); st.Events != 0 || st.Bytes != 0 {
			t.Errorf("status %+v", st)
		}
		if err := r.Append(hit(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
