package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// segment is one file. While it is active, Spool.writing guards it. Once it is queued it stays as it
// is, but for replayed, which is drain's. The name is guarded by Spool.mu.
type segment struct {
	seq, id  uint64
	name     string // in the spool's folder
	size     int64  // bytes that hold acknowledged events; what lies behind is not read
	disk     int64  // bytes that count towards Options.MaxBytes, footer included
	records  int    // events and drops
	drops    int
	born     time.Time // when the first event came
	created  time.Time // as its header says
	replayed bool
	whole    bool // every record was read when it was handed over

	stored  time.Time     // of one that is handed over once more: when it was stored first
	over    chan struct{} // of such a one: closed when it has left the queue
	missing int           // events of it that the sink did not hold; set before over is closed

	held map[event.Drop]uint64 // what is in it, once [Spool.Waiting] has counted it; Spool.counting guards it

	file    File // nil once closed
	dirty   bool // active only: written since the last sync
	suspect atomic.Bool
}

// label names the segment in log lines.
func (g *segment) label() string { return fmt.Sprintf("%016x", g.id) }

// create makes the active segment. s.writing is held.
func (s *Spool) create() error {
	var b [8]byte
	var id uint64
	for id == 0 {
		rand.Read(b[:]) // never fails
		id = binary.LittleEndian.Uint64(b[:])
	}
	g := &segment{seq: s.seq, id: id, name: fileName(s.seq, id, openSuffix), size: headerSize, disk: headerSize, created: s.now()}
	path := filepath.Join(s.dir, g.name)
	f, err := s.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(appendHeader(nil, id, g.created), 0); err == nil && s.sync == 0 {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		f.Close()
		s.fs.Remove(path) // if it stays, the next start removes it: it holds no event
		return err
	}
	g.file = f
	s.seq++
	s.active = g
	s.newFiles = true
	s.bytes.Add(headerSize)
	return nil
}

// seal ends the active segment, if there is one, and queues it for the sink. A segment without events
// is removed. It cannot fail: footer and name only help the next start, which
// finds the same events without. s.writing is held.
func (s *Spool) seal() {
	a := s.active
	if a == nil {
		return
	}
	s.active = nil
	path := filepath.Join(s.dir, a.name)
	if a.records == 0 {
		a.file.Close()
		if err := s.fs.Remove(path); err != nil {
			s.trouble("remove", a, err)
		}
		s.bytes.Add(-a.disk)
		return
	}
	a.disk = a.size
	if err := s.mark(a, path); err != nil {
		s.trouble("seal", a, err)
	}
	if s.sync == 0 {
		a.file.Close()
		a.file = nil
	} else {
		s.toSync = append(s.toSync, a)
	}
	s.mu.Lock()
	s.queue = append(s.queue, a)
	s.mu.Unlock()
	s.activeSince.Store(0)
	notify(s.wake)
}

// mark writes the footer and, only if that is whole, gives the file its final name. Nothing behind a footer is
// read, so it also does away with a refused record that could not be cut off.
func (s *Spool) mark(a *segment, path string) error {
	if _, err := a.file.WriteAt(appendFooter(nil, a.id, a.size, a.records, a.drops), a.size); err != nil {
		return errors.Join(err, a.file.Truncate(a.size))
	}
	a.disk += footerSize
	s.bytes.Add(footerSize)
	sealed := fileName(a.seq, a.id, sealedSuffix)
	if err := s.fs.Rename(path, filepath.Join(s.dir, sealed)); err != nil {
		return err
	}
	s.mu.Lock()
	a.name = sealed
	s.mu.Unlock()
	return nil
}

// release removes a segment whose events are stored, or keeps it beside the queue.
func (s *Spool) release(g *segment) {
	if s.keeps(g) {
		err := s.retain(g)
		if err == nil {
			s.forget(g)
			s.trim()
			return
		}
		s.trouble("keep", g, err)
	}
	if g.file != nil {
		g.file.Close() // saves the sync
	}
	err := s.fs.Remove(filepath.Join(s.dir, g.name))
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		// The next start hands it to the sink again, which knows its id.
		s.trouble("remove", g, err)
	}
	s.forget(g)
}

// forget takes a segment that is no longer in the folder, or no longer ours, out of the queue.
func (s *Spool) forget(g *segment) {
	s.mu.Lock()
	for i, q := range s.queue {
		if q == g {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
			break
		}
	}
	if s.forgot != nil {
		close(s.forgot)
		s.forgot = nil
	}
	s.mu.Unlock()
	s.events.Add(-int64(g.records - g.drops))
	s.drops.Add(-int64(g.drops))
	s.bytes.Add(-g.disk)
	if g.over != nil {
		close(g.over)
	}
}

// trouble counts and logs an error that loses nothing that was acknowledged.
func (s *Spool) trouble(op string, g *segment, err error) {
	s.metrics.errors.WithLabelValues(op).Inc()
	s.log.Error("spool: "+op+" failed", "segment", g.label(), "error", err)
}
