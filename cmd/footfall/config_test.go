package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
)

func noEnv(string) string { return "" }

func loadValid(file string, getenv func(string) string) (*Config, error) {
	c, err := loadConfig(file, getenv)
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func TestBadConfigurations(t *testing.T) {
	cases := map[string]string{
		"unknown-key":       `testdata/bad.unknown-key.yml: line 2: unknown key "listen_on"`,
		"unknown-site-key":  `testdata/bad.unknown-site-key.yml: line 3: unknown key "time_zone"`,
		"unknown-spool-key": `testdata/bad.unknown-spool-key.yml: line 1: unknown key "fsync"`,
		"timezone":          `testdata/bad.timezone.yml: line 3: timezone: "Europe/Atlantis" is no time zone: write one like Europe/Berlin`,
		"no-domain":         `testdata/bad.no-domain.yml: line 2: sites: a site needs a domain`,
		"domain":            `sites[0].domain: "https://example.org/" is no domain name: no scheme, port or path`,
		"twice":             `sites[1].domain: "example.org" is configured twice`,
		"ip":                `testdata/bad.ip.yml: line 3: ip: "keep" is none of truncate, hash, drop`,
		"dnt":               `testdata/bad.dnt.yml: line 3: dnt: "always" is none of ignore, unlinked, drop`,
		"window":            `testdata/bad.window.yml: line 3: visitor_window: "year" is none of day, week, month`,
		"timezone-list":     `testdata/bad.timezone-list.yml: line 3: timezone: "" is no time zone: write one like Europe/Berlin`,
		"retention":         `testdata/bad.retention.yml: line 3: retention: "forever" is no period: write a number and d, w, mo or y`,
		"sync":              `testdata/bad.sync.yml: line 1: spool.sync: "never" is neither always nor a duration from 1ms to 1m`,
		"keep":              `testdata/bad.keep.yml: line 1: spool.keep: "forever" is neither 0s nor a duration from 1m to 168h`,
		"bytes":             `testdata/bad.bytes.yml: line 1: "lots" is no size: write one like 4GiB`,
		"small":             `spool.max_bytes: at least 1MiB, not 10240 bytes`,
		"rate":              `rate_limit: -5 is no number of hits a minute: write 0 for no limit, and 1000000 at most`,
		"proxy":             `testdata/bad.proxy.yml: line 1: trusted_proxies: "everyone" is neither an address nor a network like 10.0.0.0/8`,
		"listen":            `listen: "8080" is no address: write HOST:PORT, or :PORT for every interface`,
		"port":              `listen: ":99999" is no address: write HOST:PORT, or :PORT for every interface`,
		"same":              `staff: must be another address than listen (127.0.0.1:80): visitors must not reach the dashboard`,
		"store":             `store: write embedded, or clickhouse://user:password@host:9000/database`,
		"prefix":            `sites[0].prefix.ipv4: 28: write 24 (the most that is ever kept of an address) or less, down to 8`,
		"prefix6":           `sites[0].prefix.ipv6: 8: write 48 (the most that is ever kept of an address) or less, down to 16`,
		"prefix-key":        `testdata/bad.prefix-key.yml: line 3: unknown key "v4"`,
		"few":               `sites[0].min_visitors: 5000 lies not between 0 and 1000`,
		"url":               `url: "example.org" is no public address: write https://HOST`,
		"yaml":              `testdata/bad.yaml.yml: line 1: did not find expected node content`,
		"two":               `testdata/bad.two.yml: more than one YAML document`,
	}
	for name, want := range cases {
		_, err := loadValid("testdata/bad."+name+".yml", noEnv)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
	}
	files, err := filepath.Glob("testdata/bad.*.yml")
	if err != nil || len(files) != len(cases) {
		t.Errorf("%d files with mistakes, %d are tested (%v)", len(files), len(cases), err)
	}
}

func TestFullConfiguration(t *testing.T) {
	c, err := loadValid("testdata/good.full.yml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.Spool.Sync != 0 || c.Spool.MaxBytes != 512<<20 || c.Spool.Keep != keepTime(time.Hour) {
		t.Errorf("spool %+v", c.Spool)
	}
	if c.RateLimit != 600 {
		t.Errorf("rate limit %d", c.RateLimit)
	}
	sites := c.sites(map[string]uint32{"example.org": 3})
	s := sites[0]
	if s.Location.String() != "Europe/Berlin" || s.IP != anonymize.ModeHash || s.DNT != collector.DNTDrop ||
		s.Window != anonymize.Week || !s.GeoOff || len(s.QueryParams) != 2 || len(s.Hostnames) != 2 || s.Notice != 3 {
		t.Errorf("site %+v", s)
	}
	if s.Bits4 != 16 || s.Bits6 != anonymize.Bits6 || sites[1].Bits4 != anonymize.Bits4 {
		t.Errorf("prefixes %d and %d, by default %d", s.Bits4, s.Bits6, sites[1].Bits4)
	}
	if r := c.reports(nil); r.Min("example.org") != 5 || r.Min("example.net") != 0 || r.Min("elsewhere.example") != 0 {
		t.Error("reports do not follow min_visitors")
	}
	d := sites[1]
	if d.Location != time.UTC || d.IP != anonymize.ModeTruncate || d.DNT != collector.DNTUnlinked || d.Window != anonymize.Day || d.GeoOff {
		t.Errorf("defaults %+v", d)
	}
	if got := c.trustedProxies()[1]; got != netip.MustParsePrefix("::1/128") {
		t.Errorf("a lone address became %s", got)
	}
	if w := c.warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

// TestCookieConfiguration: the cookie is where it is asked for, lets ids outlive a day, and is warned of where no browser
// would send it.
func TestCookieConfiguration(t *testing.T) {
	for text, warned := range map[string]bool{
		"sites: [{domain: example.org, cookie: consented}]\n":                                                  false,
		"url: https://stats.example.org\nsites: [{domain: www.example.org, cookie: consented}]\n":              false,
		"url: https://stats.example.net\nsites: [{domain: example.org, cookie: consented}]\n":                  true,
		"url: https://stats.co.uk\nsites: [{domain: example.co.uk, cookie: consented}]\n":                      true,
		"url: https://stats.example.net\nsites: [{domain: example.org}]\n":                                     false,
		"url: https://stats.example.net:8443/\nsites: [{domain: example.net, cookie: consented, dnt: drop}]\n": false,
	} {
		c, err := loadValid(writeConfig(t, text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Contains(text, "consented")
		if s := c.collector(nil, nil); s.Sites[0].Cookie != want || c.Sites[0].longIDs() != want || s.HTTPS != (c.URL != "") || s.Updated.IsZero() {
			t.Errorf("%s: %+v, ids outlive a day: %v", text, s, c.Sites[0].longIDs())
		}
		if w := strings.Join(c.warnings(), "\n"); strings.Contains(w, "cookie has no effect") != warned {
			t.Errorf("%s: warnings %q", text, w)
		}
	}
}

func TestCheckTellsOfTheRateLimit(t *testing.T) {
	const site = "organisation: {name: Example}\nsites: [{domain: example.org}]\nstore: clickhouse://db.internal/footfall\n"
	for text, want := range map[string]string{
		site:                       "rate limit     no limit\n",
		site + "rate_limit: 600\n": "rate limit     600 hits a minute of one network\n",
		site + "rate_limit: 60\n":  "warning        rate_limit without trusted_proxies",
	} {
		c, err := loadValid(writeConfig(t, text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		c.Data = t.TempDir()
		var out strings.Builder
		if err := check(&out, c); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v, check says\n%swithout %q", err, out.String(), want)
		}
		if c.RateLimit == 0 && strings.Contains(out.String(), "warning") {
			t.Errorf("a warning without a limit:\n%s", out.String())
		}
	}
}

func TestPrecedence(t *testing.T) {
	env := map[string]string{"FOOTFALL_LISTEN": ":1", "FOOTFALL_STAFF": "127.0.0.1:2", "FOOTFALL_TRUSTED_PROXIES": "192.0.2.1, 10.0.0.0/8"}
	f := newServeFlags("serve", streams{getenv: func(k string) string { return env[k] }, err: t.Output()})
	if _, err := f.parse([]string{"--config", "testdata/good.full.yml", "--staff", ":3"}, 0, 0); err != nil {
		t.Fatal(err)
	}
	c, err := f.load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":1" || c.Staff != ":3" || c.Data != "/var/lib/footfall" || len(c.TrustedProxies) != 2 {
		t.Errorf("listen %s, staff %s, data %s, proxies %v", c.Listen, c.Staff, c.Data, c.TrustedProxies)
	}
}

func TestNoFileMeansLocalhost(t *testing.T) {
	c, err := loadValid("", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sites) != 1 || c.Sites[0].Domain != "localhost" || c.publicURL() != "http://localhost:8080" {
		t.Errorf("%+v, %s", c.Sites, c.publicURL())
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	c, err := loadValid("testdata/good.full.yml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%v %+v %#v %s %q %s", c, c, c, c.Store, c.Store, y)
	where, err := checkStore(c)
	if err != nil {
		t.Fatal(err)
	}
	out.WriteString(where)
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the password shows in %s", out.String())
	}
	if !strings.Contains(out.String(), "db.internal") {
		t.Error("the address is gone as well")
	}
}

// A parameter that the store does not know is a mistake that check finds, and may hold a password.
func TestStoreParameters(t *testing.T) {
	for address, ok := range map[storeURL]bool{
		"clickhouse://db.internal/footfall?secure=true":      true,
		"clickhouse://db.internal/footfall?password=hunter2": false,
		"clickhouse://db.internal/foot/fall":                 false,
	} {
		if strings.Contains(address.String(), "hunter2") {
			t.Errorf("the password shows in %s", address)
		}
		_, err := checkStore(&Config{Store: address})
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password shows in %v", err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("listen: ':8080'\nsites:\n  - domain: a.example\n    timezone: UTC\n")
	f.Add("spool: {sync: always, max_bytes: 1GiB}\ntrusted_proxies: ['::/0']\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := defaultConfig()
		if c.parse("f.yml", []byte(text)) != nil || c.Validate() != nil {
			return
		}
		for _, s := range c.Sites {
			if s.Domain == "" || s.Timezone.Location == nil || len(s.Domain) > 253 {
				t.Errorf("site %+v", s)
			}
		}
	})
}
