package dashboard

import (
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/store"
	"golang.org/x/text/language"
)

const (
	detailRows = 100     // a page of the details
	exportRows = 10_000  // asked of the store at a time
	exportMost = 1000000 // rows of a CSV file; a spreadsheet takes no more
	maxSearch  = 200     // bytes of what is searched for
)

// column is a metric as the details show it.
type column struct {
	Metric, Label string
	format        func(float64) string
}

// columnsOf are the metrics that say something about a dimension.
func columnsOf(dim string) []column {
	whole := func(x float64) string { return count(uint64(math.Round(x))) }
	percent := func(x float64) string { return strconv.Itoa(int(math.Round(x))) + "%" }
	all := map[string]column{
		"visitors":        {"visitors", "Visitors", whole},
		"visits":          {"visits", "Visits", whole},
		"pageviews":       {"pageviews", "Page views", whole},
		"events":          {"events", "Events", whole},
		"views_per_visit": {"views_per_visit", "Views per visit", func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }},
		"bounce_rate":     {"bounce_rate", "Bounce rate", percent},
		"visit_duration":  {"visit_duration", "Visit duration", duration},
		"time_on_page":    {"time_on_page", "Time on page", duration},
		"scroll_depth":    {"scroll_depth", "Scroll depth", percent},
	}
	var keys []string
	switch {
	case dim == "event:page":
		keys = []string{"visitors", "pageviews", "time_on_page", "scroll_depth"}
	case dim == "event:hostname":
		keys = []string{"visitors", "pageviews"}
	case strings.HasPrefix(dim, "event:"):
		keys = []string{"visitors", "events"}
	default:
		keys = []string{"visitors", "visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration"}
	}
	var out []column
	for _, k := range keys {
		out = append(out, all[k])
	}
	return out
}

// detailsPage is everything of one dimension.
type detailsPage struct {
	toolbar
	Dim      dimension
	Related  []link
	Search   string
	SortBy   string
	Heads    []sortHead
	Rows     []detailRow
	Total    string
	Range    string
	Next     string
	Back     string
	CSV      string
	Empty    string
	Warnings []string
}

type sortHead struct {
	Label, URL string
	Sorted     string // "ascending", "descending", ""
}

type detailRow struct {
	row
	Cells []string
}

// listing is what the details and the CSV file ask for alike.
type listing struct {
	dim    dimension
	search string
	sort   store.Order
	cols   []column
}

func parseListing(r *http.Request) (listing, error) {
	q := r.URL.Query()
	var l listing
	var ok bool
	if l.dim, ok = findDimension(q.Get("by")); !ok {
		return l, badRequest{fmt.Sprintf("there is nothing called %q to list", q.Get("by"))}
	}
	l.cols = columnsOf(l.dim.Name)
	l.search = strings.TrimSpace(q.Get("q"))
	if len(l.search) > maxSearch {
		return l, badRequest{"what is searched for is too long"}
	}
	by, dir, _ := strings.Cut(q.Get("sort"), ",")
	l.sort = store.Order{By: l.cols[0].Metric, Desc: true}
	if by == l.dim.Name || slices.ContainsFunc(l.cols, func(c column) bool { return c.Metric == by }) {
		l.sort = store.Order{By: by, Desc: dir != "asc"}
	}
	return l, nil
}

// param is the sort order as in addresses, "" for the usual one.
func (l listing) param(o store.Order) string {
	switch {
	case !o.Desc:
		return o.By + ",asc"
	case o.By == l.cols[0].Metric:
		return ""
	}
	return o.By
}

// extra are the listing's own parameters.
func (l listing) extra(o store.Order) [][2]string {
	p := [][2]string{{"by", l.dim.Name}}
	if l.search != "" {
		p = append(p, [2]string{"q", l.search})
	}
	if s := l.param(o); s != "" {
		p = append(p, [2]string{"sort", s})
	}
	return p
}

func (l listing) query(v view) store.Query {
	var ms []string
	for _, c := range l.cols {
		ms = append(ms, c.Metric)
	}
	q := v.query(ms, []string{l.dim.Name})
	q.OrderBy = []store.Order{l.sort}
	if l.search != "" {
		f := store.Filter{Op: "contains", Dimension: l.dim.Name, Values: []string{l.search}, IgnoreCase: true}
		if l.dim.Name == "visit:country" { // people search for names, rows hold codes
			f = store.Filter{Op: "is", Dimension: l.dim.Name, Values: countryCodes(l.search)}
		}
		q.Filters = append(q.Filters, f)
	}
	return q
}

// countryCodes are the codes whose English name contains part; never empty, so that a part
// of no name finds nothing.
func countryCodes(part string) []string {
	part = strings.ToLower(part)
	codes := []string{"?"}
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if n := countryName(code); n != "" && strings.Contains(strings.ToLower(n), part) {
				codes = append(codes, code)
			}
		}
	}
	return codes
}

// countryCode is the code of a country told by code or English name; what is neither stays.
func countryCode(s string) string {
	if n := countryName(strings.ToUpper(s)); n != "" {
		return strings.ToUpper(s)
	}
	for _, c := range countryCodes(s) {
		if strings.EqualFold(countryName(c), s) {
			if r, err := language.ParseRegion(c); err == nil {
				return r.Canonicalize().String()
			}
		}
	}
	return s
}

// details draws GET /{site}/details?by=DIMENSION.
func (h *handler) details(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "details")
	if !ok {
		return
	}
	l, err := parseListing(r)
	n := 1
	if err == nil {
		if x := r.URL.Query().Get("page"); x != "" {
			if n, err = strconv.Atoi(x); err != nil || n < 1 || n > 10_000 {
				err = badRequest{fmt.Sprintf("there is no page %q", x)}
			}
		}
	}
	if err != nil {
		h.problem(w, r, http.StatusBadRequest, "That address does not make sense", sentence(err.Error()))
		return
	}
	q := l.query(v)
	q.Limit, q.Offset, q.TotalRows = detailRows, (n-1)*detailRows, true
	res, err := h.o.Reader.Query(r.Context(), q)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	p := detailsPage{toolbar: h.toolbar(r, v, "details", l.extra(l.sort)...), Dim: l.dim, Search: l.search, SortBy: l.param(l.sort)}
	p.Title = l.dim.Plural + " – " + s.Domain
	p.CSV = v.url("export.csv", l.extra(l.sort)...)
	for _, d := range dimensions() {
		if d.Group == l.dim.Group {
			p.Related = append(p.Related, link{d.Plural, v.url("details", [2]string{"by", d.Name}), d.Name == l.dim.Name})
		}
	}
	if strings.HasPrefix(l.dim.Name, propPrefix) {
		p.Related = append(p.Related, link{l.dim.Plural, v.url("details", [2]string{"by", l.dim.Name}), true})
	}
	p.Heads = l.heads(v)
	l.fill(&p, v, res)
	page := func(n int) string {
		return v.url("details", append(l.extra(l.sort), [2]string{"page", strconv.Itoa(n)})...)
	}
	first := q.Offset + 1
	last := q.Offset + len(res.Rows)
	p.Total = count(uint64(res.TotalRows))
	p.Range = fmt.Sprintf("%s–%s of %s", count(uint64(first)), count(uint64(last)), p.Total)
	if last < res.TotalRows && len(res.Rows) > 0 {
		p.Next = page(n + 1)
	}
	if n > 1 {
		p.Back = page(n - 1)
	}
	for _, c := range l.cols {
		if m := res.Warnings[c.Metric]; m != "" {
			p.Warnings = append(p.Warnings, c.Label+": "+m)
		}
	}
	h.render(w, r, http.StatusOK, "details", p)
}

// values answers GET /{site}/values?by=DIMENSION: the commonest values, for the filter form
// to offer. Countries are offered by name.
func (h *handler) values(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "values")
	if !ok {
		return
	}
	l, err := parseListing(r)
	if err != nil {
		h.problem(w, r, http.StatusBadRequest, "That address does not make sense", sentence(err.Error()))
		return
	}
	q := v.query([]string{"visitors"}, []string{l.dim.Name})
	q.Limit = 50
	res, err := h.o.Reader.Query(r.Context(), q)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	out := []string{}
	for _, x := range res.Rows {
		if len(x.Dimensions) > 0 && x.Dimensions[0] != "" && merged(x.Dimensions[0]) == "" {
			out = append(out, valueLabel(l.dim.Name, x.Dimensions[0], ""))
		}
	}
	h.json(w, out)
}

// heads are the column heads, each a link that sorts, the other way when it sorts already.
func (l listing) heads(v view) []sortHead {
	var out []sortHead
	add := func(label, by string, desc bool) {
		o := store.Order{By: by, Desc: desc}
		s := sortHead{Label: label}
		if l.sort.By == by {
			s.Sorted = "ascending"
			if l.sort.Desc {
				s.Sorted = "descending"
			}
			o.Desc = !l.sort.Desc
		}
		s.URL = v.url("details", l.extra(o)...)
		out = append(out, s)
	}
	add(l.dim.Label, l.dim.Name, false)
	for _, c := range l.cols {
		add(c.Label, c.Metric, true)
	}
	return out
}

func (l listing) fill(p *detailsPage, v view, res *store.Result) {
	var top uint64
	for _, x := range res.Rows {
		top = max(top, whole(x, 0))
	}
	for _, x := range res.Rows {
		if len(x.Dimensions) == 0 {
			continue
		}
		value := x.Dimensions[0]
		d := detailRow{row: row{Label: valueLabel(l.dim.Name, value, ""), Bar: bar(whole(x, 0), top)}}
		d.Title = d.Label
		if isCode(l.dim.Name, value) {
			d.Code = value
		}
		if merged(value) == "" {
			d.URL = v.withFilter(filter{Op: "is", Dim: l.dim.Name, Values: []string{value}}).url("")
		}
		for i, c := range l.cols {
			s := "–"
			if i < len(x.Metrics) && x.Metrics[i] != nil {
				s = c.format(*x.Metrics[i])
			}
			d.Cells = append(d.Cells, s)
		}
		p.Rows = append(p.Rows, d)
	}
	if len(p.Rows) == 0 {
		p.Empty = "Nobody came in this period."
		if len(v.Filters) > 0 || l.search != "" {
			p.Empty = "Nothing in this period fits."
		}
	}
}

// export answers GET /{site}/export.csv?by=DIMENSION: the details, all rows.
func (h *handler) export(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "export.csv")
	if !ok {
		return
	}
	l, err := parseListing(r)
	if err != nil {
		h.problem(w, r, http.StatusBadRequest, "That address does not make sense", sentence(err.Error()))
		return
	}
	q := l.query(v)
	q.Limit = exportRows
	res, err := h.o.Reader.Query(r.Context(), q)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	out := csvFile(w, v, strings.ReplaceAll(l.dim.Name, ":", "-"))
	head := []string{l.dim.Name}
	named := l.dim.Name == "visit:country"
	if named {
		head = append(head, "visit:country_name")
	}
	for _, c := range l.cols {
		head = append(head, c.Metric)
	}
	out.Write(head)
	for {
		for _, x := range res.Rows {
			if len(x.Dimensions) == 0 {
				continue
			}
			rec := []string{csvCell(x.Dimensions[0])}
			if named {
				rec = append(rec, csvCell(valueLabel(l.dim.Name, x.Dimensions[0], "")))
			}
			for i := range l.cols {
				rec = append(rec, number(x, i))
			}
			out.Write(rec)
		}
		q.Offset += len(res.Rows)
		if len(res.Rows) < q.Limit || q.Offset >= exportMost {
			break
		}
		if res, err = h.o.Reader.Query(r.Context(), q); err != nil {
			h.o.Log.Warn("dashboard: a CSV file broke off", "error", errorText(err))
			panic(http.ErrAbortHandler) // a cut connection, so that a part is not taken for the whole
		}
	}
	out.Flush()
}

// number is metric i of a row as programs read it, "" where there is none.
func number(x store.Row, i int) string {
	if i >= len(x.Metrics) || x.Metrics[i] == nil {
		return ""
	}
	return strconv.FormatFloat(math.Round(*x.Metrics[i]*100)/100, 'f', -1, 64)
}

// csvFile begins the answer with a CSV file of the view.
func csvFile(w http.ResponseWriter, v view, what string) *csv.Writer {
	name := fmt.Sprintf("%s %s %s to %s", v.Site, what, v.Range.From.Format(time.DateOnly), v.Range.To.Add(-time.Second).Format(time.DateOnly))
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, name)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+safe+`.csv"`)
	w.Header().Set("Cache-Control", "no-store")
	out := csv.NewWriter(w)
	out.UseCRLF = true
	return out
}

// seriesCSV answers GET /{site}/series.csv: the chart's table.
func (h *handler) seriesCSV(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "series.csv")
	if !ok {
		return
	}
	o, err := h.o.Reader.Overview(r.Context(), v.overview(nil, 0))
	if err != nil {
		h.failed(w, r, err)
		return
	}
	out := csvFile(w, v, "by-"+v.Step)
	head := []string{v.Step}
	for _, m := range metrics() {
		head = append(head, m.Key)
	}
	out.Write(head)
	for _, p := range o.Series {
		if p.Time.After(v.now) {
			continue
		}
		rec := []string{p.Time.In(v.zone).Format(time.RFC3339)}
		for _, m := range metrics() {
			x, ok := m.value(p.Totals)
			if !ok {
				rec = append(rec, "")
				continue
			}
			rec = append(rec, strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64))
		}
		out.Write(rec)
	}
	out.Flush()
}
