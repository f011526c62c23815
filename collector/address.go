package collector

import (
	"bytes"
	"net"
	"net/netip"
)

// maxHops bounds how many entries of a forwarding header are looked at, from the right.
const maxHops = 64

// lines holds a header that may come on several lines, which together are one list: the
// last line and the one before it. Entries further left do not matter, see proxies.walk.
type lines struct{ before, last []byte }

func (l *lines) add(value []byte) { l.before, l.last = l.last, value }

// forwarded holds the headers in which proxies say whom they speak for.
type forwarded struct {
	xff, rfc7239 lines
	realIP       []byte
}

// proxies decides whose forwarding headers are believed.
type proxies struct{ trusted []netip.Prefix }

// trusts reports whether a is one of ours. A peer without an address came through a Unix
// socket, which only a local proxy can.
func (p proxies) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return len(p.trusted) > 0
	}
	for _, t := range p.trusted {
		if t.Contains(a) {
			return true
		}
	}
	return false
}

// peerAddr returns the address at the other end of a connection, or the zero Addr.
func peerAddr(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// client returns the address of who is asking. The peer is, unless it is a trusted proxy:
// then the nearest address on the forwarded path that is not one. What comes further left
// was written by strangers. The first of X-Forwarded-For, Forwarded and X-Real-IP that
// names an address at all is used; where none does the answer is the peer.
func (p proxies) client(peer netip.Addr, f *forwarded) netip.Addr {
	if len(p.trusted) == 0 || !p.trusts(peer) {
		return peer
	}
	if a := p.walk(f.xff, parseHop); a.IsValid() {
		return a
	}
	if a := p.walk(f.rfc7239, parseForwardedFor); a.IsValid() {
		return a
	}
	if a := parseHop(f.realIP); a.IsValid() {
		return a
	}
	return peer
}

// walk goes through the elements of a list from the right, as long as they are
// addresses of trusted proxies, and returns the last address it saw. It stops at
// anything that is no address, since nothing left of that can be vouched for.
func (p proxies) walk(l lines, parse func([]byte) netip.Addr) (found netip.Addr) {
	for hops := 0; hops < maxHops; hops++ {
		if len(l.last) == 0 {
			l = lines{last: l.before}
		}
		if len(l.last) == 0 {
			return found
		}
		var element []byte
		l.last, element = lastElement(l.last)
		if len(element) == 0 {
			continue
		}
		a := parse(element)
		if !a.IsValid() {
			return found
		}
		found = a
		if !p.trusts(a) {
			return found
		}
	}
	return found
}

// lastElement cuts the last comma-separated element off a header value. A comma within
// quotes separates nothing.
func lastElement(list []byte) (rest, element []byte) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return list[:i], bytes.TrimSpace(list[i+1:])
			}
		}
	}
	return nil, bytes.TrimSpace(list)
}

// parseHop reads an address as proxies write it: alone, or with a port, IPv6 in brackets
// or not. It returns the zero Addr for anything else.
func parseHop(b []byte) netip.Addr {
	b = bytes.Trim(b, " \t\"")
	if len(b) == 0 || len(b) > 64 {
		return netip.Addr{}
	}
	s := view(b)
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isPort(s[end+1:]) {
			return netip.Addr{}
		}
		s = s[1:end]
	} else if i := bytes.IndexByte(b, ':'); i >= 0 && bytes.IndexByte(b[i+1:], ':') < 0 {
		if !isPort(s[i:]) {
			return netip.Addr{}
		}
		s = s[:i]
	}
	// Checked before it is parsed: an error would hold the text, and a zone would be kept.
	for i := range len(s) {
		if _, ok := hexValue(s[i]); !ok && s[i] != '.' && s[i] != ':' {
			return netip.Addr{}
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

// parseForwardedFor reads the for parameter of one element of a Forwarded header (RFC
// 7239, section 4). Obfuscated names (for=_x) and for=unknown are no address.
func parseForwardedFor(element []byte) netip.Addr {
	for len(element) > 0 {
		var pair []byte
		if i := bytes.IndexByte(element, ';'); i >= 0 {
			pair, element = element[:i], element[i+1:]
		} else {
			pair, element = element, nil
		}
		name, value, ok := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
		if ok && equalFold(name, "for") {
			return parseHop(value)
		}
	}
	return netip.Addr{}
}
