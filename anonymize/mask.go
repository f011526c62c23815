package anonymize

import (
	"math/bits"
	"unsafe"
)

// Found is a set of kinds of personal data. The numbers are stored: never change one.
type Found uint16

// The kinds of personal data that [Mask] recognises.
const (
	FoundEmail Found = 1 << iota // e-mail addresses
	FoundPhone                   // telephone numbers
	FoundIP                      // IPv4 and IPv6 addresses
	FoundCard                    // payment cards
	FoundIBAN                    // bank accounts
	FoundToken                   // JSON web tokens, session ids, long random tokens
)

// masks are what is written instead, in the order of the bits.
var masks = [...]string{"(email)", "(phone)", "(ip)", "(card)", "(iban)", "(token)"}

// Mask returns s with (email), (phone), (ip), (card), (iban) or (token) in place of the
// personal data in it, and which kinds it found. Where it found none it returns s itself
// and allocates nothing.
//
// s is a path, a parameter, a title or any other text of a stranger. Percent-escapes, also
// escaped ones, and the full-width forms of ASCII are seen through; what stays is byte for
// byte what it was. Valid UTF-8 stays valid, masking again changes nothing, and no mask is
// longer than what it replaces by more than six bytes. The time is proportional to len(s).
//
// It is written here, and not taken from a library, because it is the core of what Footfall
// promises and runs on each text of each hit: what is and what is no personal data is
// decided by measuring addresses of real pages (testdata/paths.txt), and a clean text costs one pass over its
// bytes. Telling a secret from a long word is a guess: see mask_token.go for the rule.
func Mask(s string) (string, Found) {
	var found Found
	for pass := 0; ; pass++ {
		out, now := maskOnce(s)
		if now == 0 {
			return out, found
		}
		if pass == maxPasses {
			return masks[bits.TrailingZeros16(uint16(now))], found | now
		}
		s, found = out, found|now
	}
}

// maxPasses bounds the work on a text that is made so that each mask uncovers another find: one
// that is not clean after so many passes becomes a mask as a whole.
const maxPasses = 4

// The sizes of text whose decoded form needs no allocation.
const maxOnStack = 512

func maskOnce(s string) (string, Found) {
	sum := sumOf(s)
	if sum&sumEscape == 0 {
		if !suspicious(s, sum) {
			return s, 0
		}
		var m masker
		m.scan(s)
		return m.replace(s, nil)
	}
	var textRoom [maxOnStack]byte
	var atRoom [maxOnStack + 1]int32
	text, at := appendDecoded(textRoom[:0], atRoom[:0], s)
	t := unsafe.String(unsafe.SliceData(text), len(text)) // text is not written to while t is read
	if !suspicious(t, sumOf(t)) {
		return s, 0
	}
	var m masker
	m.scan(t)
	return m.replace(s, at)
}

// span is a find: the bytes from, to of the decoded text.
type span struct {
	from, to int
	kind     uint8 // the number of the bit
}

// masker collects finds, in order and apart from one another.
type masker struct {
	n    int
	room [8]span // the first of them, so that few need no allocation
	more []span
	end  int // of the last
	run  int // where the run of letters, digits, - and _ ends that was looked at last
}

func (m *masker) add(from, to int, kind Found) {
	sp := span{from, to, uint8(bits.TrailingZeros16(uint16(kind)))}
	if m.n < len(m.room) {
		m.room[m.n] = sp
	} else {
		m.more = append(m.more, sp)
	}
	m.n++
	m.end = to
}

// replace returns s with the masks in it. at tells where in s each byte of the decoded text
// begins, nil where they are the same.
func (m *masker) replace(s string, at []int32) (string, Found) {
	if m.n == 0 {
		return s, 0
	}
	var found Found
	out := make([]byte, 0, len(s)+6*m.n)
	last := 0
	for i := range m.n {
		sp := m.room[min(i, len(m.room)-1)]
		if i >= len(m.room) {
			sp = m.more[i-len(m.room)]
		}
		from, to := sp.from, sp.to
		if at != nil {
			from, to = int(at[from]), int(at[to])
		}
		out = append(out, s[last:from]...)
		out = append(out, masks[sp.kind]...)
		found |= 1 << sp.kind
		last = to
	}
	return string(append(out, s[last:]...)), found
}

// What sumOf counts of a text, each in bits of its own. One pass without a branch then tells
// whether any recogniser could find something.
const (
	sumDigit  = 1 << 0  // 12 bits
	sumDot    = 1 << 12 // 12 bits
	sumColon  = 1 << 24 // 12 bits
	sumSign   = 1 << 36 // 12 bits: @ and =
	fieldMax  = 1<<12 - 1
	sumEscape = 1 << 63 // set if appendDecoded could change the text
)

// The classes of bytes, as randomness sees them.
const (
	clsOther = iota
	clsDigit
	clsLower
	clsUpper
)

// byteTables are what is known of each byte.
type byteTables struct {
	sum   [256]uint64
	class [256]uint8
	pair  [16]uint8 // 1 for a class and the next one where a word seldom goes on so
}

// tables is never written to.
var tables = func() (t byteTables) {
	for c := range 256 {
		switch b := byte(c); {
		case '0' <= b && b <= '9':
			t.sum[c], t.class[c] = sumDigit, clsDigit
		case 'a' <= b && b <= 'z':
			t.class[c] = clsLower
		case 'A' <= b && b <= 'Z':
			t.class[c] = clsUpper
		case b == '.':
			t.sum[c] = sumDot
		case b == ':':
			t.sum[c] = sumColon
		case b == '@', b == '=':
			t.sum[c] = sumSign
		case b == '%', b == 0xC2, b == 0xE2, b == 0xEF:
			t.sum[c] = sumEscape
		}
	}
	for _, p := range [][2]int{{clsLower, clsUpper}, {clsLower, clsDigit}, {clsUpper, clsDigit}, {clsDigit, clsLower}, {clsDigit, clsUpper}} {
		t.pair[p[0]<<2|p[1]] = 1
	}
	return t
}()

// sumOf returns the sums of s. Beyond fieldMax bytes only sumEscape can be relied on.
func sumOf(s string) (sum uint64) {
	var escape uint64
	for i := 0; i < len(s); i++ {
		v := tables.sum[s[i]]
		sum += v &^ sumEscape
		escape |= v
	}
	return sum&^sumEscape | escape&sumEscape
}

// breaksOf counts the places in s where a word seldom goes on so: a letter beside a digit, upper
// after lower case.
func breaksOf(s string) (n int) {
	before := uint8(clsOther)
	for i := 0; i < len(s); i++ {
		class := tables.class[s[i]]
		n += int(tables.pair[(before<<2|class)&15])
		before = class
	}
	return n
}

// suspicious reports whether scan could find anything in s, whose sums are given. It may be
// wrong one way only.
func suspicious(s string, sum uint64) bool {
	if len(s) > fieldMax {
		return true
	}
	digits, dots := sum&fieldMax, sum>>12&fieldMax
	colons, signs := sum>>24&fieldMax, sum>>36&fieldMax
	return signs > 0 || digits >= minPhone || digits >= 4 && dots >= 3 || colons >= 2 && digits > 0 ||
		digits > 0 && len(s) >= minToken && breaksOf(s) >= minBreaks
}

// appendDecoded appends s to text as the recognisers read it: percent-escapes decoded,
// however often they were escaped again, the full-width forms of ASCII, dashes and hard
// spaces as their ASCII likes. at gets the place in s of each byte, and len(s).
func appendDecoded(text []byte, at []int32, s string) ([]byte, []int32) {
	for i := 0; i < len(s); {
		c, n := decodeByte(s[i:])
		if c >= 0x80 {
			c, n = decodeLike(s[i:], c, n)
		}
		text, at = append(text, c), append(at, int32(i))
		i += n
	}
	return text, append(at, int32(len(s)))
}

// decodeByte returns the byte that s begins with and its length in s.
func decodeByte(s string) (c byte, n int) {
	c, n = s[0], 1
	for c == '%' && n+2 <= len(s) {
		hi, lo := unhex(s[n]), unhex(s[n+1])
		if hi|lo > 15 {
			break
		}
		c, n = hi<<4|lo, n+2
	}
	return c, n
}

// decodeLike returns the ASCII character that looks like the one that s begins with, whose first
// byte, c, is n long in s; else c and n.
func decodeLike(s string, c byte, n int) (byte, int) {
	if c != 0xC2 && c != 0xE2 && c != 0xEF || len(s) == n {
		return c, n
	}
	c1, n1 := decodeByte(s[n:])
	n1 += n
	if c == 0xC2 {
		if c1 == 0xA0 {
			return ' ', n1
		}
		return c, n
	}
	if len(s) == n1 {
		return c, n
	}
	c2, n2 := decodeByte(s[n1:])
	n2 += n1
	switch {
	case c == 0xE2 && c1 == 0x80 && 0x90 <= c2 && c2 <= 0x95:
		return '-', n2
	case c == 0xE2 && c1 == 0x80 && (c2 == 0x89 || c2 == 0xAF):
		return ' ', n2
	case c == 0xEF && c1 == 0xBC && 0x81 <= c2 && c2 <= 0xBF: // U+FF01 to U+FF1F and on
		return c2 - 0x60, n2
	case c == 0xEF && c1 == 0xBD && 0x80 <= c2 && c2 <= 0x9E:
		return c2 - 0x20, n2
	}
	return c, n
}

// unhex returns the value of a hexadecimal digit, 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
