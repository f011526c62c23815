package privacy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
)

// Site is what a visitor's page has to know of a configured site.
type Site struct {
	Domain   string
	Hosts    []string         // of its pages, besides Domain and what lies below it
	Location *time.Location   // never nil
	Window   anonymize.Window // how long a number lasts
	Unlinked bool             // Do-Not-Track or Global Privacy Control: counted without a number
	Dropped  bool             // Do-Not-Track or Global Privacy Control: not counted
	Cookie   bool             // visitors may agree to a cookie
	tag      Tag
}

// Sites are the configured sites. They do not change.
type Sites struct {
	all     []Site
	updated time.Time
}

// NewSites returns the sites of a configuration that was last changed at the given time.
func NewSites(sites []Site, updated time.Time) *Sites {
	s := &Sites{all: slices.Clone(sites), updated: updated}
	for i := range s.all {
		s.all[i].tag = TagOf(s.all[i].Domain)
	}
	return s
}

// named returns the sites that a comma-separated list names, as the tracker does. It is false where
// one of them is not configured.
func (s *Sites) named(list string) ([]*Site, bool) {
	var out []*Site
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		site := s.find(normalHost(name))
		if site == nil {
			return nil, false
		}
		if !slices.Contains(out, site) {
			out = append(out, site)
		}
	}
	return out, len(out) > 0
}

func (s *Sites) find(domain string) *Site {
	for i := range s.all {
		if s.all[i].Domain == domain {
			return &s.all[i]
		}
	}
	if rest, ok := strings.CutPrefix(domain, "www."); ok {
		return s.find(rest)
	}
	return nil
}

// addressed returns the sites that a request is about: the one its host names, or a parent of the host
// does, else all of them.
func (s *Sites) addressed(host string) []*Site {
	for h := host; h != "" && !isIP(host); {
		if site := s.find(h); site != nil {
			return []*Site{site}
		}
		_, h, _ = strings.Cut(h, ".")
	}
	out := make([]*Site, len(s.all))
	for i := range s.all {
		out[i] = &s.all[i]
	}
	return out
}

// normalHost returns a host as it is configured: lower case, in ASCII, without port and final dot.
func normalHost(host string) string {
	host = strings.ToLower(strings.TrimSpace(host))
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host[1:], "]")
		return host
	}
	if before, port, ok := strings.Cut(host, ":"); ok && !strings.Contains(port, ":") {
		host = before
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return strings.TrimSuffix(host, ".")
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// registrable returns the part of a host that somebody registered, below the public suffix: what
// browsers take for one site. It is "" where there is no such part: addresses, localhost, a public suffix itself.
func registrable(host string) string {
	if isIP(host) || !strings.Contains(host, ".") {
		return ""
	}
	r, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	return r
}

// reach is how far a cookie goes that is set on a host.
type reach struct {
	Domain string // the cookie's Domain attribute; "" for this host alone
	// Here are the addressed sites whose pages are the same site as the host to a browser, so that
	// it sends the cookie with their hits; Elsewhere are the others.
	Here, Elsewhere []*Site
}

// reachOf decides for whom an opt-out cookie is set: on a site's own host for that host, on another host below the
// same registrable domain for that domain.
func reachOf(host string, sites []*Site) (r reach) {
	own := registrable(host)
	for _, s := range sites {
		here := s.Domain == host
		for _, h := range append([]string{s.Domain}, s.Hosts...) {
			if !here && own != "" && registrable(h) == own {
				here, r.Domain = true, own
			}
		}
		if here {
			r.Here = append(r.Here, s)
		} else {
			r.Elsewhere = append(r.Elsewhere, s)
		}
	}
	return r
}

// SameSite reports whether browsers take two hosts for one site: the same host, or one registrable domain.
func SameSite(a, b string) bool {
	return a == b || registrable(a) != "" && registrable(a) == registrable(b)
}

// erased returns when the keys of a site's numbers of before a date, which begins a period, are erased, so that
// nobody can compute those numbers again: when the date has come everywhere, at the last of all sites.
func (s *Sites) erased(before event.Day) (last time.Time) {
	for i := range s.all {
		if t := before.Start(s.all[i].Location); t.After(last) {
			last = t
		}
	}
	return last
}

// next returns the date on which the site's numbers change.
func (s *Site) next(today event.Day) event.Day {
	for today++; s.Window.First(int(today)) != int(today); {
		today++
	}
	return today
}
