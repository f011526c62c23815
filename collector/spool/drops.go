package spool

import (
	"errors"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

const (
	// dropReserve is the room beyond Options.MaxBytes that only drops may use, so that hits
	// that are refused because the spool is full are noted on disk too: some 15,000 at the
	// least, from which on those of a minute are one record.
	dropReserve = 1 << 20
	// owedPause is how long a try to write what is owed is put off while nothing is written.
	owedPause = time.Second
	// maxOwed bounds the sites, minutes and reasons in memory: beyond it, minutes become days.
	maxOwed = 1 << 16
)

// debts is what could not be written: hits by site, minute, reason and what was masked (the key has no count).
// A kill of the process loses them; everything else waits until there is room.
type debts struct {
	mu   sync.Mutex
	hits map[event.Drop]uint64
	sum  uint64
}

// Drop notes that a hit was received and is not counted. It returns once that is as safe
// as an event is after [Spool.Append]. Where the disk or even the reserve for drops is full, or
// the disk fails, it is noted in memory and written when there is room again: that count is
// all that a kill can lose. It is never refused. d is the caller's.
func (s *Spool) Drop(d *event.Drop) {
	g := s.groups.Get().(*group)
	g.buf = appendRecord(g.buf[:0], d)
	if err := s.enter(g, 1, s.maxBytes+dropReserve); err != nil {
		s.failed(err)
		s.owe(*d)
	}
}

func (s *Spool) owe(d event.Drop) {
	s.debts.mu.Lock()
	defer s.debts.mu.Unlock()
	if s.debts.hits == nil {
		s.debts.hits = map[event.Drop]uint64{}
	}
	if len(s.debts.hits) >= maxOwed {
		d.Minute -= d.Minute % (24 * 60)
	}
	n := d.Count
	d.Count = 0
	d.Page = strings.Clone(d.Page) // the caller's
	s.debts.hits[d] += n
	s.debts.sum += n
}

func (s *Spool) owedHits() uint64 {
	s.debts.mu.Lock()
	defer s.debts.mu.Unlock()
	return s.debts.sum
}

func (s *Spool) owing() bool { return s.owedHits() > 0 }

// settle writes what is owed, where there is room. s.writing is held.
func (s *Spool) settle() {
	if s.ended || !s.owing() {
		return
	}
	s.debts.mu.Lock()
	hits := s.debts.hits
	s.debts.hits, s.debts.sum = nil, 0
	s.debts.mu.Unlock()
	var frames []byte
	var written []event.Drop
	flush := func() bool {
		size := int64(len(frames))
		if s.bytes.Add(size)+headerSize+footerSize > s.maxBytes+dropReserve || s.write(frames, len(written), len(written)) != nil {
			s.bytes.Add(-size)
			return false
		}
		for _, d := range written {
			delete(hits, d)
		}
		frames, written = frames[:0], written[:0]
		return true
	}
	room := true
	for d, n := range hits {
		key := d
		d.Count = n
		frames = appendRecord(frames, &d)
		written = append(written, key)
		if len(frames) > 64<<10 {
			if room = flush(); !room {
				break
			}
		}
	}
	if room && len(written) > 0 {
		flush()
	}
	for d, n := range hits { // what is left
		d.Count = n
		s.owe(d)
	}
}

// Waiting tells what of the hits received is not stored yet, and in which batches it is. The
// batch of each record is named: where a batch is stored meanwhile, it is neither in the
// answer nor missing if the caller leaves out the named batches. What it reads of sealed
// segments it reads once.
func (s *Spool) Waiting() (event.Waiting, error) {
	s.counting.Lock()
	defer s.counting.Unlock()
	type part struct {
		*segment
		size   int64
		sealed bool
	}
	var parts []part
	sum := map[event.Drop]uint64{}
	s.writing.Lock()
	s.mu.Lock()
	for _, g := range s.queue {
		parts = append(parts, part{g, g.size, true})
	}
	s.mu.Unlock()
	if a := s.active; a != nil {
		parts = append(parts, part{a, a.size, false})
	}
	s.debts.mu.Lock()
	maps.Copy(sum, s.debts.hits)
	s.debts.mu.Unlock()
	s.writing.Unlock()

	var w event.Waiting
	for _, p := range parts {
		held := p.held
		if held == nil {
			data, err := s.load(p.segment, p.size)
			if errors.Is(err, os.ErrNotExist) {
				continue // stored meanwhile
			}
			if err != nil {
				return event.Waiting{}, err
			}
			held = tally(data, p.id)
			if p.sealed {
				p.held = held
			}
		}
		w.Batches = append(w.Batches, p.id)
		for d, n := range held {
			sum[d] += n
		}
	}
	for d, n := range sum {
		d.Count = n
		w.Hits = append(w.Hits, d)
	}
	return w, nil
}

// tally counts the hits of a segment by site, minute, reason and what was masked. Its keys share nothing with data.
func tally(data []byte, id uint64) map[event.Drop]uint64 {
	held := map[event.Drop]uint64{}
	var e event.Event
	names := map[string]string{}
	own := func(s string) string {
		if n, ok := names[s]; ok {
			return n
		}
		c := string([]byte(s))
		names[c] = c
		return c
	}
	scan(data, id, func(rec []byte) {
		var d event.Drop
		n := uint64(1)
		if event.IsDrop(rec) {
			if d.Decode(stringOf(rec)) != nil {
				return
			}
			n = d.Count
			d.Count = 0
		} else {
			if e.Decode(stringOf(rec)) != nil {
				return
			}
			d.Site, d.Minute = e.Site, event.MinuteOf(e.Time)
		}
		d.Site, d.Reason, d.Page = own(d.Site), own(d.Reason), own(d.Page)
		held[d] += n
	})
	return held
}
