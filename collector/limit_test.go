package collector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
)

func networkOf(s string) anonymize.Network {
	return anonymize.Truncate(netip.MustParseAddr(s), anonymize.Bits4, anonymize.Bits6)
}

// TestRateLimit goes through all three doors: what is too much gets its success answer, says why,
// and leaves other networks and what is dropped for another reason alone.
func TestRateLimit(t *testing.T) {
	const limit = 6
	r := newRig(t, func(o *Options) { o.RateLimit = limit })
	const page = `{"n":"pageview","u":"https://example.org/","d":"example.org"}`
	from := func(addr string) string { return "X-Forwarded-For: " + addr }
	post := func(why, body, want string, headers ...string) {
		t.Helper()
		a := r.post(t, body, headers...)
		if got := a.Header.Get("X-Footfall-Dropped"); a.StatusCode != 202 || a.body != "ok" || got != want {
			t.Errorf("%s: answered %d %q, dropped %q instead of %q", why, a.StatusCode, a.body, got, want)
		}
	}
	for i := range limit {
		post("robots use nothing up", page, "bot", from("203.0.113.9"), "User-Agent: "+google)
		post("within the limit", page, "", from(fmt.Sprintf("203.0.113.%d", i)))
	}
	post("beyond it, of another address", page, "rate", from("203.0.113.200"))
	post("still a robot", page, "bot", from("203.0.113.9"), "User-Agent: "+google)
	post("another network", page, "", from("203.0.114.1"))
	post("an IPv6 network", page, "", from("2001:db8:7:1::1"))
	if a := r.do(t, "GET", "/ff.gif?d=example.org&u=https://example.org/", "", from("203.0.113.1")); a.StatusCode != 200 ||
		a.Header.Get("X-Footfall-Dropped") != "rate" || !strings.HasPrefix(a.body, "GIF89a") {
		t.Errorf("the pixel answered %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	if n := len(r.spool.take(t)); n != limit+2 {
		t.Errorf("%d events, want %d", n, limit+2)
	}
	if got := r.metric(t, "footfall_hits_total", "source", "script", "outcome", "dropped", "reason", "rate"); got != 1 {
		t.Errorf("%v script hits counted as dropped", got)
	}

	// Each of the sites that a hit names is a hit.
	for range limit / 2 {
		post("two sites", `{"n":"pageview","u":"https://example.org/","d":"example.org,localhost"}`, "", from("198.51.100.1"))
	}
	post("two sites, too many", `{"n":"pageview","u":"https://example.org/","d":"example.org,localhost"}`, "rate", from("198.51.100.1"))

	// A hit that was dropped may be sent again with its id.
	const named = `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"again"}`
	post("too many, with an id", named, "rate", from("203.0.113.1"))
	r.clock.add(time.Minute / limit)
	post("the same, later", named, "", from("203.0.113.1"))
	post("and once more", page, "rate", from("203.0.113.1"))

	// One that counts already uses nothing up, and is none too many.
	r.clock.add(time.Minute)
	const known = `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"known"}`
	post("with an id", known, "", from("203.0.113.1"))
	for i := range limit - 1 {
		post("the same again", known, "duplicate", from("203.0.113.1"))
		post(fmt.Sprintf("%d of the rest", i), page, "", from("203.0.113.1"))
	}
	post("too many", page, "rate", from("203.0.113.1"))
	post("the same, beyond the limit", known, "duplicate", from("203.0.113.1"))
}

// TestRateLimitIsOff by default, for trusted proxies' own addresses, and after it was switched off.
func TestRateLimitIsOff(t *testing.T) {
	const page = `{"n":"pageview","u":"https://example.org/","d":"example.org"}`
	send := func(r *rig, n int, header string) (counted int) {
		for range n {
			if r.post(t, page, header).Header.Get("X-Footfall-Dropped") == "" {
				counted++
			}
		}
		return counted
	}
	if n := send(newRig(t), 50, "X-Forwarded-For: 203.0.113.1"); n != 50 {
		t.Errorf("by default %d of 50 are counted", n)
	}
	r := newRig(t, func(o *Options) { o.RateLimit = 2 })
	if n := send(r, 20, "X-Forwarded-For: 10.1.2.3"); n != 20 { // no proxy said whom it speaks for
		t.Errorf("of a trusted proxy %d of 20 are counted", n)
	}
	if n := send(r, 20, "X-Forwarded-For: 203.0.113.1"); n != 2 {
		t.Errorf("with a limit of 2, %d are counted", n)
	}
	if err := r.c.Configure(Settings{Sites: testSites(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}); err != nil {
		t.Fatal(err)
	}
	if n := send(r, 20, "X-Forwarded-For: 203.0.113.1"); n != 20 {
		t.Errorf("switched off, %d of 20 are counted", n)
	}
	if r.c.Configure(Settings{Sites: testSites(), RateLimit: -1}) == nil {
		t.Error("a negative limit is taken")
	}
}

// TestLimiterAllowance: over any stretch of time a network gets no more than a minute's allowance
// and what it earned meanwhile, and no less while it asks for it.
func TestLimiterAllowance(t *testing.T) {
	for _, limit := range []int{1, 7, 60, 1000} {
		l := newLimiter(maxNetworks)
		n, at, allowed := networkOf("203.0.113.7"), noon, 0
		rnd := rand.New(rand.NewPCG(1, uint64(limit)))
		const asked = 20_000
		for range asked {
			at = at.Add(time.Duration(rnd.Int64N(int64(time.Minute) / int64(2*limit))))
			if l.allow(n, limit, at) {
				allowed++
			}
		}
		want := float64(limit) * (1 + at.Sub(noon).Minutes())
		if got := float64(allowed); got > want+1 || limit > 1 && got < want-2 { // 1: what it earns before it asks is lost
			t.Errorf("limit %d: %v allowed in %v, want %v", limit, got, at.Sub(noon), want)
		}
	}
}

func TestLimiterClock(t *testing.T) {
	l := newLimiter(maxNetworks)
	n := networkOf("2001:db8:7::1")
	use := func(at time.Time) (got int) {
		for l.allow(n, 5, at) {
			got++
		}
		return got
	}
	if got := use(noon); got != 5 {
		t.Errorf("%d allowed", got)
	}
	if got := use(noon.Add(-time.Hour)); got != 5 { // and not none for an hour
		t.Errorf("after the clock was set back %d are allowed", got)
	}
	if got := use(noon.Add(time.Hour)); got != 5 {
		t.Errorf("an hour later %d are allowed", got)
	}
}

// TestLimiterIsBounded: millions of networks take no more memory than the limit of them, a
// busy one among them keeps its limit, and nothing is left when all are silent.
func TestLimiterIsBounded(t *testing.T) {
	const networks = 1 << 10
	l := newLimiter(networks)
	known := func() (n int) {
		for i := range l.shards {
			n += len(l.shards[i].young) + len(l.shards[i].old)
		}
		return n
	}
	busy, allowed := networkOf("192.0.2.1"), 0
	for i := range 1 << 18 {
		at := noon.Add(time.Duration(i) * time.Microsecond)
		l.allow(networkOf(fmt.Sprintf("%d.%d.%d.1", 1+i>>16, i>>8&255, i&255)), 10, at)
		if i%16 == 0 && l.allow(busy, 10, at) {
			allowed++
		}
		if n := known(); i%1024 == 0 && n > networks {
			t.Fatalf("%d networks are known", n)
		}
	}
	if allowed != 10 {
		t.Errorf("the busy network was allowed %d", allowed)
	}
	for i := range 3 * limitShards {
		l.sweep(i, noon.Add(time.Duration(i)*time.Minute/limitShards+2*time.Minute))
	}
	if n := known(); n != 0 {
		t.Errorf("%d networks are known when all are silent", n)
	}
}
