package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// holder is a sink that knows a batch again, as the store does, and can lose some.
type holder struct {
	mu   sync.Mutex
	rows map[uint64][]uint64 // by batch: the events' ids
	seen []uint64            // batches handed over again
}

func (h *holder) Write(_ context.Context, b *event.Batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.Replayed {
		h.seen = append(h.seen, b.ID)
	}
	if h.rows == nil {
		h.rows = map[uint64][]uint64{}
	}
	if _, ok := h.rows[b.ID]; ok {
		return nil
	}
	b.Missing = len(b.Events)
	ids := []uint64{}
	for i := range b.Events {
		ids = append(ids, b.Events[i].ID)
	}
	h.rows[b.ID] = ids
	return nil
}

func (h *holder) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ids := range h.rows {
		n += len(ids)
	}
	return n
}

// hand is a clock that is moved by hand.
type hand struct{ ns atomic.Int64 }

func (h *hand) now() time.Time       { return time.Unix(0, h.ns.Load()) }
func (h *hand) move(d time.Duration) { h.ns.Add(int64(d)) }
func newHand() *hand                 { h := &hand{}; h.ns.Store(1795500000e9); return h }
func (r *rig) keptFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(r.dir, keptDir))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// running has sink fed until the test's end.
func (r *rig) feed(t *testing.T, sink Sink) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.untilRunning(t)
}

// What a database has lost comes back from stored segments, and only that; over restarts as well.
func TestReplayBringsBackWhatWasLost(t *testing.T) {
	clock := newHand()
	options := func(o *Options) { o.Keep, o.SegmentEvents, o.Now = time.Hour, 10, clock.now }
	for _, again := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "spool")
		r := openRig(t, dir, diskFS{}, options)
		h := &holder{}
		r.append(t, 1, 31)
		r.feed(t, h)
		eventually(t, "all is stored and kept", func() bool { return h.count() == 30 && r.Status().Events == 0 && r.keptFiles(t) == 3 })
		if again {
			if err := r.Close(canceled()); err != nil {
				t.Fatal(err)
			}
			r = openRig(t, dir, diskFS{}, options)
			r.feed(t, h)
		}
		for id := range h.rows { // the database forgets one batch
			delete(h.rows, id)
			break
		}
		for _, missing := range []int{10, 0} {
			got, err := r.Replay(t.Context(), time.Time{}, time.Time{})
			if want := (Replayed{Batches: 3, Events: 30, Missing: missing}); err != nil || got != want {
				t.Errorf("replayed %+v, %v, want %+v", got, err, want)
			}
			if h.count() != 30 || r.keptFiles(t) != 3 {
				t.Errorf("%d events, %d files kept", h.count(), r.keptFiles(t))
			}
		}
		if st := r.Status(); st.Events != 0 || st.Bytes != 0 || st.Err != nil {
			t.Errorf("afterwards %+v", st)
		}
		if len(h.seen) != 6 {
			t.Errorf("%d batches were handed over as replayed", len(h.seen))
		}
		for _, span := range [][2]time.Time{{clock.now().Add(time.Second), {}}, {{}, clock.now().Add(-time.Minute)}} {
			if got, err := r.Replay(t.Context(), span[0], span[1]); err != nil || got != (Replayed{}) {
				t.Errorf("%v: %+v, %v", span, got, err)
			}
		}
	}
}

// Stored segments go with their time, with a clock that was far wrong, and with their number; and when
// nothing is to be kept any more.
func TestStoredSegmentsAreBounded(t *testing.T) {
	clock := newHand()
	options := func(o *Options) { o.Keep, o.SegmentEvents, o.Now, o.MaxBytes = time.Hour, 10, clock.now, 64<<10 }
	r := newRig(t, options)
	h := &holder{}
	r.feed(t, h)
	next := 1
	store := func(n int) {
		t.Helper()
		r.append(t, next, next+n)
		next += n
		eventually(t, "it is stored", func() bool {
			clock.move(time.Millisecond) // segments are sealed by the clock
			return r.Status().Events == 0
		})
	}
	store(20)
	clock.move(59 * time.Minute)
	store(20)
	if n := r.keptFiles(t); n != 4 {
		t.Errorf("%d files are kept for an hour", n)
	}
	clock.move(2 * time.Minute)
	store(10)
	if n := r.keptFiles(t); n != 3 {
		t.Errorf("after the hour %d files are kept", n)
	}
	clock.move(-48 * time.Hour)
	store(10)
	if n := r.keptFiles(t); n != 1 {
		t.Errorf("%d files are kept, after the clock went back", n)
	}
	for range 60 {
		store(10)
	}
	if kept := r.metric(t, "footfall_spool_kept_bytes"); kept > 64<<10 || kept < 32<<10 {
		t.Errorf("%v bytes are kept", kept)
	}
	if h.count() != next-1 {
		t.Errorf("%d of %d events are stored", h.count(), next-1)
	}
	store(10)
	r.Close(canceled())
	openRig(t, r.dir, diskFS{}, nil)
	if n := r.keptFiles(t); n != 0 {
		t.Errorf("%d files are left where nothing is kept", n)
	}
}

// A kill during a replay leaves each segment here or there; where keeping fails, a stored segment is
// removed as ever.
func TestKeepingFails(t *testing.T) {
	fs := newFaulty()
	r := openRig(t, filepath.Join(t.TempDir(), "spool"), fs, func(o *Options) { o.Keep, o.SegmentEvents = time.Hour, 10 })
	h := &holder{}
	r.append(t, 1, 11)
	fs.set("rename", syscall.EIO)
	r.feed(t, h)
	eventually(t, "it is stored", func() bool { return r.Status().Events == 0 && len(r.files(t)) == 1 })
	if n := r.keptFiles(t); n != 0 {
		t.Errorf("%d files", n)
	}
	fs.set("rename", nil)
	r.append(t, 11, 31)
	eventually(t, "both are kept", func() bool { return r.Status().Events == 0 && r.keptFiles(t) == 2 })

	fs.set("rename", syscall.EIO)
	if got, err := r.Replay(t.Context(), time.Time{}, time.Time{}); err != nil || got != (Replayed{Damaged: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	fs.set("rename", nil)
	r.Close(canceled())
	if _, err := r.Replay(t.Context(), time.Time{}, time.Time{}); err != nil { // none is known any more
		t.Error(err)
	}

	next := openRig(t, r.dir, diskFS{}, func(o *Options) { o.Keep = time.Hour })
	if n := next.keptFiles(t); n != 2 {
		t.Fatalf("%d files after a restart", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { // nobody takes it
		_, err := next.Replay(ctx, time.Time{}, time.Time{})
		done <- err
	}()
	eventually(t, "one is in the queue", func() bool { return next.Status().Events == 10 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	killed := copyOf(t, next.dir)
	last := openRig(t, killed, diskFS{}, func(o *Options) { o.Keep = time.Hour })
	if st := last.Status(); st.Events != 10 || last.keptFiles(t) != 1 {
		t.Errorf("after a kill in between: %+v, %d kept", st, last.keptFiles(t))
	}
	before := reflect.ValueOf(h.rows).Len()
	last.feed(t, h)
	eventually(t, "it is handed over", func() bool { return last.Status().Events == 0 && last.keptFiles(t) == 2 })
	if len(h.rows) != before {
		t.Error("it was stored twice")
	}
}
