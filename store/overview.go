package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

const (
	maxPanels      = 32
	maxPanelRows   = 1000
	emailRows      = 100
	maxSteps       = 20000
	realtimeWindow = 5 * time.Minute
	parallel       = 3 // statements of one overview at once
)

// Realtime counts the visitors with a page view, event or engagement in the last five
// minutes, as of the store's clock.
func (s *Store) Realtime(ctx context.Context, site string) (uint64, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return 0, err
	}
	now := s.now()
	// The site's day is today's, yesterday's or tomorrow's in UTC.
	today := event.DayOf(now.UTC())
	return s.reporter(conn).number(ctx, "realtime", map[string]any{
		"Site": site, "Days": daysIn([]dayRange{{today - 1, today + 1}}),
		"From": now.Add(-realtimeWindow).Unix(), "To": now.Unix(),
	})
}

// Overview answers for a whole dashboard, all of its parts at once. What counts as what is
// told at [Store.Query]. An overview that cannot be asked for is a [*QueryError].
func (s *Store) Overview(ctx context.Context, q OverviewQuery) (*Overview, error) {
	o, err := planOverview(q)
	if err != nil {
		return nil, err
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	for _, sp := range []*span{&o.now, &o.before} {
		if err := r.seal(ctx, q.Site, &sp.period); err != nil {
			return nil, err
		}
	}
	if q.MinVisitors > 0 {
		if err := o.few(ctx, r); err != nil {
			return nil, err
		}
	} else if err := o.route(ctx, r); err != nil {
		return nil, err
	}
	out := &Overview{MinVisitors: q.MinVisitors}
	tasks := []func(context.Context) error{
		func(ctx context.Context) (err error) {
			out.Panels, err = o.panels(ctx, r)
			return err
		},
		func(ctx context.Context) (err error) {
			out.Totals, out.Series, err = o.series(ctx, r, o.now)
			return err
		},
		func(ctx context.Context) (err error) {
			out.Email, err = o.email(ctx, r)
			return err
		},
		func(ctx context.Context) error {
			n, err := r.number(ctx, "has_data", map[string]any{"Site": q.Site})
			out.HasData = n > 0
			return err
		},
	}
	if o.before.to.After(o.before.from) {
		tasks = append(tasks, func(ctx context.Context) (err error) {
			out.Previous, out.PreviousSeries, err = o.series(ctx, r, o.before)
			return err
		})
	}
	return out, inParallel(ctx, tasks)
}

// inParallel runs tasks, a few at once, and returns the first error that is not due to
// another's.
func inParallel(ctx context.Context, tasks []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(tasks))
	slots := make(chan struct{}, parallel)
	for i, task := range tasks {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			if errs[i] = task(ctx); errs[i] != nil {
				cancel()
			}
			<-slots
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// overview is a checked overview query.
type overview struct {
	q           OverviewQuery
	now, before span
	dims        []dimension // of the panels, in order
	ids         []uint8     // their groups in the statement
}

// span is one of the two periods, with the days to read from where.
type span struct {
	from, to time.Time
	filters  []Filter
	period   period
	rolled   rolled
	few      *fewView // with MinVisitors only
}

// shown says which rows of the view's breakdown i may be told, nil: all.
func (sp *span) shown(i int) *fewShown {
	if sp.few == nil {
		return nil
	}
	return &sp.few.shown[i]
}

// stepID is the group of a series' steps, otherID the first of dimensions without a rollup.
const (
	stepID  = 255
	otherID = 128
)

func planOverview(q OverviewQuery) (*overview, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	if err := checkPeriod(q.From, q.To); err != nil {
		return nil, err
	}
	o := &overview{q: q, now: spanOf(q.Zone, q.From, q.To, q.Filters)}
	if !q.PrevFrom.IsZero() || !q.PrevTo.IsZero() {
		if err := checkPeriod(q.PrevFrom, q.PrevTo); err != nil {
			return nil, err
		}
		o.before = spanOf(q.Zone, q.PrevFrom, q.PrevTo, q.Filters)
	}
	d, ok := dimensionOf(q.Interval)
	if !ok || d.kind != dimTime {
		return nil, badQuery("dimensions", "%q is no step of time", q.Interval)
	}
	if n := q.To.Sub(q.From) / time.Hour; q.Interval == "time:hour" && n > maxSteps {
		return nil, badQuery("dimensions", "at most %d steps", maxSteps)
	}
	if err := checkFilters(q.Filters); err != nil {
		return nil, err
	}
	if len(q.Panels) > maxPanels {
		return nil, badQuery("dimensions", "at most %d panels", maxPanels)
	}
	for i, name := range q.Panels {
		d, ok := dimensionOf(name)
		if !ok || d.kind == dimTime || d.kind == dimPropKey {
			return nil, badQuery("dimensions", "no panel is made of %q", name)
		}
		id := d.id
		if d.kind == dimCountryName {
			id, d = countryID, columnOf("visit:country")
		}
		if id == 0 {
			id = uint8(otherID + i)
		}
		o.dims, o.ids = append(o.dims, d), append(o.ids, id)
	}
	if o.q.Limit == 0 {
		o.q.Limit = 10
	}
	if o.q.Limit < 1 || o.q.Limit > maxPanelRows {
		return nil, badQuery("pagination", "between 1 and %d rows a panel", maxPanelRows)
	}
	return o, nil
}

func spanOf(zone *time.Location, from, to time.Time, fs []Filter) span {
	return span{from: from, to: to, filters: fs, period: periodOf(zone, from, to)}
}

// route decides for both periods which days are read from where.
func (o *overview) route(ctx context.Context, r *reporter) (err error) {
	if len(o.q.Filters) > 0 {
		return nil
	}
	for _, sp := range []*span{&o.now, &o.before} {
		if sp.to.After(sp.from) && err == nil {
			sp.rolled, err = r.route(ctx, o.q.Site, &sp.period, o.q.LongIDs)
		}
	}
	return err
}

func (o *overview) scope(sp span) scope {
	return scope{o.q.Zone, sp.from, sp.to, pageGoals(sp.filters)}
}

func (o *overview) panels(ctx context.Context, r *reporter) ([]Panel, error) {
	out := make([]Panel, len(o.dims))
	if o.now.few != nil && o.now.few.withheld {
		for i := range out {
			out[i] = Panel{Dimension: o.q.Panels[i], Rows: []PanelRow{}}
		}
		return out, nil
	}
	// Dimensions without a rollup have a statement of their own, so that one of them does
	// not send all to the events.
	for _, rollable := range []bool{true, false} {
		if err := o.somePanels(ctx, r, out, rollable); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o *overview) somePanels(ctx context.Context, r *reporter, out []Panel, rollable bool) error {
	sp, sc := o.now, o.scope(o.now)
	var k figureKeys
	var rolledIDs []uint8
	var noEmpty []string
	done := map[uint8]bool{}
	for i, d := range o.dims {
		id := o.ids[i]
		if done[id] || (id < otherID) != rollable {
			continue
		}
		done[id] = true
		k.add(id, d, sc, fragment{}, sp.shown(i))
		rolledIDs = append(rolledIDs, id)
		if d.empty == notSet && strings.HasPrefix(d.column, "utm_") {
			continue // told apart below: the value shown is not empty
		}
		if d.empty == "" && d.kind != dimProp {
			noEmpty = append(noEmpty, strconv.Itoa(int(id)))
		}
	}
	if len(done) == 0 {
		return nil
	}
	if !rollable {
		sp.period.raw, sp.rolled = nil, rolled{}
	}
	branches, err := figureBranches(o.q.Site, sp.period, sp.filters, k)
	if err != nil {
		return err
	}
	if sp.rolled.any() {
		fs, err := sp.rolled.figures(o.q.Site, rolledIDs, fragment{})
		if err != nil {
			return err
		}
		branches = append(branches, fs...)
	}
	// Three more than wanted: one tells that there are more, one is dropped as "(not set)", one where it may not be told.
	rows, err := r.figures(ctx, map[string]any{"Branches": branches, "Panels": true, "Limit": o.q.Limit + 3,
		"NoEmpty": strings.Join(noEmpty, ", ")})
	if err != nil {
		return err
	}
	byDim := map[uint8][]figure{}
	for _, f := range rows {
		byDim[f.dim] = append(byDim[f.dim], f)
	}
	for i, d := range o.dims {
		if done[o.ids[i]] {
			rows := byDim[o.ids[i]]
			if shown := sp.shown(i); shown != nil && shown.noRest {
				rows = slices.DeleteFunc(slices.Clone(rows), func(f figure) bool { return f.value == Few })
			}
			out[i] = o.panel(o.q.Panels[i], d, rows)
			out[i].Capped = sp.rolled.cappedDays(o.ids[i])
		}
	}
	return nil
}

// panel is the rows of one dimension. Visits without a campaign are no campaign's.
func (o *overview) panel(name string, d dimension, rows []figure) Panel {
	p := Panel{Dimension: name, Rows: []PanelRow{}}
	names := map[string]string{}
	if d.column == "country" {
		codes, all := countries()
		for i, c := range codes {
			names[c] = all[i]
		}
	}
	for _, f := range rows {
		if f.value == notSet && strings.HasPrefix(d.column, "utm_") {
			continue
		}
		if len(p.Rows) == o.q.Limit {
			p.More = true
			break
		}
		row := PanelRow{Value: f.value, Visitors: f.Visitors, Visits: f.Visits, PageViews: f.PageViews, Events: f.Events}
		if d.visit {
			row.Bounces, row.Duration = f.Bounces, f.Duration
		}
		if few := o.now.few; few != nil && few.nearlyAll(row.Visitors) {
			row = PanelRow{Value: row.Value, PageViews: row.PageViews, Events: row.Events, Withheld: true}
		}
		if o.now.few != nil && !slices.ContainsFunc(o.q.Filters, pinsName) && (f.value == Few || d.name != "event:name" && d.kind != dimGoal) {
			row.Events, row.NoEvents = 0, true
		}
		if n := names[f.value]; n != "" {
			if row.Label = n; name == "visit:country_name" {
				row.Value, row.Label = n, ""
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

func (o *overview) email(ctx context.Context, r *reporter) ([]EmailRow, error) {
	p := o.now.period
	p.raw = nil // opens are not rolled up
	limit := emailRows
	if o.now.few != nil {
		limit = fewCells // small ones are merged first
	}
	rows, err := r.query(ctx, "overview_email", map[string]any{
		"Site": o.q.Site, "Days": p.days(), "Within": p.within(), "Limit": limit})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []EmailRow{}
	for rows.Next() {
		var e EmailRow
		if err := rows.Scan(&e.Campaign, &e.Message, &e.Opens, &e.Openers); err != nil {
			return nil, r.wrap("overview_email", err)
		}
		out = append(out, e)
	}
	if o.now.few != nil {
		out = mergeFew(out, o.q.MinVisitors)
		out = out[:min(len(out), emailRows)]
	}
	return out, r.wrap("overview_email", rows.Err())
}

// columnOf is a dimension that is known to exist.
func columnOf(name string) dimension {
	all := columns()
	return all[slices.IndexFunc(all, func(d dimension) bool { return d.name == name })]
}
