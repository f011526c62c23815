package anonymize

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const label = "footfall/anonymize/1"

// key is a ratchet key. From it every later key of its window follows, and no earlier one.
type key [32]byte

// chain is one window's ratchet: the key of its oldest live period.
type chain struct {
	period int
	key    key
}

// startChains derives the three ratchets from a seed, at the periods of the date.
func startChains(seed []byte, day int) ([windows]chain, error) {
	var cs [windows]chain
	root, err := hkdf.Extract(sha256.New, seed, []byte(label))
	if err != nil {
		return cs, err
	}
	defer clear(root)
	for w := Day; w < windows; w++ {
		c := &cs[w]
		if err := expand(c.key[:], root, label+" seed "+w.String()); err != nil {
			return cs, err
		}
		if err := c.advance(w, w.period(day)); err != nil {
			return cs, err
		}
	}
	return cs, nil
}

// advance moves the chain to a later period; an earlier one leaves it where it is.
func (c *chain) advance(w Window, period int) error {
	info := label + " next " + w.String()
	for ; c.period < period; c.period++ {
		if err := expand(c.key[:], c.key[:], info); err != nil {
			return err
		}
	}
	return nil
}

// siteKey derives the SipHash key of a site in the given period, which is not before c's.
func (c *chain) siteKey(w Window, period int, site string) (sipKey, error) {
	at := *c
	defer clear(at.key[:])
	if err := at.advance(w, period); err != nil {
		return sipKey{}, err
	}
	var b [16]byte
	defer clear(b[:])
	if err := expand(b[:], at.key[:], label+" site "+w.String()+" "+site); err != nil {
		return sipKey{}, err
	}
	return sipKey{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}, nil
}

// expand fills dst by HKDF-Expand under prk; dst may be prk.
func expand(dst, prk []byte, info string) error {
	out, err := hkdf.Expand(sha256.New, prk, info, len(dst))
	if err != nil {
		return fmt.Errorf("anonymize: deriving a key: %w", err)
	}
	copy(dst, out)
	clear(out)
	return nil
}

type sipKey struct{ k0, k1 uint64 }
