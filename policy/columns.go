package policy

import "slices"

// Column says in plain words what a column of a table holds.
type Column struct {
	Table   string `json:"table"`
	Name    string `json:"name"`
	What    string `json:"what"`    // what it is
	Example string `json:"example"` // a value as it is stored, or as a person would write it
	Why     string `json:"why"`     // what it is for
	group   string // of the short table: groups
}

// Tables returns the names of the tables that are explained.
func Tables() []string {
	var out []string
	for _, c := range columns() {
		if !slices.Contains(out, c.Table) {
			out = append(out, c.Table)
		}
	}
	return out
}

// Columns returns the columns of a table, in the order they are stored in. There are none of a table
// that is not explained.
func Columns(table string) []Column {
	return slices.DeleteFunc(columns(), func(c Column) bool { return c.Table != table })
}

// ColumnNames returns the names of the columns of a table.
func ColumnNames(table string) []string {
	var out []string
	for _, c := range Columns(table) {
		out = append(out, c.Name)
	}
	return out
}

// columnOf finds a column; what an older version's facts name and this program does not know any
// more explains itself by its name.
func columnOf(table, name string) Column {
	all := columns()
	if i := slices.IndexFunc(all, func(c Column) bool { return c.Table == table && c.Name == name }); i >= 0 {
		return all[i]
	}
	return Column{Table: table, Name: name, What: name}
}

// columns is the one place that says what is stored, in words. A test compares it with the tables
// of a real store.
func columns() []Column {
	const (
		traffic = "to draw traffic over time"
		read    = "to see what is read"
		find    = "to see how people find the site"
		works   = "to make the site work for its readers"
		once    = "to count a visitor once"
		own     = "to count what the site asks for"
		books   = "so that no hit is lost or counted twice"
	)
	return []Column{
		{"events", "site", "The site", "example.org", read, "page"},
		{"events", "day", "The date, on the site's calendar", "24 Nov 2026", traffic, "time"},
		{"events", "time", "The time, to the second", "09:47:12", traffic, "time"},
		{"events", "kind", "What happened: a page view, an event, time on a page, an opened email, a link followed in an email", "page view", traffic, "time"},
		{"events", "name", "The event's name", "pageview", own, "props"},
		{"events", "interactive", "Whether the event shows that somebody was reading", "yes", own, "props"},
		{"events", "visitor_id", "The visitor's number", "7f3a90d2c4b85ec1", once, "ids"},
		{"events", "visit_id", "A random number for the visit", "19ac5e07f2d46b38", "to tell how long a visit was", "ids"},
		{"events", "visit_seq", "The place of the event within the visit", "3", "to tell how long a visit was", "ids"},
		{"events", "hostname", "The host of the page", "www.example.org", read, "page"},
		{"events", "page", "The page, without its query", "/docs/getting-started", read, "page"},
		{"events", "title", "The page's title", "Getting started", read, "page"},
		{"events", "entry_page", "The first page of the visit", "/", find, "source"},
		{"events", "referrer", "The page that linked here, without its query", "news.example/today", find, "source"},
		{"events", "source", "The name of the site that linked here", "Google", find, "source"},
		{"events", "channel", "The kind of source", "Organic Search", find, "source"},
		{"events", "utm_source", "The campaign's source, from the link", "newsletter", find, "campaign"},
		{"events", "utm_medium", "The campaign's medium, from the link", "email", find, "campaign"},
		{"events", "utm_campaign", "The campaign's name, from the link", "november", find, "campaign"},
		{"events", "utm_content", "Which link of the campaign it was", "top", find, "campaign"},
		{"events", "utm_term", "The campaign's search words, from the link", "analytics", find, "campaign"},
		{"events", "click_id", "The name of an advertiser's click parameter, never its value", "gclid", find, "campaign"},
		{"events", "device", "The kind of device", "Desktop", works, "device"},
		{"events", "browser", "The browser", "Firefox", works, "device"},
		{"events", "browser_version", "The browser's version", "140", works, "device"},
		{"events", "os", "The operating system", "GNU/Linux", works, "device"},
		{"events", "os_version", "The operating system's version", "14", works, "device"},
		{"events", "country", "The country", "DE", "looked up on this machine, to see where readers are", "place"},
		{"events", "region", "The region's code", "DE-BE", "looked up on this machine, to see where readers are", "place"},
		{"events", "region_name", "The region", "Land Berlin", "looked up on this machine, to see where readers are", "place"},
		{"events", "city", "The city", "Berlin", "looked up on this machine, to see where readers are", "place"},
		{"events", "engaged_ms", "How long the page was looked at, in thousandths of a second", "48200", "to see what is read in earnest", "read"},
		{"events", "scroll", "How far down the page was read, in percent", "85", "to see what is read in earnest", "read"},
		{"events", "prop_keys", "Names of what the site's own events say", "plan", own, "props"},
		{"events", "prop_values", "Values of what the site's own events say", "yearly", own, "props"},
		{"events", "revenue", "A sum that the site's own event names, in millionths", "19900000", own, "props"},
		{"events", "currency", "The currency of the sum", "EUR", own, "props"},
		{"events", "network", "The network that the address was cut to", "203.0.113.0/24", "to recognise abuse and look up the country", "network"},
		{"events", "notice", "The version of this notice that was in force", "3", "so that data is used only as this notice said", "provenance"},
		{"events", "event_id", "A random number for the record", "5b8d02c9e1f7436a", books, "provenance"},
		{"events", "batch_id", "The number of the file that the record came in", "c204f1", books, "provenance"},
		{"events", "masked", "Which kinds of personal data were taken out of the record's texts", "an email address", "so that the site can mend the page", "provenance"},

		{"ledger", "site", "The site, or that none was named", "example.org", books, ""},
		{"ledger", "minute", "The minute in which hits came", "24 Nov 2026, 09:47", books, ""},
		{"ledger", "outcome", "Whether the hits were counted, or why not, or what became of them later", "bot", books, ""},
		{"ledger", "hits", "How many hits", "12", books, ""},
		{"ledger", "stored_at", "When the line was written", "24 Nov 2026, 09:48", books, ""},
		{"ledger", "batch_id", "The number of the file that the hits came in", "c204f1", books, ""},
		{"ledger", "masked", "Which kinds of personal data were taken out of a page's records", "an email address", "so that the site can mend the page", ""},
		{"ledger", "page", "The page that they were taken out of", "/account/(email)", "so that the site can mend the page", ""},
		{"ledger", "ref", "Which erasure or deletion a line tells of", "41", books, ""},

		{"daily", "site", "The site", "example.org", traffic, ""},
		{"daily", "dim", "What the figures are broken down by", "by country", traffic, ""},
		{"daily", "day", "The date, or the month by its first day", "24 Nov 2026", traffic, ""},
		{"daily", "value", "The line of the breakdown: a page, a country, a browser", "DE", traffic, ""},
		{"daily", "build", "Which calculation the figures come from", "18", books, ""},
		{"daily", "visitors", "How many visitors", "214", traffic, ""},
		{"daily", "visits", "How many visits", "260", traffic, ""},
		{"daily", "pageviews", "How many page views", "702", read, ""},
		{"daily", "events", "How many events", "31", own, ""},
		{"daily", "started", "How many visits began", "260", traffic, ""},
		{"daily", "visit_views", "How many page views those visits had", "702", traffic, ""},
		{"daily", "bounces", "How many visits saw one page only", "97", read, ""},
		{"daily", "duration", "How long the visits lasted together, in seconds", "30940", read, ""},
		{"daily", "depth", "How far pages were read together, in percent", "8120", read, ""},
		{"daily", "engaged", "How long pages were looked at together, in thousandths of a second", "9124000", read, ""},
		{"daily", "engaged_visits", "How many visits told how long a page was looked at", "181", read, ""},

		{"days", "site", "The site", "example.org", books, ""},
		{"days", "day", "The date", "24 Nov 2026", books, ""},
		{"days", "what", "Whether the day's figures were calculated, or must be again", "calculated", books, ""},
		{"days", "build", "Which calculation it was", "18", books, ""},
		{"days", "gen", "How often the day was calculated", "2", books, ""},
		{"days", "marks", "How often records came late", "1", books, ""},
		{"days", "longer", "Whether numbers of visitors last longer than the day", "no", books, ""},
		{"days", "lines", "How many lines of figures the day has", "340", books, ""},
		{"days", "at", "When that was", "25 Nov 2026, 00:05", books, ""},
	}
}
