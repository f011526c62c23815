package anonymize

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLiveDatesFollowTheZones(t *testing.T) {
	east, west := time.FixedZone("", 14*3600), time.FixedZone("", -12*3600)
	n := newNode(t, noon.Add(-time.Hour), nil, east, time.UTC, west) // 11:00 UTC: UTC-12 is in yesterday, UTC+14 in tomorrow
	if from, to := n.Live(); from != today-1 || to != today+1 {
		t.Fatalf("live from %d to %d, today is %d", from, to, today)
	}
	yesterday := n.id(Day, today-1)
	n.set(noon) // 00:00 in UTC-12: no call of Advance
	if n.id(Day, today-1) == yesterday {
		t.Error("the date is over everywhere, and its key still gives ids")
	}
	if from, to := n.Live(); from != today || to != today+1 {
		t.Errorf("live from %d to %d, today is %d", from, to, today)
	}
	// A site further west comes too late for a date that was erased.
	n.zones.Store(&[]*time.Location{time.FixedZone("", -13*3600)})
	n.advance(t, noon.Add(time.Minute))
	if from, _ := n.Live(); from != today {
		t.Errorf("the date %d came back", from)
	}
	if n.id(Day, today-1) != n.id(Day, today) {
		t.Error("its hits are not counted under the oldest live date")
	}
}

func TestSiteAddedFurtherEast(t *testing.T) {
	n := newNode(t, noon, testSeed)
	n.id(Day, today)
	n.zones.Store(&[]*time.Location{time.UTC, time.FixedZone("", 14*3600)}) // there it is tomorrow
	n.set(noon.Add(10 * time.Second))                                       // no call of Advance
	if got := n.id(Day, today+1); got != indID(indKey(testSeed, Day, today+1), Day, "example.org", visitor, string(agent)) {
		t.Error("the site's hits have no id of their own date")
	}
	if n.id(Day, today+2) != n.id(Day, today+1) {
		t.Error("a date that is nowhere yet has an id of its own")
	}
}

func TestClockSetBackNeverRecreatesAKey(t *testing.T) {
	n := newNode(t, noon, testSeed)
	yesterday := n.id(Day, today)
	n.advance(t, noon.AddDate(0, 0, 1))
	current, file := n.id(Day, today+1), n.file(t)
	n.set(noon.Add(-time.Hour))
	if err := n.Advance(); err != nil {
		t.Errorf("a clock that is set back by a day: %v", err)
	}
	if got := n.id(Day, today); got == yesterday || got != current {
		t.Error("a hit dated before the oldest live date is not counted under it")
	}
	n.set(noon.AddDate(0, -6, 0))
	if err := n.Advance(); !errors.Is(err, ErrClock) {
		t.Errorf("a clock that is set back by months: %v", err)
	}
	if got := n.id(Day, today-180); got != current {
		t.Error("the id changed with the clock set back")
	}
	if !bytes.Equal(n.file(t), file) {
		t.Error("the file changed with the clock set back")
	}
	again, err := Open(n.path, n.options(nil))
	if err != nil {
		t.Fatal(err)
	}
	if again.ID("example.org", Day, today, visitor, agent) != current {
		t.Error("a restart with the clock set back gave another id")
	}
	if !strings.Contains(n.logs.String(), "ahead") {
		t.Error("nothing was logged")
	}
}

func TestClockFarAheadBurnsNoKeys(t *testing.T) {
	n := newNode(t, noon, testSeed)
	id, file := n.id(Day, today), n.file(t)
	n.set(noon.AddDate(0, 0, MaxStep+1))
	if err := n.Advance(); !errors.Is(err, ErrClock) {
		t.Fatalf("a leap of %d days: %v", MaxStep+1, err)
	}
	if n.id(Day, today+MaxStep+1) != id {
		t.Error("a hit under a refused clock has an id of a later date")
	}
	if !bytes.Equal(n.file(t), file) {
		t.Error("the file followed a refused clock")
	}
	n.set(noon.Add(time.Minute))
	if n.id(Day, today) != id {
		t.Error("with the clock right again the id is another one")
	}
	n.set(noon.AddDate(0, 0, 1)) // lazily: the refusal must not have put the next step off
	if got := n.id(Day, today+1); got != indID(indKey(testSeed, Day, today+1), Day, "example.org", visitor, string(agent)) {
		t.Error("the next day has the wrong id")
	}
	if from, _ := n.Live(); from != today+1 {
		t.Errorf("the oldest live date is %d on %d", from, today+1)
	}
	n.advance(t, noon.AddDate(0, 0, 1+MaxStep))
}

func TestDowntime(t *testing.T) {
	n := newNode(t, noon, testSeed)
	file := n.file(t)
	n.set(noon.AddDate(0, 0, MaxDowntime+1))
	_, err := Open(n.path, n.options(nil))
	if !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("after %d days: %v", MaxDowntime+1, err)
	}
	if !bytes.Equal(n.file(t), file) {
		t.Error("the file changed")
	}
	n.set(noon.AddDate(0, 0, MaxDowntime))
	r, err := Open(n.path, n.options(nil))
	if err != nil {
		t.Fatal(err)
	}
	day := today + MaxDowntime
	if from, to := r.Live(); from != day || to != day {
		t.Errorf("live from %d to %d on %d", from, to, day)
	}
	if got := r.ID("example.org", Day, day, visitor, agent); got != indID(indKey(testSeed, Day, day), Day, "example.org", visitor, string(agent)) {
		t.Error("the keys did not follow")
	}
	n.set(time.Unix(-1, 0))
	if _, err := Open(filepath.Join(t.TempDir(), "keys"), n.options(nil)); !errors.Is(err, ErrClock) {
		t.Errorf("before 1970: %v", err)
	}
}

func TestNextDate(t *testing.T) {
	for zone, dates := range map[string][]string{
		"UTC":               {"2026-12-31"},
		"Europe/Berlin":     {"2026-03-29", "2026-10-25"},
		"Asia/Beirut":       {"2025-03-29"}, // the next date begins at 01:00
		"Pacific/Apia":      {"2011-12-29"}, // there was no 30th
		"America/Sao_Paulo": {"2018-11-03", "2018-02-17"},
	} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, date := range dates {
			day, err := time.ParseInLocation(time.DateOnly, date, loc)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []time.Time{day, day.Add(11 * time.Hour)} {
				next := time.Unix(nextDate(at), 0).In(loc)
				if dayOf(next) == dayOf(at) || dayOf(next.Add(-time.Second)) != dayOf(at) {
					t.Errorf("%s: after %s the next date begins at %s", zone, at, next)
				}
			}
		}
	}
}
