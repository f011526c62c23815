package dashboard

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store"
)

// Ledger reads the books.
type Ledger interface {
	// Ledger is the account of a site's hits, what is on its way into the database included.
	Ledger(ctx context.Context, q store.LedgerQuery) ([]store.LedgerLine, error)
	// Outages are the times whose hits reached the database late.
	Outages(ctx context.Context, site string, from, to time.Time) ([]store.Outage, error)
	// MaskedPages is where personal data was found, most hits first. The page is "" where it is not for
	// who asks (whom the context tells).
	MaskedPages(ctx context.Context, q store.LedgerQuery) ([]store.MaskedPage, error)
	// Spool is how much waits on disk at present, of all sites, how much may, and when the
	// oldest of it came: zero if nothing waits.
	Spool() (bytes, limit int64, oldest time.Time)
}

const (
	ledgerStep   = 15 * time.Minute // every zone's day begins with one
	ledgerByDay  = 92               // days; longer periods are shown by month
	ledgerEvents = 30               // things that happened, at most
	ledgerMasked = 30               // pages with personal data, at most
)

// ledgerPage is what became of every hit.
type ledgerPage struct {
	toolbar
	Unit     string // "Day" or "Month"
	Balances bool
	Rows     []ledgerRow
	Total    ledgerRow
	Events   []ledgerEvent
	More     string // how many things that happened are not shown
	Masked   []maskedLine
	MoreMask string // how many pages with personal data are not shown
	Reasons  []row
	Erased   bool   // something was
	Disposed bool   // likewise
	Waiting  string // hits of the site
	Oldest   string
	Bytes    string
	Limit    string
}

type ledgerRow struct {
	Label, Local                           string
	Received, Counted, NotCounted, Pending string
	Erased, Disposed                       string // "": nothing was in the period
	Balances                               bool
}

// ledgerEvent is something that happened.
type ledgerEvent struct {
	at          time.Time
	Day, Times  string
	Local       string
	What, Words string
	Bad         bool
}

// ledger draws GET /{site}/ledger.
func (h *handler) ledger(w http.ResponseWriter, r *http.Request, s Site) {
	if h.o.Ledger == nil {
		h.noPage(w, r)
		return
	}
	v, ok := h.view(w, r, s, "ledger")
	if !ok {
		return
	}
	lines, err := h.o.Ledger.Ledger(r.Context(), store.LedgerQuery{Site: s.Domain, From: v.Range.From, To: v.Range.To, Step: ledgerStep})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	outages, err := h.o.Ledger.Outages(r.Context(), s.Domain, v.Range.From, v.Range.To)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	masked, err := h.o.Ledger.MaskedPages(r.Context(), store.LedgerQuery{Site: s.Domain, From: v.Range.From, To: v.Range.To})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	p := ledgerPage{toolbar: h.toolbar(r, v, "ledger"), Unit: "Day", Balances: true}
	p.Title = "Ledger – " + s.Domain
	p.PeriodOnly, p.Chips = true, nil
	byMonth := v.Range.Days() > ledgerByDay
	if byMonth {
		p.Unit = "Month"
	}
	p.fill(v, lines, byMonth)
	p.happened(v, lines, outages)
	p.found(masked)
	bytes, limit, oldest := h.o.Ledger.Spool()
	p.Bytes, p.Limit, p.Oldest = size(bytes), size(limit), "Nothing waits"
	if !oldest.IsZero() {
		p.Oldest = "Oldest " + duration(max(h.now().Sub(oldest).Seconds(), 0))
	}
	h.render(w, r, http.StatusOK, "ledger", p)
}

// fill adds the lines up by day or month, latest first, and by reason.
func (p *ledgerPage) fill(v view, lines []store.LedgerLine, byMonth bool) {
	type group struct {
		start time.Time
		sum   store.LedgerLine
		off   bool
	}
	var groups []*group
	var total store.LedgerLine
	for i := range lines {
		l := &lines[i]
		start := period.Start(l.Start.In(v.zone))
		if byMonth {
			start = start.AddDate(0, 0, 1-start.Day())
		}
		if n := len(groups); n == 0 || !groups[n-1].start.Equal(start) {
			groups = append(groups, &group{start: start})
		}
		g := groups[len(groups)-1]
		g.sum.Add(l)
		g.off = g.off || !l.Balances()
		total.Add(l)
		p.Balances = p.Balances && l.Balances()
	}
	slices.Reverse(groups)
	p.Erased, p.Disposed = total.Erased > 0, total.Disposed > 0
	for _, g := range groups {
		layout := "Mon 2 Jan"
		if byMonth {
			layout = "January 2006"
		}
		p.Rows = append(p.Rows, newLedgerRow(g.start.Format(layout), g.start.Format(time.DateOnly), &g.sum, !g.off, p))
	}
	p.Total = newLedgerRow("All", "", &total, p.Balances, p)
	p.Waiting = count(total.Pending)
	all := total.NotCounted()
	var top uint64
	for _, n := range total.Dropped {
		top = max(top, n)
	}
	reasons := slices.SortedFunc(maps.Keys(total.Dropped), func(a, b string) int {
		return cmp.Or(cmp.Compare(total.Dropped[b], total.Dropped[a]), strings.Compare(a, b))
	})
	for _, reason := range reasons {
		n := total.Dropped[reason]
		_, words := reasonWords(reason)
		p.Reasons = append(p.Reasons, row{Label: words, Bar: bar(n, top), First: count(n), Second: share(n, all)})
	}
}

func newLedgerRow(label, local string, l *store.LedgerLine, balances bool, p *ledgerPage) ledgerRow {
	r := ledgerRow{Label: label, Local: local, Received: count(l.Received), Counted: count(l.Stored),
		NotCounted: count(l.NotCounted()), Pending: count(l.Pending), Balances: balances}
	if p.Erased {
		r.Erased = count(l.Erased)
	}
	if p.Disposed {
		r.Disposed = count(l.Disposed)
	}
	return r
}

// happened tells what the books show besides numbers, latest first.
func (p *ledgerPage) happened(v view, lines []store.LedgerLine, outages []store.Outage) {
	for _, o := range outages {
		p.Events = append(p.Events, newLedgerEvent(v, o.From, o.To, "The database was unreachable, or Footfall was not running.",
			count(o.Hits)+" "+plural(o.Hits, "hit", "hits")+" waited on disk and "+plural(o.Hits, "was", "were")+" stored by "+
				clockOf(o.Stored.In(v.zone), o.From.In(v.zone))+". Nothing was lost, nothing counted twice.", false))
	}
	// Refused hits, and books that do not balance: neighbouring steps are one thing.
	for _, k := range []struct {
		of   func(*store.LedgerLine) uint64
		what string
		say  func(uint64) string
	}{
		{func(l *store.LedgerLine) uint64 { return l.Dropped["full"] }, "There was no room on disk.", func(n uint64) string {
			return count(n) + " " + plural(n, "hit was", "hits were") + " refused, and the browser told so. What was accepted before is kept."
		}},
		{func(l *store.LedgerLine) uint64 {
			if l.Balances() {
				return 0
			}
			known := l.Stored + l.Erased + l.Disposed + l.NotCounted() + l.Pending
			return max(l.Received, known) - min(l.Received, known) + 1
		}, "The books do not balance.", func(n uint64) string {
			return "What was received and what became of it differ. Rows of the database were lost or changed: its log and backups are the place to look."
		}},
	} {
		var from, to time.Time
		var sum uint64
		flush := func() {
			if sum > 0 {
				p.Events = append(p.Events, newLedgerEvent(v, from, to, k.what, k.say(sum), true))
			}
			sum = 0
		}
		for i := range lines {
			l := &lines[i]
			n := k.of(l)
			if n == 0 {
				continue
			}
			if sum > 0 && l.Start.Sub(to) > 0 {
				flush()
			}
			if sum == 0 {
				from = l.Start
			}
			to = l.Start.Add(ledgerStep)
			sum += n
		}
		flush()
	}
	slices.SortStableFunc(p.Events, func(a, b ledgerEvent) int { return b.at.Compare(a.at) })
	if n := len(p.Events); n > ledgerEvents {
		p.More = count(uint64(n - ledgerEvents))
		p.Events = p.Events[:ledgerEvents]
	}
}

func newLedgerEvent(v view, from, to time.Time, what, words string, bad bool) ledgerEvent {
	from, to = from.In(v.zone), to.In(v.zone)
	return ledgerEvent{at: from, Day: from.Format("Mon 2 Jan"), Local: from.Format(localLayout),
		Times: from.Format("15:04") + "–" + clockOf(to, from), What: what, Words: words, Bad: bad}
}

// clockOf is a time of day, with its date where that is another than day's.
func clockOf(t, day time.Time) string {
	if t.Format(time.DateOnly) == day.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan 15:04")
}

// maskedLine says in words that personal data was found on a page.
type maskedLine struct{ What, Where, Page, Words string }

// found tells where personal data was found.
func (p *ledgerPage) found(masked []store.MaskedPage) {
	if n := len(masked); n > ledgerMasked {
		p.MoreMask = count(uint64(n - ledgerMasked))
		masked = masked[:ledgerMasked]
	}
	for _, m := range masked {
		l := maskedLine{What: kindWords(m.Kind), Where: "in what was sent with", Page: m.Page}
		switch {
		case m.Page == "":
			l.Where = "on pages that a privacy officer may see"
		case m.Page == event.OtherPages:
			l.Where, l.Page = "on further pages", ""
		case strings.Contains(m.Page, "("+m.Kind+")"):
			l.Where = "in the address of"
		}
		var said []string
		if m.Masked > 0 {
			said = append(said, count(m.Masked)+" "+plural(m.Masked, "hit", "hits")+", masked before anything was written.")
		}
		if m.Dropped > 0 {
			said = append(said, count(m.Dropped)+" "+plural(m.Dropped, "hit", "hits")+", not counted for it.")
		}
		l.Words = strings.Join(said, " ")
		p.Masked = append(p.Masked, l)
	}
}

// kindWords is a kind of personal data in words.
func kindWords(kind string) string {
	switch kind {
	case "email":
		return "E-mail addresses"
	case "phone":
		return "Telephone numbers"
	case "ip":
		return "IP addresses"
	case "card":
		return "Numbers of payment cards"
	case "iban":
		return "Bank account numbers"
	case "token":
		return "Tokens and session ids"
	}
	return kind
}

func plural(n uint64, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// size is a number of bytes in words.
func size(n int64) string {
	x := float64(max(n, 0))
	for _, unit := range []string{"B", "KB", "MB"} {
		if x < 1000 {
			return strconv.FormatFloat(x, 'f', 0, 64) + " " + unit
		}
		x /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0") + " GB"
}
