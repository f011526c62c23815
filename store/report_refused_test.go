package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// TestRefusedQueries: what has no answer is a *QueryError that names the part, before any
// server is asked.
func TestRefusedQueries(t *testing.T) {
	s := openStore(t, Options{URL: "clickhouse://127.0.0.1:1/none"})
	deep := is("event:page", "/")
	for range maxFilterDepth {
		deep = Filter{Op: "not", Filters: []Filter{deep}}
	}
	for _, c := range []struct {
		part, says string
		change     func(q *Query)
	}{
		{"date_range", "before it begins", func(q *Query) { q.To = q.From }},
		{"date_range", "1970", func(q *Query) { q.From = time.Time{} }},
		{"metrics", "between", func(q *Query) { q.Metrics = nil }},
		{"metrics", `"sales"`, func(q *Query) { q.Metrics = []string{"sales"} }},
		{"metrics", "event:goal", func(q *Query) { q.Metrics = []string{"conversion_rate"} }},
		{"metrics", "event:goal", func(q *Query) { q.Metrics = []string{"group_conversion_rate"} }},
		{"metrics", "event:page", func(q *Query) { q.Metrics = []string{"scroll_depth"} }},
		{"metrics", "event:page", func(q *Query) { q.Metrics = []string{"time_on_page"} }},
		{"metrics", "figure of visits", func(q *Query) { q.Metrics, q.Dimensions = []string{"bounce_rate"}, []string{"event:name"} }},
		{"dimensions", `"visit:shoe"`, func(q *Query) { q.Dimensions = []string{"visit:shoe"} }},
		{"dimensions", `"event:props:"`, func(q *Query) { q.Dimensions = []string{"event:props:"} }},
		{"dimensions", "twice", func(q *Query) { q.Dimensions = []string{"visit:os", "visit:os"} }},
		{"dimensions", "twice", func(q *Query) { q.Dimensions = []string{"time", "time:hour"} }},
		{"dimensions", "at most", func(q *Query) { q.Dimensions = make([]string, 9) }},
		{"filters", `"like"`, func(q *Query) { q.Filters = []Filter{{Op: "like", Dimension: "event:page", Values: []string{"x"}}} }},
		{"filters", `"visit:shoe"`, func(q *Query) { q.Filters = []Filter{is("visit:shoe", "x")} }},
		{"filters", "date range", func(q *Query) { q.Filters = []Filter{is("time:day", "2026-11-03")} }},
		{"filters", "value", func(q *Query) { q.Filters = []Filter{is("event:page")} }},
		{"filters", "regular expression", func(q *Query) {
			q.Filters = []Filter{{Op: "matches", Dimension: "event:page", Values: []string{"a(b"}}}
		}},
		{"filters", "regular expression", func(q *Query) {
			q.Filters = []Filter{{Op: "matches_not", Dimension: "event:page", Values: []string{"(?=a)"}}}
		}},
		{"filters", "combine", func(q *Query) { q.Filters = []Filter{{Op: "and"}} }},
		{"filters", "one filter", func(q *Query) {
			q.Filters = []Filter{{Op: "not", Filters: []Filter{is("event:page", "/"), is("event:page", "/")}}}
		}},
		{"filters", "deep", func(q *Query) { q.Filters = []Filter{deep} }},
		{"filters", "at most", func(q *Query) {
			q.Filters = make([]Filter, 0)
			q.Filters = append(q.Filters, is("event:page", strings.Repeat("x", maxFilterBytes+1)))
		}},
		{"order_by", `"visits"`, func(q *Query) { q.OrderBy = []Order{{By: "visits"}} }},
		{"pagination", "limit", func(q *Query) { q.Limit = maxLimit + 1 }},
		{"pagination", "limit", func(q *Query) { q.Limit = -1 }},
		{"pagination", "offset", func(q *Query) { q.Offset = -1 }},
	} {
		q := caseQuery(t, [2]string{"2026-11-03", "2026-11-04"})
		q.Metrics = []string{"visitors"}
		c.change(&q)
		_, err := s.Query(t.Context(), q)
		var refused *QueryError
		if !errors.As(err, &refused) || refused.Part != c.part || !strings.Contains(refused.Msg, c.says) {
			t.Errorf("want an error on %s that says %q, got %v", c.part, c.says, err)
		}
	}
	for _, c := range []struct {
		part   string
		change func(q *OverviewQuery)
	}{
		{"date_range", func(q *OverviewQuery) { q.To = q.From }},
		{"date_range", func(q *OverviewQuery) { q.PrevFrom = q.From }},
		{"dimensions", func(q *OverviewQuery) { q.Interval = "time:minute" }},
		{"dimensions", func(q *OverviewQuery) { q.Panels = []string{"visit:shoe"} }},
		{"dimensions", func(q *OverviewQuery) { q.Panels = []string{"time:day"} }},
		{"filters", func(q *OverviewQuery) { q.Filters = []Filter{is("visit:shoe", "x")} }},
		{"pagination", func(q *OverviewQuery) { q.Limit = -1 }},
	} {
		q := OverviewQuery{Site: "case.example", From: caseDay.Start(time.UTC), To: (caseDay + 1).Start(time.UTC), Interval: "time:day"}
		c.change(&q)
		_, err := s.Overview(t.Context(), q)
		var refused *QueryError
		if !errors.As(err, &refused) || refused.Part != c.part {
			t.Errorf("overview: want an error on %s, got %v", c.part, err)
		}
	}
}

// TestHostileValues: whatever a value, a pattern or a property's key says, it is compared
// and never read as SQL.
func TestHostileValues(t *testing.T) {
	hostile := []string{
		"'", "''", `\`, `\'`, `'; DROP TABLE events; --`, "?", "??", "$1", "@x", "{x:String}", "`", `"`, "/* */", "--", "\n", "\t", "\\N",
		"%", "_", "')) OR 1=1 --", `\x27) OR (1=1`, "é\u0000x", "{{.Site}}", "' UNION ALL SELECT 1 --", "日本", strings.Repeat("'", 300),
	}
	onEachAt(t, (caseDay + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		events := caseEvents()
		for i, h := range hostile {
			e := events[0]
			e.ID, e.VisitorID, e.Visit.ID = uint64(1000+i)<<32, uint64(1000+i), uint64(1000+i)
			e.Page, e.Name, e.Kind, e.Visit.Source = h, h, 2, h
			e.Props = append(e.Props[:0:0], e.Props...)
			if h != "" {
				e.Props = append(e.Props, event.Prop{Key: h, Value: h})
			}
			events = append(events, e)
		}
		write(t, s, events)
		base := caseQuery(t, [2]string{"2026-11-03", "2026-11-05"})
		base.Metrics = []string{"events"}
		ref := &reference{events}
		for i, h := range hostile {
			for _, f := range []Filter{
				is("event:page", h), is("visit:source", h, "x"), is("event:goal", h), is("event:props:"+h, h),
				{Op: "contains", Dimension: "event:page", Values: []string{h}},
				{Op: "is", Dimension: "event:name", Values: []string{h}, IgnoreCase: true},
				{Op: "contains_not", Dimension: "event:props:" + h, Values: []string{h}},
				is("visit:country_name", h), is("event:goal", "Visit /"+h),
			} {
				q := base
				q.Filters = []Filter{f}
				q.Dimensions = [][]string{{}, {"event:props:" + h}, {"event:goal"}, {"visit:source"}}[i%4]
				compareReport(t, s, ref, q, fmt.Sprintf("%q", h))
			}
			q := base
			q.Filters = []Filter{{Op: "matches", Dimension: "event:page", Values: []string{h}}}
			if _, err := s.Query(t.Context(), q); err != nil {
				var refused *QueryError
				if !errors.As(err, &refused) {
					t.Errorf("pattern %q: %v", h, err)
				}
			}
			q = base
			q.Site = h
			compareReport(t, s, ref, q, fmt.Sprintf("site %q", h))
		}
		q := base
		res, err := s.Query(t.Context(), q)
		if err != nil || *res.Rows[0].Metrics[0] != float64(11+len(hostile)) {
			t.Errorf("afterwards: %v %v", show(res.Rows), err)
		}
	})
}

// TestLimits: a report that costs too much ends with an error that says what ran out, and
// that repeats nothing of the question.
func TestLimits(t *testing.T) {
	onEachAt(t, (caseDay + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		conn, err := s.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Made on the server.
		if err := conn.Exec(t.Context(), fmt.Sprintf(generateEvents, 0, 600_000)); err != nil {
			t.Fatal(err)
		}
		q := Query{Site: "main.example", From: time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
			Metrics: []string{"visitors", "visits", "bounce_rate"}, Dimensions: []string{"event:page", "time:day"}, Filters: []Filter{is("visit:os", "Secret", "Mac", "iOS", "Windows")}}
		p, err := planQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		r := s.reporter(conn)
		r.limits.memory = 1 << 20
		_, err = p.run(t.Context(), r)
		if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "more than 1 MB") || strings.Contains(err.Error(), "Secret") {
			t.Errorf("memory: %v", err)
		}
		if err := r.wrap("report", r.conn.Exec(t.Context(), "SELECT 'Secret' FROM nowhere")); err == nil || strings.Contains(err.Error(), "Secret") ||
			!strings.Contains(err.Error(), "report.sql: ClickHouse error") {
			t.Errorf("unknown table: %v", err)
		}
		r.limits = defaultReportLimits()
		r.limits.time = time.Second
		rows, err := r.conn.Query(r.bounded(t.Context()), "SELECT count() FROM (SELECT cityHash64(number) AS x FROM system.numbers WHERE x = 1)")
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			rows.Close()
		}
		if err = r.wrap("report", err); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "longer than 1s") {
			t.Errorf("time: %v", err)
		}
	})
}
