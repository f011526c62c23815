package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// crowd is a small random population, and what an attacker has been told of it.
type crowd struct {
	events []event.Event
	dims   [2]string
	cells  [][2]string // pairs of values that occur
	views  map[[2]string]int
	own    map[[2]string]int             // custom events
	actors map[[2]string]map[uint64]bool // who had them
	leaky  bool                          // take events as told in each row that has page views
	who    map[[2]string]map[uint64]bool
	known  [][]int64 // groups whose hits were told, reduced: page views by cell, then custom events by cell
	asked  int
	told   int
}

func valueOf(dim string, e *event.Event) string {
	switch dim {
	case "visit:source":
		return refShown(dim, e.Visit.Source)
	case "visit:country":
		return e.Visit.Country
	case "event:page":
		return e.Page
	case "visit:browser":
		return refShown(dim, e.Visit.Browser)
	case "time:day":
		return e.Day.String()
	}
	panic(dim)
}

var fewDay = event.DayOf(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC))

// newCrowd makes a population with popular and rare values.
func newCrowd(rng *rand.Rand, site string, people int) []event.Event {
	skewed := func(of ...string) string { return of[min(rng.IntN(len(of)), rng.IntN(len(of)))] }
	var out []event.Event
	for range people {
		d := fewDay + event.Day(rng.IntN(3))
		v := event.Visit{ID: rng.Uint64() | 1, Source: skewed("Google", "", "Bing", "rare.example", "rare2.example"),
			Country: skewed("DE", "FR", "US", "IS", "LI"), Browser: skewed("Chrome", "Firefox", "")}
		visitor := rng.Uint64() | 1
		if rng.IntN(12) == 0 {
			v.ID, visitor = 0, 0
		}
		v.EntryPage = skewed("/", "/a", "/blog/b", "/blog/c", "/d")
		for i := range 1 + rng.IntN(3) {
			page := v.EntryPage
			if i > 0 {
				page = skewed("/", "/a", "/blog/b", "/blog/c", "/d")
			}
			out = append(out, event.Event{ID: rng.Uint64() | 1, Site: site, Day: d, Time: d.Time().Unix() + 40000 + int64(i), Seq: uint16(i),
				Kind: event.PageView, Name: "pageview", Page: page, Hostname: site, VisitorID: visitor, Visit: v})
			if rng.IntN(6) == 0 {
				e := out[len(out)-1]
				e.ID, e.Kind, e.Name = rng.Uint64()|1, event.Custom, skewed("Signup", "Order")
				out = append(out, e)
			}
		}
	}
	return out
}

func (c *crowd) count() {
	c.views, c.who = map[[2]string]int{}, map[[2]string]map[uint64]bool{}
	c.own, c.actors = map[[2]string]int{}, map[[2]string]map[uint64]bool{}
	for i := range c.events {
		e := &c.events[i]
		k := [2]string{valueOf(c.dims[0], e), valueOf(c.dims[1], e)}
		if c.who[k] == nil {
			c.who[k], c.actors[k] = map[uint64]bool{}, map[uint64]bool{}
			c.cells = append(c.cells, k)
		}
		if e.Kind != event.PageView {
			c.own[k]++
			if e.VisitorID != 0 {
				c.actors[k][e.VisitorID] = true
			}
			continue // whoever has one has a page view of the same cell
		}
		c.views[k]++
		if e.VisitorID != 0 {
			c.who[k][e.VisitorID] = true
		}
	}
}

const prime = 2147483647

func inverse(x int64) int64 {
	out := int64(1)
	for n := int64(prime - 2); n > 0; n >>= 1 {
		if n&1 == 1 {
			out = out * x % prime
		}
		x = x * x % prime
	}
	return out
}

// reduce takes from a group what is known; nil means that nothing is left.
func (c *crowd) reduce(group []int64) []int64 {
	g := slices.Clone(group)
	for _, k := range c.known {
		lead := slices.IndexFunc(k, func(x int64) bool { return x != 0 })
		if f := g[lead]; f != 0 {
			for i := range g {
				g[i] = ((g[i]-f*k[i])%prime + prime) % prime
			}
		}
	}
	lead := slices.IndexFunc(g, func(x int64) bool { return x != 0 })
	if lead < 0 {
		return nil
	}
	f := inverse(g[lead])
	for i := range g {
		g[i] = g[i] * f % prime
	}
	return g
}

// learn takes the page views of a group as known, or all its events, and returns how many they are.
func (c *crowd) learn(in func(k [2]string) bool, events bool) (hits int) {
	g := make([]int64, 2*len(c.cells))
	for i, k := range c.cells {
		if !in(k) {
			continue
		}
		g[i] = 1
		hits += c.views[k]
		if events {
			if c.own[k] > 0 { // impossible ones are known
				g[len(c.cells)+i] = 1
			}
			hits += c.own[k]
		}
	}
	c.told++
	if g = c.reduce(g); g != nil {
		c.known = append(c.known, g)
	}
	return hits
}

// attack asks everything that there is to ask about two dimensions under a min_visitors of rule, and
// returns a group of fewer than least visitors that what was told adds up to.
func (c *crowd) attack(t *testing.T, s *Store, rule, least int) string {
	t.Helper()
	reports := Reports{Store: s, Min: func(string) int { return rule }}
	named := [2]map[string]bool{{}, {}} // values that the attacker has seen by name
	ask := func(dims []string, fs []Filter, limit int) *Result {
		c.asked++
		q := Query{Site: c.events[0].Site, From: fewDay.Time(), To: (fewDay + 3).Time(), Now: (fewDay + 4).Time(),
			Metrics: []string{"pageviews", "visitors", "visits", "events"}, Dimensions: dims, Filters: fs, TotalRows: true, Limit: limit}
		var out *Result
		for {
			res, err := reports.Query(t.Context(), q)
			if err != nil {
				t.Fatalf("%q %+v: %v", dims, fs, err)
			}
			if out == nil {
				out = res
			} else {
				out.Rows = append(out.Rows, res.Rows...)
			}
			if q.Offset += len(res.Rows); limit == 0 || len(res.Rows) == 0 || q.Offset >= res.TotalRows {
				return out
			}
		}
	}
	axis := func(dim string) int { return slices.Index(c.dims[:], dim) }
	for i, d := range c.dims {
		for _, row := range ask([]string{d}, nil, 0).Rows {
			if row.Dimensions[0] != Few {
				named[i][row.Dimensions[0]] = true
			}
		}
	}
	ref := &reference{}
	// A filter sees (few) where a value is not told.
	holds := func(fs []Filter, k [2]string) bool {
		for _, f := range fs {
			i := axis(f.Dimension)
			v := k[i]
			if !named[i][v] {
				v = Few
			}
			e := event.Event{Kind: event.PageView}
			switch f.Dimension {
			case "visit:source":
				e.Visit.Source = strings.TrimPrefix(v, directNone)
			case "visit:country":
				e.Visit.Country = v
			case "visit:browser":
				e.Visit.Browser = strings.TrimPrefix(v, notSet)
			case "event:page":
				e.Page = v
			}
			if !ref.holds(f, &e, nil, false) {
				return false
			}
		}
		return true
	}
	tell := func(dims []string, fs []Filter, res *Result) {
		in := func(k [2]string) bool { return holds(fs, k) }
		rowOf := func(k [2]string) string {
			var out []string
			for _, d := range dims {
				out = append(out, k[axis(d)])
			}
			return strings.Join(out, "\n")
		}
		rows := map[string]bool{}
		for _, r := range res.Rows {
			rows[strings.Join(r.Dimensions, "\n")] = true
		}
		for _, r := range res.Rows {
			if r.Metrics[0] == nil {
				continue
			}
			name := strings.Join(r.Dimensions, "\n")
			group := func(k [2]string) bool { return in(k) && rowOf(k) == name }
			if slices.Contains(r.Dimensions, Few) {
				group = func(k [2]string) bool { return in(k) && !rows[rowOf(k)] }
				if len(dims) == 2 && dims[0] == "time:day" {
					group = func(k [2]string) bool { return in(k) && !rows[rowOf(k)] && k[axis(dims[0])] == r.Dimensions[0] }
				}
			}
			if views := c.learn(group, false); views != int(*r.Metrics[0]) {
				t.Fatalf("%q %+v: row %q has %v page views, the events %d", dims, fs, r.Dimensions, *r.Metrics[0], views)
			}
			if e := r.Metrics[3]; e != nil {
				if n := c.learn(group, true); n != int(*e) {
					t.Fatalf("%q %+v: row %q has %v events, not %d", dims, fs, r.Dimensions, *e, n)
				}
			} else if c.leaky {
				c.learn(group, true)
			}
			if v := r.Metrics[1]; rule > 0 && v != nil && (len(fs) > 0 || len(dims) > 0) && !slices.Contains(dims, "time:day") && *v < float64(least) && c.total() >= least {
				t.Errorf("%q %+v: row %q shows %v visitors", dims, fs, r.Dimensions, *v)
			}
		}
	}
	question := func(dims []string, fs []Filter) *Result {
		res := ask(dims, fs, 0)
		tell(dims, fs, res)
		if c.asked%9 != 0 || len(dims) == 0 {
			return res
		}
		paged := ask(dims, fs, 2)
		if g, w := show(paged.Rows), show(res.Rows); g != w {
			t.Errorf("%q %+v: by pages of two\n%s\nat once\n%s", dims, fs, g, w)
		}
		return res
	}
	x, y := c.dims[0], c.dims[1]
	whole := question(nil, nil)
	var filters []Filter
	for i, d := range c.dims {
		question([]string{d}, nil)
		values := map[string]bool{}
		for _, k := range c.cells {
			values[k[i]] = true
		}
		if strings.HasPrefix(d, "time") {
			continue
		}
		names := sortedKeys(values)
		for j, v := range names {
			filters = append(filters, Filter{Op: "is", Dimension: d, Values: []string{v}}, Filter{Op: "is_not", Dimension: d, Values: []string{v}},
				Filter{Op: "is", Dimension: d, Values: []string{v, names[(j+1)%len(names)]}})
		}
		filters = append(filters, Filter{Op: "contains", Dimension: d, Values: []string{"a"}}, Filter{Op: "contains_not", Dimension: d, Values: []string{"e"}},
			Filter{Op: "is_not", Dimension: d, Values: []string{"nobody"}}, Filter{Op: "is", Dimension: d, Values: []string{Few}})
	}
	question([]string{x, y}, nil)
	for i, f := range filters {
		for _, dims := range [][]string{nil, {x}, {y}, {x, y}} {
			if f.Op == "contains" || len(f.Values) > 1 || strings.HasPrefix(f.Op, "contains") {
				if len(dims) > 0 && dims[0] != f.Dimension {
					continue // of several patterns within another dimension only one is guaranteed
				}
			}
			res := question(dims, []Filter{f})
			if a, b := whole.Rows[0].Metrics[1], res; len(dims) == 0 && b.Rows[0].Metrics[1] != nil {
				if d := *a - *b.Rows[0].Metrics[1]; rule > 0 && d > 0 && d < float64(least) {
					t.Errorf("%+v leaves out %v visitors", f, d)
				}
			}
		}
		for _, g := range filters[i+1:] {
			if (c.asked+i)%2 == 0 && g.Dimension != f.Dimension && len(f.Values)+len(g.Values) == 2 && !strings.HasPrefix(f.Op+g.Op, "contains") && !strings.HasPrefix(g.Op, "contains") {
				question(nil, []Filter{f, g})
			}
		}
	}
	return c.isolated(t, least)
}

func (c *crowd) total() int {
	all := map[uint64]bool{}
	for _, w := range c.who {
		for id := range w {
			all[id] = true
		}
	}
	return len(all)
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// wholeDays tells whether a group is everybody of some days, who are told of in any case.
func (c *crowd) wholeDays(g []int64) bool {
	for i, a := range c.cells {
		if g[len(c.cells)+i] != 0 {
			return false
		}
		for j, b := range c.cells {
			if a[0] == b[0] && g[i] != g[j] {
				return false
			}
		}
	}
	return c.dims[0] == "time:day"
}

// isolated returns a group of fewer than least visitors whose page views follow from what was told, "" if there is none.
func (c *crowd) isolated(t *testing.T, least int) (found string) {
	t.Helper()
	tried := 0
	var try func(from int, group []int, who map[uint64]bool)
	try = func(from int, group []int, who map[uint64]bool) {
		if len(group) > 0 {
			tried++
			g := make([]int64, 2*len(c.cells))
			var names []string
			for _, i := range group {
				g[i] = 1
				names = append(names, fmt.Sprintf("%q%s", c.cells[i%len(c.cells)], map[bool]string{true: " with a custom event"}[i >= len(c.cells)]))
			}
			if c.reduce(g) == nil && !c.wholeDays(g) {
				found = fmt.Sprintf("%v: the %d visitors of %v", c.dims, len(who), names)
				return
			}
		}
		for i := from; i < 2*len(c.cells) && found == ""; i++ {
			cell := c.cells[i%len(c.cells)]
			in := c.who[cell]
			if i >= len(c.cells) {
				if in = c.actors[cell]; c.own[cell] == 0 {
					continue
				}
			}
			all := map[uint64]bool{}
			for id := range who {
				all[id] = true
			}
			for id := range in {
				all[id] = true
			}
			if len(all) < least && tried < 200_000 {
				try(i+1, append(slices.Clone(group), i), all)
			}
		}
	}
	try(0, nil, map[uint64]bool{})
	t.Logf("%v: %d questions, %d groups told, %d independent, of %d cells; %d small groups tried", c.dims, c.asked, c.told, len(c.known), len(c.cells), tried)
	return found
}

// TestAttack: an attacker who may ask anything about one or two dimensions, in any order and of any
// page, cannot add and subtract the answers to a group of fewer visitors than min_visitors.
func TestAttack(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		rng := rand.New(rand.NewPCG(3, 5))
		for n, people := range []int{25, 110} {
			events := newCrowd(rng, fmt.Sprintf("crowd%d.example", n), people)
			write(t, s, events)
			for _, dims := range [][2]string{{"visit:source", "visit:country"}, {"visit:country", "event:page"}, {"time:day", "visit:source"}} {
				if people < 50 && dims[0] == "time:day" {
					continue // days with too few visitors are told of as a whole
				}
				c := &crowd{events: events, dims: dims}
				c.count()
				if found := c.attack(t, s, 5, 5); found != "" {
					t.Errorf("it can be told from the answers: %s", found)
				}
				if dims[1] == "visit:country" { // nor without withholding events would the attack fail
					c := &crowd{events: events, dims: dims, leaky: true}
					c.count()
					if c.attack(t, s, 5, 5) == "" {
						t.Error("events less page views tell of nobody")
					}
				}
				if people < 50 && dims[1] == "visit:country" { // the attack is one: without the rule it succeeds
					c := &crowd{events: events, dims: dims}
					c.count()
					if c.attack(t, s, 0, 5) == "" {
						t.Error("without min_visitors the attack finds nobody")
					}
				}
			}
		}
	})
}
