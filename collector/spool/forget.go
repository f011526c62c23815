package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kantarainitiative/footfall/event"
)

// Flush ends the active segment and returns when the sink holds everything that was appended before,
// and the queue's folder none of it. What cannot be read and was put aside stays there. An
// error is ctx's, [ErrClosed], or tells of a file that cannot be removed.
func (s *Spool) Flush(ctx context.Context) error {
	s.writing.Lock()
	s.seal()
	end := s.seq
	s.writing.Unlock()
	for {
		s.mu.Lock()
		waits := slices.ContainsFunc(s.queue, func(g *segment) bool { return g.seq < end })
		if s.forgot == nil {
			s.forgot = make(chan struct{})
		}
		forgot := s.forgot
		s.mu.Unlock()
		if !waits {
			break
		}
		select {
		case <-forgot:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			return ErrClosed
		}
	}
	return s.removeStored(end)
}

// removeStored removes files before end that are not in the queue: they are stored, and could not
// be removed then.
func (s *Spool) removeStored(end uint64) error {
	s.replaying.Lock() // a replay's files are on their way into the queue
	defer s.replaying.Unlock()
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		g, ok := parseName(e.Name())
		if !ok || g.seq >= end {
			continue
		}
		s.mu.Lock()
		queued := slices.ContainsFunc(s.queue, func(q *segment) bool { return q.seq == g.seq })
		s.mu.Unlock()
		if queued {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, g.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.trouble("remove", g, err)
			return fmt.Errorf("spool: a stored segment cannot be removed: %w", err)
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// newSuffix is that of a stored segment while it is written anew.
const newSuffix = ".new"

// Purge takes the events that take is true for out of the stored segments that are kept, and
// returns how many those were. Such a segment keeps its id and its place.
func (s *Spool) Purge(ctx context.Context, take func(*event.Event) bool) (n int, err error) {
	s.replaying.Lock()
	defer s.replaying.Unlock()
	s.mu.Lock()
	all := slices.Clone(s.kept)
	s.mu.Unlock()
	for _, k := range all {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		taken, err := s.purge(k, take)
		n += taken
		if err != nil {
			return n, fmt.Errorf("spool: erasing in a stored segment: %w", err)
		}
	}
	return n, nil
}

// raw is a record in its binary form.
type raw []byte

func (r raw) AppendTo(b []byte) []byte { return append(b, r...) }

func (s *Spool) purge(k kept, take func(*event.Event) bool) (taken int, err error) {
	path := filepath.Join(s.dir, keptDir, k.name)
	data, err := s.fs.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // its time was over
	}
	if err != nil {
		return 0, err
	}
	g, _ := parseName(k.name)
	var e event.Event
	out := appendHeader(nil, g.id, k.born)
	records, drops := 0, 0
	scan(data, g.id, func(rec []byte) {
		drop := event.IsDrop(rec)
		if !drop && e.Decode(stringOf(rec)) == nil && take(&e) {
			taken++
			return
		}
		records++
		if drop {
			drops++
		}
		out = appendRecord(out, raw(rec))
	})
	if taken == 0 {
		return 0, nil
	}
	size := int64(0)
	if records > 0 {
		stamp(out[headerSize:], g.id, headerSize)
		out = appendFooter(out, g.id, int64(len(out)), records, drops)
		size = int64(len(out))
		if err := s.replaceKept(path, out, k); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.kept, func(o kept) bool { return o.name == k.name })
	if i >= 0 {
		s.keptBytes += size - k.bytes
		s.kept[i].bytes = size
		if size == 0 {
			s.kept = slices.Delete(s.kept, i, i+1)
		}
	}
	s.mu.Unlock()
	if i < 0 || size == 0 { // nothing is left of it, or its time was over meanwhile
		s.removeKept(k.name)
	}
	return taken, s.fs.SyncDir(filepath.Join(s.dir, keptDir))
}

// replaceKept puts b in the place of a stored segment: after a crash the one or the other is there.
func (s *Spool) replaceKept(path string, b []byte, k kept) error {
	f, err := s.fs.OpenFile(path+newSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = s.fs.Chtimes(path+newSuffix, k.stored, k.stored)
	}
	if err == nil {
		err = s.fs.Rename(path+newSuffix, path)
	}
	if err != nil {
		s.fs.Remove(path + newSuffix)
	}
	return err
}

// leftover tells whether a file in keptDir is what a crash has left of replaceKept.
func leftover(name string) bool {
	_, ok := parseName(strings.TrimSuffix(name, newSuffix))
	return ok && strings.HasSuffix(name, newSuffix)
}
