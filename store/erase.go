package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// Erasing. An order takes rows out of events in steps, and any of them can be cut short and
// done again:
//
//   - what it takes is counted by batch, site and minute, and these counts become rows of the ledger:
//     a block of one month with a number (ref) of its own that is one of the order's. It
//     is written and decided like a block of a batch;
//   - the days of the rows are marked, so that reports ask events and no rollup;
//   - the rows are deleted, only those of a (batch, site, minute) that is on the books with one of the order's
//     numbers: all rows of such a group came in one part, so the count is that of the rows;
//   - a read finds no more of what the order takes, and no row that is only on the books.
//
// So the order's numbers in the ledger are all that has to be known to go on. While an order is
// under way the books leave out the rows of events that are on them as erased, whether they
// are deleted yet or not. Days that it touches are not rolled up meanwhile.
//
// The deletion names rows by their random ids: servers keep the text of deletions.

const (
	stepBits   = 5       // of a ref: which step of a month
	eraseRows  = 8000    // of one deletion: its text stays below the 256 KiB that servers read
	eraseLines = 100_000 // of one step on the books

	deletePause = 20 * time.Millisecond // of the wait for a deletion, doubled up to a second
)

// errErasing says that a day is not rolled up now.
var errErasing = errors.New("the day waits for an erasure")

// erasures are the orders under way.
type erasures struct {
	mu      sync.Mutex
	orders  []event.Order
	version uint64
	booking chan struct{} // while something is put on the books; closed at its end
}

// moment is the orders under way at a moment when nothing is being put on the books.
type moment struct {
	orders  []event.Order
	version uint64
}

// atRest waits for such a moment.
func (e *erasures) atRest(ctx context.Context) (moment, error) {
	for {
		e.mu.Lock()
		busy, m := e.booking, moment{e.orders, e.version}
		e.mu.Unlock()
		if busy == nil {
			return m, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

// still tells whether nothing has been put on the books since m.
func (e *erasures) still(m moment) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.booking == nil && e.version == m.version
}

// book calls do while readers of the books wait.
func (e *erasures) book(do func() error) error {
	done := make(chan struct{})
	e.mu.Lock()
	e.booking = done
	e.version++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.booking = nil
		e.mu.Unlock()
		close(done)
	}()
	return do()
}

func (e *erasures) add(o event.Order) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.ContainsFunc(e.orders, func(x event.Order) bool { return x.ID == o.ID }) {
		e.orders = append(slices.Clip(e.orders), o) // whoever holds the old slice keeps it
		e.version++
	}
}

func (e *erasures) end(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.orders = slices.DeleteFunc(slices.Clone(e.orders), func(x event.Order) bool { return x.ID == id })
}

// touch tells whether an order under way may take events of the day.
func (e *erasures) touch(d siteDay) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.orders {
		for _, s := range o.Subjects {
			if s.Site == d.site && s.First <= d.day && d.day <= s.Last {
				return true
			}
		}
	}
	return false
}

// fragment is the condition of rows that are on the books as erased, nil where no order is under way.
func (m moment) fragment() any {
	var any []fragment
	for i := range m.orders {
		any = append(any, booked(&m.orders[i]))
	}
	if len(any) == 0 {
		return nil
	}
	return around("(", joined(" OR ", any...), ")")
}

// ofSubjects is the condition of the subjects' rows.
func ofSubjects(subjects []event.Subject) fragment {
	var any []fragment
	for _, s := range subjects {
		any = append(any, frag("(site = ? AND visitor_id = ? AND day >= toDate(?) AND day <= toDate(?))",
			s.Site, s.Visitor, uint16(min(s.First, lastDay)), uint16(min(s.Last, lastDay))))
	}
	return anyOf(any...)
}

// taken is the condition of the rows that an order takes.
func taken(o *event.Order) fragment {
	return allOf(ofSubjects(o.Subjects), frag("toUInt32(time) <= ?", uint32(min(max(o.At, 0), 1<<32-1))))
}

// booked is the condition of those of them that are on the books as erased.
func booked(o *event.Order) fragment {
	return allOf(taken(o), frag(`(toString(site), intDiv(toUInt32(time), 60), batch_id) IN (
    SELECT toString(site), intDiv(toUInt32(minute), 60), batch_id FROM ledger WHERE ref >= ? AND ref <= ?)`, o.ID, o.Last()))
}

// AnnounceErasure makes an order known that Erase is called for later, one that an earlier process has
// begun perhaps: call it before anything is read from the store.
func (s *Store) AnnounceErasure(o event.Order) { s.erasures.add(o) }

// Erase takes the rows of an order out of the database and returns how many they were, once a
// read has shown that none is left. It can be called again after an error, in this process or
// in another one that has the order, and for an order that is done. One order at a time.
//
// Batches that hold rows of the order must have been stored before. What is in the rollups
// of closed days is not reported any more when it returns, and goes with
// [Store.SettleRollups].
func (s *Store) Erase(ctx context.Context, o event.Order) (rows uint64, err error) {
	if err := o.Check(); err != nil {
		return 0, err
	}
	s.AnnounceErasure(o)
	conn, err := s.conn(ctx)
	if err != nil {
		return 0, err
	}
	unlock, err := s.removing.lock(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: erasing: %w", err)
	}
	defer unlock()
	r := s.builder(conn)
	r.unlogged = true
	// What an earlier try has left running may yet come on the books.
	if err := s.waitForQueriesLike(ctx, fmt.Sprintf("query_id LIKE '%s%%'", erasePrefix(o.ID))); err != nil {
		return 0, err
	}
	for {
		if err := s.deleteBooked(ctx, r, &o); err != nil {
			return 0, fmt.Errorf("store: erasing: %w", err)
		}
		lines, err := r.unbooked(ctx, &o)
		if err != nil {
			return 0, fmt.Errorf("store: erasing: %w", err)
		}
		if len(lines) == 0 {
			break
		}
		if err := s.bookErased(ctx, r, &o, lines); err != nil {
			return 0, fmt.Errorf("store: erasing: %w", err)
		}
	}
	refs, err := r.refs(ctx, &o)
	if err != nil {
		return 0, fmt.Errorf("store: erasing: %w", err)
	}
	for _, n := range refs {
		rows += n
	}
	s.erasures.end(o.ID)
	return rows, nil
}

// erasePrefix begins the ids of all queries that put rows of the order on the books.
func erasePrefix(order uint64) string { return strings.TrimSuffix(queryPrefix(order), "0000-") }

// refs returns the order's steps on the books, and how many rows each has taken.
func (r *reporter) refs(ctx context.Context, o *event.Order) (map[uint64]uint64, error) {
	rows, err := r.query(ctx, "erase_refs", map[string]any{"First": o.ID, "Last": o.Last()})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[uint64]uint64{}
	for rows.Next() {
		var ref, n uint64
		if err := rows.Scan(&ref, &n); err != nil {
			return nil, r.wrap("erase_refs", err)
		}
		out[ref] = n
	}
	return out, r.wrap("erase_refs", rows.Err())
}

// unbooked counts what the order takes, in the order of time. What is on the books must be deleted.
func (r *reporter) unbooked(ctx context.Context, o *event.Order) ([]goneLine, error) {
	rows, err := r.query(ctx, "erase_groups", map[string]any{"Taken": taken(o), "Limit": uint64(eraseLines)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []goneLine
	for rows.Next() {
		var l goneLine
		var minute uint64
		if err := rows.Scan(&l.site, &minute, &l.batch, &l.hits); err != nil {
			return nil, r.wrap("erase_groups", err)
		}
		l.minute = int64(minute)
		out = append(out, l)
	}
	return out, r.wrap("erase_groups", rows.Err())
}

// bookErased puts lines on the books, month by month, each under a number that is free.
func (s *Store) bookErased(ctx context.Context, r *reporter, o *event.Order, lines []goneLine) error {
	refs, err := r.refs(ctx, o)
	if err != nil {
		return err
	}
	for len(lines) > 0 {
		end := slices.IndexFunc(lines, func(l goneLine) bool { return monthOf(l.minute) != monthOf(lines[0].minute) })
		if end < 0 {
			end = len(lines)
		}
		y, m, _ := minuteTime(lines[0].minute).Date()
		b := goneBlock{outcomeErased, o.ID | uint64((y-1970)*12+int(m)-1)<<stepBits, lines[:end]}
		for n := 0; refs[b.ref] > 0; n++ {
			if n == 1<<stepBits-1 {
				return errors.New("rows keep coming")
			}
			b.ref++
		}
		lines = lines[end:]
		if err := s.erasures.book(func() error {
			return s.writeBlock(ctx, &event.Batch{ID: b.ref}, b, false)
		}); err != nil {
			return err
		}
	}
	return nil
}

// deleteBooked deletes what is on the books as erased.
func (s *Store) deleteBooked(ctx context.Context, r *reporter, o *event.Order) error {
	for {
		rows, err := r.query(ctx, "erase_rows", map[string]any{"Booked": booked(o), "Limit": uint64(eraseRows)})
		if err != nil {
			return err
		}
		var ids []uint64
		var span []dayRange
		days := map[siteDay]struct{}{}
		for rows.Next() {
			var id uint64
			var d siteDay
			var day uint16
			if err := rows.Scan(&id, &d.site, &day); err != nil {
				rows.Close()
				return r.wrap("erase_rows", err)
			}
			d.day = event.Day(day)
			ids, days[d] = append(ids, id), struct{}{}
			if n := len(span); n == 0 {
				span = []dayRange{{d.day, d.day}}
			} else {
				span[0].last = d.day
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return r.wrap("erase_rows", err)
		}
		if len(ids) == 0 {
			return nil
		}
		if err := s.deleteRows(ctx, r, days, map[string]any{"Days": daysIn(span), "IDs": batchList(ids)}); err != nil {
			return err
		}
	}
}

// deleteRows marks days, deletes rows and waits until they are gone. No day is rolled up meanwhile: a
// mark tells a build that it has not seen a change which came before the mark.
func (s *Store) deleteRows(ctx context.Context, r *reporter, days map[siteDay]struct{}, which map[string]any) error {
	unlock, err := s.building.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.tryNoteDays(ctx, days); err != nil {
		return err
	}
	// A deletion that an earlier try began may be all that is needed.
	if err := r.waitUntilZero(ctx, "erase_busy", map[string]any{"Table": tableEvents}); err != nil {
		return err
	}
	left, err := r.number(ctx, "erase_left", which)
	if err != nil || left == 0 {
		return err
	}
	if err := r.exec(ctx, "erase_delete", which); err != nil {
		return err
	}
	return r.waitUntilZero(ctx, "erase_left", which)
}

// waitUntilZero asks for a number until it is 0.
func (r *reporter) waitUntilZero(ctx context.Context, name string, data any) error {
	for wait := deletePause; ; wait = min(2*wait, time.Second) {
		n, err := r.number(ctx, name, data)
		if err != nil || n == 0 {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("rows are not deleted yet: %w", ctx.Err())
		}
	}
}

// goneLine is how many rows of a batch and minute are not held any more.
type goneLine struct {
	site        string
	minute      int64
	batch, hits uint64
}

// goneBlock is what one step takes of one month.
type goneBlock struct {
	outcome string // outcomeErased, outcomeDisposed
	ref     uint64
	lines   []goneLine // by minute, at least one
}

func (b goneBlock) table() string { return tableLedger }
func (b goneBlock) month() int    { return monthOf(b.lines[0].minute) }
func (b goneBlock) size() int     { return len(b.lines) }

func (b goneBlock) identity() string {
	return "concat(site, ' ', toString(toUInt32(minute)), ' ', toString(batch_id))"
}

func (b goneBlock) key(i int) string {
	l := &b.lines[i]
	return l.site + " " + strconv.FormatInt(l.minute*60, 10) + " " + strconv.FormatUint(l.batch, 10)
}

func (b goneBlock) where() (string, []any) {
	first, last := b.lines[0].minute, b.lines[len(b.lines)-1].minute
	return "minute >= toDateTime(?) AND minute <= toDateTime(?) AND ref = ?", []any{uint32(first * 60), uint32(last * 60), b.ref}
}

func (b goneBlock) appendTo(s *Store, to driver.Batch, keep []int) error {
	at := s.stamp()
	if keep == nil {
		keep = make([]int, len(b.lines))
		for i := range keep {
			keep[i] = i
		}
	}
	slices.SortFunc(keep, func(i, j int) int {
		x, y := &b.lines[i], &b.lines[j]
		return cmp.Or(strings.Compare(x.site, y.site), cmp.Compare(x.minute, y.minute))
	})
	for _, i := range keep {
		l := &b.lines[i]
		if err := to.Append(l.site, minuteTime(l.minute), b.outcome, l.hits, at, l.batch, b.ref, uint16(0), ""); err != nil {
			return fmt.Errorf("%w: %w", errTable, err)
		}
	}
	return nil
}

// EachHeld calls fn with every stored event of subjects, newest first, until fn returns an error, which
// EachHeld then returns. fn may keep the event's strings, and nothing else of it.
func (s *Store) EachHeld(ctx context.Context, subjects []event.Subject, fn func(*event.Event) error) error {
	if err := event.CheckSubjects(subjects); err != nil {
		return err
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	r := s.builder(conn)
	r.unlogged = true
	return r.events(ctx, "held_events", map[string]any{"Subjects": ofSubjects(subjects), "Limit": uint64(math.MaxInt64)}, fn)
}

// heldEvents is how many events Held returns at most.
const heldEvents = 1000

// Held tells what is stored of subjects, with details the newest events too. It knows nothing of
// what waits in the spool.
func (s *Store) Held(ctx context.Context, subjects []event.Subject, details bool) (event.Held, error) {
	var h event.Held
	if err := event.CheckSubjects(subjects); err != nil {
		return h, err
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return h, err
	}
	r := s.reporter(conn)
	r.unlogged = true
	which := map[string]any{"Subjects": ofSubjects(subjects), "Limit": uint64(heldEvents + 1)}
	rows, err := r.query(ctx, "held_counts", which)
	if err != nil {
		return h, fmt.Errorf("store: reading what is held: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind uint8
		var n uint64
		if err := rows.Scan(&kind, &n); err != nil {
			return h, r.wrap("held_counts", err)
		}
		h.Counts = append(h.Counts, event.KindCount{Kind: event.Kind(kind), Rows: n})
	}
	if err := rows.Err(); err != nil {
		return h, r.wrap("held_counts", err)
	}
	if h.Visits, err = r.number(ctx, "held_visits", which); err != nil || !details {
		return h, err
	}
	err = r.events(ctx, "held_events", which, func(e *event.Event) error {
		if h.More = len(h.Events) == heldEvents; !h.More {
			e.Props = slices.Clone(e.Props)
			h.Events = append(h.Events, *e)
		}
		return nil
	})
	return h, err
}

// events calls fn with each event of an answer. The event's Props are used again.
func (r *reporter) events(ctx context.Context, name string, data map[string]any, fn func(*event.Event) error) error {
	columns := eventColumns()
	var exprs []string
	destinations := make([]any, len(columns))
	for i, c := range columns {
		exprs, destinations[i] = append(exprs, c.expression()), c.destination()
	}
	data["Columns"] = frag(strings.Join(exprs, ", "))
	rows, err := r.query(ctx, name, data)
	if err != nil {
		return err
	}
	defer rows.Close()
	var e event.Event
	for rows.Next() {
		if err := rows.Scan(destinations...); err != nil {
			return r.wrap(name, err)
		}
		for _, c := range columns {
			c.load(&e)
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	return r.wrap(name, rows.Err())
}
