package anonymize

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// How far the clock may have moved since it was last seen. A key that was passed over is gone, so a
// clock that is wrong must not move the keys: were it set right again, everybody would keep
// one id until the date to which they moved.
const (
	// MaxStep bounds one step of a running program, in days: it may have been
	// suspended, but a longer leap is a wrong clock more often than not.
	MaxStep = 7
	// MaxDowntime bounds the time between two runs, in days. A program that really was
	// down for longer loses nothing by new keys, which is what the error of [Open] says.
	MaxDowntime = 100
)

// ErrClock is wrapped by errors that say the clock cannot be right, or was wrong before.
// The keys stay as they were.
var ErrClock = errors.New("the clock does not fit the visitor keys")

// Options are what a [Ratchet] needs from its surroundings.
type Options struct {
	Now func() time.Time // required
	Log *slog.Logger     // required

	// Zones returns the time zones of the configured sites, which decide how long a date
	// stays live. It is asked anew at every step; none at all means UTC. It is called with
	// locks held and must not call the ratchet.
	Zones func() []*time.Location

	// Seed makes the first keys where there is no state file yet; without it they are
	// random. Nodes started from one seed give the same ids, whenever each of them
	// starts. Open overwrites it with zeros. Whoever else keeps it can recompute every id: use it to
	// start several nodes at once and destroy it, and let later nodes start from a copy of a
	// running node's state file instead. At least 16 bytes.
	Seed []byte

	// Erased, if not nil, is called after a key was erased for good: the window and the first date
	// whose ids can still be made. It must not call the Ratchet.
	Erased func(w Window, oldest time.Time)
}

// Ratchet gives visitor ids, under keys that move forward with the calendar and never back.
//
// For each window it holds the key of the oldest period in which any configured site still
// is; those of later periods follow from it. All calendar dates count, not hours: with sites from UTC+14
// to UTC-12 three dates are live at once. A hit dated before the oldest live period
// is counted under that one, and a hit dated after the newest (a clock that was
// refused) under that one.
//
// The state file belongs to one running program. To let another node give the same ids, copy
// the file to it before its first start: it then can compute no id older than the ones
// the first node could at that moment. Backups of the file undo the erasure: leave it out of them.
//
// Erased keys are overwritten wherever this package held them. What the standard library's HMAC
// worked with stays in the process's memory until that is reused, and is never on disk unless the
// system swaps or dumps the process: turn both off where that matters.
//
// Its methods may be called at the same time.
type Ratchet struct {
	path   string
	now    func() time.Time
	log    *slog.Logger
	zones  func() []*time.Location
	erased func(Window, time.Time)

	step sync.Mutex // held by the one step in progress, disk writes included

	mu       sync.RWMutex // guards what follows; never held during disk writes
	state    state        // what memory and, but for failed writes, the file hold
	newest   int          // the newest date that the clock was believed to be at anywhere
	checked  int64        // Unix seconds: the last step
	due      int64        // Unix seconds: the next step; one is due too if the clock is before checked
	siteKeys map[siteKeyID]*sipKey
}

type siteKeyID struct {
	site   string
	window Window
	period int
}

const (
	// maxSiteKeys bounds the cache for a caller that passes unconfigured names.
	maxSiteKeys = 16384
	// retry is the number of seconds until a failed step is tried again.
	retry = 60
	// slack is the number of seconds that the clock may go back unnoticed, and that lie between two
	// steps for dates that are not live.
	slack = 5
)

// Open reads the state file at path, or makes it where there is none. It moves the keys to
// the present date, so that a later crash cannot give them back.
//
// Where the file is damaged (the error wraps [ErrState]) or is too far in the past or the future to be
// believed ([ErrClock]) the error says what to do; the file is left as it is.
func Open(path string, o Options) (*Ratchet, error) {
	if o.Now == nil || o.Log == nil {
		return nil, errors.New("anonymize: Options.Now and Options.Log are required")
	}
	defer clear(o.Seed)
	r := &Ratchet{path: path, now: o.Now, log: o.Log, zones: o.Zones, erased: o.Erased, siteKeys: map[siteKeyID]*sipKey{}}
	if err := removeTemp(path); err != nil {
		return nil, fmt.Errorf("anonymize: removing what a crash left beside the key file: %w", err)
	}
	s, err := readState(path)
	if errors.Is(err, ErrState) {
		return nil, fmt.Errorf("anonymize: %s: %w. Put back a copy from another node of the same day, or remove the file "+
			"and start again: new keys are made, and today's visitors are counted a second time", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("anonymize: reading the key file: %w", err)
	}
	now := r.now()
	if now.Unix() < 0 {
		return nil, fmt.Errorf("anonymize: %w: it shows a date before 1970", ErrClock)
	}
	if s == nil {
		return r, r.create(now, o.Seed)
	}
	if len(o.Seed) > 0 {
		o.Log.Warn("visitor keys exist already, the seed is not used")
	}
	r.state = *s
	clearState(s)
	r.newest = r.state.seen
	if gap := dayOf(now.UTC()) - r.state.seen; gap > MaxDowntime {
		return nil, fmt.Errorf("anonymize: %w: it shows %s, the keys in %s were last used on %s, and more than %d days "+
			"are not believed. If the clock is wrong, set it right. If it is right, remove the file: new keys are made",
			ErrClock, now.UTC().Format(time.DateOnly), path, dayTime(r.state.seen).Format(time.DateOnly), MaxDowntime)
	}
	r.step.Lock()
	defer r.step.Unlock()
	if err := r.advance(now, MaxDowntime); errors.Is(err, ErrClock) {
		o.Log.Warn("visitor keys", "error", err)
	} else if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Ratchet) create(now time.Time, seed []byte) error {
	switch {
	case len(seed) == 0:
		seed = make([]byte, 32)
		rand.Read(seed) // never fails
		defer clear(seed)
	case len(seed) < 16:
		return fmt.Errorf("anonymize: a seed of %d bytes can be guessed: at least 16", len(seed))
	}
	oldest, newest, next := r.live(now)
	cs, err := startChains(seed, oldest)
	if err != nil {
		return err
	}
	s := state{seen: dayOf(now.UTC()), chains: cs}
	defer clear(cs[:])
	if _, err := replaceState(r.path, &s); err != nil {
		return fmt.Errorf("anonymize: writing the key file: %w", err)
	}
	r.state, r.newest, r.checked, r.due = s, newest, now.Unix(), next
	clearState(&s)
	r.log.Info("visitor keys made", "oldest", dayTime(oldest).Format(time.DateOnly))
	return nil
}

// live returns the oldest and the newest date of the configured sites at the instant now, and
// when (Unix seconds) either may change.
func (r *Ratchet) live(now time.Time) (oldest, newest int, next int64) {
	zones := []*time.Location{time.UTC}
	if r.zones != nil {
		if z := r.zones(); len(z) > 0 {
			zones = z
		}
	}
	for i, z := range zones {
		t := now.In(z)
		d := max(dayOf(t), 0)
		n := nextDate(t)
		if i == 0 {
			oldest, newest, next = d, d, n
			continue
		}
		oldest, newest, next = min(oldest, d), max(newest, d), min(next, n)
	}
	return oldest, newest, next
}

// nextDate returns when (Unix seconds) t's location next shows another date.
func nextDate(t time.Time) int64 {
	y, m, d := t.Date()
	next := time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
	for today := dayOf(t); dayOf(next) == today; { // where clocks are put forward at midnight
		next = next.Add(15 * time.Minute)
	}
	return next.Unix()
}

// Advance moves the keys to the present dates and erases those that no site needs any
// more. Call it every minute or so; [Ratchet.ID] does it too when a date has changed.
//
// An error that wraps [ErrClock] means that the clock has leapt by more than [MaxStep] days, and
// the keys did not follow, or that it stands before the oldest live period, which keeps its key until the
// clock catches up. With any other error the file could not be replaced, so that an older key may still
// be in it. Ids are right all the same, except those given under a wrong clock. Raise an alert and
// call it again.
func (r *Ratchet) Advance() error {
	r.step.Lock()
	defer r.step.Unlock()
	return r.advance(r.now(), MaxStep)
}

// advanceIfDue is Advance for the first of many callers that find a step due.
func (r *Ratchet) advanceIfDue(day int) {
	r.step.Lock()
	defer r.step.Unlock()
	now := r.now()
	r.mu.RLock()
	due := r.isDue(now.Unix(), day)
	r.mu.RUnlock()
	if !due {
		return
	}
	if err := r.advance(now, MaxStep); err != nil {
		r.log.Error("visitor keys", "error", err)
	}
}

// isDue reports whether a step should be made before an id for the date is given: at a change of
// dates, after the clock went back, and when a date comes that is new (a site was added in a zone
// further east). r.mu is held.
func (r *Ratchet) isDue(now int64, day int) bool {
	return now >= r.due || now < r.checked-slack || day > r.newest && now >= r.checked+slack
}

// advance is called with r.step held.
func (r *Ratchet) advance(now time.Time, maxDays int) error {
	oldest, newest, next := r.live(now)
	seen := dayOf(now.UTC())

	r.mu.Lock()
	r.checked, r.due = now.Unix(), now.Unix()+retry
	cur := r.state
	if gap := seen - max(cur.seen, r.newest-1); gap > maxDays {
		r.mu.Unlock()
		return fmt.Errorf("anonymize: %w: it leapt by %d days to %s. Set it right; if it is right, restart",
			ErrClock, gap, dayTime(seen).Format(time.DateOnly))
	}
	r.newest = max(r.newest, newest)
	r.mu.Unlock()

	defer func() { clearState(&cur) }()
	to := cur
	defer func() { clearState(&to) }()
	to.seen = max(cur.seen, seen)
	for w := Day; w < windows; w++ {
		if err := to.chains[w].advance(w, w.period(oldest)); err != nil {
			return err
		}
	}
	var failed error
	if to != cur {
		done, err := replaceState(r.path, &to)
		if err != nil {
			failed = fmt.Errorf("anonymize: replacing the key file: %w", err)
		}
		if !done {
			return failed
		}
	}
	r.mu.Lock()
	r.state = to
	for id, k := range r.siteKeys {
		if id.period < to.chains[id.window].period {
			*k = sipKey{}
			delete(r.siteKeys, id)
		}
	}
	if failed == nil {
		r.due = next
	}
	r.mu.Unlock()
	if failed != nil {
		return failed
	}
	if r.erased != nil {
		for w := Day; w < windows; w++ {
			if to.chains[w].period != cur.chains[w].period {
				r.erased(w, dayTime(w.firstDay(to.chains[w].period)))
			}
		}
	}
	if behind := to.chains[Day].period - newest; behind > 2 {
		return fmt.Errorf("anonymize: %w: it shows %s, and the keys are %d days ahead. Hits get the ids of that day until "+
			"the clock catches up. If it was wrong before, stop, remove %s and start again: new keys are made",
			ErrClock, dayTime(seen).Format(time.DateOnly), behind, r.path)
	}
	return nil
}

func clearState(s *state) { *s = state{} }

// Oldest returns by window the first day of the oldest period of which an id can still be made.
func (r *Ratchet) Oldest() map[Window]time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := map[Window]time.Time{}
	for w := Day; w < windows; w++ {
		out[w] = dayTime(w.firstDay(r.state.chains[w].period))
	}
	return out
}

// Format implements [fmt.Formatter]: it prints the type's name and nothing of the keys.
func (r *Ratchet) Format(f fmt.State, _ rune) { fmt.Fprint(f, "anonymize.Ratchet") }

// LogValue implements [slog.LogValuer] likewise.
func (r *Ratchet) LogValue() slog.Value { return slog.StringValue("anonymize.Ratchet") }
