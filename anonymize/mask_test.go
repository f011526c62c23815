package anonymize

import (
	"bufio"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	jwtExample = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
	hex64      = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	url43      = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	uuid       = "550e8400-e29b-41d4-a716-446655440000"
)

// maskCases are what Mask makes of each text.
var maskCases = []struct{ in, want string }{
	// E-mail addresses.
	{"/welcome/ann@example.org", "/welcome/(email)"},
	{"/welcome/Ann.Lee+news@Mail.Example.CO.UK/edit", "/welcome/(email)/edit"},
	{"/u/ann%40example.org", "/u/(email)"},
	{"/u/ann%2540example.org", "/u/(email)"},
	{"/u/%61nn%2Bx%40example%2Eorg/x", "/u/(email)/x"},
	{"/search?q=ann%40example.org&page=2", "/search?q=(email)&page=2"},
	{"/mail?to=a@b.de,c@d.fr;e@f.it", "/mail?to=(email),(email);(email)"},
	{"mailto:ann@example.org", "mailto:(email)"},
	{"Message to <ann@example.org>.", "Message to <(email)>."},
	{"/u/jürgen@müller.de/ä", "/u/(email)/ä"},
	{"/u/анна@пример.рф", "/u/(email)"},
	{"/u/ann@xn--mller-kva.de", "/u/(email)"},
	{"/u/ann＠example.org", "/u/(email)"},
	{"/@ann@social.example", "/@(email)"},
	{"/ann@example.org.html", "/(email).html"},
	{"/users/4917112345678@c.us", "/users/(email)"},
	{"12345@163.com", "(email)"},
	{"ann@example.org?", "(email)?"},
	{"Ünï – ann@example.org – Ünï", "Ünï – (email) – Ünï"},
	{"ann@example.org@example.net", "(email)@example.net"},

	// Telephone numbers.
	{"/call/+49 30 1234567", "/call/(phone)"},
	{"/call/%2B49%2030%201234567", "/call/(phone)"},
	{"/call/+49-30-1234567-now", "/call/(phone)-now"},
	{"tel:+1-212-555-0123", "tel:(phone)"},
	{"/call?n=+4930123456", "/call?n=(phone)"},
	{"0049 30 1234567", "(phone)"},
	{"/call/00491711234567", "/call/(phone)"},
	{"+44 (0)20 7946 0958", "(phone)"},
	{"020 7946 0958", "(phone)"},
	{"/anruf/0171-1234567", "/anruf/(phone)"},
	{"/anruf/01711234567", "/anruf/(phone)"},
	{"Tel. (030) 1234567", "Tel. (phone)"},
	{"Tel. 030/1234567", "Tel. (phone)"},
	{"01 42 68 53 00", "(phone)"},
	{"01.42.68.53.00", "(phone)"},
	{"call (212) 555-0123 now", "call (phone) now"},
	{"212-555-0123", "(phone)"},
	{"1 212.555.0123", "(phone)"},
	{"?tel=5551234567&x=1", "?tel=(phone)&x=1"},
	{"phone: 612 345 678", "phone: (phone)"},
	{"＋４９ ３０ １２３４５６７", "(phone)"},
	{"+49\u00a030\u00a01234567", "(phone)"},
	{"040–35905–302", "(phone)"},

	// Addresses.
	{"/from/203.0.113.77", "/from/(ip)"},
	{"/from/203%2E0%2E113%2E77/x", "/from/(ip)/x"},
	{"?ip=1.2.3.4", "?ip=(ip)"},
	{"http://198.51.100.7:8080/x", "http://(ip):8080/x"},
	{"host-203.0.113.77-x", "host-(ip)-x"},
	{"ip203.0.113.77", "ip(ip)"},
	{"seen from 203.0.113.77.", "seen from (ip)."},
	{"/from/2001:db8:7::1", "/from/(ip)"},
	{"/from/[2001:DB8:7:0:0:0:0:1]/x", "/from/[(ip)]/x"},
	{"/from/2001%3Adb8%3A7%3A%3A1", "/from/(ip)"},
	{"::ffff:203.0.113.77", "(ip)"},
	{"fe80::1ff:fe23:4567:890a", "(ip)"},

	// Payment cards and bank accounts.
	{"/pay/4111111111111111", "/pay/(card)"},
	{"/pay/4111 1111 1111 1111", "/pay/(card)"},
	{"/pay?card=4111-1111-1111-1111&x", "/pay?card=(card)&x"},
	{"/pay?card=4111+1111+1111+1111", "/pay?card=(card)"},
	{"5555555555554444", "(card)"}, {"2223003122003222", "(card)"}, {"378282246310005", "(card)"},
	{"3782 822463 10005", "(card)"}, {"6011111111111117", "(card)"}, {"3530111333300000", "(card)"},
	{"30569309025904", "(card)"}, {"6759649826438453", "(card)"}, {"6212345678901232", "(card)"},
	{"4111111111111111 5555555555554444", "(card) (card)"},
	{"/iban/DE89370400440532013000", "/iban/(iban)"},
	{"/iban/de89 3704 0044 0532 0130 00/x", "/iban/(iban)/x"},
	{"iban=GB29%20NWBK%206016%201331%209268%2019", "iban=(iban)"},
	{"NO9386011117947", "(iban)"}, {"MT84MALT011000012345MTLCAST001S", "(iban)"},
	{"FR1420041010050500013M02606 danke", "(iban) danke"},

	// Tokens.
	{"/login/" + jwtExample, "/login/(token)"},
	{"?x=" + jwtExample + "&y=1", "?x=(token)&y=1"},
	{"/a/" + hex64, "/a/(token)"},
	{"/a/" + url43 + "/b", "/a/(token)/b"},
	{"/reset/5f4dcc3b5aa765d61d8327deb882cf99", "/reset/(token)"},
	{"/password/reset/abc-5f4dcc3b5aa765d61d8327deb882cf99", "/password/reset/abc-(token)"},
	{"/invite/" + uuid, "/invite/(token)"},
	{"/INVITE/" + strings.ToUpper(uuid) + "/accept", "/INVITE/(token)/accept"},
	{"/users/507f1f77bcf86cd799439011/edit", "/users/(token)/edit"},
	{"/verify/Xk9fT2mQ7vLw3RzB", "/verify/(token)"},
	{"?id=" + uuid, "?id=(token)"},
	{"?h=5f4dcc3b5aa765d61d8327deb882cf99", "?h=(token)"},
	{uuid, "(token)"},
	{"/cart.html;jsessionid=27FCC3FF2A562EEC4A650E1FC05AC65B.node1", "/cart.html;jsessionid=(token)"},
	{"/x?PHPSESSID=ab12cd34", "/x?PHPSESSID=(token)"},
	{"/x?password=secret&b", "/x?password=(token)&b"},
	{"?t=c2VjcmV0IHNlY3JldCBzZWNyZXQgMTIzNDU2Nzg5%3D%3D", "?t=(token)"},

	// Several, and what they leave.
	{"/a/ann@example.org/b/203.0.113.77/c/+4930123456", "/a/(email)/b/(ip)/c/(phone)"},
	{"%E4%BD%A0/ann%40example.org/%E5%A5%BD", "%E4%BD%A0/(email)/%E5%A5%BD"},
}

func TestMask(t *testing.T) {
	for _, c := range maskCases {
		got, found := Mask(c.in)
		if got != c.want || found == 0 {
			t.Errorf("%s\nbecame %s (%b)\nwant   %s", c.in, got, found, c.want)
			continue
		}
		var kinds Found
		for k, m := range masks {
			if strings.Contains(got, m) {
				kinds |= 1 << k
			}
		}
		if found != kinds {
			t.Errorf("%s: found %b, written %b", c.in, found, kinds)
		}
		if again, more := Mask(got); again != got || more != 0 {
			t.Errorf("%s became %s when masked again", got, again)
		}
	}
}

// TestMaskLeaves has what looks like personal data and is none.
func TestMaskLeaves(t *testing.T) {
	for _, s := range []string{
		"", "/", "pageview", "/blog/2026/11/24/an-article-about-something", "/2026-11-24-10-30-00", "24.11.2026 10:30", "/2026/11/24/123456789/title.html",
		"/@ann", "/package/@scope/name", "/npm/react@18.2.0/umd/react.js", "/img/icon@2x.png", "/mod/@v/v1.2.3.zip", "/x/lib@v1.2.3.zip", "/chart.js@3.9.1.min.js",
		"/maps/@52.5200066,13.404954,15z", "52.5200066,+13.404954", "/geo/+52.5200066/+13.4049540",
		"/product/1234567890", "/isbn/9783161484100", "/dp/0306406152", "/item/4006381333931", "/status/1721101800814551390", "/10.1073/pnas.0409500102",
		"/order-of-magnitude/12345678", "/p/1500", "€ 1.299.000,00", "1,000,000,000", "3.141592653589793", "/05-04-2022-1234", "08:15:30", "10:30:45.123",
		"/download/v1.2.3.4", "/download/1.2.3.4", "/app-10.0.19.1.zip", "/release/142.0.7444.59", "Version 44.55.66.77", "127.0.0.1", "0.0.0.0", "1.2.3", "256.1.1.1",
		"std::vector", "a::b", "dead::beef", "::1", "00:1a:2b:3c:4d:5e",
		"4111111111111112", "1234 5678 9012 3456", "4111 11111 1111 111", "DE89370400440532013001", "DE12", "/de20/index",
		"/content/" + uuid, "/news/article_" + uuid + ".html", "/owner/name/commit/53247a64a2b9688e21de8bf34025f737e6959ce1", "/channel/UCJNDedOnljCssaiRZqg8-Dg",
		"/post/5f4dcc3b5aa765d61d8327deb882cf99", "/watch/dQw4w9WgXcQ", "/assets/app." + hex64 + ".js", "/_next/" + hex64 + ".min.css",
		"/my-first-post-3a5c9f1b2d4e", "/DonaudampfschifffahrtsgesellschaftskapitaenIn2026", "/docs/HowToConfigureYourHTTP2ServerInTenEasySteps",
		"/users/internationalization-and-localization", "/login/oauth2callback", "/reset-password", "/token/refresh", "utm_source=newsletter&utm_medium=email",
		"?session=2026", "?token=", "100% sure", "%", "%4", "50%25 off", "/caf%C3%A9/%E4%BD%A0%E5%A5%BD", "Äpfel – Birnen", "(email)", "/u/(token)/(phone)",
		"iphone12promaxvsgalaxys21ultra", "/windows-11-24h2-vs-ubuntu-24-04-2-lts", "+1", "c++11", "/+49", "tel:", "phone=123",
	} {
		if got, found := Mask(s); got != s || found != 0 {
			t.Errorf("%s became %s", s, got)
		}
		if n := testing.AllocsPerRun(5, func() { Mask(s) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

// TestMaskRealPaths measures what masking changes in addresses of real pages: see testdata/README.md.
func TestMaskRealPaths(t *testing.T) {
	f, err := os.Open("testdata/paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, changed := 0, 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		n++
		if got, found := Mask(sc.Text()); found != 0 {
			changed++
			t.Logf("%s\nbecame %s", sc.Text(), got)
		}
	}
	if n < 9000 || changed*1000 > n {
		t.Errorf("%d of %d paths changed, more than one in a thousand", changed, n)
	}
	t.Logf("%d of %d paths changed: %.3f %%", changed, n, 100*float64(changed)/float64(n))
}

// TestMaskRandomTokens measures how many random tokens of usual shapes are found.
func TestMaskRandomTokens(t *testing.T) {
	random := func(n int) []byte {
		b := make([]byte, n)
		rand.Read(b)
		return b
	}
	base62 := func(n int) string {
		const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		b := random(n)
		for i := range b {
			b[i] = letters[int(b[i])%len(letters)]
		}
		return string(b)
	}
	for _, c := range []struct {
		what, before string
		make         func() string
		least        float64 // share that must be found
	}{
		{"32 bytes, base64url, anywhere", "/a/", func() string { return base64.RawURLEncoding.EncodeToString(random(32)) }, .97},
		{"64 bytes, base64url, anywhere", "/a/", func() string { return base64.RawURLEncoding.EncodeToString(random(64)) }, .98},
		{"32 bytes, hex, anywhere", "/a/", func() string { return hex.EncodeToString(random(32)) }, .999},
		{"48 letters and digits, anywhere", "/a/", func() string { return base62(48) }, .97},
		{"16 bytes, hex, after a word", "/reset/", func() string { return hex.EncodeToString(random(16)) }, .99},
		{"16 bytes, base64url, after a word", "/verify/", func() string { return base64.RawURLEncoding.EncodeToString(random(16)) }, .9},
		{"16 letters and digits, after a word", "/users/x/", func() string { return base62(16) }, .85},
		{"24 letters and digits, as a value", "/a?x=", func() string { return base62(24) }, .9},
		{"20 bytes, base32, as a value", "/a?x=", func() string { return base32.StdEncoding.EncodeToString(random(20)) }, .85},
		{"16 bytes, hex, alone", "", func() string { return hex.EncodeToString(random(16)) }, .99},
	} {
		const n = 4000
		hits := 0
		for range n {
			if got, found := Mask(c.before + c.make()); found == FoundToken && got == c.before+"(token)" {
				hits++
			}
		}
		share := float64(hits) / n
		t.Logf("%s: %.1f %%", c.what, 100*share)
		if share < c.least {
			t.Errorf("%s: %.1f %% found, want %.1f %%", c.what, 100*share, 100*c.least)
		}
	}
}

// Time is proportional to length, also where each mask uncovers the next.
func TestMaskHostile(t *testing.T) {
	for _, unit := range []string{"@", "a@", "a@b.", "+1", "1.", "1:", "::", "eyJ", "eyJ.", "%25", "1-", "(1", "DE11", "a1-", "0 0", "a@b.de+4930123456", "4111111111111111 "} {
		s := strings.Repeat(unit, 64<<10/len(unit))
		got, _ := Mask(s)
		if again, found := Mask(got); again != got || found != 0 {
			t.Errorf("%q many times: masked again %b", unit, found)
		}
		if len(got) > 2*len(s) {
			t.Errorf("%q many times: %d bytes became %d", unit, len(s), len(got))
		}
	}
}

// What an independent and simpler reader would still call personal data.
var (
	plainEmail = regexp.MustCompile(`(?i)[a-z0-9][a-z0-9._+-]*@([a-z0-9][a-z0-9-]*\.)+(com|org|net|de|example)\b`)
	plainQuad  = regexp.MustCompile(`(^|[/ =])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})($|[/ &])`)
)

func FuzzMask(f *testing.F) {
	for _, c := range maskCases {
		f.Add(c.in)
		f.Add(c.in + " " + c.in)
	}
	f.Add("\xff\xfe@%\xc2")
	f.Add("%EF%BC%A0\xef\xbc%A0")
	f.Fuzz(func(t *testing.T, s string) {
		got, found := Mask(s)
		if (found == 0) != (got == s) {
			t.Fatalf("%q became %q, found %b", s, got, found)
		}
		if again, more := Mask(got); again != got || more != 0 {
			t.Fatalf("%q became %q, then %q", s, got, again)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Fatalf("%q became %q, which is no UTF-8", s, got)
		}
		if len(got) > 2*len(s)+3 {
			t.Fatalf("%d bytes became %d", len(s), len(got))
		}
		if m := plainEmail.FindString(got); m != "" {
			t.Fatalf("%q became %q, which has %q", s, got, m)
		}
		for _, m := range plainQuad.FindAllStringSubmatch(got, -1) {
			if a, err := netip.ParseAddr(m[2]); err == nil && a.As4()[0] > 30 && a.As4()[0] != 127 && a.As4()[1] > 30 && !isAfterVersion(got[:strings.Index(got, m[2])]) {
				t.Fatalf("%q became %q, which has %s", s, got, m[2])
			}
		}
	})
}

// BenchmarkMask masks the texts of one hit: page, title, referrer, four campaign values and two
// properties, without personal data, and with some.
func BenchmarkMask(b *testing.B) {
	clean := []string{"/blog/2026/an-article-about-something", "An article about something – Example", "www.google.com/", "newsletter", "email",
		"autumn-2026", "header-link", "plan", "professional", "from", "header"}
	dirty := append([]string{"/welcome/ann%40example.org/2026"}, clean[1:]...)
	for name, texts := range map[string][]string{"clean": clean, "dirty": dirty} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range texts {
					Mask(s)
				}
			}
		})
	}
}
