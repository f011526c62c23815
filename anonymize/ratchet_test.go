package anonymize

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	visitor = netip.MustParseAddr("203.0.113.77")
	agent   = []byte("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	noon    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	today   = dayOf(noon)
)

// node is a ratchet with a clock and zones of its own.
type node struct {
	*Ratchet
	path  string
	clock atomic.Int64
	zones atomic.Pointer[[]*time.Location]
	logs  bytes.Buffer
}

func (n *node) options(seed []byte) Options {
	return Options{
		Now:   func() time.Time { return time.Unix(n.clock.Load(), 0) },
		Log:   slog.New(slog.NewTextHandler(&n.logs, nil)),
		Zones: func() []*time.Location { return *n.zones.Load() },
		Seed:  bytes.Clone(seed),
	}
}

func (n *node) set(t time.Time) { n.clock.Store(t.Unix()) }

func newNode(t testing.TB, now time.Time, seed []byte, zones ...*time.Location) *node {
	t.Helper()
	return openNode(t, filepath.Join(t.TempDir(), "keys"), now, seed, zones...)
}

func openNode(t testing.TB, path string, now time.Time, seed []byte, zones ...*time.Location) *node {
	t.Helper()
	n := &node{path: path}
	n.set(now)
	n.zones.Store(&zones)
	var err error
	if n.Ratchet, err = Open(path, n.options(seed)); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) file(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (n *node) advance(t testing.TB, to time.Time) {
	t.Helper()
	n.set(to)
	if err := n.Advance(); err != nil {
		t.Fatal(err)
	}
}

func (n *node) id(w Window, day int) uint64 { return n.ID("example.org", w, day, visitor, agent) }

// Live returns the oldest and the newest date for which ids of their own are given.
func (r *Ratchet) Live() (oldest, newest int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	oldest = r.state.chains[Day].period
	return oldest, max(oldest, r.newest)
}

var testSeed = []byte("a seed of thirty-two bytes, test")

func TestIDDependsOnWhoAndWhereOnly(t *testing.T) {
	n := newNode(t, noon, nil)
	base := n.id(Day, today)
	n.set(noon.Add(11 * time.Hour))
	same := map[string]uint64{
		"later the same day":  n.id(Day, today),
		"IPv4-mapped IPv6":    n.ID("example.org", Day, today, netip.MustParseAddr("::ffff:203.0.113.77"), agent),
		"mapped, with a zone": n.ID("example.org", Day, today, netip.MustParseAddr("::ffff:203.0.113.77").WithZone("eth0"), agent),
	}
	for what, id := range same {
		if id != base {
			t.Errorf("%s: another id", what)
		}
	}
	seen := map[uint64]string{base: "the visitor"}
	for what, id := range map[string]uint64{
		"another site":            n.ID("example.net", Day, today, visitor, agent),
		"another address":         n.ID("example.org", Day, today, visitor.Next(), agent),
		"another agent":           n.ID("example.org", Day, today, visitor, agent[1:]),
		"no agent":                n.ID("example.org", Day, today, visitor, nil),
		"no address":              n.ID("example.org", Day, today, netip.Addr{}, agent),
		"a byte moved to the end": n.ID("example.or", Day, today, visitor, append([]byte("g"), agent...)),
		"the week's id":           n.id(Week, today),
		"the month's id":          n.id(Month, today),
	} {
		if id == 0 {
			t.Errorf("%s: id 0", what)
		}
		if other, dup := seen[id]; dup {
			t.Errorf("%s and %s share an id", what, other)
		}
		seen[id] = what
	}
}

func TestNextDayIsUnlinkable(t *testing.T) {
	n := newNode(t, noon, nil)
	const visitors = 20000
	ids := func(day int) (out [visitors]uint64) {
		for i := range out {
			a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			out[i] = n.ID("example.org", Day, day, a, agent)
		}
		return out
	}
	first := ids(today)
	n.advance(t, noon.AddDate(0, 0, 1))
	second := ids(today + 1)

	known := map[uint64]bool{}
	for _, id := range first {
		known[id] = true
	}
	if len(known) != visitors {
		t.Errorf("%d visitors have %d ids", visitors, len(known))
	}
	// If the days' ids are independent, each bit of their difference is a fair coin, and so
	// is the order of two visitors.
	var ones [64]int
	order := 0
	for i := range first {
		if known[second[i]] {
			t.Fatal("an id of the day before came back")
		}
		for x := first[i] ^ second[i]; x != 0; x &= x - 1 {
			ones[bits.TrailingZeros64(x)]++
		}
		j := (i + 1) % visitors
		if (first[i] < first[j]) == (second[i] < second[j]) {
			order++
		}
	}
	fair := func(what string, n int) {
		// Six standard deviations of a binomial(20000, 1/2): once in 5e8.
		if d := n - visitors/2; d < -424 || d > 424 {
			t.Errorf("%s: %d of %d", what, n, visitors)
		}
	}
	for b, n := range ones {
		fair(fmt.Sprintf("bit %d differs", b), n)
	}
	fair("order kept", order)
}

func TestWindows(t *testing.T) {
	// A Sunday that ends both a week and, the day after, a month.
	sunday := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	n := newNode(t, sunday.AddDate(0, 0, -6), nil)
	type ids struct{ day, week, month uint64 }
	at := func(days int) ids {
		date := sunday.AddDate(0, 0, days)
		n.advance(t, date)
		d := dayOf(date)
		return ids{n.id(Day, d), n.id(Week, d), n.id(Month, d)}
	}
	mon, sun, nextMon, firstOfDec := at(-6), at(0), at(1), at(2)
	if mon.day == sun.day || sun.day == nextMon.day {
		t.Error("two dates share a day's id")
	}
	if mon.week != sun.week || sun.week == nextMon.week || nextMon.week != firstOfDec.week {
		t.Error("a week's id does not last from Monday to Sunday")
	}
	if mon.month != nextMon.month || nextMon.month == firstOfDec.month {
		t.Error("a month's id does not last for the month")
	}
	for day := range 30000 {
		for w := Day; w < windows; w++ {
			p := w.period(day)
			if f := w.firstDay(p); f > day || w.firstDay(p+1) <= day {
				t.Fatalf("%s %d (from day %d) does not hold day %d", w, p, f, day)
			}
		}
		y, wk := dayTime(day).ISOWeek()
		if y2, wk2 := dayTime(Week.firstDay(Week.period(day)) + 3).ISOWeek(); y2 != y || wk2 != wk {
			t.Fatalf("day %d is in week %d of %d, not %d of %d", day, wk, y, wk2, y2)
		}
	}
}

func TestTwoNodesFromOneSeedAgree(t *testing.T) {
	east, west := time.FixedZone("", 14*3600), time.FixedZone("", -12*3600)
	a := newNode(t, noon.AddDate(0, 0, -40), testSeed, east, west)
	for d := -39; d <= 0; d++ {
		a.advance(t, noon.AddDate(0, 0, d))
	}
	b := newNode(t, noon, testSeed)
	copied := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(copied, a.file(t), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openNode(t, copied, noon.Add(time.Hour), nil, west)
	other := newNode(t, noon, nil)
	for w := Day; w < windows; w++ {
		if a.id(w, today) != b.id(w, today) {
			t.Errorf("%s: two nodes from one seed differ", w)
		}
		if a.id(w, today) != c.id(w, today) {
			t.Errorf("%s: a node that joined later differs", w)
		}
		if a.id(w, today) == other.id(w, today) {
			t.Errorf("%s: a node with a seed of its own agrees", w)
		}
	}
	o := a.options(testSeed)
	if _, err := Open(filepath.Join(t.TempDir(), "keys"), o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(o.Seed, make([]byte, len(testSeed))) {
		t.Error("Open left the seed in memory")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "keys"), a.options([]byte("short"))); err == nil {
		t.Error("a seed of 5 bytes was accepted")
	}
}

// From everything on disk on day N, no id of day N-2 can be computed.
func TestStateCannotReproduceThePast(t *testing.T) {
	zones := []*time.Location{time.FixedZone("", 14*3600), time.UTC, time.FixedZone("", -12*3600)}
	end := noon.Add(-time.Hour) // 11:00: UTC-12 is still in yesterday
	start := end.AddDate(0, 0, -75)
	n := newNode(t, start, testSeed, zones...)
	past := map[Window]map[int]uint64{Day: {}, Week: {}, Month: {}} // by period
	for d := start; !d.After(end); d = d.Add(6 * time.Hour) {
		n.advance(t, d)
		for w := range past {
			past[w][w.period(dayOf(d))] = n.id(w, dayOf(d))
		}
	}
	entries, err := os.ReadDir(filepath.Dir(n.path))
	if err != nil || len(entries) != 1 {
		t.Fatalf("beside the key file there are %v (%v)", entries, err)
	}
	disk := n.file(t)

	for w := Day; w < windows; w++ {
		// Every 32-byte string in the file, in either form, is tried as the key of a ratchet and
		// turned for longer than the past is long.
		reach := map[uint64]bool{}
		var found []byte
		try := func(key []byte) {
			k := bytes.Clone(key)
			for range 100 {
				reach[indID(k, w, "example.org", visitor, string(agent))] = true
				k = indNext(k, w)
			}
		}
		for i := 0; i+64 <= len(disk); i++ {
			if k, err := hex.DecodeString(string(disk[i : i+64])); err == nil {
				found = k
				try(k)
			}
		}
		if found == nil {
			t.Fatal("no key was found in the file: the search is broken")
		}
		if !reach[past[w][w.period(today)]] {
			t.Fatalf("%s: the present id cannot be computed from the file: the search is broken", w)
		}
		live := w.period(today - 1)
		gone := 0
		for p, id := range past[w] {
			if p < live {
				gone++
				if reach[id] {
					t.Errorf("%s: the id of period %d can be computed from the state of %d", w, p, w.period(today))
				}
			}
		}
		if gone == 0 {
			t.Fatalf("%s: no past period was tried", w)
		}
		k := indKey(testSeed, w, 0)
		for p := 0; p < live; p++ {
			if holds(disk, k) {
				t.Errorf("%s: the file holds the key of period %d", w, p)
			}
			k = indNext(k, w)
		}
		if !holds(disk, k) {
			t.Errorf("%s: the file does not hold the oldest live key", w)
		}
	}
	if holds(disk, testSeed) {
		t.Error("the file holds the seed")
	}
	if n.id(Day, today-2) != n.id(Day, today-1) {
		t.Error("a hit of an erased date is not counted under the oldest live one")
	}
}

// holds reports whether b holds key in any form that it could be written in.
func holds(b, key []byte) bool {
	h := hex.EncodeToString(key)
	for _, form := range []string{string(key), h, strings.ToUpper(h),
		base64.RawStdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)} {
		if bytes.Contains(b, []byte(form)) {
			return true
		}
	}
	return false
}

func TestErasedKeysAreOverwritten(t *testing.T) {
	n := newNode(t, noon, testSeed)
	n.id(Day, today)
	old, err := os.Open(n.path) // keeps the old file's blocks reachable
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	n.mu.RLock()
	held := n.siteKeys[siteKeyID{"example.org", Day, today}]
	n.mu.RUnlock()
	if held == nil || *held == (sipKey{}) {
		t.Fatal("the site's key is not held")
	}
	before := n.file(t)
	n.advance(t, noon.AddDate(0, 0, 1))
	got := make([]byte, len(before)+1)
	m, _ := old.ReadAt(got, 0)
	if m != len(before) || len(bytes.Trim(got, "\x00")) != 0 {
		t.Errorf("%d bytes of the replaced file are left: %q", m, got)
	}
	if *held != (sipKey{}) {
		t.Error("the erased site key is still in memory")
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	for id := range n.siteKeys {
		if id.window == Day && id.period <= today {
			t.Errorf("the key of %+v is still held", id)
		}
	}
	if bytes.Equal(n.state.chains[Day].key[:], indKey(testSeed, Day, today)) {
		t.Error("the erased key is still in memory")
	}
}

func TestIDIsSafeWhileKeysAdvance(t *testing.T) {
	n := newNode(t, noon, testSeed)
	want := map[int]uint64{}
	for d := today; d < today+40; d++ {
		want[d] = indID(indKey(testSeed, Day, d), Day, "example.org", visitor, string(agent))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				from, _ := n.Live()
				got := n.id(Day, from)
				to, _ := n.Live()
				ok := false
				for d := from; d <= to; d++ {
					ok = ok || got == want[d]
				}
				if !ok {
					t.Errorf("between %d and %d the id was of neither", from, to)
					return
				}
			}
		})
	}
	for d := 1; d < 40; d++ {
		n.advance(t, noon.AddDate(0, 0, d))
	}
	close(stop)
	wg.Wait()
}

func TestIDAllocatesNothing(t *testing.T) {
	n := newNode(t, noon, nil)
	n.id(Week, today)
	if a := testing.AllocsPerRun(100, func() { n.id(Week, today) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func TestErasedIsTold(t *testing.T) {
	now := noon
	var told []string
	r, err := Open(filepath.Join(t.TempDir(), "keys"), Options{
		Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Erased: func(w Window, oldest time.Time) { told = append(told, w.String()+" "+oldest.Format(time.DateOnly)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := r.Advance(); err != nil {
			t.Fatal(err)
		}
		if err := r.Advance(); err != nil { // again: nothing more to erase
			t.Fatal(err)
		}
		now = now.AddDate(0, 0, 1)
	}
	days, weeks, months := 0, 0, 0
	for i, s := range told {
		if slices.Contains(told[:i], s) {
			t.Errorf("%s is told twice", s)
		}
		switch w, date, _ := strings.Cut(s, " "); w {
		case "day":
			days++
		case "week":
			weeks++
			if d, err := time.Parse(time.DateOnly, date); err != nil || d.Weekday() != time.Monday {
				t.Errorf("a week begins on %s", date)
			}
		case "month":
			months++
			if !strings.HasSuffix(date, "-01") {
				t.Errorf("a month begins on %s", date)
			}
		}
	}
	if days != 39 || weeks < 5 || weeks > 6 || months < 1 || months > 2 {
		t.Errorf("%d days, %d weeks and %d months were told: %v", days, weeks, months, told)
	}
}
