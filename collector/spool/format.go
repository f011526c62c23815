package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// A segment file, all numbers little-endian:
//
//	header  "FFSPOOL" and the version byte 1; id, 8 bytes; created, Unix milliseconds, 8 bytes;
//	        CRC-32C of those 24 bytes
//	frame   sum, 4 bytes; word, 4 bytes: the payload's length, and the mark in the top byte; payload
//	        once for each event or drop: mark 0xf5, payload its binary form
//	footer  a frame with mark 0xf6, payload the number of these frames, 4 bytes, and how
//	        many of them are drops, 4 bytes
//
// A frame's sum is CRC-32C over word and payload, begun from a value that depends on the segment's
// random id and the frame's offset. So bytes that came in from outside cannot pass for a
// frame, nor can a frame in another place, and after damage the next whole frame is found
// by looking for one. The marks never occur in UTF-8, which makes that quick.
const (
	magic      = "FFSPOOL\x01"
	headerSize = 28
	frameHead  = 8
	recordMark = 0xf5
	footerMark = 0xf6
	footerSize = frameHead + 8

	openHead = "\x00\x00\x00\x00\x00\x00\x00\x00" // a frame's head before it is known

	// maxRecord bounds an event's binary form; a normalised event stays below 90 kB.
	maxRecord = 1 << 18
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendHeader(b []byte, id uint64, created time.Time) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, uint64(created.UnixMilli()))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func readHeader(s string) (id uint64, created time.Time, ok bool) {
	if len(s) < headerSize || s[:len(magic)] != magic {
		return 0, time.Time{}, false
	}
	b := []byte(s[:headerSize])
	if crc32.Checksum(b[:24], castagnoli) != binary.LittleEndian.Uint32(b[24:]) {
		return 0, time.Time{}, false
	}
	return binary.LittleEndian.Uint64(b[8:]), time.UnixMilli(int64(binary.LittleEndian.Uint64(b[16:]))), true
}

// appendRecord appends the frame of an event or a drop, with its sum still open: see [stamp].
func appendRecord(b []byte, e interface{ AppendTo([]byte) []byte }) []byte {
	start := len(b)
	b = append(b, openHead...)
	b = e.AppendTo(b)
	binary.LittleEndian.PutUint32(b[start+4:], recordMark<<24|uint32(len(b)-start-frameHead)&0xffffff)
	return b
}

func appendFooter(b []byte, id uint64, offset int64, records, drops int) []byte {
	start := len(b)
	b = append(b, openHead...)
	b = binary.LittleEndian.AppendUint32(b, uint32(records))
	b = binary.LittleEndian.AppendUint32(b, uint32(drops))
	binary.LittleEndian.PutUint32(b[start+4:], footerMark<<24|8)
	stamp(b[start:], id, offset)
	return b
}

// readFooter reads the footer frame b, which stands at offset in segment id.
func readFooter(b []byte, id uint64, offset int64) (records, drops int, ok bool) {
	if len(b) != footerSize || binary.LittleEndian.Uint32(b[4:]) != footerMark<<24|8 ||
		crc32.Update(salt(id, offset), castagnoli, b[4:]) != binary.LittleEndian.Uint32(b) {
		return 0, 0, false
	}
	return int(binary.LittleEndian.Uint32(b[frameHead:])), int(binary.LittleEndian.Uint32(b[frameHead+4:])), true
}

// stamp fills in the sums of frames that will stand one after another from offset on in segment id.
func stamp(frames []byte, id uint64, offset int64) {
	for len(frames) > 0 {
		n := frameHead + int(binary.LittleEndian.Uint32(frames[4:])&0xffffff)
		sum := crc32.Update(salt(id, offset), castagnoli, frames[4:n])
		binary.LittleEndian.PutUint32(frames, sum)
		frames, offset = frames[n:], offset+int64(n)
	}
}

// salt mixes as SplitMix64 does.
func salt(id uint64, offset int64) uint32 {
	x := id + uint64(offset)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32(x >> 32)
}

// frameAt returns the whole frame at offset in data, if there is one.
func frameAt(data []byte, id uint64, offset int) (mark byte, payload []byte, ok bool) {
	if len(data)-offset < frameHead {
		return 0, nil, false
	}
	word := binary.LittleEndian.Uint32(data[offset+4:])
	mark = byte(word >> 24)
	n := int(word & 0xffffff)
	if mark != recordMark && mark != footerMark || n > maxRecord || n > len(data)-offset-frameHead {
		return 0, nil, false
	}
	end := offset + frameHead + n
	if crc32.Update(salt(id, int64(offset)), castagnoli, data[offset+4:end]) != binary.LittleEndian.Uint32(data[offset:]) {
		return 0, nil, false
	}
	return mark, data[offset+frameHead : end], true
}

// contents tells what a scan found in a segment's bytes.
type contents struct {
	records    int  // whole ones
	gaps       int  // places where damaged bytes were passed over
	end        int  // behind the last whole frame: from here on the tail is torn
	sealed     bool // there is a footer
	count      int  // of records, by the footer
	drops      int  // whole ones among the records
	countDrops int  // of drops, by the footer
}

// scan calls fn with each whole record of a segment, in order, up to the footer or the end. Damaged
// bytes between whole frames are passed over and counted. fn must not change data.
func scan(data []byte, id uint64, fn func(rec []byte)) (c contents) {
	offset := min(headerSize, len(data))
	c.end = offset
	for offset < len(data) {
		mark, payload, ok := frameAt(data, id, offset)
		if !ok {
			next := nextFrame(data, id, offset+1)
			if next < 0 {
				break
			}
			c.gaps++
			offset = next
			continue
		}
		offset += frameHead + len(payload)
		c.end = offset
		switch {
		case mark == recordMark:
			c.records++
			if event.IsDrop(payload) {
				c.drops++
			}
			fn(payload)
		case len(payload) == 8:
			c.sealed = true
			c.count, c.countDrops = int(binary.LittleEndian.Uint32(payload)), int(binary.LittleEndian.Uint32(payload[4:]))
			return c
		}
	}
	return c
}

// nextFrame returns the offset of the first whole frame at or after offset, or -1.
func nextFrame(data []byte, id uint64, offset int) int {
	for ; len(data)-offset >= frameHead; offset++ {
		if m := data[offset+7]; m != recordMark && m != footerMark {
			continue
		}
		if _, _, ok := frameAt(data, id, offset); ok {
			return offset
		}
	}
	return -1
}

const (
	openSuffix   = ".open"       // being written
	sealedSuffix = ".seg"        // never written again
	asideSuffix  = ".unreadable" // put aside, see [Spool.setAside]
)

// A segment's file name is its place in the order and its id, 16 hexadecimal digits each, and the suffix.
func fileName(seq, id uint64, suffix string) string {
	return fmt.Sprintf("%016x-%016x%s", seq, id, suffix)
}

// ReadSegment takes the bytes of a segment's file apart, as far as it is whole, and calls events and drops with what
// it holds; what they get is good for the call. It reports whether the file begins as one does.
func ReadSegment(data []byte, events func(*event.Event), drops func(*event.Drop)) bool {
	id, _, ok := readHeader(stringOf(data))
	if !ok {
		return false
	}
	var e event.Event
	var d event.Drop
	scan(data, id, func(rec []byte) {
		switch {
		case event.IsDrop(rec):
			if d.Decode(stringOf(rec)) == nil {
				drops(&d)
			}
		case e.Decode(stringOf(rec)) == nil:
			events(&e)
		}
	})
	return true
}
