package dashboard

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kantarainitiative/footfall/store"
)

// panelRows is how many rows a panel shows; the rest is a click away.
const panelRows = 6

// panelDef is a panel of the dashboard: a card with tabs, each the top of one dimension.
type panelDef struct {
	ID, Title string
	Tabs      []tabDef
}

type tabDef struct {
	ID, Label string
	Dim       string
	Head      string // of the first column
	Second    string // what stands beside visitors: "share", "pageviews", "events", "visits"
	SkipNone  bool   // rows without a value say nothing here
	Empty     string // why there may be nothing, and what to do
}

func panels() []panelDef {
	return []panelDef{
		{ID: "sources", Title: "Sources", Tabs: []tabDef{
			{ID: "channels", Label: "Channels", Dim: "visit:channel", Head: "Channel", Second: "share"},
			{ID: "sources", Label: "Sources", Dim: "visit:source", Head: "Source", Second: "share"},
			{ID: "campaigns", Label: "Campaigns", Dim: "visit:utm_campaign", Head: "Campaign", Second: "share", SkipNone: true,
				Empty: "No visit came by a link with utm_campaign in its address. Add ?utm_campaign=name to links in newsletters and posts to see them here."},
		}},
		{ID: "pages", Title: "Pages", Tabs: []tabDef{
			{ID: "top", Label: "Top pages", Dim: "event:page", Head: "Page", Second: "pageviews"},
			{ID: "entry", Label: "Entry", Dim: "visit:entry_page", Head: "Entry page", Second: "visits"},
			{ID: "exit", Label: "Exit", Dim: "visit:exit_page", Head: "Exit page", Second: "visits"},
		}},
		{ID: "places", Title: "Countries", Tabs: []tabDef{
			{ID: "countries", Label: "Countries", Dim: "visit:country", Head: "Country", Second: "share", SkipNone: true,
				Empty: "No place is known. Countries need a database of addresses: set geoip in the configuration."},
			{ID: "regions", Label: "Regions", Dim: "visit:region", Head: "Region", Second: "share", SkipNone: true,
				Empty: "No region is known. Regions need a database that has them: set geoip in the configuration."},
			{ID: "cities", Label: "Cities", Dim: "visit:city", Head: "City", Second: "share", SkipNone: true,
				Empty: "No city is known. Cities need a database that has them: set geoip in the configuration."},
		}},
		{ID: "devices", Title: "Devices", Tabs: []tabDef{
			{ID: "browsers", Label: "Browsers", Dim: "visit:browser", Head: "Browser", Second: "share"},
			{ID: "systems", Label: "Systems", Dim: "visit:os", Head: "System", Second: "share"},
			{ID: "screens", Label: "Screens", Dim: "visit:device", Head: "Device", Second: "share"},
		}},
		{ID: "events", Title: "Events", Tabs: []tabDef{
			{ID: "all", Label: "All events", Dim: "event:name", Head: "Event", Second: "events",
				Empty: "No events of your own in this period. Outbound links and downloads come by themselves; send others with footfall('Name')."},
		}},
	}
}

// panel is a panel ready to be drawn.
type panel struct {
	ID, Title string
	Tabs      []tab
}

type tab struct {
	ID, Label, URL   string
	Selected         bool
	Head, SecondHead string
	Rows             []row
	Spare            []struct{} // empty rows that keep the card's height
	Note             string
	Capped           string // that the list is not whole
	Empty            string
	Details, CSV     string // addresses
}

// row is a line of a panel: a bar, a label that filters, two figures.
type row struct {
	Label, Title  string
	Code          string // a country's code, for the script to name in the reader's language
	URL           string // "" for rows that are no value: "(few)", "(other)"
	Bar           string // width in percent
	First, Second string
	SecondExact   string
}

// valueURL is the view filtered to a value, "" for one that stands for many.
func (v view) valueURL(dim, value string, cappedDays int) string {
	if merged(value, cappedDays) != "" {
		return ""
	}
	return v.withFilter(filter{Op: "is", Dim: dim, Values: []string{value}}).url("")
}

// merged says of a value that stands for many, of a period that has them on some days, what it
// is. Where no day has more values than are kept, "(other)" is a value that somebody has called so.
func merged(value string, cappedDays int) string {
	switch {
	case value == store.Few:
		return "(few): rows with too few visitors to be shown, merged"
	case value == store.Other && cappedDays > 0:
		return "(other): the smallest rows, merged"
	}
	return ""
}

// cappedWords tells that a list is not whole, "" if it is.
func cappedWords(dim dimension, days int) string {
	if days == 0 {
		return ""
	}
	what := strings.ToLower(dim.Plural[:1]) + dim.Plural[1:]
	if strings.HasPrefix(dim.Plural, "UTM") {
		what = dim.Plural
	}
	return "On " + count(uint64(days)) + " " + plural(uint64(days), "day", "days") + " there were more than " + count(store.RollupCap) +
		" different " + what + "; the rarest are together as (other)."
}

// fillTab draws the rows of p under tab t.
func fillTab(v view, pd panelDef, t tabDef, p store.Panel, whole store.Totals) tab {
	out := tab{ID: t.ID, Label: t.Label, Head: t.Head, Empty: t.Empty,
		URL:     v.withTab(pd.ID, tabParam(pd, t)).url(""),
		Details: v.url("details", [2]string{"by", t.Dim}), CSV: v.url("export.csv", [2]string{"by", t.Dim})}
	switch t.Second {
	case "pageviews":
		out.SecondHead = "Views"
	case "visits":
		out.SecondHead = "Visits"
	case "events":
		out.SecondHead = "Events"
	default:
		out.SecondHead = "Share"
	}
	rows := p.Rows
	var top uint64
	rows = slices.DeleteFunc(slices.Clone(rows), func(r store.PanelRow) bool {
		return t.Dim == "event:name" && r.Value == "pageview" || // has a panel of its own
			t.SkipNone && (r.Value == "" || r.Value == "(not set)")
	})
	for _, r := range rows {
		top = max(top, r.Visitors)
	}
	for _, r := range rows {
		if len(out.Rows) == panelRows {
			break
		}
		w := row{Label: valueLabel(t.Dim, r.Value, r.Label), First: count(r.Visitors), Bar: bar(r.Visitors, top)}
		w.Title = w.Label
		if isCode(t.Dim, r.Value) {
			w.Code = r.Value
		}
		switch t.Second {
		case "pageviews":
			w.Second, w.SecondExact = short(float64(r.PageViews)), count(r.PageViews)
		case "visits":
			w.Second, w.SecondExact = short(float64(r.Visits)), count(r.Visits)
		case "events":
			w.Second, w.SecondExact = short(float64(r.Events)), count(r.Events)
			if r.NoEvents {
				w.Second, w.SecondExact = "–", ""
			}
		default:
			w.Second = share(r.Visitors, whole.Visitors)
		}
		if r.Withheld {
			w.First = "–"
			if out.Note == "" {
				out.Note = "–: all but very few visitors are in it, so their number is withheld"
			}
			if t.Second != "pageviews" && t.Second != "events" {
				w.Second, w.SecondExact = "–", ""
			}
		}
		if m := merged(r.Value, p.Capped); m != "" && r.Value != store.Other { // of that more is said
			out.Note = m
		}
		w.URL = v.valueURL(t.Dim, r.Value, p.Capped)
		out.Rows = append(out.Rows, w)
	}
	if dim, ok := findDimension(t.Dim); ok {
		out.Capped = cappedWords(dim, p.Capped)
	}
	if len(out.Rows) == 0 {
		switch {
		case whole.PageViews == 0 && whole.Events == 0 && len(v.Filters) == 0:
			out.Empty = "Nobody came in this period."
		case len(v.Filters) > 0:
			out.Empty = "Nothing in this period fits the filters."
		case out.Empty == "":
			out.Empty = "Nobody came in this period."
		}
	} else {
		if len(pd.Tabs) > 1 { // others have no tab to be as high as
			out.Spare = make([]struct{}, panelRows-len(out.Rows))
		}
	}
	return out
}

// tabParam is how t is written in addresses: the first tab of a panel is not.
func tabParam(p panelDef, t tabDef) string {
	if p.Tabs[0].ID == t.ID {
		return ""
	}
	return t.ID
}

// bar is a share of the longest bar in percent; what is there at all is visible.
func bar(n, top uint64) string {
	if top == 0 || n == 0 {
		return "0%"
	}
	return strconv.FormatFloat(math.Max(1, math.Round(float64(n)/float64(top)*1000)/10), 'f', -1, 64) + "%"
}
