package store

import (
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// The site of the cases below, on the half-hour clock of Kolkata (UTC+5:30):
//
//	3 November   Ada, from Google, DE: / at 10:00, /pricing at 10:02, Signup (plan pro) at 10:03,
//	             90 s of /pricing read to 80 %, until 10:05
//	             Bob, direct, FR: /blog/one at 10:10; a bounce
//	             Bob again: /blog/one at 23:50, /blog/two at 23:59; Download, not interactive
//	             an unlinked view of / and an unlinked Signup
//	4 November   Cyd, direct, no country: Signup on / at 00:30, nothing else; no bounce
//	             Ada (another id), from Google: / at 09:00; a bounce
//	             three opens of the campaign "news", one of "spring"
var (
	caseZone, _ = time.LoadLocation("Asia/Kolkata")
	caseDay     = event.DayOf(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC))
)

func caseEvents() []event.Event {
	const ada, bob, cyd, ada2 = 11, 12, 13, 14
	visits := map[uint64]event.Visit{
		1: {ID: 1, EntryPage: "/", Source: "Google", Channel: "Organic Search", Country: "DE", Browser: "Firefox", Referrer: "google.com"},
		2: {ID: 2, EntryPage: "/blog/one", Channel: "Direct", Country: "FR", Browser: "Chrome"},
		3: {ID: 3, EntryPage: "/blog/one", Channel: "Direct", Country: "FR", Browser: "Chrome", UTMCampaign: "spring"},
		4: {ID: 4, EntryPage: "/", Channel: "Direct", Browser: "Safari"},
		5: {ID: 5, EntryPage: "/", Source: "Google", Channel: "Organic Search", Country: "DE", Browser: "Firefox", Referrer: "google.com"},
		0: {EntryPage: "/", Channel: "Direct", Country: "DE", Browser: "Firefox"},
	}
	var out []event.Event
	add := func(day event.Day, clock string, visitor, visit uint64, kind event.Kind, name, page string, more func(*event.Event)) {
		at, err := time.ParseInLocation(time.DateTime, day.String()+" "+clock, caseZone)
		if err != nil {
			panic(err)
		}
		e := event.Event{ID: uint64(len(out) + 1), Seq: uint16(len(out) + 1), Site: "case.example", Day: day, Time: at.Unix(), Kind: kind, Name: name, Page: page,
			VisitorID: visitor, Visit: visits[visit], Hostname: "case.example", Interactive: kind == event.Custom}
		if more != nil {
			more(&e)
		}
		out = append(out, e)
	}
	pro := func(e *event.Event) { e.Props = []event.Prop{{Key: "plan", Value: "pro"}} }
	add(caseDay, "10:00:00", ada, 1, event.PageView, "pageview", "/", nil)
	add(caseDay, "10:02:00", ada, 1, event.PageView, "pageview", "/pricing", nil)
	add(caseDay, "10:03:00", ada, 1, event.Custom, "Signup", "/pricing", pro)
	add(caseDay, "10:05:00", ada, 1, event.Engagement, "engagement", "/pricing", func(e *event.Event) { e.EngagedMS, e.Scroll = 90_000, 80 })
	add(caseDay, "10:10:00", bob, 2, event.PageView, "pageview", "/blog/one", nil)
	add(caseDay, "23:50:00", bob, 3, event.PageView, "pageview", "/blog/one", nil)
	add(caseDay, "23:59:00", bob, 3, event.PageView, "pageview", "/blog/two", nil)
	add(caseDay, "23:59:00", bob, 3, event.Custom, "Download", "/blog/two", func(e *event.Event) { e.Interactive = false })
	add(caseDay, "12:00:00", 0, 0, event.PageView, "pageview", "/", nil)
	add(caseDay, "12:01:00", 0, 0, event.Custom, "Signup", "/", nil)
	add(caseDay+1, "00:30:00", cyd, 4, event.Custom, "Signup", "/", nil)
	add(caseDay+1, "09:00:00", ada2, 5, event.PageView, "pageview", "/", nil)
	for i, c := range []string{"news", "news", "news", "spring"} {
		add(caseDay+1, "11:00:00", uint64(20+i/2), 0, event.EmailOpen, "open", "", func(e *event.Event) {
			e.Visit = event.Visit{UTMCampaign: c, UTMContent: "m", Source: "Email", Channel: "Email"}
		})
	}
	return out
}

func is(dim string, values ...string) Filter { return Filter{Op: "is", Dimension: dim, Values: values} }

type reportCase struct {
	name    string
	period  [2]string // half open; dates or times
	metrics string
	dims    string
	filters []Filter
	want    string // a row a line
}

// reportCases: every expectation is worked out by hand from the list above.
func reportCases() []reportCase {
	both := [2]string{"2026-11-03", "2026-11-05"}
	return []reportCase{
		{"everything", both, "visitors visits pageviews events", "", nil,
			`[] 4 5 7 11`},
		{"rates", both, "views_per_visit bounce_rate visit_duration", "", nil,
			`[] 1.2 40 168`}, // 6 views / 5 visits; visits 2 and 5; (300 + 540) / 5
		{"one day", [2]string{"2026-11-03", "2026-11-04"}, "visitors visits bounce_rate", "", nil,
			`[] 2 3 33`},
		{"by source", both, "visitors visits pageviews bounce_rate", "visit:source", nil, `
["Direct / None"] 2 3 4 33
["Google"] 2 2 3 50`},
		{"by channel, ordered by its rate", both, "bounce_rate", "visit:channel", nil, `
["Organic Search"] 50
["Direct"] 33`},
		{"by page", both, "visitors pageviews events scroll_depth time_on_page", "event:page", nil, `
["/"] 3 3 5 nil nil
["/blog/one"] 1 2 2 nil nil
["/blog/two"] 1 1 2 nil nil
["/pricing"] 1 1 2 80 90`},
		{"by exit page", both, "visits pageviews", "visit:exit_page", nil, `
[""] 1 1
["/"] 1 1
["/blog/one"] 1 1
["/blog/two"] 1 2
["/pricing"] 1 2`}, // Cyd saw no page; nor is it known where the unlinked reader left
		{"by day", both, "visitors visits", "time:day", nil, `
["2026-11-03"] 2 3
["2026-11-04"] 2 2`},
		{"by hour of a half-hour zone", both, "visits", "time:hour", nil, `
["2026-11-03 10:00:00"] 2
["2026-11-03 12:00:00"] 0
["2026-11-03 23:00:00"] 1
["2026-11-04 00:00:00"] 1
["2026-11-04 09:00:00"] 1`},
		{"by week, that of the period's first day cut", both, "visits", "time:week", nil, `
["2026-11-03"] 5`},
		{"by month", both, "visits", "time:month", nil, `
["2026-11-01"] 5`},
		{"hours of a day", [2]string{"2026-11-03 10:02:00", "2026-11-03 10:11:00"}, "visitors pageviews visit_duration", "", nil,
			`[] 2 2 150`}, // visit 1 as a whole: 300 s
		{"filter on a source", both, "visitors pageviews bounce_rate", "", []Filter{is("visit:source", "Google")},
			`[] 2 3 50`},
		{"filter on no source", both, "visits pageviews", "", []Filter{is("visit:source", "Direct / None")},
			`[] 3 4`},
		{"filter on a page counts bounces of its entries", both, "visits bounce_rate visit_duration", "", []Filter{is("event:page", "/")},
			`[] 3 33 100`}, // visits 1, 4, 5 began there, one bounced
		{"filter on a page that nobody enters by", both, "visits bounce_rate visit_duration", "", []Filter{is("event:page", "/pricing")},
			`[] 1 0 300`},
		{"filters on visit and event", both, "visits events", "", []Filter{is("visit:country", "DE"), is("event:name", "Signup")},
			`[] 1 2`}, // Ada, and the unlinked one
		{"country names", both, "visitors", "visit:country_name", nil, `
["Germany"] 2
[""] 1
["France"] 1`},
		{"goals", both, "visitors events conversion_rate", "event:goal", nil, `
["Signup"] 2 3 50
["Download"] 1 1 25`},
		{"a goal by source", both, "visitors conversion_rate group_conversion_rate", "visit:source", []Filter{is("event:goal", "Signup")}, `
["Direct / None"] 1 25 50
["Google"] 1 25 50`},
		{"a page goal", both, "visitors events", "event:goal", []Filter{is("event:goal", "Visit /blog/*", "Signup")}, `
["Signup"] 2 3
["Visit /blog/*"] 1 3`},
		{"a property", both, "events visitors", "event:props:plan", []Filter{is("event:name", "Signup")}, `
["(none)"] 2 1
["pro"] 1 1`},
		{"which properties", both, "events visitors", "event:props", []Filter{is("event:name", "Signup")}, `
["plan"] 1 1`},
		{"or, not", both, "visits", "", []Filter{{Op: "or", Filters: []Filter{is("visit:country", "FR"),
			{Op: "not", Filters: []Filter{is("visit:browser", "Firefox")}}}}},
			`[] 3`},
		{"matches", both, "pageviews", "event:page", []Filter{{Op: "matches", Dimension: "event:page", Values: []string{"^/blog/t"}}}, `
["/blog/two"] 1`},
		{"whatever the case", both, "visits", "", []Filter{{Op: "is", Dimension: "visit:browser", Values: []string{"FIREFOX"}, IgnoreCase: true}},
			`[] 2`},
		{"percentage", both, "visitors percentage", "visit:browser", nil, `
["Firefox"] 2 50
["Chrome"] 1 25
["Safari"] 1 25`},
		{"campaigns", both, "visits", "visit:utm_campaign", nil, `
["(not set)"] 4
["spring"] 1`},
		{"an empty period", [2]string{"2025-01-01", "2025-01-02"}, "visitors bounce_rate views_per_visit visit_duration percentage", "", nil,
			`[] 0 0 0 0 nil`},
		{"nothing by page", [2]string{"2025-01-01", "2025-01-02"}, "visitors", "event:page", nil, ``},
	}
}

func TestReportCases(t *testing.T) {
	caseStores(t, func(t *testing.T, s *Store) {
		for _, c := range reportCases() {
			t.Run(c.name, func(t *testing.T) {
				q := caseQuery(t, c.period)
				q.Metrics, q.Dimensions, q.Filters = strings.Fields(c.metrics), strings.Fields(c.dims), c.filters
				res, err := s.Query(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := strings.TrimSpace(show(res.Rows)), strings.TrimSpace(c.want); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	})
}

func caseQuery(t *testing.T, period [2]string) Query {
	t.Helper()
	q := Query{Site: "case.example", Zone: caseZone, Now: (caseDay + 2).Start(caseZone)}
	for i, s := range period {
		layout := time.DateOnly
		if strings.Contains(s, " ") {
			layout = time.DateTime
		}
		at, err := time.ParseInLocation(layout, s, caseZone)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			q.From = at
		} else {
			q.To = at
		}
	}
	return q
}

// caseStores runs a test on both databases with the cases' events, as they came and with
// both days rolled up.
func caseStores(t *testing.T, test func(t *testing.T, s *Store)) {
	onEachAt(t, (caseDay + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		write(t, s, caseEvents())
		t.Run("events", func(t *testing.T) { test(t, s) })
		stats, err := s.Rollup(t.Context(), func(string) *time.Location { return caseZone })
		if err != nil || stats.Closed != 2 {
			t.Fatalf("%+v %v", stats, err)
		}
		t.Run("rollups", func(t *testing.T) { test(t, s) })
	})
}

func TestPagesOfAReport(t *testing.T) {
	caseStores(t, func(t *testing.T, s *Store) {
		q := caseQuery(t, [2]string{"2026-11-03", "2026-11-05"})
		q.Metrics, q.Dimensions, q.TotalRows = []string{"visitors"}, []string{"event:page", "visit:browser"}, true
		whole, err := s.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if whole.TotalRows != len(whole.Rows) || len(whole.Rows) != 5 {
			t.Fatalf("%d rows, total %d", len(whole.Rows), whole.TotalRows)
		}
		var pages []Row
		for q.Limit = 2; ; q.Offset += q.Limit {
			res, err := s.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if res.TotalRows != len(whole.Rows) {
				t.Errorf("from %d: total %d", q.Offset, res.TotalRows)
			}
			if pages = append(pages, res.Rows...); len(res.Rows) == 0 {
				break
			}
		}
		if show(pages) != show(whole.Rows) {
			t.Errorf("pages\n%s\nwhole\n%s", show(pages), show(whole.Rows))
		}
	})
}

func TestRealtime(t *testing.T) {
	now := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC) // the next day in Kolkata
	onEachAt(t, now, func(t *testing.T, s *Store) {
		g := &generator{site: "now.example"}
		var events []event.Event
		for i, c := range []struct {
			ago     time.Duration
			visitor uint64
			kind    event.Kind
		}{{time.Second, 1, event.PageView}, {2 * time.Minute, 1, event.PageView}, {4*time.Minute + 59*time.Second, 2, event.Engagement},
			{5 * time.Minute, 3, event.PageView}, {time.Minute, 0, event.PageView}, {time.Minute, 4, event.EmailOpen}} {
			at := now.Add(-c.ago)
			e := event.Event{ID: uint64(i) + 1, Site: g.site, Day: event.DayOf(at.In(caseZone)), Time: at.Unix(), Kind: c.kind, VisitorID: c.visitor}
			if c.visitor != 0 && c.kind != event.EmailOpen {
				e.Visit.ID = c.visitor + 100
			}
			events = append(events, e)
		}
		write(t, s, events)
		if n, err := s.Realtime(t.Context(), g.site); err != nil || n != 2 {
			t.Errorf("%d visitors (%v), want 2", n, err)
		}
		if n, err := s.Realtime(t.Context(), "other.example"); err != nil || n != 0 {
			t.Errorf("another site: %d visitors (%v)", n, err)
		}
	})
}

func TestOverviewOfNothing(t *testing.T) {
	onEachAt(t, (caseDay + 3).Start(time.UTC), func(t *testing.T, s *Store) {
		o, err := s.Overview(t.Context(), OverviewQuery{Site: "case.example", Zone: caseZone, From: caseDay.Start(caseZone), To: (caseDay + 2).Start(caseZone),
			Interval: "time:day", Panels: []string{"visit:source"}})
		if err != nil {
			t.Fatal(err)
		}
		if o.HasData || len(o.Series) != 2 || o.Totals != (Totals{}) || len(o.Panels) != 1 || len(o.Panels[0].Rows) != 0 {
			t.Errorf("%+v", o)
		}
	})
}
