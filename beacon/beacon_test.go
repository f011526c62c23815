package beacon

import (
	"bytes"
	"compress/gzip"
	"image/gif"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/beacon/internal/bundle"
)

// budget is what the tracker may cost a reader, in bytes, brotli at quality 11.
const budget = 1600

func TestBudget(t *testing.T) {
	a := Script()
	t.Logf("tracker: %d bytes, %d gzip, %d brotli (budget %d)", len(a.Body), len(a.Gzip), len(a.Brotli), budget)
	if len(a.Brotli) > budget {
		t.Errorf("the tracker has %d bytes brotli, the budget is %d", len(a.Brotli), budget)
	}
}

func TestScriptForms(t *testing.T) {
	a := Script()
	if len(a.Body) == 0 || a.Body[len(a.Body)-1] != ';' {
		t.Fatalf("the script ends in %q", a.Body[max(0, len(a.Body)-10):])
	}
	br, err := io.ReadAll(brotli.NewReader(bytes.NewReader(a.Brotli)))
	if err != nil || !bytes.Equal(br, a.Body) {
		t.Errorf("the brotli form is not the script: %v", err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(a.Gzip))
	if err != nil {
		t.Fatal(err)
	}
	gz, err := io.ReadAll(zr)
	if err != nil || !bytes.Equal(gz, a.Body) {
		t.Errorf("the gzip form is not the script: %v", err)
	}
	if !regexp.MustCompile(`^W/"[0-9a-f]{16}"$`).MatchString(a.ETag) {
		t.Errorf("ETag %q", a.ETag)
	}
	a.Body[0] = 'X'
	if Script().Body[0] == 'X' {
		t.Error("a caller's change reached the script of others")
	}
}

func TestCommittedIsBuilt(t *testing.T) {
	root := browsertest.Root(t)
	files, err := bundle.Build(root)
	if err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(root, "beacon", "dist")
	entries, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(files) {
		t.Errorf("beacon/dist has %d files, the build makes %d", len(entries), len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("beacon/dist/%s (%d bytes) is not what beacon/src makes (%d bytes): run `go generate ./beacon`", name, len(got), len(want))
		}
	}
}

func TestTypes(t *testing.T) {
	root := browsertest.Root(t)
	tsc := filepath.Join(root, "node_modules", "typescript", "bin", "tsc")
	if _, err := os.Stat(tsc); err != nil {
		t.Fatal("npm package typescript is missing: run `npm ci` in the folder of go.mod")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is missing: apt-get install -y nodejs npm")
	}
	out, err := exec.Command(node, tsc, "--pretty", "false", "-p", filepath.Join(root, "beacon", "src")).CombinedOutput()
	if err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// What the script must never hold, whatever a later change adds. It writes one flag where the
// reader opts out, and none else: TestChoices looks into the storage.
func TestNoCookieNoHost(t *testing.T) {
	body := string(Script().Body)
	for _, never := range []string{".cookie", "sessionStorage", "indexedDB", "caches", "eval(", "Function(", "innerHTML", "http://", "https://", "import("} {
		if strings.Contains(body, never) {
			t.Errorf("the script holds %q", never)
		}
	}
	if n := strings.Count(body, "localStorage"); n != 2 {
		t.Errorf("the script names localStorage %d times; want the look at the flags, and the writing of its own", n)
	}
}

func TestPixel(t *testing.T) {
	p := Pixel()
	if len(p) != 43 {
		t.Errorf("the pixel has %d bytes, want 43", len(p))
	}
	img, err := gif.Decode(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 1 || b.Dy() != 1 {
		t.Errorf("the pixel is %v, want 1x1", b)
	}
	if _, _, _, alpha := img.At(0, 0).RGBA(); alpha != 0 {
		t.Errorf("the pixel's alpha is %d, want transparent", alpha)
	}
	p[0] = 'X'
	if Pixel()[0] == 'X' {
		t.Error("a caller's change reached the pixel of others")
	}
}

func TestTags(t *testing.T) {
	const evil = `"><script>alert(1)</script>&`
	for _, c := range []struct{ got, want string }{
		{ScriptTag("https://stats.example.org/", "example.org"),
			`<script defer src="https://stats.example.org/ff.js" data-domain="example.org"></script>`},
		{ScriptTag("", ""), `<script defer src="/ff.js"></script>`},
		{ScriptTag("https://s.example", evil),
			`<script defer src="https://s.example/ff.js" data-domain="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;"></script>`},
		{ScriptTag(evil, "a.example"),
			`<script defer src="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;/ff.js" data-domain="a.example"></script>`},
		{NoscriptTag("https://s.example", "a.example,b.example"),
			`<noscript><img src="https://s.example/ff.gif?d=a.example%2Cb.example" alt="" width="1" height="1" referrerpolicy="no-referrer-when-downgrade"></noscript>`},
		{NoscriptTag("", evil),
			`<noscript><img src="/ff.gif?d=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26" alt="" width="1" height="1" referrerpolicy="no-referrer-when-downgrade"></noscript>`},
		{PixelURL("https://s.example/", ""), "https://s.example/ff.gif"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}
