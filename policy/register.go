package policy

import (
	"fmt"
	"io"
	"strings"
)

// Holding is a place where something is kept, and what somebody who had all of it could learn.
type Holding struct {
	Name  string `json:"name"`
	Holds string `json:"holds"`
	Tells string `json:"tells"` // of a person, at most
	Long  string `json:"long"`
}

// Holdings lists every table, and every file of the data directory: what could at most be handed over
// to a court, or stolen. Names of files are patterns of package path/filepath.
func (f *Facts) Holdings() (tables, files []Holding) {
	network := "no part of an address"
	if f.Address == "truncate" {
		network = "a network that " + thousands(1<<(32-f.Bits4)) + " IPv4 addresses share"
	}
	person := "that somebody from " + network + " read these pages at these seconds, within one " + f.Window + "; not who, and nothing that joins it to another " + f.Window
	if f.Cookie == "consented" {
		person += ", except for those who agreed to the cookie, whose browser shows which records are theirs"
	}
	records := f.sayRetention()
	tables = []Holding{
		{"events", "one row for each page view, event, time on a page, opened email, followed link in one", person, records},
		{"daily", "sums by day or month and page, country, browser, …", "nothing of one person, where more than one is in a sum", "without limit"},
		{"days", "which days are added up", "nothing", "without limit"},
		{"ledger", "how many hits came in a minute, and what became of them", "nothing of one person", "without limit"},
	}
	files = []Holding{
		{"spool", "records on their way into the tables", "as events", "until they are stored" + map[bool]string{true: ", and " + sayHours(f.Replay) + " longer"}[f.Replay != ""]},
		{"engine", "the tables, where no other server holds them", "as the tables", "as the tables"},
		{"erasures", "orders to erase that are not carried out yet", "the number of somebody who asked", "until the rows are gone"},
		{"keys*", "the key of the numbers of the present " + f.Window, "with a person's address and browser in hand: whether they were here this " + f.Window + ", and what they read; nothing of any " + f.Window + " before", f.sayKeyDelay()},
		{"cookie.key", "the key that makes numbers from the cookies of those who agreed", "nothing without the cookie in the person's own browser", "without limit"},
		{"email.key*", "the key of the pictures and links in mails", "which mailings there were; nobody who received one", "without limit"},
		{"receipt.key", "the key that signs receipts", "nothing", "without limit"},
		{"receipts.log*", "a hash, the time and the kind of each receipt given", "nothing without the receipt itself; with it, that it was given", "the newest 680,000 at least"},
		{"notices.json", "all versions of this notice", "nothing of visitors", "without limit"},
		{"staff.json*", "names and password hashes of staff, hashes of tokens", "names of staff; nothing of visitors", "until removed"},
		{"audit.*", "what staff and the program did", "names of staff; nothing of visitors", "without limit"},
		{"lock", "nothing", "nothing", "always"},
		{"control.sock", "nothing", "nothing", "while the program runs"},
	}
	return tables, files
}

// Register writes the entries for an organisation's records of processing activities (GDPR Art. 30(1)),
// as Markdown.
func Register(w io.Writer, docs ...*Document) error {
	var b strings.Builder
	for i, d := range docs {
		if i > 0 {
			b.WriteString("\n")
		}
		d.register(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (d *Document) register(b *strings.Builder) {
	f := &d.Facts
	fmt.Fprintf(b, "# Record of processing: counting visits to %s\n\n", markdown(f.Site))
	fmt.Fprintf(b, "Written from the configuration in force: notice version %d of %s. GDPR Art. 30(1).\n\n", d.Version, d.Date())
	var data []string
	for _, r := range f.kept().Table.Rows {
		data = append(data, strings.ToLower(r[0][:1])+r[0][1:])
	}
	basis := f.basis()
	c := f.Controller
	table(b, []string{"", "Entry"},
		[]string{"(a) Controller", strings.Join(present(orMissing(c.Name), c.Address, c.Email, c.Phone), ", ")},
		[]string{"(b) Purposes", strings.Join(Purposes(), "; ")},
		[]string{"Basis", strings.TrimPrefix(strings.Join(basis, " "), "Basis: ")},
		[]string{"(c) Data subjects", "readers of " + f.Site + audience(f)},
		[]string{"(c) Categories of data", strings.Join(data, "; ")},
		[]string{"(c) Not processed beyond the request", "the whole IP address, the User-Agent, cookies"},
		[]string{"(d) Recipients", "none: staff of the controller only"},
		[]string{"(e) Transfers to third countries", "none: no look-up and no data leaves the controller's machines"},
		[]string{"(f) Time limits", "individual records: " + f.sayRetention() + ". Sums name nobody. Kept: " + f.saySums()},
		[]string{"(g) Security measures", "IP address: " + f.sayAddress() + ". Numbers of visitors under a key that is " + f.sayKeyDelay() +
			". Personal data that strays into texts: " + f.sayPII() + ". Figures for staff with a login only, on a listener of their own. Files readable by the program's user only. Every access and change in an append-only log"},
		[]string{"Do-Not-Track, Global Privacy Control", f.sayDNT()},
		[]string{"Cookies", f.sayCookie()},
		[]string{"Notice", d.Links.Notice},
	)
	tables, files := f.Holdings()
	b.WriteString("\n## What could at most be handed over or stolen\n\nWhoever had everything the program keeps would have this, and no more:\n\n### Tables\n\n")
	rows := [][]string{}
	for _, h := range tables {
		rows = append(rows, []string{h.Name, h.Holds, strings.Join(ColumnNames(h.Name), ", "), h.Tells, h.Long})
	}
	table(b, []string{"Table", "Holds", "Columns", "Tells of a person, at most", "Kept"}, rows...)
	b.WriteString("\n### Files of the data directory\n\n")
	rows = rows[:0]
	for _, h := range files {
		rows = append(rows, []string{h.Name, h.Holds, h.Tells, h.Long})
	}
	table(b, []string{"File", "Holds", "Tells of a person, at most", "Kept"}, rows...)
}

func table(b *strings.Builder, head []string, rows ...[]string) {
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + markdown(c) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("| --- ", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
}

func audience(f *Facts) string {
	if f.has(Email) {
		return ", and of its mailings"
	}
	return ""
}

func orMissing(name string) string {
	if name == "" {
		return "(enter `organisation` in the configuration)"
	}
	return name
}

func present(s ...string) []string {
	var out []string
	for _, v := range s {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}
