package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a query.
const (
	DefaultLimit  = 10000
	maxLimit      = 10000
	maxDimensions = 8
	maxMetrics    = 24
)

// Query answers one question of the Stats API. A question that has no answer is a
// [*QueryError]; one that costs more than a report may is [ErrLimit].
//
// What counts as what: visitors, visits, page views and events are those of page views and
// custom events (kinds 1 and 2) in the period that meet the filters. Bounce rate, duration
// and views per visit are those of the whole visits that have such a row; by hour they
// count where that row is. Rows without a visit (unlinked hits) are page views and events
// only. Engagement lengthens its visit and gives time on page and scroll depth, e-mail
// events give nothing here. By page, and under a filter on the page for the bounce rate, a
// page's visits are those that began on it.
func (s *Store) Query(ctx context.Context, q Query) (*Result, error) {
	p, err := planQuery(q)
	if err != nil {
		return nil, err
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	if err := r.seal(ctx, q.Site, &p.period); err != nil {
		return nil, err
	}
	if q.MinVisitors > 0 {
		return p.runFew(ctx, r)
	}
	if err := p.route(ctx, r); err != nil {
		return nil, err
	}
	return p.run(ctx, r)
}

// TimeDimension returns the step that "time" stands for in the query's period, as in
// Plausible: hours up to two days, days up to 40, weeks up to 52, then months.
func (q Query) TimeDimension() string {
	last := q.To.Add(-time.Second)
	const day = 24 * time.Hour
	switch d := last.Sub(q.From); {
	case d/time.Hour <= 48:
		return "time:hour"
	case d/day <= 40:
		return "time:day"
	case d/(7*day) <= 52:
		return "time:week"
	}
	return "time:month"
}

// run asks the statements of the plan.
func (p *plan) run(ctx context.Context, r *reporter) (*Result, error) {
	res := &Result{Warnings: p.warnings(), Capped: p.capped()}
	totals := map[string]uint64{}
	for _, m := range p.metrics {
		if !m.total {
			continue
		}
		fs := p.q.Filters
		if m.name == "conversion_rate" {
			fs = withoutGoals(fs)
		}
		n, err := p.visitors(ctx, r, fs)
		if err != nil {
			return nil, err
		}
		totals[m.name] = n
	}
	branches, err := p.branches()
	if err != nil {
		return nil, err
	}
	data := reportData{Branches: branches, Only: p.shown.only(), Order: p.order, Limit: p.q.Limit, Offset: p.q.Offset}
	for i := range p.dims {
		data.Dims = append(data.Dims, "d"+strconv.Itoa(i))
	}
	for _, m := range p.metrics {
		f := frag(p.base(m))
		for range strings.Count(m.sql, "?") {
			f.args = append(f.args, totals[m.name])
		}
		data.Metrics = append(data.Metrics, f)
	}
	if res.Rows, err = p.rows(ctx, r, data); err != nil {
		return nil, err
	}
	if p.q.TotalRows {
		res.TotalRows, err = p.countRows(ctx, r, data, len(res.Rows))
	}
	return res, err
}

type reportData struct {
	Dims          []string
	Metrics       []fragment
	Branches      []fragment
	Order         []string
	Only          *fragment // on the row's dimensions, or nil
	Limit, Offset int
}

func (p *plan) rows(ctx context.Context, r *reporter, data reportData) ([]Row, error) {
	rows, err := r.query(ctx, "report", data)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	texts, steps, values := make([]string, len(p.dims)), make([]uint32, len(p.dims)), make([]int64, len(p.metrics))
	var dest []any
	for i, d := range p.dims {
		if d.kind == dimTime {
			dest = append(dest, &steps[i])
		} else {
			dest = append(dest, &texts[i])
		}
	}
	for i := range values {
		dest = append(dest, &values[i])
	}
	out := []Row{}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, r.wrap("report", err)
		}
		row := Row{Dimensions: make([]string, len(p.dims)), Metrics: make([]*float64, len(p.metrics))}
		for i, d := range p.dims {
			row.Dimensions[i] = texts[i]
			if d.kind == dimTime {
				row.Dimensions[i] = stepLabel(d.name, steps[i])
			}
		}
		for i, v := range values {
			if v >= 0 {
				x := float64(v) / p.metrics[i].scale
				row.Metrics[i] = &x
			}
		}
		out = append(out, row)
	}
	return out, r.wrap("report", rows.Err())
}

// countRows is how many rows there are in all, without asking where the answer shows it.
func (p *plan) countRows(ctx context.Context, r *reporter, data reportData, got int) (int, error) {
	if len(p.dims) == 0 || got > 0 && got < p.q.Limit {
		return p.q.Offset + got, nil
	}
	if got == 0 && p.q.Offset == 0 {
		return 0, nil
	}
	n, err := r.number(ctx, "report_rows", data)
	return int(n), err
}

// visitors counts all visitors of the period under filters.
func (p *plan) visitors(ctx context.Context, r *reporter, fs []Filter) (uint64, error) {
	all := *p
	all.q.Filters, all.q.Metrics, all.dims, all.parts = fs, []string{"visitors"}, nil, partEvents
	branches, err := all.branches()
	if err != nil {
		return 0, err
	}
	return r.number(ctx, "report", reportData{Branches: branches, Metrics: []fragment{frag("sum(visitors)")}})
}

func (p *plan) branches() ([]fragment, error) {
	hits := partEvents
	if p.parts&partEvents == 0 {
		hits = partVisits
	}
	out, err := p.rolledBranches(hits)
	if err != nil {
		return nil, err
	}
	for _, part := range []part{partEvents, partVisits, partEngagement, partGroup} {
		if p.parts&part == 0 || p.period.raw != nil && len(p.period.raw) == 0 {
			continue
		}
		fs := p.q.Filters
		if part == partGroup {
			fs = withoutGoals(fs)
		}
		b, err := p.branch(part, hits, p.dims, fs, p.columnNames())
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// branchData fills report_events.sql, report_visits.sql and report_engagement.sql.
type branchData struct {
	People  bool // who they are is asked, to count them
	Dims    []fragment
	Columns []string
	Source  fragment
	Site    string
	Days    fragment
	Where   fragment // on each row
	Counted fragment // visits: on one row at least
	Entered fragment // visits: counts for the bounce rate
}

func (p *plan) branch(part, hits part, dims []dimension, fs []Filter, names []string) (fragment, error) {
	days, within := p.period.days(), p.period.within()
	pageIsEntry := part == partVisits && slices.ContainsFunc(dims, func(d dimension) bool { return d.name == "event:page" })
	b := branchData{
		People: p.few != nil, Columns: columnsFor(part, hits, names), Site: p.q.Site, Days: days, Source: frag("events"), Entered: frag("1"),
	}
	exit := usesOf(fs...).exit
	for _, d := range dims {
		if part == partVisits {
			b.Dims = append(b.Dims, d.visitValue(p.scope, firstCounted(fs, pageIsEntry, within)))
			continue
		}
		exit = exit || d.kind == dimExitPage
		b.Dims = append(b.Dims, d.rowValue(p.scope))
	}
	if len(dims) > 0 {
		b.Dims = p.shown.wrap(b.Dims)
	}
	if exit {
		var err error
		if b.Source, err = statement("exit_pages", map[string]any{"ExitPage": exitPage, "Site": p.q.Site, "Days": days}); err != nil {
			return fragment{}, err
		}
	}
	if part != partVisits {
		b.Where = allOf(within, conditions(fs, false))
		name := "report_events"
		if part == partEngagement {
			name = "report_engagement"
		}
		return statement(name, b)
	}
	b.Where, b.Counted, b.Entered = visitConditions(fs, within, pageIsEntry)
	var err error
	if b.Where, err = pickVisits(p.q.Site, days, fs, b.Where, b.Counted); err != nil {
		return fragment{}, err
	}
	return statement("report_visits", b)
}

// visitConditions splits filters into what holds for all rows of a visit or for none, which
// is asked before they are grouped, and what one row has to meet; entered is an aggregate that
// tells whether the visit began on a page of the filters.
func visitConditions(fs []Filter, within fragment, pageIsEntry bool) (where, counted, entered fragment) {
	var whole, some, pages []Filter
	for _, f := range fs {
		if usesOf(f).event && !(pageIsEntry && onlyPages(f)) {
			some = append(some, f)
		} else {
			whole = append(whole, f)
		}
		if f.Dimension == "event:page" {
			pages = append(pages, f)
		}
	}
	entered = frag("1")
	if len(pages) > 0 && !pageIsEntry {
		entered = around("any(", conditions(pages, true), ")")
	}
	return conditions(whole, pageIsEntry), allOf(within, conditions(some, pageIsEntry)), entered
}

// pickVisits narrows where to the visits that have a counted row, if events are filtered.
func pickVisits(site string, days fragment, fs []Filter, where, counted fragment) (fragment, error) {
	if u := usesOf(fs...); !u.event || u.exit {
		return where, nil
	}
	picked, err := statement("counted_visits", map[string]any{"Site": site, "Days": days, "Where": where, "Counted": counted})
	return allOf(where, picked), err
}

// firstCounted is the time of a visit's first counted row, as an aggregate.
func firstCounted(fs []Filter, pageIsEntry bool, within fragment) fragment {
	return around("minIf(toUInt32(time), kind < 3 AND ", allOf(within, conditions(fs, pageIsEntry)), ")")
}

// onlyPages tells whether a filter compares visits and pages alone.
func onlyPages(f Filter) bool {
	if len(f.Filters) > 0 {
		return !slices.ContainsFunc(f.Filters, func(c Filter) bool { return !onlyPages(c) })
	}
	return f.Dimension == "event:page" || strings.HasPrefix(f.Dimension, "visit:")
}

// withoutGoals leaves out the top-level filters on goals and properties: what is left are
// the visitors among whom conversions are counted.
func withoutGoals(fs []Filter) []Filter {
	return slices.DeleteFunc(slices.Clone(fs), func(f Filter) bool {
		d, ok := dimensionOf(f.Dimension)
		return len(f.Filters) == 0 && ok && (d.kind == dimGoal || d.kind == dimProp)
	})
}
