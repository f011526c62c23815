package classify

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPatternsLeftOut states which patterns of the lists are not used, so that a newer list
// cannot lose some unseen.
func TestPatternsLeftOut(t *testing.T) {
	a := newAgents(t)
	var noisy, others []string
	for _, p := range a.bots.left {
		if isNoisy(p) {
			noisy = append(noisy, p)
		} else {
			others = append(others, p)
		}
	}
	if len(noisy) != 16 {
		t.Errorf("%d noisy patterns of isbot are left out, isNoisy knows 16", len(noisy))
	}
	if len(others) != 0 {
		t.Errorf("patterns without a text to look for: %q", others)
	}
	t.Logf("%d patterns in use, %d of isbot left out, 6 translated by hand", a.bots.filter.size, len(noisy))
}

// TestFilterFindsWhatItsPatternsMatch holds the filter against Go's own expressions, pattern
// by pattern, on agents of every sort.
func TestFilterFindsWhatItsPatternsMatch(t *testing.T) {
	var agents []string
	for i, r := range rows(t, "robots.tsv", 2) {
		if i%10 == 0 { // each is tried against 1,700 expressions
			agents = append(agents, r[1])
		}
	}
	for _, r := range rows(t, "current.tsv", 7) {
		agents = append(agents, r[6])
	}
	for _, file := range []struct {
		name   string
		fields int
		fold   bool
	}{{"crawlers.txt", 2, false}, {"isbot.txt", 1, true}} {
		lines, err := readTable(file.name, file.fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if file.fold && byHand(l[0]) != nil {
				continue // see TestTranslationsAgreeWithTheOriginals
			}
			patterns, err := newPatterns(l[0], file.fold)
			if err != nil {
				t.Fatal(err)
			}
			f := newFilter()
			for _, p := range patterns {
				p.kind = "found"
				if f.add(p) != nil {
					f = nil // left out
					break
				}
			}
			if f == nil {
				continue
			}
			expr := l[0]
			if file.fold {
				expr = "(?i)" + expr
			}
			re := regexp.MustCompile(expr)
			for _, ua := range agents {
				raw := []byte(ua)
				got := f.find(raw, asciiLower(raw), false) != ""
				if want := re.MatchString(ua); got != want {
					t.Errorf("%s: %q: found %v, the expression says %v", file.name, l[0], got, want)
				}
			}
		}
	}
}

// asciiLower lower-cases as scan does.
func asciiLower(b []byte) []byte { return lower(make([]byte, len(b)), string(b)) }

// TestTranslationsAgreeWithTheOriginals runs the patterns that were translated by hand in
// JavaScript, for which they were written.
func TestTranslationsAgreeWithTheOriginals(t *testing.T) {
	texts := []string{
		"news", "gnews", "x news/1", "newssapphire/1", "NewsBlur", "g news", "googlenews newssapphire news",
		"google", "googlebot", "googlewv", "googleapp/1", "google pixel 8", "google/google", " channel/google", "channel/google", "x google/googlex",
		"google/google ", "Google Pixel", "(Google)", "google  pixel", "googlegoogle",
		"bot", " cubot", "cubot", "cubots", "bot_x", "bots_", "botx", "botsx", "a bots", "robot", "robot/1", " CUBOT_X18", "x cubot bot", "bot9", "Botswana",
		"scan", "camscan", "scanner", "camscanner scan", "xcamscan", "amscan",
		"http", "libhttp", "libhttp http://x", "xhttp", "ibhttp",
		"java", "java;", "javascript", "java; java/1.8", "Java",
	}
	lines, err := readTable("isbot.txt", 1)
	if err != nil {
		t.Fatal(err)
	}
	var exprs []string
	for _, l := range lines {
		if byHand(l[0]) != nil {
			exprs = append(exprs, l[0])
		}
	}
	if len(exprs) != 6 {
		t.Errorf("%d patterns translated, want 6", len(exprs))
	}
	in, err := json.Marshal(map[string][]string{"exprs": exprs, "texts": texts})
	if err != nil {
		t.Fatal(err)
	}
	const script = "const {exprs,texts}=JSON.parse(process.argv[1]);" +
		"console.log(JSON.stringify(exprs.map(e=>texts.map(s=>new RegExp(e,'i').test(s)))))"
	out, err := exec.Command("node", "-e", script, string(in)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [][]bool
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	for i, expr := range exprs {
		f := newFilter()
		for _, p := range byHand(expr) {
			p.kind = "found"
			if err := f.add(p); err != nil {
				t.Fatal(err)
			}
		}
		for j, text := range texts {
			if got := f.find([]byte(text), asciiLower([]byte(text)), false) != ""; got != want[i][j] {
				t.Errorf("%q on %q: %v, JavaScript says %v", expr, text, got, want[i][j])
			}
		}
	}
}

// TestKindsAreNamed holds every kind in the tables against the constants.
func TestKindsAreNamed(t *testing.T) {
	kinds := []string{BotEmpty, BotUnknown, BotMail, BotPrefetch, BotCrawler, BotAI, BotPreview, BotFeed, BotMonitor, BotScanner, BotHeadless, BotLibrary}
	for _, list := range newAgents(t).bots.filter.patterns {
		for _, p := range list {
			if !slices.Contains(kinds, p.kind) {
				t.Errorf("%q is of the unknown kind %q", p.literal, p.kind)
			}
		}
	}
}

func TestEmptyAndOddAgents(t *testing.T) {
	a := newAgents(t)
	for _, c := range []struct{ ua, bot string }{
		{"", BotEmpty},
		{"   ", BotEmpty},
		{"\t\r\n", BotEmpty},
		{"-", BotUnknown},
		{"\x00\xff\xfe", BotUnknown},
		{strings.Repeat("A", 100_000), BotUnknown},
		{strings.Repeat("(", 100_000), BotUnknown},
		{strings.Repeat("/", 5000), BotUnknown},
		{"Mozilla/5.0", BotMail},
		{" Mozilla/5.0 ", BotMail},
		{"Mozilla/5.0 (compatible)", BotUnknown},
	} {
		if got := a.Lookup([]byte(c.ua)); got.Bot != c.bot {
			t.Errorf("%.40q: Bot = %q, want %q", c.ua, got.Bot, c.bot)
		}
	}
	for _, ua := range [][]byte{nil, {}} {
		if got := a.Lookup(ua); got.Bot != BotEmpty {
			t.Errorf("no agent: %+v", got)
		}
	}
}

func TestModelNamesAreNotRobots(t *testing.T) {
	a := newAgents(t)
	for _, model := range []string{"CUBOT X19", "CUBOT_NOTE_S", "ROBOT 5", "Spider", "URL 3 Crawler", "SM-G960F Build/R16NW"} {
		ua := "Mozilla/5.0 (Linux; Android 9; " + model + ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/91.0.4472.120 Mobile Safari/537.36"
		for _, ua := range []string{ua, ua + " SomeApp/3.1"} {
			if got := a.Lookup([]byte(ua)); got.Bot != "" {
				t.Errorf("%s: %q", ua, got.Bot)
			}
		}
	}
	for _, model := range []string{"Pixel 2; Storebot-Google/1.0", "compatible; FooBot/2.1", "K; +http://example.net/bot.html", "x; bot@example.net"} {
		ua := "Mozilla/5.0 (Linux; Android 9; " + model + ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/91.0.4472.120 Mobile Safari/537.36"
		if got := a.Lookup([]byte(ua)); got.Bot == "" {
			t.Errorf("%s is taken for a person", ua)
		}
	}
}

func TestNamesOfAppsAreNotRobots(t *testing.T) {
	a := newAgents(t)
	const (
		ios     = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
		android = "Mozilla/5.0 (Linux; Android 14; SM-A546B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.6723.86 Mobile Safari/537.36 "
	)
	for _, view := range []string{ios, android} {
		for _, app := range []string{"BBCNews/7.1", "AppleNews/1.0", "NewsBreak/24.3", "Insights/3", "GoogleMaps/25", "com.zdf.mediathek/2.1",
			"DB-Navigator/24.1", "AmazonWebView/Amazon Shopping/24.1", "eBayiOS", "WebView MetaIAB", "DownloadManager"} {
			if got := a.Lookup([]byte(view + app)); got.Bot != "" || got.Browser != "Mobile App" {
				t.Errorf("%s: %+v", app, got)
			}
		}
		for _, robot := range []string{"(compatible; Unheard-Bot/1.0)", "somecrawler/1.0", "(+https://example.net/about)", "curl/8.1", "python-requests/2.1"} {
			if got := a.Lookup([]byte(view + robot)); got.Bot == "" {
				t.Errorf("%s is taken for a person", robot)
			}
		}
	}
}

// TestLicencesLieBesideTheirData guards what the licences ask for.
func TestLicencesLieBesideTheirData(t *testing.T) {
	for file, text := range map[string]string{
		"data/isbot.LICENSE":        "unlicense.org",
		"data/crawlers.LICENSE":     "Martin Monperrus",
		"testdata/uap.LICENSE":      "Apache License",
		"testdata/robots.LICENSE":   "Apache License",
		"testdata/visitors.LICENSE": "Intoli",
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(b), text) {
			t.Errorf("%s does not say %q", file, text)
		}
	}
}
