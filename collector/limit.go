package collector

import (
	"net/netip"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
)

const (
	// limitWindow is what the limit counts hits over, in nanoseconds.
	limitWindow = int64(time.Minute)
	// maxNetworks is how many networks are known at a time, about 100 bytes each. Beyond it those
	// heard of least lately are forgotten, and begin with a full allowance again.
	maxNetworks = 1 << 16

	limitShards = 16
)

// limiter bounds the hits that one network may have counted. It knows networks only, whole
// addresses never reach it, and it is in memory only: three minutes after a network's last hit
// nothing is left of it.
//
// For each network it holds one time, until which the hits so far have used up the allowance (the
// generic cell rate algorithm, ITU-T I.371). A network may send its minute's allowance at once,
// and earns a hit back every minute/allowance.
type limiter struct {
	limit  int // networks, in either generation of a shard
	shards [limitShards]limitShard
}

// limitShard keeps two generations: what was not used while the younger one lasted is dropped with
// the older one. A generation lasts a window at least, after which a network's allowance is full and
// forgetting it changes nothing, unless there are too many of them.
type limitShard struct {
	mu    sync.Mutex
	since int64 // when the younger generation began, Unix nanoseconds
	young map[anonymize.Network]int64
	old   map[anonymize.Network]int64
	_     [24]byte // shards on cache lines of their own
}

func newLimiter(networks int) *limiter {
	return &limiter{limit: max(networks/limitShards/2, 1)}
}

// allow reports whether the network may have one more hit counted, of perMinute, and counts it.
func (l *limiter) allow(n anonymize.Network, perMinute int, now time.Time) bool {
	step, at := max(limitWindow/int64(perMinute), 1), now.UnixNano()
	s := &l.shards[shardOf(n.Addr())]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(at)
	until, known := s.young[n]
	if !known {
		until = s.old[n]
	}
	// Further ahead than a full allowance it is of before the clock was set back.
	if until < at || until > at+limitWindow {
		until = at
	}
	ok := until+step <= at+limitWindow
	if ok {
		until += step
	}
	if !known && len(s.young) >= l.limit {
		s.turn(at)
	}
	if s.young == nil {
		s.young = make(map[anonymize.Network]int64)
	}
	s.young[n] = until
	return ok
}

// age begins a new generation when it is time.
func (s *limitShard) age(at int64) {
	if len(s.young)+len(s.old) > 0 && (at-s.since >= limitWindow || at < s.since) {
		s.turn(at)
	}
}

func (s *limitShard) turn(at int64) { s.old, s.young, s.since = s.young, nil, at }

// sweep forgets, in one of the shards, networks that were not heard of lately.
func (l *limiter) sweep(shard int, now time.Time) {
	s := &l.shards[shard%limitShards]
	s.mu.Lock()
	s.age(now.UnixNano())
	s.mu.Unlock()
}

// shardOf spreads networks: of an address the bits that are kept end in these bytes.
func shardOf(a netip.Addr) int {
	if a.Is4() {
		b := a.As4()
		return int(b[2]^b[1]) % limitShards
	}
	b := a.As16()
	return int(b[5]^b[4]^b[3]) % limitShards
}

// limited reports whether a hit of addr exceeds what its network may send. An unknown address
// or a trusted proxy's own is everybody's behind it, and never limited.
func (c *Collector) limited(cfg *settings, addr netip.Addr, now time.Time) bool {
	if cfg.rateLimit == 0 || !addr.IsValid() || cfg.proxies.trusts(addr) {
		return false
	}
	return !c.limiter.allow(anonymize.Truncate(addr, anonymize.Bits4, anonymize.Bits6), cfg.rateLimit, now)
}
