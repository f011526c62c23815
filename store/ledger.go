package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// The books. Each batch adds rows to two tables, each exactly once: its events to events,
// and to ledger how many hits of each minute it holds, counted and not counted. So what was
// received is what the ledger says and what waits outside of the database; what was stored
// is counted from events itself. What is erased is taken from events and added to the ledger.
// That all of it agrees is what [LedgerLine.Balances] asks.

// LedgerQuery says which part of the books is wanted.
type LedgerQuery struct {
	Site     string        // "": all, and those of no site, under [event.UnknownSite]
	From, To time.Time     // whole minutes, To not included; zero: no such limit
	Step     time.Duration // what a line spans, whole minutes from 1970 on; 0: the whole period
}

// LedgerLine is what became of the hits of a site in a span of time.
type LedgerLine struct {
	Site     string
	Start    time.Time         // of the step, UTC
	Received uint64            // hits
	Stored   uint64            // events in the database
	Erased   uint64            // events that were there and were erased on order
	Disposed uint64            // events that were there and were too old to keep
	Dropped  map[string]uint64 // hits that were not counted, by reason; never nil
	Pending  uint64            // received, and on their way into the database, whatever they are
}

// NotCounted is the sum of Dropped.
func (l *LedgerLine) NotCounted() (n uint64) {
	for _, d := range l.Dropped {
		n += d
	}
	return n
}

// Balances reports whether every hit is accounted for.
func (l *LedgerLine) Balances() bool {
	return l.Received == l.Stored+l.Erased+l.Disposed+l.NotCounted()+l.Pending
}

// Add adds up two lines, of whatever sites and times.
func (l *LedgerLine) Add(m *LedgerLine) {
	l.Received += m.Received
	l.Stored += m.Stored
	l.Erased += m.Erased
	l.Disposed += m.Disposed
	l.Pending += m.Pending
	if l.Dropped == nil {
		l.Dropped = map[string]uint64{}
	}
	for r, n := range m.Dropped {
		l.Dropped[r] += n
	}
}

// ledgerMigration made the table ledger.
const ledgerMigration = 3

// Ledger reads the books: a line for each site and step that has hits, by site and time. waiting tells what
// is not in the database yet; it is called while no new batch begins to be written, so that
// each hit is seen once, there or here. Batches go on when Ledger returns.
//
// Where the tables are older than the ledger, the books begin with the minute after that one; those
// of a site with the oldest minute that [Store.Dispose] has left to the ledger.
func (s *Store) Ledger(ctx context.Context, q LedgerQuery, waiting func() (event.Waiting, error)) ([]LedgerLine, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	from, to, err := r.span(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	step := uint64(q.Step / time.Second)
	if step == 0 {
		step = math.MaxUint32 + 1
	}
	if q.Step%time.Minute != 0 || q.Step < 0 {
		return nil, fmt.Errorf("store: a step of %v in the ledger: want whole minutes", q.Step)
	}

	if err := s.days.load(ctx, r); err != nil {
		return nil, err
	}
	leave, err := s.books.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: reading the ledger: %w", err)
	}
	defer leave()
	w, err := waiting()
	if err != nil {
		return nil, err
	}
	for {
		erasures, err := s.erasures.atRest(ctx)
		if err != nil {
			return nil, fmt.Errorf("store: reading the ledger: %w", err)
		}
		lines, err := r.ledger(ctx, q, from, to, step, w, gone(erasures, s.days.all()))
		if err != nil || s.erasures.still(erasures) {
			return lines, err
		}
	}
}

// ledger reads the books without the events that are erased by now, or will be, and are on the
// books as such.
func (r *reporter) ledger(ctx context.Context, q LedgerQuery, from, to, step uint64, w event.Waiting, erased any) ([]LedgerLine, error) {
	minutes, times := beforeBooks(r.days.all(), q.Site, from)
	type key struct {
		site string
		slot uint64
	}
	lines := map[key]*LedgerLine{}
	line := func(site string, slot uint64) *LedgerLine {
		k := key{site, slot}
		l := lines[k]
		if l == nil {
			l = &LedgerLine{Site: site, Start: time.Unix(int64(slot*step), 0).UTC(), Dropped: map[string]uint64{}}
			lines[k] = l
		}
		return l
	}
	for _, d := range w.Hits {
		at := d.Minute * 60
		if at < max(int64(from), r.days.all()[d.Site].books) || at >= int64(to) || q.Site != "" && q.Site != d.Site {
			continue
		}
		l := line(d.Site, uint64(at)/step)
		l.Received += d.Count
		l.Pending += d.Count
	}
	rows, err := r.query(ctx, "ledger", map[string]any{
		"Site": q.Site, "From": from, "To": to, "Step": step, "Days": daysAround(from, to), "Without": batchList(w.Batches), "Erased": erased,
		"Minutes": minutes, "Times": times})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var site, outcome string
		var slot, hits uint64
		if err := rows.Scan(&site, &slot, &outcome, &hits); err != nil {
			return nil, fmt.Errorf("store: reading the ledger: %w", err)
		}
		switch l := line(site, slot); outcome {
		case "":
			l.Stored += hits
		case outcomeCounted:
			l.Received += hits
		case outcomeErased:
			l.Erased += hits
		case outcomeDisposed:
			l.Disposed += hits
		default:
			l.Received += hits
			l.Dropped[outcome] += hits
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: reading the ledger: %w", err)
	}
	out := make([]LedgerLine, 0, len(lines))
	for _, l := range lines {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b LedgerLine) int {
		return cmp.Or(strings.Compare(a.Site, b.Site), a.Start.Compare(b.Start))
	})
	return out, nil
}

// span returns the Unix seconds of a period of whole minutes, cut to those that the books
// have, the last not included.
func (r *reporter) span(ctx context.Context, from, to time.Time) (first, end uint64, err error) {
	end = math.MaxUint32 + 1
	if !to.IsZero() {
		end = min(end, uint64(max(to.Unix(), 0)))
	}
	if !from.IsZero() {
		first = uint64(max(from.Unix(), 0))
	}
	rows, err := r.query(ctx, "ledger_begin", map[string]any{"Ledger": uint32(ledgerMigration)})
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var tables, ledger uint32
		if err := rows.Scan(&tables, &ledger); err != nil {
			return 0, 0, fmt.Errorf("store: reading schema_migrations: %w", err)
		}
		if ledger > tables+60 { // else they were made at one go
			first = max(first, (uint64(ledger)/60+1)*60)
		}
	}
	return first / 60 * 60, end / 60 * 60, rows.Err()
}

// daysAround is a condition that all events of a period meet, whatever their sites'
// calendars: it spares reading other months.
func daysAround(from, to uint64) fragment {
	first, last := from/86400, to/86400+1
	return frag("day >= toDate(?) AND day <= toDate(?)", uint16(max(first, 1)-1), uint16(min(last, uint64(lastDay))))
}

// batchList is a list of batches for NOT IN, nil for none.
func batchList(ids []uint64) any {
	if len(ids) == 0 {
		return nil
	}
	var b strings.Builder
	for i, id := range ids {
		b.WriteString(", "[:min(2*i, 2)])
		b.WriteString(strconv.FormatUint(id, 10))
	}
	return frag("(" + b.String() + ")")
}

// Outage is a time whose hits reached the database late. None of them is lost.
type Outage struct {
	From, To time.Time // the first minute, and the end of the last
	Hits     uint64
	Stored   time.Time // when the last of them was stored
}

const (
	lateAfter   = 2 * 60 // seconds after the beginning of a minute
	lateMinutes = 50_000 // at most, of one question
	outageGap   = 5 * time.Minute
)

// Outages returns the times of a period in which hits of a site were received and stored
// more than a minute late, earliest first. Minutes of less than five apart are one outage.
func (s *Store) Outages(ctx context.Context, site string, from, to time.Time) ([]Outage, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	first, end, err := r.span(ctx, from, to)
	if err != nil {
		return nil, err
	}
	rows, err := r.query(ctx, "ledger_late", map[string]any{"Site": site, "From": first, "To": end, "Late": uint32(lateAfter), "Limit": uint64(lateMinutes)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Outage
	for rows.Next() {
		var at, stored uint32
		var hits uint64
		if err := rows.Scan(&at, &hits, &stored); err != nil {
			return nil, fmt.Errorf("store: reading the ledger: %w", err)
		}
		o := Outage{From: time.Unix(int64(at), 0).UTC(), Hits: hits, Stored: time.Unix(int64(stored), 0).UTC()}
		o.To = o.From.Add(time.Minute)
		if n := len(out); n > 0 && o.From.Sub(out[n-1].To) < outageGap {
			p := &out[n-1]
			p.To, p.Hits = o.To, p.Hits+o.Hits
			if o.Stored.After(p.Stored) {
				p.Stored = o.Stored
			}
			continue
		}
		out = append(out, o)
	}
	return out, rows.Err()
}
