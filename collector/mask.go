package collector

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/event"
)

// PII says what a site does with personal data in the texts of a hit.
type PII uint8

// What is done with personal data. The zero value is the default.
const (
	PIIMask PII = iota // it is replaced by what kind it was: see [anonymize.Mask]
	PIIDrop            // the hit is not counted
	PIIOff             // it is kept as it came
)

// String returns the name in the configuration.
func (p PII) String() string {
	switch p {
	case PIIMask:
		return "mask"
	case PIIDrop:
		return "drop"
	case PIIOff:
		return "off"
	}
	return fmt.Sprintf("PII(%d)", uint8(p))
}

// ParsePII reads a name as [PII.String] writes it.
func ParsePII(s string) (PII, error) {
	for p := PIIMask; p <= PIIOff; p++ {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is none of mask, drop, off", s)
}

// mask masks all texts of x's event that its sender chose, before any of them is cut, and so before the
// visit and the spool see them. The entry page is the page of the visit's first event.
//
// Not among them: the site, which is configured; what the User-Agent and the address were made
// into; the channel, the click parameter's name and the currency, which come from lists; and the campaign and message
// of an e-mail, which this program sealed into the token. The host is the site owner's, so that only an address
// in it is masked: a copy of the page on the visitor's own machine could have that one.
func (x *hit) mask() {
	e := &x.event
	v := &e.Visit
	var found anonymize.Found
	if isMail(x.kind) { // the page is where a link leads
		e.Page, found = anonymize.Mask(e.Page)
		e.Masked = event.Masked(found)
		return
	}
	for _, text := range [...]*string{&e.Page, &e.Title, &v.Referrer, &v.Source, &v.UTMSource, &v.UTMMedium, &v.UTMCampaign, &v.UTMContent, &v.UTMTerm} {
		if *text != "" {
			var f anonymize.Found
			*text, f = anonymize.Mask(*text)
			found |= f
		}
	}
	if x.kind == event.Custom { // else it is one of our own
		var f anonymize.Found
		e.Name, f = anonymize.Mask(e.Name)
		found |= f
	}
	if isAddress(e.Hostname) {
		e.Hostname, found = maskedHost, found|anonymize.FoundIP
	}
	copied := false
	for i := range e.Props {
		key, inKey := anonymize.Mask(e.Props[i].Key)
		value, inValue := anonymize.Mask(e.Props[i].Value)
		if inKey|inValue == 0 {
			continue
		}
		if !copied { // another site of the same hit may want them as they came
			copied = true
			x.props = append(x.props[:0], e.Props...)
			e.Props = x.props
		}
		e.Props[i] = event.Prop{Key: key, Value: value}
		found |= inKey | inValue
	}
	e.Masked = event.Masked(found)
}

// maskedHost is what anonymize.Mask writes for an address.
const maskedHost = "(ip)"

// isAddress reports whether a host is an IP address, other than of the machine itself.
func isAddress(host string) bool {
	if host == "" || host[len(host)-1] > '9' && strings.IndexByte(host, ':') < 0 {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && !a.IsLoopback() && !a.IsUnspecified()
}

// maskedCampaign is the campaign of x as its event has it.
func (x *hit) maskedCampaign() *campaign {
	v := &x.event.Visit
	x.tagged = campaign{utmSource: v.UTMSource, medium: v.UTMMedium, name: v.UTMCampaign, content: v.UTMContent, term: v.UTMTerm,
		ref: x.campaign.ref, clickID: x.campaign.clickID}
	return &x.tagged
}

// maxDropPages is how many pages of dropped hits a minute are told apart in the ledger, of all
// sites together: what strangers make up does not fill it.
const maxDropPages = 256

// dropPages knows, as hashes, the pages of the hits that were dropped for personal data in this minute.
type dropPages struct {
	mu     sync.Mutex
	seed   maphash.Seed
	minute int64
	seen   map[uint64]struct{}
}

func newDropPages() *dropPages {
	return &dropPages{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// of returns the page under which a hit is noted in the ledger.
func (d *dropPages) of(s *site, page string, minute int64) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.minute != minute {
		d.minute = minute
		clear(d.seen)
	}
	key := maphash.String(d.seed, page) ^ uint64(s.number)<<32
	if _, ok := d.seen[key]; !ok {
		if len(d.seen) >= maxDropPages {
			return event.OtherPages
		}
		d.seen[key] = struct{}{}
	}
	return page
}
