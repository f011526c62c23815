package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

const (
	// RollupCap is how many values of a dimension a day's rollup keeps; the rest, those
	// with the fewest visitors, become [Other]. Answers that have such a day say so. A value that
	// is really called that is one like any other, save on such days: there it is among the rest.
	RollupCap = 100000
	// Other is the value of all rows beyond RollupCap.
	Other = "(other)"

	closeAfter   = 15 * time.Minute // after the site's midnight: what the spool still holds has come in
	rollupEvery  = time.Minute
	rebuildEvery = 10 * time.Minute // late events are gathered
	searchEvery  = time.Hour        // for days of any age
	tidyEvery    = 24 * time.Hour
	recentDays   = 3
	maxFailures  = 3  // of days, before a round gives up
	idsLive      = 31 // days: the longest that a visitor id outlives its first day
)

// RollupStats says what a round of rollups did.
type RollupStats struct {
	Closed, Rebuilt int
}

// RunRollups closes days some time after their site's midnight and builds days again that
// late events have changed, until ctx ends. Its error is then ctx's. zone returns the
// calendar of a site, nil where the site is not configured any more: its days are over
// when they are over everywhere. A round that fails is logged and tried again; one cut
// short at any point, by a crash too, leaves right numbers and work for the next.
func (s *Store) RunRollups(ctx context.Context, zone func(site string) *time.Location) error {
	var searched, rebuilt, tidied time.Time
	for {
		begun := time.Now()
		due := func(last time.Time, every time.Duration) bool { return last.IsZero() || begun.Sub(last) >= every }
		search, rebuild, tidy := due(searched, searchEvery), due(rebuilt, rebuildEvery), due(tidied, tidyEvery)
		var err error
		if tidy {
			// The first look removes nothing: a reader may be about to read what the round
			// before it, in another life of the process, has replaced a moment ago.
			if err = s.tidyRollups(ctx, !tidied.IsZero()); err == nil {
				tidied = begun
			}
		}
		stats, roundErr := s.rollupRound(ctx, zone, search, rebuild)
		if err = errors.Join(err, roundErr); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.log.Warn("rollups failed; they are tried again", "error", err)
		} else {
			if search {
				searched = begun
			}
			if rebuild {
				rebuilt = begun
			}
		}
		if stats.Closed+stats.Rebuilt > 0 {
			s.log.Info("days rolled up", "closed", stats.Closed, "rebuilt", stats.Rebuilt, "took", time.Since(begun).Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rollupEvery):
		}
	}
}

// Rollup does at once all that RunRollups would do in time.
func (s *Store) Rollup(ctx context.Context, zone func(site string) *time.Location) (RollupStats, error) {
	return s.rollupRound(ctx, zone, true, true)
}

// rollupRound builds the days that are over and not built, those of the last days only
// unless search is set, and with rebuild those that have marks.
func (s *Store) rollupRound(ctx context.Context, zone func(string) *time.Location, search, rebuild bool) (RollupStats, error) {
	var stats RollupStats
	conn, err := s.conn(ctx)
	if err != nil {
		return stats, err
	}
	unlock, err := s.rolling.lock(ctx)
	if err != nil {
		return stats, err
	}
	defer unlock()
	r := s.builder(conn)
	if err := s.days.load(ctx, r); err != nil {
		return stats, err
	}
	now := s.now()
	today := event.DayOf(now.UTC())
	span := daysIn([]dayRange{{today - recentDays, today}})
	if search {
		span = frag("day <= toDate(?)", today.String())
	}
	states, err := r.dayStates(ctx, "", frag("1"))
	if err != nil {
		return stats, err
	}
	known := map[siteDay]dayState{}
	for _, d := range states {
		known[d.siteDay] = d
	}
	candidates, err := r.daysWithEvents(ctx, span)
	if err != nil {
		return stats, err
	}
	for _, d := range states { // a day that has lost all of its events has marks to show for it
		if rebuild && d.build != 0 && !d.closed() && !slices.Contains(candidates, d.siteDay) {
			candidates = append(candidates, d.siteDay)
		}
	}
	var failed []error
	for _, d := range candidates {
		state := known[d]
		if s.days.sealed(d) || state.closed() || state.build != 0 && !rebuild || !over(d, zone, now) {
			continue
		}
		if err := s.buildDay(ctx, r, d); errors.Is(err, errErasing) {
			continue
		} else if err != nil {
			// One day that fails, for want of memory say, must not keep the others.
			failed = append(failed, fmt.Errorf("day %s: %w", d.day, err))
			if ctx.Err() != nil || len(failed) == maxFailures {
				return stats, errors.Join(failed...)
			}
			continue
		}
		if state.build != 0 {
			stats.Rebuilt++
		} else {
			stats.Closed++
		}
	}
	return stats, errors.Join(append(failed, s.addMonths(ctx, r, now))...)
}

// addMonths adds up the days of months that are over, where they have changed.
func (s *Store) addMonths(ctx context.Context, r *reporter, now time.Time) error {
	states, err := r.dayStates(ctx, "", frag("1"))
	if err != nil {
		return err
	}
	thisMonth := event.DayOf(now.UTC()).Month()
	type siteMonth struct {
		site  string
		first event.Day
	}
	closed := map[siteMonth]*daySet{}
	firsts := map[siteDay]dayState{}
	for _, d := range states { // by site and day
		firsts[d.siteDay] = d
		if d.closed() && d.day.Month() < thisMonth {
			m := siteMonth{d.site, monthsOfDays(d.day, d.day)[0].first}
			if closed[m] == nil {
				closed[m] = &daySet{}
			}
			closed[m].add(d.day, d.build)
		}
	}
	for m, set := range closed {
		first := siteDay{m.site, m.first}
		state := firsts[first]
		if s.days.sealed(first) { // what is left of such a month is less every day
			continue
		}
		if key := monthKey(set.builds); len(set.builds) < 2 || state.month != 0 && state.monthKey == key {
			continue
		}
		e := dayEntry{What: dayMonth, Build: rand.Uint64() | 1, Gen: state.gen + 1, Marks: monthKey(set.builds), At: now.Unix()}
		err := r.exec(ctx, "month_build", map[string]any{
			"Site": m.site, "Day": m.first.String(), "Build": e.Build, "Days": daysIn(set.days), "Builds": set.buildsIn(), "Offset": monthOffset})
		if err != nil {
			return err
		}
		if e.Lines, _, err = r.widths(ctx, map[string]any{"Site": m.site, "Day": m.first.String(), "Build": e.Build}); err != nil {
			return err
		}
		if err := r.addDays(ctx, e, first); err != nil {
			return err
		}
	}
	return nil
}

// over tells whether a day has ended on its site's calendar, and a while ago.
func over(d siteDay, zone func(string) *time.Location, now time.Time) bool {
	var z *time.Location
	if zone != nil {
		z = zone(d.site)
	}
	if z == nil {
		z = time.FixedZone("the last place on earth", -12*3600)
	}
	return now.Sub((d.day + 1).Start(z)) >= closeAfter
}

func (r *reporter) daysWithEvents(ctx context.Context, days fragment) ([]siteDay, error) {
	rows, err := r.query(ctx, "days_with_events", map[string]any{"Days": days})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []siteDay
	for rows.Next() {
		var site string
		var day uint16
		if err := rows.Scan(&site, &day); err != nil {
			return nil, r.wrap("days_with_events", err)
		}
		out = append(out, siteDay{site, event.Day(day)})
	}
	return out, r.wrap("days_with_events", rows.Err())
}

// buildDay rolls up a day from its events alone. The order of the steps is what makes it
// right whenever it is cut short, see dayTracker.
func (s *Store) buildDay(ctx context.Context, r *reporter, d siteDay) error {
	unlock, err := s.building.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if s.erasures.touch(d) {
		return errErasing
	}
	s.days.begin(d)
	states, err := r.dayStates(ctx, d.site, daysIn([]dayRange{{d.day, d.day}}))
	if err != nil {
		return err
	}
	var state dayState
	if len(states) > 0 {
		state = states[0]
	}
	e := dayEntry{What: dayBegun, Build: rand.Uint64() | 1, Gen: state.gen + 1, Marks: state.marks, At: s.now().Unix()}
	if err := r.addDays(ctx, e, d); err != nil {
		return err
	}
	figures, err := dayFigures(d)
	if err != nil {
		return err
	}
	data := map[string]any{"Site": d.site, "Day": d.day.String(), "Build": e.Build, "Figures": figures}
	if err := r.exec(ctx, "daily_build", data); err != nil {
		return err
	}
	lines, wide, err := r.widths(ctx, data)
	if err != nil {
		return err
	}
	if wide != 0 {
		data["Wide"], data["Cap"], data["Other"] = e.Build, r.limits.values, Other
		e.Build = rand.Uint64() | 1
		data["Build"] = e.Build
		if err := r.exec(ctx, "daily_cap", data); err != nil {
			return err
		}
		if lines, _, err = r.widths(ctx, data); err != nil {
			return err
		}
		if err := r.addDays(ctx, dayEntry{What: dayCapped, Build: e.Build, Gen: e.Gen, Marks: wide, At: e.At}, d); err != nil {
			return err
		}
	}
	data["Around"] = daysIn([]dayRange{{d.day - min(d.day, idsLive), d.day + idsLive}})
	beyond, err := r.number(ctx, "ids_beyond", data)
	if err != nil {
		return err
	}
	e.What, e.Lines, e.Longer = dayBuilt, lines, uint8(beyond)
	return r.addDays(ctx, e, d)
}

// widths returns the rows of a build, and the bits of the dimensions that have too many.
func (r *reporter) widths(ctx context.Context, data map[string]any) (lines, wide uint64, err error) {
	rows, err := r.query(ctx, "daily_widths", data)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var dim uint8
		var n uint64
		if err := rows.Scan(&dim, &n); err != nil {
			return 0, 0, r.wrap("daily_widths", err)
		}
		if lines += n; n > r.limits.values {
			wide |= 1 << dim
		}
	}
	return lines, wide, r.wrap("daily_widths", rows.Err())
}

// dayFigures counts a day by every dimension that has a rollup.
func dayFigures(d siteDay) (fragment, error) {
	sc := scope{zone: time.UTC}
	k := figureKeys{
		visits:   []fragment{pair(totalID, frag("''"))},
		unlinked: []fragment{pair(totalID, frag("''"))},
		engaged:  []fragment{pair(pageID, frag("toString(page)"))},
	}
	done := map[uint8]bool{}
	for _, name := range Dimensions() {
		if dim, ok := dimensionOf(name); ok && dim.id != 0 && !done[dim.id] {
			done[dim.id] = true
			k.add(dim.id, dim, sc, fragment{}, nil)
		}
	}
	branches, err := figureBranches(d.site, period{first: d.day, last: d.day}, nil, k)
	if err != nil {
		return fragment{}, err
	}
	return statement("figures", map[string]any{"Branches": branches, "Panels": false})
}

// SettleRollups builds again what has changed, and then removes every build that has been replaced,
// once the reports that may have begun to read it are over: so that after an erasure no number of a
// rollup is left that counts what is gone. It returns when the rows are deleted, which takes
// readers and some seconds; 0 is right where nobody else reads.
func (s *Store) SettleRollups(ctx context.Context, zone func(site string) *time.Location, readers time.Duration) error {
	if _, err := s.rollupRound(ctx, zone, false, true); err != nil {
		return err
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	r := s.builder(conn)
	stale, err := s.staleBuilds(ctx, r)
	if err != nil || len(stale) == 0 {
		return err
	}
	select {
	case <-time.After(readers):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.dropBuilds(ctx, stale); err != nil {
		return err
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(stale)), buildsTogether) {
		if err := r.waitUntilZero(ctx, "daily_left", map[string]any{"Builds": daySet{builds: part}.buildsIn()}); err != nil {
			return err
		}
	}
	return nil
}

// ReportTime is how long a report may take at most.
const ReportTime = 30 * time.Second

// tidyRollups looks whether the rollups are all there (a server may lose what it wrote last
// when the power fails), marks days where they are not, and removes builds that nothing
// reads any more.
func (s *Store) tidyRollups(ctx context.Context, drop bool) error {
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	r := s.builder(conn)
	stale, err := s.staleBuilds(ctx, r)
	if err != nil || !drop {
		return err
	}
	return r.dropBuilds(ctx, stale)
}

// staleBuilds returns the builds that are not named any more, and the days of their rows. It marks days whose
// rows are not all there.
func (s *Store) staleBuilds(ctx context.Context, r *reporter) (map[uint64]dayRange, error) {
	unlock, err := s.rolling.lock(ctx) // a build under way is not named yet
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.days.load(ctx, r); err != nil {
		return nil, err
	}
	states, err := r.dayStates(ctx, "", frag("1"))
	if err != nil {
		return nil, err
	}
	rows, err := r.query(ctx, "daily_lines", nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lines := map[uint64]uint64{}
	spans := map[uint64]dayRange{}
	for rows.Next() {
		var build, n uint64
		var first, last uint16
		if err := rows.Scan(&build, &n, &first, &last); err != nil {
			return nil, r.wrap("daily_lines", err)
		}
		lines[build], spans[build] = n, dayRange{event.Day(first), event.Day(last)}
	}
	if err := rows.Err(); err != nil {
		return nil, r.wrap("daily_lines", err)
	}
	var broken []siteDay
	for _, d := range states {
		if d.closed() && !d.sealed && lines[d.build] != d.lines {
			broken = append(broken, d.siteDay)
		}
		if d.month != 0 && lines[d.month] != d.monthLines { // named no more, it is added up again
			if err := r.addDays(ctx, dayEntry{What: dayMonth, Gen: d.gen + 1, At: s.now().Unix()}, d.siteDay); err != nil {
				return nil, err
			}
		}
		delete(spans, d.build)
		delete(spans, d.month)
	}
	if len(broken) > 0 {
		s.log.Warn("rollups are incomplete and will be built again", "days", len(broken))
		if err := r.mark(ctx, broken, s.now()); err != nil {
			return nil, err
		}
	}
	return spans, nil
}

const buildsTogether = 2000 // in one statement

func (r *reporter) dropBuilds(ctx context.Context, stale map[uint64]dayRange) error {
	span := dayRange{first: ^event.Day(0)}
	for _, days := range stale {
		span.first, span.last = min(span.first, days.first), max(span.last, days.last)
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(stale)), buildsTogether) {
		x := daySet{builds: part}
		if err := r.exec(ctx, "daily_drop", map[string]any{"Days": daysIn([]dayRange{span}), "Builds": x.buildsIn()}); err != nil {
			return fmt.Errorf("removing old builds: %w", err)
		}
	}
	return nil
}
