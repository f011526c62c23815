package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rules are an organisation's policy as it can be held against a configuration: a file of its
// own, which those who write policies keep, apart from the configuration of those who run
// programs. What a rule does not name is not restricted. The zero value allows everything.
type Rules struct {
	Retention   Period       `yaml:"retention"`    // the longest that records may be kept
	Prefix      *PrefixRule  `yaml:"prefix"`       // the most bits of an address that may be kept and looked up
	IP          []string     `yaml:"ip"`           // the answers allowed to `ip`: truncate, hash, drop
	DNT         []string     `yaml:"dnt"`          // the answers allowed to `dnt`: ignore, unlinked, drop
	Cookies     *bool        `yaml:"cookies"`      // whether the consented cookie may be used
	Sources     []Means      `yaml:"sources"`      // the means allowed: script, pixel, email
	MinVisitors int          `yaml:"min_visitors"` // the smallest group that may be shown
	Forbidden   []Feature    `yaml:"forbidden"`
	Profile     string       `yaml:"profile"`            // of [Profiles]: its rules hold beside these
	Reviewed    ReviewedDate `yaml:"retention_reviewed"` // when somebody last looked at the periods
}

// PrefixRule bounds how much of an address is kept, in bits.
type PrefixRule struct {
	IPv4 int `yaml:"ipv4"`
	IPv6 int `yaml:"ipv6"`
}

// Feature is something that a policy can forbid as a whole.
type Feature string

// The features.
const (
	LongIDs     Feature = "long_ids"     // ids that outlive a day: visitor_window week or month, or the cookie
	Cities      Feature = "cities"       // places finer than the country
	Places      Feature = "places"       // any place
	Networks    Feature = "networks"     // the truncated network is stored
	QueryParams Feature = "query_params" // parameters kept in a page's address
	RawTexts    Feature = "raw_texts"    // personal data in addresses and titles is stored as it comes: pii off
)

// Features are all features.
var Features = []Feature{LongIDs, Cities, Places, Networks, QueryParams, RawTexts}

// ReviewedDate is a calendar date, zero where none is given.
type ReviewedDate struct{ time.Time }

// UnmarshalYAML reads 2026-05-01.
func (d *ReviewedDate) UnmarshalYAML(n *yaml.Node) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, n.Value); err != nil {
		return fmt.Errorf("line %d: retention_reviewed: %q is no date such as 2026-05-01", n.Line, n.Value)
	}
	return nil
}

// Period is how long something is kept: a number and d, w, mo or y. "" is no period.
type Period string

var periodPattern = regexp.MustCompile(`^([1-9][0-9]{0,4})(d|w|mo|y)$`)

// Days is the longest that the period can be, in days: a month has 31 of them and a year 366, and
// n months never more than a twelfth of as many years, rounded up.
func (p Period) Days() int {
	m := periodPattern.FindStringSubmatch(string(p))
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	switch m[2] {
	case "d":
		return n
	case "w":
		return 7 * n
	case "mo":
		return n/12*365 + (n/12+3)/4 + min(n%12*31, 366)
	}
	return n*365 + (n+3)/4
}

// UnmarshalYAML reads a period.
func (p *Period) UnmarshalYAML(n *yaml.Node) error {
	if !periodPattern.MatchString(n.Value) {
		return fmt.Errorf("line %d: retention: %q is no period: write a number and d, w, mo or y", n.Line, n.Value)
	}
	*p = Period(n.Value)
	return nil
}

// ParseRules reads a policy. Unknown clauses and words are errors that name the line: a rule that
// is misspelt must not be a rule that holds nobody.
func ParseRules(b []byte) (*Rules, error) {
	r := &Rules{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(r); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New(unknownClause.ReplaceAllString(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  "), `line $1: unknown clause "$2"`))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

var unknownClause = regexp.MustCompile(`line (\d+): field (\S+) not found in type \S+`)

func (r *Rules) check() error {
	for _, v := range r.IP {
		if !slices.Contains([]string{"truncate", "hash", "drop"}, v) {
			return fmt.Errorf("ip: %q is none of truncate, hash, drop", v)
		}
	}
	for _, v := range r.DNT {
		if !slices.Contains([]string{"ignore", "unlinked", "drop"}, v) {
			return fmt.Errorf("dnt: %q is none of ignore, unlinked, drop", v)
		}
	}
	for _, m := range r.Sources {
		if !slices.Contains(AllMeans, m) {
			return fmt.Errorf("sources: %q is none of script, pixel, email", m)
		}
	}
	for _, f := range r.Forbidden {
		if !slices.Contains(Features, f) {
			return fmt.Errorf("forbidden: %q is none of the features: %s", f, join(Features))
		}
	}
	if p := r.Prefix; p != nil && (p.IPv4 < 0 || p.IPv4 > 32 || p.IPv6 < 0 || p.IPv6 > 128) {
		return errors.New("prefix: ipv4 is 0 to 32, ipv6 0 to 128")
	}
	if r.MinVisitors < 0 {
		return fmt.Errorf("min_visitors: %d is negative", r.MinVisitors)
	}
	if r.Profile != "" {
		if _, ok := ProfileRules(r.Profile); !ok {
			return fmt.Errorf("profile: %q is none of %s", r.Profile, strings.Join(ProfileNames(), ", "))
		}
	}
	return nil
}

func join[T ~string](xs []T) string {
	out := make([]string, len(xs))
	for i, x := range xs {
		out[i] = string(x)
	}
	return strings.Join(out, ", ")
}

// Breach is a clause of a policy that a configuration breaks.
type Breach struct {
	Clause  string // "retention", or "profile cnil: retention"
	Site    string // "" where it is nobody's in particular
	Setting string // the setting that mends it
	Allowed string
	Is      string
}

// String is the breach in one line.
func (b Breach) String() string {
	site := ""
	if b.Site != "" {
		site = b.Site + ": "
	}
	return fmt.Sprintf("%s: %s%s is %s, and the policy allows %s", b.Clause, site, b.Setting, b.Is, b.Allowed)
}

// Breaches returns every clause that the facts of a site break, those of the profile included.
func (r *Rules) Breaches(sites []Facts, now time.Time) []Breach {
	out := r.own(sites)
	if r.Profile == "" {
		return out
	}
	p, _ := ProfileRules(r.Profile)
	for _, b := range p.own(sites) {
		b.Clause = "profile " + r.Profile + ": " + b.Clause
		out = append(out, b)
	}
	if p.mustReview && (r.Reviewed.IsZero() || now.Sub(r.Reviewed.Time) > 366*24*time.Hour) {
		is := "missing"
		if !r.Reviewed.IsZero() {
			is = r.Reviewed.Format(time.DateOnly)
		}
		out = append(out, Breach{"profile " + r.Profile + ": retention_reviewed", "", "retention_reviewed in the policy", "a date within the last 12 months", is})
	}
	return out
}

func (r *Rules) own(sites []Facts) (out []Breach) {
	for i := range sites {
		f := &sites[i]
		add := func(clause, setting, allowed, is string) {
			out = append(out, Breach{clause, f.Site, setting, allowed, is})
		}
		if most := r.Retention.Days(); most > 0 {
			for kind, p := range f.Kept() {
				if d := Period(p).Days(); d > most || d == 0 {
					add("retention", "retention of "+kind, "at most "+string(r.Retention), p)
				}
			}
		}
		if p := r.Prefix; p != nil {
			// What is looked up counts, whatever is stored.
			if f.Bits4 > p.IPv4 && (f.Place != "none" || f.Address == "truncate") {
				add("prefix", "prefix.ipv4", fmt.Sprintf("at most %d bits", p.IPv4), strconv.Itoa(f.Bits4))
			}
			if f.Bits6 > p.IPv6 && (f.Place != "none" || f.Address == "truncate") {
				add("prefix", "prefix.ipv6", fmt.Sprintf("at most %d bits", p.IPv6), strconv.Itoa(f.Bits6))
			}
		}
		if len(r.IP) > 0 && !slices.Contains(r.IP, f.Address) {
			add("ip", "ip", strings.Join(r.IP, ", "), f.Address)
		}
		if len(r.DNT) > 0 && !slices.Contains(r.DNT, f.DNT) {
			add("dnt", "dnt", strings.Join(r.DNT, ", "), f.DNT)
		}
		if r.Cookies != nil && !*r.Cookies && f.Cookie != "none" {
			add("cookies", "cookie", "none", f.Cookie)
		}
		if len(r.Sources) > 0 {
			for _, m := range f.Means {
				if !slices.Contains(r.Sources, m) {
					add("sources", "means", join(r.Sources), string(m))
				}
			}
		}
		if f.MinVisitors < r.MinVisitors {
			add("min_visitors", "min_visitors", fmt.Sprintf("at least %d", r.MinVisitors), strconv.Itoa(f.MinVisitors))
		}
		for _, x := range r.Forbidden {
			if setting, is := f.uses(x); setting != "" {
				add("forbidden "+string(x), setting, "none of it", is)
			}
		}
	}
	return out
}

// uses tells by which setting a site has a feature, and what that is; "" if it has not.
func (f *Facts) uses(x Feature) (setting, is string) {
	switch x {
	case LongIDs:
		if f.Window != "day" {
			return "visitor_window", f.Window
		}
		if f.Cookie != "none" {
			return "cookie", f.Cookie
		}
	case Cities:
		if f.Place == "city" {
			return "geo", "a database of cities"
		}
	case Places:
		if f.Place != "none" {
			return "geo", f.Place
		}
	case Networks:
		if f.Address == "truncate" {
			return "ip", f.Address
		}
	case QueryParams:
		if len(f.QueryParams) > 0 {
			return "query_params", strings.Join(f.QueryParams, ", ")
		}
	case RawTexts:
		if f.PII == "off" {
			return "pii", f.PII
		}
	}
	return "", ""
}
