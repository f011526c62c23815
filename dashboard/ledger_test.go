package dashboard

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/store"
)

// The ledger's page says what became of every hit, in words.
func TestLedgerPage(t *testing.T) {
	books := &fake.Books{Now: clock}
	b := newBench(t, func(o *Options) { o.Ledger = books })
	text := b.page("/example.org/ledger?period=7d")
	wants(t, text, "Tue 24 Nov", "Wed 18 Nov", "The database was unreachable", "2,871 hits waited on disk and were stored by 16:41",
		"Fri 20 Nov", "14:02–16:40", "1 hit waited on disk and was stored by", "There was no room on disk", "12 hits were refused",
		"Personal data found in hits", "E-mail addresses", "in the address of <b>/welcome/(email)</b>: 312 hits, masked before anything was written.",
		"in the address of <b>/reset/(token)</b>: 41 hits, masked before anything was written. 1 hit, not counted for it.", "in what was sent with <b>/contact</b>", "on further pages: 9 hits, not counted for it.",
		"Not counted, and why", "Robot (user agent)", "Do Not Track", "never who", "4 GB", `href="/example.org?period=7d"`)
	if strings.Contains(text, "do not balance") || strings.Contains(text, `class="bad"><th`) {
		t.Error("the books balance, and the page says otherwise")
	}
	if strings.Contains(text, "menu-filter") || strings.Contains(text, "menu-compare") {
		t.Error("there is a menu without an effect")
	}
	wants(t, b.page("/example.org/ledger?period=12mo"), "November 2026", "Month")
	wants(t, b.page("/example.org"), "20 Nov 14:02–16:40", `url(#hatch)`, "stored late, nothing lost; and 1 more")

	books.Off = true
	wants(t, b.page("/example.org/ledger?period=7d"), "The books do not balance", `class="bad"><th`, "What was received and what became of it differ")
	books.Off, books.Empty = false, true
	wants(t, b.page("/example.org/ledger"), "No hit was received", "Nothing: every hit was stored", "Every hit was counted")
	if text := b.page("/example.org"); strings.Contains(text, "hatch") {
		t.Error("an outage is drawn, and there was none")
	}
	books.Err = down
	if res := b.get("/example.org/ledger"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a store: %s", res.Status)
	}
	b.page("/example.org") // is there all the same
	if res := newBench(t).get("/example.org/ledger"); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a ledger: %s", res.Status)
	}
}

func TestBooksOf(t *testing.T) {
	b := BooksOf(store.LedgerLine{Received: 9, Stored: 3, Pending: 1, Dropped: map[string]uint64{"bot": 2, "dnt": 2, "malformed": 1, "new": 0}}, "a b.example")
	if b.Received != 9 || b.Counted != 3 || b.Pending != 1 || b.URL != "/a%20b.example/ledger" {
		t.Errorf("%+v", b)
	}
	var said []string
	for _, d := range b.Dropped {
		said = append(said, d.Reason)
	}
	if got := strings.Join(said, ", "); got != "asked not to be tracked, robots, malformed, new" {
		t.Error(got)
	}
}

// What is erased has a column where something is, and the sums hold.
func TestErasedOnTheLedger(t *testing.T) {
	v := view{zone: time.UTC}
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	lines := []store.LedgerLine{
		{Site: "example.org", Start: at, Received: 9, Stored: 5, Erased: 3, Dropped: map[string]uint64{"bot": 1}},
		{Site: "example.org", Start: at.AddDate(0, 0, 1), Received: 2, Stored: 2},
	}
	var p ledgerPage
	p.Balances = true
	p.fill(v, lines, false)
	if !p.Erased || !p.Balances || p.Total.Erased != "3" || p.Rows[0].Erased != "0" || p.Rows[1].Erased != "3" || !p.Rows[1].Balances {
		t.Errorf("%+v", p)
	}
	p = ledgerPage{}
	if p.fill(v, lines[1:], false); p.Erased || p.Total.Erased != "" {
		t.Errorf("%+v", p)
	}
	if b := BooksOf(lines[0], "example.org"); b.Erased != 3 {
		t.Errorf("%+v", b)
	}
}
