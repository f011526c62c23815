package statsapi

import (
	"encoding/json"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
)

// parseRange reads a date_range: the name of a period or two dates or date-times, both of
// them included. The answer is half open, and at whole days of zone unless date-times were
// given. first tells when the site's data begins; it is called for "all" only.
func parseRange(raw json.RawMessage, zone *time.Location, now time.Time, first func() (time.Time, error)) (from, to time.Time, err error) {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return named(name, zone, now, first)
	}
	var pair []string
	if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
		return from, to, bad(`date_range: write a name like "30d", or two dates ["2026-01-01", "2026-01-31"]`)
	}
	if len(pair[0]) == len(time.DateOnly) && len(pair[1]) == len(time.DateOnly) {
		r, err := period.Dates(pair[0], pair[1], zone)
		if err != nil {
			return from, to, bad("date_range: %s", err)
		}
		return r.From, r.To, nil
	}
	if from, err = dateTime(pair[0], zone); err != nil {
		return from, to, err
	}
	if to, err = dateTime(pair[1], zone); err != nil {
		return from, to, err
	}
	if to = to.Add(time.Second); !from.Before(to) { // the second that is named is included
		return from, to, bad("date_range: it ends (%s) before it begins (%s)", pair[1], pair[0])
	}
	return from, to, nil
}

func named(name string, zone *time.Location, now time.Time, first func() (time.Time, error)) (from, to time.Time, err error) {
	var begin time.Time
	if name == period.All {
		if begin, err = first(); err != nil {
			return from, to, err
		}
	}
	r, err := period.Named(name, now, zone, begin)
	if err != nil {
		return from, to, bad("date_range: %q is none of day, 24h, 7d, 28d, 30d, 91d, month, 6mo, 12mo, year, all, and not two dates", name)
	}
	return r.From, r.To, nil
}

// dateTime reads a date-time in ISO 8601; one without an offset is in zone.
func dateTime(s string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil && t.Year() >= 1970 && t.Year() < 2106 {
			return t.Truncate(time.Second), nil
		}
	}
	return time.Time{}, bad("date_range: %q is neither a date nor a date-time in ISO 8601 between 1970 and 2105", s)
}
