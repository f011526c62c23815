package spool

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kantarainitiative/footfall/event"
)

// maxGroup bounds, in bytes, the records that one write joins.
const maxGroup = 1 << 20

// group is records that go to the file by one write. The appender that made it is its leader and
// does the writing; others join until the leader's turn comes, so that the busier
// the disk, the more records share a write and, with Sync 0, an fsync.
type group struct {
	buf   []byte
	n     int // records in buf, drops among them; guarded by Spool.mu
	drops int
	err   error
	done  sync.WaitGroup // until err is set
	refs  atomic.Int32   // appenders that still look at err
}

// Append writes e to the active segment. It returns once the bytes are in the kernel, so that they
// outlive this process, and with Options.Sync 0 once they are on the disk. After an error the
// event is not in the spool and will not be: the error wraps [ErrFull] where there is no room,
// and is [ErrClosed] after Close.
//
// The caller has normalised e and keeps it. Append may be called from many goroutines.
func (s *Spool) Append(e *event.Event) error {
	g := s.groups.Get().(*group)
	g.buf = appendRecord(g.buf[:0], e)
	if size := len(g.buf); size > frameHead+maxRecord {
		s.groups.Put(g)
		return fmt.Errorf("spool: an event of %d bytes is too large", size)
	}
	err := s.enter(g, 0, s.maxBytes)
	if err != nil {
		s.failed(err)
	}
	return err
}

// enter writes the one record in g, which is a drop or not, where the files stay below limit. g
// is given back.
func (s *Spool) enter(g *group, drops int, limit int64) error {
	size := len(g.buf)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.groups.Put(g)
		return ErrClosed
	}
	if s.bytes.Load()+int64(size)+headerSize+footerSize > limit {
		s.mu.Unlock()
		s.groups.Put(g)
		return ErrFull
	}
	s.bytes.Add(int64(size))
	if c := s.joining; c != nil && len(c.buf)+size <= maxGroup {
		c.buf = append(c.buf, g.buf...)
		c.n++
		c.drops += drops
		c.refs.Add(1)
		s.mu.Unlock()
		s.groups.Put(g)
		c.done.Wait()
		return s.leave(c)
	}
	g.n, g.drops, g.err = 1, drops, nil
	g.refs.Store(1)
	g.done.Add(1)
	s.joining = g
	s.mu.Unlock()

	s.writeGroup(g)
	g.done.Done()
	return s.leave(g)
}

// leave returns the group's result; the last one to leave gives the group back.
func (s *Spool) leave(g *group) error {
	err := g.err
	if g.refs.Add(-1) == 0 {
		s.groups.Put(g)
	}
	return err
}

// writeGroup waits for the leader's turn, ends joining, and writes.
func (s *Spool) writeGroup(g *group) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.joining == g {
		s.joining = nil
	}
	n, drops := g.n, g.drops
	s.mu.Unlock()
	if s.ended {
		g.err = ErrClosed
	} else {
		g.err = s.write(g.buf, n, drops)
	}
	if g.err != nil {
		s.bytes.Add(-int64(len(g.buf)))
		return
	}
	if n > drops { // a drop may have used room that events have not
		s.works()
	}
	s.settle()
}

// write adds frames of n records to the active segment, all or none of them, and counts them.
// Some are drops. s.writing is held, and s.bytes has the frames.
func (s *Spool) write(frames []byte, n, drops int) error {
	if a := s.active; a != nil && a.records > 0 &&
		(a.size+int64(len(frames)) > s.segmentBytes || a.records+n > s.segmentEvents || a.suspect.Load()) {
		s.seal()
	}
	if s.active == nil {
		if err := s.create(); err != nil {
			return s.writeError("create", err)
		}
	}
	a := s.active
	stamp(frames, a.id, a.size)
	if _, err := a.file.WriteAt(frames, a.size); err != nil {
		s.undo(false)
		return s.writeError("write", err)
	}
	if s.sync == 0 {
		if err := a.file.Sync(); err != nil {
			s.undo(true)
			return s.writeError("sync", err)
		}
	}
	first := a.records == 0
	a.size += int64(len(frames))
	a.records += n
	a.drops += drops
	s.events.Add(int64(n - drops))
	s.drops.Add(int64(drops))
	s.appended.Add(uint64(n - drops))
	if first {
		a.born = s.now()
		s.activeSince.Store(a.born.UnixNano())
		notify(s.wake)
	}
	if s.sync > 0 && !a.dirty {
		a.dirty = true
		notify(s.unsynced)
	}
	return nil
}

// undo takes back what a failed write or sync may have left of records that are not
// acknowledged: they must not be stored later. After a failed sync nobody can say what the
// disk holds of the pages, and a second one would report success: the file is not used again.
func (s *Spool) undo(suspect bool) {
	a := s.active
	if err := a.file.Truncate(a.size); err != nil {
		s.metrics.errors.WithLabelValues("truncate").Inc()
		s.log.Error("spool: records that were refused could not be cut off, the segment is ended before them",
			"segment", a.label(), "error", err)
		suspect = true
	}
	if suspect {
		s.seal()
	}
}

// writeError counts and wraps an error of the file system. A full disk is [ErrFull].
func (s *Spool) writeError(op string, err error) error {
	s.metrics.errors.WithLabelValues(op).Inc()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("spool: %s: %w", op, err)
}

// notify wakes whoever waits on c, at once or when it next waits.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
