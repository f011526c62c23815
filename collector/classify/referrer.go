package classify

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxHost is the longest name that DNS knows.
const maxHost = 253

// reference is the part of a referrer that may be kept.
type reference struct {
	app  bool   // android-app:// and ios-app://
	host string // lower case ASCII, no port, no www.; for an app its scheme and identifier
	path string // as it came, no query, no fragment, no parameters
	ip   bool   // the host is an address, to be compared only: its text is kept nowhere
}

// parseReferrer reads an absolute referrer; ok is false for anything else.
// The strings it returns are parts of s wherever s is in order already.
func parseReferrer(s string) (r reference, ok bool) {
	s = strings.TrimSpace(s)
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return r, false
	}
	switch {
	case equalFold(scheme, "http"), equalFold(scheme, "https"):
	case equalFold(scheme, "android-app"), equalFold(scheme, "ios-app"):
		r.app = true
	default:
		return r, false
	}
	authority := rest
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		authority, r.path = rest[:i], rest[i:]
	}
	// After a semicolon come parameters, and what they hold is mostly a session's secret.
	if i := strings.IndexAny(r.path, "?#;"); i >= 0 {
		r.path = r.path[:i]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if r.app {
		if !isName(authority) || isNumeric(authority) {
			return r, false
		}
		r.host, r.path = strings.ToLower(scheme+"://"+authority), ""
		return r, true
	}
	r.host, r.ip, ok = cleanHost(authority)
	return r, ok
}

// equalFold compares ASCII.
func equalFold(s, lower string) bool {
	return len(s) == len(lower) && strings.EqualFold(s, lower)
}

// cleanHost brings a host with an optional port into the form in which hosts are compared:
// lower case ASCII with no port, final dot or www. ip is true for an address; ok is false
// for what is no host.
func cleanHost(s string) (host string, ip, ok bool) {
	if strings.HasPrefix(s, "[") {
		addr, _, found := strings.Cut(s[1:], "]")
		_, err := netip.ParseAddr(addr)
		return addr, true, found && err == nil
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		for _, c := range []byte(s[i+1:]) {
			if !isDigit(c) {
				return "", false, false
			}
		}
		s = s[:i]
	}
	s = strings.TrimSuffix(s, ".")
	if !isASCII(s) {
		if len(s) > 4*maxHost || !utf8.ValidString(s) {
			return "", false, false
		}
		a, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return "", false, false
		}
		s = a
	}
	s = strings.ToLower(s)
	if !isName(s) {
		return "", false, false
	}
	for len(s) > 4 && s[:4] == "www." {
		s = s[4:]
	}
	return s, isNumeric(s), true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isName reports whether s could be the name of a host: letters, digits, - and _ in labels
// that are not empty.
func isName(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c-'a' < 26, c-'A' < 26, isDigit(c), c == '-', c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}

// isAddress reports whether s is an IP address, with or without a port.
func isAddress(s string) bool {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// isNumeric reports whether a browser would read a host as an IPv4 address: its last
// label is a number, decimal or 0x.
func isNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if len(last) > 2 && last[0] == '0' && (last[1] == 'x' || last[1] == 'X') {
		last = last[2:]
		for i := 0; i < len(last); i++ {
			if c := last[i] | 0x20; !isDigit(last[i]) && c-'a' >= 6 {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(last); i++ {
		if !isDigit(last[i]) {
			return false
		}
	}
	return last != ""
}
