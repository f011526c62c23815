package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// gatedSink holds batches back until it is let go.
type gatedSink struct {
	holder
	gate chan struct{}
}

func (g *gatedSink) Write(ctx context.Context, b *event.Batch) error {
	select {
	case <-g.gate:
		return g.holder.Write(ctx, b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush returns when everything that was there before is stored, and no sooner; what comes later
// keeps nobody waiting.
func TestFlush(t *testing.T) {
	r := newRig(t, func(o *Options) { o.SegmentEvents, o.MaxAge = 10, time.Hour })
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	sink := &gatedSink{gate: make(chan struct{})}
	r.append(t, 1, 26)
	r.feed(t, sink)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing is stored: %v", err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := r.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if n := sink.count(); n < 25 {
				t.Errorf("%d events are stored", n)
			}
		})
	}
	close(sink.gate)
	wg.Wait()
	r.append(t, 26, 30)
	if err := r.Flush(t.Context()); err != nil || sink.count() != 29 {
		t.Errorf("%d events, %v", sink.count(), err)
	}
	if files, err := os.ReadDir(r.dir); err != nil || len(files) != 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// A stored file that could not be removed is removed by Flush, or it says so.
func TestFlushRemovesWhatIsStored(t *testing.T) {
	r := newRig(t, nil)
	left := filepath.Join(r.dir, fileName(0, 77, sealedSuffix))
	aside := filepath.Join(r.dir, fileName(0, 78, sealedSuffix)+asideSuffix)
	for _, name := range []string{left, aside} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sink := &holder{}
	r.append(t, 1, 4)
	r.feed(t, sink)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stored segment is there: %v", err)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Error(err)
	}
}

// Events are taken out of what is kept, also for the next start, and the rest can be replayed as before.
func TestPurge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	options := func(o *Options) { o.Keep, o.SegmentEvents = time.Hour, 10 }
	r := openRig(t, dir, diskFS{}, options)
	r.append(t, 1, 31)
	r.Drop(&event.Drop{Site: "example.org", Minute: 5, Reason: "bot", Count: 2})
	h := &holder{}
	r.feed(t, h)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.count() != 30 || r.keptFiles(t) != 4 {
		t.Fatalf("%d events, %d files", h.count(), r.keptFiles(t))
	}
	var ids []uint64 // of one segment all, and one of another
	for _, batch := range h.rows {
		if len(ids) == 0 && len(batch) == 10 {
			ids = append(ids, batch...)
		} else if len(ids) == 10 && len(batch) > 0 {
			ids = append(ids, batch[0])
		}
	}
	take := func(e *event.Event) bool {
		for _, id := range ids {
			if e.ID == id {
				return true
			}
		}
		return false
	}
	for _, want := range []int{11, 0} {
		if n, err := r.Purge(t.Context(), take); err != nil || n != want {
			t.Fatalf("%d events were taken, %v; want %d", n, err, want)
		}
	}
	if r.keptFiles(t) != 3 {
		t.Errorf("%d files", r.keptFiles(t))
	}
	if err := os.WriteFile(filepath.Join(dir, keptDir, fileName(1, 2, sealedSuffix)+newSuffix), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(canceled()); err != nil {
		t.Fatal(err)
	}
	r = openRig(t, dir, diskFS{}, options)
	h = &holder{}
	r.feed(t, h)
	if got, err := r.Replay(t.Context(), time.Time{}, time.Time{}); err != nil || got != (Replayed{Batches: 3, Events: 19, Missing: 19}) {
		t.Errorf("replayed %+v, %v", got, err)
	}
	if r.keptFiles(t) != 3 || h.count() != 19 {
		t.Errorf("%d files, %d events", r.keptFiles(t), h.count())
	}
	for _, batch := range h.rows {
		for _, id := range batch {
			if take(&event.Event{ID: id}) {
				t.Errorf("event %x is back", id)
			}
		}
	}
}
