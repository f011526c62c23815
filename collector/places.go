package collector

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/classify"
)

// cachedPlaces is how many networks a placeCache holds at most, about 200 bytes each.
const cachedPlaces = 1 << 15

// placeCache remembers the place and the written form of networks. It holds truncated
// networks only, each in the one slot that its hash gives it, until another takes the slot.
type placeCache struct {
	geo   Places // nil: no places
	seed  maphash.Seed
	slots []atomic.Pointer[place]
}

type place struct {
	network anonymize.Network
	text    string
	where   classify.Place
}

func newPlaceCache(geo Places) *placeCache {
	return &placeCache{geo: geo, seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[place], cachedPlaces)}
}

// of returns what is known of a network.
func (c *placeCache) of(n anonymize.Network) *place {
	slot := &c.slots[maphash.Comparable(c.seed, n)%cachedPlaces]
	if p := slot.Load(); p != nil && p.network == n {
		return p
	}
	p := &place{network: n, text: n.String()}
	if c.geo != nil && !n.IsZero() {
		p.where = c.geo.Lookup(n.Addr())
	}
	slot.Store(p)
	return p
}
