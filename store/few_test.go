package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// Random questions and dashboards under min_visitors: no row, view or panel shows fewer visitors, and a
// dashboard says what the Stats API says.
func TestFewEverywhere(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		g := &generator{rng: rand.New(rand.NewPCG(8, 9)), site: "few.example", zone: time.UTC}
		first := event.DayOf(time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC))
		var events []event.Event
		for d := range 6 {
			events = append(events, g.day(first+event.Day(d), 40)...)
		}
		write(t, s, events)
		const least = 5
		reports := Reports{Store: s, Min: func(string) int { return least }}
		withheld, few := 0, 0
		for i := range 60 {
			q := g.query(first, 6)
			q.Limit, q.OrderBy = 0, nil
			if !slices.Contains(q.Metrics, "visitors") {
				q.Metrics = append(slices.Clone(q.Metrics), "visitors")
			}
			res, err := reports.Query(t.Context(), q)
			if err != nil {
				t.Fatalf("query %d: %v\n%s", i, err, describe(q))
			}
			if res.Withheld == WithheldView {
				withheld++
				continue
			}
			timed := slices.ContainsFunc(q.Dimensions, func(d string) bool { x, ok := dimensionOf(d); return d == "time" || ok && x.kind == dimTime })
			for _, row := range res.Rows {
				if slices.Contains(row.Dimensions, Few) {
					few++
					if timed { // a step of time as a whole may have fewer
						continue
					}
				}
				if v := row.Metrics[slices.Index(q.Metrics, "visitors")]; v != nil && *v < least && len(q.Filters)+len(q.Dimensions) > 0 && (!timed || len(q.Filters) > 0) {
					t.Fatalf("query %d: row %q shows %v visitors\n%s", i, row.Dimensions, *v, describe(q))
				}
			}
		}
		for i := range 15 {
			q := g.overview(first, 6)
			q.Limit = 100
			o, err := reports.Overview(t.Context(), q)
			if err != nil {
				t.Fatalf("overview %d: %v\n%+v", i, err, q)
			}
			for _, p := range o.Panels {
				if o.Totals.Withheld && len(p.Rows) > 0 {
					t.Fatalf("overview %d: a withheld view has a panel\n%+v", i, q)
				}
				for _, row := range p.Rows {
					if row.Visitors < least && !row.Withheld {
						t.Fatalf("overview %d: %s shows %+v\n%+v", i, p.Dimension, row, q)
					}
				}
				if name := p.Dimension; slices.Contains([]string{"visit:source", "event:page", "visit:exit_page", "event:props:plan"}, name) {
					res, err := reports.Query(t.Context(), Query{Site: q.Site, Zone: q.Zone, From: q.From, To: q.To, Now: q.Now, Filters: q.Filters,
						Metrics: []string{"visitors", "pageviews"}, Dimensions: []string{name}})
					if err != nil {
						t.Fatal(err)
					}
					got := map[string]string{}
					for _, row := range p.Rows {
						got[row.Value] = fmt.Sprint(row.Visitors, row.PageViews)
					}
					for _, row := range res.Rows {
						want := fmt.Sprint(0, uint64(*row.Metrics[1]))
						if row.Metrics[0] != nil {
							want = fmt.Sprint(uint64(*row.Metrics[0]), uint64(*row.Metrics[1]))
						}
						if v := row.Dimensions[0]; v != "" && got[v] != want {
							t.Errorf("overview %d: %s %q: the panel says %q, the Stats API %q\n%+v", i, name, v, got[v], want, q)
						}
					}
				}
			}
			for _, p := range o.Series {
				if len(q.Filters) > 0 && !p.Withheld && p.Visitors < least {
					t.Fatalf("overview %d: a step shows %d visitors\n%+v", i, p.Visitors, q)
				}
			}
		}
		if withheld == 0 || few == 0 {
			t.Errorf("%d views withheld, %d rows of few: nothing was tried", withheld, few)
		}
	})
}

func TestFewRealtime(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	o := backends()[0].options(t)
	o.Now = func() time.Time { return now }
	s := openStore(t, o)
	reports := Reports{Store: s, Min: func(site string) int { return map[string]int{"small.example": 5}[site] }}
	seen := func(site string, n int) {
		var out []event.Event
		for i := range n {
			e := testEvent(uint64(i + 1))
			e.Site, e.Day, e.Time, e.VisitorID = site, testDay, now.Unix()-60, rand.Uint64()|1
			out = append(out, e)
		}
		write(t, s, out)
	}
	var few *FewError
	if _, err := reports.Realtime(t.Context(), "small.example"); !errors.As(err, &few) || few.Min != 5 {
		t.Errorf("nobody: %v", err)
	}
	seen("small.example", 4)
	if n, err := reports.Realtime(t.Context(), "small.example"); !errors.As(err, &few) || n != 0 {
		t.Errorf("4 visitors: %d, %v", n, err)
	}
	seen("small.example", 1)
	if n, err := reports.Realtime(t.Context(), "small.example"); n != 5 || err != nil {
		t.Errorf("5 visitors: %d, %v", n, err)
	}
	seen("open.example", 1)
	if n, err := reports.Realtime(t.Context(), "open.example"); n != 1 || err != nil {
		t.Errorf("without a rule: %d, %v", n, err)
	}
}

func TestMergeFew(t *testing.T) {
	row := func(c string, opens, openers uint64) EmailRow {
		return EmailRow{Campaign: c, Opens: opens, Openers: openers}
	}
	for name, c := range map[string]struct{ in, want []EmailRow }{
		"all large":             {[]EmailRow{row("a", 9, 9), row("b", 8, 5)}, []EmailRow{row("a", 9, 9), row("b", 8, 5)}},
		"two small ones":        {[]EmailRow{row("a", 9, 9), row("b", 4, 3), row("c", 3, 3)}, []EmailRow{row("a", 9, 9), row(Few, 7, 6)}},
		"one small, one joins":  {[]EmailRow{row("a", 9, 9), row("b", 8, 5), row("c", 3, 3)}, []EmailRow{row("a", 9, 9), row(Few, 11, 8)}},
		"only one, and small":   {[]EmailRow{row("c", 3, 3)}, nil},
		"small ones, too small": {[]EmailRow{row("b", 3, 2), row("c", 3, 2)}, nil},
	} {
		if got := mergeFew(c.in, 5); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
