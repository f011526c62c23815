package collector

import (
	"bytes"

	"github.com/kantarainitiative/footfall/collector/privacy"
)

// headers is what a hit's header fields say, apart from those that fasthttp keeps itself.
// Its slices are parts of the request.
type headers struct {
	forwarded forwarded
	cookies   cookies
	dnt       bool // DNT: 1 or Sec-GPC: 1
	prefetch  bool // the browser loads the page in advance: nobody has seen it
	encoded   bool // the body is compressed
}

// cookies are the two that are ours; no other is looked at.
type cookies struct {
	optedOut bool
	consent  []byte // the value of the cookie that the visitor agreed to; part of the request
	several  bool   // there are cookies of that name with different values
}

// readHeaders looks at each field once. fasthttp's own look-up would go through all of
// them for each name, and its iteration takes all cookies apart, most of which are none of our business.
func readHeaders(raw []byte) (h headers) {
	for len(raw) > 0 {
		var line []byte
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			line, raw = raw[:i], raw[i+1:]
		} else {
			line, raw = raw, nil
		}
		if len(line) == 0 {
			continue
		}
		switch line[0] {
		case ' ', '\t':
			// A folded field: the list it belongs to cannot be trusted to be whole.
			h.forwarded = forwarded{}
			continue
		case 'D', 'd', 'S', 's', 'P', 'p', 'X', 'x', 'F', 'f', 'C', 'c':
		default:
			continue
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		value = bytes.TrimSpace(value)
		switch {
		case equalFold(name, "dnt"), equalFold(name, "sec-gpc"):
			h.dnt = h.dnt || string(value) == "1"
		case equalFold(name, "sec-purpose"), equalFold(name, "purpose"), equalFold(name, "x-moz"), equalFold(name, "x-purpose"):
			h.prefetch = h.prefetch || isPrefetch(value)
		case equalFold(name, "x-forwarded-for"):
			h.forwarded.xff.add(value)
		case equalFold(name, "forwarded"):
			h.forwarded.rfc7239.add(value)
		case equalFold(name, "x-real-ip"):
			h.forwarded.realIP = value
		case equalFold(name, "cookie"):
			h.cookies.read(value)
		case equalFold(name, "content-encoding"):
			h.encoded = h.encoded || len(value) > 0 && !equalFold(value, "identity")
		}
	}
	return h
}

// read takes our cookies out of a Cookie field. Of two different consents none counts: one of
// them was set by somebody else below the same domain, who would know the id.
func (c *cookies) read(list []byte) {
	for len(list) > 0 {
		var pair []byte
		pair, list, _ = bytes.Cut(list, []byte{';'})
		name, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
		switch string(name) {
		case privacy.OptOutName:
			c.optedOut = c.optedOut || string(value) == privacy.OptOutValue || string(value) == `"`+privacy.OptOutValue+`"` // RFC 6265, section 4.1.1
		case privacy.ConsentName:
			switch {
			case c.several:
			case c.consent != nil && !bytes.Equal(c.consent, value):
				c.consent, c.several = nil, true
			case len(value) <= privacy.MaxConsent:
				c.consent = value
			}
		}
	}
}

// isPrefetch reports whether a value like "prefetch;prerender" or "preview" says that a
// page is loaded before anybody asked for it.
func isPrefetch(value []byte) bool {
	for len(value) > 0 {
		end := bytes.IndexAny(value, ";, ")
		if end < 0 {
			end = len(value)
		}
		word := value[:end]
		if equalFold(word, "prefetch") || equalFold(word, "prerender") || equalFold(word, "preview") {
			return true
		}
		value = value[min(end+1, len(value)):]
	}
	return false
}
