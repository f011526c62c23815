package collector

import (
	"errors"

	"github.com/kantarainitiative/footfall/beacon/email"
)

// readPixel fills x.sent from the query of the page pixel: d, u, r, n, t. Without u the
// page is the one that the Referer header names; without n the hit is a page view. Of a
// repeated parameter the first value counts.
func (x *hit) readPixel(query, referer []byte) {
	s := &x.sent
	for rest := view(query); rest != ""; {
		var name, value string
		_, name, value, rest = nextPair(rest)
		var to *string
		switch name {
		case "d":
			to = &s.domains
		case "u":
			to = &s.url
		case "r":
			to = &s.referrer
		case "n":
			to = &s.name
		case "t":
			to = &s.title
		default:
			continue
		}
		if *to == "" {
			value, x.buf = unescapeQuery(x.buf, value)
			*to = trim(value)
		}
	}
	if s.url == "" {
		s.url = view(referer)
	}
	if s.name == "" {
		s.name = "pageview"
	}
}

// openEmail reads the token of an e-mail pixel. Its second result is counted for a good one.
func (c *Collector) openEmail(cfg *settings, token []byte) (email.Open, reason) {
	if c.emailKey == nil || len(token) > email.MaxToken {
		return email.Open{}, badInput
	}
	open, err := c.emailKey.OpenToken(view(token), cfg.names...)
	switch {
	case errors.Is(err, email.ErrSite):
		return open, notSite
	case err != nil:
		return open, badInput
	}
	return open, counted
}
