package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// The ids of events whose segments are stored and gone, so that a hit that is sent again after a restart is
// known without the database, which may not answer then. They are noted before the segment goes, so that
// a kill leaves an event's id in one of both. It is a help and no record: where it cannot be written, or a
// power failure takes it, the database still knows.
//
// A file holds 12 bytes for each event, its id and its Unix time, little-endian, and is named after
// the time of its creation.
const (
	idsPrefix = "ids-"
	idSize    = 12
	// maxIDBytes is the size of a file after which the next one begins.
	maxIDBytes = 1 << 20 * idSize
)

type idFile struct {
	name  string
	begun time.Time
	size  int64
}

// recoverIDs takes over a file of ids by its name, and reports whether it is one.
func (s *Spool) recoverIDs(name string, size int64) bool {
	text, ok := strings.CutPrefix(name, idsPrefix)
	ns, err := strconv.ParseInt(text, 16, 64)
	if !ok || err != nil {
		return false
	}
	s.ids = append(s.ids, idFile{name, time.Unix(0, ns), size})
	slices.SortFunc(s.ids, func(a, b idFile) int { return cmp.Or(a.begun.Compare(b.begun), strings.Compare(a.name, b.name)) })
	return true
}

// noteIDs remembers the ids of events that are stored.
func (s *Spool) noteIDs(g *segment, events []event.Event) {
	if s.remember == 0 || len(events) == 0 {
		return
	}
	s.noting.Lock()
	defer s.noting.Unlock()
	now := s.now()
	if n := len(s.ids); s.idFile != nil && (now.Sub(s.ids[n-1].begun).Abs() >= s.remember || s.ids[n-1].size >= maxIDBytes) {
		s.closeIDs()
	}
	if s.idFile == nil {
		if err := s.beginIDs(now); err != nil {
			s.trouble("note", g, err)
			return
		}
	}
	b := make([]byte, 0, len(events)*idSize)
	for i := range events {
		b = binary.LittleEndian.AppendUint64(b, events[i].ID)
		b = binary.LittleEndian.AppendUint32(b, uint32(events[i].Time))
	}
	current := &s.ids[len(s.ids)-1]
	if _, err := s.idFile.WriteAt(b, current.size); err != nil {
		s.trouble("note", g, err)
		s.closeIDs() // whatever of it is there is whole but for its end
		return
	}
	current.size += int64(len(b))
}

// beginIDs makes a new file, and removes those that are not needed any more.
func (s *Spool) beginIDs(now time.Time) error {
	name := fmt.Sprintf("%s%016x", idsPrefix, now.UnixNano())
	f, err := s.fs.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	s.idFile = f
	s.ids = append(s.ids, idFile{name: name, begun: now})
	younger := int64(0)
	kept := s.ids[:0:0]
	for i := len(s.ids) - 1; i >= 0; i-- {
		old := s.ids[i]
		if i == len(s.ids)-1 || now.Sub(old.begun).Abs() < 2*s.remember && younger < maxIDBytes {
			kept = append(kept, old)
			younger += old.size
		} else if err := s.fs.Remove(filepath.Join(s.dir, old.name)); err != nil {
			s.metrics.errors.WithLabelValues("remove").Inc()
			kept = append(kept, old)
		}
	}
	slices.Reverse(kept)
	s.ids = kept
	return nil
}

func (s *Spool) closeIDs() {
	if s.idFile != nil {
		s.idFile.Close()
		s.idFile = nil
	}
}

// Stored calls fn with the id and the Unix time of each event that was stored within Options.Remember, and of
// some before, as far as this is known without asking the sink.
func (s *Spool) Stored(fn func(id uint64, at int64)) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	for _, f := range s.ids {
		b, err := s.fs.ReadFile(filepath.Join(s.dir, f.name))
		if err != nil {
			return err
		}
		for ; len(b) >= idSize; b = b[idSize:] {
			fn(binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint32(b[8:])))
		}
	}
	return nil
}
