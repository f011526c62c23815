package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// onEachAt is onEach with a clock.
func onEachAt(t *testing.T, now time.Time, test func(t *testing.T, s *Store)) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			o.Now = func() time.Time { return now }
			test(t, openStore(t, o))
		})
	}
}

func closedDays(t *testing.T, s *Store, site string) int {
	t.Helper()
	conn, err := s.conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states, err := s.reporter(conn).dayStates(t.Context(), site, frag("1"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range states {
		if d.closed() {
			n++
		}
	}
	return n
}

// TestRollupsAnswerAsEvents compares rollups with the reference, cell by cell: while days
// are closed, when late events have come, and when the days have been built again.
func TestRollupsAnswerAsEvents(t *testing.T) {
	kolkata := zone(t, "Asia/Kolkata")
	first := event.DayOf(time.Date(2026, 9, 28, 12, 0, 0, 0, time.UTC)) // all of October among them
	const days = 38
	now := (first + days - 1).Start(kolkata).Add(12 * time.Hour)
	zones := func(string) *time.Location { return kolkata }
	onEachAt(t, now, func(t *testing.T, s *Store) {
		g := &generator{rng: rand.New(rand.NewPCG(3, 4)), site: "rolled.example", zone: kolkata}
		ref := &reference{}
		for d := range event.Day(days) {
			if d != 3 { // a day without events
				ref.events = append(ref.events, g.day(first+d, 8)...)
			}
		}
		write(t, s, ref.events)
		check := func(when string, n int) {
			t.Helper()
			for i := range n {
				q := g.query(first, days)
				if q.Filters = nil; filtersBy(nil, "event:page") || strings.Contains(fmt.Sprint(q.Metrics), "conversion") && !strings.Contains(fmt.Sprint(q.Dimensions), "goal") ||
					(strings.Contains(fmt.Sprint(q.Metrics), "scroll") || strings.Contains(fmt.Sprint(q.Metrics), "time_on")) && !strings.Contains(fmt.Sprint(q.Dimensions), "event:page") {
					continue // needed the filters
				}
				compareReport(t, s, ref, q, fmt.Sprint(when, ", query ", i))
			}
			for i := range n / 5 {
				q := g.overview(first, days)
				q.Filters = nil
				compareOverview(t, s, ref, q, fmt.Sprint(when, ", overview ", i))
			}
		}
		stats, err := s.Rollup(t.Context(), zones)
		if err != nil || stats.Closed != days-2 {
			t.Fatalf("closed %d days (%v), want all but the empty one and today", stats.Closed, err)
		}
		months := func() int {
			t.Helper()
			conn, err := s.conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p := periodOf(kolkata, first.Start(kolkata), now)
			x, err := s.reporter(conn).route(t.Context(), g.site, &p, false)
			if err != nil {
				t.Fatal(err)
			}
			return len(x.months.builds)
		}
		if months() != 1 {
			t.Fatal("October is not read as a month")
		}
		check("closed", 40)
		if stats, err := s.Rollup(t.Context(), zones); err != nil || stats != (RollupStats{}) {
			t.Fatalf("a second round did %+v (%v)", stats, err)
		}

		late := append(g.day(first+1, 5), g.day(first+3, 4)...)
		late = append(late, g.day(first+20, 1)...)
		ref.events = append(ref.events, late...)
		write(t, s, late)
		if n := closedDays(t, s, g.site); n != days-4 || months() != 0 {
			t.Fatalf("%d days are closed after late events, want %d", n, days-4)
		}
		check("late", 20)
		if stats, err := s.Rollup(t.Context(), zones); err != nil || stats != (RollupStats{Closed: 1, Rebuilt: 2}) {
			t.Fatalf("rebuilding did %+v (%v)", stats, err)
		}
		if n := closedDays(t, s, g.site); n != days-1 || months() != 1 {
			t.Fatalf("%d days are closed, want %d", n, days-1)
		}
		check("rebuilt", 30)
		if err := s.tidyRollups(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		check("tidied", 10)
	})
}

// failing is a connection whose statements fail from the n-th on, before or after they
// have had their effect.
type failing struct {
	driver.Conn
	n     int
	after bool
}

var errCut = errors.New("cut short")

func (f *failing) Exec(ctx context.Context, query string, args ...any) error {
	f.n--
	if f.n < 0 && !f.after {
		return errCut
	}
	err := f.Conn.Exec(ctx, query, args...)
	if f.n < 0 {
		return errCut
	}
	return err
}

// TestRollupCutShort ends a build at each of its statements, and lets late events come in
// between: the answers stay those of the events, and the next round finishes the work.
func TestRollupCutShort(t *testing.T) {
	day := event.DayOf(time.Date(2026, 10, 26, 12, 0, 0, 0, time.UTC))
	now := (day + 3).Start(time.UTC)
	onEachAt(t, now, func(t *testing.T, s *Store) {
		conn, err := s.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g := &generator{rng: rand.New(rand.NewPCG(5, 6)), site: "cut.example", zone: time.UTC}
		ref := &reference{}
		more := func() {
			late := g.day(day, 6)
			ref.events = append(ref.events, late...)
			write(t, s, late)
		}
		check := func(when string) {
			t.Helper()
			for _, dims := range [][]string{{}, {"event:page"}} {
				compareReport(t, s, ref, Query{Site: g.site, Zone: time.UTC, From: day.Start(time.UTC), To: (day + 1).Start(time.UTC), Now: now,
					Metrics: []string{"visitors", "visits", "pageviews", "events", "bounce_rate", "visit_duration", "views_per_visit"}, Dimensions: dims}, when)
			}
		}
		more()
		for n := range 3 {
			for _, after := range []bool{false, true} {
				when := fmt.Sprint("cut at ", n, " after ", after)
				r := s.reporter(&failing{conn, n, after})
				if err := s.buildDay(t.Context(), r, siteDay{g.site, day}); !errors.Is(err, errCut) {
					t.Fatalf("%s: %v", when, err)
				}
				check(when)
				more() // the process lives on
				check(when + ", with late events")
				s.days = dayTracker{} // or it was killed
				more()
				check(when + ", killed, with late events")
			}
		}
		if _, err := s.Rollup(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if n := closedDays(t, s, g.site); n != 1 {
			t.Fatal("the day is not closed in the end")
		}
		check("closed")
	})
}

// TestRollupRaces writes late events while the day is built again and again: no answer
// ever lacks what Write has returned for.
func TestRollupRaces(t *testing.T) {
	day := event.DayOf(time.Date(2026, 10, 26, 12, 0, 0, 0, time.UTC))
	now := (day + 3).Start(time.UTC)
	onEachAt(t, now, func(t *testing.T, s *Store) {
		g := &generator{rng: rand.New(rand.NewPCG(7, 8)), site: "race.example", zone: time.UTC}
		write(t, s, g.day(day, 10))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			for ctx.Err() == nil {
				if _, err := s.Rollup(ctx, nil); err != nil && ctx.Err() == nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		count := func() float64 {
			res, err := s.Query(t.Context(), Query{Site: g.site, From: day.Start(time.UTC), To: (day + 1).Start(time.UTC), Metrics: []string{"events"}})
			if err != nil {
				t.Fatal(err)
			}
			return *res.Rows[0].Metrics[0]
		}
		want := count()
		for range 15 {
			write(t, s, []event.Event{{ID: g.id(), Site: g.site, Day: day, Time: day.Start(time.UTC).Unix(), Kind: event.PageView, Name: "pageview", Page: "/"}})
			want++
			if got := count(); got != want {
				t.Fatalf("%v events, want %v", got, want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestRollupCap lays the smallest values together and keeps the sums.
func TestRollupCap(t *testing.T) {
	day := event.DayOf(time.Date(2026, 10, 26, 12, 0, 0, 0, time.UTC))
	onEachAt(t, (day + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		g := &generator{rng: rand.New(rand.NewPCG(9, 10)), site: "wide.example", zone: time.UTC}
		var events []event.Event
		for i := range 30 {
			for range 30 - i {
				v := event.Visit{ID: g.id(), EntryPage: fmt.Sprintf("/%02d", i)}
				events = append(events, event.Event{ID: g.id(), Site: g.site, Day: day, Time: day.Start(time.UTC).Unix(), VisitorID: g.id(),
					Visit: v, Kind: event.PageView, Name: "pageview", Page: v.EntryPage})
			}
		}
		write(t, s, events)
		conn, err := s.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := s.reporter(conn)
		// capped tells of the queries' dimensions on how many days they have an Other.
		capped := func(days event.Day) (out [4]int) {
			t.Helper()
			from, to := day.Start(time.UTC), (day + days).Start(time.UTC)
			for i, dim := range []string{"event:page", "visit:source"} {
				res, err := s.Query(t.Context(), Query{Site: g.site, From: from, To: to, Metrics: []string{"visitors"}, Dimensions: []string{dim}})
				if err != nil {
					t.Fatal(err)
				}
				out[i] = res.Capped[dim]
			}
			o, err := s.Overview(t.Context(), OverviewQuery{Site: g.site, Zone: time.UTC, From: from, To: to, Now: to, Interval: "time:day",
				Panels: []string{"visit:source", "event:page", "visit:entry_page", "visit:browser"}})
			if err != nil {
				t.Fatal(err)
			}
			if n := o.Panels[0].Capped + o.Panels[3].Capped; n != 0 {
				t.Errorf("what has few values is capped on %d days", n)
			}
			out[2], out[3] = o.Panels[1].Capped, o.Panels[2].Capped
			return out
		}
		if got := capped(1); got != [4]int{} {
			t.Errorf("events are capped: %v", got)
		}
		r.limits.values = 3
		if err := s.buildDay(t.Context(), r, siteDay{g.site, day}); err != nil {
			t.Fatal(err)
		}
		res, err := s.Query(t.Context(), Query{Site: g.site, From: day.Start(time.UTC), To: (day + 1).Start(time.UTC),
			Metrics: []string{"visitors", "pageviews"}, Dimensions: []string{"event:page"}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := show(res.Rows), "[\"(other)\"] 378 378\n[\"/00\"] 30 30\n[\"/01\"] 29 29\n[\"/02\"] 28 28\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if err := s.tidyRollups(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := capped(1); got != [4]int{1, 0, 1, 1} {
			t.Errorf("the day is capped: %v", got)
		}

		// The next day too, with a value that is called as the rest is.
		var next []event.Event
		for i, e := range events[:60] {
			e.ID, e.Visit.ID, e.VisitorID, e.Day, e.Time = g.id(), g.id(), g.id(), day+1, (day + 1).Start(time.UTC).Unix()
			if e.Visit.UTMCampaign = fmt.Sprint(i % 3); i%3 == 0 {
				e.Visit.UTMCampaign = Other
			}
			next = append(next, e)
		}
		write(t, s, next)
		campaigns := func() string {
			t.Helper()
			res, err := s.Query(t.Context(), Query{Site: g.site, From: (day + 1).Start(time.UTC), To: (day + 2).Start(time.UTC),
				Metrics: []string{"visitors"}, Dimensions: []string{"visit:utm_campaign"}})
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(show(res.Rows), res.Capped)
		}
		if got, want := campaigns(), "[\"(other)\"] 20\n[\"1\"] 20\n[\"2\"] 20\nmap[]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		r.limits.values = 1
		if err := s.buildDay(t.Context(), r, siteDay{g.site, day + 1}); err != nil {
			t.Fatal(err)
		}
		if got, want := campaigns(), "[\"(other)\"] 60\nmap[visit:utm_campaign:1]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := capped(2); got != [4]int{2, 0, 2, 2} {
			t.Errorf("both days are capped: %v", got)
		}
		// Built again with room for all, nothing is left of it.
		r.limits.values = RollupCap
		for d := range event.Day(2) {
			if err := s.buildDay(t.Context(), r, siteDay{g.site, day + d}); err != nil {
				t.Fatal(err)
			}
		}
		if got := capped(2); got != [4]int{} {
			t.Errorf("built anew, they are capped: %v", got)
		}
	})
}

// TestLongIDs: ids that outlive a day are counted once, not added up.
func TestLongIDs(t *testing.T) {
	day := event.DayOf(time.Date(2026, 10, 26, 12, 0, 0, 0, time.UTC))
	onEachAt(t, (day + 1).Start(time.UTC).Add(12*time.Hour), func(t *testing.T, s *Store) {
		var events []event.Event
		for d := range event.Day(2) {
			for v := range uint64(3) {
				events = append(events, event.Event{ID: rand.Uint64(), Site: "week.example", Day: day + d, Time: (day + d).Start(time.UTC).Unix(),
					VisitorID: v + 1, Visit: event.Visit{ID: rand.Uint64() | 1}, Kind: event.PageView, Name: "pageview", Page: "/"})
			}
		}
		write(t, s, events)
		if stats, err := s.Rollup(t.Context(), nil); err != nil || stats.Closed != 0 {
			t.Fatalf("%+v %v: the day is not over everywhere", stats, err)
		}
		if stats, err := s.Rollup(t.Context(), func(string) *time.Location { return time.UTC }); err != nil || stats.Closed != 1 {
			t.Fatalf("%+v %v", stats, err)
		}
		q := Query{Site: "week.example", From: day.Start(time.UTC), To: (day + 2).Start(time.UTC), Metrics: []string{"visitors", "visits"}, LongIDs: true}
		for _, long := range []bool{true, false} { // without the hint the closed day knows it
			q.LongIDs = long
			res, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(res.Rows); got != "[] 3 6\n" {
				t.Errorf("hint %v: %s", long, got)
			}
		}
	})
}

// TestRunRollups: the job closes what is over, notices a rollup that has lost rows, and ends
// with its context.
func TestRunRollups(t *testing.T) {
	onEachAt(t, (caseDay + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		write(t, s, caseEvents())
		run := func(until func() bool) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.RunRollups(ctx, func(string) *time.Location { return caseZone }) }()
			for deadline := time.Now().Add(30 * time.Second); !until(); {
				if time.Now().After(deadline) {
					t.Error("the job does not do its work")
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the job ended with %v", err)
			}
		}
		run(func() bool { return closedDays(t, s, "case.example") == 2 })

		// The log names a build of which the table has fewer rows than there were.
		conn, err := s.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lost := dayEntry{What: dayBuilt, Build: 77, Gen: 9, Lines: 5, At: s.now().Unix()}
		if err := s.reporter(conn).addDays(t.Context(), lost, siteDay{"case.example", caseDay}); err != nil {
			t.Fatal(err)
		}
		events := func() float64 {
			q := caseQuery(t, [2]string{"2026-11-03", "2026-11-05"})
			q.Metrics = []string{"events"}
			res, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return *res.Rows[0].Metrics[0]
		}
		if events() == 11 {
			t.Fatal("the test loses nothing")
		}
		run(func() bool { return events() == 11 })
	})
}
