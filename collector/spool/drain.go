package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/kantarainitiative/footfall/event"
)

// Sink stores batches.
type Sink interface {
	// Write returns nil only when the batch, events and drops, is definitely stored; the spool then removes it. After
	// an error the same batch, with the same ID and Replayed set, is handed over
	// again later. The batch and its Events belong to the spool again once Write returns;
	// strings in them may be kept. Some batches hold drops only.
	Write(ctx context.Context, b *event.Batch) error
}

// The pause after an error of the sink, doubled each time.
const (
	minPause = 100 * time.Millisecond
	maxPause = 10 * time.Second

	keepEvents = 4096 // the room for events that is kept from one segment to the next
)

// Run hands the segments to the sink, oldest first and one at a time, until ctx ends or the
// spool is closed and empty; it then returns nil. While nothing older waits, the active segment is
// sealed Options.MaxAge after its first event; while the sink is slow or down it grows
// to its limits instead.
//
// At most one Run may be in progress. Close needs the sink again, under its own context.
func (s *Spool) Run(ctx context.Context, sink Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if s.running != nil {
		s.mu.Unlock()
		return errors.New("spool: Run is in progress already")
	}
	s.sink, s.running, s.cancelRun = sink, done, cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		close(done)
	}()

	pause := time.Duration(0)
	for ctx.Err() == nil {
		g, last := s.oldest()
		switch {
		case g != nil:
			if err := s.drain(ctx, g, sink); err != nil && ctx.Err() == nil {
				pause = min(max(2*pause, minPause), maxPause)
				s.log.Error("spool: a batch was not stored, it is tried again", "segment", g.label(), "pause", pause, "error", err)
				s.pause(ctx, pause)
				continue
			}
			pause = 0
		case last:
			return nil
		default:
			s.waitForSegment(ctx)
		}
	}
	return nil
}

// oldest returns the segment to store next, or nil; last says that no more will come.
func (s *Spool) oldest() (g *segment, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		return s.queue[0], false
	}
	return nil, s.finished
}

// waitForSegment returns when there may be a sealed segment, which it makes if the active one
// is old enough. No timer runs while there is no event.
func (s *Spool) waitForSegment(ctx context.Context) {
	s.writing.Lock()
	var due, again, tired <-chan time.Time
	if s.settle(); s.owing() { // there was no room for it, and nobody may come who makes a try of it
		t := time.NewTimer(owedPause)
		defer t.Stop()
		again = t.C
	}
	if next := s.trim(); next > 0 {
		t := time.NewTimer(next)
		defer t.Stop()
		tired = t.C
	}
	if a := s.active; a != nil && a.records > 0 {
		left := s.maxAge - s.now().Sub(a.born)
		if left <= 0 {
			s.seal()
			s.writing.Unlock()
			return
		}
		t := time.NewTimer(min(left, s.maxAge))
		defer t.Stop()
		due = t.C
	}
	s.writing.Unlock()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-again:
	case <-tired: // a stored segment was kept for long enough
	case <-due:
		s.writing.Lock()
		s.seal()
		s.writing.Unlock()
	}
}

// pause waits for d, or for less if Close is waiting.
func (s *Spool) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-s.closing:
		t.Reset(minPause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// drain stores one segment and removes it.
func (s *Spool) drain(ctx context.Context, g *segment, sink Sink) error {
	data, err := s.load(g, g.size)
	if err != nil {
		s.metrics.errors.WithLabelValues("read").Inc()
		return err
	}
	b := &event.Batch{ID: g.id, Events: slices.Grow(s.room[:0], min(g.records-g.drops, len(data)/frameHead)), Replayed: g.replayed}
	unread := 0
	scan(data, g.id, func(rec []byte) {
		if event.IsDrop(rec) {
			var d event.Drop
			if d.Decode(stringOf(rec)) == nil {
				b.Drops = append(b.Drops, d)
			} else {
				unread++
			}
			return
		}
		n := len(b.Events)
		if n < cap(b.Events) {
			b.Events = b.Events[:n+1] // has its Props to reuse
		} else {
			b.Events = append(b.Events, event.Event{})
		}
		if err := b.Events[n].Decode(stringOf(rec)); err != nil {
			b.Events = b.Events[:n]
			unread++
		}
	})
	s.room = nil
	if cap(b.Events) <= keepEvents {
		s.room = b.Events
	}
	found := len(b.Events) + len(b.Drops)
	if found == 0 && unread > 0 {
		// Its sums are right, so it is whole and was written by a version with another format.
		if err := s.setAside(g, "its events have a form that this version does not know"); err != nil {
			return err
		}
		s.forget(g)
		return nil
	}
	if found > 0 {
		if err := sink.Write(ctx, b); err != nil {
			g.replayed = true
			return err
		}
		g.missing = b.Missing
	}
	g.whole = g.records == found && unread == 0
	if g.records > found {
		s.lose(g, max(g.records-g.drops-len(b.Events), 0), max(g.drops-len(b.Drops), 0))
	}
	s.noteIDs(g, b.Events)
	s.release(g)
	return nil
}

// load returns a segment's bytes up to size, which were acknowledged. The file may get its final
// name meanwhile.
func (s *Spool) load(g *segment, size int64) ([]byte, error) {
	for {
		s.mu.Lock()
		name := g.name
		s.mu.Unlock()
		data, err := s.fs.ReadFile(filepath.Join(s.dir, name))
		if err == nil {
			return data[:min(int64(len(data)), size)], nil
		}
		s.mu.Lock()
		renamed := name != g.name
		s.mu.Unlock()
		if !errors.Is(err, os.ErrNotExist) || !renamed {
			return nil, err
		}
	}
}

// stringOf shares b's bytes, which nobody changes from here on: an event's strings are
// parts of the segment's.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Pending calls fn with each event on disk that is not stored yet, oldest segment first. fn must
// not keep the event; its strings are parts of the whole segment and should be
// copied to be kept. Events that come or are stored meanwhile may be left out. Damaged ones are
// passed over; they are counted when their segment is stored. An error of fn ends it.
func (s *Spool) Pending(fn func(*event.Event) error) error {
	type part struct {
		*segment
		size int64
	}
	var parts []part
	s.writing.Lock()
	s.mu.Lock()
	for _, g := range s.queue {
		parts = append(parts, part{g, g.size})
	}
	s.mu.Unlock()
	if a := s.active; a != nil {
		parts = append(parts, part{a, a.size})
	}
	s.writing.Unlock()

	var e event.Event
	for _, p := range parts {
		data, err := s.load(p.segment, p.size)
		if errors.Is(err, os.ErrNotExist) {
			continue // stored meanwhile
		}
		if err != nil {
			return err
		}
		scan(data, p.id, func(rec []byte) {
			if err == nil && !event.IsDrop(rec) && e.Decode(stringOf(rec)) == nil {
				err = fn(&e)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
