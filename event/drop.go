package event

import (
	"encoding/binary"
	"fmt"
)

// Drop says that hits for a site were received in a minute and not counted, and why. With
// the events it makes the books: every hit is either an event or in a Drop.
type Drop struct {
	Site   string // the configured domain, or UnknownSite
	Minute int64  // Unix time in minutes
	Reason string // a word from the collector's fixed list: "bot", "duplicate", …
	Count  uint64 // hits
	// Of hits that were dropped for personal data in them, else 0 and "": the kinds, and the page with masks
	// in place of it, or OtherPages.
	Masked Masked
	Page   string
}

// OtherPages stands for pages beyond those that are told apart.
const OtherPages = "(other)"

// UnknownSite stands for the site of a hit that names none that is configured, or that
// could not be read so far. It can be no domain.
const UnknownSite = "(unknown)"

// MaxReason is the limit of a Drop's reason, in bytes.
const MaxReason = 40

// MinuteOf returns the minute of a Unix time in seconds, as databases hold it: times
// before 1970 and after 2106 count as the ends of that span.
func MinuteOf(seconds int64) int64 { return min(max(seconds, 0), 1<<32-1) / 60 }

// The binary form of a Drop begins with a number that no version of an event's has; then
// come minute, count and masked in little endian, and the texts.
const (
	dropVersion   = 0xd2
	dropUnmasked  = 0xd1      // the version without Masked and Page
	dropFixedSize = 1 + 8 + 8 // of version 0xd1
)

// IsDrop reports whether a record holds the binary form of a Drop, of whatever version.
func IsDrop[T string | []byte](rec T) bool { return len(rec) > 0 && rec[0]&0xf0 == dropVersion&0xf0 }

// AppendTo appends the binary form of d to b and returns the extended slice.
func (d *Drop) AppendTo(b []byte) []byte {
	b = append(b, dropVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Minute))
	b = binary.LittleEndian.AppendUint64(b, d.Count)
	b = binary.LittleEndian.AppendUint16(b, uint16(d.Masked))
	b = appendString(b, Clean(d.Site, MaxSite))
	b = appendString(b, Clean(d.Reason, MaxReason))
	return appendString(b, Clean(d.Page, MaxPage))
}

// Decode fills d from one whole record. The texts of d are parts of rec. The error wraps
// [ErrCorrupt]; d is then undefined.
func (d *Drop) Decode(rec string) error {
	if len(rec) < dropFixedSize {
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrCorrupt, len(rec), dropFixedSize)
	}
	version := rec[0]
	switch {
	case version != dropVersion && version != dropUnmasked:
		return fmt.Errorf("%w: version %d, want %d", ErrCorrupt, version, dropVersion)
	case version == dropVersion && len(rec) < dropFixedSize+2:
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrCorrupt, len(rec), dropFixedSize+2)
	}
	r := decoder{rec: rec[1:]}
	d.Minute = int64(r.uint64())
	d.Count = r.uint64()
	d.Masked, d.Page = 0, ""
	if version != dropUnmasked {
		d.Masked = Masked(r.uint(2))
	}
	d.Site, d.Reason = r.string(), r.string()
	if version != dropUnmasked {
		d.Page = r.string()
	}
	switch {
	case r.bad || len(r.rec) != 0:
		return fmt.Errorf("%w: texts do not fill the record", ErrCorrupt)
	case len(d.Site) > MaxSite || len(d.Reason) > MaxReason || len(d.Page) > MaxPage || !isClean(d.Site) || !isClean(d.Reason) || !isClean(d.Page):
		return fmt.Errorf("%w: a text is beyond its limits", ErrCorrupt)
	}
	return nil
}

// Waiting is what was received and is not in the database yet.
type Waiting struct {
	Batches []uint64 // the batches that hold it, some of which the database may have in part
	// Hits by site, minute, reason and what was masked, each once; events have the reason "".
	Hits []Drop
}
