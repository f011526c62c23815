package collector

import (
	"strings"
	"testing"
)

// TestNesting: what nests deeper than anybody needs is refused before the parser spends milliseconds on it.
func TestNesting(t *testing.T) {
	r := newRig(t)
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	event := func(more string) string { return okBody[:len(okBody)-1] + more + "}" }
	for _, c := range []struct {
		body   string
		status int
	}{
		{event(`,"zz":` + nested(maxNesting-1)), 202},
		{event(`,"zz":` + nested(maxNesting)), 400},
		{event(`,"zz":"` + strings.Repeat("[", 500) + `\"{"`), 202},
		{event(`,"p":{"k":"v","deep":` + nested(maxNesting-2) + `}`), 202},
		{event(`,"p":"` + strings.Repeat("[", 5000) + `"`), 202}, // no properties
		{strings.Repeat(`{"p":[`, 10_000), 400},
		{event(strings.Repeat(`,"zz":[]`, 200)), 202},
	} {
		if a := r.post(t, c.body); a.StatusCode != c.status {
			t.Errorf("%.120s…: %d %s", c.body, a.StatusCode, a.body)
		}
	}
	var rd reader
	var s sent
	deep := []byte(strings.Repeat(`{"p":[`, 10_000))
	text := []byte(`{"n":"pageview","u":"https://example.org/","p":"` + strings.Repeat("[", 60_000) + `"}`)
	rd.read(&s, text) // grows its buffers
	if n := testing.AllocsPerRun(10, func() { rd.read(&s, deep); rd.read(&s, text) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
