package period_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

const layout = "2006-01-02 15:04"

func TestNamed(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 11, 24, 8, 47, 11, 5, time.UTC) // 09:47 in Berlin
	first := time.Date(2026, 3, 9, 23, 30, 0, 0, time.UTC) // 10 March in Berlin
	for _, c := range []struct{ name, from, to, step string }{
		{period.Today, "2026-11-24 00:00", "2026-11-25 00:00", "hour"},
		{period.Yesterday, "2026-11-23 00:00", "2026-11-24 00:00", "hour"},
		{period.Last24h, "2026-11-23 10:00", "2026-11-24 10:00", "hour"},
		{period.Last7d, "2026-11-18 00:00", "2026-11-25 00:00", "day"},
		{period.Last28d, "2026-10-28 00:00", "2026-11-25 00:00", "day"},
		{period.Last30d, "2026-10-26 00:00", "2026-11-25 00:00", "day"},
		{period.Last91d, "2026-08-26 00:00", "2026-11-25 00:00", "day"},
		{period.Month, "2026-11-01 00:00", "2026-12-01 00:00", "day"},
		{period.LastMonth, "2026-10-01 00:00", "2026-11-01 00:00", "day"},
		{period.Last6mo, "2026-06-01 00:00", "2026-12-01 00:00", "week"},
		{period.Last12mo, "2025-12-01 00:00", "2026-12-01 00:00", "month"},
		{period.Year, "2026-01-01 00:00", "2027-01-01 00:00", "month"},
		{period.All, "2026-03-10 00:00", "2026-11-25 00:00", "month"},
	} {
		r, err := period.Named(c.name, now, berlin, first)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := r.From.Format(layout) + " " + r.To.Format(layout); got != c.from+" "+c.to {
			t.Errorf("%s = %s, want %s %s", c.name, got, c.from, c.to)
		}
		if r.Step() != c.step {
			t.Errorf("%s: step %s, want %s", c.name, r.Step(), c.step)
		}
	}
	if _, err := period.Named("fortnight", now, berlin, first); !errors.Is(err, period.ErrUnknown) {
		t.Errorf("fortnight: %v", err)
	}
}

func TestHalfHourZone(t *testing.T) {
	kolkata := zone(t, "Asia/Kolkata")
	now := time.Date(2026, 11, 24, 18, 40, 0, 0, time.UTC) // 00:10 on the 25th
	r, _ := period.Named(period.Last24h, now, kolkata, time.Time{})
	if got := r.From.Format(layout); got != "2026-11-24 01:00" {
		t.Errorf("24h begins %s", got)
	}
	r, _ = period.Named(period.Today, now, kolkata, time.Time{})
	if got := r.From.UTC().Format(layout); got != "2026-11-24 18:30" {
		t.Errorf("today begins %s UTC", got)
	}
}

// Where clocks are put forward at midnight the day has no 00:00.
func TestNoMidnight(t *testing.T) {
	z := zone(t, "America/Asuncion")
	now := time.Date(2023, 10, 1, 15, 0, 0, 0, z)
	r, _ := period.Named(period.Today, now, z, time.Time{})
	if got := r.From.Format(layout); got != "2023-10-01 01:00" {
		t.Errorf("today begins %s", got)
	}
	if d := r.To.Sub(r.From); d != 23*time.Hour {
		t.Errorf("today lasts %v", d)
	}
}

func TestPrevious(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	at := func(s string) time.Time {
		v, err := time.ParseInLocation(layout, s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ name, now, from, to string }{
		{period.Today, "2026-11-24 09:47", "2026-11-23 00:00", "2026-11-23 09:47"},
		{period.Yesterday, "2026-11-24 09:47", "2026-11-22 00:00", "2026-11-23 00:00"},
		{period.Last24h, "2026-11-24 09:47", "2026-11-22 10:00", "2026-11-23 09:47"},
		{period.Last7d, "2026-11-24 09:47", "2026-11-11 00:00", "2026-11-17 09:47"},
		{period.Month, "2026-11-24 09:47", "2026-10-01 00:00", "2026-10-24 09:47"},
		{period.Month, "2026-03-30 09:47", "2026-02-01 00:00", "2026-03-01 00:00"}, // February has no 30th
		{period.LastMonth, "2026-03-30 09:47", "2026-01-01 00:00", "2026-02-01 00:00"},
		{period.Last12mo, "2026-11-24 09:47", "2024-12-01 00:00", "2025-11-24 09:47"},
		// The week over the end of summer time: the clock is kept, not the hours.
		{period.Last7d, "2026-10-27 06:00", "2026-10-14 00:00", "2026-10-20 06:00"},
	} {
		now := at(c.now)
		r, err := period.Named(c.name, now, berlin, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		p := r.Previous(now)
		if got := p.From.Format(layout) + " " + p.To.Format(layout); got != c.from+" "+c.to {
			t.Errorf("before %s at %s = %s, want %s %s", c.name, c.now, got, c.from, c.to)
		}
	}
	r, _ := period.Dates("2024-02-29", "2024-02-29", berlin)
	y := r.YearBefore(at("2026-11-24 09:47"))
	if got := y.From.Format(layout) + " " + y.To.Format(layout); got != "2023-03-01 00:00 2023-03-01 00:00" {
		t.Errorf("a year before 29 February = %s", got)
	}
}

func TestDates(t *testing.T) {
	for _, c := range []struct{ from, to, err string }{
		{"2026-11-01", "2026-11-24", ""},
		{"yesterday", "2026-11-24", `the first date "yesterday" is not written like 2026-11-24`},
		{"2026-11-01", "", `the last date "" is not written like 2026-11-24`},
		{"2026-11-24", "2026-11-01", "the period ends (2026-11-01) before it begins (2026-11-24)"},
		{"1066-10-14", "1066-10-14", "dates lie between 1970 and 2148"},
	} {
		r, err := period.Dates(c.from, c.to, time.UTC)
		switch {
		case err == nil && c.err != "", err != nil && err.Error() != c.err:
			t.Errorf("%s..%s: %v, want %s", c.from, c.to, err, c.err)
		case err == nil && r.Days() != 24:
			t.Errorf("%d days", r.Days())
		}
	}
}
