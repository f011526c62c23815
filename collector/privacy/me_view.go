package privacy

import (
	"fmt"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

const titleMe = "What is held about you"

// meView is the page of what is held.
type meView struct {
	Choose  []*Site // there are too many to look up: the visitor picks one
	Names   string  // of the sites
	Sites   []siteHeldView
	Any     bool // something can be deleted
	Cookie  bool // there is a consented cookie
	JSON    string
	Deleted *deletedView
	Signals []*Site
}

type siteHeldView struct {
	Site      string
	Several   bool   // there are other sites on the page
	Period    string // "today", "yesterday and today", "this week", …
	From      string
	KeyErased string
	Shared    countsView
	Cookie    *ownView
}

// countsView is a table of how many rows of each kind there are.
type countsView struct {
	Rows    []countView
	Visits  uint64
	Waiting uint64
}

// None reports whether nothing is held.
func (c countsView) None() bool { return len(c.Rows) == 0 && c.Visits == 0 && c.Waiting == 0 }

type countView struct {
	What string
	N    uint64
}

// ownView is everything under the consented cookie's number.
type ownView struct {
	Site, Given, Until string
	Counts             countsView
	Rows               []rowView
	Shown              uint64
	More               bool
}

type rowView struct {
	Time, What, Page, From, Device, Place string
	Rest                                  []string // "name: value"
}

type deletedView struct {
	Rows       uint64
	Done       bool
	At         string
	Left       bool // the look afterwards found something
	LookFailed bool
	Withdrew   bool
}

var kindTitles = []struct {
	kind  event.Kind
	title string
}{
	{event.PageView, "Page views"}, {event.Custom, "Events"}, {event.Engagement, "Reading times"},
	{event.EmailOpen, "Mails opened"}, {event.EmailClick, "Links followed in mails"},
}

func countsViewOf(h *event.Held) countsView {
	v := countsView{Visits: h.Visits, Waiting: h.Pending}
	for _, k := range kindTitles {
		for _, c := range h.Counts {
			if c.Kind == k.kind && c.Rows > 0 {
				v.Rows = append(v.Rows, countView{k.title, c.Rows})
			}
		}
	}
	return v
}

func (p *Pages) meView(r *Request, hs []holding, d *deletion) *view {
	now := p.now()
	m := &meView{JSON: PathMe + jsonQuery(r)}
	v := &view{Title: titleMe, Query: queryOf(r), At: PathMe, Me: m, Unused: r.OptedOut}
	var names []string
	var sites []*Site
	for i := range hs {
		h := &hs[i]
		names, sites = append(names, h.site.Domain), append(sites, h.site)
		s := siteHeldView{
			Site: h.site.Domain, Several: len(hs) > 1, Period: periodName(h), From: dateText(h.first().Time()),
			KeyErased: zoneText(h.erased, h.site.Location), Shared: countsViewOf(&h.shared),
		}
		m.Any = m.Any || !s.Shared.None()
		if h.cookie.Visitor != 0 {
			m.Cookie = true
			s.Cookie = ownViewOf(h)
			m.Any = m.Any || !s.Cookie.Counts.None()
		}
		if r.Signal && (h.site.Unlinked || h.site.Dropped) {
			m.Signals = append(m.Signals, h.site)
		}
		m.Sites = append(m.Sites, s)
	}
	m.Names = strings.Join(names, ", ")
	v.Brand = brandOf(sites)
	c, did := r.consent(now), policy.Act("")
	if d != nil && d.withdrew {
		c, did = Consent{}, policy.Withdrawal
	}
	v.Cookies = cookieViews(sites, c, did, r.OptedOut)
	if d != nil {
		m.Deleted = &deletedView{Rows: d.Rows, Done: d.Done, At: timeText(d.At.In(hs[0].site.Location)), Left: m.Any, LookFailed: d.lookFailed, Withdrew: d.withdrew}
		m.Cookie = m.Cookie && !d.withdrew
		v.Receipts = receiptViews(policy.Erasure, d.receipts)
	}
	return v
}

func jsonQuery(r *Request) string {
	if q := queryOf(r); q != "" {
		return q + "&format=json"
	}
	return "?format=json"
}

// periodName says when the numbers are good for.
func periodName(h *holding) string {
	before, now := "yesterday", "today"
	switch h.site.Window {
	case anonymize.Week:
		before, now = "last week", "this week"
	case anonymize.Month:
		before, now = "last month", "this month"
	}
	if len(h.numbers) > 1 {
		return before + " and " + now
	}
	return now
}

func ownViewOf(h *holding) *ownView {
	given := h.cookie.First + 1
	v := &ownView{
		Site: h.site.Domain, Given: dateText(given.Time()), Until: dateText((given + ConsentDays).Time()), Counts: countsViewOf(&h.own), More: h.own.More,
		Shown: uint64(len(h.own.Events)),
	}
	for i := range h.own.Events {
		v.Rows = append(v.Rows, rowViewOf(&h.own.Events[i], h.site.Location))
	}
	return v
}

func rowViewOf(e *event.Event, loc *time.Location) rowView {
	v := &e.Visit
	r := rowView{
		Time: timeText(time.Unix(e.Time, 0).In(loc)), Page: e.Page, From: v.Source,
		Device: joined(", ", v.Browser+version(v.BrowserVersion), v.OS+version(v.OSVersion), v.Device),
		Place:  joined(", ", v.City, v.RegionName, v.Country),
	}
	switch e.Kind {
	case event.PageView:
		r.What = "Page view"
	case event.Engagement:
		r.What = "Reading time"
	default:
		r.What = e.Name
	}
	add := func(name, value string) {
		if value != "" {
			r.Rest = append(r.Rest, name+": "+value)
		}
	}
	add("title", e.Title)
	add("host", e.Hostname)
	add("the visit began at", v.EntryPage)
	add("linked from", v.Referrer)
	add("channel", v.Channel)
	add("campaign", joined(" / ", v.UTMSource, v.UTMMedium, v.UTMCampaign, v.UTMContent, v.UTMTerm))
	add("click parameter", v.ClickID)
	if e.Kind == event.Engagement {
		add("read for", (time.Duration(e.EngagedMS) * time.Millisecond).Round(time.Second).String())
		add("scrolled to", fmt.Sprintf("%d %%", e.Scroll))
	}
	for _, p := range e.Props {
		add(p.Key, p.Value)
	}
	if e.Currency != "" {
		add("value", fmt.Sprintf("%.2f %s", float64(e.Revenue)/1e6, e.Currency))
	}
	add("network", e.Network)
	return r
}

func version(v string) string {
	if v == "" {
		return ""
	}
	return " " + v
}

// joined joins the texts that there are.
func joined(by string, texts ...string) string {
	var some []string
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			some = append(some, t)
		}
	}
	return strings.Join(some, by)
}

// zoneText writes an instant as the site's clock shows it.
func zoneText(t time.Time, loc *time.Location) string {
	return t.In(loc).Format("2 January 2006, 15:04") + " (" + loc.String() + ")"
}
