// Package canary finds marked values in whatever a program has written, in every form in which they
// could have got there.
//
// A [Canary] is a value that must not be kept: an address, a User-Agent, a cookie. It is turned into
// forms: as text and as bytes in both orders, in hexadecimal, base64, percent-encoding and UTF-16, as a
// number, and as the plain hash of any of these. A [Search] looks for all forms of all canaries at once,
// in streams of any length.
//
// Rules it keeps:
//   - A form that is too short to be certain (32 bits: they occur by chance once in 4 GiB) is
//     not taken for found, nor left out: how often it is there is compared with what chance gives. A program
//     that writes an address writes those of all canaries, chance does not.
//   - A search that finds nothing proves something only if it would have found: [Search.SelfTest] plants
//     every form, made by other means than the patterns were where there are any, and looks for it.
//   - A hash counts with its first eight bytes, so that one cut short is found too.
//
// What it cannot find: values behind a secret key, encryption or compression. Whoever searches decompresses
// first.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Canary is one value and the forms in which it is looked for.
type Canary struct {
	Name  string // what it is: "address 1"
	forms []form
}

// form is one way to write a value.
type form struct {
	name     string
	patterns [][]byte // any of them shows it
	sample   []byte   // as it would stand in a file, for the self-test
	short    bool     // 32 bits: it occurs by chance
}

// Forms tells in how many forms the canary is looked for.
func (c Canary) Forms() int { return len(c.forms) }

// MinText is how long a text must be to be told from chance.
const MinText = 8

// Text makes a canary of a text of at least [MinText] bytes. Make it of random letters and digits.
func Text(name, value string) Canary {
	if len(value) < MinText {
		panic("canary: a text too short to be told from chance")
	}
	b := builder{}
	b.text("text", value)
	b.encoded("text", []byte(value))
	b.hashes("text", []byte(value))
	return Canary{name, b.forms}
}

// Address makes a canary of an IP address. An IPv4-mapped one counts as the IPv4 address.
func Address(name string, a netip.Addr) Canary {
	a = a.Unmap().WithZone("")
	b := builder{}
	for _, t := range addressTexts(a) {
		b.text(t.name, t.text)
		b.encoded(t.name, []byte(t.text))
	}
	whole := a.AsSlice()
	b.binary("bytes", whole)
	b.bytesAsText(whole)
	if a.Is4() {
		b.number("number", uint64(binary.BigEndian.Uint32(whole)))
		mapped := a.As16()
		b.binary("IPv4-mapped bytes", mapped[:])
		b.hashes("IPv4-mapped bytes", mapped[:])
		b.hashes("bytes reversed", reversed(whole))
	} else {
		// The part that one machine has alone: the rest is a network's.
		if n := binary.BigEndian.Uint64(whole[8:]); n > 1<<56 {
			b.binary("interface bytes", whole[8:])
			b.number("interface number", n)
		}
		b.hashes("text in full", []byte(a.StringExpanded()))
	}
	b.hashes("text", []byte(a.String()))
	b.hashes("bytes", whole)
	return Canary{name, b.forms}
}

// named is a text and what it is called.
type named struct{ name, text string }

// addressTexts lists how programs write an address.
func addressTexts(a netip.Addr) []named {
	if a.Is6() {
		full := a.StringExpanded()
		var arpa []string
		for _, nibble := range reversed([]byte(strings.ReplaceAll(full, ":", ""))) {
			arpa = append(arpa, string(nibble))
		}
		return []named{
			{"text", a.String()}, {"text in full", full}, {"reverse name", strings.Join(arpa, ".")},
			{"text with dashes", strings.ReplaceAll(a.String(), ":", "-")}, {"text in full with dashes", strings.ReplaceAll(full, ":", "-")},
		}
	}
	b := a.As4()
	mapped := fmt.Sprintf("ffff:%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
	return []named{
		{"text", a.String()},
		{"text with zeros", fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3])},
		{"text with dashes", fmt.Sprintf("%d-%d-%d-%d", b[0], b[1], b[2], b[3])},
		{"reverse name", fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0])},
		{"IPv4-mapped text", fmt.Sprintf("ffff:%x:%x", uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3]))},
		{"IPv4-mapped text in full", mapped},
	}
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// builder collects forms; the same bytes make one form only.
type builder struct {
	forms []form
	have  map[string]bool
}

func (b *builder) add(name string, short bool, sample []byte, patterns ...[]byte) {
	if b.have == nil {
		b.have = map[string]bool{}
	}
	key := string(bytes.Join(patterns, []byte{0}))
	if b.have[key] {
		return
	}
	b.have[key] = true
	b.forms = append(b.forms, form{name, patterns, sample, short})
}

// text adds a text as it is, in one case, and in UTF-16.
func (b *builder) text(name, s string) {
	b.add(name, false, []byte(s), []byte(s))
	b.add(name+" in lower case", false, []byte(strings.ToLower(s)), []byte(strings.ToLower(s)))
	b.add(name+" in upper case", false, []byte(strings.ToUpper(s)), []byte(strings.ToUpper(s)))
	var le, be []byte
	for _, u := range utf16.Encode([]rune(s)) {
		le, be = binary.LittleEndian.AppendUint16(le, u), binary.BigEndian.AppendUint16(be, u)
	}
	b.add(name+" in UTF-16", false, le, le)
	b.add(name+" in UTF-16, high byte first", false, be, be)
	if escaped := url.QueryEscape(s); escaped != s {
		b.add(name+" percent-encoded", false, []byte(escaped), []byte(escaped))
		b.add(name+" percent-encoded, lower case", false, lowerEscapes(escaped), lowerEscapes(escaped))
	}
	if escaped := url.PathEscape(s); escaped != s {
		b.add(name+" percent-encoded for a path", false, []byte(escaped), []byte(escaped))
	}
}

// binary adds bytes in both orders, with their encodings.
func (b *builder) binary(name string, v []byte) {
	short := len(v) <= 4
	r := reversed(v)
	b.add(name, short, v, v)
	b.add(name+" reversed", short, r, r)
	b.encoded(name, v)
	b.encoded(name+" reversed", r)
}

// bytesAsText adds how programs print bytes.
func (b *builder) bytesAsText(v []byte) {
	for _, sep := range []string{" ", ",", ", "} {
		var parts []string
		for _, x := range v {
			parts = append(parts, strconv.Itoa(int(x)))
		}
		s := []byte(strings.Join(parts, sep))
		b.add(fmt.Sprintf("bytes as numbers, separated by %q", sep), false, s, s)
	}
}

// number adds a number in digits, also as read from bytes in the other order.
func (b *builder) number(name string, n uint64) {
	other, bits := uint64(binary.BigEndian.Uint32(reversed(binary.BigEndian.AppendUint32(nil, uint32(n))))), 32
	if n > 1<<32 {
		other, bits = binary.LittleEndian.Uint64(binary.BigEndian.AppendUint64(nil, n)), 64
	}
	for i, n := range []uint64{n, other} {
		s := strconv.AppendUint(nil, n, 10)
		if len(s) < 8 { // too few digits to say anything
			continue
		}
		b.add(name+[]string{" in digits", " in digits, bytes reversed"}[i], bits == 32, s, s)
		if signed := int64(n); bits == 64 && signed < 0 {
			s := strconv.AppendInt(nil, signed, 10)
			b.add(name+[]string{" in signed digits", " in signed digits, bytes reversed"}[i], false, s, s)
		}
		if signed := int32(n); bits == 32 && signed < 0 {
			s := strconv.AppendInt(nil, int64(signed), 10)
			if len(s) > 8 {
				b.add(name+[]string{" in signed digits", " in signed digits, bytes reversed"}[i], true, s, s)
			}
		}
	}
}

// encoded adds the encodings of bytes.
func (b *builder) encoded(name string, v []byte) {
	short := len(v) <= 4
	lower := []byte(hex.EncodeToString(v))
	upper := bytes.ToUpper(lower)
	b.add(name+" in hex", short, lower, lower)
	b.add(name+" in upper-case hex", short, upper, upper)
	var escapes, pairs []byte
	for _, x := range v {
		escapes = fmt.Appendf(escapes, "%%%02X", x)
		pairs = fmt.Appendf(pairs, `\x%02x`, x)
	}
	b.add(name+", every byte percent-encoded", false, escapes, escapes)
	b.add(name+", every byte percent-encoded, lower case", false, bytes.ToLower(escapes), bytes.ToLower(escapes))
	b.add(name+", every byte escaped", false, pairs, pairs)
	if quoted := strconv.Quote(string(v)); quoted[1:len(quoted)-1] != string(v) {
		b.add(name+", quoted", false, []byte(quoted), []byte(quoted[1:len(quoted)-1]))
	}
	b.base64(name, v, v, short)
}

// base64 adds bytes within a larger text in base64: they may begin at any of three places of a group. v begins
// all, of which it is enough to find.
func (b *builder) base64(name string, v, all []byte, short bool) {
	for _, enc := range []struct {
		name string
		*base64.Encoding
	}{{"base64", base64.StdEncoding}, {"base64url", base64.RawURLEncoding}} {
		for before := range 3 {
			sample := append([]byte("abc")[:before:before], all...)
			sample = append(sample, "xyz"...)
			b.add(fmt.Sprintf("%s in %s, %d bytes into it", name, enc.name, before), short,
				[]byte(enc.EncodeToString(sample)), within(enc.Encoding, v, before)...)
		}
	}
}

// within returns what v looks like in base64 after before other bytes: the characters that depend on v
// alone. Of a short v also those at its ends, with every value of the bits that are not its own.
func within(enc *base64.Encoding, v []byte, before int) [][]byte {
	end := 8 * (before + len(v)) // in bits
	first, last := (8*before+5)/6, end/6
	if len(v) > 4 {
		padded := append(make([]byte, before, before+len(v)+3), v...)
		text := enc.EncodeToString(append(padded, 0, 0, 0))
		return [][]byte{[]byte(text[first:last])}
	}
	seen := map[string]bool{}
	var out [][]byte
	from, to := 8*before/6, (end+5)/6
	for head := range 1 << (8 * before % 6) { // bits of the character before that are not v's
		for tail := range 256 {
			padded := make([]byte, before, before+len(v)+3)
			if before > 0 {
				padded[before-1] = byte(head)
			}
			padded = append(append(padded, v...), byte(tail), 0, 0)
			s := enc.EncodeToString(padded)[from:to]
			if !seen[s] {
				seen[s] = true
				out = append(out, []byte(s))
			}
		}
	}
	return out
}

// lowerEscapes writes the hexadecimal digits of percent-encoding in lower case.
func lowerEscapes(s string) []byte {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return b
}

// Bytes makes a canary of at least 16 random bytes, such as those that a cookie's value stands for.
func Bytes(name string, v []byte) Canary {
	if len(v) < 16 {
		panic("canary: bytes too few to be told from chance")
	}
	b := builder{}
	b.binary("bytes", v)
	b.hashes("bytes", v)
	return Canary{name, b.forms}
}
