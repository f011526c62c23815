package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kantarainitiative/footfall/store"
)

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

	TooOld   string // since when old data could not be removed, "": it is not so
	Withheld string // why there is not all of it, "" if there is
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
	Erased, Disposed                 string // "": none
	Dropped                          []booksReason
	URL                              string
}

type booksReason struct{ Reason, Hits string }

// waiting is shown for a site without a hit.
type waiting struct{ Script, Pixel string }

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
	if h.o.TooOld != nil {
		if since := h.o.TooOld(s.Domain); !since.IsZero() {
			p.TooOld = since.In(v.zone).Format("2 Jan 2006, 15:04")
		}
	}
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
	if h.o.Ledger != nil {
		outages, err := h.o.Ledger.Outages(r.Context(), v.Site, v.Range.From, v.Range.To)
		if err != nil { // no reason to withhold the page
			h.o.Log.Warn("dashboard: the outages could not be had", "error", errorText(err))
		}
		p.Chart.hatch(v, o.Series, outages)
	}
	p.Series = v.url("series.csv")
	for _, st := range v.steps() {
		name := st
		if st == v.step() {
			name = ""
		}
		p.Steps = append(p.Steps, link{strings.ToUpper(st[:1]) + st[1:], v.withStep(name).url(""), st == v.Step})
	}
	if o.Totals.Withheld {
		p.Withheld = withheld(o.MinVisitors)
	} else if n := withheldSteps(v, o.Series); n > 0 {
		p.Withheld = fmt.Sprintf("Steps of the graph with %s visitors are withheld: %d of them.", fewerThan(o.MinVisitors), n)
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

// withheldSteps counts the steps so far that may not be told.
func withheldSteps(v view, series []store.Point) (n int) {
	for _, p := range series {
		if p.Withheld && !p.Time.After(v.now) {
			n++
		}
	}
	return n
}

func figures(v view, o *store.Overview) []figure {
	var out []figure
	prev, compared := v.previous()
	for _, m := range metrics() {
		f := figure{Key: m.Key, Label: m.Label, Value: "–", URL: v.withMetric(m.Key).url(""), Selected: m.Key == v.Metric}
		if o.Totals.Withheld {
			f.Exact = withheld(o.MinVisitors)
		}
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
			if o.Totals.Withheld {
				ft.Empty = withheld(o.MinVisitors)
			}
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
			w := row{Label: valueLabel(dim, value, ""), Title: value, URL: v.valueURL(dim, value, 0),
				Bar: bar(whole(x, 0), top), First: count(whole(x, 0)), Second: "–"}
			if len(x.Metrics) > 1 && x.Metrics[1] != nil { // else withheld
				w.Second, w.SecondExact = short(float64(whole(x, 1))), count(whole(x, 1))
			}
			k.Rows = append(k.Rows, w)
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
		e.URL = v.valueURL("visit:utm_campaign", r.Campaign, 0)
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
		sum := b.Counted + b.Erased + b.Disposed + b.Pending
		var lost uint64
		c := &booksCard{Received: count(b.Received), Counted: count(b.Counted), Pending: count(b.Pending), URL: b.URL}
		if b.Erased > 0 {
			c.Erased = count(b.Erased)
		}
		if b.Disposed > 0 {
			c.Disposed = count(b.Disposed)
		}
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
	var few *store.FewError
	if errors.As(err, &few) {
		h.json(w, map[string]any{"visitors": nil, "fewer_than": few.Min})
		return
	}
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.json(w, map[string]uint64{"visitors": n})
}
