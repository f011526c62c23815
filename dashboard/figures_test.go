package dashboard

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(128940), "128,940"}, {count(math.MaxUint64), "18,446,744,073,709,551,615"},
		{short(0), "0"}, {short(940), "940"}, {short(2.5), "2.50"}, {short(1000), "1.00k"}, {short(21430), "21.4k"}, {short(999_949), "1000k"}, {short(999_950), "1.00M"},
		{short(1_290_000), "1.29M"}, {short(3.1e9), "3.10B"},
		{duration(0), "0s"}, {duration(59.6), "1m 00s"}, {duration(151), "2m 31s"}, {duration(3900), "1h 05m"},
		{clockTime(45), "45s"}, {clockTime(120), "2m"}, {clockTime(150), "2:30"}, {clockTime(7200), "2h"},
		{share(0, 0), "–"}, {share(0, 10), "0%"}, {share(1, 1000), "<1%"}, {share(43, 100), "43%"}, {share(2, 3), "67%"},
		{bar(0, 10), "0%"}, {bar(1, 1_000_000), "1%"}, {bar(10, 10), "100%"}, {bar(1, 3), "33.3%"}, {bar(0, 0), "0%"},
		{countryName("DE"), "Germany"}, {countryName("de"), "Germany"}, {countryName("XX"), ""}, {countryName("DEU"), ""}, {countryName(""), ""}, {countryName("<b"), ""},
		{countryCode("Germany"), "DE"}, {countryCode("de"), "DE"}, {countryCode("Atlantis"), "Atlantis"},
		{valueLabel("visit:country", "", ""), "(unknown)"}, {valueLabel("visit:source", "", ""), "(none)"}, {valueLabel("visit:region", "DE-BE", "Berlin"), "Berlin"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestCSVCell(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "/path": "/path", "a=b": "a=b", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)",
		"\t=1": "'\t=1", "\r=1": "'\r=1", " =1": "' =1", "\u00a0=1": "'\u00a0=1", "＝1": "'＝1", "|cmd": "'|cmd", "'=1": "'=1", "日本": "日本",
	} {
		if got := csvCell(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestChange(t *testing.T) {
	tot := func(visitors, bounces, entries uint64) store.Totals {
		return store.Totals{Visitors: visitors, Bounces: bounces, Entries: entries}
	}
	for _, c := range []struct {
		metric    string
		cur, prev store.Totals
		want      string
	}{
		{"visitors", tot(112, 0, 0), tot(100, 0, 0), "▲ 12% good"},
		{"visitors", tot(96, 0, 0), tot(100, 0, 0), "▼ 4% worse"},
		{"visitors", tot(1000, 0, 0), tot(1001, 0, 0), "— 0% same"},
		{"visitors", tot(5, 0, 0), tot(0, 0, 0), "— nothing before same"},
		{"visits", store.Totals{Visits: 5, PageViews: 9}, store.Totals{PageViews: 3}, "▲ from none good"},
		{"visitors", tot(0, 0, 0), tot(0, 0, 0), "— 0% same"},
		{"visitors", tot(0, 0, 0), tot(9, 0, 0), "▼ 100% worse"},
		{"visitors", tot(50000, 0, 0), tot(4, 0, 0), "▲ 1,249,900% good"},
		{"bounce_rate", tot(0, 46, 100), tot(0, 49, 100), "▼ 3 pts good"},
		{"bounce_rate", tot(0, 50, 100), tot(0, 49, 100), "▲ 1 pt worse"},
		{"bounce_rate", tot(0, 0, 0), tot(0, 49, 100), "— nothing to compare same"},
		{"visit_duration", tot(0, 0, 0), tot(0, 0, 0), "— nothing to compare same"},
	} {
		g := findMetric(c.metric).change(c.cur, c.prev)
		if got := g.Sign + " " + g.Text + " " + g.Tone; got != c.want {
			t.Errorf("%s %v after %v: %q, want %q", c.metric, c.cur, c.prev, got, c.want)
		}
		if g.Said == "" {
			t.Errorf("%s: nothing is said to those who do not see it", c.metric)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		metric string
		top    float64
		want   string
	}{
		{"visitors", 0, "0 1"}, {"visitors", 1, "0 1"}, {"visitors", 3, "0 1 2 3"}, {"visitors", 7, "0 2 4 6 8"}, {"visitors", 940, "0 200 400 600 800 1,000"},
		{"visitors", 2120, "0 0.5k 1.0k 1.5k 2.0k 2.5k"}, {"visitors", 12_400_000, "0 2.5M 5.0M 7.5M 10.0M 12.5M"},
		{"views_per_visit", 2.54, "0 1 2 3"}, {"views_per_visit", 0.4, "0.0 0.1 0.2 0.3 0.4"},
		{"bounce_rate", 46, "0% 10% 20% 30% 40% 50%"}, {"bounce_rate", 0, "0% 20% 40% 60% 80% 100%"},
		{"visit_duration", 151, "0s 1m 2m 3m"}, {"visit_duration", 8, "0s 2s 4s 6s 8s"}, {"visit_duration", 9000, "0s 30m 1h 1.5h 2h 2.5h"},
	} {
		m := findMetric(c.metric)
		got := strings.Join(tickLabels(ticks(c.top, m), m), " ")
		if strings.ReplaceAll(got, "0.0 ", "0 ") != strings.ReplaceAll(c.want, "0.0 ", "0 ") {
			t.Errorf("%s up to %v: %s, want %s", c.metric, c.top, got, c.want)
		}
	}
	for top := 0.5; top < 1e12; top *= 1.37 {
		for _, m := range metrics() {
			ts := ticks(top, m)
			if last := ts[len(ts)-1]; len(ts) < 2 || len(ts) > 8 || last < top {
				t.Fatalf("%s up to %v: %v", m.Key, top, ts)
			}
		}
	}
}

// The chart draws what is over solid, the running step dashed, the future not at all.
func TestChart(t *testing.T) {
	z := berlin(t)
	now := clock().In(z)
	r, err := period.Named(period.Today, now, z, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	v := view{Site: "example.org", Range: r, Compare: comparePrevious, Step: period.Hourly, Metric: "visitors", now: now, zone: z}
	o := &store.Overview{Previous: store.Totals{Visitors: 50}}
	for h := range 24 {
		o.Series = append(o.Series, store.Point{Time: r.From.Add(time.Duration(h) * time.Hour), Totals: store.Totals{Visitors: uint64(h)}})
		if h < 10 {
			o.PreviousSeries = append(o.PreviousSeries, store.Point{Time: r.From.Add(time.Duration(h-24) * time.Hour), Totals: store.Totals{Visitors: 5}})
		}
	}
	c, err := newChart(v, findMetric("visitors"), o)
	if err != nil {
		t.Fatal(err)
	}
	var d chartData
	if err := json.Unmarshal([]byte(c.Data), &d); err != nil {
		t.Fatal(err)
	}
	if d.Running != 9 || d.Now[9] == nil || d.Now[10] != nil || len(d.Now) != 24 || d.Local[9] != "2026-11-24T09:00" || d.PrevAt[9] != "2026-11-23T09:00" || d.Prev[10] != nil {
		t.Errorf("data %s", c.Data)
	}
	if n := strings.Count(c.Line, "L"); n != 8 || !strings.HasPrefix(c.Run, "M347.8 ") || strings.Count(c.Prev, "L") != 9 {
		t.Errorf("drawn %q, %q, %q", c.Line, c.Run, c.Prev)
	}
	if len(c.Rows) != 10 || !c.Rows[9].Running || c.Rows[9].Before != "5" {
		t.Errorf("the table has %d rows, last %+v", len(c.Rows), c.Rows[len(c.Rows)-1])
	}
	if want := "Visitors by hour, 24 Nov 2026. Most: 9, Tue 24 Nov, 09:00. Least: 0, Tue 24 Nov, 00:00."; c.Summary != want {
		t.Errorf("summary %q", c.Summary)
	}
}

// Steps without a value break the line; one alone is a dot.
func TestChartGaps(t *testing.T) {
	now := clock()
	r, err := period.Dates("2026-11-01", "2026-11-05", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	v := view{Range: r, Compare: compareOff, Step: period.Daily, Metric: "bounce_rate", now: now, zone: time.UTC}
	o := &store.Overview{}
	for i, entries := range []uint64{10, 10, 0, 10, 0} {
		o.Series = append(o.Series, store.Point{Time: period.AddDays(r.From, i), Totals: store.Totals{Bounces: entries / 2, Entries: entries}})
	}
	c, err := newChart(v, findMetric("bounce_rate"), o)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(c.Line, "M") != 2 || len(c.Dots) != 1 || c.Dots[0].X != "75.00%" || strings.Contains(c.Line+c.Area, "NaN") {
		t.Errorf("drawn %q with dots %v", c.Line, c.Dots)
	}
	if c.Rows[2].Cells[4] != "–" {
		t.Errorf("a day without visits has the bounce rate %q", c.Rows[2].Cells[4])
	}
}

func TestLabelEvery(t *testing.T) {
	for _, step := range []string{period.Hourly, period.Daily, period.Weekly, period.Monthly} {
		for n := 1; n < 3000; n++ {
			if e := labelEvery(n, step); e < 1 || (n+e-1)/e > 8 {
				t.Fatalf("%d steps of a %s: a label every %d", n, step, e)
			}
		}
	}
}

// An address made from a view is read back as the same view.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"is,visit:source,Google,Bing", `contains,event:page,a\,b\\c`, "is_not,event:props:plan,", `is,visit:source,\`, "matches,event:page,**/x", ",,", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseFilter(s)
		if err != nil {
			return
		}
		b, err := parseFilter(a.String())
		if err != nil {
			if len(a.String()) > maxFilterValue {
				return // escaping made it too long
			}
			t.Fatalf("%q became %q: %v", s, a.String(), err)
		}
		if b.Op != a.Op || b.Dim != a.Dim || strings.Join(b.Values, "\x00") != strings.Join(a.Values, "\x00") {
			t.Fatalf("%q: %+v became %+v", s, a, b)
		}
	})
}
