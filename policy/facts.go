package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Controller is the organisation that the notice and the receipts speak for.
type Controller struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Email   string `json:"email"`
	Phone   string `json:"phone"`
	// Jurisdiction is whose law applies, as "DE"; "" where the organisation does not say.
	Jurisdiction string `json:"jurisdiction"`
}

// Contact is the shortest way to reach the controller, "" where none is configured.
func (c Controller) Contact() string {
	for _, s := range []string{c.Email, c.Phone, c.Address} {
		if s != "" {
			return s
		}
	}
	return ""
}

// Means is a way in which hits are collected.
type Means string

// The means.
const (
	Script Means = "script" // the tracker in a page
	Pixel  Means = "pixel"  // the picture in a page
	Email  Means = "email"  // the picture and the links in an HTML email
)

// Facts is everything that the notice of one site says, as the running configuration has it.
// Words are those of the configuration.
type Facts struct {
	Controller Controller `json:"controller"`
	URL        string     `json:"url"` // the public listener's address, without a slash at the end
	Site       string     `json:"site"`

	Means       []Means  `json:"means"`
	Columns     []string `json:"columns"`      // stored of an event: [Columns]
	Mail        string   `json:"mail"`         // what is counted of emails: "opens clicks"; "" for nothing
	QueryParams []string `json:"query_params"` // kept in a page's address; all others are dropped

	Timezone    string `json:"timezone"`     // whose midnight ends a day
	Window      string `json:"window"`       // how long an id lasts: day, week, month
	KeyDelay    int    `json:"key_delay"`    // minutes after the end of the window until the key is erased, at most
	Address     string `json:"address"`      // what is kept of an IP address: truncate, hash, drop
	Bits4       int    `json:"bits4"`        // bits of an IPv4 address that truncate keeps
	Bits6       int    `json:"bits6"`        // the same for IPv6
	DNT         string `json:"dnt"`          // the answer to Do-Not-Track and GPC: ignore, unlinked, drop
	Cookie      string `json:"cookie"`       // none, consented
	CookieName  string `json:"cookie_name"`  // of the cookie for those who agree, "" for none
	CookieDays  int    `json:"cookie_days"`  // its life, from when consent was given
	OptOutName  string `json:"optout_name"`  // of the cookie of those who are not to be counted
	OptOutDays  int    `json:"optout_days"`  // its life
	Place       string `json:"place"`        // what is looked up of an address, on this machine: none, country, city
	PII         string `json:"pii"`          // personal data found in texts: mask, drop, off
	MinVisitors int    `json:"min_visitors"` // smaller groups are not shown; 0: all are

	Retention string `json:"retention"` // of single records, as 400d
	// Disposal tells that the program itself deletes what is older. Otherwise the period is the
	// organisation's intention, and the notice says so.
	Disposal bool `json:"disposal"`
	// Rollups and Ledger are how long figures by day and the books are kept, "" for no limit.
	Rollups string `json:"rollups"`
	Ledger  string `json:"ledger"`
	// Replay is how long the files that records come in are kept once these are stored, as 24h; "" for no longer.
	Replay string `json:"replay"`
}

// AllMeans are all means.
var AllMeans = []Means{Script, Pixel, Email}

// Kept is how long each kind of record is kept, by the kind's name.
func (f *Facts) Kept() map[string]string {
	kept := map[string]string{"events": f.Retention}
	if f.Disposal {
		kept["rollups"], kept["ledger"] = f.Rollups, f.Ledger
	}
	return kept
}

// sums is the part of the meaning that says how long sums are kept, "" for no limit.
func (f *Facts) sums() string {
	if f.Rollups == "" && f.Ledger == "" {
		return ""
	}
	return f.Rollups + " " + f.Ledger
}

// fact is one part of the meaning: what a change of makes a new version.
type fact struct {
	key   string // part of the fingerprint: never change one
	value string // likewise; "" is left out, so that a fact that is added later changes no fingerprint where it says nothing
	label string // for people
	text  string // what the value means, for people
}

// meaning lists the facts that carry meaning: purpose, retention, recipients, identifiers and
// technology. How to reach the controller, and the address of the pages, do not.
func (f *Facts) meaning() []fact {
	means := make([]string, len(f.Means))
	for i, m := range f.Means {
		means[i] = string(m)
	}
	yesNo := map[bool]string{true: "automatic", false: "by hand"}
	list := func(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), " ") }
	columns := []string{}
	for _, c := range f.Columns {
		columns = append(columns, strings.ToLower(columnOf("events", c).What))
	}
	return []fact{
		{"site", f.Site, "Site", f.Site},
		{"controller", f.Controller.Name, "Who is responsible", f.Controller.Name},
		{"purposes", strings.Join(purposeKeys(), " "), "Purposes", strings.Join(Purposes(), "; ")},
		{"means", list(means), "Means", sayMeans(f.Means)},
		{"mail", f.Mail, "Emails", f.sayMail()},
		{"columns", list(f.Columns), "What is kept", strings.Join(columns, ", ")},
		{"query_params", list(f.QueryParams), "Parameters kept in a page's address", orNone(strings.Join(f.QueryParams, ", "))},
		{"address", strings.Join([]string{f.Address, strconv.Itoa(f.Bits4), strconv.Itoa(f.Bits6)}, " "), "IP address", f.sayAddress()},
		{"window", f.Window, "Life of a visitor's number", "one " + f.Window},
		{"key_delay", minutes(f.KeyDelay), "Key of the numbers", f.sayKeyDelay()},
		{"timezone", f.Timezone, "Midnight", "in " + f.Timezone},
		{"dnt", f.DNT, "Do-Not-Track and Global Privacy Control", f.sayDNT()},
		{"cookie", fmt.Sprint(f.Cookie, " ", f.CookieDays), "Cookie", f.sayCookie()},
		{"cookie_name", f.CookieName, "Name of the cookie", orNone(f.CookieName)},
		{"optout", strings.TrimSpace(fmt.Sprint(f.OptOutName, " ", minutes(f.OptOutDays))), "Cookie of those who are not counted", f.sayOptOut()},
		{"place", f.Place, "Place", f.sayPlace()},
		{"pii", f.PII, "Personal data that strays into addresses and titles", f.sayPII()},
		{"min_visitors", strconv.Itoa(f.MinVisitors), "Smallest group shown", f.sayMinVisitors()},
		{"retention", f.Retention + " " + yesNo[f.Disposal], "Kept for", f.sayRetention()},
		{"sums", f.sums(), "Sums kept for", f.saySums()},
		{"replay", f.Replay, "Kept for repairs", f.sayReplay()},
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Fingerprint is a hash over the meaning of f, in hexadecimal: two sets of facts have the same one
// if, and only if, they promise the same. It is SHA-256 over "footfall-notice-1" and, for each fact
// that has a value, its key and its value, each after its length in decimal and a colon.
func Fingerprint(f Facts) string {
	h := sha256.New()
	put := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	put("footfall-notice-1")
	for _, m := range f.meaning() {
		if m.value != "" {
			put(m.key)
			put(m.value)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Change is a difference in meaning between two versions, in words.
type Change struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Changes lists what differs in meaning from old to new: nothing if, and only if, their fingerprints
// are the same.
func Changes(old, new Facts) []Change {
	var out []Change
	was, is := old.meaning(), new.meaning()
	for i := range is {
		if was[i].value != is[i].value {
			out = append(out, Change{is[i].label, was[i].text, is[i].text})
		}
	}
	return out
}
