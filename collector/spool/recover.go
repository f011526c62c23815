package spool

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// recover queues the segments that an earlier process left.
func (s *Spool) recover() error {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() == keptDir || e.Name() == probeName {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && s.recoverIDs(e.Name(), info.Size()) {
			continue
		}
		g, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			s.log.Warn("spool: a file in the folder is not a segment, and is left alone", "file", e.Name())
			continue
		}
		s.seq = max(s.seq, g.seq+1)
		if err := s.adopt(g); err != nil {
			return fmt.Errorf("spool: reading a segment left by the last run: %w", err)
		}
	}
	slices.SortFunc(s.queue, func(a, b *segment) int { return cmp.Compare(a.seq, b.seq) })
	for _, g := range s.queue {
		s.events.Add(int64(g.records - g.drops))
		s.drops.Add(int64(g.drops))
		s.bytes.Add(g.disk)
	}
	if len(s.queue) > 0 {
		s.log.Info("spool: events of the last run are waiting", "segments", len(s.queue), "events", s.events.Load(), "bytes", s.bytes.Load())
	}
	return nil
}

func parseName(name string) (*segment, bool) {
	ids, ok := strings.CutSuffix(name, sealedSuffix)
	if !ok {
		ids, ok = strings.CutSuffix(name, openSuffix)
	}
	if !ok || len(ids) != 33 || ids[16] != '-' {
		return nil, false
	}
	seq, err1 := strconv.ParseUint(ids[:16], 16, 64)
	id, err2 := strconv.ParseUint(ids[17:], 16, 64)
	if err1 != nil || err2 != nil || id == 0 || seq+1 == 0 {
		return nil, false
	}
	return &segment{seq: seq, id: id, name: name, replayed: true}, true
}

// adopt reads a segment, cuts off a torn tail, seals it if it was not, and queues it.
func (s *Spool) adopt(g *segment) error {
	if strings.HasSuffix(g.name, sealedSuffix) && s.readSealed(g, filepath.Join(s.dir, g.name)) {
		s.queue = append(s.queue, g)
		return nil
	}
	path := filepath.Join(s.dir, g.name)
	data, err := s.fs.ReadFile(path)
	if err != nil {
		return s.setAside(g, err.Error())
	}
	id, born, ok := readHeader(string(data[:min(len(data), headerSize)]))
	if ok {
		g.id, g.born, g.created = id, born, born
	} else {
		g.born = s.now() // the name has the id too
	}
	c := scan(data, g.id, func([]byte) {})
	g.records, g.drops = c.records, c.drops
	g.size, g.disk = int64(c.end), int64(c.end)
	if !ok && c.records == 0 && len(data) > headerSize {
		return s.setAside(g, "its first bytes are damaged and no event in it is whole")
	}
	if c.records > 0 && !c.sealed && strings.HasSuffix(g.name, sealedSuffix) {
		s.metrics.torn.Inc()
		s.log.Error("spool: a segment has lost its end, and perhaps events with it", "segment", g.label(), "events", c.records)
	} else if torn := len(data) - c.end; torn > 0 {
		s.metrics.torn.Inc()
		s.log.Warn("spool: a segment ended in the middle of a record, which was never acknowledged unless the machine stopped too; the rest is kept",
			"segment", g.label(), "bytes", torn, "events", c.records)
	}
	if events, drops := c.lost(); events+drops > 0 {
		s.lose(g, events, drops)
	}
	if c.records == 0 {
		s.log.Info("spool: a segment without events is removed", "segment", g.label())
		return s.fs.Remove(path)
	}
	if !c.sealed {
		if err := s.finish(g, len(data)); err != nil {
			s.trouble("seal", g, err) // its events are safe as they are
		}
	}
	s.queue = append(s.queue, g)
	return nil
}

// lost is how many acknowledged events and how many drops are missing: exact if the footer is
// there, else each damaged place counts as an event.
func (c contents) lost() (events, drops int) {
	if c.sealed {
		return max(c.count-c.countDrops-(c.records-c.drops), 0), max(c.countDrops-c.drops, 0)
	}
	return c.gaps, 0
}

// readSealed fills in g from header and footer of the sealed segment at path, and tells whether they are
// complete; its records are checked when they are read.
func (s *Spool) readSealed(g *segment, path string) bool {
	f, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	head, foot := make([]byte, headerSize), make([]byte, footerSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return false
	}
	size, err := f.Size()
	if err != nil || size < headerSize+footerSize {
		return false
	}
	if _, err := f.ReadAt(foot, size-footerSize); err != nil {
		return false
	}
	id, born, ok := readHeader(string(head))
	if !ok {
		return false
	}
	records, drops, ok := readFooter(foot, id, size-footerSize)
	if !ok || records == 0 || drops > records {
		return false
	}
	g.id, g.born, g.created = id, born, born
	g.size, g.disk, g.records, g.drops = size, size, records, drops
	return true
}

// finish cuts a segment behind its last whole record and seals it.
func (s *Spool) finish(g *segment, size int) error {
	path := filepath.Join(s.dir, g.name)
	f, err := s.fs.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if int64(size) > g.size {
		if err := f.Truncate(g.size); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(appendFooter(nil, g.id, g.size, g.records, g.drops), g.size); err != nil {
		return err
	}
	g.size += footerSize
	g.disk = g.size
	if err := f.Sync(); err != nil {
		return err
	}
	name := fileName(g.seq, g.id, sealedSuffix)
	if err := s.fs.Rename(path, filepath.Join(s.dir, name)); err != nil {
		return err
	}
	g.name = name
	return s.fs.SyncDir(s.dir)
}

// lose counts and logs acknowledged events, and notes of hits that were not counted, that are gone.
func (s *Spool) lose(g *segment, events, drops int) {
	s.metrics.corrupt.Add(float64(events))
	s.metrics.corruptDrops.Add(float64(drops))
	s.log.Error("spool: a segment is damaged, events in it are lost; the others are kept", "segment", g.label(), "lost", events, "lost_drops", drops)
}

// setAside renames a segment that this version cannot read, so that it neither blocks the others
// nor is lost. It counts as corrupt.
func (s *Spool) setAside(g *segment, why string) error {
	s.metrics.corrupt.Add(float64(max(g.records, 1)))
	to := g.name + asideSuffix
	s.log.Error("spool: a segment cannot be read and is put aside: "+why+". If another version of footfall wrote it, start that one after renaming the file back; else remove it",
		"segment", g.label(), "file", to)
	return s.fs.Rename(filepath.Join(s.dir, g.name), filepath.Join(s.dir, to))
}
