package collector

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"github.com/kantarainitiative/footfall/event"
)

// noHost is the hostname of a page that has none: a saved copy opened from a disk, or an
// empty frame. It is Plausible's word for it.
const noHost = "(none)"

// maxURL bounds the part of an address that is looked at. Fields are cut to their own
// limits later.
const maxURL = 16 << 10

// pageURL is the address of a page, taken apart. Its strings are parts of the address
// that was parsed or of the scratch buffer, and live as long as those.
type pageURL struct {
	host     string // lower case, without port; international names as xn--; noHost for none
	path     string // decoded, starts with a slash, without a trailing one
	query    string // as it came
	fragment string // as it came
}

// parseURL takes an address apart, appending to buf what has to be rewritten, and
// returns the extended buf. It is false for what no reader would call the address of a page.
//
// Any scheme with an authority is fine: apps send addresses such as app://host/screen. The
// path of a file: address is dropped, since it names a place on somebody's disk and
// often its owner.
func parseURL(buf []byte, raw string) (u pageURL, _ []byte, ok bool) {
	raw = trim(raw)
	if len(raw) > maxURL {
		raw = raw[:maxURL]
	}
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		return u, buf, false
	}
	if equalFold(scheme, "file") || equalFold(scheme, "about") {
		return pageURL{host: noHost, path: "/"}, buf, true
	}
	if !strings.HasPrefix(rest, "//") {
		return u, buf, false
	}
	rest = rest[2:]
	end := strings.IndexAny(rest, `/?#\`)
	if end < 0 {
		end = len(rest)
	}
	if u.host, buf, ok = appendHost(buf, rest[:end]); !ok {
		return u, buf, false
	}
	rest, u.fragment, _ = strings.Cut(rest[end:], "#")
	rest, u.query, _ = strings.Cut(rest, "?")
	u.path, buf = appendPath(buf, rest)
	return u, buf, true
}

// cutScheme splits raw at the colon of its scheme (RFC 3986, section 3.1).
func cutScheme(raw string) (scheme, rest string, ok bool) {
	for i := range len(raw) {
		switch c := raw[i]; {
		case 'a' <= lower(c) && lower(c) <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return raw[:i], raw[i+1:], true
		default:
			return "", "", false
		}
	}
	return "", "", false
}

// appendHost returns the host of an authority in its one form: without user and port,
// in lower case, without a final dot, international names as xn--.
func appendHost(buf []byte, authority string) (string, []byte, bool) {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !isPort(host[end+1:]) {
			return "", buf, false
		}
		host = host[1:end]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return "", buf, false
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		if !isPort(host[i:]) {
			return "", buf, false
		}
		host = host[:i]
	}
	return normalHost(buf, host)
}

func isPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) > 6 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// normalHost returns the one form of a host name, appending to buf if it has to be
// rewritten. It is false for what cannot be one.
func normalHost(buf []byte, host string) (string, []byte, bool) {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 4*event.MaxSite {
		return "", buf, false
	}
	same := true
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == ':':
		case 'A' <= c && c <= 'Z':
			same = false
		case c >= 0x80:
			// IDNA 2008 as browsers apply it. Rare: they send addresses that went through it already.
			ascii, err := idna.Lookup.ToASCII(host)
			if err != nil || len(ascii) > event.MaxSite {
				return "", buf, false
			}
			return ascii, buf, true
		default:
			return "", buf, false
		}
	}
	if len(host) > event.MaxSite {
		return "", buf, false
	}
	if same {
		return host, buf, true
	}
	start := len(buf)
	for i := range len(host) {
		buf = append(buf, lower(host[i]))
	}
	return view(buf[start:]), buf, true
}

// appendPath returns the path as it is kept: percent-escapes decoded, except of the
// characters that would then read as something else; no trailing slash or spaces.
func appendPath(buf []byte, raw string) (string, []byte) {
	path := raw
	if strings.IndexByte(raw, '%') >= 0 {
		start := len(buf)
		buf = appendUnescaped(buf, raw, "/?#")
		path = view(buf[start:])
	}
	path = strings.TrimRight(path, " \t\r\n")
	if n := len(path) - 1; n > 0 && path[n] == '/' {
		path = path[:n]
	}
	if path == "" {
		path = "/"
	}
	return path, buf
}

// appendUnescaped appends s with its percent-escapes decoded, except of the characters
// in keep. What is no escape stays as it is.
func appendUnescaped(buf []byte, s, keep string) []byte {
	for i := 0; i < len(s); i++ {
		c, ok := escape(s[i:])
		switch {
		case !ok:
			buf = append(buf, s[i])
		case strings.IndexByte(keep, c) >= 0:
			const digits = "0123456789ABCDEF"
			buf = append(buf, '%', digits[c>>4], digits[c&15])
			i += 2
		default:
			buf = append(buf, c)
			i += 2
		}
	}
	return buf
}

// unescapeValue is unescapeQuery for a value. A plus that its sender did not escape before a telephone number, also in a
// value of an address that is the value, is one: as a space it would hide from the masker what the digits are.
func unescapeValue(buf []byte, s string) (string, []byte) {
	start := len(buf)
	out, buf := unescapeQuery(buf, s)
	for i := start; i < len(buf); i++ {
		if buf[i] == ' ' && (i == start || buf[i-1] == '=') && isDialled(buf[i+1:]) {
			buf[i] = '+'
		}
	}
	return out, buf
}

// isDialled reports whether s begins with 8 to 15 digits (E.164), in groups perhaps, and no letter right behind them.
func isDialled(s []byte) bool {
	n := 0
	for i, c := range s {
		switch {
		case '0' <= c && c <= '9':
			n++
		case i > 0 && strings.IndexByte(" -.()", c) >= 0:
		default:
			return n >= 8 && n <= 15 && (lower(c) < 'a' || lower(c) > 'z')
		}
	}
	return n >= 8 && n <= 15
}

// unescapeQuery returns a name or value of a query decoded: + is a space.
func unescapeQuery(buf []byte, s string) (string, []byte) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, buf
	}
	start := len(buf)
	for i := 0; i < len(s); i++ {
		if c, ok := escape(s[i:]); ok {
			buf = append(buf, c)
			i += 2
		} else if s[i] == '+' {
			buf = append(buf, ' ')
		} else {
			buf = append(buf, s[i])
		}
	}
	return view(buf[start:]), buf
}

// nextPair cuts the next name=value off a query.
func nextPair(query string) (pair, name, value, rest string) {
	pair, rest, _ = strings.Cut(query, "&")
	name, value, _ = strings.Cut(pair, "=")
	return pair, name, value, rest
}

// appendPage returns the page of u as site keeps it: the path, the query parameters that
// the site allows, and with hash routing the route in the fragment. Everything else often
// holds personal data and is dropped.
func appendPage(buf []byte, u *pageURL, allowed map[string]struct{}, hash bool) (string, []byte) {
	route := ""
	if hash {
		route = routeOf(u.fragment)
	}
	if route == "" && (u.query == "" || len(allowed) == 0) {
		return u.path, buf
	}
	// Decoded names go to buf before the page does, so that the page is in one piece.
	var kept [16]string
	n := 0
	for rest := u.query; rest != "" && len(allowed) > 0 && n < len(kept); {
		var pair, name string
		pair, name, _, rest = nextPair(rest)
		name, buf = unescapeQuery(buf, name)
		if _, ok := allowed[name]; ok && pair != "" {
			kept[n] = pair
			n++
		}
	}
	start := len(buf)
	buf = append(buf, u.path...)
	for i, pair := range kept[:n] {
		buf = append(buf, "?&"[min(i, 1)])
		buf = append(buf, pair...)
	}
	if route != "" {
		buf = append(buf, '#')
		buf = appendUnescaped(buf, route, "?#")
	}
	return view(buf[start:]), buf
}

// routeOf returns the part of a fragment that is a route: what comes before its query.
// A fragment like access_token=... is no route.
func routeOf(fragment string) string {
	if i := strings.IndexByte(fragment, '?'); i >= 0 {
		fragment = fragment[:i]
	}
	if strings.ContainsAny(fragment, "=&") || strings.Contains(fragment, "%3D") || strings.Contains(fragment, "%3d") {
		return ""
	}
	return strings.TrimRight(fragment, " ")
}
