package store

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file and few_table.go hold the rule of small numbers (MinVisitors, k below): no answer shows a
// figure of fewer than k visitors, nor lets it be worked out by sums and differences of answers about
// one site and period, as far as is said here.
//
//   - One dimension: values with fewer than k visitors in the period are [Few], in rows and for filters
//     alike; so that Few is two values and k visitors the smallest other value may join. All answers are
//     then sums of values and of Few, each of k visitors at least.
//   - Two dimensions (steps of time are one): their table over those values hides small cells and as many
//     others as it takes ([fewTable.hide]), the same ones whichever way it is asked for. Rows and totals are
//     told where the shown cells and the sums of rows and columns tell them already, and besides where
//     a filter of several values cuts every column in parts from which no small cell follows
//     ([fewTable.shownColumns]): that is right for one such filter at a time.
//   - More dimensions: a row is told that has k visitors and from which no filter alone leaves out fewer.
//   - A filtered view is withheld that has fewer than k visitors, that one of its filters leaves fewer
//     out of, or whose cells are not told. None is fewer than k: whether there is anybody is not told either.
//   - Events are told only of rows of one name of events ([plan.oneName]): less page views they would be a
//     group of their own.
//
// Not held back: totals and steps of time without filters, and so what two periods differ by; bounds;
// what follows from knowing which combinations of values are impossible. Visitors behind several cells are
// counted once: a cell weighs what its visitors' shares in it come to.

// Few is the row that stands for all values with too few visitors to be shown.
const Few = "(few)"

// fewValues is how many values of one dimension are told apart at most, the largest; fewCells how
// many cells are read at most.
const (
	fewValues = 3000
	fewCells  = 400_000
)

// What [Result.Withheld] and [Totals.Withheld] say.
const (
	WithheldView = "view" // nothing of it is told
	WithheldRows = "rows" // rows are left out: steps of time with too few visitors, or what would be Few
)

// fewView is one view (a site, period and filters) as a question about it may be answered.
type fewView struct {
	min      uint64
	filters  []Filter // the view's, over values that may be told apart
	visitors uint64   // of the view
	withheld bool     // the view has too few visitors, or leaves too few out
	shown    []fewShown
}

// fewShown says which rows of a breakdown may be told.
type fewShown struct {
	dims   []dimension
	all    bool       // no row is hidden
	rows   [][]string // else these, values as texts, steps of time as numbers
	noRest bool       // the sum of the others cannot be told either
}

// fewQuestion is what a view is asked for.
type fewQuestion struct {
	site       string
	scope      scope
	period     period
	filters    []Filter
	breakdowns [][]dimension
}

func isPropKeys(dims []dimension) bool {
	return slices.ContainsFunc(dims, func(d dimension) bool { return d.kind == dimPropKey })
}

// kept is the dimension that says which values a dimension's rows are made of, false for time.
func (d dimension) kept() (dimension, bool) {
	switch {
	case d.kind == dimTime:
		return d, false
	case d.kind == dimGoal:
		return columnOf("event:name"), true
	case d.kind == dimCountryName:
		return columnOf("visit:country"), true
	case d.name == "visit:city_name":
		return columnOf("visit:city"), true
	}
	return d, true
}

// keptOf lists the kept dimensions that filters compare.
func keptOf(fs []Filter, out []dimension) []dimension {
	for _, f := range fs {
		if len(f.Filters) > 0 {
			out = keptOf(f.Filters, out)
			continue
		}
		d, _ := dimensionOf(f.Dimension)
		k, _ := d.kept()
		out = addKept(out, k)
		if d.kind == dimGoal && slices.ContainsFunc(f.Values, func(v string) bool { return strings.HasPrefix(v, goalPrefix) }) {
			out = addKept(out, columnOf("event:page"))
		}
	}
	return out
}

func addKept(all []dimension, d dimension) []dimension {
	if slices.ContainsFunc(all, func(x dimension) bool { return x.name == d.name }) {
		return all
	}
	return append(all, d)
}

// few finds out what may be told of a view, in two statements.
func (r *reporter) few(ctx context.Context, min int, q fewQuestion) (*fewView, error) {
	v := &fewView{min: uint64(min), filters: q.filters}
	filtered := keptOf(q.filters, nil)
	// First: which values of each dimension may be told apart, among all visitors of the period.
	all := slices.Clone(filtered)
	for _, dims := range q.breakdowns {
		for _, d := range dims {
			if k, ok := d.kept(); ok && d.kind != dimPropKey {
				all = addKept(all, k)
			}
		}
	}
	if len(all) == 0 && !slices.ContainsFunc(q.breakdowns, isPropKeys) {
		v.shown = make([]fewShown, len(q.breakdowns))
		for i := range v.shown {
			v.shown[i].all = true
		}
		return v, nil
	}
	keys := []fragment{fewKey(0, frag("''"), frag("''"), frag("''"))}
	for i, d := range all {
		keys = append(keys, fewKey(i+1, frag("''"), d.rowValue(q.scope), frag("''")))
	}
	tables, err := r.fewCells(ctx, q, nil, all, keys)
	if err != nil {
		return nil, err
	}
	everybody := tables[0]
	values := fewDims{}
	for i, d := range all {
		t := newFewTable(v.min, tables[i+1])
		t.hideLine()
		t.keepLargest(fewValues)
		values[d.name] = t
	}
	v.filters = values.rewrite(q.filters)
	v.visitors = visitorsOf(everybody)

	// Then the same for pairs of dimensions, and how many the filters leave and leave out.
	keys = nil
	var next []func([]fewCell)
	ask := func(row, column, flags fragment, f func([]fewCell)) {
		keys = append(keys, fewKey(len(keys), row, column, flags))
		next = append(next, f)
	}
	empty := frag("''")
	if len(q.filters) > 0 {
		ask(empty, empty, fewFlags(v.filters), func(cells []fewCell) {
			v.visitors = 0
			for _, c := range cells {
				if allMet(c.flags) {
					v.visitors += c.visitors
				}
			}
			v.withheld = v.visitors < v.min
			for i := range v.filters { // the rows that one condition leaves out
				var out uint64
				for _, c := range cells {
					if c.flags == unmetOnly(len(v.filters), i) {
						out += c.visitors
					}
				}
				v.withheld = v.withheld || out > 0 && out < v.min
			}
		})
		for i := range v.filters { // the visitors that one condition leaves out
			without := fewFlags([]Filter{{Op: "and", Filters: slices.Delete(slices.Clone(v.filters), i, i+1)}})
			if len(v.filters) == 1 {
				without = frag("'1'")
			}
			ask(empty, empty, without, func(cells []fewCell) {
				for _, c := range cells {
					if d := c.visitors - v.visitors; c.flags == "1" && c.visitors > v.visitors && d < v.min {
						v.withheld = true
					}
				}
			})
		}
	}
	if len(filtered) == 2 { // no breakdown: are the two dimensions' cells told?
		row, column, _ := values.pair(filtered[0], filtered[1], q.scope)
		ask(row, column, fewFlag(v.filters), func(cells []fewCell) {
			t := newFewTable(v.min, cells)
			t.hide()
			v.withheld = v.withheld || !t.shownSum(allMet) && !t.everyColumn() && !t.turned().everyColumn()
		})
	}
	v.shown = make([]fewShown, len(q.breakdowns))
	for i, dims := range q.breakdowns {
		v.breakdown(&v.shown[i], dims, filtered, values, q.scope, ask)
	}
	if len(keys) > 0 {
		if tables, err = r.fewCells(ctx, q, v.filters, all, keys); err != nil {
			return nil, err
		}
		for i, f := range next {
			f(tables[i])
		}
	}
	for i, dims := range q.breakdowns {
		if len(dims) == 1 && dims[0].kind == dimPropKey {
			if err := r.fewPropKeys(ctx, q, v, &v.shown[i]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// fewPropKeys shows the keys of properties that enough visitors have; a row has several, so there is no rest.
func (r *reporter) fewPropKeys(ctx context.Context, q fewQuestion, v *fewView, out *fewShown) error {
	tables, err := r.fewCells(ctx, q, v.filters, nil, []fragment{fewKey(0, frag("''"), frag("arrayJoin(prop_keys)"), fewFlag(v.filters))})
	if err != nil {
		return err
	}
	for _, c := range tables[0] {
		if allMet(c.flags) && c.visitors >= v.min {
			out.add(c.column)
		}
	}
	return nil
}

// breakdown finds out which rows of one breakdown may be told.
func (v *fewView) breakdown(out *fewShown, dims, filtered []dimension, values fewDims, sc scope, ask func(row, column, flags fragment, f func([]fewCell))) {
	out.dims = dims
	if isPropKeys(dims) {
		out.noRest = true
		return
	}
	axes := slices.Clone(filtered) // what the cells are made of
	var kept []dimension
	var columns []fragment
	for _, d := range dims {
		k, ok := d.kept()
		if ok {
			columns = append(columns, values.of(k, sc))
		} else {
			columns = append(columns, around("toString(", sc.step(d.name, frag("time")), ")"))
		}
		axes, kept = addKept(axes, k), addKept(kept, k)
	}
	goals := slices.ContainsFunc(dims, func(d dimension) bool { return d.kind == dimGoal }) && len(sc.goals) > 0
	switch {
	case len(dims) == 0:
		out.all = true
	case goals || len(kept) < len(dims): // rows of which several stand for the same people
		out.noRest = true
	case len(filtered) == 0 && len(dims) == 1 && dims[0].kind == dimTime:
		out.all = true
	case len(axes) == 1: // rows of the filters' own dimension
		t := values[axes[0].name]
		for _, c := range t.cells {
			if !c.hidden {
				out.add(c.column)
			}
		}
		out.all = len(out.rows) == len(t.cells)
	case len(axes) == 2 && len(dims) == 2:
		// The rest of a step of time is more than the table tells where filters cut it.
		out.noRest = len(filtered) > 0 && slices.ContainsFunc(dims, func(d dimension) bool { return d.kind == dimTime })
		row, column, turn := values.pair(kept[0], kept[1], sc)
		ask(row, column, frag("'1'"), func(cells []fewCell) {
			t := newFewTable(v.min, cells)
			t.hide()
			if turn {
				t = t.turned()
			}
			t.keepLargest(fewValues)
			for _, c := range t.cells {
				if !c.hidden {
					out.add(c.row, c.column)
				}
			}
		})
	case len(axes) == 2:
		other := axes[0]
		if other.name == kept[0].name {
			other = axes[1]
		}
		row, column, turn := values.pair(other, kept[0], sc)
		ask(row, column, fewFlag(v.filters), func(cells []fewCell) {
			t := newFewTable(v.min, cells)
			t.hide()
			if turn {
				t = t.turned()
			}
			for column := range t.shownColumns(allMet) {
				out.add(column)
			}
		})
	default: // more than two: each row with and without each of the filters
		column := columns[0]
		for _, c := range columns[1:] {
			column = joined("", frag("concat(concat("), column, frag(", '\\n'), "), c, frag(")"))
		}
		ask(frag("''"), column, fewFlags(v.filters), func(cells []fewCell) {
			for column := range v.plainRows(cells) {
				out.add(strings.SplitN(column, "\n", len(dims))...)
			}
		})
	}
}

// plainRows is the rule for more than two dimensions: a row is shown that has enough visitors, and
// from which each condition leaves out nobody or enough.
func (v *fewView) plainRows(cells []fewCell) map[string]bool {
	out := map[string]bool{}
	var line []fewCell
	bad := map[string]bool{}
	for _, c := range cells {
		if allMet(c.flags) {
			line = append(line, c)
		}
		if strings.Count(c.flags, "0") == 1 && c.visitors < v.min {
			bad[c.column] = true
		}
	}
	t := newFewTable(v.min, line)
	for i := range t.cells {
		if bad[t.cells[i].column] { // hidden like a small one
			t.cells[i].visitors = min(t.cells[i].visitors, v.min-1)
		}
	}
	t.hideLine()
	t.keepLargest(fewValues)
	for _, c := range t.cells {
		if !c.hidden {
			out[c.column] = true
		}
	}
	return out
}

// everyColumn tells whether of each column the part that the filters leave may be told.
func (t *fewTable) everyColumn() bool {
	shown := t.shownColumns(allMet)
	for _, c := range t.cells {
		if allMet(c.flags) && !shown[c.column] {
			return false
		}
	}
	return true
}

// keepLargest hides all but the largest n cells.
func (t *fewTable) keepLargest(n int) {
	var shown []int
	for i := range t.cells {
		if !t.cells[i].hidden {
			shown = append(shown, i)
		}
	}
	slices.SortFunc(shown, t.smallest)
	for i := 0; i < len(shown)-n; i++ {
		t.cells[shown[i]].hidden = true
	}
}

func visitorsOf(cells []fewCell) (n uint64) {
	for _, c := range cells {
		n += c.visitors
	}
	return n
}

// fewKey is a key of few_cells.sql.
func fewKey(table int, row, column, flags fragment) fragment {
	return joined("", frag("(toUInt16("+strconv.Itoa(table)+"), "), row, frag(", "), column, frag(", "), flags, frag(")"))
}

// fewFlags writes '1' for each condition that holds and '0' for each other, fewFlag one of them for all.
func fewFlags(fs []Filter) fragment {
	if len(fs) == 0 {
		return frag("''")
	}
	out := fewFlag(fs[:1])
	for i := range fs[1:] {
		out = joined("", frag("concat("), out, frag(", "), fewFlag(fs[i+1:i+2]), frag(")"))
	}
	return out
}

func fewFlag(fs []Filter) fragment { return around("if(", conditions(fs, false), ", '1', '0')") }

func allMet(flags string) bool { return !strings.Contains(flags, "0") }

// unmetOnly is the flags of rows that meet all of n conditions but the one at i.
func unmetOnly(n, i int) string {
	return strings.Repeat("1", i) + "0" + strings.Repeat("1", n-i-1)
}

// fewCells reads the cells of the tables that keys name. Conditions are told of fs, dimensions of dims.
func (r *reporter) fewCells(ctx context.Context, q fewQuestion, fs []Filter, dims []dimension, keys []fragment) (map[int][]fewCell, error) {
	source := frag("events")
	days := q.period.days()
	if usesOf(fs...).exit || slices.ContainsFunc(dims, func(d dimension) bool { return d.kind == dimExitPage }) {
		var err error
		if source, err = statement("exit_pages", map[string]any{"ExitPage": exitPage, "Site": q.site, "Days": days}); err != nil {
			return nil, err
		}
	}
	rows, err := r.query(ctx, "few_cells", map[string]any{"Keys": keys, "Source": source, "Site": q.site, "Days": days,
		"Where": q.period.within(), "Unit": fewUnit, "Limit": fewCells + 1})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int][]fewCell{}
	n := 0
	for rows.Next() {
		var t uint16
		var c fewCell
		if err := rows.Scan(&t, &c.row, &c.column, &c.flags, &c.visitors, &c.weight); err != nil {
			return nil, r.wrap("few_cells", err)
		}
		if n++; n > fewCells {
			return nil, fmt.Errorf("few_cells.sql: %w: more than %d combinations of values", ErrLimit, fewCells)
		}
		out[int(t)] = append(out[int(t)], c)
	}
	return out, r.wrap("few_cells", rows.Err())
}

// fewDims are the values of dimensions, by name, tables of one row.
type fewDims map[string]*fewTable

// of is a dimension's value on a row, [Few] where it may not be told.
func (v fewDims) of(d dimension, sc scope) fragment {
	if d.kind == dimTime {
		return around("toString(", sc.step(d.name, frag("time")), ")")
	}
	f := d.rowValue(sc)
	var shown [][]string
	for _, c := range v[d.name].cells {
		if !c.hidden {
			shown = append(shown, []string{c.column})
		}
	}
	if len(shown) == len(v[d.name].cells) {
		return f
	}
	return joined("", frag("if("), f, frag(" IN "), textsOf(shown), frag(", "), f, frag(", '"+Few+"')"))
}

// pair is two dimensions as rows and columns, always the same way round, so that whoever asks what way
// finds the same cells hidden; turned tells that b is the rows.
func (v fewDims) pair(a, b dimension, sc scope) (row, column fragment, turned bool) {
	if turned = b.name < a.name; turned {
		a, b = b, a
	}
	return v.of(a, sc), v.of(b, sc), turned
}

// textsOf is a list for IN, of texts or tuples of them; never empty.
func textsOf(rows [][]string) fragment {
	if len(rows) == 0 {
		return frag("('\\0few')")
	}
	var fs []fragment
	for _, r := range rows {
		f := listOf(r)
		if len(r) == 1 {
			f.sql = "?"
		}
		fs = append(fs, f)
	}
	return around("(", joined(", ", fs...), ")")
}

// rewrite replaces filters by such on values that may be told apart: what they are of, and the
// rest, of which nothing is known but that it is called [Few].
func (v fewDims) rewrite(fs []Filter) []Filter {
	out := make([]Filter, len(fs))
	for i, f := range fs {
		if len(f.Filters) > 0 {
			f.Filters = v.rewrite(f.Filters)
			out[i] = f
			continue
		}
		out[i] = v.leaf(f)
	}
	return out
}

func (v fewDims) leaf(f Filter) Filter {
	d, _ := dimensionOf(f.Dimension)
	k, _ := d.kept()
	t := v[k.name]
	var yes, no []string
	for _, c := range t.cells {
		if c.hidden {
			continue
		}
		if f.holds(d, c.column) {
			yes = append(yes, c.column)
		} else {
			no = append(no, c.column)
		}
	}
	if d.kind == dimCountryName {
		f.Dimension = "visit:country"
	}
	out := Filter{Op: "is", Dimension: f.Dimension, Values: yes}
	if f.holds(d, Few) {
		out.Op, out.Values = "is_not", no
	}
	if d.kind == dimGoal && out.Op == "is" && f.Op == "is" {
		for _, g := range f.Values {
			if !strings.HasPrefix(g, goalPrefix) {
				continue
			}
			p, err := regexp.Compile("(?s)" + goalPattern(g))
			if err != nil {
				continue
			}
			for _, c := range v["event:page"].cells {
				if !c.hidden && p.MatchString(c.column) {
					out.Values = append(out.Values, "Visit "+c.column)
				}
			}
		}
	}
	if len(out.Values) == 0 { // nothing, or everything
		out.Values = []string{"\x00few"}
	}
	return out
}

// holds tells whether a comparison holds of a value as rows show it.
func (f Filter) holds(d dimension, value string) bool {
	if d.kind == dimCountryName {
		value = CountryName(value)
	}
	op, negative := strings.CutSuffix(f.Op, "_not")
	missing := d.kind == dimProp && value == none
	if missing && op != "is" {
		return false
	}
	if value == d.empty && op != "is" {
		value = ""
	}
	yes := slices.ContainsFunc(f.Values, func(want string) bool {
		if op == "is" && value == d.empty && d.empty != "" && (want == notSet || want == directNone || want == "") {
			return true
		}
		have := value
		if f.IgnoreCase && op != "matches" {
			have, want = strings.ToLower(have), strings.ToLower(want)
		}
		switch op {
		case "contains":
			return strings.Contains(have, want)
		case "matches":
			flags := "(?s)"
			if f.IgnoreCase {
				flags = "(?si)"
			}
			p, err := regexp.Compile(flags + want)
			return err == nil && p.MatchString(have)
		}
		return have == want
	})
	return yes != negative
}

// wrap puts [Few] in the place of values of rows that may not be told.
func (s *fewShown) wrap(values []fragment) []fragment {
	if s == nil || s.all || len(values) == 0 {
		return values
	}
	told := s.told(values)
	out := slices.Clone(values)
	for i, d := range s.dims {
		if d.kind != dimTime {
			out[i] = joined("", frag("if("), told, frag(", "), values[i], frag(", '"+Few+"')"))
		}
	}
	return out
}

// add adds a row that may be told, with values as the breakdown shows them.
func (s *fewShown) add(row ...string) {
	for i, d := range s.dims {
		if d.kind == dimCountryName {
			row[i] = CountryName(row[i])
		}
	}
	s.rows = append(s.rows, row)
}

// told is the condition that a row may be told.
func (s *fewShown) told(values []fragment) fragment {
	texts := make([]fragment, len(values))
	for i, f := range values {
		texts[i] = around("toString(", f, ")")
	}
	row := texts[0]
	if len(texts) > 1 {
		row = around("(", joined(", ", texts...), ")")
	}
	if len(s.rows) == 0 {
		return joined("", frag("("), texts[0], frag(" = '\\0few')"))
	}
	return joined(" IN ", row, textsOf(s.rows))
}

// only is the condition on a report's rows, nil for none: without one for the rest where that cannot
// be told, without steps of time that may not.
func (s *fewShown) only() *fragment {
	if s == nil || s.all || !s.steps() && !s.noRest {
		return nil
	}
	values := make([]fragment, len(s.dims))
	for i := range values {
		values[i] = frag("d" + strconv.Itoa(i))
	}
	f := s.told(values)
	return &f
}

// steps tells whether the rows are steps of time alone.
func (s *fewShown) steps() bool {
	return len(s.dims) > 0 && !slices.ContainsFunc(s.dims, func(d dimension) bool { return d.kind != dimTime })
}

// mergeFew joins campaigns whose mails too few opened.
func mergeFew(rows []EmailRow, min int) []EmailRow {
	var out, few []EmailRow
	for _, r := range rows {
		if r.Openers < uint64(min) {
			few = append(few, r)
		} else {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b EmailRow) int { return cmp.Compare(b.Openers, a.Openers) })
	sum := func() (s EmailRow) {
		s.Campaign = Few
		for _, r := range few {
			s.Opens, s.Openers = s.Opens+r.Opens, s.Openers+r.Openers
		}
		return s
	}
	if len(few) == 0 {
		return rows
	}
	if n := len(out); n > 0 && (len(few) < 2 || sum().Openers < uint64(min)) {
		few, out = append(few, out[n-1]), out[:n-1]
	}
	slices.SortStableFunc(out, func(a, b EmailRow) int { return cmp.Compare(b.Opens, a.Opens) })
	if s := sum(); s.Openers >= uint64(min) {
		out = append(out, s)
	}
	return out
}
