package spool

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stored returns how often each id is told.
func (r *rig) stored(t *testing.T) map[uint64]int {
	t.Helper()
	ids := map[uint64]int{}
	if err := r.Stored(func(id uint64, at int64) {
		if at != hit(int(id)).Time {
			t.Errorf("event %d was at %d", id, at)
		}
		ids[id]++
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// Ids of what is stored are known after a restart, for as long as they are to be, and where a file could not be
// written the others are.
func TestStoredIDsAreKnown(t *testing.T) {
	clock := newHand()
	fs := newFaulty()
	options := func(o *Options) { o.Remember, o.SegmentEvents, o.Now = time.Hour, 10, clock.now }
	dir := filepath.Join(t.TempDir(), "spool")
	r := openRig(t, dir, fs, options)
	h := &holder{}
	r.feed(t, h)
	next := 1
	store := func(n int) {
		t.Helper()
		r.append(t, next, next+n)
		next += n
		eventually(t, "it is stored", func() bool { clock.move(time.Millisecond); return r.Status().Events == 0 })
	}
	want := func(when string, from, to int) {
		t.Helper()
		got := r.stored(t)
		for n := from; n < to; n++ {
			if got[uint64(n)] != 1 {
				t.Errorf("%s: event %d is told %d times", when, n, got[uint64(n)])
			}
		}
		if len(got) != to-from {
			t.Errorf("%s: %d events are known, want %d", when, len(got), to-from)
		}
	}
	reopen := func() {
		t.Helper()
		if err := r.Close(canceled()); err != nil {
			t.Fatal(err)
		}
		r = openRig(t, dir, fs, options)
		r.feed(t, h)
	}
	store(30)
	want("at first", 1, 31)
	reopen()
	want("after a restart", 1, 31)
	clock.move(time.Hour + time.Minute)
	store(20)
	want("an hour later", 1, 51)
	clock.move(time.Hour + time.Minute)
	store(10)
	want("two hours later", 31, 61)
	reopen()
	want("after another restart", 31, 61)

	store(10) // into a file of this process
	h.mu.Lock()
	r.append(t, next, next+5) // its segment is there already when writing fails, and it waits in the sink
	eventually(t, "the sink has it", func() bool { clock.move(time.Millisecond); return strings.HasSuffix(r.lastSegment(t), sealedSuffix) })
	fs.set("write", syscall.EIO)
	h.mu.Unlock()
	eventually(t, "it is stored all the same", func() bool { return r.Status().Events == 0 })
	fs.set("write", nil)
	next += 5
	if got := r.metric(t, "footfall_spool_errors_total"); got != 1 {
		t.Errorf("%v errors are counted", got)
	}
	store(10)
	got := r.stored(t)
	for n := next - 10; n < next; n++ {
		if got[uint64(n)] != 1 {
			t.Errorf("after an error event %d is told %d times", n, got[uint64(n)])
		}
	}
	if h.count() != next-1 {
		t.Errorf("%d events are stored", h.count())
	}
}

// lastSegment is the name of the newest segment's file.
func (r *rig) lastSegment(t *testing.T) (last string) {
	t.Helper()
	for _, name := range r.files(t) {
		if !strings.HasPrefix(name, idsPrefix) {
			last = name
		}
	}
	return last
}
