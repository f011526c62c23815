package dashboard

import (
	"encoding/csv"
	"strings"
	"testing"
)

// A view that is withheld says so wherever its figures would be, and shows none.
func TestWithheldView(t *testing.T) {
	b := newBench(t)
	b.store.Least, b.store.Small = 5, true
	p := b.page("/example.org?f=is,visit:source,rare.example")
	wants(t, p, "Withheld: this view has, or leaves out, fewer than 5 visitors.", "fewer than 5</span> here now", `<p class="quiet">Withheld.</p>`)
	for _, x := range []string{`data-country="DE"`, "/docs/getting-started", "Nothing in this period"} {
		if strings.Contains(p, x) {
			t.Errorf("the withheld page shows %q", x)
		}
	}
	wants(t, b.page("/example.org/details?by=visit:source&f=is,visit:source,rare.example"), "Withheld: this view has")
	wants(t, b.page("/example.org/live"), `"visitors":null`, `"fewer_than":5`)
	rows, err := csv.NewReader(strings.NewReader(b.page("/example.org/series.csv?f=is,visit:source,rare.example"))).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows[1:] {
		if strings.Join(r[1:], "") != "" {
			t.Fatalf("the graph's file has %q", r)
		}
	}
}

// The row of few values leads nowhere: there is no value to filter by.
func TestFewIsNoLink(t *testing.T) {
	b := newBench(t)
	for _, p := range []string{"/example.org", "/example.org/details?by=visit:country"} {
		page := b.page(p)
		wants(t, page, "(few)<", "(few): rows with too few visitors to be shown, merged")
		if strings.Contains(page, "visit:country,(few)") || strings.Contains(page, "visit:country,%28few%29") {
			t.Errorf("%s: (few) is a link", p)
		}
	}
	if strings.Contains(b.page("/example.org/values?by=visit:country"), "(few)") {
		t.Error("(few) is offered as a value")
	}
}
