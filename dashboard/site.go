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
	Fragment bool // only the part that the script swaps
	Refresh  int  // seconds after which a page without script loads again; 0: never
}

// bar is the head of a site's pages: where one is, which period, what it is compared with.
type toolbar struct {
	frame
	Site      string
	Home      string // the dashboard in this view
	Sites     []link
	Live      string // address of the live count
	Values    string // address of the values that can be filtered by
	Here      *uint64
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
	Bare      bool   // nothing to filter and no period to choose: a site without hits
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

// sitePage is the dashboard.
type sitePage struct {
	toolbar
	Figures []figure
	Chart   *chart
	Steps   []link
	Series  string // address of the series' CSV
	Panels  []panel
	Props   *propPanel
	Email   *emailPanel
	Books   *booksCard
	Notice  *Notice
	Waiting *waiting
}

// figure is one of the six.
type figure struct {
	Label, Value, Exact string
	URL                 string
	Key                 string
	Selected            bool
	Change              *change
	Before              string
}

// propPanel is an event's properties.
type propPanel struct {
	Event string
	Keys  []propKey
}

type propKey struct {
	Key  string
	Rows []row
	More string
}

// emailPanel is e-mail opens by campaign.
type emailPanel struct {
	Rows []emailRow
	More bool
}

type emailRow struct {
	Campaign, Message, URL string
	Opens, Openers         string
	Bar                    string
}

type booksCard struct {
	Balances                         bool
	Received, Counted, Lost, Pending string
	Dropped                          []booksReason
	URL                              string
}

type booksReason struct{ Reason, Hits string }

// waiting is shown for a site without a hit.
type waiting struct{ Script, Pixel string }

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

// site draws GET /{site}.
func (h *handler) site(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "")
	if !ok {
		return
	}
	var dims []string
	for _, p := range panels() {
		for _, t := range p.Tabs {
			dims = append(dims, t.Dim)
		}
	}
	// One row more than is shown: page views may take a place among the events.
	o, err := h.o.Reader.Overview(r.Context(), v.overview(dims, panelRows+1))
	if err != nil {
		h.failed(w, r, err)
		return
	}
	p := sitePage{toolbar: h.toolbar(r, v, "")}
	p.Title = s.Domain
	if !o.HasData {
		p.Refresh = 10
		p.Waiting, p.Bare = &waiting{}, true
		if h.o.ScriptTag != nil {
			p.Waiting.Script = h.o.ScriptTag(s.Domain)
		}
		if h.o.PixelTag != nil {
			p.Waiting.Pixel = h.o.PixelTag(s.Domain)
		}
		h.render(w, r, http.StatusOK, "site", p)
		return
	}
	m := findMetric(v.Metric)
	if p.Chart, err = newChart(v, m, o); err != nil {
		h.failed(w, r, err)
		return
	}
	p.Series = v.url("series.csv")
	for _, st := range v.Range.Steps() {
		name := st
		if st == v.Range.Step() {
			name = ""
		}
		p.Steps = append(p.Steps, link{strings.ToUpper(st[:1]) + st[1:], v.withStep(name).url(""), st == v.Step})
	}
	p.Figures = figures(v, o)
	p.Panels = fillPanels(v, o)
	if p.Props, err = h.props(r.Context(), v); err != nil {
		h.failed(w, r, err)
		return
	}
	p.Email = fillEmail(v, o.Email)
	h.foot(r.Context(), v, &p)
	h.render(w, r, http.StatusOK, "site", p)
}

func figures(v view, o *store.Overview) []figure {
	var out []figure
	prev, compared := v.previous()
	for _, m := range metrics() {
		f := figure{Key: m.Key, Label: m.Label, Value: "–", URL: v.withMetric(m.Key).url(""), Selected: m.Key == v.Metric}
		if x, ok := m.value(o.Totals); ok {
			f.Value = m.format(x)
			if f.Value == short(x) && x >= 1e7 {
				f.Exact = count(uint64(x))
			}
		}
		if compared {
			f.Change = m.change(o.Totals, o.Previous)
			f.Before = "–"
			if x, ok := m.value(o.Previous); ok {
				f.Before = m.format(x)
			}
			f.Before += ", " + dates(prev)
		}
		out = append(out, f)
	}
	return out
}

func fillPanels(v view, o *store.Overview) []panel {
	byDim := map[string]store.Panel{}
	for _, p := range o.Panels {
		byDim[p.Dimension] = p
	}
	var out []panel
	for _, pd := range panels() {
		p := panel{ID: pd.ID, Title: pd.Title}
		for i, t := range pd.Tabs {
			ft := fillTab(v, pd, t, byDim[t.Dim], o.Totals)
			ft.Selected = v.Tabs[pd.ID] == t.ID || v.Tabs[pd.ID] == "" && i == 0
			p.Tabs = append(p.Tabs, ft)
		}
		out = append(out, p)
	}
	return out
}

// props are the properties of the event that the view is filtered to, nil if it is to none.
func (h *handler) props(ctx context.Context, v view) (*propPanel, error) {
	var event string
	for _, f := range v.Filters {
		if f.Dim == "event:name" && f.Op == "is" && len(f.Values) == 1 {
			event = f.Values[0]
		}
	}
	if event == "" {
		return nil, nil
	}
	// The keys in use, themselves a dimension without a key.
	q := v.query([]string{"visitors"}, []string{strings.TrimSuffix(propPrefix, ":")})
	q.Limit = 6
	res, err := h.o.Reader.Query(ctx, q)
	var refused *store.QueryError
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &propPanel{Event: event}
	for _, r := range res.Rows {
		if len(r.Dimensions) == 0 || r.Dimensions[0] == "" {
			continue
		}
		dim := propPrefix + r.Dimensions[0]
		q := v.query([]string{"visitors", "events"}, []string{dim})
		q.Limit = panelRows + 1
		values, err := h.o.Reader.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		k := propKey{Key: r.Dimensions[0]}
		var top uint64
		for _, x := range values.Rows {
			top = max(top, whole(x, 0))
		}
		for i, x := range values.Rows {
			if i == panelRows {
				k.More = v.url("details", [2]string{"by", dim})
				break
			}
			value := x.Dimensions[0]
			k.Rows = append(k.Rows, row{Label: valueLabel(dim, value, ""), Title: value,
				URL: v.withFilter(filter{Op: "is", Dim: dim, Values: []string{value}}).url(""),
				Bar: bar(whole(x, 0), top), First: count(whole(x, 0)), Second: short(float64(whole(x, 1))), SecondExact: count(whole(x, 1))})
		}
		p.Keys = append(p.Keys, k)
	}
	return p, nil
}

// whole is metric i of a row as a whole number.
func whole(r store.Row, i int) uint64 {
	if i >= len(r.Metrics) || r.Metrics[i] == nil || *r.Metrics[i] < 0 {
		return 0
	}
	return uint64(*r.Metrics[i] + 0.5)
}

func fillEmail(v view, rows []store.EmailRow) *emailPanel {
	p := &emailPanel{}
	var top uint64
	for _, r := range rows {
		top = max(top, r.Openers)
	}
	for i, r := range rows {
		if i == panelRows {
			p.More = true
			break
		}
		e := emailRow{Campaign: valueLabel("", r.Campaign, ""), Message: r.Message,
			Opens: count(r.Opens), Openers: count(r.Openers), Bar: bar(r.Openers, top)}
		e.URL = v.withFilter(filter{Op: "is", Dim: "visit:utm_campaign", Values: []string{r.Campaign}}).url("")
		p.Rows = append(p.Rows, e)
	}
	return p
}

// foot fills the two lines at the foot. They are no reason to withhold the page.
func (h *handler) foot(ctx context.Context, v view, p *sitePage) {
	if h.o.Foot == nil {
		return
	}
	f, err := h.o.Foot(ctx, v.Site, v.Range.From, v.Range.To)
	if err != nil {
		h.o.Log.Warn("dashboard: the foot's figures could not be had", "error", errorText(err))
		return
	}
	p.Notice = f.Notice
	if b := f.Books; b != nil {
		sum := b.Counted + b.Pending
		var lost uint64
		c := &booksCard{Received: count(b.Received), Counted: count(b.Counted), Pending: count(b.Pending), URL: b.URL}
		for _, d := range b.Dropped {
			lost += d.Hits
			c.Dropped = append(c.Dropped, booksReason{d.Reason, count(d.Hits)})
		}
		c.Lost = count(lost)
		c.Balances = sum+lost == b.Received
		p.Books = c
	}
}

// live answers GET /{site}/live: how many are there now.
func (h *handler) live(w http.ResponseWriter, r *http.Request, s Site) {
	n, err := h.o.Reader.Realtime(r.Context(), s.Domain)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.json(w, map[string]uint64{"visitors": n})
}

// toolbar is the head of the site's pages. The live count is left out if it cannot be had.
func (h *handler) toolbar(r *http.Request, v view, page string, extra ...[2]string) toolbar {
	b := toolbar{frame: h.frame(r, v.Site), Site: v.Site, Home: v.url(""), Live: "/" + url.PathEscape(v.Site) + "/live",
		Values: v.url("values"), Operators: operators(), Dates: dates(v.Range)}
	if n, err := h.o.Reader.Realtime(r.Context(), v.Site); err == nil {
		b.Here = &n
	}
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
