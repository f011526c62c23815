package store

import (
	"context"
	"slices"
)

// route decides which days of the query's period are read from where. Rollups know one
// dimension at a time, no filters and no steps shorter than a day.
func (p *plan) route(ctx context.Context, r *reporter) (err error) {
	rolledUp := 0
	for _, d := range p.dims {
		switch {
		case d.name == "time:hour", d.kind != dimTime && d.id == 0 && d.kind != dimCountryName:
			return nil
		case d.name == "event:hostname" && p.parts&partVisits != 0:
			return nil // which host a visit began on is not rolled up
		case d.kind != dimTime:
			rolledUp++
		}
	}
	if rolledUp > 1 || len(p.q.Filters) > 0 || p.parts&partGroup != 0 {
		return nil
	}
	p.rolled, err = r.route(ctx, p.q.Site, &p.period, p.q.LongIDs)
	return err
}

// rolledColumns names the columns of daily that a report's columns are sums of.
func rolledColumns() map[string]string {
	return map[string]string{
		"visitors": "visitors", "visits": "visits", "pageviews": "pageviews", "events": "events",
		"whole_visits": "started", "entries": "started", "whole_views": "visit_views",
		"bounces": "bounces", "duration": "duration",
		"depth": "depth", "engaged": "engaged", "engaged_visits": "engaged_visits",
	}
}

// capped tells of the query's dimensions on how many days they have an [Other].
func (p *plan) capped() map[string]int {
	for _, d := range p.dims {
		ids := []uint8{d.id}
		switch {
		case d.kind == dimTime, d.kind == dimCountryName:
			continue // there are few
		case d.id == pageID && p.parts&partVisits != 0:
			ids = append(ids, entryID)
		}
		if n := p.rolled.cappedDays(ids...); n > 0 {
			return map[string]int{d.name: n}
		}
	}
	return nil
}

// rolledBranches are the report's branches for closed days.
func (p *plan) rolledBranches(hits part) ([]fragment, error) {
	if !p.rolled.any() {
		return nil, nil
	}
	id, byMonth := uint8(totalID), true
	var dims []fragment
	for _, d := range p.dims {
		switch d.kind {
		case dimTime:
			byMonth = byMonth && d.name == "time:month"
			dims = append(dims, p.scope.step(d.name, fragment{}))
		case dimCountryName:
			id = countryID
			dims = append(dims, countryName("toString(value)"))
		default:
			id = d.id
			dims = append(dims, frag("toString(value)"))
		}
	}
	sets := []rolledSet{{p.rolled.all, 0}}
	if byMonth {
		sets = []rolledSet{{p.rolled.rest, 0}, {p.rolled.months, monthOffset}}
	}
	parts := []rolledPart{{id, p.parts}}
	if id == pageID && p.parts&partVisits != 0 {
		// A page's visits are those that began on it: they are rolled up under their entry.
		parts = []rolledPart{{pageID, p.parts &^ partVisits}, {entryID, partVisits}}
	}
	var out []fragment
	for _, set := range sets {
		for _, part := range parts {
			if part.parts == 0 || len(set.builds) == 0 {
				continue
			}
			f, err := p.rolledBranch(set, part, dims, hits)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// rolledSet is days or months, rolledPart a dimension and what is read of it.
type rolledSet struct {
	daySet
	offset uint8
}

type rolledPart struct {
	id    uint8
	parts part
}

func (p *plan) rolledBranch(set rolledSet, of rolledPart, dims []fragment, hits part) (fragment, error) {
	parts := of.parts
	names := rolledColumns()
	var columns []string
	for _, c := range reportColumns() {
		if c.by != nil && !slices.ContainsFunc(c.by, func(m string) bool { return slices.Contains(p.q.Metrics, m) }) {
			continue
		}
		sql := "toUInt64(0)"
		switch {
		case c.name == "hits" && parts&hits == 0:
		case c.name == "hits" && hits == partVisits:
			sql = "sum(started_)"
		case c.name == "hits":
			sql = "sum(events_)"
		case parts&c.part != 0:
			sql = "sum(" + names[c.name] + "_)"
		}
		columns = append(columns, sql+" AS "+c.name)
	}
	return statement("report_daily", map[string]any{
		"Dims": dims, "Columns": columns, "Site": p.q.Site, "Dim": of.id + set.offset, "Days": daysIn(set.days), "Builds": set.buildsIn(),
	})
}
