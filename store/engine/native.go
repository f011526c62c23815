package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Revisions of the Native format that change how a block is framed. The library writes revision 0;
// a client that names a revision gets these additions. The columns' own bytes are the same in all.
const (
	revisionBlockInfo           = 1     // any revision but 0: BlockInfo before each block
	revisionCustomSerialization = 54454 // a byte after each column's type
)

// blockInfo is the encoded BlockInfo of an ordinary block: not overflows, bucket -1.
const blockInfo = "\x01\x00\x02\xff\xff\xff\xff\x00"

var errNative = errors.New("a block of the result is cut or not in Native format")

// reframe writes the Native blocks in chunk, which are of revision 0, to w as blocks of the given
// revision. Column data is never decoded: it is only walked over to find its end, and copied.
func reframe(w io.Writer, chunk []byte, revision int) error {
	if revision < revisionBlockInfo {
		_, err := w.Write(chunk)
		return err
	}
	s := scanner{b: chunk}
	for s.pos < len(s.b) {
		start := s.pos
		columns, rows := s.uvarint(), s.uvarint()
		if s.failed || columns > uint64(len(chunk)) {
			return errNative
		}
		if _, err := io.WriteString(w, blockInfo); err != nil {
			return err
		}
		for range columns {
			s.text() // name
			typ := s.text()
			if s.failed {
				return errNative
			}
			if revision >= revisionCustomSerialization {
				// What was passed since the last cut, and the byte that says "nothing custom".
				if _, err := w.Write(s.b[start:s.pos]); err != nil {
					return err
				}
				if _, err := w.Write([]byte{0}); err != nil {
					return err
				}
				start = s.pos
			}
			if rows == 0 {
				continue // an empty column has no data at all, not even a prefix
			}
			t, err := parseType(string(typ))
			if err != nil {
				return err
			}
			t.prefix(&s)
			t.skip(&s, rows)
			if s.failed {
				return errNative
			}
		}
		if _, err := w.Write(s.b[start:s.pos]); err != nil {
			return err
		}
	}
	return nil
}

// scanner walks over bytes; once it would pass their end it has failed and stays where it is.
type scanner struct {
	b      []byte
	pos    int
	failed bool
}

func (s *scanner) take(n uint64) []byte {
	if s.failed || n > uint64(len(s.b)-s.pos) {
		s.failed = true
		return nil
	}
	p := s.b[s.pos : s.pos+int(n)]
	s.pos += int(n)
	return p
}

func (s *scanner) uvarint() uint64 {
	if s.failed {
		return 0
	}
	v, n := binary.Uvarint(s.b[s.pos:])
	if n <= 0 {
		s.failed = true
		return 0
	}
	s.pos += n
	return v
}

func (s *scanner) text() []byte { return s.take(s.uvarint()) }

func (s *scanner) uint64() uint64 {
	p := s.take(8)
	if p == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}

// fixed passes rows values of size bytes.
func (s *scanner) fixed(rows uint64, size int) {
	if size > 0 && rows > uint64(len(s.b))/uint64(size) {
		s.failed = true
		return
	}
	s.take(rows * uint64(size))
}

// kind is the layout of a type's column.
type kind uint8

const (
	kindFixed kind = iota
	kindString
	kindNullable
	kindArray
	kindTuple
	kindLowCardinality
)

// layout says how the data of a column of some type is laid out.
type layout struct {
	kind  kind
	size  int // of one value, for kindFixed
	inner []*layout
}

// prefix passes what is written once, before a column's data.
func (t *layout) prefix(s *scanner) {
	if t.kind == kindLowCardinality {
		s.uint64() // version of the dictionary's serialization
		return
	}
	for _, in := range t.inner {
		in.prefix(s)
	}
}

// skip passes rows values.
func (t *layout) skip(s *scanner, rows uint64) {
	switch t.kind {
	case kindFixed:
		s.fixed(rows, t.size)
	case kindString:
		for i := uint64(0); i < rows && !s.failed; i++ {
			s.text()
		}
	case kindNullable:
		s.fixed(rows, 1)
		t.inner[0].skip(s, rows)
	case kindArray:
		if rows == 0 {
			return
		}
		s.fixed(rows, 8)
		if s.failed {
			return
		}
		t.inner[0].skip(s, binary.LittleEndian.Uint64(s.b[s.pos-8:])) // the last offset is the number of elements
	case kindTuple:
		for _, in := range t.inner {
			in.skip(s, rows)
		}
	case kindLowCardinality:
		t.skipLowCardinality(s, rows)
	}
}

// skipLowCardinality passes a dictionary and the rows' indexes into it. One block always holds one
// dictionary of its own, with all keys that the block needs.
func (t *layout) skipLowCardinality(s *scanner, rows uint64) {
	if rows == 0 {
		return
	}
	flags := s.uint64()
	keys := s.uint64()
	in := t.inner[0]
	if in.kind == kindNullable {
		in = in.inner[0] // NULL is the dictionary's first key, not a mask
	}
	in.skip(s, keys)
	n := s.uint64()
	if n != rows {
		s.failed = true
		return
	}
	s.fixed(rows, 1<<(flags&3))
}

// maxTypeDepth bounds the nesting of types, which comes from the engine's own tables.
const maxTypeDepth = 32

// parseType reads the name of a type as the engine writes it.
func parseType(name string) (*layout, error) { return parseTypeAt(name, 0) }

func parseTypeAt(name string, depth int) (*layout, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("the bridge does not pass on types nested deeper than %d", maxTypeDepth)
	}
	base, args, hasArgs := strings.Cut(name, "(")
	if hasArgs {
		if !strings.HasSuffix(args, ")") {
			return nil, errNative
		}
		args = args[:len(args)-1]
	}
	nest := func(k kind, names ...string) (*layout, error) {
		t := &layout{kind: k}
		for _, n := range names {
			in, err := parseTypeAt(n, depth+1)
			if err != nil {
				return nil, err
			}
			t.inner = append(t.inner, in)
		}
		return t, nil
	}
	switch base {
	case "String":
		return &layout{kind: kindString}, nil
	case "FixedString":
		n, err := strconv.Atoi(args)
		if err != nil || n <= 0 {
			return nil, errNative
		}
		return &layout{size: n}, nil
	case "Nullable":
		return nest(kindNullable, args)
	case "Array":
		return nest(kindArray, args)
	case "LowCardinality":
		return nest(kindLowCardinality, args)
	case "Tuple":
		return nest(kindTuple, elements(args)...)
	case "Nested", "Map":
		tuple, err := nest(kindTuple, elements(args)...)
		if err != nil {
			return nil, err
		}
		return &layout{kind: kindArray, inner: []*layout{tuple}}, nil
	case "SimpleAggregateFunction":
		if parts := splitTop(args); len(parts) == 2 {
			return parseTypeAt(parts[1], depth+1)
		}
		return nil, errNative
	case "Decimal":
		return decimalLayout(args)
	}
	if n := fixedSize(base); n > 0 {
		return &layout{size: n}, nil
	}
	return nil, fmt.Errorf("the bridge does not pass on columns of type %s", base)
}

// fixedSize is the number of bytes of one value of a type, or 0 for a type it does not know.
func fixedSize(base string) int {
	switch base {
	case "UInt8", "Int8", "Bool", "Enum8", "Nothing":
		return 1
	case "UInt16", "Int16", "Date", "Enum16", "BFloat16":
		return 2
	case "UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time":
		return 4
	case "UInt64", "Int64", "Float64", "DateTime64", "Decimal64", "Time64",
		"IntervalNanosecond", "IntervalMicrosecond", "IntervalMillisecond", "IntervalSecond", "IntervalMinute",
		"IntervalHour", "IntervalDay", "IntervalWeek", "IntervalMonth", "IntervalQuarter", "IntervalYear":
		return 8
	case "UInt128", "Int128", "UUID", "IPv6", "Decimal128":
		return 16
	case "UInt256", "Int256", "Decimal256":
		return 32
	}
	return 0
}

func decimalLayout(args string) (*layout, error) {
	p, _, _ := strings.Cut(args, ",")
	precision, err := strconv.Atoi(strings.TrimSpace(p))
	switch {
	case err != nil || precision < 1 || precision > 76:
		return nil, errNative
	case precision <= 9:
		return &layout{size: 4}, nil
	case precision <= 18:
		return &layout{size: 8}, nil
	case precision <= 38:
		return &layout{size: 16}, nil
	}
	return &layout{size: 32}, nil
}

// elements returns the types in a Tuple's or Map's parentheses, without the elements' names.
func elements(args string) []string {
	parts := splitTop(args)
	for i, p := range parts {
		parts[i] = stripName(p)
	}
	return parts
}

// stripName turns "name Type(...)" or "`na me` Type" into its type. A type alone has no space
// outside parentheses.
func stripName(p string) string {
	depth, quoted := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && quoted:
			i++
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ' ' && depth == 0:
			return p[i+1:]
		}
	}
	return p
}

// splitTop splits a list at the commas that are in no parentheses and no quotes.
func splitTop(list string) []string {
	var parts []string
	depth, start := 0, 0
	var quote byte
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(list[start:i]))
			start = i + 1
		}
	}
	if rest := strings.TrimSpace(list[start:]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}
