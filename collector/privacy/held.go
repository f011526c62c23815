package privacy

import (
	"strconv"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// heldJSON is what is held, for programs.
type heldJSON struct {
	At      string         `json:"at"` // when it was read, UTC
	Deleted *deletedJSON   `json:"deleted,omitempty"`
	Sites   []siteHeldJSON `json:"sites"`
	Notes   []string       `json:"notes"`
}

type deletedJSON struct {
	Rows      uint64 `json:"rows"`      // that were erased so far
	Done      bool   `json:"done"`      // false: it goes on by itself
	Ordered   string `json:"ordered"`   // when
	Verified  bool   `json:"verified"`  // the database was asked again afterwards, and "sites" is its answer
	Withdrawn bool   `json:"withdrawn"` // the consent to the cookie was withdrawn with it
}

type siteHeldJSON struct {
	Site   string      `json:"site"`
	Number numberJSON  `json:"number"`
	Cookie *cookieJSON `json:"cookie"` // null: this browser agreed to none
}

// numberJSON is what is held under the number of the period, which others may share.
type numberJSON struct {
	From        string `json:"from"` // the first date that it is good for, on the site's calendar
	KeyErased   string `json:"key_erased"`
	Shared      bool   `json:"shared"` // true: there are counts only
	*countsJSON        // nil, and so not there: nothing could be looked up
}

type countsJSON struct {
	PageViews    uint64 `json:"pageviews"`
	Events       uint64 `json:"events"`
	ReadingTimes uint64 `json:"reading_times"`
	MailsOpened  uint64 `json:"mails_opened"`
	MailLinks    uint64 `json:"mail_links"`
	Visits       uint64 `json:"visits"`
	Waiting      uint64 `json:"waiting"` // not in the database yet
}

// cookieJSON is everything under the number of the consented cookie.
type cookieJSON struct {
	Given string `json:"given"`
	Ends  string `json:"ends"`
	*countsJSON
	Rows []rowJSON `json:"rows"` // the newest first; null: nothing could be looked up
	More bool      `json:"more"` // there are older ones
}

// rowJSON is one row, with everything that is kept in it but the numbers that only join rows to the visitor.
type rowJSON struct {
	Time           string            `json:"time"`
	Kind           string            `json:"kind"`
	Name           string            `json:"name"`
	Interactive    bool              `json:"interactive"`
	Visit          string            `json:"visit"`
	Seq            uint16            `json:"visit_seq"`
	Hostname       string            `json:"hostname"`
	Page           string            `json:"page"`
	Title          string            `json:"title"`
	EntryPage      string            `json:"entry_page"`
	Referrer       string            `json:"referrer"`
	Source         string            `json:"source"`
	Channel        string            `json:"channel"`
	UTMSource      string            `json:"utm_source"`
	UTMMedium      string            `json:"utm_medium"`
	UTMCampaign    string            `json:"utm_campaign"`
	UTMContent     string            `json:"utm_content"`
	UTMTerm        string            `json:"utm_term"`
	ClickID        string            `json:"click_id"`
	Device         string            `json:"device"`
	Browser        string            `json:"browser"`
	BrowserVersion string            `json:"browser_version"`
	OS             string            `json:"os"`
	OSVersion      string            `json:"os_version"`
	Country        string            `json:"country"`
	Region         string            `json:"region"`
	RegionName     string            `json:"region_name"`
	City           string            `json:"city"`
	EngagedMS      uint32            `json:"engaged_ms"`
	Scroll         uint8             `json:"scroll"`
	Props          map[string]string `json:"props"`
	Revenue        float64           `json:"revenue"`
	Currency       string            `json:"currency"`
	Network        string            `json:"network"`
	Notice         uint32            `json:"notice"`
}

// RowJSON is an event as its visitor sees it, to be written as JSON: everything but the numbers that
// only join rows to the visitor.
func RowJSON(e *event.Event) any { return rowOf(e) }

// CountsJSON is what is held in numbers, to be written as JSON.
func CountsJSON(h *event.Held) any { return countsOf(h) }

func rowOf(e *event.Event) rowJSON {
	v := &e.Visit
	r := rowJSON{
		Time: rfc3339(time.Unix(e.Time, 0)), Kind: kindName(e.Kind), Name: e.Name, Interactive: e.Interactive,
		Visit: strconv.FormatUint(v.ID, 10), Seq: e.Seq, Hostname: e.Hostname, Page: e.Page, Title: e.Title, EntryPage: v.EntryPage,
		Referrer: v.Referrer, Source: v.Source, Channel: v.Channel,
		UTMSource: v.UTMSource, UTMMedium: v.UTMMedium, UTMCampaign: v.UTMCampaign, UTMContent: v.UTMContent, UTMTerm: v.UTMTerm,
		ClickID: v.ClickID, Device: v.Device, Browser: v.Browser, BrowserVersion: v.BrowserVersion, OS: v.OS, OSVersion: v.OSVersion,
		Country: v.Country, Region: v.Region, RegionName: v.RegionName, City: v.City,
		EngagedMS: e.EngagedMS, Scroll: e.Scroll, Props: map[string]string{},
		Revenue: float64(e.Revenue) / 1e6, Currency: e.Currency, Network: e.Network, Notice: e.Notice,
	}
	for _, p := range e.Props {
		r.Props[p.Key] = p.Value
	}
	return r
}

func kindName(k event.Kind) string {
	switch k {
	case event.PageView:
		return "page view"
	case event.Custom:
		return "event"
	case event.Engagement:
		return "reading time"
	case event.EmailOpen:
		return "mail opened"
	case event.EmailClick:
		return "link in a mail"
	}
	return "other"
}

func countsOf(h *event.Held) countsJSON {
	c := countsJSON{Visits: h.Visits, Waiting: h.Pending}
	for _, k := range h.Counts {
		switch k.Kind {
		case event.PageView:
			c.PageViews = k.Rows
		case event.Custom:
			c.Events = k.Rows
		case event.Engagement:
			c.ReadingTimes = k.Rows
		case event.EmailOpen:
			c.MailsOpened = k.Rows
		case event.EmailClick:
			c.MailLinks = k.Rows
		}
	}
	return c
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// What is said where a deletion was ordered and the database cannot be asked.
const (
	noLook    = "Nothing could be looked up now: there are no figures here, and that does not mean that nothing is held."
	orderKept = "The order to delete is written down and will be carried out, also after a restart. Until then everything is as before."
)

func heldOf(hs []holding, d *deletion, now time.Time) heldJSON {
	out := heldJSON{At: rfc3339(now), Sites: []siteHeldJSON{}, Notes: []string{
		"Under a number that others can share there are counts, never pages or times.",
		"What was counted before the number's period, or without a number, cannot be linked to anybody any more: the keys are erased.",
		"Nothing here was typed in by you: correcting it is deleting it.",
	}}
	looked := d == nil || !d.lookFailed
	if d != nil {
		if !looked {
			out.Notes = []string{noLook}
			if !d.Done {
				out.Notes = []string{noLook, orderKept}
			}
		}
		out.Deleted = &deletedJSON{Rows: d.Rows, Done: d.Done, Ordered: rfc3339(d.At), Verified: !d.lookFailed, Withdrawn: d.withdrew}
	}
	for i := range hs {
		h := &hs[i]
		s := siteHeldJSON{Site: h.site.Domain, Number: numberJSON{
			From: h.first().String(), KeyErased: rfc3339(h.erased), Shared: true,
		}}
		if looked {
			s.Number.countsJSON = new(countsOf(&h.shared))
		}
		if h.cookie.Visitor != 0 {
			given := h.cookie.First + 1
			k := &cookieJSON{Given: given.String(), Ends: (given + ConsentDays).String()}
			if looked {
				k.countsJSON, k.Rows, k.More = new(countsOf(&h.own)), []rowJSON{}, h.own.More
			}
			for j := range h.own.Events {
				k.Rows = append(k.Rows, rowOf(&h.own.Events[j]))
			}
			s.Cookie = k
		}
		out.Sites = append(out.Sites, s)
	}
	return out
}
