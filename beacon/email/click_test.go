package email

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// at is k at another time.
func (k *Key) at(now time.Time) *Key {
	c := &Key{path: k.path, now: func() time.Time { return now }}
	c.keys.Store(k.keys.Load())
	return c
}

func sealClick(t testing.TB, k *Key, c Click) string {
	t.Helper()
	token, err := k.SealClick(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestClickRoundTrip(t *testing.T) {
	k := testKey(t)
	long := strings.Repeat("é", MaxName/2)
	for _, u := range []string{"https://example.org/", "http://a.b", "HTTPS://Example.ORG:8443/a%20b?x=1&y=%F0#frag?x", "https://u:p@example.org/",
		"https://bücher.example/ü?ö=ä#ß", "http://[2001:db8::1]:80/x", "https://x.example?q#", "https://e.example/" + strings.Repeat("p", MaxDestination-18)} {
		for _, c := range []Click{{Site: "example.org", Campaign: "c"}, {Site: "example.org", Campaign: long, Message: long, UTM: true}} {
			c.URL = u
			token := sealClick(t, k, c)
			if len(token)*3 > 120*3+4*len(u) {
				t.Errorf("%d characters for a destination of %d", len(token), len(u))
			}
			got, err := k.ClickToken(token, "other.example", "example.org")
			if err != nil {
				t.Fatal(err)
			}
			scheme, rest, _ := strings.Cut(u, "://")
			if want := strings.ToLower(scheme) + "://" + rest; got.URL != want || got.Site != c.Site || got.Campaign != c.Campaign || got.Message != c.Message || got.UTM != c.UTM {
				t.Errorf("got %+v, sealed %+v", got, c)
			}
			if loc := got.Location(); strings.ContainsFunc(loc, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Errorf("%q cannot stand in a header", loc)
			}
			for _, s := range []string{"example", long[:4]} {
				if raw, _ := base64.RawURLEncoding.DecodeString(token); strings.Contains(token, s) || strings.Contains(string(raw), s) {
					t.Errorf("the token holds %q", s)
				}
			}
		}
	}
}

// The shortest destinations are where a token's own length weighs most.
func TestClickTokenLength(t *testing.T) {
	k := testKey(t)
	for n := 1; n < 40; n++ {
		u := "http://" + strings.Repeat("h", n)
		token := sealClick(t, k, Click{Site: "example.org", Campaign: strings.Repeat("c", MaxName), Message: strings.Repeat("m", MaxName), URL: u})
		if len(token)*3 > 120*3+4*len(u) {
			t.Errorf("%d characters for a destination of %d", len(token), len(u))
		}
	}
}

func TestClickRefuses(t *testing.T) {
	k := testKey(t)
	for u, want := range map[string]string{
		"":                        "begins with https://",
		"example.org":             "begins with https://",
		"//example.org/":          "begins with https://",
		"javascript:alert(1)":     "begins with https://",
		"javascript://x/%0aalert": "begins with https://",
		"ftp://example.org/":      "begins with https://",
		" https://example.org/":   "begins with https://",
		"https:///path":           "no host",
		"https://?x":              "no host",
		"https://:80/":            "no host",
		"https://user@/":          "no host",
		"https://a b/":            "no host",
		"https://ex\u2028mple/":   "no host",
		"https://e.example/\r\nX": "control character",
		"https://e.example/\xff":  "not valid UTF-8",
		"https://e.example/" + strings.Repeat("p", MaxDestination): "at most 4096",
	} {
		if _, err := k.SealClick(Click{Site: "example.org", Campaign: "c", URL: u}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", u, err, want)
		}
	}
	if _, err := k.SealClick(Click{Site: "s", Campaign: strings.Repeat("c", 25), URL: "https://e.example/"}); err == nil {
		t.Error("a campaign of 25 bytes")
	}
}

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		url  string
		utm  bool
		want string
	}{
		{"https://e.example/a?b=c&d=%20#f", false, "https://e.example/a?b=c&d=%20#f"},
		{"https://e.example", false, "https://e.example"},
		{"https://bücher.example:81/ü ?ö=\"ä\"#ß", false, "https://xn--bcher-kva.example:81/%C3%BC%20?%C3%B6=%22%C3%A4%22#%C3%9F"},
		{"https://u:p@e.example/@x", false, "https://u:p@e.example/@x"},
		{"https://e.example/a", true, "https://e.example/a?utm_source=email&utm_medium=email&utm_campaign=spring+%26&utm_content=m"},
		{"https://e.example", true, "https://e.example/?utm_source=email&utm_medium=email&utm_campaign=spring+%26&utm_content=m"},
		{"https://e.example/?utm_source=own&x=#top?y", true, "https://e.example/?utm_source=own&x=&utm_medium=email&utm_campaign=spring+%26&utm_content=m#top?y"},
		{"https://e.example/?a&", true, "https://e.example/?a&utm_source=email&utm_medium=email&utm_campaign=spring+%26&utm_content=m"},
	} {
		click := Click{URL: c.url, UTM: c.utm, Campaign: "spring &", Message: "m"}
		if got := click.Location(); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.url, got, c.want)
		}
		if _, err := url.Parse(click.Location()); err != nil {
			t.Error(err)
		}
	}
}

func TestClickForged(t *testing.T) {
	k := testKey(t)
	token := sealClick(t, k, Click{Site: "example.org", Campaign: "november", Message: "m", URL: "https://example.org/"})
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			bad := []byte(string(raw))
			bad[i] ^= 1 << bit
			if c, err := k.ClickToken(base64.RawURLEncoding.EncodeToString(bad), "example.org"); !errors.Is(err, ErrToken) || c != (Click{}) {
				t.Fatalf("bit %d of byte %d flipped: %+v, %v", bit, i, c, err)
			}
		}
	}
	for n := range token {
		for _, bad := range []string{token[:n], token[n+1:], token[:n] + "A" + token[n:]} {
			if _, err := k.ClickToken(bad, "example.org"); !errors.Is(err, ErrToken) {
				t.Fatalf("%q: %v", bad, err)
			}
		}
	}
	open := seal(t, k, Open{Site: "example.org", Campaign: "november", Message: "m"})
	if _, err := k.ClickToken(open, "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("an open token read as a click: %v", err)
	}
	if _, err := k.OpenToken(token, "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("a click token read as an open: %v", err)
	}
	if _, err := testKey(t).ClickToken(token, "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("under another key: %v", err)
	}
	// Whoever holds the key may still write nonsense.
	for _, plain := range [][]byte{nil, make([]byte, clickSize-1), make([]byte, clickSize), append(make([]byte, headSize), 0, 200, 200),
		append(make([]byte, headSize), 0xf0, 0, 0, 'x'), append(make([]byte, headSize), 0, 0, 0, '\n')} {
		if _, err := k.ClickToken(k.seal(kindClick, plain), "example.org"); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", plain, err)
		}
	}
	short := sealClick(t, k, Click{Site: "example.org", Campaign: "c", URL: "https://example.org/", Expires: noon.Add(day)})
	if c, err := k.at(noon.Add(2*day)).ClickToken(short, "example.org"); !errors.Is(err, ErrExpired) || c.URL != "https://example.org/" {
		t.Errorf("expired: %+v, %v", c, err)
	}
	if _, err := k.ClickToken(token, "example.net"); !errors.Is(err, ErrSite) {
		t.Errorf("unknown site: %v", err)
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "email.key")
	now := noon
	k, err := LoadOrCreateKey(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	idOf := func(token string) string { return token[1:4] }
	first := seal(t, k, Open{Site: "s.example", Campaign: "c"})
	from, err := Rotate(path, now)
	if err != nil || !from.Equal(noon.Truncate(day).Add(day)) {
		t.Fatalf("%v, %v", from, err)
	}
	now = now.Add(time.Minute)
	if same := seal(t, k, Open{Site: "s.example", Campaign: "c"}); idOf(same) != idOf(first) {
		t.Error("the new key seals at once: other nodes do not have it yet")
	}
	now = now.Add(day)
	// A node that has only just been given the file, and has not looked at it.
	other := k.at(now)
	second := seal(t, k, Open{Site: "s.example", Campaign: "c"})
	if idOf(second) == idOf(first) {
		t.Error("the new key does not seal the day after")
	}
	for _, token := range []string{first, second} {
		for _, key := range []*Key{k, other} {
			if _, err := key.OpenToken(token, "s.example"); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
	// The first key goes when nothing that it sealed can be good.
	now = now.Add(MaxLifetime)
	if _, err := Rotate(path, now); err != nil {
		t.Fatal(err)
	}
	if f, err := readFile(path); err != nil || len(f.Keys) != 3 {
		t.Errorf("%d keys, want 3: %v", len(f.Keys), err)
	}
	now = now.Add(2 * day)
	if _, err := Rotate(path, now); err != nil {
		t.Fatal(err)
	}
	if f, err := readFile(path); err != nil || len(f.Keys) != 3 {
		t.Errorf("%d keys, want 3, without the first: %v", len(f.Keys), err)
	}
	if _, err := k.OpenToken(first, "s.example"); err == nil {
		t.Error("an expired token is good")
	}
	// A damaged file changes nothing for who runs.
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if _, err := k.SealOpen(Open{Site: "s.example", Campaign: "c"}); err != nil {
		t.Error(err)
	}
	if _, err := Rotate(path, now); err == nil {
		t.Error("a damaged file was rotated")
	}
}

// FuzzClickToken holds that nothing but a sealed token opens, and that where it leads is what was sealed.
func FuzzClickToken(f *testing.F) {
	k := testKey(f)
	made := map[string]string{}
	for i, u := range []string{"https://example.org/", "http://example.org/?a=b#c", "https://bücher.example/ü"} {
		token := sealClick(f, k, Click{Site: "example.org", Campaign: fmt.Sprint("campaign ", i), URL: u})
		made[token] = u
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(token + "A")
		f.Add(seal(f, k, Open{Site: "example.org", Campaign: "c"}))
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := k.ClickToken(token, "example.org")
		if err != nil && !errors.Is(err, ErrToken) {
			t.Fatalf("%v", err)
		}
		if made[token] != c.URL {
			t.Fatalf("%q leads to %q, sealed was %q", token, c.URL, made[token])
		}
	})
}

// FuzzSealClick holds that whatever is taken as a destination can stand in a header and comes back as it was.
func FuzzSealClick(f *testing.F) {
	k := testKey(f)
	for _, u := range []string{"https://example.org/", "http://a@b:1?#", `https://a\b`, "https://ü.example/ ü", "https://[::1]/", "https://a%00b/"} {
		f.Add(u, true)
	}
	f.Fuzz(func(t *testing.T, dest string, utm bool) {
		token, err := k.SealClick(Click{Site: "example.org", Campaign: "c", URL: dest, UTM: utm})
		if err != nil {
			return
		}
		c, err := k.ClickToken(token, "example.org")
		if err != nil || !strings.EqualFold(c.URL[:5], dest[:5]) || c.URL[6:] != dest[6:] {
			t.Fatalf("%q came back as %q, %v", dest, c.URL, err)
		}
		if loc := c.Location(); strings.ContainsFunc(loc, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q cannot stand in a header", loc)
		}
	})
}
