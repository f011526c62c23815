package email

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func testKey(t testing.TB) *Key {
	t.Helper()
	k, err := LoadOrCreateKey(filepath.Join(t.TempDir(), "email.key"), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, k *Key, o Open) string {
	t.Helper()
	token, err := k.SealOpen(o)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRoundTrip(t *testing.T) {
	k := testKey(t)
	long := strings.Repeat("é", MaxName/2)
	for _, o := range []Open{
		{Site: "example.org", Campaign: "c"},
		{Site: "Example.org", Campaign: "november", Message: "first"},
		{Site: strings.Repeat("a", 63) + ".example", Campaign: long, Message: long},
	} {
		token := seal(t, k, o)
		if len(token) > MaxToken {
			t.Errorf("token of %d characters, at most %d", len(token), MaxToken)
		}
		got, err := k.OpenToken(token, "other.example", o.Site)
		if err != nil {
			t.Fatal(err)
		}
		if got.Site != o.Site || got.Campaign != o.Campaign || got.Message != o.Message {
			t.Errorf("got %+v, sealed %+v", got, o)
		}
		if want := noon.Truncate(24 * time.Hour); !got.Issued.Equal(want) || !got.Expires.Equal(want.Add(DefaultLifetime)) {
			t.Errorf("issued %v, expires %v", got.Issued, got.Expires)
		}
		if again := seal(t, k, o); again == token {
			t.Error("two tokens of one content are equal")
		}
	}
	full := seal(t, k, Open{Site: "a.example", Campaign: strings.Repeat("x", MaxName), Message: strings.Repeat("y", MaxName)})
	t.Logf("the largest token has %d characters", len(full))
	if len(full) != MaxToken {
		t.Errorf("the largest token has %d characters; the arithmetic of the package comment says %d", len(full), MaxToken)
	}
	// A site found by another spelling of its name comes back as configured.
	if got, err := k.OpenToken(seal(t, k, Open{Site: "EXAMPLE.org", Campaign: "c"}), "example.org"); err != nil || got.Site != "example.org" {
		t.Errorf("got %q, %v", got.Site, err)
	}
}

func TestNothingReadable(t *testing.T) {
	k := testKey(t)
	token := seal(t, k, Open{Site: "example.org", Campaign: "campaign", Message: "message"})
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"example", "campaign", "message"} {
		if strings.Contains(token, s) || strings.Contains(string(raw), s) {
			t.Errorf("the token holds %q", s)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	k := testKey(t)
	for _, c := range []struct {
		open Open
		want string
	}{
		{Open{Campaign: "c"}, "site is missing"},
		{Open{Site: "s"}, "campaign is missing"},
		{Open{Site: "s", Campaign: strings.Repeat("c", 25)}, "campaign has 25 bytes, at most 24"},
		{Open{Site: "s", Campaign: "c", Message: strings.Repeat("é", 13)}, "message has 26 bytes, at most 24"},
		{Open{Site: "s", Campaign: "\xff"}, "campaign is not valid UTF-8"},
		{Open{Site: "s", Campaign: "c", Message: "a\nb"}, "message holds a control character"},
		{Open{Site: "s", Campaign: "c", Expires: noon.Add(-48 * time.Hour)}, "good for 0 to 800 days"},
		{Open{Site: "s", Campaign: "c", Expires: noon.Add(801 * day)}, "good for 0 to 800 days, not 801"},
		{Open{Site: "s", Campaign: "c", Issued: noon.Add(500 * day), Expires: noon.Add(900 * day)}, "good for 0 to 800 days, not 900"},
		{Open{Site: "s", Campaign: "c", Issued: time.Unix(-1, 0)}, "before 1970"},
	} {
		_, err := k.SealOpen(c.open)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.open, err, c.want)
		}
	}
}

// Every bit of a token counts: whichever is flipped, it is not a token any more.
func TestForged(t *testing.T) {
	k := testKey(t)
	token := seal(t, k, Open{Site: "example.org", Campaign: "november", Message: "m"})
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			bad := []byte(string(raw))
			bad[i] ^= 1 << bit
			if o, err := k.OpenToken(base64.RawURLEncoding.EncodeToString(bad), "example.org"); !errors.Is(err, ErrToken) || o != (Open{}) {
				t.Fatalf("bit %d of byte %d flipped: %+v, %v", bit, i, o, err)
			}
		}
	}
	for n := range token { // cut, at either end
		for _, bad := range []string{token[:n], token[n+1:]} {
			if _, err := k.OpenToken(bad, "example.org"); !errors.Is(err, ErrToken) {
				t.Fatalf("cut to %q: %v", bad, err)
			}
		}
	}
	other := seal(t, k, Open{Site: "example.org", Campaign: "december", Message: "m"})
	for n := 1; n < len(token); n++ { // the head of one on the tail of another
		if _, err := k.OpenToken(token[:n]+other[n:], "example.org"); err == nil && token[:n]+other[n:] != token && token[:n]+other[n:] != other {
			t.Fatalf("two tokens joined at %d were accepted", n)
		}
	}
	for _, bad := range []string{"", "x", token + "A", token + "=", token + "\n", token[:20] + "\r\n" + token[20:], " " + token,
		strings.Repeat("A", MaxToken), strings.Repeat("A", 1<<16), token + token} {
		if _, err := k.OpenToken(bad, "example.org"); !errors.Is(err, ErrToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	if _, err := testKey(t).OpenToken(token, "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("under another key: %v", err)
	}
}

// One spelling a token: the unused bits of the last character must be zero.
func TestCanonical(t *testing.T) {
	k := testKey(t)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for n := 1; n <= 3; n++ {
		token := seal(t, k, Open{Site: "s.example", Campaign: strings.Repeat("c", n)})
		accepted := 0
		for _, c := range alphabet {
			if _, err := k.OpenToken(token[:len(token)-1]+string(c), "s.example"); err == nil {
				accepted++
			}
		}
		if accepted != 1 {
			t.Errorf("%d last characters are accepted, want 1", accepted)
		}
	}
}

func TestKindIsAuthenticated(t *testing.T) {
	k := testKey(t)
	token := seal(t, k, Open{Site: "example.org", Campaign: "c"})
	if _, err := k.open(kindClick, token); !errors.Is(err, ErrToken) {
		t.Errorf("an open token read as a click: %v", err)
	}
	// Relabelled by hand, in both directions.
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	raw[0] = version<<4 | byte(kindClick)
	if _, err := k.open(kindClick, base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrToken) {
		t.Errorf("a relabelled open token read as a click: %v", err)
	}
	click := k.seal(kindClick, []byte("the same layout does not matter"))
	if _, err := k.OpenToken(click, "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("a click token read as an open: %v", err)
	}
	raw, _ = base64.RawURLEncoding.DecodeString(click)
	raw[0] = version<<4 | byte(kindOpen)
	if _, err := k.OpenToken(base64.RawURLEncoding.EncodeToString(raw), "example.org"); !errors.Is(err, ErrToken) {
		t.Errorf("a relabelled click token read as an open: %v", err)
	}
}

// Whoever holds the key may still write nonsense: it is refused, not read past its end.
func TestSealedNonsense(t *testing.T) {
	k := testKey(t)
	for _, plain := range [][]byte{nil, make([]byte, openSize-1), append(make([]byte, openSize-1), 1), append(make([]byte, openSize-1), 255, 1, 2)} {
		if _, err := k.OpenToken(k.seal(kindOpen, plain), "example.org"); !errors.Is(err, ErrToken) {
			t.Errorf("%d bytes: %v", len(plain), err)
		}
	}
}

func TestExpiry(t *testing.T) {
	k := testKey(t)
	token := seal(t, k, Open{Site: "example.org", Campaign: "c", Expires: noon.Add(10 * day)})
	lastMoment := time.Date(2026, 12, 4, 23, 59, 59, 0, time.UTC)
	at := func(now time.Time) (Open, error) {
		return k.at(now).OpenToken(token, "example.org")
	}
	if _, err := at(lastMoment); err != nil {
		t.Errorf("at the end of the last day: %v", err)
	}
	o, err := at(lastMoment.Add(time.Second))
	if !errors.Is(err, ErrExpired) || o.Site != "example.org" || o.Campaign != "c" {
		t.Errorf("a second later: %+v, %v", o, err)
	}
	if _, err := at(noon.Add(-time.Hour * 48)); err != nil {
		t.Errorf("a clock behind the issuer's: %v", err)
	}
}

func TestUnknownSite(t *testing.T) {
	k := testKey(t)
	token := seal(t, k, Open{Site: "example.org", Campaign: "c"})
	for _, sites := range [][]string{nil, {"example.net", "www.example.org", ""}} {
		o, err := k.OpenToken(token, sites...)
		if !errors.Is(err, ErrSite) || o.Site != "" || o.Campaign != "c" {
			t.Errorf("sites %q: %+v, %v", sites, o, err)
		}
	}
}

func TestHTML(t *testing.T) {
	if got, want := PixelURL("https://s.example/", "TOKEN"), "https://s.example/o/TOKEN.gif"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := `<img src="https://s.example/&#34;&gt;/o/TOKEN.gif" alt="" width="1" height="1" border="0" style="display:block;width:1px;height:1px;border:0">`
	if got := PixelHTML(`https://s.example/">`, "TOKEN"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzOpenToken holds that nothing but a sealed token opens, and that what opens can be
// sealed again to the same content.
func FuzzOpenToken(f *testing.F) {
	k := testKey(f)
	seeds := []string{"", "A", "EQAA", strings.Repeat("A", 120), strings.Repeat("_", 119), "ö", "AA\nAA"}
	made := map[string]bool{}
	for i := range 8 {
		token := seal(f, k, Open{Site: "example.org", Campaign: fmt.Sprintf("campaign %d", i), Message: strings.Repeat("m", 3*i)})
		made[token] = true
		seeds = append(seeds, token, token[:len(token)-1], token+"A", "I"+token[1:], k.seal(kindClick, []byte(token)[:20]))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		o, err := k.OpenToken(token, "example.org")
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Fatalf("%v", err)
			}
			if made[token] {
				t.Fatalf("a token of ours is refused")
			}
			return
		}
		if !made[token] {
			t.Fatalf("accepted a token that was never made: %q", token)
		}
		again, err := k.OpenToken(seal(t, k, o), "example.org")
		if err != nil || again != o {
			t.Fatalf("sealed again: %+v, %v; want %+v", again, err, o)
		}
	})
}

func BenchmarkOpenToken(b *testing.B) {
	k := testKey(b)
	token := seal(b, k, Open{Site: "example.org", Campaign: "november", Message: "m"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.OpenToken(token, "example.org"); err != nil {
			b.Fatal(err)
		}
	}
}

// Tokens stand in mails that were sent: the form of version 1 never changes. The key file
// is public and for this test alone.
func TestFormIsStable(t *testing.T) {
	b, err := os.ReadFile("testdata/key.json")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "email.key")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := LoadOrCreateKey(path, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	want := Open{Site: "example.org", Campaign: "spring ✓", Message: "2", Issued: noon.Truncate(day), Expires: noon.Truncate(day).Add(DefaultLifetime)}
	for name, token := range map[string]string{
		"the newest key": "EVZ4u36HHrmccyQFC7981QcyiuVeBu61tmpg2O5dcP9J63ndjBKDHrL8Hgj6u32yBKIouRc",
		"a retired key":  "ERI0UuqXBg8hRgBwkOPgQ76exsXGii8hJQMVuXi8Z_68TbFygc-OoK2Fuaecws0FJJNT2DM",
	} {
		if got, err := k.OpenToken(token, "example.org"); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	if token := seal(t, k, want); token[:4] != "EVZ4" {
		t.Errorf("%s is not sealed with the newest key", token)
	}
}
