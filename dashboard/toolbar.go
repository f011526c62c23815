package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

// frame is what every page has.
type frame struct {
	Title    string
	User     string
	SignedIn bool
	Fragment bool   // only the part that the script swaps
	Links    []link // to the pages that are of no site
	Refresh  int    // seconds after which a page without script loads again; 0: never
}

// bar is the head of a site's pages: where one is, which period, what it is compared with.
type toolbar struct {
	frame
	Site      string
	Home      string // the dashboard in this view
	Sites     []link
	Live      string // address of the live count
	Values    string // address of the values that can be filtered by
	Here      string // how many are there now, in words; "" if that is not known
	Period    string
	Periods   [][]link
	From, To  string // of the custom range's form
	Action    string // where the forms go
	Hidden    [][2]string
	HiddenAll [][2]string // Hidden and the period
	Dates     string
	Compare   string
	Compares  []link
	Chips     []chip
	Groups    []dimGroup
	Operators []operator
	Last      string // latest date that can be asked for
	// PeriodOnly: neither filters nor comparisons apply.
	PeriodOnly bool
	Bare       bool // nothing to filter and no period to choose: a site without hits
}

type link struct {
	Label, URL string
	Selected   bool
}

// chip is a filter in force.
type chip struct {
	Subject, Object string
	Remove          string
}

type dimGroup struct {
	Label string
	Dims  []dimension
}

// here is how many are on the site now, in words; "" where that cannot be had.
func (h *handler) here(ctx context.Context, site string) string {
	n, err := h.o.Reader.Realtime(ctx, site)
	var few *store.FewError
	switch {
	case errors.As(err, &few):
		return fewerThan(few.Min)
	case err != nil:
		return ""
	}
	return count(n)
}

// toolbar is the head of the site's pages. The live count is left out if it cannot be had.
func (h *handler) toolbar(r *http.Request, v view, page string, extra ...[2]string) toolbar {
	b := toolbar{frame: h.frame(r, v.Site), Site: v.Site, Home: v.url(""), Live: "/" + url.PathEscape(v.Site) + "/live",
		Values: v.url("values"), Operators: operators(), Dates: dates(v.Range)}
	b.Here = h.here(r.Context(), v.Site)
	to := func(v view) string { return v.url(page, extra...) }
	for _, s := range h.visible(r) {
		o := v
		o.Site, o.Filters, o.Tabs = s.Domain, nil, nil
		b.Sites = append(b.Sites, link{s.Domain, o.url(""), s.Domain == v.Site})
	}
	for _, g := range periodNames() {
		var ls []link
		for _, n := range g {
			ls = append(ls, link{n.Label, to(v.withPeriod(n.Name)), v.Range.Name == n.Name})
			if v.Range.Name == n.Name {
				b.Period = n.Label
			}
		}
		b.Periods = append(b.Periods, ls)
	}
	if b.Period == "" {
		b.Period = b.Dates
	}
	b.From, b.To = v.Range.From.Format(time.DateOnly), v.Range.To.Add(-time.Second).Format(time.DateOnly)
	b.Last = v.now.Format(time.DateOnly)
	if b.To > b.Last {
		b.To = b.Last
	}
	for _, c := range []struct{ key, label, short string }{
		{comparePrevious, "Previous period", "vs previous"}, {compareYear, "Same dates a year before", "vs last year"}, {compareOff, "No comparison", "no comparison"},
	} {
		b.Compares = append(b.Compares, link{c.label, to(v.withCompare(c.key)), v.Compare == c.key})
		if v.Compare == c.key {
			b.Compare = c.short
		}
	}
	for i, f := range v.Filters {
		s, o := f.words()
		b.Chips = append(b.Chips, chip{s, o, to(v.withoutFilter(i))})
	}
	b.Action = "/" + url.PathEscape(v.Site)
	if page != "" {
		b.Action += "/" + page
	}
	for _, p := range append(v.pairs(), extra...) {
		b.HiddenAll = append(b.HiddenAll, p)
		if !slices.Contains([]string{"period", "from", "to", "interval"}, p[0]) {
			b.Hidden = append(b.Hidden, p)
		}
	}
	for _, d := range dimensions() {
		if n := len(b.Groups); n == 0 || b.Groups[n-1].Label != d.Group {
			b.Groups = append(b.Groups, dimGroup{Label: d.Group})
		}
		g := &b.Groups[len(b.Groups)-1]
		g.Dims = append(g.Dims, d)
	}
	return b
}

type periodName struct{ Name, Label string }

// periodNames are the periods offered, in groups.
func periodNames() [][]periodName {
	return [][]periodName{
		{{period.Today, "Today"}, {period.Yesterday, "Yesterday"}, {period.Last24h, "Last 24 hours"}},
		{{period.Last7d, "Last 7 days"}, {period.Last28d, "Last 28 days"}, {period.Last30d, "Last 30 days"}, {period.Last91d, "Last 91 days"}},
		{{period.Month, "This month"}, {period.LastMonth, "Last month"}, {period.Last6mo, "Last 6 months"}, {period.Last12mo, "Last 12 months"}},
		{{period.Year, "This year"}, {period.All, "All time"}},
	}
}

// firstDay is the first day on which the site has data, for the period "all".
func (h *handler) firstDay(ctx context.Context, s Site) func() (time.Time, error) {
	return func() (time.Time, error) {
		now := h.now().In(s.Location)
		from, to := time.Date(2000, 1, 1, 0, 0, 0, 0, s.Location), period.AddDays(now, 1)
		// First the month, then the day in it: many years have few months.
		for _, step := range []string{"time:month", "time:day"} {
			res, err := h.o.Reader.Query(ctx, store.Query{
				Site: s.Domain, Zone: s.Location, From: from, To: to, Now: now, LongIDs: s.LongIDs,
				Metrics: []string{"pageviews"}, Dimensions: []string{step}, OrderBy: []store.Order{{By: step}}, Limit: 1,
			})
			if err != nil {
				return time.Time{}, err
			}
			if len(res.Rows) == 0 || len(res.Rows[0].Dimensions) == 0 || len(res.Rows[0].Dimensions[0]) < len(time.DateOnly) {
				return now, nil
			}
			t, err := time.ParseInLocation(time.DateOnly, res.Rows[0].Dimensions[0][:len(time.DateOnly)], s.Location)
			if err != nil {
				return now, nil
			}
			from = period.Start(t)
			if end := period.AddMonths(t, 1); end.Before(to) {
				to = end
			}
		}
		return from, nil
	}
}

// view reads the request's view. It answers a bad one itself and then returns false, as it
// does for a filter that the form without script has sent, which is sent on to its address.
func (h *handler) view(w http.ResponseWriter, r *http.Request, s Site, page string) (view, bool) {
	q := r.URL.Query()
	v, err := parseView(q, s, h.now(), h.firstDay(r.Context(), s))
	if err == nil && q.Has("add") {
		var f filter
		if f, err = formFilter(q); err == nil {
			http.Redirect(w, r, v.withFilter(f).url(page, kept(q)...), http.StatusSeeOther)
			return v, false
		}
	}
	var bad badRequest
	switch {
	case err == nil:
		return v, true
	case errors.As(err, &bad):
		h.problem(w, r, http.StatusBadRequest, "That address does not make sense", sentence(bad.msg))
	default:
		h.failed(w, r, err)
	}
	return v, false
}

// kept are the parameters of the details page, which the filter form carries along.
func kept(q url.Values) [][2]string {
	var p [][2]string
	for _, k := range []string{"by", "q", "sort"} {
		if x := q.Get(k); x != "" {
			p = append(p, [2]string{k, x})
		}
	}
	return p
}

// formFilter reads what the filter form sends: add=dimension, op, value.
func formFilter(q url.Values) (filter, error) {
	dim := q.Get("add")
	if dim == strings.TrimSuffix(propPrefix, ":") {
		dim = propPrefix + q.Get("key")
	}
	f := filter{Op: q.Get("op"), Dim: dim, Values: []string{strings.TrimSpace(q.Get("value"))}}
	if dim == "visit:country" && strings.HasPrefix(f.Op, "is") {
		f.Values[0] = countryCode(f.Values[0])
	}
	f, err := parseFilter(f.String())
	if err != nil {
		return f, badRequest{err.Error()}
	}
	return f, nil
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
