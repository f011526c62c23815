package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func write(t testing.TB, s *Store, events []event.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Write(ctx, &event.Batch{ID: rand.Uint64() | 1, Events: events}); err != nil {
		t.Fatal(err)
	}
}

// TestRandomReports compares random questions about random traffic with the reference.
func TestRandomReports(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, name := range []string{"Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"} {
			t.Run(name, func(t *testing.T) {
				g := &generator{rng: rand.New(rand.NewPCG(1, 2)), site: name + ".example", zone: zone(t, name)}
				// The clocks change in the middle.
				first := event.DayOf(time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC))
				ref := &reference{}
				for d := range 16 {
					ref.events = append(ref.events, g.day(first+event.Day(d), 25)...)
				}
				write(t, s, ref.events)
				for i := range 100 {
					compareReport(t, s, ref, g.query(first, 16), fmt.Sprint("query ", i))
				}
				for i := range 20 {
					compareOverview(t, s, ref, g.overview(first, 16), fmt.Sprint("overview ", i))
				}
			})
		}
	})
}

func compareReport(t *testing.T, s *Store, ref *reference, q Query, name string) {
	t.Helper()
	res, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, describe(q))
	}
	if got, want := show(res.Rows), show(ref.query(q)); got != want {
		t.Fatalf("%s\n%s\ngot:\n%s\nwant:\n%s", name, describe(q), got, want)
	}
}

func compareOverview(t *testing.T, s *Store, ref *reference, q OverviewQuery, name string) {
	t.Helper()
	got, err := s.Overview(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v\n%+v", name, err, q)
	}
	want := ref.overview(q)
	for _, c := range []struct {
		part      string
		got, want any
	}{
		{"totals", got.Totals, want.Totals}, {"previous", got.Previous, want.Previous}, {"series", got.Series, want.Series},
		{"previous series", got.PreviousSeries, want.PreviousSeries}, {"panels", got.Panels, want.Panels},
		{"email", got.Email, want.Email}, {"has data", got.HasData, want.HasData},
	} {
		if g, w := fmt.Sprintf("%+v", c.got), fmt.Sprintf("%+v", c.want); g != w {
			t.Fatalf("%s: %s\n%+v\ngot:\n%s\nwant:\n%s", name, c.part, q, g, w)
		}
	}
}
