package spool

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

type hitEvent = event.Event

// Near the limit small events fit and large ones do not: that is one failure, told once.
func TestNearlyFullIsToldOnce(t *testing.T) {
	const limit = 1 << 16
	r := newRig(t, func(o *Options) { o.MaxBytes = limit; o.MaxAge = time.Hour })
	large := hit(1)
	large.Title = strings.Repeat("x", event.MaxTitle)
	begin := r.Status().Bytes
	r.append(t, 1, 2)
	small := r.Status().Bytes - begin // at least a record
	for room := limit - r.Status().Bytes; room >= event.MaxTitle+small; room = limit - r.Status().Bytes {
		if err := r.Append(hit(1)); err != nil {
			t.Fatal(err)
		}
	}
	fitted := 0
	for n := 2; r.Append(hit(n)) == nil; n++ {
		fitted++
		if err := r.Append(large); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if fitted == 0 {
		t.Fatal("no small event fitted")
	}
	if log := r.log.String(); strings.Count(log, "refused") != 1 || strings.Contains(log, "writing works again") {
		t.Errorf("the log is %s", log)
	}
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- r.Run(ctx, &memory{}) }()
	eventually(t, "there is room again", func() bool { return r.Append(large) == nil && strings.Contains(r.log.String(), "writing works again") })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFullAndRoomAgain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxBytes = 1 << 16; o.MaxAge = time.Hour })
	n := 1
	for ; ; n++ {
		if err := r.Append(hit(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	st := r.Status()
	if st.Bytes > 1<<16 || st.Bytes < 1<<15 || !errors.Is(st.Err, ErrFull) {
		t.Errorf("full with %+v", st)
	}
	var disk int64
	for _, name := range r.files(t) {
		f, err := diskFS{}.OpenFile(r.dir+"/"+name, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		disk += size
	}
	if disk != st.Bytes || r.metric(t, "footfall_spool_bytes") != float64(disk) || r.metric(t, "footfall_spool_events") != float64(n-1) {
		t.Errorf("%d bytes on disk, %d by status", disk, st.Bytes)
	}
	if strings.Count(r.log.String(), "refused") != 1 {
		t.Errorf("the log is %s", r.log)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &memory{}
	done := make(chan error)
	go func() { done <- r.Run(ctx, m) }()
	eventually(t, "there is room again", func() bool { return r.Append(hit(n)) == nil })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.Close(context.Background()); err != nil { // Run's context has ended, Close's has not
		t.Fatal(err)
	}
	same(t, m.events(), 1, n+1)
}

func TestActiveSegmentIsSealedByAge(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxAge = 30 * time.Millisecond })
	m := &memory{gate: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx, m) }()
	r.append(t, 1, 4)
	eventually(t, "the sink has the first batch", func() bool { return len(r.files(t)) == 1 && strings.HasSuffix(r.files(t)[0], sealedSuffix) })
	// The sink is stuck: one segment grows however long it takes.
	for n := 4; n < 14; n++ {
		r.append(t, n, n+1)
		time.Sleep(10 * time.Millisecond)
	}
	if files := r.files(t); len(files) != 2 {
		t.Errorf("while the sink is stuck the files are %v", files)
	}
	m.gate <- struct{}{}
	m.gate <- struct{}{}
	eventually(t, "both are stored", func() bool { return len(m.events()) == 13 })
	if len(m.batches) != 2 {
		t.Errorf("%d batches", len(m.batches))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSinkErrorsAreTriedAgainInOrder(t *testing.T) {
	r := newRig(t, func(o *Options) { o.SegmentEvents = 5 })
	m := &memory{fail: errors.New("down")}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- r.Run(ctx, m) }()
	r.append(t, 1, 23)
	eventually(t, "an error is logged", func() bool { return strings.Contains(r.log.String(), "tried again") })
	if err := r.Run(ctx, m); err == nil {
		t.Error("a second Run is no error")
	}
	m.setFail(nil)
	eventually(t, "all is stored", func() bool { return len(m.events()) == 22 })
	same(t, m.events(), 1, 23)
	if !m.batches[0].Replayed || m.batches[1].Replayed {
		t.Errorf("replayed: %v, %v", m.batches[0].Replayed, m.batches[1].Replayed)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseIsBoundedAndKeepsWhatIsNotStored(t *testing.T) {
	for _, runs := range []bool{true, false} {
		r := newRig(t, func(o *Options) { o.SegmentEvents = 5; o.MaxAge = time.Hour })
		r.append(t, 1, 13)
		done := make(chan error, 1)
		if runs {
			m := &memory{gate: make(chan struct{})} // never opens
			go func() { done <- r.Run(context.Background(), m) }()
			r.untilRunning(t)
		} else {
			done <- nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		start := time.Now()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("Close took %v", d)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if err := r.Run(context.Background(), &memory{}); err != nil {
			t.Errorf("Run after Close: %v", err)
		}
		again := openRig(t, r.dir, diskFS{}, nil)
		if again.Status().Events != 12 || again.metric(t, "footfall_spool_torn_total") != 0 {
			t.Errorf("%+v", again.Status())
		}
		same(t, again.drainAll(t).events(), 1, 13)
	}
}

func TestPending(t *testing.T) {
	dir := t.TempDir() + "/spool"
	r := openRig(t, dir, diskFS{}, func(o *Options) { o.SegmentEvents = 4; o.MaxAge = time.Hour })
	r.append(t, 1, 7)
	r.Close(canceled())
	r = openRig(t, dir, diskFS{}, func(o *Options) { o.SegmentEvents = 4; o.MaxAge = time.Hour })
	r.append(t, 7, 13)
	var got []event.Event
	collect := func(e *event.Event) error {
		kept := *e
		kept.Props = append([]event.Prop(nil), e.Props...)
		got = append(got, kept)
		return nil
	}
	if err := r.Pending(collect); err != nil {
		t.Fatal(err)
	}
	same(t, got, 1, 13)
	stop := errors.New("enough")
	calls := 0
	if err := r.Pending(func(*event.Event) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	same(t, r.drainAll(t).events(), 1, 13)
	got = nil
	if err := r.Pending(collect); err != nil || len(got) != 0 {
		t.Errorf("when all is stored: %d events, %v", len(got), err)
	}
}

// Appending, storing, reading and asking at the same time: every event is stored once.
func TestAllAtOnce(t *testing.T) {
	for _, sync0 := range []time.Duration{0, time.Millisecond} {
		r := newRig(t, func(o *Options) { o.Sync = sync0; o.SegmentEvents = 97; o.MaxAge = time.Millisecond })
		m := &memory{}
		done := make(chan error)
		go func() { done <- r.Run(context.Background(), m) }()
		const workers, each = 32, 60
		var left atomic.Int32
		left.Store(workers)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				defer left.Add(-1)
				for i := range each {
					if err := r.Append(hit(1 + w*each + i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for left.Load() > 0 {
				if err := r.Pending(func(e *event.Event) error {
					if e.Site != "example.org" {
						t.Errorf("a wrong event: %+v", e)
					}
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
				r.Status()
			}
		})
		wg.Wait()
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		ids := m.ids()
		for n := 1; n <= workers*each; n++ {
			if ids[uint64(n)] != 1 {
				t.Errorf("event %d is stored %d times", n, ids[uint64(n)])
			}
		}
		if len(ids) != workers*each || r.appended.Load() != workers*each {
			t.Errorf("%d events, %d counted", len(ids), r.appended.Load())
		}
	}
}

func TestAppendDuringClose(t *testing.T) {
	for range 20 {
		r := newRig(t, nil)
		var acked atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					switch err := r.Append(hit(1)); {
					case err == nil:
						acked.Add(1)
					case errors.Is(err, ErrClosed):
						return
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(time.Millisecond)
		if err := r.Close(canceled()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if r.active != nil || len(r.toSync) > 0 {
			t.Error("a file was opened after Close")
		}
		again := openRig(t, r.dir, diskFS{}, nil)
		if got := again.Status().Events; got != acked.Load() {
			t.Errorf("%d events on disk, %d acknowledged", got, acked.Load())
		}
		again.Close(canceled())
	}
}

// An append that waits for its turn to write when the spool ends is refused, not written to a new file.
func TestAppendThatIsLate(t *testing.T) {
	r := newRig(t, nil)
	r.writing.Lock()
	got := make(chan error)
	go func() { got <- r.Append(hit(1)) }()
	eventually(t, "it waits", func() bool {
		r.Spool.mu.Lock()
		defer r.Spool.mu.Unlock()
		return r.joining != nil
	})
	r.ended = true
	r.writing.Unlock()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if files := r.files(t); len(files) != 0 || r.Status().Bytes != 0 {
		t.Errorf("files %v, %+v", files, r.Status())
	}
}

func TestTooLargeEventIsRefused(t *testing.T) {
	r := newRig(t, nil)
	e := hit(1)
	e.Title = strings.Repeat("x", maxRecord)
	if err := r.Append(e); err == nil || strings.Contains(err.Error(), "xx") {
		t.Errorf("the error is %v", err)
	}
	big := hit(2) // the largest that Normalize lets through
	long := strings.Repeat("x", 5000)
	big.Title, big.Page, big.Visit.Referrer, big.Visit.EntryPage = long, long, long, long
	big.Props = nil
	for range event.MaxProps {
		big.Props = append(big.Props, event.Prop{Key: long, Value: long})
	}
	big.Normalize()
	if err := r.Append(big); err != nil {
		t.Error(err)
	}
	if m := r.drainAll(t); len(m.events()) != 1 || m.events()[0].Page != big.Page {
		t.Error("the largest event did not come out")
	}
}
