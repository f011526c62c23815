package classify

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

func names(en string) mmdbtype.Map {
	return mmdbtype.Map{"en": mmdbtype.String(en), "de": mmdbtype.String("nicht " + en)}
}

// writeGeo writes a database of the given type and returns its path.
func writeGeo(t testing.TB, kind string, networks map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, Languages: []string{"en", "de"},
		Description: map[string]string{"en": "made by a test"}, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, rec := range networks {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, rec); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func cityNetworks() map[string]mmdbtype.Map {
	return map[string]mmdbtype.Map{
		"198.51.100.0/24": {
			"country":      mmdbtype.Map{"iso_code": mmdbtype.String("DE"), "names": names("Germany")},
			"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("BE"), "names": names("Land Berlin")}},
			"city":         mmdbtype.Map{"names": names("Berlin")},
		},
		"2001:db8::/32": {
			"country": mmdbtype.Map{"iso_code": mmdbtype.String("GB")},
			"subdivisions": mmdbtype.Slice{
				mmdbtype.Map{"iso_code": mmdbtype.String("ENG"), "names": names("England")},
				mmdbtype.Map{"iso_code": mmdbtype.String("OXF"), "names": names("Oxfordshire")},
			},
			"city": mmdbtype.Map{"names": names("Oxford")},
		},
		"203.0.113.0/25": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("SG")}},
		// No country: a satellite's or an anonymous network.
		"203.0.113.128/25": {"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("US")}},
	}
}

func openGeo(t testing.TB, path string) *Geo {
	t.Helper()
	g, err := OpenGeo(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func TestGeoLookup(t *testing.T) {
	for _, kind := range []string{"GeoLite2-City", "GeoIP2-City", "DBIP-City-Lite", "GeoIP2-Enterprise"} {
		g := openGeo(t, writeGeo(t, kind, cityNetworks()))
		berlin := Place{"DE", "DE-BE", "Land Berlin", "Berlin"}
		for addr, want := range map[string]Place{
			"198.51.100.0":          berlin,
			"198.51.100.77":         berlin,
			"::ffff:198.51.100.0":   berlin,
			"2001:db8::":            {"GB", "GB-ENG", "England", "Oxford"},
			"203.0.113.0":           {Country: "SG"},
			"203.0.113.128":         {},
			"192.0.2.1":             {},
			"2001:db9::":            {},
			"fe80::1%eth0":          {},
			"127.0.0.1":             {},
			"0.0.0.0":               {},
			"255.255.255.255":       {},
			"::":                    {},
			"2001:db8:ffff:1:2:3::": {"GB", "GB-ENG", "England", "Oxford"},
		} {
			for range 2 { // from the file, then from the cache
				if got := g.Lookup(netip.MustParseAddr(addr)); got != want {
					t.Errorf("%s: %s is in %+v, want %+v", kind, addr, got, want)
				}
			}
		}
		if got := g.Lookup(netip.Addr{}); got != (Place{}) {
			t.Errorf("no address is in %+v", got)
		}
		if got := g.About(); got != "made by a test" {
			t.Errorf("About = %q", got)
		}
	}
}

func TestGeoCountryDatabase(t *testing.T) {
	g := openGeo(t, writeGeo(t, "GeoLite2-Country", map[string]mmdbtype.Map{
		"198.51.100.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}},
	}))
	if got := g.Lookup(netip.MustParseAddr("198.51.100.1")); got != (Place{Country: "DE"}) {
		t.Errorf("got %+v", got)
	}
}

func TestNilAndClosedGeoKnowNothing(t *testing.T) {
	var none *Geo
	none.Close()
	if got := none.Lookup(netip.MustParseAddr("198.51.100.1")); got != (Place{}) || none.About() != "" {
		t.Errorf("a nil Geo answered %+v", got)
	}
	g := openGeo(t, writeGeo(t, "GeoLite2-City", cityNetworks()))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				g.Lookup(netip.MustParseAddr("198.51.100.1")) // must not race with Close
			}
		})
	}
	g.Close()
	g.Close()
	wg.Wait()
	if got := g.Lookup(netip.MustParseAddr("198.51.100.1")); got != (Place{}) {
		t.Errorf("a closed Geo answered %+v", got)
	}
}

func TestOpenGeoRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, err := os.ReadFile(writeGeo(t, "GeoLite2-City", cityNetworks()))
	if err != nil {
		t.Fatal(err)
	}
	meta := bytes.LastIndex(good, []byte("\xab\xcd\xefMaxMind.com"))
	damaged := bytes.Clone(good)
	for i := meta - 60; i < meta-20; i++ { // in the records
		damaged[i] = 0xff
	}
	loop := bytes.Clone(good)
	copy(loop, []byte{0, 0, 0, 0, 0, 0}) // the first node leads to itself
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.mmdb"), "no such file"},
		{"folder", dir, "not a file"},
		{"empty", write("empty", nil), "not a MaxMind database"},
		{"text", write("text", []byte("hello")), "not a MaxMind database"},
		{"head only", write("head", good[:len(good)/2]), "not a MaxMind database"},
		{"tail only", write("tail", good[meta:]), "cut short"},
		{"damaged records", write("damaged", damaged), "damaged"},
		{"tree with a loop", write("loop", loop), "damaged"},
		{"networks of providers", writeGeo(t, "GeoLite2-ASN", cityNetworks()), "neither countries nor cities"},
		{"bare country codes", writeGeo(t, "ip-location-db", cityNetworks()), `its type "ip-location-db" is not one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := OpenGeo(c.path)
			if err == nil {
				g.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "geo database") {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

func TestGeoSurvivesItsFileBeingOverwritten(t *testing.T) {
	path := writeGeo(t, "GeoLite2-City", cityNetworks())
	g := openGeo(t, path)
	if err := os.WriteFile(path, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := g.Lookup(netip.MustParseAddr("198.51.100.1")); got.City != "Berlin" {
		t.Errorf("got %+v", got)
	}
}

func TestGeoLookupDoesNotAllocate(t *testing.T) {
	g := openGeo(t, writeGeo(t, "GeoLite2-City", cityNetworks()))
	addr := netip.MustParseAddr("198.51.100.1")
	g.Lookup(addr)
	if n := testing.AllocsPerRun(200, func() { g.Lookup(addr) }); n >= 1 {
		t.Errorf("%v allocations a look-up", n)
	}
}
