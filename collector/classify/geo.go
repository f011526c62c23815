package classify

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/kantarainitiative/footfall/event"
)

// Place is where a network is. The names are English; "" is unknown.
type Place struct {
	Country    string // ISO 3166-1: "DE"
	Region     string // ISO 3166-2: "DE-BE"
	RegionName string // "Land Berlin"
	City       string // "Berlin"
}

// maxGeoFile bounds the file that is read into memory, in bytes.
const maxGeoFile = 1 << 30

// placeCache is how many places are remembered, about 200 bytes each.
const placeCache = 32768

// Geo looks up places in a database of MaxMind's format. A nil *Geo knows none.
type Geo struct {
	raw    *maxminddb.Reader
	typed  *geoip2.Reader
	places *otter.Cache[uintptr, *Place] // by the record's offset in the file
	about  string
	closed atomic.Bool
}

// OpenGeo reads the database at path, of which the country, city and enterprise types of
// MaxMind and DB-IP are understood, and verifies all of it. It is held in memory rather than
// mapped: a mapped file that is overwritten in place would take the process down. The
// error says what is wrong with the file.
func OpenGeo(path string) (*Geo, error) {
	fail := func(err error) (*Geo, error) { return nil, fmt.Errorf("geo database %s: %w", path, err) }
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("geo database: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return fail(errors.New("not a file"))
	case info.Size() > maxGeoFile:
		return fail(fmt.Errorf("%d bytes, at most %d are read", info.Size(), maxGeoFile))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("geo database: %w", err)
	}
	raw, err := maxminddb.OpenBytes(b)
	if err != nil {
		return fail(fmt.Errorf("not a MaxMind database, or cut short: %w", err))
	}
	typed, err := geoip2.OpenBytes(b)
	if unknown := (geoip2.UnknownDatabaseTypeError{}); errors.As(err, &unknown) {
		return fail(fmt.Errorf("its type %q is not one with countries or cities", unknown.DatabaseType))
	} else if err != nil {
		return fail(err)
	}
	if err := raw.Verify(); err != nil {
		return fail(fmt.Errorf("damaged: %w", err))
	}
	if _, err := typed.City(netip.IPv4Unspecified()); err != nil {
		return fail(fmt.Errorf("its type %q has neither countries nor cities", raw.Metadata.DatabaseType))
	}
	places, err := otter.New(&otter.Options[uintptr, *Place]{MaximumSize: placeCache})
	if err != nil {
		return fail(err)
	}
	return &Geo{raw: raw, typed: typed, places: places, about: raw.Metadata.Description["en"]}, nil
}

// About returns the database's own English description, which names its source; "" where it
// has none.
func (g *Geo) About() string {
	if g == nil {
		return ""
	}
	return event.Clean(g.about, event.MaxTitle)
}

// Cities tells whether the database knows more of a place than the country.
func (g *Geo) Cities() bool {
	if g == nil {
		return false
	}
	kind := g.raw.Metadata.DatabaseType
	return strings.Contains(kind, "City") || strings.Contains(kind, "Enterprise")
}

// Lookup returns the place of an address, of which nothing is kept. Give it the masked
// address: countries and cities do not differ for it.
func (g *Geo) Lookup(addr netip.Addr) Place {
	if g == nil || !addr.IsValid() || g.closed.Load() {
		return Place{}
	}
	addr = addr.Unmap()
	found := g.raw.Lookup(addr)
	if !found.Found() {
		return Place{}
	}
	if p, ok := g.places.GetIfPresent(found.Offset()); ok {
		return *p
	}
	rec, err := g.typed.City(addr)
	if err != nil {
		return Place{}
	}
	p := place(rec)
	g.places.Set(found.Offset(), &p)
	return p
}

func place(rec *geoip2.City) Place {
	p := Place{
		Country: event.Clean(rec.Country.ISOCode, 2),
		City:    event.Clean(rec.City.Names.English, event.MaxShort),
	}
	if len(rec.Subdivisions) > 0 && p.Country != "" {
		sub := rec.Subdivisions[0]
		if sub.ISOCode != "" {
			p.Region = event.Clean(p.Country+"-"+sub.ISOCode, event.MaxShort)
		}
		p.RegionName = event.Clean(sub.Names.English, event.MaxShort)
	}
	return p
}

// Close gives the database's memory free once no look-up uses it. Look-ups after it find
// nothing.
func (g *Geo) Close() {
	if g != nil {
		g.closed.Store(true)
	}
}
