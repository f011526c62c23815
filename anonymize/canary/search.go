package canary

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
)

// Search looks for canaries in streams. Its methods may be called from several goroutines.
type Search struct {
	canaries []Canary
	patterns []pattern
	longest  int
	// Patterns by a hash of their first four bytes: most places of a stream are passed over with one look
	// into filter.
	filter []uint64
	first  map[uint32][]int32

	mu     sync.Mutex
	hits   map[hit]int
	groups map[string]*Seen
	places map[place]int64 // bytes
}

// pattern is one byte string of a form of a canary.
type pattern struct {
	bytes        []byte
	canary, form int32
}

type place struct{ group, name string }

type hit struct {
	place
	canary, form int32
}

// Seen is how much of a group of places a search has looked at.
type Seen struct {
	Group  string `json:"what"`
	Places int    `json:"places"`
	Bytes  int64  `json:"bytes"`
}

// Finding is a form of a canary in a place.
type Finding struct {
	Group  string `json:"what"`
	Place  string `json:"place"`
	Canary string `json:"canary"`
	Form   string `json:"form"`
	Times  int    `json:"times"`
	// ByChance is how often the form would be there if the place held random bytes: 0 for all but those of 32 bits.
	ByChance float64 `json:"by_chance"`
}

const (
	minPattern = 4
	filterBits = 19
	chunkSize  = 256 << 10
)

// NewSearch makes a search for canaries.
func NewSearch(canaries ...Canary) *Search {
	s := &Search{
		canaries: canaries, filter: make([]uint64, 1<<filterBits/64), first: map[uint32][]int32{},
		hits: map[hit]int{}, groups: map[string]*Seen{}, places: map[place]int64{},
	}
	for i, c := range canaries {
		for j, f := range c.forms {
			for _, p := range f.patterns {
				if len(p) < minPattern {
					panic("canary: the form " + f.name + " is too short to be looked for")
				}
				k := binary.LittleEndian.Uint32(p)
				s.filter[slot(k)/64] |= 1 << (slot(k) % 64)
				s.first[k] = append(s.first[k], int32(len(s.patterns)))
				s.patterns = append(s.patterns, pattern{p, int32(i), int32(j)})
				s.longest = max(s.longest, len(p))
			}
		}
	}
	return s
}

func slot(k uint32) uint32 { return k * 0x9e3779b1 >> (32 - filterBits) }

// Canaries are those that are looked for.
func (s *Search) Canaries() []Canary { return s.canaries }

// Forms tells how many forms of all canaries are looked for.
func (s *Search) Forms() (n int) {
	for _, c := range s.canaries {
		n += len(c.forms)
	}
	return n
}

// LookAt is Look for bytes that are there as a whole.
func (s *Search) LookAt(group, name string, b []byte) { s.lookAt(place{group, name}, b, 1) }

// More is LookAt for a further piece of a place that was counted already.
func (s *Search) More(group, name string, b []byte) { s.lookAt(place{group, name}, b, 0) }

func (s *Search) lookAt(at place, b []byte, places int) {
	found := map[int32]int{}
	s.scan(b, len(b), found)
	s.note(at, places, int64(len(b)), found)
}

// Look reads r to its end. What is found is noted under the place: a file, a column, an answer; and
// the place is one of a group. The error is r's. Several streams may be of one place.
func (s *Search) Look(group, name string, r io.Reader) error {
	found := map[int32]int{}
	buf := make([]byte, 0, chunkSize+s.longest)
	total := int64(0)
	var failed error
	for done := false; !done; {
		room := buf[len(buf):cap(buf)]
		n, err := io.ReadFull(r, room)
		buf, total = buf[:len(buf)+n], total+int64(n)
		if err != nil {
			done = true
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				failed = err
			}
		}
		// A match counts where it begins: each once, also at a border.
		end := len(buf) - s.longest + 1
		if done {
			end = len(buf)
		}
		end = max(end, 0)
		s.scan(buf, end, found)
		buf = buf[:copy(buf[:cap(buf)], buf[end:])]
	}
	s.note(place{group, name}, 1, total, found)
	return failed
}

func (s *Search) note(at place, places int, bytes int64, found map[int32]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[at.group]
	if g == nil {
		g = &Seen{Group: at.group}
		s.groups[at.group] = g
	}
	g.Places += places
	g.Bytes += bytes
	for p, n := range found {
		s.hits[hit{at, s.patterns[p].canary, s.patterns[p].form}] += n
	}
	s.places[at] += bytes
}

// scan notes the matches in b that begin before end.
func (s *Search) scan(b []byte, end int, found map[int32]int) {
	end = min(end, len(b)-minPattern+1)
	for i := 0; i < end; i++ {
		k := binary.LittleEndian.Uint32(b[i:])
		if at := slot(k); s.filter[at/64]>>(at%64)&1 == 0 {
			continue
		}
		for _, p := range s.first[k] {
			if bytes.HasPrefix(b[i:], s.patterns[p].bytes) {
				found[p]++
			}
		}
	}
}

// Seen lists how much was looked at, by group.
func (s *Search) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Seen, 0, len(s.groups))
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		out = append(out, *s.groups[name])
	}
	return out
}

// falseAlarm is the probability that one search takes chance for a finding.
const falseAlarm = 1e-4

// Findings lists what was found, and apart from it what chance explains: forms of 32 bits that are in a
// place as often as they would be in random bytes. A form of 32 bits is found where so many of the canaries that
// have it are in one place that chance would do that in one search of ten thousand.
func (s *Search) Findings() (found, byChance []Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := 0
	for _, g := range s.groups {
		places += g.Places
	}
	type kind struct {
		place
		form string
	}
	canaries, forms := map[kind]int{}, map[string]int{} // in a place, and at all
	for h := range s.hits {
		if f := s.form(h); f.short {
			canaries[kind{h.place, f.name}]++
		}
	}
	for _, c := range s.canaries {
		for _, f := range c.forms {
			if f.short {
				forms[f.name]++
			}
		}
	}
	for h, n := range s.hits {
		f := s.form(h)
		out := Finding{Group: h.group, Place: h.name, Canary: s.canaries[h.canary].Name, Form: f.name, Times: n}
		if !f.short {
			found = append(found, out)
			continue
		}
		out.ByChance = float64(s.places[h.place]) / (1 << 32)
		p := atLeast(forms[f.name], canaries[kind{h.place, f.name}], -math.Expm1(-out.ByChance))
		if p*float64(max(places, 1)*len(forms)) < falseAlarm {
			found = append(found, out)
		} else {
			byChance = append(byChance, out)
		}
	}
	order := func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Place, b.Place), cmp.Compare(a.Canary, b.Canary), cmp.Compare(a.Form, b.Form))
	}
	slices.SortFunc(found, order)
	slices.SortFunc(byChance, order)
	return found, byChance
}

func (s *Search) form(h hit) *form { return &s.canaries[h.canary].forms[h.form] }

// atLeast is the probability of k or more of n, each of which happens with probability p.
func atLeast(n, k int, p float64) (sum float64) {
	for ; k <= n; k++ {
		c := 1.0
		for i := range k {
			c *= float64(n-i) / float64(i+1)
		}
		sum += c * math.Pow(p, float64(k)) * math.Pow(1-p, float64(n-k))
	}
	return sum
}

// ByChanceExpected is how many matches of 32-bit forms random bytes would give in all that was looked at.
func (s *Search) ByChanceExpected() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	short, total := 0, int64(0)
	for _, c := range s.canaries {
		for _, f := range c.forms {
			if f.short {
				short++
			}
		}
	}
	for _, g := range s.groups {
		total += g.Bytes
	}
	return float64(short) * float64(total) / (1 << 32)
}
