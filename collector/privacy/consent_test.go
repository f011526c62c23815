package privacy

import (
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/event"
)

func TestConsent(t *testing.T) {
	const today = event.Day(20781)
	a, b := TagOf("example.org"), TagOf("example.net")
	var c Consent
	if !c.give(a, today) || c.give(a, today+1) || !c.give(b, today+5) || c.Day != today {
		t.Fatalf("%+v", c)
	}
	got, ok := ParseConsent(c.Value())
	if !ok || got.Value() != c.Value() || got.Day != today {
		t.Fatalf("%q became %+v", c.Value(), got)
	}
	ra, _ := got.Of(a)
	rb, _ := got.Of(b)
	if len(ra) != 16 || string(ra) == string(rb) {
		t.Error("two sites have the same random bits")
	}
	for day, want := range map[event.Day]bool{today - 2: false, today - 1: true, today: true, today + 389: true, today + 390: false, today + 1000: false} {
		if random, ok := ConsentOf(c.Value(), a, day); ok != want || ok && string(random[:]) != string(ra) {
			t.Errorf("on day %d: %v", int(day)-int(today), ok)
		}
	}
	if _, ok := ConsentOf(c.Value(), TagOf("example.com"), today); ok {
		t.Error("consent at another site counts")
	}
	if !got.withdraw(a) || got.withdraw(a) || got.Value() == "" || !got.withdraw(b) || got.Value() != "" {
		t.Errorf("after withdrawing: %q", got.Value())
	}
	for i := range 2 * maxConsents {
		c.give(TagOf(strings.Repeat("x", i+1)), today)
	}
	if len(c.entries) != maxConsents || len(c.Value()) > MaxConsent {
		t.Errorf("%d sites, %d bytes of at most %d", len(c.entries), len(c.Value()), MaxConsent)
	}
	if _, ok := ParseConsent(c.Value()); !ok {
		t.Error("the longest cookie is refused")
	}
}

// FuzzConsent: whatever is read is written the same, so that one browser has one value, and the quick way to read it agrees with the whole one.
func FuzzConsent(f *testing.F) {
	tag := TagOf("example.org")
	good := "1.20781." + string(tag[:]) + "AAAAAAAAAAAAAAAAAAAAAA"
	for _, s := range []string{good, good + "." + string(tag[:]) + "AAAAAAAAAAAAAAAAAAAAAB", "", "1.", "1.20781", "1.20781.", "2" + good[1:], good[:len(good)-1],
		good + ".", "1..abcd", "1.99999." + string(tag[:]) + "AAAAAAAAAAAAAAAAAAAAAA", "1.020781." + string(tag[:]) + "AAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := ParseConsent(value)
		if ok && c.Value() != value {
			t.Fatalf("%q is written as %q", value, c.Value())
		}
		random, quick := ConsentOf(value, tag, c.Day)
		whole, have := c.Of(tag)
		if ok && (quick != have || have && string(random[:]) != string(whole)) {
			t.Fatalf("%q: %v %x, %v %x", value, quick, random, have, whole)
		}
	})
}
