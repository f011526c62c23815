package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/kantarainitiative/footfall/event"
)

// What a row without a value is called, as in Plausible's reports.
const (
	directNone    = "Direct / None"
	directChannel = "Direct"
	notSet        = "(not set)"
	none          = "(none)"
)

// dimKind tells how a dimension is computed.
type dimKind uint8

const (
	dimColumn      dimKind = iota // a column of events
	dimExitPage                   // the visit's last page view
	dimCountryName                // from the country's code
	dimGoal                       // the goals that an event meets
	dimProp                       // a custom property
	dimPropKey                    // the keys of the properties that an event has
	dimTime                       // a step of time
)

// dimension is one thing to group or filter by.
type dimension struct {
	name   string
	kind   dimKind
	column string // of events
	empty  string // shown where the column is empty
	visit  bool   // an attribute of the visit: the same on all of its rows
	key    string // of a property
	id     uint8  // in daily, below 64; stored, never changed; 0: not rolled up
}

// columns lists the dimensions that are a column of events.
func columns() []dimension {
	return []dimension{
		{id: 21, name: "event:name", column: "name"},
		{id: 1, name: "event:page", column: "page"},
		{id: 23, name: "event:hostname", column: "hostname"},
		{id: 2, name: "visit:entry_page", column: "entry_page", visit: true},
		{id: 4, name: "visit:source", column: "source", empty: directNone, visit: true},
		{id: 5, name: "visit:referrer", column: "referrer", empty: directNone, visit: true},
		{id: 6, name: "visit:channel", column: "channel", empty: directChannel, visit: true},
		{id: 7, name: "visit:utm_medium", column: "utm_medium", empty: notSet, visit: true},
		{id: 8, name: "visit:utm_source", column: "utm_source", empty: notSet, visit: true},
		{id: 9, name: "visit:utm_campaign", column: "utm_campaign", empty: notSet, visit: true},
		{id: 10, name: "visit:utm_content", column: "utm_content", empty: notSet, visit: true},
		{id: 11, name: "visit:utm_term", column: "utm_term", empty: notSet, visit: true},
		{id: 12, name: "visit:device", column: "device", empty: notSet, visit: true},
		{id: 13, name: "visit:browser", column: "browser", empty: notSet, visit: true},
		{id: 14, name: "visit:browser_version", column: "browser_version", empty: notSet, visit: true},
		{id: 15, name: "visit:os", column: "os", empty: notSet, visit: true},
		{id: 16, name: "visit:os_version", column: "os_version", empty: notSet, visit: true},
		{id: 17, name: "visit:country", column: "country", visit: true},
		{id: 18, name: "visit:region", column: "region", visit: true},
		{id: 19, name: "visit:region_name", column: "region_name", visit: true},
		{id: 20, name: "visit:city", column: "city", visit: true},
		{id: 20, name: "visit:city_name", column: "city", visit: true},
	}
}

// Groups of figures that are no column: all rows together, and the goals met.
const (
	totalID   = 0
	pageID    = 1
	entryID   = 2
	goalID    = 22
	countryID = 17
)

// The dimension of a property is propPrefix and its key; by propKeys an event counts once under each of its keys.
const (
	propPrefix = "event:props:"
	propKeys   = "event:props"
)

// Dimensions lists the names that a [Query] takes, save "event:props:" with its key.
func Dimensions() []string {
	var names []string
	for _, d := range columns() {
		names = append(names, d.name)
	}
	return append(names, "event:goal", propKeys, "visit:exit_page", "visit:country_name",
		"time", "time:hour", "time:day", "time:week", "time:month")
}

// dimensionOf finds a dimension by its name in the Stats API.
func dimensionOf(name string) (dimension, bool) {
	for _, d := range columns() {
		if d.name == name {
			return d, true
		}
	}
	switch name {
	case "event:goal":
		return dimension{id: goalID, name: name, kind: dimGoal}, true
	case propKeys:
		return dimension{name: name, kind: dimPropKey}, true
	case "visit:exit_page":
		return dimension{id: 3, name: name, kind: dimExitPage, column: "exit_page", visit: true}, true
	case "visit:country_name":
		return dimension{name: name, kind: dimCountryName, column: "country", visit: true}, true
	case "time:hour", "time:day", "time:week", "time:month":
		return dimension{name: name, kind: dimTime}, true
	}
	if key, ok := strings.CutPrefix(name, propPrefix); ok && key != "" && len(key) <= event.MaxPropKey {
		return dimension{name: name, kind: dimProp, key: key}, true
	}
	return dimension{}, false
}

// rowValue is the dimension's value on one row of events, a String (a number for steps of time).
func (d dimension) rowValue(sc scope) fragment {
	switch d.kind {
	case dimGoal:
		return goalsOf(sc.goals)
	case dimProp:
		v := propValue(d.key)
		f := joined("", frag("if("), v, frag(" = '', '"+none+"', "), v, frag(")"))
		return f
	case dimPropKey:
		return frag("arrayJoin(prop_keys)")
	case dimCountryName:
		return countryName("toString(country)")
	case dimTime:
		return sc.step(d.name, frag("time"))
	}
	if d.empty == "" {
		return frag("toString(" + d.column + ")")
	}
	return frag(fmt.Sprintf("if(%s = '', '%s', toString(%s))", d.column, d.empty, d.column))
}

// visitValue is the dimension's value for a whole visit, as an aggregate over its rows;
// first is the aggregate that gives the time of its first counted row.
func (d dimension) visitValue(sc scope, first fragment) fragment {
	switch {
	case d.kind == dimExitPage:
		return frag("toString(" + exitPage + ")")
	case d.name == "event:page": // a page's visits are those that began on it
		return frag("toString(any(entry_page))")
	case d.name == "event:hostname":
		return frag("toString(argMinIf(hostname, " + rowOrder + ", kind < 3))")
	case d.kind == dimTime && d.name == "time:hour":
		return sc.step(d.name, first)
	case d.kind == dimTime:
		return sc.step(d.name, fragment{}) // day is a key of the visit
	}
	return around("any(", d.rowValue(sc), ")")
}

// rowOrder orders the rows of a visit: by second, within one as they came, and where that
// is not known by a number that stays the same whenever the question is asked. exitPage is
// an aggregate over a visit's rows.
const (
	rowOrder = "bitOr(bitShiftLeft(toUInt64(toUInt32(time)), 32), bitOr(bitShiftLeft(toUInt64(visit_seq), 16), bitShiftRight(event_id, 48)))"
	exitPage = "argMaxIf(page, " + rowOrder + ", kind = 1)"
)

func propValue(key string) fragment {
	return frag("prop_values[indexOf(prop_keys, ?)]", key)
}

// countryName turns an ISO code into its English name; an unknown code stays itself.
func countryName(expr string) fragment {
	codes, names := countries()
	return frag("transform("+expr+", ?, ?, "+expr+")", codes, names)
}

// countries lists ISO 3166-1 codes and their English names.
func countries() (codes, names []string) {
	namer := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			r, err := language.ParseRegion(code)
			if err != nil || !r.IsCountry() || r.String() != code {
				continue
			}
			if n := namer.Name(r); n != "" {
				codes, names = append(codes, code), append(names, n)
			}
		}
	}
	return codes, names
}

// CountryName returns the English name of an ISO 3166-1 alpha-2 code, or the code itself
// where it is none.
func CountryName(code string) string {
	codes, names := countries()
	if i, ok := slices.BinarySearch(codes, code); ok {
		return names[i]
	}
	return code
}

// goalsOf is an array join over the goals that a row meets: a custom event's name, and
// those of pages that its page fits.
func goalsOf(pages []string) fragment {
	fs := []fragment{frag("if(kind = 2, toString(name), '')")}
	for _, g := range pages {
		fs = append(fs, frag("if(kind = 1 AND match(page, ?), ?, '')", goalPattern(g), g))
	}
	return around("arrayJoin(arrayDistinct(arrayFilter(x -> x != '', [", joined(", ", fs...), "])))")
}

// scope is what a dimension's value depends on besides its row.
type scope struct {
	zone     *time.Location
	from, to time.Time
	goals    []string // page goals named by the filters
}

// step is the start of the step that a row lies in: seconds on the site's wall clock for
// hours (an hour that the clock shows twice is one step), days since 1970 for the others.
func (sc scope) step(name string, t fragment) fragment {
	switch name {
	case "time:hour":
		local := joined("", frag("(toInt64(toUInt32("), t, frag(")) + "), sc.offset(t), frag(")"))
		return around("toUInt32(intDiv(", local, ", 3600) * 3600)")
	case "time:week":
		return frag("toUInt32(toUInt16(greatest(toMonday(day), toDate(?))))", event.DayOf(sc.from.In(sc.zone)).String())
	case "time:month":
		return frag("toUInt32(toUInt16(toStartOfMonth(day)))")
	}
	return frag("toUInt32(toUInt16(day))")
}

// offset is the zone's distance from UTC in seconds at a row's time. Servers carry zone
// tables of their own, some of them years old, and the oldest cannot do half hours: so
// the changes of the clock within the period are found here and written out.
func (sc scope) offset(t fragment) fragment {
	at := sc.from.In(sc.zone)
	_, off := at.Zone()
	var fs []fragment
	for {
		_, next := at.ZoneBounds()
		if next.IsZero() || !next.Before(sc.to) {
			break
		}
		fs = append(fs, joined("", frag("toUInt32("), t, frag(") < ?, ?", next.Unix(), off)))
		at = next
		_, off = at.Zone()
	}
	if len(fs) == 0 {
		return frag("?", off)
	}
	fs = append(fs, frag("?", off))
	return around("multiIf(", joined(", ", fs...), ")")
}

// label is how a step is written in an answer.
func stepLabel(name string, v uint32) string {
	if name == "time:hour" {
		return time.Unix(int64(v), 0).UTC().Format(time.DateTime)
	}
	return event.Day(v).String()
}
