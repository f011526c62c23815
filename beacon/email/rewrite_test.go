package email

import (
	"bytes"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const testBase = "https://stats.example.org"

func testLinker(t testing.TB) *Linker {
	return &Linker{Key: testKey(t), Base: testBase + "/", Site: "example.org", Campaign: "autumn", Message: "one"}
}

var (
	ourLink  = regexp.MustCompile(regexp.QuoteMeta(testBase) + `/c/([A-Za-z0-9_-]+)`)
	ourPixel = regexp.MustCompile(`<img src="` + regexp.QuoteMeta(testBase) + `/o/([A-Za-z0-9_-]+)\.gif"[^>]*>`)
	anyLink  = regexp.MustCompile(`(?i)<(?:a|area|v:\w+)\s(?:[^>]*\s)?href=["'](https?://[^"']*)`)
)

// onlyLinksChanged compares documents without any of what rewriting works with: between our links and the pixel every byte
// is the original's, and what stood in the place of a link is where it leads.
func onlyLinksChanged(t *testing.T, l *Linker, was, is []byte, done Rewritten) {
	t.Helper()
	pixels := ourPixel.FindAllSubmatchIndex(is, -1)
	if len(pixels) != 1 {
		t.Fatalf("%d pixels", len(pixels))
	}
	p := pixels[0]
	if _, err := l.Key.OpenToken(string(is[p[2]:p[3]]), "example.org"); err != nil {
		t.Error(err)
	}
	is = append(bytes.Clone(is[:p[0]]), is[p[1]:]...)
	links, at, from := ourLink.FindAllSubmatchIndex(is, -1), 0, 0
	for _, m := range links {
		same := is[from:m[0]]
		if !bytes.HasPrefix(was[at:], same) {
			t.Fatalf("before a link %.80q became %.80q", was[at:], same)
		}
		at += len(same)
		gap := bytes.IndexAny(was[at:], `"'`)
		click, err := l.Key.ClickToken(string(is[m[2]:m[3]]), "example.org")
		if want := html.UnescapeString(string(was[at : at+gap])); err != nil || click.URL != want {
			t.Fatalf("%q leads to %q, %v", want, click.URL, err)
		}
		at, from = at+gap, m[1]
	}
	if !bytes.Equal(was[at:], is[from:]) {
		t.Fatalf("the end %.80q became %.80q", was[at:], is[from:])
	}
	if all := anyLink.FindAllSubmatch(was, -1); done.Links != len(links) || done.Links+done.Left != len(all) {
		t.Errorf("%+v of %d links, %d are ours", done, len(all), len(links))
	}
}

func TestRewriteCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/mails/*.html")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d mails, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			was, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			l := testLinker(t)
			is, done, err := l.Rewrite(was)
			if err != nil {
				t.Fatal(err)
			}
			onlyLinksChanged(t, l, was, is, done)
			if done.Links < 3 {
				t.Errorf("%+v", done)
			}
			for _, left := range []string{"https://lists.example/u/1", "https://lists.example/abmelden?id=%%recipient%%", "{{unsubscribe}}", "*|EMAIL|*", "https://example.org/private", "mailto:us@example.org", `"#top"`} {
				if bytes.Count(was, []byte(left)) != bytes.Count(is, []byte(left)) {
					t.Errorf("%s was changed", left)
				}
			}
			// Again: what leads here stays.
			if again, done, err := l.Rewrite(is); err != nil || !bytes.Equal(again, is) || done.Links != 0 {
				t.Errorf("a second time: %+v, %v", done, err)
			}
		})
	}
}

// htmlParts reads a message with the standard library.
func htmlParts(t *testing.T, kind, encoding string, body io.Reader) (out [][]byte) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(kind)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if err == io.EOF {
				return out
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(p.Header.Get("Content-Disposition"), "attachment") {
				out = append(out, htmlParts(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)...)
			}
		}
	}
	switch encoding {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if kind == "text/html" {
		out = append(out, b)
	}
	return out
}

func partsOf(t *testing.T, b []byte) [][]byte {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return htmlParts(t, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
}

func TestRewriteMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/mails/*.eml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			was, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			l := testLinker(t)
			is, done, err := l.Rewrite(was)
			if err != nil {
				t.Fatal(err)
			}
			before, after := partsOf(t, was), partsOf(t, is)
			if len(before) != 1 || len(after) != 1 {
				t.Fatalf("%d HTML parts became %d", len(before), len(after))
			}
			onlyLinksChanged(t, l, before[0], after[0], done)
			if n := bytes.Count(after[0], []byte("https://lists.example/one-click?u=1")); n != 1 {
				t.Errorf("the address of List-Unsubscribe is there %d times", n)
			}
			if longest(is) > max(longest(was), 76) {
				t.Errorf("a line of %d, before of %d", longest(is), longest(was))
			}
			if bytes.Contains(was, []byte("base64\r\n\r\nPCFkb2N0")) {
				return // its lines are broken anew
			}
			// Lines that hold nothing of a link are there as they were, in their order; each link costs a few.
			rest, missing := is, 0
			for line := range bytes.Lines(was) {
				if i := bytes.Index(rest, line); i >= 0 && i < 20000 {
					rest = rest[i+len(line):]
				} else {
					missing++
				}
			}
			if missing > 3*(done.Links+1) {
				t.Errorf("%d lines are gone for %d links", missing, done.Links)
			}
		})
	}
}

func TestRewriteCases(t *testing.T) {
	l := testLinker(t)
	for _, c := range []struct {
		in          string
		links, left int
		keeps       string
	}{
		{`<a href=https://e.example/x>x</a>`, 1, 0, `<a href=`},
		{`<A CLASS=b HREF = 'https://e.example/?a=1&amp;b=2' id=c>x</A>`, 1, 0, `<A CLASS=b HREF = '`},
		{"<a href=\" https://e.example/\n x \">x</a>", 1, 0, `<a href=" https://stats`},
		{`<a data-href="https://e.example/" title='href="https://f.example/"'>x</a>`, 0, 0, `data-href="https://e.example/" title='href="https://f.example/"'`},
		{`<a href="https://e.example/" href="https://f.example/">x</a>`, 1, 0, `href="https://f.example/"`},
		{`<!-- <a href="https://e.example/">x</a> --><script>"<a href='https://e.example/'>"</script><style>a{b:url(https://e.example/)}</style>`, 0, 0, `<!-- <a href="https://e.example/">x</a> --><script>"<a href='https://e.example/'>"</script>`},
		{`<!--[if mso]><v:roundrect href="https://e.example/"><v:fill/></v:roundrect><![endif]-->`, 1, 0, `<!--[if mso]><v:roundrect href="https://stats`},
		{`<map><area href="https://e.example/"></map>`, 1, 0, ``},
		{`<a href="//e.example/">x</a><a href="/x">x</a><a href="ftp://e.example/">x</a><a href="tel:1">x</a><a href="javascript:x()">x</a><a>x</a><a href>x</a><a href="">x</a>`, 0, 0, `<a href="//e.example/">`},
		{`<a href="https://e.example/u"><b>Un</b>subscribe</a><a href="https://e.example/v"><img alt="unsubscribe"></a><a href="https://e.example/w">Newsletter ab&shy;bestellen</a>`, 1, 2, `https://e.example/v`},
		{`<a href="https://e.example/u">News</a> <a href="https://e.example/Unsubscribe">x</a>`, 1, 1, `https://e.example/Unsubscribe`},
		{`<a href="https://e.example/{{ id }}">x</a><a href="https://e.example/{id}">x</a><a href="https://e.example/%%id%%">x</a>`, 0, 3, `https://e.example/{{ id }}`},
		{`<a href="https://stats.example.org/optout?site=example.org">x</a>`, 0, 1, `https://stats.example.org/optout?site=example.org`},
		{`<a href="https:///">x</a><a href="https://e.example/&#10;">x</a>`, 1, 1, `https:///`},
		{`<p>no body`, 0, 0, `<p>no body<img src=`},
		{`<body>x</body></html>` + "\n", 0, 0, `border:0"></body></html>` + "\n"},
		{`<body>x<!-- </body> --></BODY ></html>`, 0, 0, `<!-- </body> --><img`},
		{`<a href="https://e.example/`, 0, 0, `<a href="https://e.example/`},
		{``, 0, 0, `<img`},
	} {
		out, done, err := l.RewriteHTML([]byte(c.in))
		if err != nil || done.Links != c.links || done.Left != c.left || !strings.Contains(string(out), c.keeps) {
			t.Errorf("%s\n%+v, %v\n%s", c.in, done, err, out)
		}
	}
	// One destination, one token.
	out, _, err := l.RewriteHTML([]byte(`<a href="https://e.example/?a&amp;b">x</a><a href='https://e.example/?a&b'>y</a>`))
	if err != nil {
		t.Fatal(err)
	}
	if m := ourLink.FindAllString(string(out), -1); len(m) != 2 || m[0] != m[1] {
		t.Errorf("%q", m)
	}
	if _, _, err := (&Linker{Key: l.Key, Base: testBase, Site: "example.org"}).RewriteHTML([]byte("x")); err == nil {
		t.Error("a mail of no campaign")
	}
}

func TestRewriteMessageCases(t *testing.T) {
	l := testLinker(t)
	const link = `<a href="https://e.example/">x</a>`
	for name, in := range map[string]string{
		"signed":     "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + link + "\r\n--b--\r\n",
		"attached":   "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n" + link + "\r\n--b--\r\n",
		"plain":      "Subject: <a href=\"https://e.example/\">\r\n\r\n" + link + "\r\n",
		"utf-16":     "Content-Type: text/html; charset=UTF-16LE\r\n\r\n" + link,
		"unknown":    "Content-Type: text/html\r\nContent-Transfer-Encoding: x-rot13\r\n\r\n" + link,
		"bad base64": "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%%\r\n",
		"no body":    "Content-Type: multipart/mixed; boundary=b\r\n",
	} {
		if out, done, err := l.Rewrite([]byte(in)); err != nil || string(out) != in || done != (Rewritten{}) {
			t.Errorf("%s: %+v, %v\n%s", name, done, err, out)
		}
	}
	in := "Content-Type: multipart/alternative;\r\n boundary=\"b\"\r\n\r\npreamble\r\n--b\r\nContent-Type: TEXT/HTML\r\n\r\n" + link + "\r\n--b--\r\nepilogue " + link
	out, done, err := l.Rewrite([]byte(in))
	if err != nil || done.Links != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	is := ourPixel.ReplaceAllString(ourLink.ReplaceAllString(string(out), "https://e.example/"), "")
	if is != in {
		t.Errorf("became %q", is)
	}
	long := "Content-Type: text/html\r\n\r\n<a href=\"https://e.example/" + strings.Repeat("x", 900) + "\">x</a>"
	if _, _, err := l.Rewrite([]byte(long)); err == nil || !strings.Contains(err.Error(), "quoted-printable") {
		t.Errorf("a line that is too long: %v", err)
	}
	deep := strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 20)
	if _, _, err := l.Rewrite([]byte(deep)); err != nil && !strings.Contains(err.Error(), "deep") {
		t.Error(err)
	}
}

// FuzzRewrite holds that whatever the mail is, taking our links and the pixel out again leaves every other byte.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{`<a href="https://e.example/">x</a>`, `<a href=https://e.example/>`, `<!--[if mso]><a href='http://e.example'><![endif]-->`, `<a href="http://a`, `<a/href="http://b.example"/x=y>`, `<title><a href="https://e.example/">`, "\x00<a\x00href=http://c.example>"} {
		f.Add([]byte(s))
	}
	l := testLinker(f)
	f.Fuzz(func(t *testing.T, was []byte) {
		if bytes.Contains(was, []byte(testBase)) || len(was) > 2000 { // what follows takes the square of it
			return
		}
		is, done, err := l.RewriteHTML(was)
		if err != nil {
			t.Fatal(err)
		}
		is = ourPixel.ReplaceAll(is, nil)
		at, from := 0, 0
		for _, m := range ourLink.FindAllSubmatchIndex(is, -1) {
			if !bytes.HasPrefix(was[at:], is[from:m[0]]) {
				t.Fatalf("%q became %q", was, is)
			}
			at += m[0] - from
			click, err := l.Key.ClickToken(string(is[m[2]:m[3]]), "example.org")
			if err != nil {
				t.Fatal(err)
			}
			n := 1 // the shortest original that reads as the destination
			for ; ; n++ {
				if at+n > len(was) {
					t.Fatalf("%q became %q", was, is)
				}
				got := strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(html.UnescapeString(string(was[at : at+n])))
				if strings.EqualFold(got, click.URL) && bytes.HasPrefix(was[at+n:], is[m[1]:min(m[1]+1, len(is))]) {
					break
				}
			}
			at, from = at+n, m[1]
			done.Links--
		}
		if string(was[at:]) != string(is[from:]) || done.Links != 0 {
			t.Fatalf("%q became %q", was, is)
		}
	})
}

// FuzzRewriteMessage holds that no message breaks the reader, and that what has no HTML part stays.
func FuzzRewriteMessage(f *testing.F) {
	for _, s := range []string{"Content-Type: text/html\n\nx", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\nPGE+\n--b--", "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<a =\nhref=3D\"https://e.example/=\n\">", "A:"} {
		f.Add([]byte(s))
	}
	l := testLinker(f)
	f.Fuzz(func(t *testing.T, was []byte) {
		is, _, err := l.RewriteMessage(was)
		if err == nil && !bytes.Contains(bytes.ToLower(was), []byte("html")) && !bytes.Equal(was, is) {
			t.Fatalf("%q became %q", was, is)
		}
	})
}
