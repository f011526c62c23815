package store

import (
	"cmp"
	"maps"
	"slices"
)

// fewUnit is what a visitor weighs.
const fewUnit = 1_000_000

// fewCell is a cell of a table: everybody with one pair of values.
type fewCell struct {
	row, column string
	flags       string // which conditions of the filters its rows meet, '1' or '0' each
	visitors    uint64
	weight      uint64 // weights of several cells add up to no more than fewUnit times their visitors
	hidden      bool
}

// fewTable is a table of which small cells are hidden, and as many others as it takes that nobody
// can work the small ones out. Its sums by row and by column are known to everybody.
type fewTable struct {
	min     uint64
	cells   []fewCell
	rows    map[string][]int
	columns map[string][]int
	at      map[[2]string]int
}

// newFewTable hides nothing yet. Cells are told apart by row and column.
func newFewTable(min uint64, cells []fewCell) *fewTable {
	t := &fewTable{min: min, cells: cells, rows: map[string][]int{}, columns: map[string][]int{}, at: map[[2]string]int{}}
	for i, c := range cells {
		t.rows[c.row] = append(t.rows[c.row], i)
		t.columns[c.column] = append(t.columns[c.column], i)
		t.at[[2]string{c.row, c.column}] = i
	}
	return t
}

// turned is the table with its rows as columns.
func (t *fewTable) turned() *fewTable {
	cells := slices.Clone(t.cells)
	for i := range cells {
		cells[i].row, cells[i].column = cells[i].column, cells[i].row
	}
	return newFewTable(t.min, cells)
}

func (t *fewTable) small(i int) bool { return t.cells[i].visitors < t.min }

// capacity is at least how many visitors a cell adds to a group, as far as it matters.
func (t *fewTable) capacity(i int) uint64 {
	if !t.small(i) {
		return t.min * fewUnit
	}
	return t.cells[i].weight
}

// smallest orders cells by what hiding them costs.
func (t *fewTable) smallest(i, j int) int {
	a, b := &t.cells[i], &t.cells[j]
	return cmp.Or(cmp.Compare(a.visitors, b.visitors), cmp.Compare(a.row, b.row), cmp.Compare(a.column, b.column))
}

// hideLine hides in a table of one line, of which only the sum is known: small cells, and the
// smallest other one if those are fewer than two or stand for too few visitors.
func (t *fewTable) hideLine() {
	var weight uint64
	hidden, spare := 0, -1
	for i := range t.cells {
		if t.small(i) {
			t.cells[i].hidden = true
			hidden++
			weight += t.cells[i].weight
		} else if spare < 0 || t.smallest(i, spare) < 0 {
			spare = i
		}
	}
	if hidden > 0 && spare >= 0 && (hidden < 2 || weight < t.min*fewUnit) {
		t.cells[spare].hidden = true
	}
}

// hide hides small cells, and others until no group of cells that holds a small one can be had
// by adding and subtracting shown cells, rows and columns, unless it stands for min visitors.
//
// Such a group is a set of hidden cells whose indicator is a_row + b_column on the hidden cells.
// Shift both so that the cell looked at has a = 1, b = 0: then the rows with a > 0 are one side
// of a cut, which no hidden cell leaves backwards, and the group is the cells that lead across.
// So the smallest group with the cell in it is a smallest cut, and no smaller than what can flow from
// its row to its column, along hidden cells: forwards as much as a cell has visitors, backwards anything.
// Hiding more adds ways only, and a cell that is not small needs none: one pass is enough.
func (t *fewTable) hide() {
	for i := range t.cells {
		t.cells[i].hidden = t.small(i)
	}
	for i := range t.cells {
		if t.small(i) && !t.safe(i) && !t.hideRound(i) && !t.hideLines(i) {
			for j := range t.cells { // nothing of it can be shown
				t.cells[j].hidden = true
			}
			return
		}
	}
}

// safe tells whether the groups that a hidden small cell is in stand for enough visitors.
func (t *fewTable) safe(i int) bool {
	return t.flow(i) >= t.min*fewUnit || t.largestFlow(i) >= t.min*fewUnit
}

// flow is what certainly flows from the row of a hidden cell to its column: through the cell, and
// by one more row and column.
func (t *fewTable) flow(i int) uint64 {
	c, need := &t.cells[i], t.min*fewUnit
	sum := t.capacity(i)
	var left map[int]uint64
	for _, in := range t.columns[c.column] {
		if sum >= need {
			break
		}
		if in == i || !t.cells[in].hidden {
			continue
		}
		room := t.capacity(in)
		for _, out := range t.rows[c.row] {
			if room == 0 || sum >= need {
				break
			}
			back, ok := t.at[[2]string{t.cells[in].row, t.cells[out].column}]
			if out == i || !t.cells[out].hidden || !ok || !t.cells[back].hidden {
				continue
			}
			if left == nil {
				left = map[int]uint64{}
			}
			have, seen := left[out]
			if !seen {
				have = t.capacity(out)
			}
			n := min(room, have)
			left[out] = have - n
			room -= n
			sum += n
		}
	}
	return sum
}

// largestFlow is what flows from the row of a hidden cell to its column, up to what is needed: ways that
// have room are looked for, shortest first, until there are none (Edmonds and Karp, 1972).
func (t *fewTable) largestFlow(i int) uint64 {
	type node struct {
		row  bool
		name string
	}
	from, to := node{true, t.cells[i].row}, node{false, t.cells[i].column}
	flow := map[int]int64{} // forwards through a cell
	var sum uint64
	for sum < t.min*fewUnit {
		by := map[node]int{from: -1}
		queue := []node{from}
		for len(queue) > 0 {
			n := queue[0]
			queue = queue[1:]
			lines := t.columns
			if n.row {
				lines = t.rows
			}
			for _, j := range lines[n.name] {
				next := node{true, t.cells[j].row}
				if n.row {
					next = node{false, t.cells[j].column}
				}
				if _, seen := by[next]; seen || !t.cells[j].hidden || n.row && flow[j] >= int64(t.capacity(j)) {
					continue
				}
				by[next] = j
				queue = append(queue, next)
			}
			if _, ok := by[to]; ok {
				break
			}
		}
		if _, ok := by[to]; !ok {
			return sum
		}
		room := int64(t.min * fewUnit)
		back := func(f func(cell int, forwards bool)) {
			for n := to; n != from; {
				j := by[n]
				f(j, !n.row)
				n = node{!n.row, t.cells[j].column}
				if n.row {
					n.name = t.cells[j].row
				}
			}
		}
		back(func(j int, forwards bool) {
			if forwards {
				room = min(room, int64(t.capacity(j))-flow[j])
			}
		})
		back(func(j int, forwards bool) {
			if forwards {
				flow[j] += room
			} else {
				flow[j] -= room
			}
		})
		sum += uint64(room)
	}
	return sum
}

// hideLines hides all of a cell's row and column, then of the largest row and column, until it is safe.
func (t *fewTable) hideLines(i int) bool {
	largest := func(lines map[string][]int) (best []int) {
		var most uint64
		for _, name := range sortedLines(lines) {
			if n := visitorsIn(t.cells, lines[name]); best == nil || n > most {
				best, most = lines[name], n
			}
		}
		return best
	}
	for _, line := range [][]int{t.rows[t.cells[i].row], t.columns[t.cells[i].column], largest(t.rows), largest(t.columns)} {
		for _, j := range line {
			t.cells[j].hidden = true
		}
		if t.safe(i) {
			return true
		}
	}
	return false
}

func sortedLines(lines map[string][]int) []string { return slices.Sorted(maps.Keys(lines)) }

func visitorsIn(cells []fewCell, line []int) (n uint64) {
	for _, i := range line {
		n += cells[i].visitors
	}
	return n
}

// fewTries bounds how many rows and columns are looked at for the cheapest way round.
const fewTries = 64

// hideRound hides the cheapest three cells that with cell i make a rectangle, the two beside it
// not small.
func (t *fewTable) hideRound(i int) bool {
	c := &t.cells[i]
	beside := func(line []int) []int {
		var out []int
		for _, j := range line {
			if !t.small(j) {
				out = append(out, j)
			}
		}
		slices.SortFunc(out, t.smallest)
		return out[:min(len(out), fewTries)]
	}
	cost := func(j int) uint64 {
		if t.cells[j].hidden {
			return 0
		}
		return t.cells[j].visitors
	}
	ins := beside(t.columns[c.column])
	best, found := [3]int{}, false
	var price uint64
	for _, out := range beside(t.rows[c.row]) {
		for _, in := range ins {
			corner, ok := t.at[[2]string{t.cells[in].row, t.cells[out].column}]
			if !ok {
				continue
			}
			if p := cost(out) + cost(in) + cost(corner); !found || p < price {
				best, price, found = [3]int{out, in, corner}, p, true
			}
		}
	}
	if found {
		for _, j := range best {
			t.cells[j].hidden = true
		}
	}
	return found
}

// shownColumns are the columns of which the part that the filters leave can be told, with all that
// the table tells already: that is a table in which each such column is two, the part and the rest.
// A column in which a small cell could then be worked out stays one. (A part that is small itself is
// one of its own cells' smallest cuts, and so never told.)
func (t *fewTable) shownColumns(in func(flags string) bool) map[string]bool {
	shown := map[string]bool{}
	for _, c := range t.cells {
		if in(c.flags) {
			shown[c.column] = true
		}
	}
	// A single hidden cell on one side would be told as it is.
	for column := range shown {
		var sides [2]int
		for _, i := range t.columns[column] {
			if c := t.cells[i]; c.hidden && in(c.flags) {
				sides[0]++
			} else if c.hidden {
				sides[1]++
			}
		}
		if min(sides[0], sides[1]) == 1 {
			delete(shown, column)
		}
	}
	for {
		var cells []fewCell
		for _, c := range t.cells {
			if c.row = "r" + c.row; shown[c.column] {
				c.column = map[bool]string{true: "+", false: "-"}[in(c.flags)] + c.column
			} else {
				c.column = "=" + c.column
			}
			cells = append(cells, c)
		}
		split := newFewTable(t.min, cells)
		again := false
		for i, c := range split.cells {
			if !c.hidden || !split.small(i) || split.safe(i) {
				continue
			}
			again = again || shown[c.column[1:]]
			if shown[c.column[1:]] {
				delete(shown, c.column[1:])
				continue
			}
			// A whole column's cell: some part that is shown leaves too few ways round it.
			for _, j := range split.rows[c.row] {
				if o := split.cells[j]; o.hidden && shown[o.column[1:]] {
					delete(shown, o.column[1:])
					again = true
				}
			}
			for _, j := range split.columns[c.column] {
				for _, k := range split.rows[split.cells[j].row] {
					if o := split.cells[k]; o.hidden && shown[o.column[1:]] {
						delete(shown, o.column[1:])
						again = true
					}
				}
			}
		}
		if !again {
			break
		}
	}
	return shown
}

// shownSum tells whether the sum of the cells that the filters leave is told by the table already:
// where no hidden cell is among them, or the hidden ones of whole rows or of whole columns.
func (t *fewTable) shownSum(in func(flags string) bool) bool {
	whole := func(lines map[string][]int) bool {
		for _, line := range lines {
			some, rest := false, false
			for _, i := range line {
				if t.cells[i].hidden {
					some, rest = some || in(t.cells[i].flags), rest || !in(t.cells[i].flags)
				}
			}
			if some && rest {
				return false
			}
		}
		return true
	}
	return whole(t.rows) || whole(t.columns)
}
