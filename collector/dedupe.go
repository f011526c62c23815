package collector

import (
	"hash/maphash"
	"sync"
)

const (
	// rememberIDs is how long the id of a hit is remembered, in seconds.
	rememberIDs = 60 * 60
	// maxIDs is how many ids are remembered at a time, about 50 bytes each. Beyond it the oldest go first.
	maxIDs = 1 << 20
	// maxIDLen is the longest id that is looked at; what is longer counts as none.
	maxIDLen = 32

	dedupeShards = 16
)

// dedupe remembers which ids were seen within the hour, as 64-bit hashes under a seed
// that lives as long as the process: it cannot be asked who sent what. With a full set the
// chance that a new id is taken for an old one is 6e-14.
type dedupe struct {
	seed   maphash.Seed
	limit  int // ids a shard
	shards [dedupeShards]dedupeShard
}

type dedupeShard struct {
	mu    sync.Mutex
	since map[uint64]sighting
	queue []seenID // the same, oldest first
	head  int      // queue[:head] is gone
	_     [32]byte // shards on cache lines of their own
}

type sighting struct {
	at    int64 // Unix seconds
	taken bool  // else nobody knows yet whether its hit will be kept
}

type seenID struct {
	key uint64
	at  int64
}

// standing is what is known of an id.
type standing uint8

const (
	fresh    standing = iota // it is new within the hour
	underWay                 // its hit is being taken, or refused
	taken                    // its hit was taken
)

func newDedupe(limit int) *dedupe {
	return &dedupe{seed: maphash.MakeSeed(), limit: max(limit/dedupeShards, 1)}
}

// key is what is remembered of an id sent for a site. The same id for two sites is two.
func (d *dedupe) key(site uint32, id string) uint64 {
	return maphash.String(d.seed, id) ^ maphash.Comparable(d.seed, site)
}

// add tells what is known of key. A fresh one is remembered as under way: settle or remove
// follows.
func (d *dedupe) add(key uint64, now int64) standing {
	s := &d.shards[key%dedupeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now, d.limit)
	if seen, ok := s.since[key]; ok && now-seen.at < rememberIDs {
		if seen.taken {
			return taken
		}
		return underWay
	}
	s.note(key, sighting{at: now})
	return fresh
}

// note remembers a key. s.mu is held.
func (s *dedupeShard) note(key uint64, seen sighting) {
	if s.since == nil {
		s.since = make(map[uint64]sighting)
	}
	s.since[key] = seen
	s.queue = append(s.queue, seenID{key, seen.at})
}

// settle remembers that the hit of a key was taken.
func (d *dedupe) settle(key uint64) {
	s := &d.shards[key%dedupeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen, ok := s.since[key]; ok {
		seen.taken = true
		s.since[key] = seen
	}
}

// remove forgets a key whose hit could not be taken after all, so that it can be sent again.
func (d *dedupe) remove(key uint64) {
	s := &d.shards[key%dedupeShards]
	s.mu.Lock()
	delete(s.since, key) // its place in the queue goes when its time comes
	s.mu.Unlock()
}

// restore remembers a key whose hit was taken at a time, by an earlier process.
func (d *dedupe) restore(key uint64, at, now int64) {
	s := &d.shards[key%dedupeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now, d.limit)
	if _, ok := s.since[key]; !ok && now-at < rememberIDs {
		s.note(key, sighting{at, true})
	}
}

// has reports whether key was taken within the hour.
func (d *dedupe) has(key uint64, now int64) bool {
	s := &d.shards[key%dedupeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.since[key]
	return ok && seen.taken && now-seen.at < rememberIDs
}

// expire drops what is older than the hour, and the oldest beyond limit-1.
func (s *dedupeShard) expire(now int64, limit int) {
	for s.head < len(s.queue) {
		old := s.queue[s.head]
		if now-old.at < rememberIDs && len(s.queue)-s.head < limit {
			break
		}
		if s.since[old.key].at == old.at {
			delete(s.since, old.key)
		}
		s.head++
	}
	if s.head > 1024 && s.head > len(s.queue)/2 {
		s.queue = s.queue[:copy(s.queue, s.queue[s.head:])]
		s.head = 0
	}
}
