package anonymize

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/dchest/siphash"
)

// ID returns the visitor's id at a site, under the key of the window that holds day, a date on the
// site's own calendar in days since 1970-01-01. It is never 0. It does not keep userAgent,
// and allocates nothing once the site was seen in the period, unless userAgent is
// very long.
//
// site is the configured name; any other gives an id too. IPv4-mapped IPv6 addresses count as the
// IPv4 address and zones do not count. All invalid addresses count as one.
func (r *Ratchet) ID(site string, w Window, day int, addr netip.Addr, userAgent []byte) uint64 {
	k := r.siteKey(site, w, day)
	var room [512]byte
	b := binary.LittleEndian.AppendUint32(room[:0], uint32(len(site)))
	b = append(b, site...)
	ip := addr.As16()
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ip)))
	b = append(b, ip[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(userAgent)))
	b = append(b, userAgent...)
	id := siphash.Hash(k.k0, k.k1, b)
	clear(b)
	if id == 0 {
		return 1
	}
	return id
}

func (r *Ratchet) siteKey(site string, w Window, day int) sipKey {
	if w >= windows {
		w = Day
	}
	p := w.period(day)
	now := r.now().Unix()
	r.mu.RLock()
	due := r.isDue(now, day)
	if !due {
		if k, ok := r.siteKeys[r.siteKeyID(site, w, p)]; ok {
			key := *k
			r.mu.RUnlock()
			return key
		}
	}
	r.mu.RUnlock()
	if due {
		r.advanceIfDue(day)
	}
	return r.newSiteKey(site, w, p)
}

// siteKeyID brings the period into the live ones. r.mu is held.
func (r *Ratchet) siteKeyID(site string, w Window, period int) siteKeyID {
	period = max(min(period, w.period(r.newest)), r.state.chains[w].period)
	return siteKeyID{site, w, period}
}

func (r *Ratchet) newSiteKey(site string, w Window, period int) sipKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.siteKeyID(site, w, period)
	if k, ok := r.siteKeys[id]; ok {
		return *k
	}
	k, err := r.state.chains[w].siteKey(w, id.period, site)
	if err != nil {
		// HKDF-SHA256 fails for outputs of more than 8160 bytes only.
		panic(err)
	}
	if len(r.siteKeys) < maxSiteKeys {
		id.site = strings.Clone(site) // the caller may reuse its bytes
		r.siteKeys[id] = &k
	}
	return k
}
