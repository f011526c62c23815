// Package email makes and reads the tokens that stand in the addresses of e-mail
// pixels and of counted links, and the HTML around them.
//
// A token says which mail was opened or followed, never by whom: site, campaign, message, when
// it was issued and when it expires, and for a link where it leads. All of it is sealed with AES-256-GCM under a key of
// this installation, so a token can neither be read nor made nor changed by others: a link leads where it was made to
// lead, and nowhere else.
//
// # Form
//
// A token is unpadded base64url. That of a pixel has at most [MaxToken] characters, of
//
//	 1 byte   version (high four bits) and kind (low four bits)
//	 2 bytes  id of the key
//	12 bytes  nonce, random
//	 2 bytes  sealed: day of issue, days since 1970-01-01 UTC
//	 2 bytes  sealed: lifetime in days
//	 6 bytes  sealed: the site, first bytes of SHA-256 of its lower-case name
//	 1 byte   sealed: length of the campaign
//	≤ 24      sealed: campaign
//	≤ 24      sealed: message, to the end
//	16 bytes  tag
//
// which is at most 90 bytes, 120 characters. In that of a link there stand, after the site,
//
//	 1 byte   sealed: flags: https, add campaign parameters
//	 1 byte   sealed: length of the campaign
//	 1 byte   sealed: length of the message
//	≤ 24      sealed: campaign
//	≤ 24      sealed: message
//	≤ 4096    sealed: the destination without its scheme, to the end
//
// so that it has at most 120 characters more than 4/3 of the destination's. A site's name may have 253 bytes, so it is
// not in the token: the reader knows its sites and finds the one whose hash is there.
// Two of a thousand sites share a hash with a probability of 2·10⁻⁹. Whoever cannot
// make tokens cannot use a shared hash either.
//
// Version, kind and key id are not sealed but authenticated (as GCM's additional data):
// a token of one kind is never accepted as another.
//
// # Rules
//
//   - Nonces are random. With 2³² tokens under one key the chance of a repeated nonce is
//     2⁻³³, and a token is made for a mailing, not for a reader.
//   - The key file is 0600, replaced atomically, and may hold several keys: the newest seals from
//     the day after it was made, so that there is time to bring it to other nodes; all open. A key goes
//     when no token that it sealed can be good any more. See [Rotate].
//   - No error and no printed form of a [Key] holds key bytes or a token.
package email

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a token.
const (
	MaxToken = 120 // characters
	MaxName  = 24  // bytes of a campaign or a message

	// DefaultLifetime is how long an open is counted after the token was made.
	DefaultLifetime = 400 * 24 * time.Hour
	// MaxLifetime bounds it, and with it how long a key that no longer seals is needed.
	MaxLifetime = 800 * 24 * time.Hour
)

// Errors of reading a token. Callers tell the three apart for their metrics; a reader of
// mail is told nothing.
var (
	ErrToken   = errors.New("email: not a token of this installation")
	ErrExpired = errors.New("email: the token has expired")
	ErrSite    = errors.New("email: the token is for a site that is not configured")
)

// kind tells what a token is for. It is authenticated: the numbers never change.
type kind uint8

const (
	kindOpen  kind = 1
	kindClick kind = 2
)

const (
	version    = 1
	headerSize = 1 + 2
	nonceSize  = 12
	tagSize    = 16
	siteSize   = 6
	headSize   = 2 + 2 + siteSize
	openSize   = headSize + 1 // without the names
	clickSize  = headSize + 3 // without the names and the destination
	day        = 24 * time.Hour
)

// Open is what the token of an open pixel says.
type Open struct {
	Site     string // the site's configured name
	Campaign string // 1 to MaxName bytes of UTF-8
	Message  string // at most MaxName bytes of UTF-8; "" for a campaign of one message

	// Issued and Expires are whole days in UTC; the token is good up to the end of the
	// day of Expires. When sealing, the zero Issued is today and the zero Expires is
	// DefaultLifetime later.
	Issued, Expires time.Time
}

// SealOpen makes the token of o. The error names the field that does not fit. Every call
// makes another token for the same o.
func (k *Key) SealOpen(o Open) (string, error) {
	plain, err := k.appendHead(make([]byte, 0, openSize+2*MaxName), o.Site, o.Campaign, o.Message, o.Issued, o.Expires)
	if err != nil {
		return "", err
	}
	plain = append(plain, byte(len(o.Campaign)))
	plain = append(plain, o.Campaign...)
	plain = append(plain, o.Message...)
	return k.seal(kindOpen, plain), nil
}

// OpenToken reads the token of an open pixel and finds its site among sites, the names
// as configured. The error is [ErrToken] for whatever this installation did not make, a
// token of another kind among it, [ErrExpired] or [ErrSite]; of an expired token or one of
// an unknown site the rest of Open is filled all the same.
func (k *Key) OpenToken(token string, sites ...string) (Open, error) {
	if len(token) > MaxToken {
		return Open{}, ErrToken
	}
	plain, err := k.open(kindOpen, token)
	if err != nil {
		return Open{}, err
	}
	if len(plain) < openSize {
		return Open{}, ErrToken
	}
	names := string(plain[openSize:])
	n := int(plain[openSize-1])
	if n > len(names) {
		return Open{}, ErrToken
	}
	o := Open{Campaign: names[:n], Message: names[n:]}
	o.Site, o.Issued, o.Expires, err = k.readHead(plain, sites)
	return o, err
}

// appendHead appends what every token begins with, after checking it and the names.
func (k *Key) appendHead(plain []byte, site, campaign, message string, from, to time.Time) ([]byte, error) {
	if site == "" {
		return nil, errors.New("email: the site is missing")
	}
	if campaign == "" {
		return nil, errors.New("email: the campaign is missing")
	}
	if err := checkName("campaign", campaign); err != nil {
		return nil, err
	}
	if err := checkName("message", message); err != nil {
		return nil, err
	}
	today := dayOf(k.now())
	issued := today
	if !from.IsZero() {
		issued = dayOf(from)
	}
	expires := issued + int64(DefaultLifetime/day)
	if !to.IsZero() {
		expires = dayOf(to)
	}
	if issued < 0 || issued > 0xffff {
		return nil, errors.New("email: the day of issue is before 1970 or after 2149")
	}
	// Counted from today too: a key that no longer seals is needed no longer.
	if lasts := expires - min(issued, today); expires < issued || lasts > int64(MaxLifetime/day) {
		return nil, fmt.Errorf("email: a token is good for 0 to %d days, not %d", MaxLifetime/day, lasts)
	}
	plain = binary.BigEndian.AppendUint16(plain, uint16(issued))
	plain = binary.BigEndian.AppendUint16(plain, uint16(expires-issued))
	hash := siteHash(site)
	return append(plain, hash[:]...), nil
}

// readHead reads what appendHead wrote; plain is at least that long. With an error the rest is
// filled all the same.
func (k *Key) readHead(plain []byte, sites []string) (site string, from, to time.Time, err error) {
	issued := int64(binary.BigEndian.Uint16(plain))
	expires := issued + int64(binary.BigEndian.Uint16(plain[2:]))
	var want [siteSize]byte
	copy(want[:], plain[4:])
	for _, s := range sites {
		if siteHash(s) == want {
			site = s
			break
		}
	}
	switch {
	case dayOf(k.now()) > expires:
		err = ErrExpired
	case site == "":
		err = ErrSite
	}
	return site, timeOf(issued), timeOf(expires), err
}

// PixelURL returns the address of the open pixel; base is the public address of this
// Footfall without a path.
func PixelURL(base, token string) string {
	return strings.TrimRight(base, "/") + "/o/" + token + ".gif"
}

// PixelHTML returns the image to put at the end of an HTML mail. The styles are inline,
// as mail programs want them; the image is not hidden, because some do not load those.
func PixelHTML(base, token string) string {
	return `<img src="` + html.EscapeString(PixelURL(base, token)) +
		`" alt="" width="1" height="1" border="0" style="display:block;width:1px;height:1px;border:0">`
}

// seal returns the token of plain.
func (k *Key) seal(what kind, plain []byte) string {
	newest := k.sealing()
	raw := make([]byte, headerSize+nonceSize, headerSize+nonceSize+len(plain)+tagSize)
	raw[0] = version<<4 | byte(what)
	binary.BigEndian.PutUint16(raw[1:], newest.id)
	rand.Read(raw[headerSize:]) // never fails
	raw = newest.aead.Seal(raw, raw[headerSize:], plain, raw[:headerSize])
	return base64.RawURLEncoding.EncodeToString(raw)
}

// open returns what seal was given. Every failure is ErrToken: a caller learns nothing of
// why.
func (k *Key) open(what kind, token string) ([]byte, error) {
	// The decoder skips line ends; a token has one spelling only.
	if strings.ContainsAny(token, "\r\n") {
		return nil, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < headerSize+nonceSize+tagSize || raw[0] != version<<4|byte(what) {
		return nil, ErrToken
	}
	key := k.find(binary.BigEndian.Uint16(raw[1:]))
	if key == nil {
		return nil, ErrToken
	}
	plain, err := key.aead.Open(nil, raw[headerSize:headerSize+nonceSize], raw[headerSize+nonceSize:], raw[:headerSize])
	if err != nil {
		return nil, ErrToken
	}
	return plain, nil
}

func checkName(what, s string) error {
	if len(s) > MaxName {
		return fmt.Errorf("email: the %s has %d bytes, at most %d fit into the token", what, len(s), MaxName)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("email: the %s is not valid UTF-8", what)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("email: the %s holds a control character", what)
	}
	return nil
}

func siteHash(name string) [siteSize]byte {
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	return [siteSize]byte(sum[:siteSize])
}

// dayOf returns days since 1970-01-01 in UTC, rounded down.
func dayOf(t time.Time) int64 {
	s := t.Unix()
	if s < 0 {
		return -1
	}
	return s / 86400
}

func timeOf(days int64) time.Time { return time.Unix(days*86400, 0).UTC() }
