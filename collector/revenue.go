package collector

import (
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/kantarainitiative/footfall/event"
)

// readRevenue takes over {"currency": "EUR", "amount": 12.5}, where the amount may be a
// text. Anything else is no revenue.
func (r *reader) readRevenue(s *sent, v *fastjson.Value) {
	if v == nil {
		return
	}
	if v.Type() == fastjson.TypeString && len(s.props) > 0 {
		// The properties may live in the second parser: what they refer to is copied out of its way.
		r.keepProps(s)
	}
	object := r.objectOf(v)
	if object == nil {
		return
	}
	currency, _ := textOf(object.Get("currency"))
	amount := object.Get("amount")
	if amount == nil || len(currency) != 3 {
		return
	}
	start := len(r.buf)
	for i := range len(currency) {
		c := lower(currency[i])
		if c < 'a' || c > 'z' {
			return
		}
		r.buf = append(r.buf, c-('a'-'A'))
	}
	code := view(r.buf[start:])
	text, ok := textOf(amount)
	if !ok {
		if amount.Type() != fastjson.TypeNumber {
			return
		}
		start = len(r.buf)
		r.buf = amount.MarshalTo(r.buf)
		text = view(r.buf[start:])
	}
	if n, ok := millionths(trim(text)); ok {
		s.revenue, s.currency = n, code
	}
}

func (r *reader) keepProps(s *sent) {
	keep := func(t string) string {
		start := len(r.buf)
		r.buf = append(r.buf, t...)
		return view(r.buf[start:])
	}
	for i := range s.props {
		s.props[i] = event.Prop{Key: keep(s.props[i].Key), Value: keep(s.props[i].Value)}
	}
}

// millionths reads a decimal number exactly, in millionths rounded half away from zero.
// It is false for what is no number or does not fit.
func millionths(s string) (n int64, ok bool) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		f = math.Round(f * 1e6)
		if err != nil || math.Abs(f) >= 1<<63 || f != f {
			return 0, false
		}
		return int64(f), true
	}
	s, negative := strings.CutPrefix(s, "-")
	whole, part, _ := strings.Cut(s, ".")
	if whole == "" || len(whole) > 12 {
		return 0, false
	}
	for i := range len(whole) {
		if whole[i] < '0' || whole[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(whole[i]-'0')
	}
	n *= 1e6
	for i, unit := 0, int64(1e5); i < len(part); i, unit = i+1, unit/10 {
		c := part[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n += int64(c-'0') * unit // nothing from the seventh place on
		if i == 6 && c >= '5' {
			n++
		}
	}
	if negative {
		n = -n
	}
	return n, true
}
