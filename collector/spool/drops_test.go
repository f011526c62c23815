package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/kantarainitiative/footfall/event"
)

func drop(site string, minute int64, reason string) *event.Drop {
	return &event.Drop{Site: site, Minute: minute, Reason: reason, Count: 1}
}

// sums adds up what batches say of drops, and of events under the reason "".
func sums(batches []event.Batch) map[event.Drop]uint64 {
	out := map[event.Drop]uint64{}
	for _, b := range batches {
		for _, d := range b.Drops {
			n := d.Count
			d.Count = 0
			out[d] += n
		}
		for _, e := range b.Events {
			out[event.Drop{Site: e.Site, Minute: event.MinuteOf(e.Time)}]++
		}
	}
	return out
}

// waiting is Waiting as sums.
func (r *rig) waiting(t testing.TB) map[event.Drop]uint64 {
	t.Helper()
	w, err := r.Waiting()
	if err != nil {
		t.Fatal(err)
	}
	return sums([]event.Batch{{Drops: w.Hits}})
}

// Random outcomes come out as they went in, over copies of the folder as a kill leaves it.
func TestDropsSurvive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dir := filepath.Join(t.TempDir(), "spool")
	rig := openRig(t, dir, diskFS{}, func(o *Options) { o.SegmentEvents = 37 })
	want := map[event.Drop]uint64{}
	reasons := []string{"bot", "duplicate", "malformed"}
	events := int64(0)
	for n := range 1000 {
		if r.IntN(3) == 0 {
			e := hit(n)
			e.Time = int64(r.IntN(600))
			if err := rig.Append(e); err != nil {
				t.Fatal(err)
			}
			events++
			want[event.Drop{Site: e.Site, Minute: e.Time / 60}]++
		} else {
			d := drop([]string{"example.org", event.UnknownSite}[r.IntN(2)], int64(r.IntN(10)), reasons[r.IntN(3)])
			rig.Drop(d)
			d.Count = 0
			want[*d]++
		}
		if n%333 == 5 && !maps.Equal(rig.waiting(t), want) {
			t.Fatalf("after %d records: waiting %v, want %v", n, rig.waiting(t), want)
		}
	}
	copied := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := openRig(t, copied, diskFS{}, nil)
	if !maps.Equal(again.waiting(t), want) {
		t.Errorf("after a kill: waiting %v, want %v", again.waiting(t), want)
	}
	if st := again.Status(); st.Events != events {
		t.Errorf("after a kill %d events, want %d", st.Events, events)
	}
	if got := again.metric(t, "footfall_spool_drops"); got != float64(1000-events) {
		t.Errorf("after a kill %v drops, want %d", got, 1000-events)
	}
	for _, x := range []interface{ drainAll(testing.TB) *memory }{rig, again} {
		m := x.drainAll(t)
		if got := sums(m.batches); !maps.Equal(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
	}
	if st := again.Status(); st.Events != 0 || st.Bytes != 0 || again.drops.Load() != 0 {
		t.Errorf("left %+v, %d drops", st, again.drops.Load())
	}
}

// Drops alone are a batch, and are no events to restore visits from.
func TestBatchOfDropsAlone(t *testing.T) {
	r := newRig(t, nil)
	r.Drop(drop("example.org", 7, "bot"))
	if err := r.Pending(func(e *event.Event) error { return errors.New("an event") }); err != nil {
		t.Error(err)
	}
	m := &memory{}
	go r.Run(context.Background(), m)
	eventually(t, "the batch", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.batches) == 1 })
	r.Close(canceled())
	if b := m.batches[0]; len(b.Events) != 0 || len(b.Drops) != 1 || b.Drops[0] != *drop("example.org", 7, "bot") {
		t.Errorf("%+v", b)
	}
}

// A spool that is full notes what it refuses on disk as long as its reserve lasts, and
// then in memory until there is room.
func TestRefusedHitsAreNoted(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxBytes = 1 << 16 })
	n := 0
	for ; ; n++ {
		if err := r.Append(hit(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	refused := uint64(0)
	for r.owedHits() < 100 {
		r.Drop(drop("example.org", 5, "full"))
		if refused++; refused == 15_000 && r.owedHits() > 0 {
			t.Fatal("the reserve is smaller than it says")
		}
	}
	if st := r.Status(); st.Bytes > 1<<16+dropReserve || !errors.Is(st.Err, ErrFull) {
		t.Errorf("%+v", st)
	}
	key := event.Drop{Site: "example.org", Minute: 5, Reason: "full"}
	if got := r.waiting(t)[key]; got != refused {
		t.Errorf("%d waiting, %d refused", got, refused)
	}
	if got := r.metric(t, "footfall_spool_unwritten_hits"); got != 100 {
		t.Errorf("%v unwritten", got)
	}
	m := &memory{}
	go r.Run(context.Background(), m)
	eventually(t, "all is written", func() bool { return !r.owing() && r.drops.Load() == 0 })
	r.Close(canceled())
	if got := sums(m.batches)[key]; got != refused {
		t.Errorf("%d stored, %d refused", got, refused)
	}
	if len(m.events()) != n {
		t.Errorf("%d events stored, %d taken", len(m.events()), n)
	}
}

// What comes when the memory of debts is full is noted by the day.
func TestDebtsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	for i := range maxOwed + 3000 {
		r.owe(*drop("example.org", int64(i), "full"))
	}
	if n := len(r.debts.hits); n > maxOwed+10 || r.owedHits() != maxOwed+3000 {
		t.Errorf("%d keys, %d hits", n, r.owedHits())
	}
	r.writing.Lock()
	r.settle()
	r.writing.Unlock()
	if r.owing() {
		t.Error("nothing was written")
	}
	var sum uint64
	for _, n := range r.waiting(t) {
		sum += n
	}
	if sum != maxOwed+3000 {
		t.Error(fmt.Sprint(sum))
	}
}
