package store

import (
	"fmt"
	"slices"
)

// part is a set of rows that a metric's figures come from.
type part uint8

const (
	partEvents     part = 1 << iota // page views and custom events
	partVisits                      // whole visits
	partEngagement                  // time and scroll depth
	partGroup                       // all visitors of the row's dimensions, goals aside
)

// metric is one figure of a report. Servers compute it as a whole number, scale times too
// large, in integer arithmetic that all of them do alike; -1 stands for "no value".
type metric struct {
	name  string
	parts part
	sql   string // over the sums of a report's columns
	scale float64
	total bool // sql holds one placeholder: all visitors
}

// ratio is round(times * a / b), halves up, or otherwise where b is 0.
func ratio(times int, a, b, otherwise string) string {
	return fmt.Sprintf("if(%[3]s = 0, toInt64(%[4]s), toInt64(intDiv(%[1]d * 2 * %[2]s + %[3]s, 2 * greatest(%[3]s, 1))))",
		times, a, b, otherwise)
}

// reportMetrics is the table of all metrics; -1 and 0 follow Plausible where there is nothing.
func reportMetrics() []metric {
	return []metric{
		{name: "visitors", parts: partEvents, sql: "toInt64(sum(visitors))", scale: 1},
		{name: "visits", parts: partEvents, sql: "toInt64(sum(visits))", scale: 1},
		{name: "pageviews", parts: partEvents, sql: "toInt64(sum(pageviews))", scale: 1},
		{name: "events", parts: partEvents, sql: "toInt64(sum(events))", scale: 1},
		{name: "views_per_visit", parts: partVisits, sql: ratio(100, "sum(whole_views)", "sum(whole_visits)", "0"), scale: 100},
		{name: "bounce_rate", parts: partVisits, sql: ratio(100, "sum(bounces)", "sum(entries)", "0"), scale: 1},
		{name: "visit_duration", parts: partVisits, sql: ratio(1, "sum(duration)", "sum(whole_visits)", "0"), scale: 1},
		{name: "scroll_depth", parts: partEngagement, sql: ratio(1, "sum(depth)", "sum(engaged_visits)", "-1"), scale: 1},
		{name: "time_on_page", parts: partEngagement, sql: ratio(1, "sum(engaged)", "1000 * sum(engaged_visits)", "-1"), scale: 1},
		{name: "percentage", parts: partEvents, sql: ratio(1000, "sum(visitors)", "toUInt64(?)", "-1"), scale: 10, total: true},
		{name: "conversion_rate", parts: partEvents, sql: ratio(1000, "sum(visitors)", "toUInt64(?)", "0"), scale: 10, total: true},
		{name: "group_conversion_rate", parts: partEvents | partGroup, sql: ratio(1000, "sum(visitors)", "sum(group_visitors)", "0"), scale: 10},
	}
}

// Metrics lists the names that a [Query] takes.
func Metrics() []string {
	var names []string
	for _, m := range reportMetrics() {
		names = append(names, m.name)
	}
	return names
}

func metricOf(name string) (metric, bool) {
	for _, m := range reportMetrics() {
		if m.name == name {
			return m, true
		}
	}
	return metric{}, false
}

// reportColumn is a sum that branches of a report carry. Every branch has every column the
// report needs, zero where it is another part's.
type reportColumn struct {
	name string
	part part
	sql  string // as the branch computes it
	by   []string
}

func reportColumns() []reportColumn {
	return []reportColumn{
		{"hits", partEvents, "count()", nil},
		{"visitors", partEvents, "uniqExactIf(visitor_id, visit_id != 0)", []string{"visitors", "percentage", "conversion_rate", "group_conversion_rate"}},
		{"visits", partEvents, "uniqExactIf(visit_id, visit_id != 0)", []string{"visits"}},
		{"pageviews", partEvents, "countIf(kind = 1)", []string{"pageviews"}},
		{"events", partEvents, "count()", []string{"events"}},
		{"whole_visits", partVisits, "count()", []string{"views_per_visit", "visit_duration"}},
		{"whole_views", partVisits, "sum(views)", []string{"views_per_visit"}},
		{"entries", partVisits, "countIf(entry)", []string{"bounce_rate"}},
		{"bounces", partVisits, "countIf(entry AND views = 1 AND acts = 0)", []string{"bounce_rate"}},
		{"duration", partVisits, "sum(seconds)", []string{"visit_duration"}},
		{"depth", partEngagement, "sum(deepest)", []string{"scroll_depth"}},
		{"engaged", partEngagement, "sum(ms)", []string{"time_on_page"}},
		{"engaged_visits", partEngagement, "count()", []string{"scroll_depth", "time_on_page"}},
		{"whole_people", partVisits, "uniqExact(visitor)", []string{peopleColumns}},
		{"entry_people", partVisits, "uniqExactIf(visitor, entry)", []string{peopleColumns}},
		{"engaged_people", partEngagement, "uniqExact(visitor)", []string{peopleColumns}},
		{"group_visitors", partGroup, "uniqExactIf(visitor_id, visit_id != 0)", []string{"group_conversion_rate"}},
	}
}

// peopleColumns stands in a report's metrics for the visitors behind its rates.
const peopleColumns = "people"

// columnsFor writes the columns of one branch of a report of the named metrics.
// hits is the part whose rows make a row of the report.
func columnsFor(p, hits part, names []string) []string {
	var out []string
	for _, c := range reportColumns() {
		if c.by != nil && !intersects(c.by, names) {
			continue
		}
		sql := "toUInt64(0)"
		if c.part == p || c.name == "hits" && p == hits {
			sql = c.sql
		}
		if c.name == "hits" && p != hits {
			sql = "toUInt64(0)"
		}
		out = append(out, sql+" AS "+c.name)
	}
	return out
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
