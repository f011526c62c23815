package collector

import (
	"testing"
	"time"
)

// TestHabit plays weeks at a site and says when its silence is unusual.
func TestHabit(t *testing.T) {
	monday := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).Unix()
	always := func(int64) int { return 60 } // hits in each hour
	office := func(at int64) int {          // none at night and on weekends
		if h := at % day / hour; at%week/day >= 5 || h < 7 || h >= 19 {
			return 0
		}
		return 40
	}
	rare := func(at int64) int { // eight a day
		if at%(3*hour) == 0 {
			return 1
		}
		return 0
	}
	for _, c := range []struct {
		name   string
		hits   func(at int64) int
		until  int64 // seconds after monday: then there are no more hits
		within int64 // it is unusual this long after that, and not half as long; 0: never
	}{
		{"busy, a day known", always, day + 9*hour, hour},
		{"busy, weeks known", always, 4*week + 30*hour, hour},
		{"busy, too early to know", always, 20 * hour, 0},
		{"office, an hour of a working day", office, 2*week + day + 10*hour, 2 * hour},
		{"office, in the evening: in the next morning", office, 2*week + day + 19*hour, 14 * hour},
		{"office, on Friday evening: on Monday morning", office, 2*week + 4*day + 19*hour, 2*day + 14*hour},
		{"rare, weeks known", rare, 3 * week, 5 * day},
		{"rare, a week is not known", rare, 5 * day, 0},
	} {
		// The phase of a week is counted from monday, for the functions above.
		h := newHabit(monday)
		for at := int64(0); at < c.until; at += hour {
			n := c.hits(at)
			for i := range n {
				now := monday + at + int64(i)*hour/int64(n)
				if now < monday+c.until {
					h.count(now)
				}
			}
			if since, unusual := h.silent(monday + min(at+hour, c.until)); unusual && at > 8*day {
				t.Errorf("%s: %d h after the start silence since %d is unusual", c.name, at/hour, (since-monday)/hour)
			}
		}
		var after int64
		for now := c.until; now < c.until+2*week; now += 60 {
			if _, unusual := h.silent(monday + now); unusual {
				after = now - c.until
				break
			}
		}
		if c.within == 0 && after != 0 || c.within != 0 && (after > c.within || after < c.within/4) {
			t.Errorf("%s: unusual after %v, want within %v", c.name, time.Duration(after)*time.Second, time.Duration(c.within)*time.Second)
			continue
		}
		if c.within == 0 {
			continue
		}
		// It is not forgotten, whatever becomes usual, until a hit comes.
		end := monday + c.until + 5*week
		if _, unusual := h.silent(end); !unusual {
			t.Errorf("%s: forgotten", c.name)
		}
		h.count(end)
		if _, unusual := h.silent(end + hour/2); unusual {
			t.Errorf("%s: not over with a hit", c.name)
		}
	}
}

func TestHabitClock(t *testing.T) {
	now := noon.Unix()
	h := newHabit(now)
	for range 3 * day / 60 {
		h.count(now)
		now += 60
	}
	h.count(now - 2*day) // the clock was set back: what was known is of another time
	for i := range int64(20) {
		if _, unusual := h.silent(now - 2*day + i*hour); unusual {
			t.Fatalf("unusual %d h after the clock was set back", i)
		}
	}
	h.count(now + 1000*day) // and far ahead
	if _, unusual := h.silent(now + 1000*day + hour); unusual {
		t.Error("unusual after the clock was set ahead")
	}
}

// TestSilent: the collector tells of the right site, through a change of the configuration too.
func TestSilent(t *testing.T) {
	r := newRig(t)
	pages := func(domain string) {
		t.Helper()
		for range 3 {
			r.hit(t, `{"n":"pageview","u":"https://`+domain+`/","d":"`+domain+`"}`)
		}
	}
	for range 26 * 4 {
		pages("example.org")
		pages("localhost")
		r.clock.add(15 * time.Minute)
	}
	if s := r.c.Silent(); len(s) != 0 {
		t.Fatalf("silent: %+v", s)
	}
	last := r.clock.now().Add(-15 * time.Minute)
	for range 3 * 4 {
		pages("example.org")
		r.clock.add(15 * time.Minute)
	}
	if err := r.c.Configure(Settings{Sites: testSites()}); err != nil {
		t.Fatal(err)
	}
	s := r.c.Silent()
	if len(s) != 1 || s[0].Site != "localhost" || !s[0].Since.Equal(last) {
		t.Fatalf("silent: %+v, want localhost since %v", s, last)
	}
	if err := r.c.Configure(Settings{Sites: testSites()[:1]}); err != nil {
		t.Fatal(err)
	}
	if s := r.c.Silent(); len(s) != 0 {
		t.Errorf("a site that is configured no more is silent: %+v", s)
	}
}

// TestHabitIsRestored: what was usual before a start is known after it, and silence before it is none.
func TestHabitIsRestored(t *testing.T) {
	for _, c := range []struct {
		name   string
		hits   uint64 // in each hour of the week before
		within time.Duration
	}{{"busy", 60, time.Hour}, {"quiet", 1, 0}, {"unknown", 0, 0}} {
		r := newRig(t)
		begin := r.clock.now()
		for h := 8 * 24; h > 0 && c.hits > 0; h-- {
			at := begin.Add(-time.Duration(h) * time.Hour)
			r.c.RestoreHabit("localhost", at, c.hits)
			r.c.RestoreHabit("example.org", at, 100)
			r.c.RestoreHabit("nobody.example", at, c.hits)
		}
		r.c.RestoreHabit("localhost", begin.Add(-2*HabitMemory), 1e6) // too old, and
		r.c.RestoreHabit("localhost", begin.Add(2*time.Hour), 1e6)    // not yet: of no account
		var after time.Duration
		for after = 0; after < 12*time.Hour; after += 5 * time.Minute {
			r.hit(t, page("/"))
			if s := r.c.Silent(); len(s) == 1 && s[0].Site == "localhost" && s[0].Since.Equal(begin) {
				break
			} else if len(s) != 0 {
				t.Fatalf("%s: %+v", c.name, s)
			}
			r.clock.add(5 * time.Minute)
		}
		if c.within == 0 && after < 12*time.Hour || c.within != 0 && (after > c.within || after < c.within/4) {
			t.Errorf("%s: unusual after %v, want within %v", c.name, after, c.within)
		}
	}
}
