package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// Disposal. What is older than a site keeps is taken out of events, the rollups and the ledger, in
// steps of which any can be cut short and done again:
//
//   - the days log says of the site before which day its events are disposed of (its floor), and with
//     which minute its books begin. From then on no report reads events before the floor: a day there is
//     what its rollup says, which was made before and is not made again, whatever comes late;
//   - month by month, while no new batch begins: what is to go and is within the books is put on them as
//     disposed, by batch and minute, as an erasure does. Then the server is told to drop the
//     month, if nothing else is in it, or to delete the rows;
//   - the days log says that it is done.
//
// Rows that are on the books as disposed and are still there are left out of the books by those who
// read them, for as long as the log does not say that it is done. A row that comes late to a
// disposed day is on no such line, so it counts until the next disposal takes it.
//
// The batches that the spool still has are passed over: a replay of one of them asks for its
// rows. What segments are kept of other batches have lost the rows first (see Retention.Held).

// Cut is what is kept of a site, by the first day of each kind on the site's calendar. Ledger and
// rollups are kept at least as long as events: what is said here to be kept less is kept as they are.
type Cut struct {
	Events, Rollups, Ledger event.Day
	Zone                    *time.Location // nil: UTC
}

func (c Cut) normal() Cut {
	c.Rollups, c.Ledger = min(c.Rollups, c.Events), min(c.Ledger, c.Events)
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	return c
}

// books is the first second of the minutes that the ledger keeps.
func (c Cut) books() int64 { return max(c.Ledger.Start(c.Zone).Unix(), 0) / 60 * 60 }

// Retention is what Dispose works by.
type Retention struct {
	// Cut is asked for every site that anything is held of, [event.UnknownSite] and sites that are not
	// configured any more among them.
	Cut func(site string) Cut
	// Held tells what is not in the database yet, as in [Store.Ledger], and takes the events that
	// take is true for out of all segments that are kept though they are stored, in this order. It is called
	// while no new batch begins to be written.
	Held func(ctx context.Context, take func(*event.Event) bool) (event.Waiting, error)
}

// floor is what the days log says of a site's disposals.
type floor struct {
	day      event.Day // events before it are disposed of
	underWay bool      // not all of them are gone yet
	earliest int64     // Unix seconds of the first of them
	gen      uint32
	books    int64 // first second of the books
}

func (t *dayTracker) all() map[string]floor {
	if m := t.floors.Load(); m != nil {
		return *m
	}
	return nil
}

// sealed tells whether the day's events are disposed of.
func (t *dayTracker) sealed(d siteDay) bool { return d.day < t.all()[d.site].day }

// readFloors reads the log of disposals.
func (r *reporter) readFloors(ctx context.Context) (map[string]floor, error) {
	rows, err := r.query(ctx, "floors", nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]floor{}
	for rows.Next() {
		var site string
		var f floor
		var day uint16
		var underWay, earliest, books uint64
		if err := rows.Scan(&site, &day, &underWay, &earliest, &f.gen, &books); err != nil {
			return nil, r.wrap("floors", err)
		}
		f.day, f.underWay, f.earliest, f.books = event.Day(day), underWay != 0, int64(earliest), int64(books)
		out[site] = f
	}
	return out, r.wrap("floors", rows.Err())
}

// putFloor adds what is new of a site's floor to the log.
func (s *Store) putFloor(ctx context.Context, r *reporter, site string, f floor) error {
	old := s.days.all()[site]
	if f.books != old.books {
		day := event.DayOf(time.Unix(f.books, 0).UTC())
		if err := r.addDays(ctx, dayEntry{What: dayBooks, Marks: uint64(f.books), At: s.now().Unix()}, siteDay{site, day}); err != nil {
			return err
		}
	}
	if f.day != old.day || f.underWay != old.underWay || f.earliest != old.earliest {
		f.gen = old.gen + 1
		e := dayEntry{What: dayFloor, Gen: f.gen, Marks: uint64(f.earliest), At: s.now().Unix()}
		if f.underWay {
			e.Build = 1
		}
		if err := r.addDays(ctx, e, siteDay{site, f.day}); err != nil {
			return err
		}
	}
	next := maps.Clone(s.days.all())
	next[site] = f
	s.days.floors.Store(&next)
	return nil
}

// seal tells a period of a report which of its days have no events any more.
func (r *reporter) seal(ctx context.Context, site string, p *period) error {
	if err := r.days.load(ctx, r); err != nil {
		return err
	}
	p.sealed = r.days.all()[site].day
	return nil
}

// beforeBooks are the conditions of rows of the ledger, and of events, that are older than their
// site's books, nil where the books have all since from.
func beforeBooks(floors map[string]floor, site string, from uint64) (minutes, times any) {
	var m, t []fragment
	for _, name := range slices.Sorted(maps.Keys(floors)) {
		if f := floors[name]; uint64(f.books) > from && (site == "" || site == name) {
			m = append(m, frag("(site = ? AND toUInt32(minute) < ?)", name, uint32(f.books)))
			t = append(t, frag("(site = ? AND toUInt32(time) < ?)", name, uint32(f.books)))
		}
	}
	if len(m) == 0 {
		return nil, nil
	}
	return around("(", joined(" OR ", m...), ")"), around("(", joined(" OR ", t...), ")")
}

// gone is the condition of events that are on the books as erased or disposed, nil where none can be.
func gone(m moment, floors map[string]floor) any {
	var all []fragment
	if f, ok := m.fragment().(fragment); ok {
		all = append(all, f)
	}
	for _, site := range slices.Sorted(maps.Keys(floors)) {
		if f := floors[site]; f.underWay {
			all = append(all, joined(" AND ", frag("(site = ? AND day < toDate(?)", site, f.day.String()), around("", f.booked(site), ")")))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return around("(", joined(" OR ", all...), ")")
}

// booked is the condition of a site's events that the log knows as under way and that are on the books as disposed.
func (f floor) booked(site string) fragment {
	return frag(`(intDiv(toUInt32(time), 60), batch_id) IN (
    SELECT intDiv(toUInt32(minute), 60), batch_id FROM ledger WHERE site = ? AND outcome = ? AND toUInt32(minute) >= ?)`,
		site, outcomeDisposed, uint32(max(f.earliest/60*60, f.books)))
}

// Disposal is what a run of Dispose has done.
type Disposal struct {
	Removed       []Removed
	Before, After Holdings
}

// Removed is how many rows of a kind are gone of a site.
type Removed struct {
	Site, Kind string
	Rows       uint64
}

const (
	disposePasses = 3
	longestGate   = 5 * time.Minute // that hits wait outside the database for one month of disposal
	disposePrefix = 0xd150          // the first bits of the refs of disposed rows
)

// errUnderWay is returned where an order to erase is not done.
var errUnderWay = errors.New("an erasure is under way")

// disposing is one run of Dispose.
type disposing struct {
	*Store
	r       *reporter
	keep    Retention
	cuts    map[string]Cut
	removed map[Removed]uint64 // Rows is 0
	failed  []error
}

// Dispose removes everything that is older than its site keeps, and looks that it is gone. What it says was
// removed is gone also where the error is not nil; the error tells of what is still there. It can be
// called again at any time. zone is that of [Store.RunRollups]: days whose rollup outlives their events are
// rolled up first.
func (s *Store) Dispose(ctx context.Context, keep Retention, zone func(site string) *time.Location) (d Disposal, err error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return d, err
	}
	unlock, err := s.removing.lock(ctx)
	if err != nil {
		return d, fmt.Errorf("store: disposing: %w", err)
	}
	defer unlock()
	x := &disposing{Store: s, r: s.builder(conn), keep: keep, cuts: map[string]Cut{}, removed: map[Removed]uint64{}}
	x.r.long = true
	if d.Before, err = s.holdings(ctx, x.r, keep.Cut); err != nil {
		return d, fmt.Errorf("store: disposing: %w", err)
	}
	x.run(ctx, zone, &d.Before)
	for k, n := range x.removed {
		k.Rows = n
		d.Removed = append(d.Removed, k)
	}
	slices.SortFunc(d.Removed, func(a, b Removed) int {
		return strings.Compare(a.Site+"\x00"+a.Kind, b.Site+"\x00"+b.Kind)
	})
	if d.After, err = s.holdings(ctx, x.r, keep.Cut); err != nil {
		x.failed = append(x.failed, err)
	}
	for _, h := range d.After.Lines {
		if h.Due > 0 {
			x.failed = append(x.failed, fmt.Errorf("%d rows of %s in %s are older than is kept, the oldest of %s", h.Due, h.Site, h.Kind, h.Oldest))
		}
	}
	if err := errors.Join(x.failed...); err != nil {
		return d, fmt.Errorf("store: disposing: %w", err)
	}
	return d, nil
}

// run takes the steps; what fails is noted and keeps nothing else from being tried.
func (x *disposing) run(ctx context.Context, zone func(string) *time.Location, before *Holdings) {
	try := func(what string, do func() error) bool {
		err := ctx.Err()
		if err == nil {
			err = do()
		}
		if err != nil {
			x.failed = append(x.failed, fmt.Errorf("%s: %w", what, err))
		}
		return err == nil
	}
	x.erasures.mu.Lock()
	erasing := len(x.erasures.orders) > 0
	x.erasures.mu.Unlock()
	if erasing { // what it has put on the books is not to be put there again
		x.failed = append(x.failed, errUnderWay)
		return
	}
	// What an earlier process has left running may yet come on the books.
	if !try("earlier queries", func() error {
		return x.waitForQueriesLike(ctx, fmt.Sprintf("query_id LIKE 'footfall-insert-%04x%%'", disposePrefix))
	}) {
		return
	}
	due := map[string]map[string]bool{KindEvents: {}, KindRollups: {}, KindLedger: {}} // sites of each kind
	for _, h := range before.Lines {
		x.cuts[h.Site] = x.keep.Cut(h.Site).normal()
		if h.Due > 0 {
			due[h.Kind][h.Site] = true
		}
	}
	if len(due[KindEvents]) > 0 && !try("rollups before their events go", func() error { return x.rollUp(ctx, zone, due[KindEvents]) }) {
		for site := range due[KindEvents] { // they stay until they are rolled up
			c := x.cuts[site]
			c.Events = x.days.all()[site].day
			x.cuts[site] = c.normal()
		}
	}
	if !try("the log of days", func() error { return x.setFloors(ctx, due) }) {
		return
	}
	if try("events", func() error { return x.remove(ctx, KindEvents) }) {
		try("the log of days", func() error { return x.settle(ctx) })
	}
	try("rollups", func() error { return x.removeRollups(ctx) })
	try("ledger", func() error { return x.remove(ctx, KindLedger) })
}

// rollUp makes the rollups of days whose events go and whose rollups stay. Where it fails, sites has
// those of which a day is not rolled up.
func (x *disposing) rollUp(ctx context.Context, zone func(string) *time.Location, sites map[string]bool) error {
	missing := func() (out []siteDay, err error) {
		if err := x.days.load(ctx, x.r); err != nil {
			return nil, err
		}
		days, err := x.r.daysWithEvents(ctx, x.dueFragment(KindEvents))
		if err != nil {
			return nil, err
		}
		states, err := x.r.dayStates(ctx, "", frag("1"))
		if err != nil {
			return nil, err
		}
		closed := map[siteDay]bool{}
		for _, d := range states {
			closed[d.siteDay] = d.closed()
		}
		for _, d := range days {
			if sites[d.site] && d.day >= x.cuts[d.site].Rollups && !closed[d] && !x.days.sealed(d) {
				out = append(out, d)
			}
		}
		return out, nil
	}
	days, err := missing()
	if err != nil || len(days) == 0 {
		return err
	}
	_, failed := x.rollupRound(ctx, zone, true, true)
	if days, err = missing(); err != nil || len(days) == 0 {
		return err
	}
	clear(sites)
	for _, d := range days {
		sites[d.site] = true
	}
	return errors.Join(fmt.Errorf("%d days are not rolled up yet, the first %s", len(days), days[0].day), failed)
}

// setFloors says in the log of days what is going to be removed.
func (x *disposing) setFloors(ctx context.Context, due map[string]map[string]bool) error {
	unlock, err := x.rolling.lock(ctx) // no day is being rolled up
	if err != nil {
		return err
	}
	defer unlock()
	if err := x.days.load(ctx, x.r); err != nil {
		return err
	}
	earliest, err := x.r.earliest(ctx, x.dueFragment(KindEvents))
	if err != nil {
		return err
	}
	for site, c := range x.cuts {
		f := x.days.all()[site]
		if due[KindLedger][site] || earliest[site] > 0 {
			f.books = max(f.books, c.books())
		}
		if at, ok := earliest[site]; ok {
			if f.underWay { // a run that was cut short
				at = min(at, f.earliest)
			}
			f.day, f.underWay, f.earliest = max(f.day, c.Events), true, at
		}
		if err := x.putFloor(ctx, x.r, site, f); err != nil {
			return err
		}
	}
	return nil
}

// settle says in the log that nothing that is on the books as disposed is there any more.
func (x *disposing) settle(ctx context.Context) error {
	for site, f := range x.days.all() {
		if f.underWay {
			f.underWay = false
			if err := x.putFloor(ctx, x.r, site, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes what is due out of events or the ledger, month by month.
func (x *disposing) remove(ctx context.Context, kind string) error {
	for range disposePasses {
		months, err := x.r.dueMonths(ctx, kind, x.dueFragment(kind))
		if err != nil || len(months) == 0 {
			return err
		}
		waits := false
		for _, m := range months {
			some, err := x.removeMonth(ctx, kind, m)
			if err != nil {
				return fmt.Errorf("%04d-%02d: %w", m/100, m%100, err)
			}
			waits = waits || !some
		}
		if waits { // of batches that are on their way: the next run takes it
			return errors.New("rows that just come in are too old to keep; they are removed next time")
		}
	}
	return errors.New("rows keep coming that are too old to keep")
}

// removeMonth takes what is due out of one partition, and waits until it is gone. It tells whether all that was due could go.
func (x *disposing) removeMonth(ctx context.Context, kind string, month uint32) (all bool, err error) {
	t := kinds()[kind]
	// A deletion that an earlier try began may be all that is needed.
	if err := x.r.waitUntilZero(ctx, "erase_busy", map[string]any{"Table": t.table}); err != nil {
		return false, err
	}
	leave, err := x.books.enter(ctx)
	if err != nil {
		return false, err
	}
	left := sync.OnceFunc(leave)
	defer left()
	unhurried := ctx
	ctx, cancel := context.WithTimeout(ctx, longestGate)
	defer cancel()
	w, err := x.keep.Held(ctx, func(e *event.Event) bool {
		c, ok := x.cuts[e.Site]
		return ok && dayOf(e) < c.Events
	})
	if err != nil {
		return false, err
	}
	due := x.dueFragment(kind)
	which := map[string]any{"Table": t.table, "Partition": frag(t.partition), "Month": month, "Due": due, "Without": batchList(w.Batches), "Column": t.column}
	sites, rows, others, err := x.r.inMonth(ctx, which)
	if err != nil || rows == 0 {
		return others == 0, err
	}
	if kind == KindEvents {
		if err := x.book(ctx, which); err != nil {
			return false, err
		}
	}
	stay, err := x.r.number(ctx, "dispose_others", which)
	if err != nil {
		return false, err
	}
	if stay == 0 && !comesIn(w, month) {
		err = x.r.exec(ctx, "dispose_drop", which)
	} else {
		err = x.r.exec(ctx, "dispose_delete", which)
	}
	if err != nil {
		return false, err
	}
	left()
	if err := x.r.waitUntilZero(unhurried, "erase_busy", map[string]any{"Table": t.table}); err != nil {
		return false, err
	}
	for site, n := range sites {
		x.removed[Removed{Site: site, Kind: kind}] += n
	}
	return others == 0, nil
}

// comesIn tells whether a batch that is on its way may have rows of the month.
func comesIn(w event.Waiting, month uint32) bool {
	for _, h := range w.Hits {
		for _, by := range []int64{-1440, 0, 1440} { // a day is at most 14 hours off UTC's
			if t := minuteTime(h.Minute + by); uint32(t.Year()*100+int(t.Month())) == month {
				return true
			}
		}
	}
	return false
}

// book puts what is due of a month on the books as disposed, where the books have it.
func (x *disposing) book(ctx context.Context, which map[string]any) error {
	days, err := x.r.daysIn(ctx, which)
	if err != nil {
		return err
	}
	for _, d := range days {
		f := x.days.all()[d.site]
		for {
			lines, err := x.r.unbookedOf(ctx, d, f, which["Without"])
			if err != nil {
				return err
			}
			if len(lines) == 0 {
				break
			}
			if err := x.bookLines(ctx, lines); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *disposing) bookLines(ctx context.Context, lines []goneLine) error {
	for len(lines) > 0 {
		end := slices.IndexFunc(lines, func(l goneLine) bool { return monthOf(l.minute) != monthOf(lines[0].minute) })
		if end < 0 {
			end = len(lines)
		}
		b := goneBlock{outcomeDisposed, disposePrefix<<48 | rand.Uint64()>>16, lines[:end]}
		lines = lines[end:]
		if err := x.erasures.book(func() error {
			return x.writeBlock(ctx, &event.Batch{ID: b.ref}, b, false)
		}); err != nil {
			return err
		}
	}
	return nil
}

// removeRollups takes days out of the log of days and of the rollups.
func (x *disposing) removeRollups(ctx context.Context) error {
	unlock, err := x.rolling.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	due := x.dueFragment(KindRollups)
	// First the log, so that nothing names rows that are not there. A day of it that has events again is not rolled up.
	if err := x.r.deleteAll(ctx, tableDays, allOf(due, frag("what < 6"))); err != nil {
		return err
	}
	months, err := x.r.dueMonths(ctx, KindRollups, due)
	if err != nil {
		return err
	}
	t := kinds()[KindRollups]
	for _, m := range months {
		which := map[string]any{"Table": t.table, "Partition": frag(t.partition), "Month": m, "Due": due, "Without": nil, "Column": t.column}
		sites, _, _, err := x.r.inMonth(ctx, which)
		if err != nil {
			return err
		}
		others, err := x.r.number(ctx, "dispose_others", which)
		if err != nil {
			return err
		}
		if others == 0 {
			err = x.r.exec(ctx, "dispose_drop", which)
		} else {
			err = x.r.exec(ctx, "dispose_delete", which)
		}
		if err == nil {
			err = x.r.waitUntilZero(ctx, "erase_busy", map[string]any{"Table": t.table})
		}
		if err != nil {
			return err
		}
		for site, n := range sites {
			x.removed[Removed{Site: site, Kind: KindRollups}] += n
		}
	}
	return nil
}

// dueFragment is the condition of rows of a kind that are too old.
func (x *disposing) dueFragment(kind string) fragment { return dueOf(kind, x.cuts) }
