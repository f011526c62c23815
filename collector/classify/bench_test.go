package classify

import (
	"net/netip"
	"testing"
)

func BenchmarkAgents(b *testing.B) {
	a := newAgents(b)
	for _, c := range []struct{ name, ua string }{{"browser", chromeUA}, {"in-app", inAppUA}, {"robot", robotUA}} {
		ua := []byte(c.ua)
		b.Run("uncached/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.classify(ua)
			}
		})
	}
	b.Run("cached", func(b *testing.B) {
		ua := []byte(chromeUA)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a.Lookup(ua)
			}
		})
	})
	b.Run("visitors", func(b *testing.B) { // as common as they are, most of them from the cache
		var list [][]byte
		for _, r := range rows(b, "visitors.tsv", 5) {
			list = append(list, []byte(r[4]))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a.Lookup(list[i%len(list)])
		}
	})
}

func BenchmarkSources(b *testing.B) {
	s := newSources(b)
	for _, c := range []struct {
		name, referrer string
		c              Campaign
	}{
		{"none", "", Campaign{}},
		{"own", "https://www.example.org/a/b", Campaign{}},
		{"search", "https://www.google.co.uk/search?q=x", Campaign{}},
		{"unknown", "https://blog.example.net/2026/11/some-post", Campaign{}},
		{"campaign", "https://l.facebook.com/l.php?u=x", Campaign{Source: "fb", Medium: "paid_social", Campaign: "spring"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Classify(c.referrer, page, c.c)
			}
		})
	}
}

func BenchmarkGeo(b *testing.B) {
	g := openGeo(b, writeGeo(b, "GeoLite2-City", cityNetworks()))
	for name, addr := range map[string]string{"found": "198.51.100.0", "not found": "192.0.2.0"} {
		addr := netip.MustParseAddr(addr)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Lookup(addr)
			}
		})
	}
}
