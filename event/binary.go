package event

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The binary form of an event: a version byte, the fixed-size numbers in little endian,
// then each string as a uvarint length and its bytes. Strings come in the
// order of (*Event).strings, so that writing and reading cannot disagree.
const (
	binaryVersion = 2
	unmasked      = 1                                                     // the version without Masked, which a spool may hold after an upgrade
	fixedSize     = 1 + 8 + 2 + 8 + 1 + 1 + 8 + 8 + 2 + 4 + 1 + 8 + 4 + 1 // of version 1
)

// ErrCorrupt is wrapped by every error of [Event.Decode].
var ErrCorrupt = errors.New("event: corrupt record")

func (e *Event) strings() [26]*string {
	v := &e.Visit
	return [26]*string{
		&e.Site, &e.Name, &e.Hostname, &e.Page, &e.Title, &e.Currency, &e.Network,
		&v.EntryPage, &v.Referrer, &v.Source, &v.Channel,
		&v.UTMSource, &v.UTMMedium, &v.UTMCampaign, &v.UTMContent, &v.UTMTerm, &v.ClickID,
		&v.Device, &v.Browser, &v.BrowserVersion, &v.OS, &v.OSVersion,
		&v.Country, &v.Region, &v.RegionName, &v.City,
	}
}

// AppendTo appends the binary form of e to b and returns the extended slice. It does
// not normalize: call [Event.Normalize] first.
func (e *Event) AppendTo(b []byte) []byte {
	b = append(b, binaryVersion)
	b = binary.LittleEndian.AppendUint64(b, e.ID)
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Day))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Time))
	var flags byte
	if e.Interactive {
		flags = 1
	}
	b = append(b, byte(e.Kind), flags)
	b = binary.LittleEndian.AppendUint64(b, e.VisitorID)
	b = binary.LittleEndian.AppendUint64(b, e.Visit.ID)
	b = binary.LittleEndian.AppendUint16(b, e.Seq)
	b = binary.LittleEndian.AppendUint32(b, e.EngagedMS)
	b = append(b, e.Scroll)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Revenue))
	b = binary.LittleEndian.AppendUint32(b, e.Notice)
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Masked))
	b = append(b, byte(min(len(e.Props), MaxProps)))
	for _, s := range e.strings() {
		b = appendString(b, *s)
	}
	for _, p := range e.Props[:min(len(e.Props), MaxProps)] {
		b = appendString(b, p.Key)
		b = appendString(b, p.Value)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Decode fills e from one whole record. The strings of e are parts of rec: nothing is
// copied, and rec stays in memory as long as one of them does. e.Props is reused where
// it has room. The error wraps [ErrCorrupt]; e is then undefined.
func (e *Event) Decode(rec string) error {
	if len(rec) < fixedSize {
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrCorrupt, len(rec), fixedSize)
	}
	version := rec[0]
	switch {
	case version != binaryVersion && version != unmasked:
		return fmt.Errorf("%w: version %d, want %d", ErrCorrupt, version, binaryVersion)
	case version == binaryVersion && len(rec) < fixedSize+2:
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrCorrupt, len(rec), fixedSize+2)
	}
	d := decoder{rec: rec[1:]}
	e.ID = d.uint64()
	e.Day = Day(d.uint(2))
	e.Time = int64(d.uint64())
	e.Kind = Kind(d.uint(1))
	e.Interactive = d.uint(1)&1 != 0
	e.VisitorID = d.uint64()
	e.Visit.ID = d.uint64()
	e.Seq = uint16(d.uint(2))
	e.EngagedMS = uint32(d.uint(4))
	e.Scroll = uint8(d.uint(1))
	e.Revenue = int64(d.uint64())
	e.Notice = uint32(d.uint(4))
	if e.Masked = 0; version != unmasked {
		e.Masked = Masked(d.uint(2))
	}
	props := int(d.uint(1))
	for _, s := range e.strings() {
		*s = d.string()
	}
	if props > MaxProps {
		return fmt.Errorf("%w: %d properties, at most %d", ErrCorrupt, props, MaxProps)
	}
	e.Props = e.Props[:0]
	for range props {
		e.Props = append(e.Props, Prop{d.string(), d.string()})
	}
	if d.bad || len(d.rec) != 0 {
		return fmt.Errorf("%w: strings do not fill the record", ErrCorrupt)
	}
	return nil
}

// decoder reads from the front of rec; after the first read past the end bad stays set.
type decoder struct {
	rec string
	bad bool
}

func (d *decoder) uint64() uint64 { return d.uint(8) }

func (d *decoder) uint(n int) (v uint64) {
	for i := n - 1; i >= 0; i-- {
		v = v<<8 | uint64(d.rec[i])
	}
	d.rec = d.rec[n:]
	return v
}

func (d *decoder) string() string {
	var n uint64
	for i := 0; ; i++ {
		if i == len(d.rec) || i == 4 { // lengths stay below 2^28
			d.bad = true
			return ""
		}
		c := d.rec[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rec = d.rec[i+1:]
			break
		}
	}
	if n > uint64(len(d.rec)) {
		d.bad = true
		return ""
	}
	s := d.rec[:n]
	d.rec = d.rec[n:]
	return s
}
