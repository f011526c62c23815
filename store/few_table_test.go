package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// isolated reports whether the indicator of some group of fewer than t.min visitors, cell i in it, is
// a_row + b_column on the hidden cells: for every choice of a and b, one row and column after the other.
func isolated(t *fewTable, i int) bool {
	var hidden []int
	for j := range t.cells {
		if t.cells[j].hidden {
			hidden = append(hidden, j)
		}
	}
	// Groups of hidden cells with i in them and too few visitors, each tried against the sums.
	var basis [][]int64
	reduce := func(g []int64) []int64 { return (&crowd{known: basis}).reduce(g) }
	for _, lines := range []map[string][]int{t.rows, t.columns} {
		for _, line := range lines {
			g := make([]int64, len(t.cells))
			for _, j := range line {
				if t.cells[j].hidden {
					g[j] = 1
				}
			}
			if g = reduce(g); g != nil {
				basis = append(basis, g)
			}
		}
	}
	var try func(from int, g []int64, visitors uint64) bool
	try = func(from int, g []int64, visitors uint64) bool {
		if reduce(g) == nil {
			return true
		}
		for n := from; n < len(hidden); n++ {
			j := hidden[n]
			if j == i || visitors+t.cells[j].visitors >= t.min {
				continue
			}
			more := append([]int64(nil), g...)
			more[j] = 1
			if try(n+1, more, visitors+t.cells[j].visitors) {
				return true
			}
		}
		return false
	}
	g := make([]int64, len(t.cells))
	g[i] = 1
	return try(0, g, t.cells[i].visitors)
}

// No group with a small cell can be worked out of random tables, by the strict count and not by the short
// one that hides.
func TestNoGroupIsSmall(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cells, shown, closed := 0, 0, 0
	for n := range 400 {
		// Every row and column stands for enough visitors, or it would be part of another.
		rows, columns, dense := 2+rng.IntN(5), 2+rng.IntN(5), 1+rng.IntN(4)
		visitors := map[[2]string]uint64{}
		for r := range rows {
			for c := range columns {
				if rng.IntN(4) < dense {
					v := uint64(1 + rng.IntN(30))
					if rng.IntN(2) == 0 {
						v = uint64(1 + rng.IntN(4))
					}
					visitors[[2]string{fmt.Sprint(r), fmt.Sprint(c)}] = v
				}
			}
		}
		for again := true; again; {
			again = false
			sums := map[string]uint64{}
			for k, v := range visitors {
				sums["r"+k[0]] += v
				sums["c"+k[1]] += v
			}
			for k := range visitors {
				if sums["r"+k[0]] < 5 || sums["c"+k[1]] < 5 {
					delete(visitors, k)
					again = true
				}
			}
		}
		var list []fewCell
		for r := range rows {
			for c := range columns {
				if v, ok := visitors[[2]string{fmt.Sprint(r), fmt.Sprint(c)}]; ok {
					list = append(list, fewCell{row: fmt.Sprint(r), column: fmt.Sprint(c), flags: "1", visitors: v, weight: v * fewUnit})
				}
			}
		}
		table := newFewTable(5, list)
		table.hide()
		all := len(list) > 0
		for i := range table.cells {
			if table.small(i) && !table.cells[i].hidden {
				t.Fatalf("table %d shows a small cell", n)
			}
			cells++
			if !table.cells[i].hidden {
				all = false
				shown++
			}
		}
		if all {
			closed++
			continue // nothing but the sums is told
		}
		for i := range table.cells {
			if table.small(i) && isolated(table, i) {
				t.Fatalf("table %d: cell %d is in a small group: %+v", n, i, table.cells)
			}
		}
	}
	t.Logf("%d of %d cells shown, %d of 400 tables hidden altogether", shown, cells, closed)
	if shown < cells/5 {
		t.Error("too much is hidden")
	}
}
