package collector

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
			value, x.buf = unescapeValue(x.buf, value)
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
