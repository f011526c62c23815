package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// runFew answers a query under its MinVisitors.
func (p *plan) runFew(ctx context.Context, r *reporter) (*Result, error) {
	r.long = true
	v, err := r.few(ctx, p.q.MinVisitors, fewQuestion{
		site: p.q.Site, scope: p.scope, period: p.period, filters: p.q.Filters, breakdowns: [][]dimension{p.dims}})
	if err != nil {
		return nil, err
	}
	if v.withheld {
		res := &Result{Rows: []Row{}, MinVisitors: p.q.MinVisitors, Withheld: WithheldView}
		if len(p.dims) == 0 {
			res.Rows, res.TotalRows = []Row{{Dimensions: []string{}, Metrics: make([]*float64, len(p.metrics))}}, 1
		}
		return res, nil
	}
	p.few, p.shown = v, &v.shown[0]
	p.q.Filters = v.filters
	p.scope.goals = pageGoals(v.filters)
	asked := len(p.metrics)
	if len(p.dims) > 0 && !slices.Contains(p.q.Metrics, "visitors") {
		m, _ := metricOf("visitors")
		p.metrics, p.parts = append(p.metrics, m), p.parts|m.parts
		p.q.Metrics = append(slices.Clone(p.q.Metrics), m.name)
	}
	res, err := p.run(ctx, r)
	if err != nil {
		return nil, err
	}
	res.MinVisitors = p.q.MinVisitors
	if p.shown.only() != nil {
		res.Withheld = WithheldRows
	}
	p.withholdNearlyAll(res)
	p.withholdEvents(res)
	for i := range res.Rows {
		res.Rows[i].Metrics = res.Rows[i].Metrics[:asked]
	}
	return res, nil
}

// withholdNearlyAll withholds the visitors of rows that all but a few of the view's visitors are in:
// the total would tell of the few. Page views and events of the few are a row's of their own.
func (p *plan) withholdNearlyAll(res *Result) {
	i := slices.Index(p.q.Metrics, "visitors")
	if len(p.dims) == 0 || slices.ContainsFunc(p.dims, func(d dimension) bool { return d.kind == dimTime }) {
		return
	}
	for _, row := range res.Rows {
		if row.Metrics[i] == nil || !p.few.nearlyAll(uint64(*row.Metrics[i])) {
			continue
		}
		for j, m := range p.metrics {
			if m.name != "pageviews" && m.name != "events" {
				row.Metrics[j] = nil
			}
		}
		res.warn("visitors", fmt.Sprintf("not shown of a row that all but fewer than %d visitors are in", p.q.MinVisitors))
	}
}

// oneName tells whether all rows but [Few] are of one name of events each. Elsewhere events less page views
// would be the custom events of a row, of which it is not known how many visitors had them.
func (p *plan) oneName() bool {
	return p.byName() || slices.ContainsFunc(p.q.Filters, pinsName)
}

func (p *plan) byName() bool {
	return slices.ContainsFunc(p.dims, func(d dimension) bool { return d.name == "event:name" || d.kind == dimGoal })
}

func pinsName(f Filter) bool {
	return f.Op == "is" && (f.Dimension == "event:name" || f.Dimension == "event:goal") && len(f.Values) == 1 &&
		f.Values[0] != Few && !f.IgnoreCase && len(f.Filters) == 0
}

// withholdEvents withholds the events of rows that may be of several names.
func (p *plan) withholdEvents(res *Result) {
	i := slices.Index(p.q.Metrics, "events")
	if i < 0 {
		return
	}
	hidden := false
	for _, row := range res.Rows {
		if !p.oneName() || p.byName() && slices.Contains(row.Dimensions, Few) && !slices.ContainsFunc(p.q.Filters, pinsName) {
			row.Metrics[i], hidden = nil, true
		}
	}
	if hidden {
		res.warn("events", "shown by event:name or event:goal, or of one of them, and not of (few) names: it would tell of too few visitors")
	}
}

func (r *Result) warn(metric, text string) {
	if r.Warnings == nil {
		r.Warnings = map[string]string{}
	}
	r.Warnings[metric] = text
}

func (v *fewView) nearlyAll(visitors uint64) bool {
	return visitors < v.visitors && v.visitors-visitors < v.min
}

// columnNames are the metrics whose columns the report needs.
func (p *plan) columnNames() []string {
	if p.few == nil {
		return p.q.Metrics
	}
	return append(slices.Clone(p.q.Metrics), peopleColumns)
}

// base is a metric's text: under MinVisitors a rate has no value where too few visitors are behind it.
func (p *plan) base(m metric) string {
	if p.few == nil {
		return m.sql
	}
	behind := ""
	switch {
	case m.name == "events" && !p.oneName():
		return "toInt64(-1)"
	case m.name == "bounce_rate":
		behind = "sum(entry_people)"
	case m.parts&partVisits != 0:
		behind = "sum(whole_people)"
	case m.parts&partEngagement != 0:
		behind = "sum(engaged_people)"
	case m.name == "conversion_rate" && len(keptOf(withoutGoals(p.q.Filters), nil)) > 1,
		m.name == "group_conversion_rate" && len(withoutGoals(p.q.Filters)) > 0 && len(p.dims) > 0:
		behind = "toUInt64(0)" // its other part is a view of its own, which may not be told
	default:
		return m.sql
	}
	return fmt.Sprintf("if(%s < %d, toInt64(-1), %s)", behind, p.q.MinVisitors, m.sql)
}

// Reports answers reports under each site's MinVisitors. It is the only way from a store to people
// and programs, so that none can forget the rule.
type Reports struct {
	Store *Store
	Min   func(site string) int // 0: no rule
	// Daily tells whether a site's reports are no finer than a day, page views apart. Nil: none's are.
	Daily func(site string) bool
}

func (r Reports) daily(site string) bool { return r.Daily != nil && r.Daily(site) }

// tooFine tells whether a question is finer than a day and about more than page views, of all pages
// or of some.
func (q *Query) tooFine() bool {
	if wholeDays(q.Zone, q.From, q.To, q.Now) && !slices.ContainsFunc(q.Dimensions, func(d string) bool { return d == "time:hour" || d == "time" && q.TimeDimension() == "time:hour" }) {
		return false
	}
	onlyPages := func(dims []string) bool {
		return !slices.ContainsFunc(dims, func(d string) bool { return d != "event:page" && d != "time:hour" && d != "time" })
	}
	var filtered []string
	for _, d := range keptOf(q.Filters, nil) {
		filtered = append(filtered, d.name)
	}
	return slices.ContainsFunc(q.Metrics, func(m string) bool { return m != "pageviews" }) || !onlyPages(q.Dimensions) || !onlyPages(filtered)
}

// wholeDays tells whether a period is of whole days, the present one as far as it is.
func wholeDays(zone *time.Location, from, to, now time.Time) bool {
	if zone == nil {
		zone = time.UTC
	}
	midnight := func(t time.Time) bool { return event.DayOf(t.In(zone)).Start(zone).Equal(t) }
	return midnight(from) && (midnight(to) || !to.Before(now))
}

var errDaily = &QueryError{"dimensions", "this site's reports have grain: day, so by the hour there are page views alone"}

// Query is [Store.Query] under the site's rule.
func (r Reports) Query(ctx context.Context, q Query) (*Result, error) {
	q.MinVisitors = r.Min(q.Site)
	if r.daily(q.Site) && q.tooFine() {
		return nil, errDaily
	}
	return r.Store.Query(ctx, q)
}

// Overview is [Store.Overview] under the site's rule.
func (r Reports) Overview(ctx context.Context, q OverviewQuery) (*Overview, error) {
	q.MinVisitors = r.Min(q.Site)
	if r.daily(q.Site) && (q.Interval == "time:hour" || !wholeDays(q.Zone, q.From, q.To, q.Now)) {
		return nil, errDaily
	}
	return r.Store.Overview(ctx, q)
}

// FewError is the answer of [Reports.Realtime] where there are too few to be told.
type FewError struct{ Min int }

func (e *FewError) Error() string { return fmt.Sprintf("fewer than %d visitors", e.Min) }

// Realtime is [Store.Realtime] under the site's rule: fewer visitors are a [*FewError], none among them.
// Where reports are no finer than a day it is a [*QueryError].
func (r Reports) Realtime(ctx context.Context, site string) (uint64, error) {
	if r.daily(site) {
		return 0, errDaily
	}
	n, err := r.Store.Realtime(ctx, site)
	if k := r.Min(site); err == nil && n < uint64(max(k, 0)) {
		return 0, &FewError{k}
	}
	return n, err
}

// few finds out what may be told of an overview's two periods. The last breakdown is the series.
func (o *overview) few(ctx context.Context, r *reporter) error {
	r.long = true
	interval, _ := dimensionOf(o.q.Interval)
	for _, sp := range []*span{&o.now, &o.before} {
		if !sp.to.After(sp.from) {
			continue
		}
		q := fewQuestion{site: o.q.Site, scope: o.scope(*sp), period: sp.period, filters: sp.filters}
		if sp == &o.now {
			for _, d := range o.dims {
				q.breakdowns = append(q.breakdowns, []dimension{d})
			}
		}
		q.breakdowns = append(q.breakdowns, []dimension{interval})
		var err error
		if sp.few, err = r.few(ctx, o.q.MinVisitors, q); err != nil {
			return err
		}
		sp.filters = sp.few.filters
	}
	return nil
}

// steps are those that may be told.
func (v *fewView) steps(shown *fewShown, steps map[uint32]Totals) map[uint32]Totals {
	if v.withheld {
		return nil
	}
	if shown.all {
		return steps
	}
	out := map[uint32]Totals{}
	for _, row := range shown.rows {
		if n, err := strconv.ParseUint(row[0], 10, 32); err == nil {
			if t, ok := steps[uint32(n)]; ok {
				out[uint32(n)] = t
			}
		}
	}
	return out
}

// rates leaves out the bounces of too few visits.
func (o *overview) rates(t Totals) Totals {
	if len(o.q.Filters) > 0 && t.Entries < uint64(o.q.MinVisitors) {
		t.Entries, t.Bounces = 0, 0
	}
	return t
}
