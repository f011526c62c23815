package collector

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

// DNT says what a site does with a hit whose browser sends DNT: 1 or Sec-GPC: 1.
type DNT uint8

// The answers to a Do-Not-Track signal. The zero value is the default.
const (
	DNTUnlinked DNT = iota // counted without any visitor id, in no visit
	DNTIgnore              // counted as any other
	DNTDrop                // not counted
)

// String returns the name in the configuration.
func (d DNT) String() string {
	switch d {
	case DNTUnlinked:
		return "unlinked"
	case DNTIgnore:
		return "ignore"
	case DNTDrop:
		return "drop"
	}
	return fmt.Sprintf("DNT(%d)", uint8(d))
}

// ParseDNT reads a name as [DNT.String] writes it.
func ParseDNT(s string) (DNT, error) {
	for d := DNTUnlinked; d <= DNTDrop; d++ {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is none of ignore, unlinked, drop", s)
}

// Site is a site that hits are counted for. The zero value of every field but Domain is
// the default.
type Site struct {
	Domain      string           // as the tracker names it
	Location    *time.Location   // the site's calendar; nil is UTC
	Hostnames   []string         // only pages on these hosts and their subdomains count; none: on any
	IP          anonymize.Mode   // what is kept of an address
	Bits4       int              // leading bits of an IPv4 address that its network has; 0, or more than it: [anonymize.Bits4]
	Bits6       int              // the same of an IPv6 address: [anonymize.Bits6]
	DNT         DNT              // what a Do-Not-Track signal does
	Window      anonymize.Window // how long a visitor keeps an id
	QueryParams []string         // query parameters that are part of a page
	PII         PII              // what is done with personal data in the texts of a hit
	GeoOff      bool             // no place is looked up
	NoScript    bool             // hits of the tracker are refused
	NoPixel     bool             // those of the picture in a page
	NoEmail     bool             // those of the picture in emails
	Cookie      bool             // visitors may agree to a cookie, which then gives them their id
	Notice      uint32           // version of the notice in force
}

// Settings is what can be changed while hits come in.
type Settings struct {
	Sites          []Site
	TrustedProxies []netip.Prefix // peers whose forwarding headers are believed
	Geo            Places         // nil: no places
	RateLimit      int            // hits a minute that count of one network; 0: any number
	HTTPS          bool           // visitors reach the listener over https, unless a trusted proxy says otherwise
	Updated        time.Time      // when these settings were made; zero: now
}

// settings is a checked Settings, replaced as a whole.
type settings struct {
	sites   map[string]*site
	names   []string
	proxies proxies
	places  *placeCache

	rateLimit int
	https     bool
	public    *privacy.Sites // what visitors' pages know of the sites
}

// site is a Site with what is worked out from it once.
type site struct {
	Site
	number uint32 // stands for Domain in keys, the same for the life of the process
	params map[string]struct{}
	tag    privacy.Tag // in the cookie of those who agreed to one
	habit  *habit      // the same for the life of the process
	today  atomic.Pointer[calendarDay]
}

// takes tells whether the site counts what comes by this way.
func (s *site) takes(v via) bool {
	switch v {
	case viaScript:
		return !s.NoScript
	case viaPixel:
		return !s.NoPixel
	case viaEmail:
		return !s.NoEmail
	}
	return true
}

// network is what the site sees of an address: all that is stored of it, and all that a place is
// looked up by.
func (s *site) network(addr netip.Addr) anonymize.Network {
	bits4, bits6 := s.Bits4, s.Bits6
	if bits4 == 0 {
		bits4 = anonymize.Bits4
	}
	if bits6 == 0 {
		bits6 = anonymize.Bits6
	}
	return anonymize.Truncate(addr, bits4, bits6)
}

// calendarDay is a date and the Unix seconds between which it is that date.
type calendarDay struct {
	day      event.Day
	from, to int64
}

// numbers gives every site's name a number that never changes or means another site.
// It grows by the sites of each new configuration only. It belongs to Configure.
type numbers map[string]uint32

func (n numbers) of(domain string) uint32 {
	if _, ok := n[domain]; !ok {
		n[domain] = uint32(len(n)) + 1
	}
	return n[domain]
}

// habits keeps each site's habit through changes of the configuration. It belongs to Configure.
type habits map[string]*habit

func (h habits) of(domain string, now int64) *habit {
	if _, ok := h[domain]; !ok {
		h[domain] = newHabit(now)
	}
	return h[domain]
}

// keep forgets the habits of sites that are configured no more.
func (h habits) keep(sites map[string]*site) {
	for domain := range h {
		if sites[domain] == nil {
			delete(h, domain)
		}
	}
}

// newSettings checks s. The sites have no habit yet.
func newSettings(s Settings, n numbers, sources Sources) (*settings, error) {
	if s.RateLimit < 0 {
		return nil, fmt.Errorf("collector: a rate limit of %d is negative", s.RateLimit)
	}
	cfg := &settings{sites: make(map[string]*site, len(s.Sites)), rateLimit: s.RateLimit, https: s.HTTPS}
	for i, in := range s.Sites {
		st := &site{Site: in}
		if st.Location == nil {
			st.Location = time.UTC
		}
		domain, _, ok := normalHost(nil, trim(in.Domain))
		if !ok {
			return nil, fmt.Errorf("collector: site %d: %q is no domain", i+1, in.Domain)
		}
		st.Domain = strings.Clone(domain)
		if cfg.sites[st.Domain] != nil {
			return nil, fmt.Errorf("collector: site %q is there twice", st.Domain)
		}
		st.Hostnames = nil
		for _, h := range in.Hostnames {
			host, _, ok := normalHost(nil, trim(h))
			if !ok {
				return nil, fmt.Errorf("collector: site %q: %q is no host name", st.Domain, h)
			}
			st.Hostnames = append(st.Hostnames, strings.Clone(host))
		}
		st.params = make(map[string]struct{}, len(in.QueryParams))
		for _, p := range in.QueryParams {
			if isCampaignName(p, sources) {
				return nil, fmt.Errorf("collector: site %q: the query parameter %q is never kept in a page: it tells of a campaign or a click", st.Domain, p)
			}
			st.params[p] = struct{}{}
		}
		st.number = n.of(st.Domain)
		st.tag = privacy.TagOf(st.Domain)
		cfg.sites[st.Domain] = st
		cfg.names = append(cfg.names, st.Domain)
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return nil, fmt.Errorf("collector: a trusted proxy is no network")
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		cfg.proxies.trusted = append(cfg.proxies.trusted, p.Masked())
	}
	cfg.places = newPlaceCache(s.Geo)
	cfg.public = publicSites(cfg, s.Updated)
	return cfg, nil
}

// site finds the site that a hit names, also by its name with www. in front. It returns
// nil for a name that is not configured.
func (c *settings) site(buf []byte, name string) (*site, []byte) {
	if s := c.sites[name]; s != nil {
		return s, buf
	}
	name, buf, ok := normalHost(buf, name)
	if !ok {
		return nil, buf
	}
	if s := c.sites[name]; s != nil {
		return s, buf
	}
	return c.sites[strings.TrimPrefix(name, "www.")], buf
}

// allows reports whether pages on host count for the site.
func (s *site) allows(host string) bool {
	if len(s.Hostnames) == 0 {
		return true
	}
	for _, h := range s.Hostnames {
		if host == h || len(host) > len(h) && host[len(host)-len(h)-1] == '.' && strings.HasSuffix(host, h) {
			return true
		}
	}
	return false
}

// dayAt returns the date on the site's calendar. It is worked out once a day.
func (s *site) dayAt(now time.Time) event.Day {
	sec := now.Unix()
	if d := s.today.Load(); d != nil && d.from <= sec && sec < d.to {
		return d.day
	}
	day := event.DayOf(now.In(s.Location))
	s.today.Store(&calendarDay{day: day, from: day.Start(s.Location).Unix(), to: (day + 1).Start(s.Location).Unix()})
	return day
}
