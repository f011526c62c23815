package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// The crash test: numbered hits are sent to the built program while it, its database and
// its disk are hurt at moments that a seed decides, and in the end what is stored is compared
// with what was acknowledged. FOOTFALL_SOAK_SECONDS makes it longer and FOOTFALL_SEED another.
const (
	soakDefaultTime = 24 * time.Second
	soakDefaultSeed = 20261124
)

// soakSeed is the same for the same environment: a failing run is repeated with its seed.
func soakSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("FOOTFALL_SEED")
	if text == "" {
		return soakDefaultSeed
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("FOOTFALL_SEED: %v", err)
	}
	return seed
}

func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FOOTFALL_SOAK_SECONDS")
	if text == "" {
		return soakDefaultTime
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("FOOTFALL_SOAK_SECONDS: %q is no number of seconds", text)
	}
	return time.Duration(n) * time.Second
}

// soakSites have midnights far apart, none of them the program's own.
var soakSites = []struct{ domain, zone string }{
	{"example.org", "Asia/Kolkata"},
	{"example.net", "America/St_Johns"},
	{"example.com", "Pacific/Kiritimati"},
}

// soakConfig is what the program is configured with. The spool is so small that a database
// that is away for some seconds fills it.
func soakConfig(sync, keep string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "trusted_proxies: [127.0.0.1]\nspool: {sync: %s, max_bytes: 1MiB, keep: %s}\nsites:\n", sync, keep)
	for _, s := range soakSites {
		fmt.Fprintf(&b, "  - {domain: %s, timezone: %s}\n", s.domain, s.zone)
	}
	return b.String()
}

// TestCrashSearch: whatever is killed, stopped, cut off or full, and whenever, what was
// acknowledged is stored exactly once, and what was refused is not.
func TestCrashSearch(t *testing.T) {
	for _, kind := range []string{"embedded", "server"} {
		t.Run(kind, func(t *testing.T) { searchCrashes(t, kind, soakSeed(t), soakTime(t)) })
	}
}

func searchCrashes(t *testing.T, kind string, seed uint64, lasts time.Duration) {
	t.Logf("seed %d, %s: FOOTFALL_SEED=%d FOOTFALL_SOAK_SECONDS=%d go test -run 'TestCrashSearch/%s' ./cmd/footfall",
		seed, lasts, seed, int(lasts.Seconds()), kind)
	v := newVictim(t, seed, true)
	if kind == "server" {
		dir := t.TempDir()
		if v.serverDisk = newSoakDisk(t); v.serverDisk.dir != "" {
			dir = v.serverDisk.dir
		}
		v.server = storetest.StartServerIn(t, dir)
		v.proxy = newSoakProxy(t, v.server.Addr())
		v.database = "soak"
		v.args = append(v.args, "--store", "clickhouse://default@"+v.proxy.addr()+"/"+v.database)
	}
	faults := newSchedule(rand.New(rand.NewPCG(seed, 1)), lasts, v.kinds())
	load := newSoakLoad(v, seed)

	v.began = time.Now()
	v.launch()
	load.begin(8)
	v.run(faults, lasts)
	load.end()
	v.heal()
	v.drain()
	v.stopProgram() // segments that are stored and could not be removed come once more
	v.drain()

	v.replay()
	stored := v.stored()
	v.checkReports(stored)
	v.checkBooks(stored, load)
	sum := judge(load.hits(), stored, v.mayCountAgain)
	t.Logf("%s seed %d: %d acknowledged, %d refused, %d unanswered, %d resent; %d kills in %d starts (%d on a hurt disk ended); faults: %s (%d file operations failed); %d rows; lost %d, doubled %d, doubled by resending over a restart %d, counted again after the clock went far %d, wrong %d",
		kind, seed, sum.acknowledged, sum.refused, sum.unanswered, sum.resent, v.kills(), v.launches, v.ended, v.counts(), v.panel.failed.Load(), len(stored),
		len(sum.lost), len(sum.doubled), len(sum.resentDoubled), sum.again, len(sum.wrong))
	again := sum.resentDoubled
	if said := v.out.String(); len(again) > 0 && strings.Contains(said, "visits under way are restored when it does") && strings.Contains(said, "spool: note failed") {
		// Until a late database has told which ids there were, the program cannot know those that a failing disk did not take.
		t.Logf("%d were counted twice, having been sent again while neither disk nor database could tell a new program of them: %s", len(again), again[0])
		again = nil
	}
	for what, list := range map[string][]string{
		"lost": sum.lost, "doubled": sum.doubled, "counted twice, having been sent again with its id": again, "wrong": sum.wrong,
	} {
		for i, one := range list {
			if i == 10 {
				t.Errorf("%s: and %d more", what, len(list)-i)
				break
			}
			t.Errorf("%s: %s", what, one)
		}
	}
	if sum.acknowledged < 100 {
		t.Errorf("only %d hits were acknowledged: nothing was shown", sum.acknowledged)
	}
	if t.Failed() {
		t.Logf("what was done:\n%s", strings.Join(v.diary, "\n"))
	}
}

// verdicts is what comparing hits with rows found.
type verdicts struct {
	acknowledged, refused, unanswered, resent int
	again                                     int // doubled, having been sent again when nothing was promised any more
	lost, doubled, resentDoubled, wrong       []string
}

// judge compares what the senders were told with the rows. mayCountAgain (nil: never) tells of a hit that was sent
// again that its id was not to be known any more.
func judge(hits []*soakHit, rows []soakRow, mayCountAgain func(h *soakHit, site string) bool) (v verdicts) {
	times := map[int]map[string]int{} // rows by number and site
	known := map[int]*soakHit{}
	for _, h := range hits {
		known[h.n] = h
	}
	for _, r := range rows {
		h := known[r.n]
		if h == nil {
			v.wrong = append(v.wrong, fmt.Sprintf("a row of number %d, which was never sent: %+v", r.n, r))
			continue
		}
		if why := h.differs(r); why != "" {
			v.wrong = append(v.wrong, fmt.Sprintf("%s: %s: %+v", h, why, r))
		}
		if times[r.n] == nil {
			times[r.n] = map[string]int{}
		}
		times[r.n][r.site]++
	}
	for _, h := range hits {
		switch {
		case h.counted > 0:
			v.acknowledged++
		case h.unanswered > 0:
			v.unanswered++
		case h.refused > 0:
			v.refused++
		}
		if h.attempts() > 1 {
			v.resent++
		}
		for _, site := range h.sites {
			n := times[h.n][site]
			switch {
			case n == 0 && h.counted+h.duplicates > 0:
				v.lost = append(v.lost, h.String()+" at "+site)
			case n == 1 && h.counted+h.duplicates+h.unanswered == 0 && len(h.sites) == 1:
				v.doubled = append(v.doubled, fmt.Sprintf("%s at %s was refused, and is stored", h, site))
			case n > 1 && n <= h.attempts() && mayCountAgain != nil && mayCountAgain(h, site):
				v.again++
			case n > 1 && h.attempts() > 1:
				v.resentDoubled = append(v.resentDoubled, fmt.Sprintf("%s at %s: %d rows", h, site, n))
			case n > 1:
				v.doubled = append(v.doubled, fmt.Sprintf("%s at %s: %d rows", h, site, n))
			}
		}
	}
	return v
}
