package anonymize

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/bits"
	"net/netip"
	"os"
	"testing"
	"time"
)

// A second implementation of the algorithm in the package comment. It shares no code with
// the first: HKDF is written out over HMAC, and SipHash follows the paper.

func indExtract(salt, ikm []byte) []byte {
	h := hmac.New(sha256.New, salt)
	h.Write(ikm)
	return h.Sum(nil)
}

func indExpand(prk []byte, info string, n int) []byte {
	var out, last []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha256.New, prk)
		h.Write(last)
		h.Write([]byte(info))
		h.Write([]byte{i})
		last = h.Sum(nil)
		out = append(out, last...)
	}
	return out[:n]
}

func indSip(key, data []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	rounds := func(n int) {
		for range n {
			v0 += v1
			v2 += v3
			v1 = bits.RotateLeft64(v1, 13) ^ v0
			v3 = bits.RotateLeft64(v3, 16) ^ v2
			v0 = bits.RotateLeft64(v0, 32)
			v2 += v1
			v0 += v3
			v1 = bits.RotateLeft64(v1, 17) ^ v2
			v3 = bits.RotateLeft64(v3, 21) ^ v0
			v2 = bits.RotateLeft64(v2, 32)
		}
	}
	padded := append([]byte{}, data...)
	for len(padded)%8 != 7 {
		padded = append(padded, 0)
	}
	padded = append(padded, byte(len(data)))
	for ; len(padded) > 0; padded = padded[8:] {
		m := binary.LittleEndian.Uint64(padded)
		v3 ^= m
		rounds(2)
		v0 ^= m
	}
	v2 ^= 0xff
	rounds(4)
	return v0 ^ v1 ^ v2 ^ v3
}

// indPeriod counts periods by walking the calendar.
func indPeriod(w Window, date time.Time) (n int) {
	for d := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC); d.Before(date); {
		next := d.AddDate(0, 0, 1)
		switch w {
		case Day:
			n++
		case Week:
			if next.Weekday() == time.Monday {
				n++
			}
		case Month:
			if next.Day() == 1 {
				n++
			}
		}
		d = next
	}
	return n
}

func indKey(seed []byte, w Window, period int) []byte {
	name := map[Window]string{Day: "day", Week: "week", Month: "month"}[w]
	k := indExpand(indExtract([]byte("footfall/anonymize/1"), seed), "footfall/anonymize/1 seed "+name, 32)
	for range period {
		k = indNext(k, w)
	}
	return k
}

func indNext(k []byte, w Window) []byte {
	return indExpand(k, "footfall/anonymize/1 next "+w.String(), 32)
}

func indID(key []byte, w Window, site string, addr netip.Addr, ua string) uint64 {
	siteKey := indExpand(key, "footfall/anonymize/1 site "+w.String()+" "+site, 16)
	ip := addr.As16()
	var msg []byte
	for _, field := range []string{site, string(ip[:]), ua} {
		n := len(field)
		msg = append(msg, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		msg = append(msg, field...)
	}
	if id := indSip(siteKey, msg); id != 0 {
		return id
	}
	return 1
}

func TestSecondImplementationKnowsPublishedVectors(t *testing.T) {
	seq := func(from, n int) (b []byte) {
		for i := range n {
			b = append(b, byte(from+i))
		}
		return b
	}
	// The SipHash paper, appendix A.
	if got := indSip(seq(0, 16), seq(0, 15)); got != 0xa129ca6149be45e5 {
		t.Errorf("SipHash-2-4 of the paper's example is %016x", got)
	}
	// RFC 5869, test case 1.
	ikm := make([]byte, 22)
	for i := range ikm {
		ikm[i] = 0x0b
	}
	prk := indExtract(seq(0, 13), ikm)
	okm := indExpand(prk, string(seq(0xf0, 10)), 42)
	if got := hex.EncodeToString(okm); got != "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" {
		t.Errorf("HKDF of RFC 5869's first case is %s", got)
	}
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Seed    string
		Vectors []struct {
			Date, Site, IP   string
			UserAgent        string `json:"user_agent"`
			Day, Week, Month string
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 10 {
		t.Fatalf("only %d vectors", len(file.Vectors))
	}
	seed, err := hex.DecodeString(file.Seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Vectors {
		date, err := time.Parse(time.DateOnly, v.Date)
		if err != nil {
			t.Fatal(err)
		}
		n := newNode(t, date.Add(12*time.Hour), seed)
		addr := netip.MustParseAddr(v.IP)
		for w, want := range map[Window]string{Day: v.Day, Week: v.Week, Month: v.Month} {
			b, err := hex.DecodeString(want)
			if err != nil || len(b) != 8 {
				t.Fatalf("%s: %q is not an id", v.Date, want)
			}
			id := binary.BigEndian.Uint64(b)
			if got := n.ID(v.Site, w, dayOf(date), addr, []byte(v.UserAgent)); got != id {
				t.Errorf("%s %s %s: id %016x, want %016x", v.Date, w, v.Site, got, id)
			}
			if got := indID(indKey(seed, w, indPeriod(w, date)), w, v.Site, addr, v.UserAgent); got != id {
				t.Errorf("%s %s %s: the second implementation gives %016x, want %016x", v.Date, w, v.Site, got, id)
			}
		}
	}
}
