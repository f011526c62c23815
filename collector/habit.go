package collector

import (
	"math"
	"sync"
	"time"
)

const (
	hour, day, week = 60 * 60, 24 * hour, 7 * day // seconds

	// habitHours is how long a site's habit is remembered: a week, and what a silence of
	// up to a week is compared with.
	habitHours = 2*7*24 + 1
	// shortestSilence is the shortest time without a hit that can be called unusual, in seconds.
	shortestSilence = 15 * 60
	// missedHits is how many hits must have been usual during a silence that is not. Hits
	// come in visits of a few; of thirty all staying away is no accident.
	missedHits = 30
)

// habit is how many hits a site usually has counted, hour by hour, so that silence can
// be told from a quiet night. It is in memory and holds numbers only (1.4 KiB). What it knows
// begins when it began, or with the first hour that it was told of: for a day after that no silence is unusual.
type habit struct {
	mu     sync.Mutex
	since  int64 // when what it knows begins, Unix seconds
	last   int64 // the last counted hit, or when it began
	newest int64 // the hour that was last written
	quiet  bool  // until the next hit
	hours  [habitHours]uint32
}

func newHabit(now int64) *habit { return &habit{since: now, last: now, newest: now / hour} }

// count notes a counted hit.
func (h *habit) count(now int64) {
	now = max(now, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	h.hours[now/hour%habitHours]++
	h.last, h.quiet = max(h.last, now), false
}

// recall notes hits that were counted before it began, in the hour that begins at at. The
// silence before it began is not held against the site: nobody listened.
func (h *habit) recall(at int64, hits uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := at / hour
	if at < 0 || i <= h.newest-habitHours || i > h.newest {
		return
	}
	n := &h.hours[i%habitHours]
	*n = uint32(min(uint64(*n)+hits, math.MaxUint32))
	h.since = min(h.since, at)
}

// turn empties the hours that have come since the last one. After the clock was set back the
// habit begins anew.
func (h *habit) turn(now int64) {
	at := now / hour
	switch {
	case at < h.newest-1:
		h.since, h.last, h.newest, h.hours = now, now, at, [habitHours]uint32{}
	case at-h.newest >= habitHours:
		h.newest, h.hours = at, [habitHours]uint32{}
	default:
		for h.newest < at {
			h.newest++
			h.hours[h.newest%habitHours] = 0
		}
	}
}

// silent reports whether hits stay away that usually come, and since when. It says so until the
// next hit: the habit of having none is not learned.
func (h *habit) silent(now int64) (since int64, unusual bool) {
	now = max(now, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	if !h.quiet && now-h.last >= shortestSilence {
		h.quiet = h.usual(min(now, h.last+week)) >= missedHits
	}
	return h.last, h.quiet
}

// usual is how many hits the time from the last one to now usually brings: as many as a week
// before, and where that is less as many as the day before, so that neither a weekend nor a
// single busy day is taken for the rule. What is not known is left out; with neither it is 0.
func (h *habit) usual(now int64) float64 {
	known, least := false, 0.0
	for _, ago := range [...]int64{day, week} {
		if h.last-ago < h.since || now-h.last > ago {
			continue
		}
		if n := h.between(h.last-ago, now-ago); !known || n < least {
			known, least = true, n
		}
	}
	return least
}

// between is the number of hits from one second to another; of the hours at both ends a part.
func (h *habit) between(from, to int64) (n float64) {
	for at := from / hour; at <= to/hour && at <= h.newest; at++ {
		if at <= h.newest-habitHours {
			continue
		}
		part := min(to, (at+1)*hour) - max(from, at*hour)
		n += float64(h.hours[at%habitHours]) * float64(part) / hour
	}
	return n
}

// Silence is a site that has no hits at a time when it usually has some.
type Silence struct {
	Site  string
	Since time.Time // its last counted hit
}

// HabitMemory is how long the habit of a site is remembered: hours before that give [Collector.RestoreHabit]
// nothing.
const HabitMemory = habitHours * time.Hour

// RestoreHabit tells how many hits of a site were counted before this start, in the hour (of
// UTC) that begins at at. Call it once for each hour that had some, in any order, at any time: without it the
// first day knows no habit.
func (c *Collector) RestoreHabit(site string, at time.Time, hits uint64) {
	if s := c.settings.Load().sites[site]; s != nil {
		s.habit.recall(at.Unix(), hits)
	}
}

// Silent returns the sites at which hits stay away that usually come at this time, in the
// order of the configuration. It is worked out from what this process has counted and
// [Collector.RestoreHabit] was told; silence before the start is none.
func (c *Collector) Silent() (out []Silence) {
	cfg, now := c.settings.Load(), c.now().Unix()
	for _, name := range cfg.names {
		if since, unusual := cfg.sites[name].habit.silent(now); unusual {
			out = append(out, Silence{Site: name, Since: time.Unix(since, 0)})
		}
	}
	return out
}
