// Package fake is a store with believable invented figures, for tests of the dashboard and
// for looking at it while it is being drawn. The same question has the same answer.
package fake

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

// Store answers as *store.Store does. Its fields may be set before it is used.
type Store struct {
	Err      error                       // answers every question, if set
	Empty    bool                        // no event was ever stored
	Quiet    bool                        // there are events, but none in the period
	NoBefore bool                        // nothing in the period compared with
	Here     uint64                      // visitors now
	Values   map[string][]store.PanelRow // rows by dimension, instead of the invented ones
	Email    []store.EmailRow            // instead of the invented ones
	Capped   map[string]int              // days by dimension, as in store.Result

	Least int  // min_visitors
	Small bool // filtered views have fewer visitors, and so has the site now

	mu        sync.Mutex
	overviews []store.OverviewQuery
	queries   []store.Query
}

// Overviews returns the overviews asked for so far.
func (s *Store) Overviews() []store.OverviewQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.overviews)
}

// Queries returns the queries asked so far.
func (s *Store) Queries() []store.Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// Realtime answers Here.
func (s *Store) Realtime(ctx context.Context, _ string) (uint64, error) {
	if s.Small && s.Err == nil {
		return 0, &store.FewError{Min: s.Least}
	}
	return s.Here, cmp.Or(s.Err, ctx.Err())
}

// Overview invents a dashboard.
func (s *Store) Overview(ctx context.Context, q store.OverviewQuery) (*store.Overview, error) {
	s.mu.Lock()
	s.overviews = append(s.overviews, q)
	s.mu.Unlock()
	if err := cmp.Or(s.Err, ctx.Err()); err != nil {
		return nil, err
	}
	o := &store.Overview{HasData: !s.Empty}
	for _, d := range q.Panels {
		o.Panels = append(o.Panels, store.Panel{Dimension: d})
	}
	scale := 1.0
	for range q.Filters {
		scale *= 0.31
	}
	o.Totals, o.Series = series(q.From, q.To, q.Now, q, scale)
	if !q.PrevFrom.IsZero() {
		o.Previous, o.PreviousSeries = series(q.PrevFrom, q.PrevTo, q.Now, q, scale)
	}
	if s.NoBefore {
		o.Previous, o.PreviousSeries = zero(o.PreviousSeries)
	}
	if s.Empty || s.Quiet {
		o.Totals, o.Series = zero(o.Series)
		return o, nil
	}
	o.MinVisitors = s.Least
	if s.Small && len(q.Filters) > 0 {
		o.Totals, o.Series = zero(o.Series)
		o.Totals.Withheld = true
		for i := range o.Series {
			o.Series[i].Withheld = true
		}
		o.Previous, o.PreviousSeries = zero(o.PreviousSeries)
		o.Previous.Withheld = true
		for i := range o.PreviousSeries {
			o.PreviousSeries[i].Withheld = true
		}
		return o, nil
	}
	for i, d := range q.Panels {
		rows := s.rows(d, o.Totals)
		for _, f := range q.Filters {
			if f.Dimension == d && f.Op == "is" {
				rows = slices.DeleteFunc(rows, func(r store.PanelRow) bool { return !slices.Contains(f.Values, r.Value) })
			}
		}
		if q.Limit > 0 && len(rows) > q.Limit {
			rows = rows[:q.Limit]
			o.Panels[i].More = true
		}
		o.Panels[i].Rows, o.Panels[i].Capped = rows, s.Capped[d]
	}
	o.Email = s.Email
	if o.Email == nil {
		o.Email = []store.EmailRow{
			{Campaign: "november-newsletter", Message: "plain", Opens: 7192, Openers: 3844},
			{Campaign: "annual-report", Opens: 6318, Openers: 2916},
			{Campaign: "workshop-invitation", Message: "reminder", Opens: 1891, Openers: 1116},
			{Campaign: "membership-renewal", Opens: 616, Openers: 422},
		}
	}
	return o, nil
}

func zero(ps []store.Point) (store.Totals, []store.Point) {
	out := make([]store.Point, len(ps))
	for i, p := range ps {
		out[i].Time = p.Time
	}
	return store.Totals{}, out
}

// series invents every step of a period.
func series(from, to, now time.Time, q store.OverviewQuery, scale float64) (store.Totals, []store.Point) {
	var sum store.Totals
	var ps []store.Point
	start := period.Start(from.In(q.Zone))
	next := func(t time.Time) time.Time { return period.AddDays(t, 1) }
	switch q.Interval {
	case "time:hour":
		start, next = from.In(q.Zone), func(t time.Time) time.Time { return t.Add(time.Hour) }
	case "time:week":
		start = period.AddDays(start, -(int(start.Weekday())+6)%7)
		next = func(t time.Time) time.Time { return period.AddDays(t, 7) }
	case "time:month":
		start, next = period.AddMonths(start, 0), func(t time.Time) time.Time { return period.AddMonths(t, 1) }
	}
	for t := start; t.Before(to); t = next(t) {
		p := store.Point{Time: t}
		a, b := t, next(t)
		if a.Before(from) {
			a = from
		}
		for _, end := range []time.Time{to, now} {
			if b.After(end) {
				b = end
			}
		}
		for h := a; h.Before(b); h = h.Add(time.Hour) {
			part := math.Min(1, b.Sub(h).Hours())
			v := hourly(h) * part * scale
			p.Visitors += uint64(v)
			p.Visits += uint64(v * 1.22)
			p.PageViews += uint64(v * 3.05 * (1 + 0.1*math.Sin(float64(h.YearDay()))))
			p.Events += uint64(v * 3.4)
			p.VisitViews += uint64(v * 3.0 * (1 + 0.1*math.Sin(float64(h.YearDay()))))
			p.Started += uint64(v * 1.22)
			p.Entries += uint64(v * 1.22)
			p.Bounces += uint64(v * (0.54 + 0.05*math.Sin(float64(h.YearDay())/3)))
			p.Duration += uint64(v * 1.22 * (150 + 20*math.Cos(float64(h.YearDay())/5)))
		}
		sum.Visitors += p.Visitors
		sum.Visits += p.Visits
		sum.PageViews += p.PageViews
		sum.Events += p.Events
		sum.Bounces += p.Bounces
		sum.VisitViews += p.VisitViews
		sum.Started += p.Started
		sum.Entries += p.Entries
		sum.Duration += p.Duration
		ps = append(ps, p)
	}
	return sum, ps
}

// hourly is how many visitors come in an hour: more by day, fewer at weekends, a slow rise,
// and a noise that is always the same.
func hourly(t time.Time) float64 {
	v := 60 + 45*math.Sin(float64(t.Hour()-8)/24*2*math.Pi)
	switch t.Weekday() {
	case time.Saturday, time.Sunday:
		v *= 0.62
	}
	v *= 1 + float64(t.Unix()-1_790_000_000)/30_000_000
	x := uint64(t.Unix()/3600) * 0x9E3779B97F4A7C15
	x ^= x >> 29
	return math.Max(0, v*(0.85+0.3*float64(x%1000)/1000))
}

// LongPath is a path longer than any panel is wide.
const LongPath = "/wissensdatenbank/häufige-fragen/wie-kündige-ich-meine-mitgliedschaft-und-was-geschieht-dann-mit-meinen-daten/antwort"

func (s *Store) rows(dim string, t store.Totals) []store.PanelRow {
	if rows, ok := s.Values[dim]; ok {
		return slices.Clone(rows)
	}
	type part struct {
		value, label string
		share        float64
	}
	var parts []part
	add := func(share float64, value string, label ...string) {
		parts = append(parts, part{value, strings.Join(label, ""), share})
	}
	switch dim {
	case "visit:channel":
		add(.43, "Organic Search")
		add(.233, "Direct")
		add(.151, "Email")
		add(.074, "AI Assistants")
		add(.061, "Referral")
		add(.049, "Organic Social")
	case "visit:source":
		add(.36, "Google")
		add(.233, "Direct / None")
		add(.151, "Email")
		add(.05, "DuckDuckGo")
		add(.041, "ChatGPT")
		add(.032, "Mastodon")
		add(.028, "häuser-für-alle.example")
	case "visit:utm_campaign":
		add(.09, "november-newsletter")
		add(.04, "workshop-invitation")
		add(.011, "jahresbericht-2026")
	case "event:page":
		add(.36, "/")
		add(.2155, "/docs/getting-started")
		add(.162, "/news/2026/annual-report")
		add(.104, LongPath)
		add(.0735, "/events/workshop-berlin")
		add(.065, "/日本語/はじめに")
		add(.03, "/contact")
	case "visit:entry_page":
		add(.41, "/")
		add(.17, "/docs/getting-started")
		add(.12, "/news/2026/annual-report")
		add(.06, "/membership")
	case "visit:exit_page":
		add(.33, "/")
		add(.19, "/docs/getting-started")
		add(.14, "/membership")
	case "visit:country":
		add(.265, "DE")
		add(.228, "US")
		add(.119, "GB")
		add(.074, "NL")
		add(.06, "CI")
		add(.0014, "(few)")
	case "visit:region", "visit:city":
	case "visit:browser":
		add(.52, "Chrome")
		add(.24, "Safari")
		add(.12, "Firefox")
		add(.08, "Microsoft Edge")
		add(.02, "Samsung Browser")
		add(.012, "Opera")
	case "visit:os":
		add(.38, "Windows")
		add(.22, "iOS")
		add(.2, "Android")
		add(.13, "Mac")
		add(.07, "GNU/Linux")
	case "visit:device":
		add(.58, "Desktop")
		add(.37, "Mobile")
		add(.05, "Tablet")
	case "event:name":
		add(.99, "pageview")
		add(.11, "Outbound Link: Click")
		add(.062, "Newsletter: sign up")
		add(.021, "File Download")
	default:
		for i := range 240 {
			add(.3/float64(i+1), dim+" "+string(rune('A'+i%26))+string(rune('a'+i/26)))
		}
	}
	var out []store.PanelRow
	for _, p := range parts {
		n := func(x uint64) uint64 { return uint64(float64(x) * p.share) }
		out = append(out, store.PanelRow{Value: p.value, Label: p.label, Visitors: n(t.Visitors), Visits: n(t.Visits), PageViews: n(t.PageViews),
			Events: n(t.Events), Bounces: n(t.Bounces), Duration: n(t.Duration)})
	}
	return out
}

// Query invents a listing.
func (s *Store) Query(ctx context.Context, q store.Query) (*store.Result, error) {
	s.mu.Lock()
	s.queries = append(s.queries, q)
	s.mu.Unlock()
	if err := cmp.Or(s.Err, ctx.Err()); err != nil {
		return nil, err
	}
	res := &store.Result{Capped: s.Capped}
	if s.Empty || s.Quiet || len(q.Dimensions) != 1 {
		return res, nil
	}
	if res.MinVisitors = s.Least; s.Small && len(q.Filters) > 0 {
		res.Withheld = store.WithheldView
		return res, nil
	}
	f := func(x float64) *float64 { return &x }
	switch q.Dimensions[0] {
	case "time:month":
		return &store.Result{Rows: []store.Row{{Dimensions: []string{"2026-03-01"}, Metrics: []*float64{f(1)}}}}, nil
	case "time:day":
		return &store.Result{Rows: []store.Row{{Dimensions: []string{"2026-03-09"}, Metrics: []*float64{f(1)}}}}, nil
	case "event:props":
		for _, k := range []string{"plan", "url"} {
			res.Rows = append(res.Rows, store.Row{Dimensions: []string{k}, Metrics: []*float64{f(100)}})
		}
		return res, nil
	}
	t, _ := series(q.From, q.To, q.Now, store.OverviewQuery{Zone: q.Zone, Interval: "time:day"}, 1)
	for _, r := range s.rows(q.Dimensions[0], t) {
		if fit(r.Value, q.Filters, q.Dimensions[0]) {
			row := store.Row{Dimensions: []string{r.Value}}
			for _, m := range q.Metrics {
				row.Metrics = append(row.Metrics, value(m, r))
			}
			res.Rows = append(res.Rows, row)
		}
	}
	res.TotalRows = len(res.Rows)
	limit := q.Limit
	if limit == 0 {
		limit = 10000
	}
	lo := min(q.Offset, len(res.Rows))
	res.Rows = res.Rows[lo:min(lo+limit, len(res.Rows))]
	return res, nil
}

func fit(value string, fs []store.Filter, dim string) bool {
	for _, f := range fs {
		if f.Dimension != dim {
			continue
		}
		found := slices.ContainsFunc(f.Values, func(v string) bool {
			if f.Op == "contains" {
				return strings.Contains(strings.ToLower(value), strings.ToLower(v))
			}
			return v == value
		})
		if found == strings.HasSuffix(f.Op, "_not") {
			return false
		}
	}
	return true
}

func value(m string, r store.PanelRow) *float64 {
	per := func(n, by uint64, x float64) *float64 {
		if by == 0 {
			return nil
		}
		v := float64(n) / float64(by) * x
		return &v
	}
	switch m {
	case "visitors":
		return per(r.Visitors, 1, 1)
	case "visits":
		return per(r.Visits, 1, 1)
	case "pageviews":
		return per(r.PageViews, 1, 1)
	case "events":
		return per(r.Events, 1, 1)
	case "views_per_visit":
		return per(r.PageViews, r.Visits, 1)
	case "bounce_rate":
		return per(r.Bounces, r.Visits, 100)
	case "visit_duration", "time_on_page":
		return per(r.Duration, r.Visits, 1)
	case "scroll_depth":
		return per(61, 1, 1)
	}
	return nil
}
