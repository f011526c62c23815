package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// bigMove is a change of the clock after which a hit that is sent again may count again: an id is known for
// an hour, and after a restart by what was stored of it under the key of its day.
const bigMove = time.Hour

// clockMove is a time at which the victim's clock was moved far, or at which it came to be believed: a program that is
// started moves its keys to a date that one that was running did not believe.
type clockMove time.Duration // elapsed

func (v *victim) clockAhead() time.Duration { return time.Duration(v.panel.offset.Load()) }

// believeClock is called at each start.
func (v *victim) believeClock() {
	if v.clockAhead() > 5*24*time.Hour {
		v.moves = append(v.moves, clockMove(v.elapsed()))
	}
}

func (v *victim) moveClock(by time.Duration) {
	ahead := v.clockAhead() + by
	v.panel.offset.Store(int64(ahead))
	v.mostAhead = max(v.mostAhead, ahead)
	if by.Abs() >= bigMove {
		v.moves = append(v.moves, clockMove(v.elapsed()))
	}
	v.note(fmt.Sprintf("the clock moves by %s to %s", by.Round(time.Second), v.panel.now().UTC().Format(time.DateTime)))
}

// untilMidnight is how far the victim's clock is from the end of a site's day.
func (v *victim) untilMidnight(site int) time.Duration {
	zone, err := time.LoadLocation(soakSites[site].zone)
	if err != nil {
		v.t.Fatal(err)
	}
	now := v.panel.now().In(zone)
	y, m, d := now.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, zone).Sub(now)
}

// loseClock has the program start with a clock that is years ahead, which it must refuse: the
// visitor keys could not come back from there.
func (v *victim) loseClock() bool {
	if _, err := os.Stat(filepath.Join(v.data, "keys")); err != nil {
		return false // it believes the clock of its first start
	}
	const years = 3 * 366 * 24 * time.Hour
	v.killProgram()
	v.panel.offset.Add(int64(years))
	v.launch()
	select {
	case <-v.dead:
	case <-time.After(20 * time.Second):
		v.killProgram()
	}
	if v.base() != "" || v.cmd.ProcessState.ExitCode() != exitError {
		v.t.Errorf("at %s the program does not refuse a clock that is three years ahead: %s", v.since(), v.cmd.ProcessState)
	}
	v.panel.offset.Add(-int64(years))
	v.stopping = true // it may have ended
	return true
}

// settleClock moves the clock behind everything that was counted, so that reports show it.
func (v *victim) settleClock() {
	if ahead := v.clockAhead(); ahead < v.mostAhead {
		v.moveClock(v.mostAhead - ahead + time.Second)
	}
}

// mayCountAgain tells whether the clock was moved so far between the attempts to send a hit that nothing is
// promised for them.
func (v *victim) mayCountAgain(h *soakHit, site string) bool {
	first, last := h.tries[0], h.tries[len(h.tries)-1]
	for _, m := range v.moves {
		if time.Duration(m) >= first.begin && time.Duration(m) <= last.end {
			return true
		}
	}
	zone := time.UTC
	for _, s := range soakSites {
		if s.domain == site {
			zone, _ = time.LoadLocation(s.zone)
		}
	}
	earliest, latest := first.clock, first.clock
	for _, try := range h.tries {
		for _, at := range []time.Time{try.clock, try.clock.Add(try.end - try.begin)} {
			if at.Before(earliest) {
				earliest = at
			}
			if at.After(latest) {
				latest = at
			}
		}
	}
	return latest.Sub(earliest) >= bigMove-time.Minute || event.DayOf(earliest.In(zone)) != event.DayOf(latest.In(zone))
}
