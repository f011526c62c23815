package collector

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddress(t *testing.T) {
	trusted := proxies{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ff::/48")}}
	h := func(xff, fwd, real string) forwarded {
		var f forwarded
		for _, l := range strings.Split(xff, "|") {
			f.xff.add([]byte(l))
		}
		for _, l := range strings.Split(fwd, "|") {
			f.rfc7239.add([]byte(l))
		}
		f.realIP = []byte(real)
		return f
	}
	for _, c := range []struct {
		why, peer, xff, fwd, real, want string
	}{
		{"no header", "10.0.0.1", "", "", "", "10.0.0.1"},
		{"stranger's header", "198.51.100.9", "1.2.3.4", "for=1.2.3.4", "1.2.3.4", "198.51.100.9"},
		{"one hop", "10.0.0.1", "1.2.3.4", "", "", "1.2.3.4"},
		{"what the client wrote itself", "10.0.0.1", "6.6.6.6, 1.2.3.4", "", "", "1.2.3.4"},
		{"two proxies", "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "", "", "1.2.3.4"},
		{"only proxies", "10.0.0.1", "10.0.0.3, 10.0.0.2", "", "", "10.0.0.3"},
		{"several lines", "10.0.0.1", "6.6.6.6|1.2.3.4|10.0.0.2", "", "", "1.2.3.4"},
		{"last line empty", "10.0.0.1", "6.6.6.6|1.2.3.4|", "", "", "1.2.3.4"},
		{"port", "10.0.0.1", "1.2.3.4:5678", "", "", "1.2.3.4"},
		{"IPv6", "10.0.0.1", "2001:db8::1", "", "", "2001:db8::1"},
		{"IPv6 with port", "10.0.0.1", "[2001:db8::1]:5678", "", "", "2001:db8::1"},
		{"IPv6 proxy", "2001:db8:ff::1", "1.2.3.4", "", "", "1.2.3.4"},
		{"mapped", "10.0.0.1", "::ffff:1.2.3.4", "", "", "1.2.3.4"},
		{"mapped proxy", "10.0.0.1", "1.2.3.4, ::ffff:10.0.0.2", "", "", "1.2.3.4"},
		{"zone", "10.0.0.1", "fe80::1%eth0", "", "", "10.0.0.1"},
		{"garbage", "10.0.0.1", "unknown", "", "", "10.0.0.1"},
		{"garbage on the way", "10.0.0.1", "1.2.3.4, x, 10.0.0.2", "", "", "10.0.0.2"},
		{"a name", "10.0.0.1", "example.org", "", "", "10.0.0.1"},
		{"octal and the like", "10.0.0.1", "010.0.0.1", "", "", "10.0.0.1"},
		{"long", "10.0.0.1", strings.Repeat("1", 5000), "", "", "10.0.0.1"},
		{"many proxies", "10.0.0.1", "1.2.3.4," + strings.Repeat("10.0.0.2,", 1000) + "10.0.0.2", "", "", "10.0.0.2"},
		{"Forwarded", "10.0.0.1", "", "for=1.2.3.4;proto=https;by=10.0.0.1", "", "1.2.3.4"},
		{"Forwarded, order and case", "10.0.0.1", "", `proto=https; For="1.2.3.4:99"`, "", "1.2.3.4"},
		{"Forwarded, IPv6", "10.0.0.1", "", `for="[2001:db8::1]:99"`, "", "2001:db8::1"},
		{"Forwarded, two", "10.0.0.1", "", `for=6.6.6.6, for=1.2.3.4, for=10.0.0.2`, "", "1.2.3.4"},
		{"Forwarded, hidden", "10.0.0.1", "", `for=1.2.3.4, for=_hidden`, "", "10.0.0.1"},
		{"Forwarded, unknown", "10.0.0.1", "", `for=unknown`, "", "10.0.0.1"},
		{"Forwarded, comma in quotes", "10.0.0.1", "", `for="1.2.3.4, 6.6.6.6"`, "", "10.0.0.1"},
		{"Forwarded, none", "10.0.0.1", "", `proto=https`, "", "10.0.0.1"},
		{"X-Real-IP", "10.0.0.1", "", "", "1.2.3.4", "1.2.3.4"},
		{"first of three", "10.0.0.1", "1.2.3.4", "for=5.5.5.5", "6.6.6.6", "1.2.3.4"},
		{"second of three", "10.0.0.1", "x", "for=5.5.5.5", "6.6.6.6", "5.5.5.5"},
		{"third of three", "10.0.0.1", "x", "y", "6.6.6.6", "6.6.6.6"},
	} {
		f := h(c.xff, c.fwd, c.real)
		if got := trusted.client(netip.MustParseAddr(c.peer), &f); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
	f := h("1.2.3.4", "", "")
	if got := (proxies{}).client(netip.MustParseAddr("127.0.0.1"), &f); got.String() != "127.0.0.1" {
		t.Errorf("nobody is trusted, and yet %s", got)
	}
	if got := trusted.client(netip.Addr{}, &f); got.String() != "1.2.3.4" {
		t.Errorf("through a Unix socket: %s", got)
	}
	if a := peerAddr(&net.TCPAddr{IP: net.ParseIP("::ffff:1.2.3.4"), Zone: "x"}); a != netip.MustParseAddr("1.2.3.4") {
		t.Errorf("peer %s", a)
	}
}

func TestHeaders(t *testing.T) {
	raw := "Host: x\r\nDNT: 1\r\nX-FORWARDED-FOR: 1.2.3.4 \r\nforwarded: for=1.1.1.1\r\nX-Real-Ip:2.2.2.2\r\nCookie: dnt=1\r\nContent-Encoding: gzip\r\nsec-purpose:prefetch\r\n\r\n"
	h := readHeaders([]byte(raw))
	if !h.dnt || !h.prefetch || !h.encoded || string(h.forwarded.xff.last) != "1.2.3.4" || string(h.forwarded.rfc7239.last) != "for=1.1.1.1" || string(h.forwarded.realIP) != "2.2.2.2" {
		t.Errorf("%+v", h)
	}
	h = readHeaders([]byte("Dn: 1\r\nDNT : 1\r\nX-Forwarded-For: 1.2.3.4,\r\n 5.6.7.8\r\nContent-Encoding: identity\r\nPurpose: none\r\n"))
	if h.dnt || h.prefetch || h.encoded || h.forwarded.xff.last != nil {
		t.Errorf("%+v", h)
	}
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "6.6.6.6, 10.0.0.1", "[::1]:80,,", `for="[2001:db8::1]:99";by=x, for=_y`, "fe80::1%eth0", "::ffff:1.2.3.4"} {
		f.Add(s, s, s)
	}
	p := proxies{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, xff, fwd, real string) {
		raw := "X-Forwarded-For: " + xff + "\r\nForwarded: " + fwd + "\r\nX-Real-IP: " + real + "\r\n"
		h := readHeaders([]byte(raw))
		a := p.client(peer, &h.forwarded)
		if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%v", a)
		}
		// What nobody vouches for is not believed: only the client may be a stranger.
		if stranger := netip.MustParseAddr("198.51.100.1"); p.client(stranger, &h.forwarded) != stranger {
			t.Fatal("a stranger's header was believed")
		}
		// An entry that a trusted proxy adds on the right decides.
		h = readHeaders([]byte("X-Forwarded-For: " + strings.NewReplacer("\r", "", "\n", "").Replace(xff) + ", 192.0.2.7\r\n"))
		if a := p.client(peer, &h.forwarded); !strings.Contains(xff, `"`) && a != netip.MustParseAddr("192.0.2.7") {
			t.Fatalf("%v", a)
		}
	})
}
