// Package period turns the names of reporting periods ("7d", "month", two dates) into
// instants on a site's own calendar. The pages and the Stats API share it, so that both
// mean the same days by the same name.
//
// Rules it keeps:
//   - A period is half open, From <= t < To, and begins and ends at the site's midnight,
//     save "24h", which begins and ends on the hour.
//   - Periods counted in days or months include today, so they are still running.
//   - Days are counted on the calendar, never as 24 hours: summer time changes nothing.
package period

import (
	"errors"
	"fmt"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// Names of the periods that need no dates, in the order in which people are offered them.
const (
	Today     = "day"
	Yesterday = "yesterday"
	Last24h   = "24h"
	Last7d    = "7d"
	Last28d   = "28d"
	Last30d   = "30d"
	Last91d   = "91d"
	Month     = "month"
	LastMonth = "last-month"
	Last6mo   = "6mo"
	Last12mo  = "12mo"
	Year      = "year"
	All       = "all"
	Custom    = "custom" // from two dates
)

// ErrUnknown is returned for a name that is no period.
var ErrUnknown = errors.New("unknown period")

// Range is a period on a site's calendar.
type Range struct {
	Name     string
	From, To time.Time // half open, in the site's zone
}

// Start returns the first instant of t's date in t's own zone.
func Start(t time.Time) time.Time { return event.DayOf(t).Start(t.Location()) }

// AddDays returns the first instant of the date n days after t's.
func AddDays(t time.Time, n int) time.Time {
	y, m, d := t.Date()
	return date(y, m, d+n, t.Location())
}

// AddMonths returns the first instant of the first of the month n months after t's.
func AddMonths(t time.Time, n int) time.Time {
	y, m, _ := t.Date()
	return date(y, m+time.Month(n), 1, t.Location())
}

// date is the first instant of a calendar date, days and months out of range normalised.
func date(y int, m time.Month, d int, loc *time.Location) time.Time {
	return event.DayOf(time.Date(y, m, d, 12, 0, 0, 0, time.UTC)).Start(loc)
}

// Named returns the period called name as seen at now, in zone. For [All] it needs first,
// an instant of the site's first day. The error is [ErrUnknown] for any other name.
func Named(name string, now time.Time, zone *time.Location, first time.Time) (Range, error) {
	now = now.In(zone)
	today := Start(now)
	r := Range{Name: name, From: today, To: AddDays(today, 1)}
	switch name {
	case Today:
	case Yesterday:
		r.From, r.To = AddDays(today, -1), today
	case Last24h:
		// Half-hour zones: the hour on the site's own clock.
		hour := now.Add(-time.Duration(now.Minute())*time.Minute - time.Duration(now.Second())*time.Second -
			time.Duration(now.Nanosecond()))
		r.From, r.To = hour.Add(-23*time.Hour), hour.Add(time.Hour)
	case Last7d:
		r.From = AddDays(today, -6)
	case Last28d:
		r.From = AddDays(today, -27)
	case Last30d:
		r.From = AddDays(today, -29)
	case Last91d:
		r.From = AddDays(today, -90)
	case Month:
		r.From, r.To = AddMonths(today, 0), AddMonths(today, 1)
	case LastMonth:
		r.From, r.To = AddMonths(today, -1), AddMonths(today, 0)
	case Last6mo:
		r.From, r.To = AddMonths(today, -5), AddMonths(today, 1)
	case Last12mo:
		r.From, r.To = AddMonths(today, -11), AddMonths(today, 1)
	case Year:
		r.From, r.To = date(now.Year(), time.January, 1, zone), date(now.Year()+1, time.January, 1, zone)
	case All:
		if first.IsZero() || first.After(now) {
			first = now
		}
		r.From = Start(first.In(zone))
	default:
		return Range{}, fmt.Errorf("%w %q", ErrUnknown, name)
	}
	return r, nil
}

// Dates returns the period from one date to another, both included, written 2006-01-02.
func Dates(from, to string, zone *time.Location) (Range, error) {
	f, err := time.Parse(time.DateOnly, from)
	if err != nil {
		return Range{}, fmt.Errorf("the first date %q is not written like 2026-11-24", from)
	}
	t, err := time.Parse(time.DateOnly, to)
	if err != nil {
		return Range{}, fmt.Errorf("the last date %q is not written like 2026-11-24", to)
	}
	if t.Before(f) {
		return Range{}, fmt.Errorf("the period ends (%s) before it begins (%s)", to, from)
	}
	// A stored date is a number of days since 1970 in 16 bits.
	if f.Year() < 1970 || t.Year() > 2148 {
		return Range{}, errors.New("dates lie between 1970 and 2148")
	}
	return Range{
		Name: Custom,
		From: date(f.Year(), f.Month(), f.Day(), zone),
		To:   date(t.Year(), t.Month(), t.Day()+1, zone),
	}, nil
}

// Days is the number of calendar dates the period touches.
func (r Range) Days() int {
	return int(event.DayOf(r.To.Add(-time.Second))) - int(event.DayOf(r.From)) + 1
}

// Running reports whether the period is not over at now.
func (r Range) Running(now time.Time) bool { return now.Before(r.To) }

// months is how many whole calendar months the period covers, 0 if it is not of whole months.
func (r Range) months() int {
	if r.From.Day() != 1 || r.To.Day() != 1 {
		return 0
	}
	return (r.To.Year()-r.From.Year())*12 + int(r.To.Month()) - int(r.From.Month())
}

// Previous is the period before this one: of as many months if it is of whole months, else
// of as many days. Of a running period it is cut at the same point, so that like is compared
// with like: by a quarter to ten, today is compared with yesterday until a quarter to ten.
func (r Range) Previous(now time.Time) Range {
	n, months := r.Days(), r.months()
	return r.shifted(now, func(t time.Time) time.Time {
		if r.Name == Last24h {
			return t.Add(-24 * time.Hour)
		}
		if months > 0 {
			return back(t, 0, months, 0)
		}
		return back(t, 0, 0, n)
	})
}

// YearBefore is the same dates of the year before, cut like [Range.Previous].
func (r Range) YearBefore(now time.Time) Range {
	return r.shifted(now, func(t time.Time) time.Time { return back(t, 1, 0, 0) })
}

func (r Range) shifted(now time.Time, shift func(time.Time) time.Time) Range {
	p := Range{Name: r.Name, From: shift(r.From), To: shift(r.To)}
	if r.Running(now) && now.After(r.From) {
		if cut := shift(now.In(r.From.Location())); cut.Before(p.To) {
			p.To = cut
		}
	}
	return p
}

// back moves t's date and keeps its clock; a date that the earlier month lacks becomes that
// month's last instant.
func back(t time.Time, years, months, days int) time.Time {
	y, m, d := t.Date()
	if days == 0 {
		last := time.Date(y-years, m-time.Month(months)+1, 0, 12, 0, 0, 0, time.UTC)
		if d > last.Day() {
			return date(last.Year(), last.Month(), last.Day()+1, t.Location())
		}
	}
	if t.Equal(Start(t)) {
		return date(y-years, m-time.Month(months), d-days, t.Location())
	}
	return time.Date(y-years, m-time.Month(months), d-days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}

// Steps of a series.
const (
	Hourly  = "hour"
	Daily   = "day"
	Weekly  = "week"
	Monthly = "month"
)

// Steps returns the steps in which a series of the period is readable, finest first.
func (r Range) Steps() []string {
	n := r.Days()
	var s []string
	if n <= 8 {
		s = append(s, Hourly)
	}
	if n >= 2 && n <= 400 && r.Name != Last24h {
		s = append(s, Daily)
	}
	if n >= 14 && n <= 2000 {
		s = append(s, Weekly)
	}
	if n >= 60 {
		s = append(s, Monthly)
	}
	return s
}

// Step is the step shown unless another is chosen.
func (r Range) Step() string {
	switch n := r.Days(); {
	case n <= 2:
		return Hourly
	case n <= 92:
		return Daily
	case n <= 250:
		return Weekly
	default:
		return Monthly
	}
}
