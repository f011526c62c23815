package anonymize

import (
	"fmt"
	"net/netip"
)

// How many leading bits of an address are kept, unless a caller asks for fewer. More are
// never kept.
const (
	Bits4 = 24
	Bits6 = 48
)

// sixToFour is 6to4 (RFC 3056): the 32 bits after it are somebody's IPv4 address.
var sixToFour = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x02}), 16)

// Network is the leading part of an IP address, which many people share. It holds nothing
// else: the rest is gone when it is made. The zero value is no network. Networks can
// be compared with == and used as map keys.
type Network struct{ prefix netip.Prefix }

// Truncate returns the network of addr, from its first bits4 bits (IPv4) or bits6 bits
// (IPv6). Numbers above [Bits4] and [Bits6] count as those, and negative ones as 0. An
// IPv4-mapped IPv6 address counts as the IPv4 address, an IPv6 zone is dropped, and of a
// 6to4 address no more is kept than would be of the IPv4 address inside. The network of an
// invalid address is the zero Network.
func Truncate(addr netip.Addr, bits4, bits6 int) Network {
	if !addr.IsValid() {
		return Network{}
	}
	addr = addr.Unmap()
	bits4 = min(max(bits4, 0), Bits4)
	bits := bits4
	if addr.Is6() {
		bits = min(max(bits6, 0), Bits6)
		if sixToFour.Contains(addr.WithZone("")) {
			bits = min(bits, sixToFour.Bits()+bits4)
		}
	}
	p, err := addr.Prefix(bits)
	if err != nil { // cannot be: bits fits the address
		return Network{}
	}
	return Network{p}
}

// IsZero reports whether n is no network.
func (n Network) IsZero() bool { return n == Network{} }

// Addr returns the network's first address, for geographic look-up: every bit that was
// cut off is zero. It is the zero Addr where n is no network.
func (n Network) Addr() netip.Addr { return n.prefix.Addr() }

// String returns the network as "203.0.113.0/24", or "" where n is no network.
func (n Network) String() string {
	if n.IsZero() {
		return ""
	}
	return n.prefix.String()
}

// GoString returns what [Network.String] does, in quotes.
func (n Network) GoString() string { return fmt.Sprintf("%q", n.String()) }
