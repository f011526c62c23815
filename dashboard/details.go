package dashboard

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

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
	if l.dim.Name == "event:name" { // page views have a list of their own
		q.Filters = append(q.Filters, store.Filter{Op: "is_not", Dimension: l.dim.Name, Values: []string{"pageview"}})
	}
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
	if words := cappedWords(l.dim, res.Capped[l.dim.Name]); words != "" {
		p.Warnings = append(p.Warnings, words)
	}
	for _, c := range l.cols {
		if m := res.Warnings[c.Metric]; m != "" {
			p.Warnings = append(p.Warnings, c.Label+": "+m)
		}
	}
	if slices.ContainsFunc(res.Rows, func(x store.Row) bool { return len(x.Dimensions) > 0 && x.Dimensions[0] == store.Few }) {
		p.Warnings = append(p.Warnings, merged(store.Few, 0))
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
		if len(x.Dimensions) > 0 && x.Dimensions[0] != "" && merged(x.Dimensions[0], res.Capped[l.dim.Name]) == "" {
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
		d.URL = v.valueURL(l.dim.Name, value, res.Capped[l.dim.Name])
		for i, c := range l.cols {
			s := "–"
			if i < len(x.Metrics) && x.Metrics[i] != nil {
				s = c.format(*x.Metrics[i])
			}
			d.Cells = append(d.Cells, s)
		}
		p.Rows = append(p.Rows, d)
	}
	if res.Withheld == store.WithheldView {
		p.Empty = withheld(res.MinVisitors)
	} else if len(p.Rows) == 0 {
		p.Empty = "Nobody came in this period."
		if len(v.Filters) > 0 || l.search != "" {
			p.Empty = "Nothing in this period fits."
		}
	}
}
