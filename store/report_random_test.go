package store

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// generator makes random traffic of one site within the rules that the collector keeps:
// a visit's attributes are the same on all of its rows, and it stays within a day.
type generator struct {
	rng  *rand.Rand
	site string
	zone *time.Location
}

func pick[T any](g *generator, of ...T) T { return of[g.rng.IntN(len(of))] }

func (g *generator) id() uint64 { return g.rng.Uint64() | 1 }

var (
	testPages   = []string{"/", "/a", "/a/b", "/Blog/ä", "/blog/it's", "/x?y=\\1"}
	testSources = []string{"", "", "Google", "example.net", "Ecosia"}
)

func (g *generator) visit() event.Visit {
	v := event.Visit{
		ID: g.id(), Source: pick(g, testSources...), Country: pick(g, "", "DE", "FR", "JP", "ZZ"),
		Browser: pick(g, "", "Chrome", "Firefox"), OS: pick(g, "Windows", "Mac"), Device: pick(g, "Desktop", "Mobile"),
		UTMCampaign: pick(g, "", "", "spring", "Fall"), UTMMedium: pick(g, "", "cpc"), City: pick(g, "", "Köln"),
	}
	v.Channel = pick(g, "", "Direct", "Organic Search")
	if v.Source != "" {
		v.Referrer = v.Source + ".example/page"
	}
	return v
}

// day makes one day's events.
func (g *generator) day(d event.Day, visits int) []event.Event {
	start := d.Start(g.zone).Unix()
	length := (d + 1).Start(g.zone).Unix() - start
	var out []event.Event
	add := func(e event.Event) {
		e.ID, e.Site, e.Day = g.id(), g.site, d
		out = append(out, e)
	}
	one := func(kind event.Kind, at int64) event.Event {
		e := event.Event{Kind: kind, Time: min(at, start+length-1), Page: pick(g, testPages...), Hostname: pick(g, "example.org", "www.example.org")}
		switch kind {
		case event.PageView:
			e.Name = "pageview"
		case event.Engagement:
			e.Name, e.EngagedMS, e.Scroll = "engagement", uint32(g.rng.IntN(100000)), uint8(g.rng.IntN(101))
		case event.Custom:
			e.Name, e.Interactive = pick(g, "Signup", "Download", "Visit /a"), g.rng.IntN(3) > 0
		}
		if kind != event.Engagement && g.rng.IntN(3) == 0 {
			e.Props = append(e.Props, event.Prop{Key: "plan", Value: pick(g, "pro", "Free", "")})
		}
		if g.rng.IntN(4) == 0 {
			e.Props = append(e.Props, event.Prop{Key: "it's", Value: "?"})
		}
		return e
	}
	visitors := make([]uint64, max(1, visits*2/3))
	for i := range visitors {
		visitors[i] = g.id()
	}
	for range visits {
		v, visitor := g.visit(), pick(g, visitors...)
		at := start + g.rng.Int64N(length)
		first := one(pick(g, event.PageView, event.PageView, event.PageView, event.Custom), at)
		v.EntryPage = first.Page
		first.VisitorID, first.Visit, first.Seq = visitor, v, 1
		add(first)
		for i := range g.rng.IntN(5) {
			at += g.rng.Int64N(1700)
			e := one(pick(g, event.PageView, event.PageView, event.Engagement, event.Custom), at)
			e.VisitorID, e.Visit, e.Seq = visitor, v, uint16(i+2)
			add(e)
		}
	}
	for range visits / 4 { // unlinked hits
		e := one(pick(g, event.PageView, event.PageView, event.Engagement, event.Custom), start+g.rng.Int64N(length))
		e.Visit = g.visit()
		e.Visit.ID, e.Visit.EntryPage = 0, e.Page
		add(e)
	}
	for range visits / 4 { // e-mail opens
		e := event.Event{Kind: event.EmailOpen, Name: "open", Time: start + g.rng.Int64N(length), VisitorID: pick(g, visitors...)}
		e.Visit.UTMCampaign, e.Visit.UTMContent = pick(g, "spring", "news"), pick(g, "", "m1")
		e.Visit.Source, e.Visit.Channel = "Email", "Email"
		add(e)
	}
	return out
}

func (g *generator) filter(depth int) Filter {
	if depth > 0 && g.rng.IntN(3) == 0 {
		f := Filter{Op: pick(g, "and", "or", "not")}
		n := 1 + g.rng.IntN(2)
		if f.Op == "not" {
			n = 1
		}
		for range n {
			f.Filters = append(f.Filters, g.filter(depth-1))
		}
		return f
	}
	f := Filter{
		Op: pick(g, "is", "is", "is_not", "contains", "contains_not", "matches", "matches_not"),
		Dimension: pick(g, "event:page", "event:page", "event:name", "event:hostname", "event:goal", "event:props:plan", "event:props:it's",
			"visit:source", "visit:country", "visit:country_name", "visit:entry_page", "visit:exit_page", "visit:utm_campaign",
			"visit:browser", "visit:channel", "visit:city_name"),
		IgnoreCase: g.rng.IntN(4) == 0,
	}
	if f.Op == "matches" || f.Op == "matches_not" {
		f.IgnoreCase = false
		f.Values = []string{pick(g, "^/a", "b$", "(?i)g[oe]", `\d`, "^$", "S|D")}
		return f
	}
	for range 1 + g.rng.IntN(2) {
		f.Values = append(f.Values, pick(g, append([]string{"pageview", "Signup", "Visit /a*", "Visit /**/b", "pro", "(none)", "?", "Google",
			"Direct / None", "DE", "Germany", "spring", "(not set)", "Chrome", "", "köln", "Direct", "signup", "example.org"}, testPages...)...))
	}
	if f.Op != "is" && f.Op != "is_not" {
		f.Values = []string{pick(g, "a", "o", "/", "G", "er", "'")}
	}
	return f
}

func filtersBy(fs []Filter, dim string) bool {
	for _, f := range fs {
		if f.Dimension == dim || filtersBy(f.Filters, dim) {
			return true
		}
	}
	return false
}

// query makes a random query that has an answer.
func (g *generator) query(first event.Day, days int) Query {
	q := Query{Site: g.site, Zone: g.zone}
	from := g.rng.IntN(days)
	to := from + 1 + g.rng.IntN(days-from)
	q.From, q.To = (first + event.Day(from)).Start(g.zone), (first + event.Day(to)).Start(g.zone)
	if g.rng.IntN(4) == 0 {
		q.From = q.From.Add(time.Duration(g.rng.IntN(80000)) * time.Second)
	}
	if g.rng.IntN(4) == 0 {
		q.To = q.To.Add(-time.Duration(g.rng.IntN(80000)) * time.Second)
	}
	if !q.From.Before(q.To) {
		q.To = q.From.Add(time.Hour)
	}
	q.Now = (first + event.Day(days)).Start(g.zone)
	for range pick(g, 0, 0, 1, 1, 2) {
		q.Filters = append(q.Filters, g.filter(2))
	}
	dims := []string{"event:page", "event:name", "event:hostname", "event:goal", "event:props:plan", "visit:entry_page", "visit:exit_page",
		"visit:source", "visit:referrer", "visit:channel", "visit:utm_campaign", "visit:country", "visit:country_name", "visit:browser",
		"visit:city", "time", "time:hour", "time:day", "time:week", "time:month"}
	g.rng.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
	q.Dimensions = dims[:pick(g, 0, 1, 1, 1, 2, 3)]
	resolved := map[string]bool{}
	for i, d := range q.Dimensions {
		if d == "time" {
			d = q.TimeDimension()
		}
		if resolved[d] {
			q.Dimensions = q.Dimensions[:i]
			break
		}
		resolved[d] = true
	}
	has := func(d string) bool { return resolved[d] }
	metrics := []string{"visitors", "visits", "pageviews", "events", "percentage"}
	if !has("event:goal") && !has("event:name") && !has("event:props:plan") {
		metrics = append(metrics, "views_per_visit", "bounce_rate", "visit_duration")
	}
	if has("event:goal") || filtersBy(q.Filters, "event:goal") {
		metrics = append(metrics, "conversion_rate", "group_conversion_rate")
	}
	if has("event:page") || filtersBy(q.Filters, "event:page") {
		metrics = append(metrics, "scroll_depth", "time_on_page")
	}
	g.rng.Shuffle(len(metrics), func(i, j int) { metrics[i], metrics[j] = metrics[j], metrics[i] })
	q.Metrics = metrics[:1+g.rng.IntN(len(metrics))]
	for range g.rng.IntN(3) {
		q.OrderBy = append(q.OrderBy, Order{By: pick(g, append(q.Dimensions, q.Metrics...)...), Desc: g.rng.IntN(2) == 0})
	}
	return q
}

func describe(q Query) string {
	return fmt.Sprintf("%s to %s\nmetrics %q\ndimensions %q\nfilters %+v\norder %v",
		q.From, q.To, q.Metrics, q.Dimensions, q.Filters, q.OrderBy)
}

// overview makes a random question for a dashboard.
func (g *generator) overview(first event.Day, days int) OverviewQuery {
	q := g.query(first, days)
	o := OverviewQuery{Site: g.site, Zone: g.zone, From: q.From, To: q.To, Now: q.Now, Filters: q.Filters, Limit: 1 + g.rng.IntN(6),
		Interval: pick(g, "time:hour", "time:day", "time:week", "time:month")}
	if g.rng.IntN(2) == 0 {
		o.PrevFrom = o.From.AddDate(0, 0, -3)
		o.PrevTo = o.To.AddDate(0, 0, -3)
	}
	o.Panels = []string{"visit:source", "visit:channel", "event:page", "visit:entry_page", "visit:exit_page", "visit:country",
		"visit:utm_campaign", "visit:browser", "visit:device", "event:name", "event:goal", "event:props:plan", "visit:city"}
	g.rng.Shuffle(len(o.Panels), func(i, j int) { o.Panels[i], o.Panels[j] = o.Panels[j], o.Panels[i] })
	o.Panels = o.Panels[:g.rng.IntN(len(o.Panels)+1)]
	return o
}
