package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

// Size of the chart's plot in CSS pixels; its width is the reader's. The script draws into
// the same box.
const (
	plotTop    = 10
	plotHeight = 200
	plotWidth  = 1000 // of the drawing, stretched to the box
)

// chart is the main graph: a drawing, the data behind it for the script, and a table.
type chart struct {
	Metric         string // label
	Step           string
	Summary        string // for those who do not see it
	Period, Before string // legend; Before is "" without comparison
	NoBefore       string // the period compared with, if nothing was counted in it
	Running        bool
	Empty          bool
	Height, Base   int
	Area, Line     string // SVG paths
	Run, Prev      string
	Dots           []dot
	Outages        []outageMark
	OutageWords    string // legend; "" without outages
	YTicks         []ytick
	XTicks         []xtick
	Data           string // JSON for the script
	Head           []string
	Rows           []chartRow
}

type dot struct{ X, Y string }

// outageMark is a hatched stretch of the plot, in percent.
type outageMark struct{ X, Width string }

type ytick struct {
	Y     int
	Label string
}

type xtick struct {
	X     string // percent
	Label string
	Local string // date and time on the site's clock, for the script
	Minor bool   // left out where there is little room
}

type chartRow struct {
	Label, Local string
	Future       bool
	Running      bool
	Cells        []string
	Before       string
}

// chartData is what the script draws from. Nulls are steps without a value.
type chartData struct {
	Metric  string     `json:"metric"`
	Label   string     `json:"label"`
	Step    string     `json:"step"`
	Local   []string   `json:"local"`            // each step's start on the site's own clock
	Now     []*float64 `json:"now"`              // this period
	Prev    []*float64 `json:"prev,omitempty"`   // the one compared with, step by step
	PrevAt  []string   `json:"prevAt,omitempty"` // its steps' starts
	Running int        `json:"running"`          // index of the step that is not over, or -1
	Ticks   []float64  `json:"ticks"`            // of the value axis
	Labels  []string   `json:"labels"`           // of the ticks, in English
	Every   int        `json:"every"`            // a label at each so many steps
}

const localLayout = "2006-01-02T15:04"

// newChart draws metric m of an overview.
func newChart(v view, m metric, o *store.Overview) (*chart, error) {
	c := &chart{Metric: m.Label, Step: v.Step, Height: plotTop + plotHeight + 26, Base: plotTop + plotHeight, Period: "This period"}
	n := len(o.Series)
	d := chartData{Metric: m.Key, Label: m.Label, Step: v.Step, Running: -1, Every: labelEvery(n, v.Step)}
	top := 0.0
	for i, p := range o.Series {
		d.Local = append(d.Local, p.Time.In(v.zone).Format(localLayout))
		d.Now = append(d.Now, nil)
		if p.Time.After(v.now) {
			continue
		}
		d.Now[i] = valueOf(m, p.Totals)
		if end := stepEnd(p.Time.In(v.zone), v.Step); v.now.Before(end) {
			d.Running, c.Running = i, true
		}
		if x := d.Now[i]; x != nil {
			top = math.Max(top, *x)
		}
	}
	prev, compared := v.previous()
	if compared && nothing(o.Previous) {
		c.NoBefore = dates(prev)
		compared = false // a line along the axis would say nothing
	}
	if compared {
		c.Before = dates(prev)
		for i := range n {
			d.Prev = append(d.Prev, nil)
			d.PrevAt = append(d.PrevAt, "")
			if i >= len(o.PreviousSeries) {
				continue
			}
			p := o.PreviousSeries[i]
			if !p.Time.Before(prev.To) {
				continue
			}
			d.PrevAt[i] = p.Time.In(v.zone).Format(localLayout)
			d.Prev[i] = valueOf(m, p.Totals)
			if x := d.Prev[i]; x != nil {
				top = math.Max(top, *x)
			}
		}
	}
	c.Empty = top == 0
	d.Ticks = ticks(top, m)
	scale := d.Ticks[len(d.Ticks)-1]
	d.Labels = tickLabels(d.Ticks, m)
	for i, t := range d.Ticks {
		c.YTicks = append(c.YTicks, ytick{Y: yOf(t, scale), Label: d.Labels[i]})
	}
	c.XTicks = xTicks(d, o.Series, v)
	c.draw(d, scale)
	c.table(v, m, o, d)
	c.Summary = summary(m, d, v)
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("dashboard: chart: %w", err)
	}
	c.Data = string(data)
	return c, nil
}

func valueOf(m metric, t store.Totals) *float64 {
	if x, ok := m.value(t); ok {
		x = math.Round(x*100) / 100
		return &x
	}
	return nil
}

// stepEnd is the first instant after the step that begins at t.
func stepEnd(t time.Time, step string) time.Time {
	switch step {
	case period.Hourly:
		return t.Add(time.Hour)
	case period.Weekly:
		return period.AddDays(t, 7)
	case period.Monthly:
		return period.AddMonths(t, 1)
	}
	return period.AddDays(t, 1)
}

// ticks are the value axis' marks from 0 up to at least top, at round numbers.
func ticks(top float64, m metric) []float64 {
	unit := []float64{1, 2, 2.5, 5, 10}
	base := 10.0
	if m.Key == "visit_duration" { // round on the clock
		unit, base = []float64{1, 2, 5, 10, 15, 30, 60}, 60
	}
	if top <= 0 {
		top = 1
		if m.points {
			top = 100
		}
	}
	raw := top / 5
	mag := math.Pow(base, math.Floor(math.Log(raw)/math.Log(base)))
	if base == 60 && raw < 1 {
		mag = 1
	}
	step := mag * base
	for _, u := range unit {
		if u*mag >= raw*0.999 {
			step = u * mag
			break
		}
	}
	if step < 1 && m.Key != "views_per_visit" { // there is no half a visitor
		step = 1
	}
	var out []float64
	for i := 0; ; i++ {
		t := float64(i) * step
		out = append(out, math.Round(t*1000)/1000)
		if i > 0 && t >= top {
			return out
		}
	}
}

// tickLabels writes marks in the unit of the largest, all with as many decimals: 0, 0.5k, 1.0k.
func tickLabels(ticks []float64, m metric) []string {
	out := make([]string, len(ticks))
	unit, name := 1.0, ""
	for _, u := range []struct {
		size float64
		name string
	}{{1e3, "k"}, {1e6, "M"}, {1e9, "B"}} {
		if ticks[len(ticks)-1] >= 2*u.size {
			unit, name = u.size, u.name
		}
	}
	decimals := 0
	for step := ticks[1] / unit; decimals < 3 && math.Abs(step-math.Round(step)) > 1e-9; decimals++ {
		step *= 10
	}
	for i, t := range ticks {
		switch {
		case m.Key == "visit_duration":
			out[i] = clockTime(t)
		case !m.plain:
			out[i] = m.format(t)
		case t == 0:
			out[i] = "0"
		case unit == 1 && decimals == 0:
			out[i] = count(uint64(t))
		default:
			out[i] = strconv.FormatFloat(t/unit, 'f', decimals, 64) + name
		}
	}
	return out
}

func yOf(x, scale float64) int {
	return plotTop + plotHeight - int(math.Round(x/scale*plotHeight))
}

// labelEvery is how many steps lie between two labels of the time axis.
func labelEvery(n int, step string) int {
	most := 8
	steps := []int{1, 2, 3, 5, 7, 10, 14, 21, 28, 35, 50, 70, 100, 150, 200, 400}
	if step == period.Hourly {
		steps = []int{1, 2, 3, 4, 6, 12, 24, 48}
	}
	if step == period.Monthly {
		steps = []int{1, 2, 3, 4, 6, 12, 24, 36, 60, 120, 240}
	}
	for _, s := range steps {
		if (n+s-1)/s <= most {
			return s
		}
	}
	return max(1, (n+most-1)/most)
}

func percentOf(i, n int) string {
	if n < 2 {
		return "50%"
	}
	return strconv.FormatFloat(float64(i)/float64(n-1)*100, 'f', 2, 64) + "%"
}

func xTicks(d chartData, series []store.Point, v view) []xtick {
	var out []xtick
	n := len(series)
	for i := 0; i < n; i += d.Every {
		if i == n-1 && n > 2 {
			break // it would not fit beside the plot
		}
		t := xtick{X: percentOf(i, n), Local: d.Local[i], Minor: i/d.Every%2 == 1}
		at := series[i].Time.In(v.zone)
		t.Label = stepLabel(at, v.Step, false)
		if v.Step == period.Hourly && n > 48 {
			t.Label = at.Format("2 Jan")
		}
		out = append(out, t)
	}
	return out
}

// draw makes the SVG paths. Steps without a value break the line.
func (c *chart) draw(d chartData, scale float64) {
	n := len(d.Now)
	xOf := func(i int) float64 {
		if n < 2 {
			return plotWidth / 2
		}
		return math.Round(float64(i)/float64(n-1)*plotWidth*10) / 10
	}
	at := func(i int, x float64) string {
		return strconv.FormatFloat(xOf(i), 'f', -1, 64) + " " + strconv.Itoa(yOf(x, scale)-plotTop)
	}
	line := func(xs []*float64, until int) string {
		var b strings.Builder
		pen := "M"
		for i, x := range xs[:until] {
			if x == nil {
				pen = "M"
				continue
			}
			b.WriteString(pen + at(i, *x))
			pen = "L"
		}
		return b.String()
	}
	solid := n
	if d.Running >= 0 {
		solid = d.Running
		if x := d.Now[d.Running]; x != nil {
			if r := d.Running; r > 0 && d.Now[r-1] != nil {
				c.Run = "M" + at(r-1, *d.Now[r-1]) + "L" + at(r, *x)
			}
		}
	}
	c.Line = line(d.Now, solid)
	c.Prev = line(d.Prev, len(d.Prev))
	// The area under each unbroken stretch, the running step included.
	for i := 0; i < n; i++ {
		if d.Now[i] == nil {
			continue
		}
		j := i
		var b strings.Builder
		for ; j < n && d.Now[j] != nil; j++ {
			b.WriteString("L" + at(j, *d.Now[j]))
		}
		if j-i > 1 {
			c.Area += "M" + at(i, 0) + b.String() + "L" + at(j-1, 0) + "Z"
		}
		i = j
	}
	// A value with no neighbour would be a line of no length.
	for i, x := range d.Now {
		alone := x != nil && (i == 0 || d.Now[i-1] == nil) && (i == n-1 || d.Now[i+1] == nil)
		if alone {
			c.Dots = append(c.Dots, dot{X: percentOf(i, n), Y: strconv.Itoa(yOf(*x, scale))})
		}
	}
}

// hatch marks the steps in which outages fell, and says when the one with most hits was. An outage
// has the width of half a step at least: it is to be seen.
func (c *chart) hatch(v view, series []store.Point, outages []store.Outage) {
	n := len(series)
	stepOf := func(t time.Time) int {
		i := sort.Search(n, func(i int) bool { return series[i].Time.After(t) })
		return max(i-1, 0)
	}
	if n < 2 || len(outages) == 0 {
		return
	}
	percent := func(x float64) string { return strconv.FormatFloat(x/float64(n-1)*100, 'f', 2, 64) + "%" }
	end := -1.0 // of the last mark
	for _, o := range outages {
		from := max(float64(stepOf(o.From))-0.25, end, 0)
		to := min(float64(stepOf(o.To.Add(-time.Second)))+0.25, float64(n-1))
		if to <= from {
			continue
		}
		c.Outages = append(c.Outages, outageMark{percent(from), percent(to - from)})
		end = to
	}
	worst := slices.MaxFunc(outages, func(a, b store.Outage) int { return cmp.Compare(a.Hits, b.Hits) })
	from := worst.From.In(v.zone)
	c.OutageWords = from.Format("2 Jan 15:04") + "–" + clockOf(worst.To.In(v.zone), from) + ": stored late, nothing lost"
	if n := len(outages); n > 1 {
		c.OutageWords += fmt.Sprintf("; and %d more", n-1)
	}
	c.Summary += " Outages: " + c.OutageWords + "."
}

// table is the chart in figures.
func (c *chart) table(v view, m metric, o *store.Overview, d chartData) {
	for _, x := range metrics() {
		c.Head = append(c.Head, x.Label)
	}
	for i, p := range o.Series {
		r := chartRow{Label: stepLabel(p.Time.In(v.zone), v.Step, true), Local: d.Local[i],
			Future: p.Time.After(v.now), Running: i == d.Running}
		for _, x := range metrics() {
			s := "–"
			if y, ok := x.value(p.Totals); ok {
				s = x.format(y)
			}
			r.Cells = append(r.Cells, s)
		}
		if i < len(d.Prev) {
			r.Before = "–"
			if d.Prev[i] != nil {
				r.Before = m.format(*d.Prev[i])
			}
		}
		if !r.Future {
			c.Rows = append(c.Rows, r)
		}
	}
}

// summary says in a sentence what the drawing shows.
func summary(m metric, d chartData, v view) string {
	lo, hi, loAt, hiAt := math.Inf(1), math.Inf(-1), 0, 0
	for i, x := range d.Now {
		if x == nil {
			continue
		}
		if *x < lo && i != d.Running {
			lo, loAt = *x, i
		}
		if *x > hi {
			hi, hiAt = *x, i
		}
	}
	s := fmt.Sprintf("%s by %s, %s.", m.Label, v.Step, dates(v.Range))
	if math.IsInf(hi, 0) || math.IsInf(lo, 0) {
		return s
	}
	say := func(i int) string {
		t, err := time.Parse(localLayout, d.Local[i])
		if err != nil { // written above in this layout
			return d.Local[i]
		}
		return stepLabel(t, v.Step, true)
	}
	return s + fmt.Sprintf(" Most: %s, %s. Least: %s, %s.", m.format(hi), say(hiAt), m.format(lo), say(loAt))
}
