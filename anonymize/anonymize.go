// Package anonymize turns what could identify a visitor into what cannot: an IP
// address into a truncated [Network], and (site, address, User-Agent) into a visitor
// id that nobody can link from one period to the next, or recompute once the period
// is over.
//
// Rules it keeps:
//   - No type that leaves the package holds a raw address, a User-Agent or anything
//     from which either could be worked out. A [Network] is truncated when it is made.
//   - Keys go forward only ([Ratchet]). An older key is erased from memory and disk once
//     no configured site is in its period any more; no clock, setting or seed that
//     is kept brings it back.
//   - Nothing here formats, logs or wraps an address, a User-Agent or a key.
//   - It is pure: it imports none of the other packages, and touches no file but the
//     ratchet's state file and the key for consented cookies ([CookieKey]).
//
// # Visitor ids
//
// An id is SipHash-2-4 (Aumasson and Bernstein, 2012; 64 bits) over three fields, each
// after its length in bytes as a 32-bit little-endian number:
//
//	len(site) site  16 address  len(User-Agent) User-Agent
//
// The address is the 16-byte form, in which IPv4 is ::ffff:a.b.c.d. A hash of 0 becomes 1,
// so that 0 can mean "no id". The 128-bit SipHash key is the site's key of the period
// (a date, an ISO week or a month on the site's own calendar); the keys come from
// HKDF-SHA256 (RFC 5869), where W is "day", "week" or "month", P numbers the period, and
// all labels are ASCII:
//
//	root      = HKDF-Extract(salt "footfall/anonymize/1", seed)
//	key(W, 0) = HKDF-Expand(root, "footfall/anonymize/1 seed W", 32)
//	key(W, P) = HKDF-Expand(key(W, P-1), "footfall/anonymize/1 next W", 32)
//	site key  = HKDF-Expand(key(W, P), "footfall/anonymize/1 site W SITE", 16)
//
// Period 0 is the one that holds 1970-01-01: days are counted from that date, ISO weeks
// from Monday 1969-12-29, months from January 1970. The two halves of the site key are read as
// little-endian numbers, as SipHash does. testdata/vectors.json has examples to check an
// implementation against.
package anonymize

import (
	"fmt"
	"time"
)

// Mode says what a site keeps of an address. The zero value is the default.
type Mode uint8

// The modes. The visitor id of the period is kept under each of them.
const (
	ModeTruncate Mode = iota // the truncated network is kept
	ModeHash                 // no network is kept, only the keyed id
	ModeDrop                 // no network is kept; the id of the period stays
)

// String returns the mode's name in the configuration.
func (m Mode) String() string {
	switch m {
	case ModeTruncate:
		return "truncate"
	case ModeHash:
		return "hash"
	case ModeDrop:
		return "drop"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode reads a mode's name as [Mode.String] writes it.
func ParseMode(s string) (Mode, error) {
	for m := ModeTruncate; m <= ModeDrop; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is none of truncate, hash, drop", s)
}

// Window is how long a visitor keeps one id. The zero value is the default, a day.
type Window uint8

// The windows.
const (
	Day   Window = iota // a date on the site's calendar
	Week                // an ISO week, from Monday
	Month               // a calendar month
)

const windows = 3

// String returns the window's name in the configuration.
func (w Window) String() string {
	switch w {
	case Day:
		return "day"
	case Week:
		return "week"
	case Month:
		return "month"
	}
	return fmt.Sprintf("Window(%d)", uint8(w))
}

// ParseWindow reads a window's name as [Window.String] writes it.
func ParseWindow(s string) (Window, error) {
	for w := Day; w < windows; w++ {
		if s == w.String() {
			return w, nil
		}
	}
	return 0, fmt.Errorf("%q is none of day, week, month", s)
}

// period returns the number of the period that the date is in. Dates before 1970-01-01
// are in period 0.
func (w Window) period(day int) int {
	day = max(day, 0)
	switch w {
	case Week:
		return (day + 3) / 7
	case Month:
		y, m, _ := dayTime(day).Date()
		return (y-1970)*12 + int(m) - 1
	}
	return day
}

// firstDay returns the first date of a period, in days since 1970-01-01; the week of that date began in 1969.
func (w Window) firstDay(period int) int {
	switch w {
	case Week:
		return period*7 - 3
	case Month:
		return dayOf(time.Date(1970, time.Month(1+period), 1, 0, 0, 0, 0, time.UTC))
	}
	return period
}

// First returns the first date of the period that the date is in, both in days since 1970-01-01: an id
// that is given on the date was not given before.
func (w Window) First(day int) int { return max(w.firstDay(w.period(day)), 0) }

// dayOf returns the date that t shows on its own location's calendar, in days since
// 1970-01-01.
func dayOf(t time.Time) int {
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

func dayTime(day int) time.Time { return time.Unix(int64(day)*secondsPerDay, 0).UTC() }

const secondsPerDay = 24 * 60 * 60
