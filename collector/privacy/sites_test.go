package privacy

import (
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
)

func names(sites []*Site) string {
	var out []string
	for _, s := range sites {
		out = append(out, s.Domain)
	}
	return strings.Join(out, " ")
}

func testSites() *Sites {
	return NewSites([]Site{
		{Domain: "example.org", Location: time.UTC},
		{Domain: "blog.example.org", Location: time.UTC},
		{Domain: "shop.co.uk", Location: time.UTC, Hosts: []string{"pay.example"}},
		{Domain: "localhost", Location: time.UTC},
		{Domain: "xn--bcher-kva.example", Location: time.UTC},
		{Domain: "me.github.io", Location: time.UTC},
	}, time.Unix(0, 0))
}

// TestReach: for whom the opt-out cookie of a host is set.
func TestReach(t *testing.T) {
	all := testSites()
	for _, c := range []struct{ host, list, addressed, domain, here string }{
		{"example.org", "", "example.org", "", "example.org"},
		{"EXAMPLE.org:8080", "", "example.org", "", "example.org"},
		{"stats.example.org", "", "example.org", "example.org", "example.org"},
		{"a.b.example.org.", "", "example.org", "example.org", "example.org"},
		{"blog.example.org", "", "blog.example.org", "", "blog.example.org"},
		{"stats.example.org", "blog.example.org", "blog.example.org", "example.org", "blog.example.org"},
		{"www.blog.example.org", "", "blog.example.org", "example.org", "blog.example.org"},
		{"stats.shop.co.uk", "", "shop.co.uk", "shop.co.uk", "shop.co.uk"},
		{"stats.pay.example", "shop.co.uk", "shop.co.uk", "pay.example", "shop.co.uk"},
		{"other.co.uk", "shop.co.uk", "shop.co.uk", "", ""},
		{"localhost:8080", "", "localhost", "", "localhost"},
		{"127.0.0.1:8080", "localhost", "localhost", "", ""},
		{"[::1]:8080", "localhost", "localhost", "", ""},
		{"you.github.io", "me.github.io", "me.github.io", "", ""},
		{"stats.me.github.io", "", "me.github.io", "me.github.io", "me.github.io"},
		{"stats.example.org", "bücher.example, www.example.org,example.org", "xn--bcher-kva.example example.org", "example.org", "example.org"},
	} {
		r := Request{Host: c.host, Sites: all}
		sites, ok := r.sitesOf(c.list, "")
		if !ok || names(sites) != c.addressed {
			t.Errorf("%s, %q: about %q, %v", c.host, c.list, names(sites), ok)
		}
		got := reachOf(r.host(), sites)
		if got.Domain != c.domain || names(got.Here) != c.here || len(got.Here)+len(got.Elsewhere) != len(sites) {
			t.Errorf("%s for %s: domain %q, here %q, elsewhere %q", c.host, c.addressed, got.Domain, names(got.Here), names(got.Elsewhere))
		}
	}
	if got := names(all.addressed("stats.elsewhere.net")); got != names(all.addressed("10.0.0.1")) || !strings.HasPrefix(got, "example.org blog.example.org shop.co.uk") {
		t.Errorf("a host of no site is about %q", got)
	}
	if _, ok := all.named("example.org,nobody.example"); ok {
		t.Error("a site that is not configured is taken")
	}
}

func TestSameSite(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"example.org", "example.org", true}, {"stats.example.org", "www.example.org", true}, {"example.org", "example.net", false},
		{"a.co.uk", "b.co.uk", false}, {"localhost", "localhost", true}, {"127.0.0.1", "127.0.0.1", true}, {"127.0.0.1", "128.0.0.1", false},
		{"a.github.io", "b.github.io", false}, {"co.uk", "a.co.uk", false}, {"", "example.org", false},
	} {
		if SameSite(c.a, c.b) != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.want)
		}
	}
}

// TestErased: a number can be computed until its period is over at the last of all sites.
func TestErased(t *testing.T) {
	zone := func(name string) *time.Location {
		l, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	s := NewSites([]Site{
		{Domain: "a.example", Location: zone("Pacific/Auckland")}, {Domain: "b.example", Location: zone("America/Los_Angeles"), Window: anonymize.Week},
		{Domain: "c.example", Location: zone("Europe/Berlin"), Window: anonymize.Month},
	}, time.Unix(0, 0))
	const tuesday = 20781 // 2026-11-24
	for domain, want := range map[string]string{"a.example": "2026-11-25T08:00:00Z", "b.example": "2026-11-30T08:00:00Z", "c.example": "2026-12-01T08:00:00Z"} {
		site := s.find(domain)
		if got := s.erased(site.next(tuesday)).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}
