package canary

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"hash/crc64"
	"hash/fnv"

	"github.com/cespare/xxhash/v2"
	"github.com/dchest/siphash"
	"github.com/go-faster/city"
	"golang.org/x/crypto/blake2b"
)

// sumBytes is how much of a long hash is looked for.
const sumBytes = 8

// hashes adds the plain hashes of v: those that anybody can compute, so that trying out all addresses
// would give the value back.
func (b *builder) hashes(of string, v []byte) {
	for _, h := range []struct {
		name string
		sum  []byte
	}{
		{"MD5", sum16(md5.Sum(v))}, {"SHA-1", sum20(sha1.Sum(v))}, {"SHA-224", sum28(sha256.Sum224(v))},
		{"SHA-256", sum32(sha256.Sum256(v))}, {"SHA-384", sum48(sha512.Sum384(v))}, {"SHA-512", sum64(sha512.Sum512(v))},
		{"SHA3-256", sum32(sha3.Sum256(v))}, {"BLAKE2b-256", sum32(blake2b.Sum256(v))}, {"BLAKE2b-512", sum64(blake2b.Sum512(v))},
	} {
		name := h.name + " of the " + of
		head := h.sum[:sumBytes]
		b.add(name, false, h.sum, head)
		text := hex.EncodeToString(h.sum)
		lower, upper := []byte(text[:2*sumBytes]), upperHex(head)
		b.add(name+" in hex", false, []byte(text), lower)
		b.add(name+" in upper-case hex", false, upperHex(h.sum), upper)
		b.base64(name, head, h.sum, false)
	}
	f32, f32a, f64, f64a := fnv.New32(), fnv.New32a(), fnv.New64(), fnv.New64a()
	f32.Write(v)
	f32a.Write(v)
	f64.Write(v)
	f64a.Write(v)
	for _, h := range []struct {
		name string
		sum  uint64
	}{
		{"xxHash64", xxhash.Sum64(v)}, {"SipHash without a key", siphash.Hash(0, 0, v)}, {"CityHash64", city.CH64(v)},
		{"FNV-1 64", f64.Sum64()}, {"FNV-1a 64", f64a.Sum64()}, {"CRC-64", crc64.Checksum(v, crc64.MakeTable(crc64.ECMA))},
	} {
		name, sum := h.name+" of the "+of, h.sum
		b.binary(name, binary.BigEndian.AppendUint64(nil, sum))
		b.number(name, sum)
	}
	for _, h := range []struct {
		name string
		sum  uint32
	}{
		{"CRC-32", crc32.ChecksumIEEE(v)}, {"CRC-32C", crc32.Checksum(v, crc32.MakeTable(crc32.Castagnoli))},
		{"FNV-1 32", f32.Sum32()}, {"FNV-1a 32", f32a.Sum32()},
	} {
		name, sum := h.name+" of the "+of, h.sum
		raw := binary.BigEndian.AppendUint32(nil, sum)
		b.add(name, true, raw, raw)
		b.add(name+" reversed", true, reversed(raw), reversed(raw))
		text := []byte(hex.EncodeToString(raw))
		b.add(name+" in hex", true, text, text)
		b.add(name+" in upper-case hex", true, upperHex(raw), upperHex(raw))
		b.number(name, uint64(sum))
	}
}

func upperHex(v []byte) []byte {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 2*len(v))
	for _, x := range v {
		out = append(out, digits[x>>4], digits[x&15])
	}
	return out
}

func sum16(a [16]byte) []byte { return a[:] }
func sum20(a [20]byte) []byte { return a[:] }
func sum28(a [28]byte) []byte { return a[:] }
func sum32(a [32]byte) []byte { return a[:] }
func sum48(a [48]byte) []byte { return a[:] }
func sum64(a [64]byte) []byte { return a[:] }
