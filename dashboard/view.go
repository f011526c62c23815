package dashboard

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

// defaultPeriod is the period of an address that names none.
const defaultPeriod = period.Last30d

// Ways to compare.
const (
	comparePrevious = "previous"
	compareYear     = "year"
	compareOff      = "off"
)

// view is what the address says is on the screen. All links are made from it.
type view struct {
	Site     string
	Range    period.Range
	Compare  string
	Step     string // "hour", "day", "week", "month"
	Metric   string
	Filters  []filter
	Tabs     map[string]string // panel: tab, where it is not the first
	now      time.Time
	zone     *time.Location
	longIDs  bool
	daily    bool   // there is nothing finer than a day
	stepName string // as asked for; "" for the period's own
	dates    [2]string
}

// parseView reads an address's query. What only decides how things are drawn falls back to
// the default; what decides which numbers are shown is refused in words if it cannot be
// understood. first is asked for the site's first day, for the period "all" alone.
func parseView(q url.Values, s Site, now time.Time, first func() (time.Time, error)) (view, error) {
	v := view{Site: s.Domain, zone: s.Location, longIDs: s.LongIDs, daily: s.Daily, now: now.In(s.Location), Tabs: map[string]string{}}
	name := q.Get("period")
	if name == "" {
		name = defaultPeriod
		if q.Get("from") != "" || q.Get("to") != "" {
			name = period.Custom
		}
	}
	var err error
	var since time.Time
	switch name {
	case period.Custom:
		v.dates = [2]string{q.Get("from"), q.Get("to")}
		v.Range, err = period.Dates(v.dates[0], v.dates[1], s.Location)
	case period.All:
		if since, err = first(); err != nil {
			return v, err
		}
		fallthrough
	default:
		v.Range, err = period.Named(name, now, s.Location, since)
	}
	if errors.Is(err, period.ErrUnknown) {
		return v, badRequest{fmt.Sprintf("there is no period %q. Choose one under the name of the period, at the top of the dashboard", name)}
	}
	if err != nil {
		return v, badRequest{err.Error()}
	}
	if n := v.Range.Days(); n > 36600 {
		return v, badRequest{fmt.Sprintf("a period of %d days is too long", n)}
	}
	switch v.Compare = q.Get("compare"); v.Compare {
	case compareYear, compareOff:
	default:
		v.Compare = comparePrevious
	}
	if name == period.All {
		v.Compare = compareOff // nothing lies before all
	}
	v.Step = v.step()
	if st := q.Get("interval"); st != v.Step && slices.Contains(v.steps(), st) {
		v.Step, v.stepName = st, st
	}
	v.Metric = findMetric(q.Get("metric")).Key
	if len(q["f"]) > maxFilters {
		return v, badRequest{fmt.Sprintf("there are more than %d filters", maxFilters)}
	}
	for _, s := range q["f"] {
		f, err := parseFilter(s)
		if err != nil {
			return v, badRequest{err.Error()}
		}
		v.Filters = append(v.Filters, f)
	}
	for _, p := range panels() {
		for i, t := range p.Tabs {
			if i > 0 && q.Get(p.ID) == t.ID {
				v.Tabs[p.ID] = t.ID
			}
		}
	}
	return v, nil
}

// badRequest is an address that asks for what there is not; its text is for people.
type badRequest struct{ msg string }

func (e badRequest) Error() string { return e.msg }

// pairs are the view's parameters in their fixed order, defaults left out.
func (v view) pairs() [][2]string {
	var p [][2]string
	add := func(k, val, def string) {
		if val != def {
			p = append(p, [2]string{k, val})
		}
	}
	add("period", v.Range.Name, defaultPeriod)
	add("from", v.dates[0], "")
	add("to", v.dates[1], "")
	if v.Range.Name != period.All {
		add("compare", v.Compare, comparePrevious)
	}
	add("interval", v.stepName, "")
	add("metric", v.Metric, metrics()[0].Key)
	for _, f := range v.Filters {
		p = append(p, [2]string{"f", f.String()})
	}
	for _, pn := range panels() {
		add(pn.ID, v.Tabs[pn.ID], "")
	}
	return p
}

// url is the address of the view on the page called page ("" for the dashboard itself).
func (v view) url(page string, extra ...[2]string) string {
	var b strings.Builder
	b.WriteString("/" + url.PathEscape(v.Site))
	if page != "" {
		b.WriteString("/" + page)
	}
	sep := byte('?')
	for _, p := range append(v.pairs(), extra...) {
		b.WriteByte(sep)
		b.WriteString(p[0] + "=" + escapeQuery(p[1]))
		sep = '&'
	}
	return b.String()
}

// escapeQuery is url.QueryEscape that leaves readable what an address may hold as it is.
func escapeQuery(s string) string {
	return strings.NewReplacer("%3A", ":", "%2C", ",", "%2F", "/", "+", "%20").Replace(url.QueryEscape(s))
}

// The view with one thing changed. The receivers are copies; slices and maps are cloned.

func (v view) withPeriod(name string) view {
	v.Range = period.Range{Name: name}
	v.dates = [2]string{}
	v.stepName = ""
	return v
}

func (v view) withCompare(c string) view { v.Compare = c; return v }

func (v view) withMetric(m string) view { v.Metric = m; return v }

func (v view) withStep(s string) view { v.stepName = s; return v }

func (v view) withTab(panel, tab string) view {
	t := map[string]string{}
	for k, x := range v.Tabs {
		t[k] = x
	}
	t[panel] = tab
	v.Tabs = t
	return v
}

// withFilter adds f; an equal one is there once, and "is" of the same dimension is replaced.
func (v view) withFilter(f filter) view {
	fs := slices.Clone(v.Filters)
	fs = slices.DeleteFunc(fs, func(o filter) bool {
		return o.String() == f.String() || f.Op == "is" && o.Op == "is" && o.Dim == f.Dim
	})
	v.Filters = append(fs, f)
	return v
}

func (v view) withoutFilter(i int) view {
	v.Filters = slices.Delete(slices.Clone(v.Filters), i, i+1)
	return v
}

// previous is the period compared with; ok is false if there is none.
func (v view) previous() (period.Range, bool) {
	var p period.Range
	switch v.Compare {
	case comparePrevious:
		p = v.Range.Previous(v.now)
	case compareYear:
		p = v.Range.YearBefore(v.now)
	}
	// The year before may lack the day: 29 February.
	return p, p.From.Before(p.To)
}

func (v view) storeFilters() []store.Filter {
	var fs []store.Filter
	for _, f := range v.Filters {
		fs = append(fs, f.store())
	}
	return fs
}

// overview is the view as the store is asked for it.
func (v view) overview(dims []string, limit int) store.OverviewQuery {
	q := store.OverviewQuery{
		Site: v.Site, Zone: v.zone, From: v.Range.From, To: v.Range.To, Now: v.now,
		Interval: "time:" + v.Step, Filters: v.storeFilters(), Panels: dims, Limit: limit, LongIDs: v.longIDs,
	}
	if p, ok := v.previous(); ok {
		q.PrevFrom, q.PrevTo = p.From, p.To
	}
	return q
}

// query asks for metrics by dimensions over the view's period.
func (v view) query(metrics, dims []string) store.Query {
	return store.Query{
		Site: v.Site, Zone: v.zone, From: v.Range.From, To: v.Range.To, Now: v.now,
		Metrics: metrics, Dimensions: dims, Filters: v.storeFilters(), LongIDs: v.longIDs,
	}
}

// steps are those of the period that the site's series may have, finest first.
func (v view) steps() []string {
	steps := v.Range.Steps()
	if !v.daily {
		return steps
	}
	if steps = slices.DeleteFunc(slices.Clone(steps), func(s string) bool { return s == period.Hourly }); len(steps) == 0 {
		steps = []string{period.Daily}
	}
	return steps
}

// step is the one shown unless another is chosen.
func (v view) step() string {
	if st := v.Range.Step(); slices.Contains(v.steps(), st) {
		return st
	}
	return v.steps()[0]
}
