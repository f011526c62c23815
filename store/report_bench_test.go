package store

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// generateEvents makes n events over a year of 21 sites, of which the largest has 78 %:
// four rows a visit, pages and sources with few common and many rare values. It is the
// same on every server.
const generateEvents = `INSERT INTO events (site, day, time, kind, name, interactive, visitor_id, visit_id, hostname, page, title,
    entry_page, referrer, source, channel, utm_campaign, device, browser, browser_version, os, os_version, country,
    engaged_ms, scroll, event_id, batch_id)
SELECT
    if(h %% 100 < 78, 'main.example', concat('site', toString(h %% 20), '.example')) AS site_,
    toDate('2026-11-24') - d AS day_,
    toDateTime(toDate('2026-11-24') - d, 'UTC') + h %% 80000 + (number %% 4) * 40 AS time_,
    multiIf(number %% 4 = 2, 3, number %% 4 = 3 AND h %% 5 = 0, 2, 1) AS kind_,
    multiIf(number %% 4 = 2, 'engagement', number %% 4 = 3 AND h %% 5 = 0, arrayElement(['Signup', 'Download', 'Outbound Link: Click'], 1 + h %% 3), 'pageview'),
    1,
    intHash64(d * 1000003 + intDiv(intDiv(v, 365), 2)), intHash64(v + 77), site_,
    concat('/page/', toString(toUInt32(exp((r %% 10000) / 10000 * 8.5)))) AS page_, concat('Title of ', page_),
    concat('/page/', toString(toUInt32(exp((h %% 10000) / 10000 * 8.5)))),
    if(h %% 10 < 4, '', concat('ref', toString(toUInt32(exp((h %% 9973) / 9973 * 6))), '.example/path')),
    if(h %% 10 < 4, '', arrayElement(['Google', 'Bing', 'DuckDuckGo', 'Reddit', 'Hacker News', 'news.example', 'blog.example', 'Mastodon', 'ChatGPT', 'Ecosia'], 1 + toUInt32(exp((h %% 991) / 991 * 2.3)) %% 10)),
    arrayElement(['Direct', 'Organic Search', 'Referral', 'Organic Social'], 1 + h %% 4),
    if(h %% 20 = 0, concat('campaign ', toString(h %% 40)), ''),
    arrayElement(['Desktop', 'Mobile', 'Mobile', 'Tablet'], 1 + h %% 4),
    arrayElement(['Chrome', 'Chrome', 'Safari', 'Firefox', 'Microsoft Edge'], 1 + h %% 5), toString(100 + h %% 20),
    arrayElement(['Windows', 'Mac', 'iOS', 'Android', 'GNU/Linux'], 1 + h %% 5), toString(h %% 15),
    arrayElement(['DE', 'US', 'FR', 'GB', 'JP', 'BR', 'IN', 'PL', 'NL', 'IT'], 1 + toUInt32(exp((h %% 997) / 997 * 2.3)) %% 10),
    if(number %% 4 = 2, r %% 60000, 0), if(number %% 4 = 2, r %% 101, 0), intHash64(number), 1
FROM (
    SELECT number, intDiv(number, 4) AS v, intHash64(intDiv(number, 4)) AS h, intHash64(number + 1) AS r, toUInt16(intDiv(number, 4) %% 365) AS d
    FROM (SELECT number + %d AS number FROM (SELECT number FROM system.numbers LIMIT %d))
)`

// BenchmarkOverview10M times whole dashboards of a site with 78 % of ten million events,
// against a bare count() of the same period. FOOTFALL_BENCH_EVENTS changes the ten million.
func BenchmarkOverview10M(b *testing.B) {
	n := 10_000_000
	if v := os.Getenv("FOOTFALL_BENCH_EVENTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	today := event.DayOf(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
	now := today.Start(time.UTC).Add(20 * time.Hour)
	for _, back := range backends() {
		b.Run(back.name, func(b *testing.B) {
			o := back.options(b)
			o.Now = func() time.Time { return now }
			s, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(s.Close)
			ctx := b.Context()
			conn, err := s.conn(ctx)
			if err != nil {
				b.Fatal(err)
			}
			r := s.reporter(conn)
			const piece = 1_000_000
			for from := 0; from < n; from += piece { // one by one: a connection has a deadline
				sql := fmt.Sprintf(generateEvents, from, min(piece, n-from))
				if err := conn.Exec(ctx, sql); err != nil {
					b.Fatal(err)
				}
			}
			begun := time.Now()
			const built = 185
			for d := event.Day(1); d <= built; d++ {
				if err := s.buildDay(ctx, r, siteDay{"main.example", today - d}); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.addMonths(ctx, r, now); err != nil {
				b.Fatal(err)
			}
			b.Logf("%s: %d days of the site rolled up, %v each", back.name, built, (time.Since(begun) / built).Round(time.Millisecond))

			panels := []string{"visit:channel", "visit:source", "visit:utm_campaign", "event:page", "visit:entry_page", "visit:exit_page",
				"visit:country", "visit:browser", "visit:os", "visit:device", "event:name"}
			question := func(days event.Day) OverviewQuery {
				from := today - days + 1
				return OverviewQuery{Site: "main.example", From: from.Start(time.UTC), To: (today + 1).Start(time.UTC),
					PrevFrom: (from - days).Start(time.UTC), PrevTo: (today - days).Start(time.UTC).Add(20 * time.Hour), Now: now,
					Interval: "time:day", Panels: panels, Limit: 10}
			}
			country := []Filter{{Op: "is", Dimension: "visit:country", Values: []string{"FR"}}}
			page := []Filter{{Op: "is", Dimension: "event:page", Values: []string{"/page/3"}}}
			for _, c := range []struct {
				name    string
				days    event.Day
				filters []Filter
				least   int
			}{{"30d", 30, nil, 0}, {"90d", 90, nil, 0}, {"90d_country", 90, country, 0}, {"90d_page", 90, page, 0},
				{"30d_few", 30, nil, 5}, {"90d_few", 90, nil, 5}, {"90d_country_few", 90, country, 5}} {
				b.Run(c.name, func(b *testing.B) {
					q := question(c.days)
					q.Filters, q.MinVisitors = c.filters, c.least
					var floors, times []time.Duration
					for b.Loop() {
						begun := time.Now()
						rows, err := conn.Query(ctx, "SELECT count() FROM events WHERE site = ? AND day >= toDate(?) AND day <= toDate(?)",
							q.Site, (today - c.days + 1).String(), today.String())
						if err != nil {
							b.Fatal(err)
						}
						for rows.Next() {
						}
						rows.Close()
						floors = append(floors, time.Since(begun))
						begun = time.Now()
						o, err := s.Overview(ctx, q)
						if err != nil {
							b.Fatal(err)
						}
						times = append(times, time.Since(begun))
						if o.Totals.Visits == 0 || len(o.Panels) != len(panels) {
							b.Fatal("nothing there")
						}
					}
					ms := func(d []time.Duration) float64 {
						slices.Sort(d)
						return float64(d[len(d)/2].Microseconds()) / 1000
					}
					b.ReportMetric(ms(times), "ms/dashboard")
					b.ReportMetric(ms(floors), "ms/count")
					b.ReportMetric(ms(times)/ms(floors), "x-count")
				})
			}
		})
	}
}
