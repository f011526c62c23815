package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// What was masked is counted by page and kind, from events and from the books.
func TestMaskedPages(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		b := &event.Batch{ID: 7}
		for i, e := range []event.Event{
			{Page: "/welcome/(email)", Masked: 1}, {Page: "/welcome/(email)", Masked: 1 | 2}, {Page: "/quiet"}, {Page: "/x/(token)", Masked: 32},
		} {
			made := testEvent(uint64(i + 1))
			made.Site, made.Page, made.Masked, made.Time, made.Day = "example.org", e.Page, e.Masked, noon.Unix(), event.DayOf(noon)
			b.Events = append(b.Events, made)
		}
		b.Drops = []event.Drop{
			{Site: "example.org", Minute: noon.Unix() / 60, Reason: "pii", Count: 3, Masked: 1, Page: "/x/(email)"},
			{Site: "example.org", Minute: noon.Unix() / 60, Reason: "pii", Count: 1, Masked: 1, Page: "/welcome/(email)"},
			{Site: "example.org", Minute: noon.Unix() / 60, Reason: "bot", Count: 5},
			{Site: "example.net", Minute: noon.Unix() / 60, Reason: "pii", Count: 1, Masked: 4, Page: event.OtherPages},
		}
		if err := s.Write(testContext(t), b); err != nil {
			t.Fatal(err)
		}
		got, err := s.MaskedPages(testContext(t), LedgerQuery{Site: "example.org", From: noon.Add(-time.Hour), To: noon.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		want := []MaskedPage{
			{"example.org", "email", "/welcome/(email)", 2, 1}, {"example.org", "email", "/x/(email)", 0, 3},
			{"example.org", "phone", "/welcome/(email)", 1, 0}, {"example.org", "token", "/x/(token)", 1, 0},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
		if all, err := s.MaskedPages(testContext(t), LedgerQuery{}); err != nil || len(all) != 5 || all[4].Site+all[4].Kind != "example.orgtoken" {
			t.Errorf("of all sites: %+v, %v", all, err)
		}
		if none, err := s.MaskedPages(testContext(t), LedgerQuery{From: noon.Add(time.Minute)}); err != nil || len(none) != 0 {
			t.Errorf("later: %+v, %v", none, err)
		}
	})
}
