package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/policy"
)

// The types of this file read one setting each; their errors carry its line.

type zone struct{ *time.Location }

func (z *zone) UnmarshalYAML(n *yaml.Node) error {
	loc, err := time.LoadLocation(n.Value)
	if err != nil || n.Value == "Local" || n.Value == "" { // a list or a mapping has no value
		return fmt.Errorf("line %d: timezone: %q is no time zone: write one like Europe/Berlin", n.Line, n.Value)
	}
	z.Location = loc
	return nil
}

type syncMode time.Duration // 0: before every answer

func (s *syncMode) UnmarshalYAML(n *yaml.Node) error {
	if n.Value == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d < time.Millisecond || d > time.Minute {
		return fmt.Errorf("line %d: spool.sync: %q is neither always nor a duration from 1ms to 1m", n.Line, n.Value)
	}
	*s = syncMode(d)
	return nil
}

type keepTime time.Duration // 0: not at all

// maxKeep is more than a database needs to sync; what is erased from it lasts as long in kept segments.
const maxKeep = 7 * 24 * time.Hour

func (k *keepTime) UnmarshalYAML(n *yaml.Node) error {
	d, err := time.ParseDuration(n.Value)
	if err != nil || d != 0 && d < time.Minute || d > maxKeep {
		return fmt.Errorf("line %d: spool.keep: %q is neither 0s nor a duration from 1m to 168h", n.Line, n.Value)
	}
	*k = keepTime(d)
	return nil
}

type byteSize int64

func (b *byteSize) UnmarshalYAML(n *yaml.Node) error {
	s := strings.TrimSpace(n.Value)
	digits := strings.TrimRight(s, "BKMGTikmgt ")
	unit, ok := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}[strings.ToUpper(strings.TrimSpace(s[len(digits):]))]
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || v < 0 || v > (1<<62)/unit {
		return fmt.Errorf("line %d: %q is no size: write one like 4GiB", n.Line, n.Value)
	}
	*b = byteSize(v * unit)
	return nil
}

type prefix struct{ netip.Prefix }

func parsePrefix(s string) (prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return prefix{netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix{}, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", s)
	}
	return prefix{p.Masked()}, nil
}

func (p *prefix) UnmarshalYAML(n *yaml.Node) (err error) {
	if *p, err = parsePrefix(n.Value); err != nil {
		return fmt.Errorf("line %d: trusted_proxies: %w", n.Line, err)
	}
	return nil
}

type period string // "400d"

var periodPattern = regexp.MustCompile(`^[1-9][0-9]{0,4}(d|w|mo|y)$`)

func (p *period) UnmarshalYAML(n *yaml.Node) error {
	if !periodPattern.MatchString(n.Value) {
		return fmt.Errorf("line %d: retention: %q is no period: write a number and d, w, mo or y", n.Line, n.Value)
	}
	*p = period(n.Value)
	return nil
}

// after is the instant a period after t.
func (p period) after(t time.Time) time.Time {
	digits := strings.TrimRight(string(p), "dwmoy")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return t // the pattern has seen to it
	}
	switch strings.TrimPrefix(string(p), digits) {
	case "d":
		return t.AddDate(0, 0, n)
	case "w":
		return t.AddDate(0, 0, 7*n)
	case "mo":
		return t.AddDate(0, n, 0)
	}
	return t.AddDate(n, 0, 0)
}

type ipMode anonymize.Mode

func (m *ipMode) UnmarshalYAML(n *yaml.Node) error {
	v, err := parsed(n, "ip", anonymize.ParseMode)
	*m = ipMode(v)
	return err
}

// prefixLengths are how many leading bits of an address are seen at all, of what is stored and of
// what a place is looked up by.
type prefixLengths struct {
	IPv4 int `yaml:"ipv4"`
	IPv6 int `yaml:"ipv6"`
}

// UnmarshalYAML keeps the default of the key that is not there.
func (p *prefixLengths) UnmarshalYAML(n *yaml.Node) error {
	type plain prefixLengths
	v := plain{anonymize.Bits4, anonymize.Bits6}
	if err := knownKeys(n, v); err != nil {
		return err
	}
	if err := n.Decode(&v); err != nil {
		return err
	}
	*p = prefixLengths(v)
	return nil
}

// Shortest networks. What is shorter says nothing any more: ip: drop and geo: false say that.
const (
	minBits4 = 8
	minBits6 = 16
)

func (p prefixLengths) validate() error {
	if p.IPv4 < minBits4 || p.IPv4 > anonymize.Bits4 {
		return fmt.Errorf("ipv4: %d: write %d (the most that is ever kept of an address) or less, down to %d", p.IPv4, anonymize.Bits4, minBits4)
	}
	if p.IPv6 < minBits6 || p.IPv6 > anonymize.Bits6 {
		return fmt.Errorf("ipv6: %d: write %d (the most that is ever kept of an address) or less, down to %d", p.IPv6, anonymize.Bits6, minBits6)
	}
	return nil
}

type visitorWindow anonymize.Window

func (w *visitorWindow) UnmarshalYAML(n *yaml.Node) error {
	v, err := parsed(n, "visitor_window", anonymize.ParseWindow)
	*w = visitorWindow(v)
	return err
}

type dntMode collector.DNT

func (d *dntMode) UnmarshalYAML(n *yaml.Node) error {
	v, err := parsed(n, "dnt", collector.ParseDNT)
	*d = dntMode(v)
	return err
}

// parsed reads a setting whose words the package that acts on it knows.
func parsed[T any](n *yaml.Node, key string, parse func(string) (T, error)) (T, error) {
	v, err := parse(n.Value)
	if err != nil {
		err = fmt.Errorf("line %d: %s: %w", n.Line, key, err)
	}
	return v, err
}

type piiMode collector.PII

func (m *piiMode) UnmarshalYAML(n *yaml.Node) error {
	v, err := parsed(n, "pii", collector.ParsePII)
	*m = piiMode(v)
	return err
}

// meansList are the ways in which a site's hits may come; nil: all.
type meansList []policy.Means

func (m *meansList) UnmarshalYAML(n *yaml.Node) error {
	var list []policy.Means
	if err := n.Decode(&list); err != nil {
		return fmt.Errorf("line %d: means: write a list of script, pixel, email", n.Line)
	}
	for _, x := range list {
		if !slices.Contains(policy.AllMeans, x) {
			return fmt.Errorf("line %d: means: %q is none of script, pixel, email", n.Line, x)
		}
	}
	*m = list
	return nil
}

// all are the means that the list stands for.
func (m meansList) all() []policy.Means {
	if len(m) == 0 {
		return policy.AllMeans
	}
	return m
}

func (m meansList) has(x policy.Means) bool { return slices.Contains(m.all(), x) }

type cookieMode string

func (m *cookieMode) UnmarshalYAML(n *yaml.Node) error {
	return oneOf(n, "cookie", (*string)(m), "none", "consented")
}

func oneOf(n *yaml.Node, key string, p *string, allowed ...string) error {
	if !slices.Contains(allowed, n.Value) {
		return fmt.Errorf("line %d: %s: %q is none of %s", n.Line, key, n.Value, strings.Join(allowed, ", "))
	}
	*p = n.Value
	return nil
}

// storeURL may hold a password: every way of printing it leaves the password out.
type storeURL string

func (s storeURL) embedded() bool { return s == "embedded" }

func (s storeURL) validate() error {
	if s.embedded() {
		return nil
	}
	u, err := url.Parse(string(s))
	if err != nil || u.Scheme != "clickhouse" || u.Hostname() == "" {
		return errors.New("store: write embedded, or clickhouse://user:password@host:9000/database")
	}
	return nil
}

// String returns the address without its password.
func (s storeURL) String() string {
	if s.embedded() {
		return string(s)
	}
	u, err := url.Parse(string(s))
	if err != nil {
		return "clickhouse://(unreadable)"
	}
	if u.RawQuery != "" && u.RawQuery != "secure=true" && u.RawQuery != "secure=false" {
		u.RawQuery = "xxxxx" // some clients take a password there
	}
	return u.Redacted()
}

// GoString is String, for %#v.
func (s storeURL) GoString() string { return s.String() }

// MarshalYAML is String, for a printed configuration.
func (s storeURL) MarshalYAML() (any, error) { return s.String(), nil }
