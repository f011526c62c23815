package classify

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/kantarainitiative/footfall/event"
)

// Source says what led to a page.
type Source struct {
	Source   string // "Google", "example.net"; "" for direct
	Channel  string // one of the Channel… constants
	Referrer string // host and path of the page that linked here; no query, no address
	Spam     bool   // the referrer is forged to advertise itself
	ClickID  string // the name of a known click parameter, lower case
}

// Campaign is what the page's own address says of the campaign it was reached by: the
// utm_ parameters as they came, and the name of a click parameter, see [Sources.ClickID].
type Campaign struct {
	Source, Medium, Campaign, Content, Term string
	ClickID                                 string
}

// IPSource is the name of every source whose host is an address: the address is not kept.
const IPSource = "(IP address)"

type category uint8

const (
	other category = iota
	assistant
	mail
	search
	social
	video
	shopping
)

type site struct {
	name     string
	category category
}

type click struct{ name, source, channel string }

// Sources names what leads to pages.
type Sources struct {
	hosts  map[string]site // host, also for its subdomains; app referrers with scheme
	labels map[string]site // google.* by "google"
	names  map[string]site // by what may stand in utm_source, lower case
	clicks map[string]click
	spam   map[string]bool
}

// NewSources reads the embedded tables.
func NewSources() (*Sources, error) {
	s := &Sources{
		hosts:  make(map[string]site),
		labels: make(map[string]site),
		names:  make(map[string]site),
		clicks: make(map[string]click),
		spam:   make(map[string]bool),
	}
	categories := map[string]category{"app": other, "ai": assistant, "mail": mail, "search": search,
		"social": social, "video": video, "shopping": shopping}
	lines, err := readTable("sources.txt", 3)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		c, ok := categories[l[1]]
		if !ok {
			return nil, fmt.Errorf("classify: sources.txt: %q: no category %q", l[0], l[1])
		}
		n := site{l[2], c}
		table, key := s.hosts, l[0]
		if label, ok := strings.CutSuffix(key, ".*"); ok {
			table, key = s.labels, label
		}
		if _, twice := table[key]; twice {
			return nil, fmt.Errorf("classify: sources.txt: %q twice", l[0])
		}
		table[key] = n
		if lower := strings.ToLower(n.name); s.names[lower].name == "" {
			s.names[lower] = n
		}
	}
	if lines, err = readTable("aliases.txt", 2); err != nil {
		return nil, err
	}
	for _, l := range lines {
		n, ok := s.names[strings.ToLower(l[1])]
		if !ok {
			return nil, fmt.Errorf("classify: aliases.txt: %q: no source %q", l[0], l[1])
		}
		s.names[l[0]] = n
	}
	if lines, err = readTable("clickids.txt", 3); err != nil {
		return nil, err
	}
	for _, l := range lines {
		s.clicks[l[0]] = click{l[0], l[1], l[2]}
	}
	if lines, err = readTable("spam.txt", 1); err != nil {
		return nil, err
	}
	for _, l := range lines {
		s.spam[l[0]] = true
	}
	return s, nil
}

// maxClick is longer than any click parameter's name.
const maxClick = 16

// ClickID returns the name under which the query parameter param is known as an
// advertiser's click identifier, and "" if it is none. It does not allocate.
func (s *Sources) ClickID(param string) string {
	if len(param) > maxClick {
		return ""
	}
	var low [maxClick]byte
	return s.clicks[string(lower(low[:], param))].name
}

// lower puts s in lower case into b, which must be long enough.
func lower(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	return b[:len(s)]
}

// Classify names what led to a page on pageHost. The referrer is that which the browser
// gave: one that cannot be read counts as none, and so does one on pageHost, its subdomains
// or its parent domains. To have all pages of a site count as its own, give the site's domain
// for pageHost. A campaign names the source before the referrer does.
func (s *Sources) Classify(referrer, pageHost string, c Campaign) Source {
	var out Source
	var from site
	r, ok := parseReferrer(referrer)
	if ok && !r.app && own(r, pageHost) {
		ok = false
	}
	if ok {
		if !r.ip && s.isSpam(r.host) {
			out.Spam = true
		}
		from, out.Referrer = s.referrer(r)
	}
	clicked := s.clicks[s.ClickID(c.ClickID)]
	out.ClickID = clicked.name
	if tagged := s.campaign(c.Source); tagged.name != "" {
		from = tagged
	} else if from.name == "" {
		from = s.campaign(clicked.source)
	}
	out.Source = from.name
	out.Channel = channel(from, c, clicked)
	return out
}

// campaign returns the site that a utm_source means.
func (s *Sources) campaign(source string) site {
	var buf [64]byte
	source = strings.TrimSpace(source)
	if source == "" {
		return site{}
	}
	if len(source) <= len(buf) {
		low := lower(buf[:], source)
		if n, ok := s.names[string(low)]; ok {
			return n
		}
		if strings.IndexByte(source, '.') > 0 {
			host := strings.TrimPrefix(string(low), "www.")
			if n, ok := s.lookup(host); ok {
				return n
			}
		}
	}
	if isAddress(source) {
		return site{name: IPSource}
	}
	return site{name: event.Clean(source, event.MaxUTM)}
}

// referrer returns the site of a referrer and the text to keep of it.
func (s *Sources) referrer(r reference) (site, string) {
	if r.ip {
		return site{name: IPSource}, ""
	}
	path := strings.TrimRight(r.path, "/")
	text := event.Clean(r.host+path, event.MaxReferrer)
	if n, ok := s.lookup(r.host); ok {
		return n, text
	}
	return site{name: text[:len(r.host)]}, text
}

// lookup finds a host, or the nearest of its parents, in the tables.
func (s *Sources) lookup(host string) (site, bool) {
	if n, ok := s.hosts[host]; ok {
		return n, true
	}
	sub := "" // the labels that were taken off
	for h := host; ; {
		label, rest, ok := strings.Cut(h, ".")
		if !ok {
			return site{}, false
		}
		if n, ok := s.labels[label]; ok && isEnding(rest) && isFront(sub) {
			return n, true
		}
		sub = host[:len(host)-len(rest)-1]
		if n, ok := s.hosts[rest]; ok {
			return n, true
		}
		h = rest
	}
}

// isEnding reports whether a domain could be a country's: "de", "co.uk", "com".
func isEnding(s string) bool {
	first, second, two := strings.Cut(s, ".")
	if !two {
		return len(first) == 2 || first == "com" || first == "cat" || first == "net" || first == "org"
	}
	return len(second) == 2 && (first == "co" || first == "com" || first == "ne" || first == "or")
}

// isFront reports whether a subdomain shows the same as the domain itself. Other subdomains
// are other things: mail.google.com is no search.
func isFront(sub string) bool {
	switch sub {
	case "", "m", "images", "cse", "encrypted", "search", "smile", "l", "ipv4", "ipv6":
		return true
	}
	return len(sub) == 2 // a country: de.pinterest.com
}

func (s *Sources) isSpam(host string) bool {
	for h, ok := host, true; ok; _, h, ok = strings.Cut(h, ".") {
		if s.spam[h] {
			return true
		}
	}
	return false
}

// own reports whether a referrer's host belongs to the site of a page's host.
func own(r reference, page string) bool {
	page, ip, ok := cleanHost(page)
	if !ok || r.ip || ip {
		return ok && r.ip && ip && r.host == page
	}
	return r.host == page || under(r.host, page) || under(page, r.host) && !isPublic(r.host)
}

func under(host, parent string) bool {
	n := len(host) - len(parent)
	return n > 1 && host[n-1] == '.' && host[n:] == parent
}

// isPublic reports whether a domain's subdomains belong to different people: github.io.
func isPublic(host string) bool {
	suffix, _ := publicsuffix.PublicSuffix(host)
	return suffix == host
}
