package dashboard

import (
	"math"
	"strconv"

	"github.com/kantarainitiative/footfall/store"
)

// metric is one of the six figures.
type metric struct {
	Key, Label string
	value      func(store.Totals) (x float64, ok bool) // ok false: nothing to divide by
	format     func(float64) string
	plain      bool // a number without a unit
	better     int  // +1: more is better, -1: less is
	points     bool // a change is told in points, not in percent
}

func metrics() []metric {
	whole := func(x float64) string {
		if x >= 1e7 { // does not fit the strip; the exact one is in the title
			return short(x)
		}
		return count(uint64(x))
	}
	sure := func(f func(store.Totals) uint64) func(store.Totals) (float64, bool) {
		return func(t store.Totals) (float64, bool) { return float64(f(t)), !t.Withheld }
	}
	ratio := func(part, of uint64, scale float64) (float64, bool) {
		if of == 0 {
			return 0, false
		}
		return float64(part) / float64(of) * scale, true
	}
	percent := func(x float64) string { return strconv.Itoa(int(math.Round(x))) + "%" }
	return []metric{
		{Key: "visitors", Label: "Visitors", value: sure(func(t store.Totals) uint64 { return t.Visitors }), format: whole, plain: true, better: 1},
		{Key: "visits", Label: "Visits", value: sure(func(t store.Totals) uint64 { return t.Visits }), format: whole, plain: true, better: 1},
		{Key: "pageviews", Label: "Page views", value: sure(func(t store.Totals) uint64 { return t.PageViews }), format: whole, plain: true, better: 1},
		{Key: "views_per_visit", Label: "Views per visit", value: func(t store.Totals) (float64, bool) { return ratio(t.VisitViews, t.Started, 1) },
			format: func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }, plain: true, better: 1},
		{Key: "bounce_rate", Label: "Bounce rate", value: func(t store.Totals) (float64, bool) { return ratio(t.Bounces, t.Entries, 100) },
			format: percent, better: -1, points: true},
		{Key: "visit_duration", Label: "Visit duration", value: func(t store.Totals) (float64, bool) { return ratio(t.Duration, t.Started, 1) },
			format: duration, better: 1},
	}
}

// findMetric returns the metric called key, the first for any other name.
func findMetric(key string) metric {
	all := metrics()
	for _, m := range all {
		if m.Key == key {
			return m
		}
	}
	return all[0]
}

// change compares a figure with the one before: a sign, a word, and whether it is good news.
type change struct {
	Sign string // "▲", "▼", "—"
	Text string // "12%", "3 pts"
	Tone string // "good", "worse", "same": a class
	Said string // for those who hear it: "up 12%, better"
}

// fewerThan says what stands in the place of a number that is too small to be told.
func fewerThan(n int) string { return "fewer than " + strconv.Itoa(n) }

// withheld says why a view has no figures.
func withheld(least int) string {
	return "Withheld: this view has, or leaves out, " + fewerThan(least) + " visitors."
}

// nothing reports whether a period had no traffic at all.
func nothing(t store.Totals) bool {
	return !t.Withheld && t.Visitors == 0 && t.PageViews == 0 && t.Events == 0
}

func (m metric) change(cur, prev store.Totals) *change {
	if nothing(prev) && !nothing(cur) {
		return &change{Sign: "—", Text: "nothing before", Tone: "same", Said: "nothing was counted before"}
	}
	a, okA := m.value(cur)
	b, okB := m.value(prev)
	if !okA || !okB {
		return &change{Sign: "—", Text: "nothing to compare", Tone: "same", Said: "nothing to compare with"}
	}
	d, unit := a-b, " pts"
	if !m.points {
		if b == 0 {
			if a == 0 {
				return &change{Sign: "—", Text: "0%", Tone: "same", Said: "unchanged"}
			}
			return &change{Sign: "▲", Text: "from none", Tone: "good", Said: "up from none"}
		}
		d, unit = (a-b)/b*100, "%"
	}
	n := math.Round(math.Abs(d))
	if n == 0 {
		return &change{Sign: "—", Text: "0" + unit, Tone: "same", Said: "unchanged"}
	}
	if m.points && n == 1 {
		unit = " pt"
	}
	text := count(uint64(n)) + unit
	c := &change{Sign: "▲", Text: text, Tone: "good", Said: "up " + text}
	if d < 0 {
		c.Sign, c.Said = "▼", "down "+text
	}
	if (d > 0) != (m.better > 0) {
		c.Tone = "worse"
	}
	return c
}
