package email

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// MaxDestination is the longest destination of a link, in bytes.
const MaxDestination = 4096

// Click is what the token of a link says.
type Click struct {
	Site     string // the site's configured name
	Campaign string // 1 to MaxName bytes of UTF-8
	Message  string // at most MaxName bytes of UTF-8

	// URL is where the link leads: http or https, at most MaxDestination bytes, with its own query and
	// fragment.
	URL string
	// UTM adds utm_source, utm_medium, utm_campaign and utm_content to the query of URL where it has
	// none of that name.
	UTM bool

	Issued, Expires time.Time // as in [Open]
}

const (
	flagHTTPS = 1 << iota
	flagUTM
)

// SealClick makes the token of c. The error names the field that does not fit.
func (k *Key) SealClick(c Click) (string, error) {
	https, rest, err := cutDestination(c.URL)
	if err != nil {
		return "", err
	}
	plain, err := k.appendHead(make([]byte, 0, clickSize+2*MaxName+len(rest)), c.Site, c.Campaign, c.Message, c.Issued, c.Expires)
	if err != nil {
		return "", err
	}
	var flags byte
	if https {
		flags |= flagHTTPS
	}
	if c.UTM {
		flags |= flagUTM
	}
	plain = append(plain, flags, byte(len(c.Campaign)), byte(len(c.Message)))
	plain = append(plain, c.Campaign...)
	plain = append(plain, c.Message...)
	plain = append(plain, rest...)
	return k.seal(kindClick, plain), nil
}

// maxClickToken is the length of the longest token of a link.
const maxClickToken = 120 + (MaxDestination*4+2)/3

// ClickToken reads the token of a link and finds its site among sites, the names as configured. The
// error is [ErrToken] for whatever this installation did not make, an open pixel's token among it,
// [ErrExpired] or [ErrSite]; of an expired token or one of an unknown site the rest of Click is filled all the same.
func (k *Key) ClickToken(token string, sites ...string) (Click, error) {
	if len(token) > maxClickToken {
		return Click{}, ErrToken
	}
	plain, err := k.open(kindClick, token)
	if err != nil {
		return Click{}, err
	}
	if len(plain) < clickSize {
		return Click{}, ErrToken
	}
	flags, campaign, message := plain[headSize], int(plain[headSize+1]), int(plain[headSize+2])
	text := string(plain[clickSize:])
	if campaign+message > len(text) || flags&^(flagHTTPS|flagUTM) != 0 {
		return Click{}, ErrToken
	}
	scheme := "http://"
	if flags&flagHTTPS != 0 {
		scheme = "https://"
	}
	c := Click{Campaign: text[:campaign], Message: text[campaign : campaign+message], URL: scheme + text[campaign+message:], UTM: flags&flagUTM != 0}
	if _, _, err := cutDestination(c.URL); err != nil {
		return Click{}, ErrToken
	}
	c.Site, c.Issued, c.Expires, err = k.readHead(plain, sites)
	return c, err
}

// cutDestination checks a destination and returns it without its scheme.
func cutDestination(dest string) (https bool, rest string, err error) {
	if len(dest) > MaxDestination {
		return false, "", fmt.Errorf("email: the destination has %d bytes, at most %d fit into a link", len(dest), MaxDestination)
	}
	scheme, rest, ok := strings.Cut(dest, "://")
	switch https = strings.EqualFold(scheme, "https"); {
	case !ok || !https && !strings.EqualFold(scheme, "http"):
		return false, "", errors.New("email: the destination is no address that begins with https:// or http://")
	case !utf8.ValidString(rest):
		return false, "", errors.New("email: the destination is not valid UTF-8")
	case strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return false, "", errors.New("email: the destination holds a control character")
	}
	authority, _ := cutAuthority(rest)
	host, err := hostOf(authority)
	if err == nil && (host == "" || host[0] == ':' || strings.ContainsAny(host, " %<>\"^`{|}")) {
		err = errors.New("it is no host")
	}
	if err != nil {
		return false, "", errors.New("email: the destination has no host that a browser could find")
	}
	return https, rest, nil
}

// cutAuthority splits what follows the scheme, as browsers do: a backslash counts as a slash.
func cutAuthority(rest string) (authority, path string) {
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

// hostOf returns the host and port of an authority, an international name as xn--.
func hostOf(authority string) (string, error) {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			name, port, ok := strings.Cut(host, ":")
			name, err := idna.Lookup.ToASCII(name)
			if ok {
				name += ":" + port
			}
			if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
				return "", errors.New("a port that is no number")
			}
			return name, err
		}
	}
	return host, nil
}

// Location is where c leads, as a header field can say it: what is not ASCII is encoded as browsers do
// it, and the campaign's parameters are added if c wants them.
func (c *Click) Location() string {
	scheme, rest, _ := strings.Cut(c.URL, "://")
	authority, rest := cutAuthority(rest)
	host, err := hostOf(authority)
	if err != nil { // SealClick does not make such a token
		host = "invalid"
	}
	b := append(make([]byte, 0, len(c.URL)+128), scheme...)
	b = append(b, "://"...)
	b = appendEncoded(b, authority[:strings.LastIndexByte(authority, '@')+1])
	b = append(b, host...)
	rest, fragment, hasFragment := strings.Cut(rest, "#")
	if c.UTM {
		rest = c.withUTM(rest)
	}
	b = appendEncoded(b, rest)
	if hasFragment {
		b = append(b, '#')
		b = appendEncoded(b, fragment)
	}
	return string(b)
}

// withUTM adds the campaign's parameters to a path and query.
func (c *Click) withUTM(rest string) string {
	path, query, _ := strings.Cut(rest, "?")
	if path == "" {
		path = "/"
	}
	has := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		has[name] = true
	}
	for _, p := range [...][2]string{{"utm_source", "email"}, {"utm_medium", "email"}, {"utm_campaign", c.Campaign}, {"utm_content", c.Message}} {
		if has[p[0]] || p[1] == "" {
			continue
		}
		if query != "" && query[len(query)-1] != '&' {
			query += "&"
		}
		query += p[0] + "=" + url.QueryEscape(p[1])
	}
	return path + "?" + query
}

// appendEncoded appends s with what cannot stand in a header field, or in no address, as %XX.
func appendEncoded(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>':
			b = append(b, '%', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// ClickURL returns the address of the link; base is the public address of this Footfall without a path.
func ClickURL(base, token string) string {
	return strings.TrimRight(base, "/") + "/c/" + token
}
