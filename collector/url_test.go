package collector

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kantarainitiative/footfall/event"
)

func TestHosts(t *testing.T) {
	for in, want := range map[string]string{
		"https://Example.ORG/":              "example.org",
		"https://example.org./":             "example.org",
		"https://example.org:443/":          "example.org",
		"https://example.org:/":             "example.org",
		"https://a@b@example.org/":          "example.org",
		"https://[2001:DB8::1]:80/":         "2001:db8::1",
		"http://192.0.2.1/":                 "192.0.2.1",
		"http://localhost:8080/":            "localhost",
		"http://under_score.example":        "under_score.example",
		"https://example.org?x":             "example.org",
		"https://example.org#x":             "example.org",
		`https://example.org\x`:             "example.org",
		"https://BÜCHER.example/":           "xn--bcher-kva.example",
		"  https://example.org/  ":          "example.org",
		"HTTPS://example.org":               "example.org",
		"capacitor://localhost/x":           "localhost",
		"about:blank":                       noHost,
		"file:///C:/Users/jane/secret.html": noHost,
	} {
		u, _, ok := parseURL(nil, in)
		if !ok || u.host != want {
			t.Errorf("%q: %q, %v, want %q", in, u.host, ok, want)
		}
	}
	for _, in := range []string{"", " ", "example.org", "example.org/x", "//example.org/", "https:", "https:/x", "https://", "https://:80/",
		"https://exa%6Dple.org/", "https://example.org:99999999/", "https://example.org:8a/", "https://[::1", "https://[x]/", "https://[::1]x/", "https://[fe80::1%25eth0]/",
		"mailto:a@b", "blob:https://example.org/x", "1http://x/", "https://" + strings.Repeat("a", 300) + "/", "https://\u202e.example/"} {
		if u, _, ok := parseURL(nil, in); ok {
			t.Errorf("%q was taken: %+v", in, u)
		}
	}
}

func TestMillionths(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1": 1e6, "12.5": 12500000, "-0.000001": -1, "0.0000005": 1, "0.00000049": 0,
		"999999999999.999999": 999999999999999999, "1e3": 1e9, "1.5E-1": 150000, "007": 7e6, "1.": 1e6} {
		if got, ok := millionths(in); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "-", ".5", "1,5", "1.2.3", "x", "1e99", "1e400", "NaN", "nan", "1000000000000", "--1", "+1", " 1", "e", "0x1p5e"} {
		if got, ok := millionths(in); ok {
			t.Errorf("%q was read as %d", in, got)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://example.org/a%20b/?page=1&utm_source=x&q=%zz#/route?x", "http://[::1]:80//", "file:///x", "https://bücher.example/%ff", "app://x/%2f%3F%23",
		"https://u:p@example.org:8080/?page", "about:blank", "https://example.org/?utm_source=%F0%9F%98%80&&=&page=%26"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	sources, err := testSources()
	if err != nil {
		f.Fatal(err)
	}
	allowed := map[string]struct{}{"page": {}}
	f.Fuzz(func(t *testing.T, raw string, hash bool) {
		u, buf, ok := parseURL(nil, raw)
		if !ok {
			return
		}
		if u.host == "" || len(u.host) > event.MaxSite || strings.ToLower(u.host) != u.host || strings.ContainsAny(u.host, "/?#@ %") {
			t.Errorf("host %q", u.host)
		}
		if u.path == "" || u.path[0] != '/' && u.path[0] != '\\' || len(u.path) > 1 && strings.HasSuffix(u.path, "/") && strings.Count(raw, "//") < 2 || strings.ContainsAny(u.path, "?#") {
			t.Errorf("path %q", u.path)
		}
		path := u.path
		page, buf := appendPage(buf, &u, allowed, hash)
		if !strings.HasPrefix(page, path) {
			t.Errorf("page %q does not begin with the path %q", page, path)
		}
		query, _, _ := strings.Cut(strings.TrimPrefix(page, path), "#")
		for _, pair := range strings.Split(strings.TrimPrefix(query, "?"), "&") {
			name, _, _ := strings.Cut(pair, "=")
			if name, _ = unescapeQuery(nil, name); query != "" && name != "page" {
				t.Errorf("page %q keeps %q", page, name)
			}
		}
		if !hash && strings.Contains(page, "#") {
			t.Errorf("page %q has a fragment", page)
		}
		c, _ := readCampaign(buf, u.query, sources)
		for _, s := range []string{c.utmSource, c.medium, c.name, c.content, c.term, c.ref} {
			if len(s) > event.MaxUTM || !utf8.ValidString(s) {
				t.Errorf("campaign %q", s)
			}
		}
		if again, _, ok := parseURL(nil, raw); !ok || again != u {
			t.Errorf("not the same again: %+v, %+v", u, again)
		}
	})
}

func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		okBody, page("/x?utm_source=y"), engaged(5, "/"), named("x", "/"),
		`{"name":"Buy","url":"https://example.org/#/r","domain":"a,b","props":"{\"a\":1}","$":"{\"currency\":\"EUR\",\"amount\":\"1.5\"}","i":"false","h":true,"id":"x","w":1}`,
		`{"n":"a","n":"b"}`, `{"n":"\u0000\ud800","u":"https://example.org/\u2028"}`, "{\"n\":\"\x00\"}", "[1]", `{"e":1e999,"sd":-1,"p":{"a":{"b":[]}}}`,
	} {
		f.Add([]byte(s))
	}
	sources, err := testSources()
	if err != nil {
		f.Fatal(err)
	}
	x := new(hit)
	f.Fuzz(func(t *testing.T, body []byte) {
		*x = hit{sent: sent{props: x.sent.props[:0]}, reader: x.reader, buf: x.buf[:0]}
		was := string(body)
		bad := x.reader.read(&x.sent, body)
		if string(body) != was {
			t.Fatal("the request was written to")
		}
		if bad == nil {
			bad = x.locate(sources)
		}
		if bad != nil {
			switch bad.field {
			case "", "name", "url", "domain":
			default:
				t.Errorf("field %q made a hit malformed", bad.field)
			}
			return
		}
		s := &x.sent
		if s.name == "" || s.url == "" || s.domains == "" || x.kind == 0 || s.scroll > event.MaxScroll || s.engaged > event.MaxEngagedMS || len(s.props) > event.MaxProps || len(s.id) > maxIDLen {
			t.Errorf("%+v", s)
		}
		if (s.revenue != 0) && len(s.currency) != 3 {
			t.Errorf("revenue in %q", s.currency)
		}
		names := map[string]bool{}
		for _, p := range s.props {
			if p.Key == "" || p.Value == "" || names[p.Key] {
				t.Errorf("property %q: %q", p.Key, p.Value)
			}
			names[p.Key] = true
		}
		e := event.Event{Name: s.name, Hostname: x.page.host, Title: s.title, Props: s.props, Currency: s.currency}
		e.Page, x.buf = appendPage(x.buf, &x.page, nil, s.hash)
		e.Normalize()
		var back event.Event
		if err := back.Decode(string(e.AppendTo(nil))); err != nil {
			t.Error(err)
		}
	})
}

func FuzzPixel(f *testing.F) {
	for _, s := range []string{"d=example.org&u=https%3A%2F%2Fexample.org%2F&n=x&t=A+B&r=", "u=%", "", "&&=&d", "d=%00&u=https://x/%ff"} {
		f.Add(s, "https://example.org/")
	}
	sources, err := testSources()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, referer string) {
		var x hit
		x.readPixel([]byte(query), []byte(referer))
		if x.sent.name == "" {
			t.Error("no name")
		}
		if !strings.Contains(query, "u=") && x.sent.url != referer {
			t.Errorf("url %q, referer %q", x.sent.url, referer)
		}
		if bad := x.locate(sources); bad != nil && bad.field != "url" && bad.field != "domain" {
			t.Errorf("field %q", bad.field)
		}
	})
}

func TestRawControl(t *testing.T) {
	for in, want := range map[string]bool{
		"{\"a\":\"b\",\n\t\"c\":1}\r\n": false, "{\"a\":\"\\n\"}": false, "{\"a\":\"\x1f\"}": true, "{\"abcdefgh\":\"abcdefg\x7f\xff é \u2028\"}": false,
		"{\"abcdefghi\n\":1}": true, "{\x00}": true, "{\"a\":\"\\\x01\"}": true, "": false, "\n": false, "\"\\\"\n\"": true, "abcdefg\x80abcdefg\x1f": true,
	} {
		if got := hasRawControl([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
	// Every byte at every place of a word is seen for what it is.
	for c := range 256 {
		for at := range 8 {
			for _, fill := range []byte{' ', 0x80, 0xff, 'a'} {
				b := append([]byte{'"'}, strings.Repeat(string(rune('a')), 16)...)
				for i := range b[1:] {
					b[i+1] = fill
				}
				b[1+at] = byte(c)
				want := c < ' '
				if c == '"' || c == '\\' {
					continue
				}
				if got := hasRawControl(b); got != want {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
}
