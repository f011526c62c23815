package collector

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/kantarainitiative/footfall/event"
)

const (
	// visitTimeout is the inactivity that ends a visit, in seconds.
	visitTimeout = 30 * 60
	// visitMemory is how long a visit is remembered, in seconds. It is longer than the
	// timeout for the sake of engagement that is reported late: see visits.join.
	visitMemory = 2 * 60 * 60
	// maxVisitBytes bounds the memory of all visits together: a visit costs
	// visitOverhead and the text of its attributes, some 250 bytes in all, so that a
	// million of them fit.
	maxVisitBytes = 256 << 20
	// visitOverhead is what a visit costs besides its text: its place in a map that is
	// two thirds full, and the rounding of an allocation.
	visitOverhead = 112

	visitShards = 64
)

// visits knows the visits of the last two hours. Per visit it holds ids, times and the
// attributes that are on each of the visit's events: nothing that is not stored anyway.
//
// It is bounded: where a new visit would exceed the limit an old one is forgotten, the
// least recently active of eight taken at random. A forgotten visit that goes on becomes
// two.
type visits struct {
	limit  int // bytes a shard
	shards [visitShards]visitShard
}

type visitShard struct {
	mu    sync.Mutex
	bytes int
	m     map[visitKey]visit
	loans map[visitKey]loan
	_     [24]byte // shards on cache lines of their own
}

type visitKey struct {
	visitor uint64
	site    uint32
}

type visit struct {
	id   uint64
	rec  string // the attributes: see encodeVisit
	last int64  // Unix seconds of the latest event
	day  event.Day
	seq  uint16 // of its latest event; stays at the highest number
	tags uint32 // of a visit with a lent source: stands for its first page's own campaign; else 0
}

func (v *visit) size() int { return visitOverhead + len(v.rec) }

func newVisits(limit int) *visits { return &visits{limit: max(limit/visitShards, 1)} }

func (vs *visits) shard(k visitKey) *visitShard {
	return &vs.shards[(k.visitor^uint64(k.site))%visitShards]
}

// join puts e into the visit that its visitor is in and reports whether there is one. If
// so, e.Visit becomes what it was at the visit's first event. tagged is the campaign
// that brought the hit, nil for none: a page view with another campaign than the visit's
// joins no visit. lent says that e has the source of a click in a mail instead, likewise.
//
// Engagement tells of the e milliseconds before it was sent, so it joins a visit that was
// alive when those began: a page that was read for an hour is part of the visit that
// opened it.
func (vs *visits) join(k visitKey, e *event.Event, tagged *campaign, lent bool) bool {
	s := vs.shard(k)
	s.mu.Lock()
	v, ok := s.join(k, e, tagged, lent)
	s.mu.Unlock()
	if ok {
		decodeVisit(&e.Visit, v.rec)
		e.Visit.ID, e.Seq = v.id, v.seq
	}
	return ok
}

// join is visits.join for a caller who holds the lock, without the change to e.Visit.
func (s *visitShard) join(k visitKey, e *event.Event, tagged *campaign, lent bool) (visit, bool) {
	v, ok := s.m[k]
	if !ok || !v.continues(e) || e.Kind == event.PageView && v.otherSource(e, tagged, lent) {
		return visit{}, false
	}
	v.last = max(v.last, e.Time)
	if v.seq < math.MaxUint16 {
		v.seq++
	}
	s.m[k] = v
	return v, true
}

func (v *visit) continues(e *event.Event) bool {
	active := e.Time
	if e.Kind == event.Engagement {
		active -= int64(e.EngagedMS / 1000)
	}
	return v.day == e.Day && active-v.last < visitTimeout
}

// otherSource reports whether what e came from, if it says so, is not what the visit came from.
func (v *visit) otherSource(e *event.Event, tagged *campaign, lent bool) bool {
	switch {
	case lent:
		return v.otherMail(e)
	case tagged == nil, v.tags != 0 && v.tags == tagged.mark(): // the page that the mail led to, loaded again
		return false
	}
	return v.otherCampaign(e, tagged)
}

// otherCampaign reports whether c, the campaign of e, is not what the visit came from.
func (v *visit) otherCampaign(e *event.Event, c *campaign) bool {
	var was event.Visit
	decodeVisit(&was, v.rec)
	return was.UTMSource != c.utmSource || was.UTMMedium != c.medium || was.UTMCampaign != c.name ||
		was.UTMContent != c.content || was.UTMTerm != c.term || was.ClickID != c.clickID ||
		c.ref != "" && was.Source != e.Visit.Source
}

// start begins a visit with e, whose attributes it takes over, and sets e.Visit.ID. Where
// another hit began the visit in the meantime, e joins that one and start is false.
func (vs *visits) start(k visitKey, e *event.Event, tagged *campaign, lent bool) (started bool) {
	v := visit{id: newID(), rec: encodeVisit(&e.Visit), last: e.Time, day: e.Day, seq: 1}
	if lent && tagged != nil {
		v.tags = tagged.mark()
	}
	s := vs.shard(k)
	s.mu.Lock()
	other, joined := s.join(k, e, tagged, lent)
	if !joined {
		s.put(k, v, vs.limit)
	}
	s.mu.Unlock()
	if joined {
		decodeVisit(&e.Visit, other.rec)
		e.Visit.ID, e.Seq = other.id, other.seq
		return false
	}
	e.Visit.ID, e.Seq = v.id, v.seq
	return true
}

// forget undoes a start whose event could not be kept.
func (vs *visits) forget(k visitKey, id uint64) {
	s := vs.shard(k)
	s.mu.Lock()
	if v, ok := s.m[k]; ok && v.id == id {
		s.bytes -= v.size()
		delete(s.m, k)
	}
	s.mu.Unlock()
}

// drop forgets the visit that a visitor is in, and what would begin another one.
func (vs *visits) drop(k visitKey) {
	s := vs.shard(k)
	s.mu.Lock()
	delete(s.loans, k)
	if v, ok := s.m[k]; ok {
		s.bytes -= v.size()
		delete(s.m, k)
	}
	s.mu.Unlock()
}

// restore puts back a visit from one of its events. The latest event of a visitor wins.
func (vs *visits) restore(k visitKey, e *event.Event) {
	s := vs.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.loans[k]; ok && e.Kind == event.PageView && e.Time >= l.at {
		delete(s.loans, k) // it has it
	}
	if v, ok := s.m[k]; ok && (v.last > e.Time || v.id == e.Visit.ID) {
		if v.id == e.Visit.ID {
			v.last, v.seq = max(v.last, e.Time), max(v.seq, e.Seq)
			s.m[k] = v
		}
		return
	}
	s.put(k, visit{id: e.Visit.ID, rec: encodeVisit(&e.Visit), last: e.Time, day: e.Day, seq: e.Seq}, vs.limit)
}

// put stores v, making room first. The caller holds the lock.
func (s *visitShard) put(k visitKey, v visit, limit int) {
	if s.m == nil {
		s.m = make(map[visitKey]visit)
	}
	if old, ok := s.m[k]; ok {
		s.bytes -= old.size()
		delete(s.m, k)
	}
	for s.bytes+v.size() > limit && len(s.m) > 0 {
		s.evict()
	}
	s.m[k] = v
	s.bytes += v.size()
}

// evict forgets the least recently active of eight visits. A map is ranged over from a
// random place on, which makes them a sample.
func (s *visitShard) evict() {
	var oldest visitKey
	var last int64
	n := 0
	for k, v := range s.m {
		if n == 0 || v.last < last {
			oldest, last = k, v.last
		}
		if n++; n == 8 {
			break
		}
	}
	v := s.m[oldest]
	s.bytes -= v.size()
	delete(s.m, oldest)
}

// sweep forgets the visits of one shard that are past remembering.
func (vs *visits) sweep(shard int, now int64) {
	s := &vs.shards[shard%visitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, l := range s.loans {
		if now-l.at >= visitTimeout {
			delete(s.loans, k)
		}
	}
	for k, v := range s.m {
		if now-v.last >= visitMemory {
			s.bytes -= v.size()
			delete(s.m, k)
		}
	}
}

// active counts the visits that a page view would continue.
func (vs *visits) active(now int64) (n int) {
	for i := range vs.shards {
		s := &vs.shards[i]
		s.mu.Lock()
		for _, v := range s.m {
			if now-v.last < visitTimeout {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// newID returns a random number that is not zero.
func newID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}

func visitTexts(v *event.Visit) [19]*string {
	return [19]*string{
		&v.EntryPage, &v.Referrer, &v.Source, &v.Channel,
		&v.UTMSource, &v.UTMMedium, &v.UTMCampaign, &v.UTMContent, &v.UTMTerm, &v.ClickID,
		&v.Device, &v.Browser, &v.BrowserVersion, &v.OS, &v.OSVersion,
		&v.Country, &v.Region, &v.RegionName, &v.City,
	}
}

// encodeVisit writes the attributes of v into one string: a length before each. A visit
// costs one allocation and the collector of garbage one pointer that way, not nineteen.
func encodeVisit(v *event.Visit) string {
	var room [512]byte
	b := room[:0]
	for _, s := range visitTexts(v) {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	return string(b)
}

// decodeVisit reads what encodeVisit wrote. The texts of v are parts of rec.
func decodeVisit(v *event.Visit, rec string) {
	for _, s := range visitTexts(v) {
		var n, shift int
		for {
			c := rec[0]
			rec = rec[1:]
			n |= int(c&0x7f) << shift
			if c < 0x80 {
				break
			}
			shift += 7
		}
		*s, rec = rec[:n], rec[n:]
	}
}
