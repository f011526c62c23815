package collector

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/kantarainitiative/footfall/event"
)

// maxDomains is how many sites one hit may be for.
const maxDomains = 16

// malformed says what of a request cannot be read. Its texts are constants: no part of
// a request is ever in one.
type malformed struct {
	msg   string
	field string // the long name of the field, "" for the body as a whole
}

// sent is a hit as it was sent. Its texts are parts of the request, of the parser's copy of
// it or of a scratch buffer, and die with the request.
type sent struct {
	name     string
	url      string
	domains  string // comma separated; "": the host of url
	referrer string
	title    string
	id       string
	props    []event.Prop

	revenue  int64 // millionths
	currency string

	engaged uint32 // ms
	scroll  uint8
	width   int
	passive bool // interactive was false
	hash    bool
}

// The fields of an event. Each has a long and a short name, some several.
type field uint8

const (
	fieldName field = iota
	fieldURL
	fieldDomain
	fieldReferrer
	fieldProps
	fieldRevenue
	fieldInteractive
	fieldEngaged
	fieldScroll
	fieldHash
	fieldTitle
	fieldWidth
	fieldID
	fields
)

// fieldOf returns the field that a name in JSON stands for, and the name's rank among the
// names of that field: where several have a value the lowest wins. All ranks are different.
func fieldOf(key []byte) (f field, rank uint, ok bool) {
	switch string(key) {
	case "n":
		return fieldName, 0, true
	case "name":
		return fieldName, 1, true
	case "u":
		return fieldURL, 2, true
	case "url":
		return fieldURL, 3, true
	case "d":
		return fieldDomain, 4, true
	case "domain":
		return fieldDomain, 5, true
	case "r":
		return fieldReferrer, 6, true
	case "referrer":
		return fieldReferrer, 7, true
	case "m":
		return fieldProps, 8, true
	case "meta":
		return fieldProps, 9, true
	case "p":
		return fieldProps, 10, true
	case "props":
		return fieldProps, 11, true
	case "$":
		return fieldRevenue, 12, true
	case "revenue":
		return fieldRevenue, 13, true
	case "i":
		return fieldInteractive, 14, true
	case "interactive":
		return fieldInteractive, 15, true
	case "e":
		return fieldEngaged, 16, true
	case "sd":
		return fieldScroll, 17, true
	case "h":
		return fieldHash, 18, true
	case "hashMode":
		return fieldHash, 19, true
	case "t":
		return fieldTitle, 20, true
	case "w":
		return fieldWidth, 21, true
	case "id":
		return fieldID, 22, true
	}
	return 0, 0, false
}

// fieldNames are the names that errors use.
var fieldNames = [fields]string{"name", "url", "domain", "referrer", "props", "revenue", "interactive", "e", "sd", "h", "t", "w", "id"}

// reader takes the JSON of an event apart. It can be used again and again; what it
// returned dies when it is.
type reader struct {
	json  fastjson.Parser
	props fastjson.Parser // for properties or revenue that came as a text
	buf   []byte          // texts of numbers
}

// read fills s from the body of a hit. s.props is reused.
//
// It is strict where a lenient reader would have to guess: control characters inside strings,
// anything after the object, and a name, url or domain that is there twice. Only those three
// fields can make a hit malformed: of any other that is there twice the first counts.
func (r *reader) read(s *sent, body []byte) *malformed {
	*s = sent{props: s.props[:0]}
	r.buf = r.buf[:0]
	if hasRawControl(body) {
		return &malformed{msg: "the body is not valid JSON: control character in a string"}
	}
	if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > maxNesting && nestsTooDeep(body) {
		return &malformed{msg: "the body is nested too deeply"}
	}
	top, err := r.json.ParseBytes(body)
	if err != nil {
		return &malformed{msg: "the body is not valid JSON"}
	}
	object, err := top.Object()
	if err != nil {
		return &malformed{msg: "the body must be a JSON object"}
	}
	var values [fields]*fastjson.Value
	var from [fields]uint
	var seen uint32
	twice := -1
	object.Visit(func(key []byte, v *fastjson.Value) {
		f, rank, ok := fieldOf(key)
		if !ok {
			return
		}
		if seen&(1<<rank) != 0 && (f == fieldName || f == fieldURL || f == fieldDomain) {
			twice = int(f)
		}
		seen |= 1 << rank
		if v.Type() == fastjson.TypeNull {
			return
		}
		if values[f] == nil || rank < from[f] {
			values[f], from[f] = v, rank
		}
	})
	if twice >= 0 {
		return &malformed{msg: "a field is there twice", field: fieldNames[twice]}
	}
	if bad := s.fill(&values); bad != nil {
		return bad
	}
	r.readProps(s, values[fieldProps])
	r.readRevenue(s, values[fieldRevenue])
	return nil
}

// fill sets everything but the properties and the revenue.
func (s *sent) fill(values *[fields]*fastjson.Value) *malformed {
	for _, f := range [...]struct {
		field field
		to    *string
		must  bool
	}{{fieldName, &s.name, true}, {fieldURL, &s.url, true}, {fieldDomain, &s.domains, false}} {
		v := values[f.field]
		if v == nil {
			if f.must {
				return &malformed{msg: "a required field is missing", field: fieldNames[f.field]}
			}
			continue
		}
		text, ok := textOf(v)
		if !ok {
			return &malformed{msg: "must be a text", field: fieldNames[f.field]}
		}
		if *f.to = trim(text); *f.to == "" {
			return &malformed{msg: "must not be empty", field: fieldNames[f.field]}
		}
	}
	s.referrer, _ = textOf(values[fieldReferrer])
	s.title, _ = textOf(values[fieldTitle])
	if id, _ := textOf(values[fieldID]); len(id) <= maxIDLen {
		s.id = id
	}
	s.passive = isFalse(values[fieldInteractive])
	s.hash = isTrue(values[fieldHash])
	s.engaged = uint32(numberOf(values[fieldEngaged], event.MaxEngagedMS))
	s.scroll = uint8(numberOf(values[fieldScroll], event.MaxScroll))
	s.width = int(numberOf(values[fieldWidth], math.MaxInt32))
	return nil
}

func textOf(v *fastjson.Value) (string, bool) {
	if v == nil || v.Type() != fastjson.TypeString {
		return "", false // StringBytes would make an error of it
	}
	b, err := v.StringBytes()
	return view(b), err == nil
}

// isFalse reports whether v is false or the text "false".
func isFalse(v *fastjson.Value) bool {
	if v == nil {
		return false
	}
	text, _ := textOf(v)
	return v.Type() == fastjson.TypeFalse || text == "false"
}

// isTrue reports whether v is true or 1, or a text of these.
func isTrue(v *fastjson.Value) bool {
	if v == nil {
		return false
	}
	if text, ok := textOf(v); ok {
		return text == "true" || text == "1"
	}
	return v.Type() == fastjson.TypeTrue || numberOf(v, 2) == 1
}

// numberOf returns the number in v rounded and brought within 0 and max, 0 for
// anything that is no number.
func numberOf(v *fastjson.Value, max float64) float64 {
	if v == nil || v.Type() != fastjson.TypeNumber {
		return 0
	}
	n, err := v.Float64()
	if err != nil || !(n > 0) {
		return 0
	}
	return math.Min(math.Round(n), max)
}

// objectOf returns the object in v, which may have come as the JSON text of one.
func (r *reader) objectOf(v *fastjson.Value) *fastjson.Object {
	if text, ok := textOf(v); ok {
		if strings.Count(text, "[")+strings.Count(text, "{") > maxNesting && nestsTooDeep(text) {
			return nil
		}
		inner, err := r.props.Parse(text)
		if err != nil {
			return nil
		}
		v = inner
	}
	if v == nil {
		return nil
	}
	object, err := v.Object()
	if err != nil {
		return nil
	}
	return object
}

// readProps takes over texts, numbers and booleans, as Plausible does; of a name that is
// there twice the last value.
func (r *reader) readProps(s *sent, v *fastjson.Value) {
	r.objectOf(v).Visit(func(key []byte, v *fastjson.Value) {
		var value string
		switch v.Type() {
		case fastjson.TypeString:
			value, _ = textOf(v)
		case fastjson.TypeNumber:
			start := len(r.buf)
			r.buf = v.MarshalTo(r.buf)
			value = view(r.buf[start:])
		case fastjson.TypeTrue:
			value = "true"
		case fastjson.TypeFalse:
			value = "false"
		}
		if len(key) == 0 || value == "" {
			return
		}
		for i := range s.props {
			if s.props[i].Key == view(key) {
				s.props[i].Value = value
				return
			}
		}
		if len(s.props) < event.MaxProps {
			s.props = append(s.props, event.Prop{Key: view(key), Value: value})
		}
	})
}

// maxNesting is how deep a body may nest. The parser's own limit is 300, and what it says of a mistake
// down there costs milliseconds.
const maxNesting = 32

// nestsTooDeep reports whether a JSON text nests beyond maxNesting.
func nestsTooDeep[T string | []byte](b T) bool {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			inString = !inString
		case c == '\\':
			i++
		case inString:
		case c == '[', c == '{':
			if depth++; depth > maxNesting {
				return true
			}
		case c == ']', c == '}':
			depth--
		}
	}
	return false
}

// hasRawControl reports whether a JSON text has a control character inside a string,
// which JSON forbids and the parser lets pass.
func hasRawControl(b []byte) bool {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		// A byte below 0x20 borrows from its own top bit, unless that was set before. A borrow that
		// crosses into the next byte comes from such a byte too, so none is missed and none made up.
		w := binary.LittleEndian.Uint64(b[i:])
		if (w-0x2020202020202020)&^w&0x8080808080808080 != 0 {
			break
		}
	}
	for ; i < len(b) && b[i] >= ' '; i++ {
	}
	if i == len(b) {
		return false
	}
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			inString = !inString
		case c == '\\':
			i++ // outside a string the parser refuses it
			if inString && i < len(b) && b[i] < ' ' {
				return true
			}
		case c < ' ' && (inString || c != '\t' && c != '\n' && c != '\r'):
			return true
		}
	}
	return false
}
