package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// series is the totals of a period and its steps.
func (o *overview) series(ctx context.Context, r *reporter, sp span) (Totals, []Point, error) {
	if sp.few != nil && sp.few.withheld {
		return Totals{Withheld: true}, o.points(sp, nil), nil
	}
	sc := o.scope(sp)
	hourly := o.q.Interval == "time:hour"
	if hourly { // a day's rollup has no hours
		sp.period.raw, sp.rolled = nil, rolled{}
	}
	step := func(t fragment) fragment { return around("toString(", sc.step(o.q.Interval, t), ")") }
	k := figureKeys{
		visits:   []fragment{pair(totalID, frag("''"))},
		unlinked: []fragment{pair(totalID, frag("''"))},
	}
	if hourly {
		// A visit is active in each hour that has a row of it.
		k.steps = stepID
		_, counted, _ := visitConditions(sp.filters, sp.period.within(), false)
		k.visits = append(k.visits, pair(stepID, step(around("minIf(toUInt32(time), kind < 3 AND ", counted, ")"))))
		k.events = append(k.events, pair(stepID, step(frag("time"))))
	} else {
		k.visits = append(k.visits, pair(stepID, step(fragment{})))
		k.unlinked = append(k.unlinked, pair(stepID, step(fragment{})))
	}
	branches, err := figureBranches(o.q.Site, sp.period, sp.filters, k)
	if err != nil {
		return Totals{}, nil, err
	}
	if sp.rolled.any() {
		fs, err := sp.rolled.figures(o.q.Site, []uint8{totalID}, sc.step(o.q.Interval, fragment{}))
		if err != nil {
			return Totals{}, nil, err
		}
		branches = append(branches, fs...)
	}
	rows, err := r.figures(ctx, map[string]any{"Branches": branches})
	if err != nil {
		return Totals{}, nil, err
	}
	var total Totals
	steps := map[uint32]Totals{}
	for _, f := range rows {
		if f.dim == totalID {
			total = o.rates(f.Totals)
			continue
		}
		v, err := strconv.ParseUint(f.value, 10, 32)
		if err != nil {
			return Totals{}, nil, fmt.Errorf("figures.sql: a step is no number: %w", err)
		}
		steps[uint32(v)] = o.rates(f.Totals)
	}
	return total, o.points(sp, steps), nil
}

// points lays figures over every step of the period.
func (o *overview) points(sp span, steps map[uint32]Totals) []Point {
	var out []Point
	if sp.few != nil {
		steps = sp.few.steps(sp.shown(len(sp.few.shown)-1), steps)
	}
	figures := func(v uint32) Totals {
		if t, ok := steps[v]; ok || sp.few == nil || len(sp.filters) == 0 {
			return t
		}
		return Totals{Withheld: true}
	}
	from := sp.from.In(o.q.Zone)
	if o.q.Interval == "time:hour" {
		seen := map[uint32]bool{}
		for t := hourOf(from); t.Before(sp.to); t = t.Add(30 * time.Minute) {
			_, off := t.Zone()
			v := uint32((t.Unix() + int64(off)) / 3600 * 3600)
			if seen[v] { // half an hour on, or the clock shows it again
				continue
			}
			seen[v] = true
			out = append(out, Point{t, figures(v)})
		}
		return out
	}
	last := sp.period.last
	for d := sp.period.first; d <= last; {
		key, next := d, d+1
		y, m, _ := d.Time().Date()
		switch o.q.Interval {
		case "time:week":
			next = d + event.Day(7-(int(d.Time().Weekday())+6)%7)
		case "time:month":
			key = event.DayOf(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC))
			next = event.DayOf(time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC))
		}
		out = append(out, Point{d.Start(o.q.Zone), figures(uint32(key))})
		d = next
	}
	return out
}

// hourOf is the start of the hour on t's own clock.
func hourOf(t time.Time) time.Time {
	return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
}
