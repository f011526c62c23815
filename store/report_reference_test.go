package store

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// reference answers queries from events in memory, row by row and visit by visit, with
// nothing in common with the statements but the rules of the Stats API.
type reference struct{ events []event.Event }

type refVisit struct {
	rows []event.Event // kinds 1 to 3, in order of time
}

func (r *reference) in(q Query, e *event.Event) bool {
	t := time.Unix(e.Time, 0)
	return e.Site == q.Site && e.Kind <= event.Engagement && !t.Before(q.From) && t.Before(q.To)
}

func (r *reference) visits(site string) map[uint64]*refVisit {
	out := map[uint64]*refVisit{}
	for _, e := range r.events {
		if e.Site != site || e.Kind > event.Engagement || e.Visit.ID == 0 {
			continue
		}
		v := out[e.Visit.ID]
		if v == nil {
			v = &refVisit{}
			out[e.Visit.ID] = v
		}
		v.rows = append(v.rows, e)
	}
	for _, v := range out {
		sort.SliceStable(v.rows, func(i, j int) bool {
			a, b := v.rows[i], v.rows[j]
			if a.Time != b.Time {
				return a.Time < b.Time
			}
			if a.Seq != b.Seq {
				return a.Seq < b.Seq
			}
			return a.ID>>48 < b.ID>>48
		})
	}
	return out
}

func (v *refVisit) exitPage() string {
	page := ""
	for _, e := range v.rows {
		if e.Kind == event.PageView {
			page = e.Page
		}
	}
	return page
}

func refProp(e *event.Event, key string) (string, bool) {
	for _, p := range e.Props {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// raw is a dimension's value as stored.
func (r *reference) raw(dim string, e *event.Event, visits map[uint64]*refVisit) string {
	v := &e.Visit
	switch dim {
	case "event:name":
		return e.Name
	case "event:page":
		return e.Page
	case "event:hostname":
		return e.Hostname
	case "visit:entry_page":
		return v.EntryPage
	case "visit:exit_page":
		if vis := visits[v.ID]; v.ID != 0 && vis != nil {
			return vis.exitPage()
		}
		return ""
	case "visit:source":
		return v.Source
	case "visit:referrer":
		return v.Referrer
	case "visit:channel":
		return v.Channel
	case "visit:utm_campaign":
		return v.UTMCampaign
	case "visit:utm_medium":
		return v.UTMMedium
	case "visit:browser":
		return v.Browser
	case "visit:os":
		return v.OS
	case "visit:device":
		return v.Device
	case "visit:country":
		return v.Country
	case "visit:country_name":
		return map[string]string{"": "", "DE": "Germany", "FR": "France", "JP": "Japan", "ZZ": "ZZ"}[v.Country]
	case "visit:region_name":
		return v.RegionName
	case "visit:city", "visit:city_name":
		return v.City
	}
	panic("reference: " + dim)
}

func refShown(dim, v string) string {
	if v != "" {
		return v
	}
	switch dim {
	case "visit:source", "visit:referrer":
		return "Direct / None"
	case "visit:channel":
		return "Direct"
	case "visit:utm_campaign", "visit:utm_medium", "visit:browser", "visit:os", "visit:device":
		return "(not set)"
	}
	return v
}

func refPageGoal(goal, page string) bool {
	p := regexp.QuoteMeta(strings.TrimPrefix(goal, "Visit "))
	p = strings.NewReplacer(`\*\*`, ".*", `\*`, ".*").Replace(p)
	return regexp.MustCompile("^" + p + "$").MatchString(page)
}

// holds evaluates a filter on one event.
func (r *reference) holds(f Filter, e *event.Event, visits map[uint64]*refVisit, pageIsEntry bool) bool {
	switch f.Op {
	case "and":
		return r.all(f.Filters, e, visits, pageIsEntry)
	case "or":
		return slices.ContainsFunc(f.Filters, func(c Filter) bool { return r.holds(c, e, visits, pageIsEntry) })
	case "not":
		return !r.holds(f.Filters[0], e, visits, pageIsEntry)
	}
	op, negative := strings.CutSuffix(f.Op, "_not")
	fits := func(v string) bool {
		for _, want := range f.Values {
			have := v
			if f.IgnoreCase {
				have, want = strings.ToLower(have), strings.ToLower(want)
			}
			switch op {
			case "is":
				if have == want {
					return true
				}
			case "contains":
				if strings.Contains(have, want) {
					return true
				}
			case "matches":
				if regexp.MustCompile(want).MatchString(have) {
					return true
				}
			}
		}
		return false
	}
	if key, ok := strings.CutPrefix(f.Dimension, "event:props:"); ok {
		v, has := refProp(e, key)
		if op != "is" {
			return has && fits(v) != negative
		}
		yes := has && fits(v) || v == "" && slices.Contains(f.Values, "(none)")
		return yes != negative
	}
	if f.Dimension == "event:goal" {
		yes := e.Kind == event.Custom && fits(e.Name)
		if op == "is" && e.Kind == event.PageView {
			for _, g := range f.Values {
				yes = yes || strings.HasPrefix(g, "Visit /") && refPageGoal(g, e.Page)
			}
		}
		return yes != negative
	}
	dim := f.Dimension
	if pageIsEntry && dim == "event:page" {
		dim = "visit:entry_page"
	}
	v := r.raw(dim, e, visits)
	yes := fits(v)
	if op == "is" && v == "" && refShown(dim, "") != "" {
		yes = yes || slices.Contains(f.Values, refShown(dim, "")) || slices.Contains(f.Values, "(not set)") ||
			slices.Contains(f.Values, "Direct / None")
	}
	return yes != negative
}

func (r *reference) all(fs []Filter, e *event.Event, visits map[uint64]*refVisit, pageIsEntry bool) bool {
	for _, f := range fs {
		if !r.holds(f, e, visits, pageIsEntry) {
			return false
		}
	}
	return true
}

func refStep(dim string, t int64, q Query) string {
	l := time.Unix(t, 0).In(q.Zone)
	switch dim {
	case "time:hour":
		return l.Format("2006-01-02 15:00:00")
	case "time:week":
		monday := l.AddDate(0, 0, -(int(l.Weekday())+6)%7).Format(time.DateOnly)
		return max(monday, q.From.In(q.Zone).Format(time.DateOnly))
	case "time:month":
		return l.Format("2006-01") + "-01"
	}
	return l.Format(time.DateOnly)
}

// keys are the groups that an event belongs to: more than one where it meets several goals.
func (r *reference) keys(dims []string, e *event.Event, t int64, q Query, visits map[uint64]*refVisit) [][]string {
	out := [][]string{{}}
	for _, dim := range dims {
		var values []string
		switch {
		case strings.HasPrefix(dim, "time"):
			values = []string{refStep(dim, t, q)}
		case dim == "event:goal":
			if e.Kind == event.Custom {
				values = append(values, e.Name)
			}
			if e.Kind == event.PageView {
				for _, f := range q.Filters {
					if f.Dimension == "event:goal" && f.Op == "is" {
						for _, g := range f.Values {
							if strings.HasPrefix(g, "Visit /") && refPageGoal(g, e.Page) && !slices.Contains(values, g) {
								values = append(values, g)
							}
						}
					}
				}
			}
		case dim == "event:props":
			for _, p := range e.Props {
				values = append(values, p.Key)
			}
		case strings.HasPrefix(dim, "event:props:"):
			v, _ := refProp(e, strings.TrimPrefix(dim, "event:props:"))
			if v == "" {
				v = "(none)"
			}
			values = []string{v}
		default:
			values = []string{refShown(dim, r.raw(dim, e, visits))}
		}
		var next [][]string
		for _, k := range out {
			for _, v := range values {
				next = append(next, append(slices.Clone(k), v))
			}
		}
		out = next
	}
	return out
}

type refGroup struct {
	dims                           []string
	hits, pageviews                int
	visitors, visits               map[uint64]bool
	whole, views, entries, bounces int
	duration                       int64
	depth                          map[uint64]int
	engaged                        int
	groupVisitors                  map[uint64]bool
}

func refRound(v float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Floor(v*p+0.5+1e-9) / p
}

// groups counts what q asks for, before rates are made of it.
func (r *reference) groups(q Query) (groups map[string]*refGroup, dims []string, total, bareTotal map[uint64]bool) {
	dims = slices.Clone(q.Dimensions)
	for i, d := range dims {
		if d == "time" {
			dims[i] = q.TimeDimension()
		}
	}
	visits := r.visits(q.Site)
	groups = map[string]*refGroup{}
	get := func(k []string) *refGroup {
		id := strings.Join(k, "\x00")
		g := groups[id]
		if g == nil {
			g = &refGroup{dims: k, visitors: map[uint64]bool{}, visits: map[uint64]bool{}, depth: map[uint64]int{}, groupVisitors: map[uint64]bool{}}
			groups[id] = g
		}
		return g
	}
	if len(dims) == 0 {
		get([]string{})
	}
	bare := slices.DeleteFunc(slices.Clone(q.Filters), func(f Filter) bool {
		return f.Dimension == "event:goal" || strings.HasPrefix(f.Dimension, "event:props:")
	})
	total, bareTotal = map[uint64]bool{}, map[uint64]bool{}
	for i := range r.events {
		e := &r.events[i]
		if !r.in(q, e) {
			continue
		}
		counted := e.Kind < event.Engagement
		if counted && e.Visit.ID != 0 && r.all(bare, e, visits, false) {
			bareTotal[e.VisitorID] = true
			for _, k := range r.keys(dims, e, e.Time, q, visits) {
				get(k).groupVisitors[e.VisitorID] = true
			}
		}
		if !r.all(q.Filters, e, visits, false) {
			continue
		}
		for _, k := range r.keys(dims, e, e.Time, q, visits) {
			g := get(k)
			if !counted {
				if e.Visit.ID != 0 {
					g.depth[e.Visit.ID] = max(g.depth[e.Visit.ID], int(e.Scroll))
					g.engaged += int(e.EngagedMS)
				}
				continue
			}
			g.hits++
			if e.Kind == event.PageView {
				g.pageviews++
			}
			if e.Visit.ID != 0 {
				g.visitors[e.VisitorID] = true
				g.visits[e.Visit.ID] = true
			}
		}
		if counted && e.Visit.ID != 0 {
			total[e.VisitorID] = true
		}
	}
	byPage := slices.Contains(dims, "event:page")
	visitOnly := !slices.ContainsFunc(q.Metrics, func(m string) bool {
		return m != "bounce_rate" && m != "visit_duration" && m != "views_per_visit"
	})
	if !slices.ContainsFunc(dims, func(d string) bool {
		return d == "event:goal" || d == "event:name" || strings.HasPrefix(d, "event:props")
	}) {
		for _, v := range visits {
			var first *event.Event
			views, acts := 0, 0
			for i := range v.rows {
				e := &v.rows[i]
				if e.Kind == event.PageView {
					views++
				}
				if e.Kind == event.Custom && e.Interactive {
					acts++
				}
				if first == nil && e.Kind < event.Engagement && r.in(q, e) && r.all(q.Filters, e, visits, byPage) {
					first = e
				}
			}
			if first == nil {
				continue
			}
			shown := *first
			if byPage {
				shown.Page = shown.Visit.EntryPage
			}
			for _, e := range v.rows {
				if e.Kind < event.Engagement {
					shown.Hostname = e.Hostname
					break
				}
			}
			entered := true
			for _, f := range q.Filters {
				if f.Dimension == "event:page" && !byPage {
					entered = entered && r.holds(f, first, visits, true)
				}
			}
			for _, k := range r.keys(dims, &shown, first.Time, q, visits) {
				g := get(k)
				if visitOnly {
					g.hits++
				}
				g.whole++
				g.views += views
				g.duration += v.rows[len(v.rows)-1].Time - v.rows[0].Time
				if entered {
					g.entries++
					if views == 1 && acts == 0 {
						g.bounces++
					}
				}
			}
		}
	}
	if visitOnly && len(dims) > 0 {
		for _, g := range groups {
			g.hits = g.whole
		}
	}
	return groups, dims, total, bareTotal
}

// query answers q completely: all rows, ordered, before Limit and Offset are applied.
func (r *reference) query(q Query) []Row {
	groups, dims, total, bareTotal := r.groups(q)
	rows := []Row{}
	for _, g := range groups {
		if g.hits == 0 && len(dims) > 0 {
			continue
		}
		row := Row{Dimensions: g.dims}
		for _, m := range q.Metrics {
			v := math.NaN()
			ratio := func(a, b float64, decimals int, otherwise float64) {
				if v = otherwise; b != 0 {
					v = refRound(a/b, decimals)
				}
			}
			switch m {
			case "visitors":
				v = float64(len(g.visitors))
			case "visits":
				v = float64(len(g.visits))
			case "pageviews":
				v = float64(g.pageviews)
			case "events":
				v = float64(g.hits)
			case "views_per_visit":
				ratio(float64(g.views), float64(g.whole), 2, 0)
			case "bounce_rate":
				ratio(100*float64(g.bounces), float64(g.entries), 0, 0)
			case "visit_duration":
				ratio(float64(g.duration), float64(g.whole), 0, 0)
			case "scroll_depth":
				sum := 0
				for _, d := range g.depth {
					sum += d
				}
				ratio(float64(sum), float64(len(g.depth)), 0, math.NaN())
			case "time_on_page":
				ratio(float64(g.engaged)/1000, float64(len(g.depth)), 0, math.NaN())
			case "percentage":
				ratio(100*float64(len(g.visitors)), float64(len(total)), 1, math.NaN())
			case "conversion_rate":
				ratio(100*float64(len(g.visitors)), float64(len(bareTotal)), 1, 0)
			case "group_conversion_rate":
				ratio(100*float64(len(g.visitors)), float64(len(g.groupVisitors)), 1, 0)
			}
			var p *float64
			if !math.IsNaN(v) {
				p = &v
			}
			row.Metrics = append(row.Metrics, p)
		}
		rows = append(rows, row)
	}
	r.sort(q, dims, rows)
	return rows
}

func (r *reference) sort(q Query, dims []string, rows []Row) {
	order := slices.Clone(q.OrderBy)
	if len(order) == 0 {
		for _, d := range dims {
			if strings.HasPrefix(d, "time") {
				order = append(order, Order{By: d})
			}
		}
		order = append(order, Order{By: q.Metrics[0], Desc: true})
	}
	for _, d := range dims {
		order = append(order, Order{By: d})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		for _, o := range order {
			c := 0
			if o.By == "time" {
				o.By = q.TimeDimension()
			}
			if i := slices.Index(dims, o.By); i >= 0 {
				c = strings.Compare(a.Dimensions[i], b.Dimensions[i])
			} else if i := slices.Index(q.Metrics, o.By); i >= 0 {
				x, y := a.Metrics[i], b.Metrics[i]
				switch {
				case x == nil && y == nil:
				case x == nil:
					return 1
				case y == nil:
					return -1
				case *x < *y:
					c = -1
				case *x > *y:
					c = 1
				}
			}
			if o.Desc {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// show writes rows so that two answers can be compared and read.
func show(rows []Row) string {
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%q", row.Dimensions)
		for _, m := range row.Metrics {
			if m == nil {
				b.WriteString(" nil")
			} else {
				fmt.Fprintf(&b, " %v", *m)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (g *refGroup) totals() Totals {
	return Totals{Visitors: uint64(len(g.visitors)), Visits: uint64(len(g.visits)), PageViews: uint64(g.pageviews), Events: uint64(g.hits),
		Bounces: uint64(g.bounces), Duration: uint64(g.duration), VisitViews: uint64(g.views), Started: uint64(g.whole), Entries: uint64(g.entries)}
}

// overview answers a dashboard's question.
func (r *reference) overview(o OverviewQuery) *Overview {
	ask := func(from, to time.Time, dims ...string) map[string]*refGroup {
		groups, _, _, _ := r.groups(Query{Site: o.Site, Zone: o.Zone, From: from, To: to, Filters: o.Filters, Dimensions: dims, Metrics: []string{"visitors"}})
		return groups
	}
	series := func(from, to time.Time) (Totals, []Point) {
		var points []Point
		q := Query{Site: o.Site, Zone: o.Zone, From: from, To: to}
		groups := ask(from, to, o.Interval)
		last := ""
		l := from.In(o.Zone)
		for t := time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, o.Zone); t.Before(to); t = t.Add(time.Minute) {
			label := refStep(o.Interval, t.Unix(), q)
			if label < refStep(o.Interval, from.Unix(), q) || label <= last { // also the hour that comes a second time
				continue
			}
			last = label
			p := Point{Time: t}
			if g := groups[label]; g != nil {
				p.Totals = g.totals()
			}
			points = append(points, p)
		}
		return ask(from, to)[""].totals(), points
	}
	out := &Overview{HasData: len(r.events) > 0, Email: []EmailRow{}}
	out.Totals, out.Series = series(o.From, o.To)
	if !o.PrevFrom.IsZero() {
		out.Previous, out.PreviousSeries = series(o.PrevFrom, o.PrevTo)
	}
	for _, dim := range o.Panels {
		p := Panel{Dimension: dim, Rows: []PanelRow{}}
		groups := ask(o.From, o.To, dim)
		keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
			return cmp.Or(-cmp.Compare(len(groups[a].visitors), len(groups[b].visitors)), strings.Compare(a, b))
		})
		for _, v := range keys {
			g := groups[v]
			if g.hits == 0 || v == "" || v == "(not set)" && strings.Contains(dim, "utm") {
				continue
			}
			if len(p.Rows) == o.Limit {
				p.More = true
				break
			}
			t := g.totals()
			row := PanelRow{Value: v, Visitors: t.Visitors, Visits: t.Visits, PageViews: t.PageViews, Events: t.Events}
			if strings.HasPrefix(dim, "visit:") {
				row.Bounces, row.Duration = t.Bounces, t.Duration
			}
			if dim == "visit:country" {
				row.Label = map[string]string{"DE": "Germany", "FR": "France", "JP": "Japan"}[v]
			}
			p.Rows = append(p.Rows, row)
		}
		out.Panels = append(out.Panels, p)
	}
	type campaign struct{ campaign, message string }
	opens, openers := map[campaign]uint64{}, map[campaign]map[uint64]bool{}
	for _, e := range r.events {
		t := time.Unix(e.Time, 0)
		if e.Site != o.Site || e.Kind != event.EmailOpen || t.Before(o.From) || !t.Before(o.To) {
			continue
		}
		k := campaign{e.Visit.UTMCampaign, e.Visit.UTMContent}
		if opens[k]++; openers[k] == nil {
			openers[k] = map[uint64]bool{}
		}
		openers[k][e.VisitorID] = true
	}
	for k, n := range opens {
		out.Email = append(out.Email, EmailRow{Campaign: k.campaign, Message: k.message, Opens: n, Openers: uint64(len(openers[k]))})
	}
	slices.SortFunc(out.Email, func(a, b EmailRow) int {
		return cmp.Or(-cmp.Compare(a.Opens, b.Opens), strings.Compare(a.Campaign, b.Campaign), strings.Compare(a.Message, b.Message))
	})
	return out
}
