package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/kantarainitiative/footfall/collector/classify"
)

// source writes a database like the one that is rewritten: bare country codes by network.
func source(t *testing.T, codes map[string]string) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "bare", RecordSize: 24,
		IncludeReservedNetworks: true, BuildEpoch: 1_700_000_000})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, code := range codes {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, mmdbtype.Map{"country_code": mmdbtype.String(code)}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "in.mmdb")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRewriteKeepsEveryNetworkAndIsTheSameEachTime(t *testing.T) {
	codes := map[string]string{"141.20.0.0/16": "DE", "193.48.0.0/15": "FR", "193.50.0.0/17": "NZ", "2001:200::/33": "JP"}
	in := source(t, codes)
	private := source(t, map[string]string{"10.0.0.0/8": "US"})
	if _, err := rewrite(private, filepath.Join(t.TempDir(), "out"), io.Discard); err == nil {
		t.Error("a database of nothing but private networks was taken")
	}
	dir := t.TempDir()
	var outs [2][]byte
	for i := range outs {
		out := filepath.Join(dir, "country.mmdb")
		n, err := rewrite(in, out, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if n != len(codes) {
			t.Errorf("%d networks written, want %d", n, len(codes))
		}
		if outs[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(outs[0], outs[1]) {
		t.Error("the same input gave different bytes")
	}
	geo, err := classify.OpenGeo(filepath.Join(dir, "country.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer geo.Close()
	for cidr, code := range codes {
		if got := geo.Lookup(netip.MustParsePrefix(cidr).Addr()); got != (classify.Place{Country: code}) {
			t.Errorf("%s is in %+v, want %s", cidr, got, code)
		}
	}
	if about := geo.About(); !strings.Contains(about, "nro.net") || !strings.Contains(about, "CC BY 4.0") {
		t.Errorf("description %q does not name source and licence", about)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRewriteRefusesAndLeavesTheOldFile(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no database"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, in, want string }{
		{"missing", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"not a database", text, "invalid MaxMind DB file"},
		{"empty", source(t, nil), "no networks"},
		{"odd code", source(t, map[string]string{"141.20.0.0/16": "Germany"}), `"Germany" is not two capital letters`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out.mmdb")
			if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := rewrite(c.in, out, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if b, _ := os.ReadFile(out); string(b) != "old" {
				t.Errorf("the old file is now %q", b)
			}
			if files, _ := os.ReadDir(dir); len(files) != 1 {
				t.Errorf("%d files in the folder, want the old one alone", len(files))
			}
		})
	}
}

// TestRewriteOfTheInstalledData runs on the data that users get: `make parts` installs it.
func TestRewriteOfTheInstalledData(t *testing.T) {
	in := "../../.parts/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb"
	out := filepath.Join(t.TempDir(), "country.mmdb")
	n, err := rewrite(in, out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if n < 500_000 {
		t.Errorf("only %d networks", n)
	}
	geo, err := classify.OpenGeo(out)
	if err != nil {
		t.Fatal(err)
	}
	defer geo.Close()
	// Networks of national institutions that have had them for decades.
	for addr, want := range map[string]string{
		"141.20.0.0":    "DE", // Humboldt-Universität zu Berlin
		"129.67.0.0":    "GB", // University of Oxford
		"18.0.0.0":      "US", // MIT
		"130.59.0.0":    "CH", // SWITCH
		"133.11.0.0":    "JP", // University of Tokyo
		"2001:638::":    "DE", // DFN
		"2001:620::":    "CH", // SWITCH
		"2001:630::":    "GB", // Jisc
		"192.168.1.0":   "",
		"2001:db8:1::1": "",
	} {
		if got := geo.Lookup(netip.MustParseAddr(addr)).Country; got != want {
			t.Errorf("%s is in %q, want %q", addr, got, want)
		}
	}
}
