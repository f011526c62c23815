package classify

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func newAgents(t testing.TB) *Agents {
	t.Helper()
	a, err := NewAgents()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// rows reads a tab-separated file of testdata.
func rows(t testing.TB, name string, fields int) [][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.SplitN(l, "\t", fields)
		if len(f) != fields {
			t.Fatalf("%s: %d fields in %q", name, len(f), l)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return out
}

// TestCurrentAgents is exact: each of these agents is one that a site meets today.
func TestCurrentAgents(t *testing.T) {
	a := newAgents(t)
	for _, r := range rows(t, "current.tsv", 7) {
		got := a.Lookup([]byte(r[6]))
		for i, have := range []string{got.Browser, got.BrowserVersion, got.OS, got.OSVersion, got.Device, got.Bot} {
			if want := dash(r[i]); r[i] != "*" && have != want {
				t.Errorf("%s\n got %+v\nwant %q", r[6], got, r[:6])
				break
			}
		}
		if want := r[5] == BotMail; got.MailProxy != want {
			t.Errorf("%s: MailProxy = %v", r[6], got.MailProxy)
		}
	}
}

const (
	chromeUA = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	robotUA  = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Unheard/2.1; +https://example.net/about) Chrome/131.0.0.0 Safari/537.36"
	inAppUA  = "Mozilla/5.0 (Linux; Android 14; SM-A546B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.6723.86 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/489.0.0.66.81;IABMV/1;]"
)

func TestWithScreen(t *testing.T) {
	a := newAgents(t)
	const (
		macSafari  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15"
		macChrome  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
		android    = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
		androidTab = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
		linux      = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	)
	for _, c := range []struct {
		ua         string
		width      int
		os, device string
	}{
		{macSafari, 0, "Mac", Desktop},
		{macSafari, -5, "Mac", Desktop},
		{macSafari, 1440, "Mac", Desktop},
		{macSafari, 820, "iOS", Tablet},
		{macSafari, 1024, "iOS", Tablet},
		{macSafari, 900, "Mac", Desktop}, // no iPad's width
		{macChrome, 820, "Mac", Desktop},
		{android, 412, "Android", Mobile},
		{android, 915, "Android", Mobile}, // held sideways
		{androidTab, 800, "Android", Tablet},
		{androidTab, 412, "Android", Mobile},
		{linux, 1920, "GNU/Linux", Desktop},
		{linux, 412, "GNU/Linux", Mobile},
		{"Lynx/2.9.0", 400, "", Mobile},
		{"Lynx/2.9.0", 800, "", Tablet},
		{"Lynx/2.9.0", 1920, "", Desktop},
		{"Lynx/2.9.0", 0, "", ""},
	} {
		got := a.Lookup([]byte(c.ua)).WithScreen(c.width)
		if got.OS != c.os || got.Device != c.device {
			t.Errorf("%d on %s: %q, %q, want %q, %q", c.width, c.ua, got.OS, got.Device, c.os, c.device)
		}
		if got.OS == "iOS" && got.OSVersion != "" {
			t.Errorf("an iPad has the Mac's version %q", got.OSVersion)
		}
	}
}

func TestCacheAnswersTheSameAndKeepsNoAgent(t *testing.T) {
	a := newAgents(t)
	for _, ua := range []string{chromeUA, robotUA, inAppUA, ""} {
		buf := []byte(ua)
		first := a.Lookup(buf)
		for i := range buf { // the server uses its buffers again
			buf[i] = 'x'
		}
		if second := a.Lookup([]byte(ua)); second != first || second != a.classify([]byte(ua)) {
			t.Errorf("%s: %+v, then %+v", ua, first, second)
		}
	}
	for key, got := range a.cache.All() {
		for _, s := range []string{got.Browser, got.BrowserVersion, got.OS, got.OSVersion, got.Device, got.Bot} {
			if len(s) > 40 {
				t.Errorf("entry %x remembers %q", key, s)
			}
		}
	}
	b := newAgents(t)
	b.Lookup([]byte(chromeUA))
	for key := range b.cache.All() {
		if _, same := a.cache.GetIfPresent(key); same {
			t.Error("two processes have the same key for an agent")
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	a, err := agentsWith(100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		a.Lookup(fmt.Appendf(nil, "Mozilla/5.0 (X11; Linux x86_64) Chrome/%d.0.0.0", i))
	}
	a.cache.CleanUp()
	if n := a.cache.EstimatedSize(); n > 100 {
		t.Errorf("%d agents remembered, want at most 100", n)
	}
}

func TestLookupIsSafeForConcurrentUse(t *testing.T) {
	a, err := agentsWith(50)
	if err != nil {
		t.Fatal(err)
	}
	list := rows(t, "current.tsv", 7)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2 * len(list) {
				r := list[(i*7+g)%len(list)]
				if got := a.Lookup([]byte(r[6])); r[0] != "*" && got.Browser != dash(r[0]) {
					t.Errorf("%s: %q", r[6], got.Browser)
				}
			}
		})
	}
	wg.Wait()
}

func TestLookupAllocations(t *testing.T) {
	a := newAgents(t)
	ua := []byte(chromeUA)
	a.Lookup(ua)
	if n := testing.AllocsPerRun(1000, func() { a.Lookup(ua) }); n >= 1 {
		t.Errorf("%v allocations for an agent in the cache", n)
	}
	if n := testing.AllocsPerRun(100, func() { a.classify(ua) }); n > 2 { // the two versions
		t.Errorf("%v allocations for one that is not", n)
	}
}

func TestVersionsAreShort(t *testing.T) {
	a := newAgents(t)
	for ua, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/131":                              "131",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.":                             "131",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0.1b2":                        "131.0",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.x":                            "131",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/v1.2":                             "1.2",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/x":                                "",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/" + strings.Repeat("9", 100):      "",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/1." + strings.Repeat("9", 100):    "1",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0(evil":                       "131.0",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/13\u0661.0":                       "13",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/1_2_3":                            "1.2",
		"Mozilla/5.0 (X11; Linux x86_64; rv:1.0) Gecko/20100101 Firefox/131.0\x00": "131.0",
	} {
		if got := a.Lookup([]byte(ua)); got.Browser != "Firefox" || got.BrowserVersion != want {
			t.Errorf("%.80q: %q %q, want %q", ua, got.Browser, got.BrowserVersion, want)
		}
	}
}
