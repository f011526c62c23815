package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// What privacy rules speak of is found in the tables, on every database.
func TestSurvey(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		today := event.DayOf(now)
		b := &event.Batch{ID: 9}
		for i, at := range []time.Time{now, now.AddDate(0, 0, -1), now.AddDate(-3, 0, 0)} {
			e := testEvent(uint64(i + 1))
			e.Site, e.Time, e.Day, e.Page, e.Title, e.Network = "example.org", at.Unix(), event.DayOf(at), "/", "", ""
			e.Visit = event.Visit{ID: e.Visit.ID}
			e.Revenue, e.Currency, e.Props = 0, "", nil
			if i == 1 {
				e.Page, e.Network, e.Currency, e.Revenue, e.Visit.UTMSource = "/old", "198.18.0.0/16", "EUR", 5, "mail"
				e.Props = []event.Prop{{Key: "user_id", Value: "7"}}
			}
			b.Events = append(b.Events, e)
		}
		ctx := testContext(t)
		if err := s.Write(ctx, b); err != nil {
			t.Fatal(err)
		}
		oldest, err := s.OldestRows(ctx)
		if err != nil || len(oldest) == 0 || oldest[0].Table != "events" || oldest[0].Site != "example.org" || !oldest[0].Time.Equal(now.AddDate(-3, 0, 0)) {
			t.Errorf("oldest: %+v, %v", oldest, err)
		}
		if columns, err := s.EventColumns(ctx); err != nil || !slices.Contains(columns, "visitor_id") {
			t.Errorf("columns: %v, %v", columns, err)
		}
		got, err := s.Survey(ctx, "example.org", today-90, today, today)
		if err != nil || got.Revenue != 1 || got.Campaigns != 1 || got.Network != 16 || !slices.Equal(got.Props, []string{"user_id"}) || !slices.Equal(got.Texts, []string{"/"}) {
			t.Errorf("%+v, %v", got, err)
		}
		if none, err := s.Survey(ctx, "example.net", today-90, today, today); err != nil || none.Revenue+none.Campaigns != 0 || none.Network != 0 {
			t.Errorf("of another site: %+v, %v", none, err)
		}
	})
}

// Under grain: day nothing but page views is told by the hour.
func TestDaily(t *testing.T) {
	r := Reports{Min: func(string) int { return 0 }, Daily: func(string) bool { return true }}
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	ask := func(hours int, metric string, dims []string, filters ...Filter) bool {
		q := Query{Site: "example.org", Zone: time.UTC, From: day, To: day.Add(time.Duration(hours) * time.Hour), Now: day.AddDate(0, 0, 4), Metrics: []string{metric}, Dimensions: dims, Filters: filters}
		return q.tooFine()
	}
	page := Filter{Op: "is", Dimension: "event:page", Values: []string{"/"}}
	source := Filter{Op: "is", Dimension: "visit:source", Values: []string{"x"}}
	for i, x := range []struct{ got, want bool }{
		{ask(24, "pageviews", []string{"time:hour"}), false},
		{ask(24, "pageviews", []string{"time:hour", "event:page"}, page), false},
		{ask(48, "visitors", []string{"time:day", "visit:source"}, source), false},
		{ask(24, "visitors", []string{"time:hour"}), true},
		{ask(24, "visitors", []string{"time"}), true},
		{ask(24, "pageviews", []string{"time:hour", "visit:source"}), true},
		{ask(24, "pageviews", []string{"time:hour"}, source), true},
		{ask(5, "visitors", []string{"visit:source"}), true},
		{ask(5, "pageviews", []string{"event:page"}), false},
	} {
		if x.got != x.want {
			t.Errorf("%d: too fine: %v", i, x.got)
		}
	}
	var refused *QueryError
	_, err := r.Query(context.Background(), Query{Site: "example.org", From: day, To: day.Add(24 * time.Hour), Metrics: []string{"visitors"}, Dimensions: []string{"time:hour"}})
	if !errors.As(err, &refused) {
		t.Errorf("Query: %v", err)
	}
	if _, err := r.Overview(context.Background(), OverviewQuery{Site: "example.org", From: day, To: day.Add(24 * time.Hour), Interval: "time:hour"}); !errors.As(err, &refused) {
		t.Errorf("Overview: %v", err)
	}
	if _, err := r.Realtime(context.Background(), "example.org"); !errors.As(err, &refused) {
		t.Errorf("Realtime: %v", err)
	}
}
