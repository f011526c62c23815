package store

import (
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// checkPeriod refuses a period that holds nothing or no dates.
func checkPeriod(from, to time.Time) error {
	if !from.Before(to) {
		return badQuery("date_range", "the period ends before it begins")
	}
	if from.Year() < 1970 || to.Year() > 2148 {
		return badQuery("date_range", "dates lie between 1970 and 2148")
	}
	return nil
}

// period is a period as the tables see it: the site's days that it touches, and where it
// cuts the first and the last of them.
type period struct {
	first, last event.Day
	from, to    int64 // Unix seconds; 0 where the day is whole

	sealed event.Day  // days before it are not read from events, see [Store.Dispose]
	raw    []dayRange // the days to read from events; nil: all
}

type dayRange struct{ first, last event.Day }

func periodOf(zone *time.Location, from, to time.Time) period {
	p := period{first: event.DayOf(from.In(zone)), last: event.DayOf(to.Add(-time.Nanosecond).In(zone))}
	if !p.first.Start(zone).Equal(from) {
		p.from = from.Unix()
	}
	if !(p.last + 1).Start(zone).Equal(to) {
		p.to = to.Unix()
	}
	return p
}

// whole tells whether the period has all of a day that it touches.
func (p period) whole(d event.Day) bool {
	return !(p.from != 0 && d == p.first || p.to != 0 && d == p.last)
}

// days is the condition on the days to read from events.
func (p period) days() fragment {
	ranges := p.raw
	if ranges == nil && p.sealed <= p.last {
		ranges = []dayRange{{max(p.first, p.sealed), p.last}}
	}
	return daysIn(ranges)
}

// within is the condition on a row's time, which whole days do not need.
func (p period) within() fragment {
	var conds []fragment
	if p.from != 0 {
		conds = append(conds, frag("toUInt32(time) >= ?", p.from))
	}
	if p.to != 0 {
		conds = append(conds, frag("toUInt32(time) < ?", p.to))
	}
	return allOf(conds...)
}

func daysIn(ranges []dayRange) fragment {
	var conds []fragment
	for _, r := range ranges {
		conds = append(conds, frag("day BETWEEN toDate(?) AND toDate(?)", r.first.String(), r.last.String()))
	}
	f := anyOf(conds...)
	if !strings.HasPrefix(f.sql, "(") {
		f = around("(", f, ")")
	}
	return f
}
