package main

import (
	"cmp"
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
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
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

// before is the day a period before today: the first that is kept. A month before the 31st is the last day of the month before.
func (p period) before(today event.Day) event.Day {
	digits := strings.TrimRight(string(p), "dwmoy")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0 // the pattern has seen to it
	}
	t, months := today.Time(), 0
	switch strings.TrimPrefix(string(p), digits) {
	case "d":
		return today - event.Day(min(n, int(today)))
	case "w":
		return today - event.Day(min(7*n, int(today)))
	case "mo":
		months = n
	default:
		months = 12 * n
	}
	first := time.Date(t.Year(), t.Month()-time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	if first.Year() < 1970 {
		return 0
	}
	return event.DayOf(first.AddDate(0, 0, min(t.Day(), first.AddDate(0, 1, -1).Day())-1))
}

// retention is how long each kind of record is kept.
type retention struct {
	Events     period `yaml:"events"`
	Rollups    period `yaml:"rollups"`    // figures by day and month
	Ledger     period `yaml:"ledger"`     // the books
	Recipients period `yaml:"recipients"` // of mail; nothing is held of them so far
}

const defaultPeriod = period("400d")

func keptFor(p period) retention { return retention{p, p, p, p} }

// UnmarshalYAML reads one period for all kinds, or one a kind: a kind that is not there is kept as long as events.
func (r *retention) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		var p period
		if err := p.UnmarshalYAML(n); err != nil {
			return err
		}
		*r = keptFor(p)
		return nil
	}
	if err := knownKeys(n, retention{}); err != nil {
		return err
	}
	type plain retention
	v := plain{}
	if err := n.Decode(&v); err != nil {
		return err
	}
	for _, p := range []*period{&v.Events, &v.Rollups, &v.Ledger, &v.Recipients} {
		if *p == "" {
			*p = cmp.Or(v.Events, defaultPeriod)
		}
	}
	*r = retention(v)
	return nil
}

// validate refuses what would make figures and books say of events what they do not hold any more, or what is
// gone already.
func (r retention) validate() error {
	for name, p := range map[string]period{"rollups": r.Rollups, "ledger": r.Ledger} {
		if policy.Period(p).Days() < policy.Period(r.Events).Days() {
			return fmt.Errorf("%s: %s is less than that of events, %s: write as much or more", name, p, r.Events)
		}
	}
	return nil
}

// cut is what is kept at an instant.
func (r retention) cut(now time.Time, zone *time.Location) store.Cut {
	today := event.DayOf(now.In(zone))
	c := store.Cut{Events: r.Events.before(today), Rollups: r.Rollups.before(today), Ledger: r.Ledger.before(today), Zone: zone}
	// 30d of one and 1mo of another may be either way round, by the month.
	c.Rollups, c.Ledger = min(c.Rollups, c.Events), min(c.Ledger, c.Events)
	return c
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

type grain string

func (g *grain) UnmarshalYAML(n *yaml.Node) error {
	return oneOf(n, "grain", (*string)(g), "hour", "day")
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
