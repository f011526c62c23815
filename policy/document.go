package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Document is the notice of one site in words, for any form it is given out in. All of it follows from
// the facts.
type Document struct {
	Notice
	Title    string    `json:"title"`
	Lead     string    `json:"lead"`
	Sections []Section `json:"sections"`
	// Settings are the facts themselves, one by one. What is given out must hold all of them: see
	// [Document.Missing].
	Settings []Row `json:"settings"`
	Links    Links `json:"links"`
}

// Section is a part of a document. What is empty is not there.
type Section struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Paragraphs []string `json:"paragraphs,omitempty"`
	Items      []string `json:"items,omitempty"`
	Table      *Table   `json:"table,omitempty"`
	Folded     *Table   `json:"folded,omitempty"` // in full, for those who want it
}

// Table has rows of as many cells as it has heads.
type Table struct {
	Title string   `json:"title"`
	Head  []string `json:"head"`
	Rows  []Row    `json:"rows"`
}

// Row is a row of cells.
type Row []string

// Links are the pages of a site for visitors.
type Links struct {
	Notice  string `json:"notice"`
	OptOut  string `json:"optout"`
	Me      string `json:"me"`
	History string `json:"history"`
}

// Date writes a date for people.
func (n *Notice) Date() string { return n.Since.Format("2 January 2006") }

// NewDocument puts a notice into words.
func NewDocument(n Notice) *Document {
	f := &n.Facts
	at := func(path string) string { return f.URL + path + "?site=" + query(f.Site) }
	d := &Document{
		Notice: n, Title: "How we count visits",
		Lead: fmt.Sprintf("Version %d, in force since %s. This page is written by the program that does the counting, from the settings it runs with, so it says what really happens.",
			n.Version, n.Date()),
		Links: Links{at("/privacy"), at("/optout"), at("/privacy/me"), at("/privacy/history")},
	}
	for _, m := range f.meaning() {
		if m.key != "site" && m.key != "columns" {
			d.Settings = append(d.Settings, Row{m.label, m.text})
		}
	}
	d.Sections = []Section{
		{ID: "short", Title: "In short", Items: f.short()},
		f.kept(),
		{ID: "means", Title: "How it is collected", Items: f.means(), Paragraphs: []string{"Nothing is loaded from anybody else, and nothing is sent to anybody else."}},
		{ID: "not-kept", Title: "What is not kept", Paragraphs: []string{f.notKept()}},
		{ID: "numbers", Title: "Your number, and how long it lasts", Paragraphs: f.numbers()},
		{ID: "cookies", Title: "Cookies", Paragraphs: f.cookies()},
		{ID: "signals", Title: "Do Not Track and Global Privacy Control", Paragraphs: []string{f.signals()}},
		{ID: "place", Title: "Where you are", Paragraphs: f.where()},
		{ID: "stray", Title: "Personal data that strays into addresses and titles", Paragraphs: []string{f.stray()}},
		{ID: "retention", Title: "How long it is kept", Paragraphs: f.retention()},
		{ID: "recipients", Title: "Who sees it", Paragraphs: f.seen()},
		{ID: "purposes", Title: "What for, and on what basis", Items: Purposes(), Paragraphs: f.basis()},
		{ID: "rights", Title: "Your rights, and how to use them", Items: f.rights()},
		f.contact(),
	}
	return d
}

func query(s string) string { return strings.ReplaceAll(s, "&", "%26") } // a domain has nothing else that needs it

func (f *Facts) has(m Means) bool { return slices.Contains(f.Means, m) }

func (f *Facts) signals() string {
	if f.DNT == "ignore" {
		return "If your browser sends either, it is not acted on: your visit is counted as any other. You can still choose not to be counted."
	}
	return "If your browser sends either, " + f.sayDNT() + "."
}

func (f *Facts) short() []string {
	cookie := "No advertising, no third party, no cookie."
	if f.Cookie == "consented" {
		cookie = "No advertising, no third party. A cookie only if you agree to one."
	}
	address := "Your address is not kept, in no part."
	if f.Address == "truncate" {
		address = "Your address is cut to " + shared(32-f.Bits4) + " before anything is stored."
	}
	number := map[string]string{
		"day":   "You get a number that changes every midnight. The key that made yesterday's is erased, so nobody, we included, can tell that today's visitor was here yesterday.",
		"week":  "You get a number that changes every week. The key that made last week's is erased, so nobody, we included, can tell that this week's visitor was here last week.",
		"month": "You get a number that changes every month. The key that made last month's is erased, so nobody, we included, can tell that this month's visitor was here last month.",
	}[f.Window]
	gone := "Individual records are deleted after " + sayPeriod(f.Retention) + "."
	if !f.Disposal {
		gone = "Individual records are meant to be deleted after " + sayPeriod(f.Retention) + "; the program does not do that by itself."
	}
	return []string{cookie, address, number, gone}
}

// life is how long the value of a column says what it says.
func (f *Facts) life(c Column) string {
	switch {
	case c.Name == "visitor_id":
		return sayPeriod(f.Retention) + "; its key 1 " + f.Window
	case !f.filled(c.Name):
		return "always empty here"
	}
	return sayPeriod(f.Retention)
}

// filled tells whether a column of events can have a value.
func (f *Facts) filled(column string) bool {
	switch column {
	case "network":
		return f.Address == "truncate"
	case "country":
		return f.Place != "none"
	case "region", "region_name", "city":
		return f.Place == "city"
	case "masked":
		return f.PII == "mask"
	}
	return true
}

// kept is the short table, by groups of columns, and the full one behind it.
func (f *Facts) kept() Section {
	place := Row{"Country", "Germany", "looked up on this machine"}
	if f.Place == "city" {
		place = Row{"Country, region and city", "Germany, Berlin", "looked up on this machine"}
	}
	page := "Page, without its query"
	if len(f.QueryParams) > 0 {
		page = "Page; of its query only " + strings.Join(f.QueryParams, ", ")
	}
	short := []struct {
		group, column string
		Row
	}{
		{"time", "time", Row{"Time", "24 Nov 2026, 09:47", "to draw traffic over time"}},
		{"page", "page", Row{page, "/docs/getting-started", "to see what is read"}},
		{"read", "engaged_ms", Row{"How long and how far it was read", "48 s, 85 %", "to see what is read in earnest"}},
		{"source", "source", Row{"Where you came from", "google.com", "to see how people find us"}},
		{"campaign", "utm_campaign", Row{"Campaign, from the link you followed", "november", "to see how people find us"}},
		{"place", "country", place},
		{"device", "browser", Row{"Kind of browser and device", "Firefox, Linux, desktop", "to make the site work"}},
		{"network", "network", Row{"Network your address was cut to", "203.0.113.0/24", "to recognise abuse"}},
		{"ids", "visitor_id", Row{"Number of the " + f.Window, "7f3a…c1", "to count visitors once"}},
		{"props", "prop_values", Row{"What the site's own events say", "Signup: plan yearly", "to count what the site asks for"}},
		{"provenance", "notice", Row{"Version of this notice, and numbers of the record", "3", "so that nothing is lost, doubled or used otherwise"}},
	}
	s := Section{
		ID: "kept", Title: "What is kept of a page view",
		Table:  &Table{Title: "What is kept of a page view", Head: []string{"What", "Example", "Why", "How long"}},
		Folded: &Table{Title: "Every column of a record, one by one", Head: []string{"Column", "What it is", "Example", "Why", "How long"}},
	}
	for _, r := range short {
		if f.filled(r.column) && slices.Contains(f.Columns, r.column) {
			s.Table.Rows = append(s.Table.Rows, append(r.Row, f.life(Column{Name: r.column})))
		}
	}
	for _, name := range f.Columns {
		c := columnOf("events", name)
		s.Folded.Rows = append(s.Folded.Rows, Row{c.Name, c.What, c.Example, c.Why, f.life(c)})
	}
	return s
}

func (f *Facts) means() []string {
	var out []string
	for _, m := range f.Means {
		switch m {
		case Script:
			out = append(out, "A script in the page tells which page is read, from where you came, the width of your screen, how long and how far you read, which outside links and files you open, and what the site's own events say. It stores nothing in your browser.")
		case Pixel:
			out = append(out, "Where there is no JavaScript an invisible picture in the page tells which page is read and, where the page says so, its title and where you came from.")
		case Email:
			out = append(out, "An invisible picture in our emails tells that a mailing was opened. Its address names the mailing and nobody: opens are counted by mailing, never by person.",
				"Links in our emails can lead through our counting address, which sends your browser on at once. It names the mailing and where the link leads, and nobody. The visit that it begins is counted as coming from that mailing.")
		}
	}
	return append(out, "With each of these your browser sends its address, its name and version, and what it thinks of tracking, as with every request. What becomes of them is said on this page.")
}

func (f *Facts) notKept() string {
	cut := ""
	if f.Address == "truncate" {
		cut = " beyond its network"
	}
	return "Your IP address" + cut + ", the name that your browser gives itself, cookies, the query of an address (but for what is named above), the part after a #, anything you type, and anything that would tell your browser from others of its kind. None of it is written to a file, a log or a database."
}

func (f *Facts) numbers() []string {
	when := map[string]string{"day": "at midnight", "week": "on Monday at midnight", "month": "on the first of the month at midnight"}[f.Window]
	erased := "right then"
	if f.KeyDelay > 0 {
		erased = fmt.Sprintf("at %02d:%02d at the latest, when it is over in every time zone that this installation counts for", f.KeyDelay/60, f.KeyDelay%60)
	}
	out := []string{
		fmt.Sprintf("Your number is calculated from the site's name, your address and your browser's name, with a secret key. The key changes %s (%s), and the one before is erased %s. After that nobody can calculate the old numbers again, we included.", when, f.Timezone, erased),
		"It is another number on every site. People who share a network and use the same browser share it.",
		"A visit has a random number of its own. It ends after 30 minutes of quiet, and at midnight.",
	}
	if f.Cookie == "consented" {
		out = append(out, fmt.Sprintf("If you agreed to the cookie, your number comes from it instead and stays the same for at most %d days.", f.CookieDays))
	}
	return out
}

func (f *Facts) cookies() []string {
	out := []string{fmt.Sprintf("If you choose not to be counted, the cookie %s says so, for %d days. It says the same for everybody, so it tells nobody apart.", f.OptOutName, f.OptOutDays)}
	if f.Cookie == "consented" {
		return append(out, fmt.Sprintf("If you agree, and only then, the cookie %s holds a random number, so that you are counted once over several days. It ends %d days after you agreed, whatever you visit later, and at once when you withdraw. It is ours alone and sent nowhere else. If you refuse it you are counted as described here, without it.", f.CookieName, f.CookieDays))
	}
	return append(out, "There is no other cookie.")
}

func (f *Facts) where() []string {
	if f.Place == "none" {
		return []string{"It is not looked up."}
	}
	what := "the country"
	if f.Place == "city" {
		what = "the country, the region and the city"
	}
	return []string{fmt.Sprintf("From the cut address (%d bits of an IPv4 address, %d of an IPv6 one) %s is looked up in a file on this machine. No question about you leaves it.", f.Bits4, f.Bits6, what)}
}

func (f *Facts) stray() string {
	switch f.PII {
	case "mask":
		return "Where an email address, a telephone, card or account number, an IP address or a token stands in the address or title of a page, it is replaced by a word such as (email) before anything is stored."
	case "drop":
		return "Where an email address, a telephone, card or account number, an IP address or a token stands in the address or title of a page, the page view is not counted."
	}
	return "Addresses and titles of pages are stored as the site has them. If the site puts personal data there, it is stored too."
}

func (f *Facts) retention() []string {
	out := []string{"Individual records: " + f.sayRetention() + ".",
		"Figures by day and month (how many visitors, visits and page views a page or a country had) and the books (how many hits came, were counted, or were not and why) name nobody. Kept: " + f.saySums() + "."}
	if f.Replay != "" {
		out = append(out, "The files in which records come in are kept for "+sayHours(f.Replay)+" longer, after they are stored, to restore a damaged database.")
	}
	return out
}

func (f *Facts) seen() []string {
	small := "Figures of small groups are shown like all others."
	if f.MinVisitors > 1 {
		small = fmt.Sprintf("Groups of fewer than %d visitors are not shown one by one.", f.MinVisitors)
	}
	return []string{
		"Staff of the organisation who have been given access, as figures. " + small,
		"Nobody else: no third party, no advertiser, no other service. No data leaves the organisation's own machines, and none is joined with other data.",
	}
}

func (f *Facts) basis() []string {
	out := []string{"Basis: the organisation's legitimate interest in knowing how its own site is used (GDPR Art. 6(1)(f)), to which you can object at any time."}
	if f.Cookie == "consented" {
		out = append(out, "For the cookie: your consent (Art. 6(1)(a)), which you can withdraw at any time, as easily as you gave it.")
	}
	return append(out, "There is no profiling, and no decision about anybody is made.")
}

func (f *Facts) rights() []string {
	out := []string{
		"Object: choose not to be counted, with one click and without an account.",
		"See: what is held that still leads to you is shown in your browser.",
		"Delete: on the same page. What can no longer be linked to you cannot be found for you either, by anybody.",
		"Correct: nothing here was typed in by you, so correcting it means deleting it.",
	}
	if f.Cookie == "consented" {
		out = append(out, "Withdraw: where you agreed to the cookie you can take that back.")
	}
	return append(out,
		"Take a receipt of each such choice: a signed file that says what was chosen under which version of this notice, and nothing about you.",
		"Complain: to us, or to the supervisory authority for data protection where you live.")
}

func (f *Facts) contact() Section {
	s := Section{ID: "controller", Title: "Who is responsible"}
	for _, line := range [][2]string{
		{"", f.Controller.Name}, {"", f.Controller.Address}, {"Email: ", f.Controller.Email}, {"Telephone: ", f.Controller.Phone},
	} {
		if line[1] != "" {
			s.Items = append(s.Items, line[0]+line[1])
		}
	}
	if len(s.Items) == 0 {
		s.Paragraphs = []string{"The operator of " + f.Site + " has not entered a name and an address yet. See the site itself."}
	}
	return s
}

// Missing returns the facts that a text lacks: what is given out in an organisation's own words must
// still hold every setting, every column's sentence, who is responsible, and the version. White space
// does not count.
func (d *Document) Missing(text string) []string {
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	text = plain(text)
	want := []string{fmt.Sprint(d.Version), d.Date()}
	for _, s := range d.Settings {
		want = append(want, s[1])
	}
	for _, c := range d.Facts.Columns {
		want = append(want, columnOf("events", c).What)
	}
	c := d.Facts.Controller
	want = append(want, c.Name, c.Address, c.Email, c.Phone)
	return slices.DeleteFunc(want, func(s string) bool { return strings.Contains(text, plain(s)) })
}
