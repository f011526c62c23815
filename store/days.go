package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// The state of a day. Rollups are made of days that are over; whatever changes the events
// of such a day afterwards adds a mark, and until a build that began after the mark is
// complete the day is answered from events. Nothing is ever changed in place:
//
//   - a build writes its rows of daily under a random number of its own and is named in
//     days only when it is complete, so one that was cut short is never read;
//   - a complete build says how many marks it has seen, so a mark that came while it was
//     being made still counts;
//   - the writer looks whether a day is built, or being built, after its rows are in
//     events, and a build says that it begins before it reads them: one of the two sees
//     the other. This takes writer and builder in one process, which owns the data.

// siteDay names a day of a site.
type siteDay struct {
	site string
	day  event.Day
}

// dayTracker is what the process knows of the days without asking.
type dayTracker struct {
	mu     sync.Mutex
	loaded bool
	built  map[siteDay]bool                 // days built or being built; true: marked since the build began
	floors atomic.Pointer[map[string]floor] // replaced, never changed; nil before load
}

// load reads which days were ever built, once.
func (t *dayTracker) load(ctx context.Context, r *reporter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded {
		return nil
	}
	floors, err := r.readFloors(ctx)
	if err != nil {
		return err
	}
	t.floors.Store(&floors)
	states, err := r.dayStates(ctx, "", frag("1"))
	if err != nil {
		return err
	}
	if t.built == nil {
		t.built = map[siteDay]bool{}
	}
	for _, s := range states {
		if _, ok := t.built[s.siteDay]; !ok {
			t.built[s.siteDay] = false
		}
	}
	t.loaded = true
	return nil
}

// begin notes that a build of the day is about to read its events.
func (t *dayTracker) begin(d siteDay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.built == nil {
		t.built = map[siteDay]bool{}
	}
	t.built[siteDay{strings.Clone(d.site), d.day}] = false
}

// late returns the days among ds that need a mark.
func (t *dayTracker) late(ds map[siteDay]struct{}) []siteDay {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []siteDay
	for d := range ds {
		if marked, built := t.built[d]; built && !marked && !t.sealed(d) {
			out = append(out, d)
		}
	}
	return out
}

// marked notes that days have a mark that no build has seen. A build that began between
// is served by one mark too many.
func (t *dayTracker) marked(ds []siteDay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range ds {
		t.built[siteDay{strings.Clone(d.site), d.day}] = true
	}
}

// noteDays marks the days of events that have just been stored where they are built
// already. It tries until ctx ends.
func (s *Store) noteDays(ctx context.Context, events []event.Event) error {
	days := map[siteDay]struct{}{}
	var last siteDay
	for i := range events {
		d := siteDay{events[i].Site, dayOf(&events[i])}
		if i == 0 || d != last {
			days[d] = struct{}{}
			last = d
		}
	}
	for failures := 0; ; failures++ {
		err := s.tryNoteDays(ctx, days)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("marking late days: %w", ctx.Err())
		}
		s.log.Warn("marking late days failed; it is tried again", "attempt", failures+1, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(s.backoff(failures)):
		}
	}
}

func (s *Store) tryNoteDays(ctx context.Context, days map[siteDay]struct{}) error {
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	r := s.reporter(conn)
	if err := s.days.load(ctx, r); err != nil {
		return err
	}
	late := s.days.late(days)
	if len(late) == 0 {
		return nil
	}
	if err := r.mark(ctx, late, s.now()); err != nil {
		return err
	}
	s.days.marked(late)
	return nil
}

// dayEntry is a row of the log of days.
type dayEntry struct {
	What   uint8 // dayBegun, dayBuilt, …
	Build  uint64
	Gen    uint32
	Marks  uint64
	Longer uint8
	Lines  uint64
	At     int64
	Days   []struct{ Site, Day string }
}

const (
	dayBegun  = 1
	dayBuilt  = 2
	dayMarked = 3
	dayMonth  = 4 // on the first of a month
	dayCapped = 5 // of a build, before it is complete: Marks has the bits of the dimensions that have an Other
	dayFloor  = 6 // the site's events before this day are disposed of, see floor
	dayBooks  = 7 // the site's books begin with this day: Marks is its first second
)

// monthOffset is added to the numbers of dimensions in the rows of daily that are a month's.
const monthOffset = 100

// monthKey identifies the builds that a month was added up of: the numbers are random, so
// other builds have another sum.
func monthKey(builds []uint64) (key uint64) {
	for _, b := range builds {
		key ^= b
	}
	return key
}

// months returns the first days of the months that have a day among days, and their ends.
func monthsOfDays(first, last event.Day) []dayRange {
	var out []dayRange
	for d := first; d <= last; {
		y, m, _ := d.Time().Date()
		r := dayRange{
			event.DayOf(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)),
			event.DayOf(time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC)),
		}
		out = append(out, r)
		d = r.last + 1
	}
	return out
}

func (r *reporter) addDays(ctx context.Context, e dayEntry, days ...siteDay) error {
	for _, d := range days {
		e.Days = append(e.Days, struct{ Site, Day string }{d.site, d.day.String()})
	}
	return r.exec(ctx, "days_add", e)
}

func (r *reporter) mark(ctx context.Context, days []siteDay, at time.Time) error {
	const together = 500 // a server reads no statement over 256 KiB
	for len(days) > 0 {
		n := min(together, len(days))
		if err := r.addDays(ctx, dayEntry{What: dayMarked, At: at.Unix()}, days[:n]...); err != nil {
			return err
		}
		days = days[n:]
	}
	return nil
}

// dayState is what the log says of a day.
type dayState struct {
	siteDay
	marks, seen uint64
	sealed      bool   // its events are disposed of: the build is all there is, and stays
	build       uint64 // newest complete one, 0: none
	longer      bool
	lines       uint64
	gen         uint32
	capped      uint64 // bits of the dimensions of build that have more values than a rollup keeps

	month, monthKey, monthLines uint64 // on the first of a month: the build of the whole, what it was made of, its rows
}

// closed tells whether the day's rollup is what its events would say, or did say while there were any.
func (d dayState) closed() bool { return d.build != 0 && (d.sealed || d.marks <= d.seen) }

// dayStates reads the log, of one site or ("") of all.
func (r *reporter) dayStates(ctx context.Context, site string, days fragment) ([]dayState, error) {
	rows, err := r.query(ctx, "day_states", map[string]any{"Site": site, "Days": days})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []dayState
	for rows.Next() {
		var d dayState
		var day uint16
		var longer uint8
		var capped uint64
		if err := rows.Scan(&d.site, &day, &d.marks, &d.build, &d.seen, &longer, &d.lines, &d.gen, &d.month, &d.monthKey, &d.monthLines,
			&capped, &d.capped); err != nil {
			return nil, r.wrap("day_states", err)
		}
		if capped != d.build { // an earlier one's, or of one that was cut short
			d.capped = 0
		}
		d.day, d.longer = event.Day(day), longer != 0
		d.sealed = r.days.sealed(d.siteDay)
		out = append(out, d)
	}
	return out, r.wrap("day_states", rows.Err())
}

// rolled is the closed days of a period that are read from their rollup.
type rolled struct {
	all          daySet   // each day by itself
	months, rest daySet   // the same days, as whole months where there are such, and others
	capped       []uint64 // of each day that has some, the bits of its capped dimensions
}

// cappedDays is on how many of the days one of the dimensions has an Other.
func (x rolled) cappedDays(dims ...uint8) (n int) {
	var bits uint64
	for _, d := range dims {
		bits |= 1 << d
	}
	for _, c := range x.capped {
		if c&bits != 0 {
			n++
		}
	}
	return n
}

// daySet is a set of days and the builds to read of them.
type daySet struct {
	days   []dayRange
	builds []uint64
}

func (x *daySet) add(d event.Day, build uint64) {
	x.days = addDay(x.days, d)
	x.builds = append(x.builds, build)
}

func (x daySet) buildsIn() fragment { return joined(" IN ", frag("build"), listOf(x.builds)) }

func addDay(ranges []dayRange, d event.Day) []dayRange {
	if n := len(ranges); n > 0 && ranges[n-1].last == d-1 {
		ranges[n-1].last = d
		return ranges
	}
	return append(ranges, dayRange{d, d})
}

func (x rolled) any() bool { return len(x.all.builds) > 0 }

// route divides a period: closed days that lie in it as a whole are read from their
// rollup, the others from events. Where ids live longer than a day, visitors of several
// days cannot be added up, and all is read from events, but for days whose events are
// disposed of: their visitors are added up.
func (r *reporter) route(ctx context.Context, site string, p *period, longIDs bool) (rolled, error) {
	var x rolled
	if err := r.seal(ctx, site, p); err != nil {
		return x, err
	}
	if longIDs && p.sealed <= p.first {
		return x, nil
	}
	states, err := r.dayStates(ctx, site, daysIn([]dayRange{{p.first, p.last}}))
	if err != nil {
		return x, err
	}
	builds := map[event.Day]uint64{}
	months := map[event.Day]dayState{}
	for _, d := range states {
		if d.month != 0 {
			months[d.day] = d
		}
		longIDs = longIDs || d.longer && !d.sealed && p.first != p.last
	}
	for _, d := range states {
		if d.closed() && p.whole(d.day) && (d.sealed || !longIDs) {
			builds[d.day] = d.build
			if d.capped != 0 {
				x.capped = append(x.capped, d.capped)
			}
		}
	}
	if len(builds) == 0 {
		x.capped = nil
		return x, nil
	}
	p.raw = []dayRange{}
	for _, m := range monthsOfDays(p.first, p.last) {
		var day daySet
		for d := max(m.first, p.first); d <= min(m.last, p.last); d++ {
			if b, ok := builds[d]; ok {
				day.add(d, b)
				x.all.add(d, b)
			} else if d >= p.sealed {
				p.raw = addDay(p.raw, d)
			}
		}
		whole := m.first >= p.first && m.last <= p.last && p.whole(m.first) && p.whole(m.last)
		if state, ok := months[m.first]; ok && whole && len(day.builds) > 0 && state.monthKey == monthKey(day.builds) {
			x.months.add(m.first, state.month)
			continue
		}
		for _, r := range day.days {
			for d := r.first; d <= r.last; d++ {
				x.rest.add(d, builds[d])
			}
		}
	}
	return x, nil
}

// figures are the branches of figures.sql that read the groups dims, with step (if it has
// any text) for the steps of a series.
func (x rolled) figures(site string, dims []uint8, step fragment) ([]fragment, error) {
	if step.sql != "" {
		f, err := x.all.figures(site, dims, 0, step)
		return []fragment{f}, err
	}
	var out []fragment
	for _, s := range []struct {
		set    daySet
		offset uint8
	}{{x.rest, 0}, {x.months, monthOffset}} {
		if len(s.set.builds) > 0 {
			f, err := s.set.figures(site, dims, s.offset, step)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
	return out, nil
}

func (x daySet) figures(site string, dims []uint8, offset uint8, step fragment) (fragment, error) {
	var ids []string
	for _, d := range dims {
		ids = append(ids, strconv.Itoa(int(d+offset)))
	}
	return statement("figures_daily", map[string]any{
		"Site": site, "Dims": strings.Join(ids, ", "), "Days": daysIn(x.days), "Builds": x.buildsIn(),
		"Stepped": step.sql != "", "Step": step, "StepID": stepID, "Offset": monthOffset,
	})
}
