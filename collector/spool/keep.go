package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Segments that are stored can be kept for a while, in a folder of their own, and handed to the
// sink once more: a database that does not sync what it confirms can lose it to a power
// failure. The sink finds what it holds by the batch's id, so that handing over is safe at any
// time. They are no part of the queue, and never make a hit be refused: beyond Options.MaxBytes the
// oldest go.

// keptDir is the folder of stored segments, in the spool's own.
const keptDir = "stored"

// kept is a stored segment.
type kept struct {
	name   string // in keptDir
	bytes  int64
	born   time.Time // the segment's creation
	stored time.Time
}

// keeps tells whether a stored segment is to be kept.
func (s *Spool) keeps(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep > 0 && g.whole && strings.HasSuffix(g.name, sealedSuffix)
}

// retain moves a stored segment to the others. An error says that it is not there, and still
// where it was.
func (s *Spool) retain(g *segment) error {
	if err := s.syncStored(g); err != nil {
		return err
	}
	to := filepath.Join(s.dir, keptDir, g.name)
	if err := s.fs.Rename(filepath.Join(s.dir, g.name), to); err != nil {
		return err
	}
	k := kept{name: g.name, bytes: g.disk, born: g.created, stored: g.stored}
	if k.stored.IsZero() {
		k.stored = s.now()
		if err := s.fs.Chtimes(to, k.stored, k.stored); err != nil {
			s.trouble("keep", g, err) // the next start takes it for older than it is
		}
	}
	if err := errors.Join(s.fs.SyncDir(filepath.Join(s.dir, keptDir)), s.fs.SyncDir(s.dir)); err != nil {
		s.trouble("keep", g, err) // the next start finds it here or there
	}
	s.mu.Lock()
	at, _ := slices.BinarySearchFunc(s.kept, k, byStored)
	s.kept = slices.Insert(s.kept, at, k)
	s.keptBytes += k.bytes
	s.mu.Unlock()
	return nil
}

func byStored(a, b kept) int {
	return cmp.Or(a.stored.Compare(b.stored), strings.Compare(a.name, b.name))
}

// syncStored brings a segment to the disk: what is kept against a power failure must survive one.
func (s *Spool) syncStored(g *segment) error {
	f := g.file
	if f == nil {
		var err error
		if f, err = s.fs.OpenFile(filepath.Join(s.dir, g.name), os.O_RDWR, 0); err != nil {
			return err
		}
	}
	err := f.Sync()
	f.Close()
	if errors.Is(err, os.ErrClosed) { // syncLoop has done it
		err = nil
	}
	return err
}

// sayFull is how often the log hears that there is no room for what is to be kept.
const sayFull = 10 * time.Minute

// trim removes stored segments that are old enough or too many, and returns in how long the next is
// due: 0 if there is none. One that was stored in the future is of a clock that was wrong.
func (s *Spool) trim() (next time.Duration) {
	now := s.now()
	for {
		s.mu.Lock()
		if len(s.kept) == 0 {
			s.mu.Unlock()
			return 0
		}
		k := s.kept[0]
		age := now.Sub(k.stored).Abs()
		if age < s.keep && s.keptBytes <= s.maxBytes {
			s.mu.Unlock()
			return s.keep - age
		}
		s.kept = s.kept[1:]
		s.keptBytes -= k.bytes
		say := age < s.keep && now.Sub(s.saidFull).Abs() >= sayFull
		if say {
			s.saidFull = now
		}
		s.mu.Unlock()
		if say {
			s.log.Warn("spool: stored segments go before their time: there is room for max_bytes of them", "kept", age.Round(time.Second), "keep", s.keep)
		}
		s.removeKept(k.name)
	}
}

func (s *Spool) removeKept(name string) {
	if err := s.fs.Remove(filepath.Join(s.dir, keptDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.metrics.errors.WithLabelValues("remove").Inc()
		s.log.Error("spool: removing a stored segment failed; the next start does it", "error", err)
	}
}

// recoverKept takes over what an earlier process kept, or removes it where nothing is to be kept.
func (s *Spool) recoverKept() error {
	dir := filepath.Join(s.dir, keptDir)
	if s.keep > 0 {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	entries, err := s.fs.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) && s.keep == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		if leftover(e.Name()) {
			s.removeKept(e.Name())
			continue
		}
		g, ok := parseName(e.Name())
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		if s.keep == 0 {
			s.removeKept(g.name)
			continue
		}
		s.seq = max(s.seq, g.seq+1)
		k := kept{name: g.name, bytes: info.Size(), stored: info.ModTime()}
		if s.readSealed(g, filepath.Join(dir, g.name)) {
			k.born = g.created
		}
		s.kept = append(s.kept, k)
		s.keptBytes += k.bytes
	}
	slices.SortFunc(s.kept, byStored)
	s.trim()
	return nil
}

// Replayed tells what [Spool.Replay] did.
type Replayed struct {
	Batches int // handed over
	Events  int // in them
	Missing int // of those, how many the sink did not hold any more; they are stored again
	Damaged int // batches that were damaged, or gone
}

// Replay hands the segments that were stored and kept to the sink of the Run in progress once more, oldest first
// and one at a time: those with events that came between from and to, both included; the zero time is no
// limit. What the sink already holds it stores no second time. They wait in the queue meanwhile, so that
// a stop in between is as safe as ever, and are kept on afterwards as long as they would have been.
//
// An error, which is ctx's, [ErrClosed] or [ErrFull], ends it early; what was done is told all the same.
func (s *Spool) Replay(ctx context.Context, from, to time.Time) (r Replayed, err error) {
	s.replaying.Lock()
	defer s.replaying.Unlock()
	s.mu.Lock()
	all := slices.Clone(s.kept)
	s.mu.Unlock()
	for _, k := range all {
		if !from.IsZero() && k.stored.Before(from) || !to.IsZero() && k.born.After(to) {
			continue
		}
		g, err := s.requeue(k)
		if err != nil {
			return r, err
		}
		if g == nil {
			r.Damaged++
			continue
		}
		select {
		case <-g.over:
		case <-ctx.Done():
			return r, ctx.Err()
		case <-s.stop:
			return r, ErrClosed
		}
		r.Batches++
		r.Events += g.records - g.drops
		r.Missing += g.missing
	}
	return r, nil
}

// requeue puts a stored segment at the queue's end. It returns nil for one that is damaged or
// was removed meanwhile.
func (s *Spool) requeue(k kept) (*segment, error) {
	g, _ := parseName(k.name)
	if !s.readSealed(g, filepath.Join(s.dir, keptDir, k.name)) {
		return nil, nil
	}
	g.born = s.now() // its events are not late
	g.stored = k.stored
	g.over = make(chan struct{})

	s.mu.Lock()
	i := slices.IndexFunc(s.kept, func(o kept) bool { return o.name == k.name })
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, ErrClosed
	case i < 0:
		s.mu.Unlock()
		return nil, nil
	case s.bytes.Load()+g.disk > s.maxBytes/2: // hits come first
		s.mu.Unlock()
		return nil, ErrFull
	}
	s.kept = slices.Delete(s.kept, i, i+1)
	s.keptBytes -= k.bytes
	s.mu.Unlock()

	if err := s.fs.Rename(filepath.Join(s.dir, keptDir, g.name), filepath.Join(s.dir, g.name)); err != nil {
		s.trouble("keep", g, err) // the next start takes it over
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return nil, ErrClosed // it is in the folder: the next start hands it over
	}
	s.queue = append(s.queue, g)
	s.events.Add(int64(g.records - g.drops))
	s.drops.Add(int64(g.drops))
	s.bytes.Add(g.disk)
	notify(s.wake)
	return g, nil
}
