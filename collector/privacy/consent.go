package privacy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/kantarainitiative/footfall/event"
)

// The names and lives of the two cookies there are. Lives are in days.
const (
	// OptOutName is the cookie of a browser that is not to be counted. It is the same for everybody.
	OptOutName  = "footfall_optout"
	OptOutValue = "1"
	OptOutDays  = 400 // the longest that browsers keep a cookie

	// ConsentName is the cookie of a visitor who agreed to one: see [Consent].
	ConsentName = "footfall_id"
	ConsentDays = 390 // from when it was given, whatever happens later
)

const (
	consentVersion = "1"
	tagSize        = 4  // characters that stand for a site
	randomSize     = 16 // bytes
	randomChars    = 22 // the same as text
	entryChars     = tagSize + randomChars
	maxConsents    = 16 // sites that one cookie may speak of
)

// MaxConsent is the longest value of a consent cookie, in bytes.
const MaxConsent = len(consentVersion+".65535") + maxConsents*(1+entryChars)

// base64url takes one text for one value only.
var base64url = base64.RawURLEncoding.Strict()

// Tag stands for a site in a consent cookie.
type Tag [tagSize]byte

// TagOf returns the tag of a site. It is a short hash of the name: a cookie that lists the sites by
// name would be longer than all the rest of a hit.
func TagOf(site string) (t Tag) {
	sum := sha256.Sum256([]byte("footfall consent " + site))
	base64url.Encode(t[:], sum[:3])
	return t
}

// Consent is a consent cookie, taken apart. Its value is "1.DAY" and for each site that the visitor agreed at
// ".TAGRANDOM": the date (UTC, in days since 1970-01-01) on which consent was first given, and 128 random
// bits a site, so that withdrawing at one site leaves nothing of it and ids of two sites
// have nothing in common. The date never changes while any consent lasts: a later one, at another
// site, ends with the first.
type Consent struct {
	Day     event.Day
	entries []entry
}

type entry struct {
	tag    Tag
	random [randomSize]byte
}

// ParseConsent reads the value of a consent cookie. It is false for anything that no [Consent.Value] is.
func ParseConsent(value string) (c Consent, ok bool) {
	day, rest, ok := cutConsent(value)
	if !ok {
		return Consent{}, false
	}
	c.Day = day
	for rest != "" {
		var e entry
		if !e.decode(rest[1 : 1+entryChars]) {
			return Consent{}, false
		}
		c.entries = append(c.entries, e)
		rest = rest[1+entryChars:]
	}
	return c, true
}

// cutConsent reads the date and returns the entries, each with its dot, whose form is right
// but for the alphabet.
func cutConsent(value string) (day event.Day, entries string, ok bool) {
	rest, ok := strings.CutPrefix(value, consentVersion+".")
	if !ok || len(value) > MaxConsent {
		return 0, "", false
	}
	digits, _, _ := strings.Cut(rest, ".")
	entries = rest[len(digits):]
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' || n > 65535 {
			return 0, "", false
		}
		n = n*10 + int(c-'0')
	}
	if digits == "" || digits[0] == '0' || n > 65535 || len(entries) == 0 || len(entries)%(1+entryChars) != 0 {
		return 0, "", false
	}
	for i := 0; i < len(entries); i += 1 + entryChars {
		if entries[i] != '.' {
			return 0, "", false
		}
	}
	return event.Day(n), entries, true
}

func (e *entry) decode(s string) bool {
	copy(e.tag[:], s)
	return decodeRandom(&e.random, s[tagSize:])
}

func decodeRandom(to *[randomSize]byte, s string) bool {
	var room [randomChars]byte
	n, err := base64url.Decode(to[:], append(room[:0], s...))
	return err == nil && n == randomSize
}

// ConsentOf reads what a consent cookie holds for the site with the tag: the random bits. It is false where the visitor
// did not agree at that site, or longer ago than [ConsentDays] before today (UTC), whatever
// the browser has made of the cookie's life. It does no more than a hit can afford.
func ConsentOf(value string, tag Tag, today event.Day) (random [randomSize]byte, ok bool) {
	day, entries, ok := cutConsent(value)
	if !ok || !inForce(day, today) {
		return random, false
	}
	for ; entries != ""; entries = entries[1+entryChars:] {
		if entries[1:1+tagSize] == string(tag[:]) {
			ok = decodeRandom(&random, entries[1+tagSize:1+entryChars])
			return random, ok
		}
	}
	return random, false
}

// inForce reports whether consent given on a date still holds. A date in the future is none: the
// server's clock went back, or the value is made up.
func inForce(given, today event.Day) bool {
	return given <= today+1 && int(today)-int(given) < ConsentDays
}

// Of returns the random bits for the site with the tag.
func (c *Consent) Of(tag Tag) (random []byte, ok bool) {
	for i := range c.entries {
		if c.entries[i].tag == tag {
			return c.entries[i].random[:], true
		}
	}
	return nil, false
}

// give adds consent at a site and reports whether anything changed: where there is one already it stays as it is.
func (c *Consent) give(tag Tag, today event.Day) bool {
	if _, have := c.Of(tag); have || len(c.entries) >= maxConsents {
		return false
	}
	if len(c.entries) == 0 {
		c.Day = today
	}
	e := entry{tag: tag}
	rand.Read(e.random[:]) // never fails
	c.entries = append(c.entries, e)
	return true
}

// withdraw takes the consent at a site back and reports whether there was one.
func (c *Consent) withdraw(tag Tag) bool {
	for i := range c.entries {
		if c.entries[i].tag == tag {
			c.entries = append(c.entries[:i], c.entries[i+1:]...)
			return true
		}
	}
	return false
}

// Value returns what the cookie holds, "" for no consent at all.
func (c *Consent) Value() string {
	if len(c.entries) == 0 {
		return ""
	}
	b := append([]byte(consentVersion+"."), strconv.Itoa(int(c.Day))...)
	for i := range c.entries {
		e := &c.entries[i]
		b = append(append(b, '.'), e.tag[:]...)
		b = base64url.AppendEncode(b, e.random[:])
	}
	return string(b)
}
