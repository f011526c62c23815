// Package event holds the one type that travels through Footfall after a hit
// has been read and anonymised, the limits of its fields, and the form in which
// it is written to disk.
//
// Rules it keeps:
//   - Nothing in an [Event] identifies a person: there is no field that could
//     hold a raw IP address, a User-Agent or a cookie value.
//   - Every string is bounded and valid UTF-8 once [Event.Normalize] has run.
//   - The binary form ([Event.AppendTo], [Event.Decode]) is versioned, and decoding
//     never trusts its input.
package event

import "time"

// Kind tells what an event is. The numbers are stored: never change one.
type Kind uint8

// The kinds of event.
const (
	PageView   Kind = 1 // a page was shown
	Custom     Kind = 2 // a named event sent by the site
	Engagement Kind = 3 // time and scroll depth on a page; neither page view nor event
	EmailOpen  Kind = 4 // the pixel in an HTML email was fetched
	EmailClick Kind = 5 // a counted link in an email was followed
)

// Day is a calendar date as the number of days since 1970-01-01, the same number as
// ClickHouse's Date. An event's day is the date on the site's own calendar.
type Day uint16

// DayOf returns the calendar date that t shows on its own location's calendar.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Time returns midnight UTC of the date.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// Start returns the first instant of the date in loc, which is not 00:00 where the
// clocks are put forward at midnight.
func (d Day) Start(loc *time.Location) time.Time {
	y, m, dd := d.Time().Date()
	t := time.Date(y, m, dd, 0, 0, 0, 0, loc)
	if DayOf(t) != d { // midnight does not exist that day
		t = time.Date(y, m, dd, 1, 0, 0, 0, loc)
	}
	return t
}

// String returns the date as 2006-01-02.
func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// Month returns the partition of the date, as 202611.
func (d Day) Month() int {
	y, m, _ := d.Time().Date()
	return y*100 + int(m)
}

// Prop is one custom property of an event.
type Prop struct{ Key, Value string }

// Visit is what is known of a visit from its first event on. It is repeated on
// every event of the visit, so that no row ever has to be updated.
type Visit struct {
	ID        uint64 // 0: the event belongs to no visit
	EntryPage string
	Referrer  string // host and path of the page that linked here, no query
	Source    string // "Google", "example.net", "" for direct
	Channel   string // "Organic Search", "Direct", …

	UTMSource, UTMMedium, UTMCampaign, UTMContent, UTMTerm string

	ClickID string // the name of the advertising click parameter ("gclid"), never its value

	Device         string // "Desktop", "Mobile", "Tablet", …
	Browser        string
	BrowserVersion string
	OS             string
	OSVersion      string
	Country        string // ISO 3166-1 alpha-2
	Region         string // ISO 3166-2
	RegionName     string
	City           string
}

// Event is one counted hit. The zero value is empty and ready to be filled.
type Event struct {
	ID        uint64 // random, unique; the same after a replay
	Site      string // the configured domain
	Day       Day    // on the site's own calendar
	Time      int64  // Unix seconds
	Kind      Kind
	Name      string // "pageview", the custom event's name, "engagement", "open", "click"
	VisitorID uint64 // 0: unlinked
	Visit     Visit
	Seq       uint16 // place among the events of its visit, from 1; 0 outside a visit

	Hostname    string
	Page        string // path, and the query parameters that the site allows
	Title       string
	Interactive bool   // false: does not end a bounce
	EngagedMS   uint32 // Engagement only
	Scroll      uint8  // Engagement only: depth in percent, 0 to 100
	Props       []Prop // at most MaxProps
	Revenue     int64  // millionths of Currency
	Currency    string // ISO 4217, "" for no revenue
	Network     string // truncated network, "" unless the site keeps it
	Notice      uint32 // version of the notice in force
	Masked      Masked // what was found in the texts of the hit and is masked in them
}

// Batch is the unit of storing: the events of one sealed spool segment, and what it says
// of hits that were not counted. ID is never
// zero and is the same whenever the segment is replayed, so that a store can tell
// whether it already holds the batch. Replayed is set when the segment was found on disk
// at start: an earlier process may have stored the batch already, so the store asks first.
// Missing is the store's answer: how many of the events it did not hold when it began.
type Batch struct {
	ID       uint64
	Events   []Event
	Drops    []Drop // several may be of the same site, minute and reason
	Replayed bool
	Missing  int
}
