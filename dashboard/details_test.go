package dashboard

import (
	"encoding/csv"
	"regexp"
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/store"
)

// The details page through all its pages names each row once.
func TestDetailsPaging(t *testing.T) {
	b := newBench(t)
	url, rows := "/example.org/details?by=visit:referrer&period=7d", map[string]int{}
	pages := 0
	for ; url != "" && pages < 9; pages++ {
		text := b.page(url)
		for _, m := range regexp.MustCompile(`title="(visit:referrer [A-Z][a-z])"`).FindAllStringSubmatch(text, -1) {
			rows[m[1]]++
		}
		m := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(text)
		url = ""
		if m != nil {
			url = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if pages != 3 || len(rows) != 240 {
		t.Errorf("%d pages with %d rows, want 3 with 240", pages, len(rows))
	}
	wants(t, b.page("/example.org/details?by=visit:referrer&period=7d&page=3"), "201–240 of 240")
	qs := b.store.Queries()
	q := qs[len(qs)-1]
	if q.Offset != 200 || q.Limit != 100 || !q.TotalRows || len(q.OrderBy) != 1 || q.OrderBy[0] != (store.Order{By: "visitors", Desc: true}) {
		t.Errorf("asked %+v", q)
	}
}

func TestDetailsSearchAndSort(t *testing.T) {
	b := newBench(t)
	last := func() store.Query { qs := b.store.Queries(); return qs[len(qs)-1] }
	wants(t, b.page("/example.org/details?by=event:page&q=GETTING&sort=pageviews,asc"), "/docs/getting-started", `aria-sort="ascending"`, "1–1 of 1")
	q := last()
	if f := q.Filters; len(f) != 1 || f[0].Op != "contains" || f[0].Values[0] != "GETTING" || !f[0].IgnoreCase {
		t.Errorf("searched %+v", f)
	}
	if q.OrderBy[0] != (store.Order{By: "pageviews"}) {
		t.Errorf("sorted by %+v", q.OrderBy)
	}
	wants(t, b.page("/example.org/details?by=visit:country&q=united"), "United States", "United Kingdom", "1–2 of 2")
	b.page("/example.org/details?by=event:page&sort=DROP+TABLE")
	if q := last(); q.OrderBy[0] != (store.Order{By: "visitors", Desc: true}) {
		t.Errorf("sorted by %+v", q.OrderBy)
	}
	wants(t, b.page("/example.org/details?by=visit:source&sort=visit:source,asc"), `aria-sort="ascending"`)
}

// The list of events is the events panel, longer: without page views.
func TestDetailsOfEvents(t *testing.T) {
	b := newBench(t)
	for _, page := range []string{"details", "export.csv"} {
		b.page("/example.org/" + page + "?by=event:name&q=sign")
		qs := b.store.Queries()
		fs := qs[len(qs)-1].Filters
		if len(fs) != 2 || fs[0].Op != "is_not" || fs[0].Dimension != "event:name" || fs[0].Values[0] != "pageview" || fs[1].Op != "contains" {
			t.Errorf("%s: asked for %+v", page, fs)
		}
	}
}

func TestCSV(t *testing.T) {
	b := newBench(t)
	res := b.get("/example.org/export.csv?by=visit:country&period=7d")
	if got := res.Header.Get("Content-Disposition"); got != `attachment; filename="example.org-visit-country-2026-11-18-to-2026-11-24.csv"` {
		t.Errorf("named %s", got)
	}
	recs, err := csv.NewReader(res.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(recs[0], " "); got != "visit:country visit:country_name visitors visits pageviews views_per_visit bounce_rate visit_duration" {
		t.Errorf("head %s", got)
	}
	if recs[1][0] != "DE" || recs[1][1] != "Germany" || strings.Contains(strings.Join(recs[1][2:], ""), ",") {
		t.Errorf("first record %q", recs[1])
	}
	res = b.get("/example.org/series.csv?period=day")
	if recs, err = csv.NewReader(res.Body).ReadAll(); err != nil {
		t.Fatal(err)
	}
	if len(recs) != 11 || recs[1][0] != "2026-11-24T00:00:00+01:00" || recs[10][0] != "2026-11-24T09:00:00+01:00" {
		t.Errorf("a day until a quarter to ten has %d records, %q", len(recs), recs[len(recs)-1])
	}
}

// More rows than the store is asked for at a time all arrive.
func TestCSVOfManyRows(t *testing.T) {
	b := newBench(t)
	rows := make([]store.PanelRow, 2*exportRows+5)
	for i := range rows {
		rows[i] = store.PanelRow{Value: "/" + count(uint64(i)), Visitors: 1}
	}
	b.store.Values = map[string][]store.PanelRow{"event:page": rows}
	recs, err := csv.NewReader(b.get("/example.org/export.csv?by=event:page", "Accept-Encoding", "").Body).ReadAll()
	if err != nil || len(recs) != len(rows)+1 {
		t.Errorf("%d records of %d, %v", len(recs)-1, len(rows), err)
	}
}
