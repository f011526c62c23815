package store

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// FuzzQuery makes statements of whatever a query of the Stats API may ask. What the asker wrote is never part of their
// text, and each placeholder has its value; what no statement can be made of is a *QueryError.
func FuzzQuery(f *testing.F) {
	f.Add("is", "visit:source", "Google", "visitors", "visit:source", "time:day")
	f.Add("contains_not", "event:page", "a?b' OR 1 --", "time_on_page", "event:page", "time")
	f.Add("matches", "event:props:plan", `^(a|b)\d+$`, "events", "event:props:x'?", "")
	f.Add("is", "event:goal", "Visit /a*?", "conversion_rate", "event:goal", "visit:country_name")
	f.Add("matches_not", "visit:exit_page", "/x", "bounce_rate", "visit:exit_page", "time:hour")
	const mark = "qZ7\x01" // in no statement of ours
	zone := time.FixedZone("", 5*3600+1800)
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, zone)
	f.Fuzz(func(t *testing.T, op, dim, value, metric, by, also string) {
		leaf := Filter{Op: op, Dimension: dim, Values: []string{value, mark + value}, IgnoreCase: len(value)%2 == 0}
		q := Query{Site: mark, Zone: zone, From: from, To: from.AddDate(0, 0, 9), Now: from, Metrics: []string{metric}, Dimensions: []string{by},
			Filters: []Filter{{Op: "or", Filters: []Filter{leaf, {Op: "not", Filters: []Filter{leaf}}}}, leaf}}
		if also != "" {
			q.Dimensions = append(q.Dimensions, also)
		}
		if strings.HasPrefix(by, propPrefix) { // a property's key is the asker's as well
			q.Dimensions[0] += mark
		}
		p, err := planQuery(q)
		var refused *QueryError
		if err != nil {
			if !errors.As(err, &refused) || refused.Part == "" || refused.Msg == "" {
				t.Errorf("%v", err)
			}
			return
		}
		branches, err := p.branches()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range append(branches, allOf(conditions(q.Filters, false))) {
			if strings.Contains(b.sql, mark) {
				t.Errorf("what was asked is part of the statement: %q", b.sql)
			}
			if n := strings.Count(b.sql, "?"); n != len(b.args) {
				t.Errorf("%d placeholders, %d values: %q", n, len(b.args), b.sql)
			}
		}
		if n := strings.Join(p.order, ", "); strings.Contains(n, mark) || strings.ContainsAny(n, "'?;") {
			t.Errorf("the order is %q", n)
		}
	})
}
