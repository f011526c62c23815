package beacon

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

func toString(v any) string { return fmt.Sprint(v) }

// tall is a page of ten screens; the style sheet is a file, as the policy wants it.
func tall(s *site) {
	s.file["/tall.css"] = "body{margin:0;height:9000px}"
	s.head += `<link rel="stylesheet" href="/tall.css">`
}

func testEngagement(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	tall(s)
	began := time.Now()
	s.run(t, b, `
		await page.goto(args.url + '/read');
		await hits(1);
		await page.mouse.wheel(0, 3600);
		await until(() => page.evaluate(() => scrollY == 3600));
		await page.mouse.wheel(0, -3600); // the deepest point counts
		await until(() => page.evaluate(() => scrollY == 0));
		await sleep(1500);
		await page.goto(args.url + '/next');
		await hits(3);
		await page.close();
		await hits(4);`, nil)
	took := time.Since(began).Milliseconds()
	hits := s.all(t, 4)
	s.wellFormed(t, hits)
	equal(t, "views", s.views(hits), []string{"pageview /read", "pageview /next"})
	equal(t, "engagements", s.engagements(hits), []string{"engagement /read", "engagement /next"})
	for _, h := range hits {
		e, _ := h.Fields["e"].(float64)
		sd, _ := h.Fields["sd"].(float64)
		switch s.line(h) {
		case "engagement /read":
			if e < 1500 || e > float64(took) {
				t.Errorf("engaged %v ms, want 1500 to %d", e, took)
			}
			if sd != 50 { // 3600 scrolled and 900 shown of 9000
				t.Errorf("scroll depth %v %%, want 50", sd)
			}
		case "engagement /next":
			if sd != 10 || e > float64(took) {
				t.Errorf("second page: engaged %v ms, scroll depth %v %%, want 10", e, sd)
			}
		}
	}
}

// How far the page before was scrolled says nothing about the next one of a single-page
// application.
func testScrollSPA(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	tall(s)
	s.run(t, b, `
		await page.goto(args.url + '/long');
		await hits(1);
		await page.mouse.wheel(0, 8100);
		await until(() => page.evaluate(() => scrollY == 8100));
		await page.evaluate(() => { history.pushState({}, '', '/top'); setTimeout(() => scrollTo(0, 0), 20) });
		await hits(3);
		await leave(4);`, nil)
	hits := s.all(t, 4)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview /long", "engagement /long", "pageview /top r=/long", "engagement /top r=/long"})
	for line, want := range map[string]float64{"engagement /long": 100, "engagement /top r=/long": 10} {
		if sd := s.find(t, hits, line).Fields["sd"]; sd != want {
			t.Errorf("%s: scroll depth %v %%, want %v", line, sd, want)
		}
	}
}

// A tab that is hidden reports at once, and later only what is new.
func testHide(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	tall(s)
	var shown []float64 // how long each time, at most
	s.run(t, b, `
		const show = async (state) => {
			// What the browser does when the reader changes tabs; headless windows are never hidden.
			await page.evaluate((state) => {
				Object.defineProperty(document, 'hidden', {configurable: true, get: () => state == 'hidden'});
				document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
			}, state);
		};
		const times = [];
		const timed = async (doing) => { const began = Date.now(); await doing(); times.push(Date.now() - began) };
		await timed(async () => {
			await page.goto(args.url + '/tab');
			await hits(1);
			await sleep(1100);
			await show('hidden');
		});
		await hits(2);
		await sleep(2000);                    // hidden: not engaged
		await timed(async () => {
			await show('visible');
			await sleep(1100);
			await show('hidden');
		});
		await hits(3);
		await page.evaluate(() => {           // a glance: nothing new
			for (const state of ['visible', 'hidden']) {
				Object.defineProperty(document, 'hidden', {configurable: true, get: () => state == 'hidden'});
				document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
			}
		});
		await sleep(500);
		await timed(async () => {
			await show('visible');
			await page.mouse.wheel(0, 900);   // deeper
			await until(() => page.evaluate(() => scrollY == 900));
			await show('hidden');
		});
		await hits(4);
		await page.goto('about:blank');
		await sleep(300);
		return times;`, &shown)
	hits := s.all(t, 4)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview /tab", "engagement /tab", "engagement /tab", "engagement /tab"})
	for i, want := range []struct{ min, depth float64 }{{1000, 10}, {1100, 10}, {0, 20}} {
		e, _ := hits[i+1].Fields["e"].(float64)
		sd, _ := hits[i+1].Fields["sd"].(float64)
		if e < want.min || e > shown[i]+50 || sd != want.depth {
			t.Errorf("report %d: %v ms, %v %%, want %v to %v ms, %v %%", i+1, e, sd, want.min, shown[i], want.depth)
		}
	}
}

// Time in another window is not time on this page.
func testFocus(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var times [2]float64 // ms without the focus at least, on the page at most
	s.run(t, b, `
		const began = Date.now();
		await page.goto(args.url + '/focus');
		await hits(1);
		const cdp = await context.newCDPSession(page); // Playwright pretends that every page has the focus
		await cdp.send('Emulation.setFocusEmulationEnabled', {enabled: false});
		await sleep(1200);
		const other = await context.newPage();
		await other.bringToFront();
		await until(() => page.evaluate(() => !document.hasFocus()));
		const left = Date.now();
		await sleep(4000);
		const away = Date.now() - left;
		await page.bringToFront();
		await until(() => page.evaluate(() => document.hasFocus()));
		await sleep(600);
		await leave(2);
		return [away, Date.now() - began];`, &times)
	away, all := times[0], times[1]
	hits := s.all(t, 2)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview /focus", "engagement /focus"})
	if e, _ := hits[1].Fields["e"].(float64); e < 1800 || e > all-away+50 {
		t.Errorf("engaged %v ms, want 1800 to %v", e, all-away)
	}
}

// A tab opened in the background counts when, and only if, it is looked at.
func testBackgroundTab(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.run(t, b, `
		await page.addInitScript(() => {
			window.state = 'hidden';
			Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.state == 'hidden'});
		});
		await page.goto(args.url + '/never');
		await page.evaluate(() => { footfall('Never'); history.pushState({}, '', '/never2') });
		await page.goto(args.url + '/later');
		await page.evaluate(() => footfall('Kept'));
		await sleep(400);
		const none = await (await fetch(args.url + '/_hits')).json();
		if (none.length) throw new Error('counted while hidden: ' + none);
		await page.evaluate(() => { window.state = 'visible'; document.dispatchEvent(new Event('visibilitychange', {bubbles: true})) });
		await hits(2);
		await leave(3);`, nil)
	hits := s.all(t, 3)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview /later", "Kept /later", "engagement /later"})
}

func testBFCache(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var got struct {
		Persisted, Kept bool
		Shown           float64 // ms, at most, after coming back
	}
	s.run(t, b, `
		// Some browsers say nothing of visibility when a page goes into the cache.
		await page.addInitScript(() => addEventListener('visibilitychange', (e) => e.stopImmediatePropagation(), true));
		await page.goto(args.url + '/first');
		await hits(1);
		await page.evaluate(() => { window.kept = true; addEventListener('pageshow', (e) => { window.persisted = e.persisted }) });
		await sleep(1100);
		await page.goto(args.url + '/second');
		await hits(3);
		await sleep(2500); // in the cache: nobody's time
		const back = Date.now();
		await page.goBack({waitUntil: 'commit'}); // there is no load to wait for
		await hits(5);
		const state = await page.evaluate(() => ({persisted: window.persisted === true, kept: window.kept === true}));
		await leave(6);
		return {...state, shown: Date.now() - back};`, &got)
	if !got.Persisted || !got.Kept {
		t.Fatalf("the page did not come from the back/forward cache: %+v", got)
	}
	hits := s.all(t, 6)
	s.wellFormed(t, hits)
	equal(t, "views", s.views(hits), []string{"pageview /first", "pageview /second", "pageview /first"})
	equal(t, "engagements", s.engagements(hits), []string{"engagement /first", "engagement /second", "engagement /first"})
	if e, _ := hits[len(hits)-1].Fields["e"].(float64); e > got.Shown+50 {
		t.Errorf("after the cache: engaged %v ms of %v; the time in it counted", e, got.Shown)
	}
}

func testOtherOrigin(t *testing.T, b *browsertest.Browser) {
	// Footfall on its own host of the organisation: www.shop.test and stats.shop.test are
	// one site for cookies, and two origins.
	s := newSite(t)
	stats := s.on("stats.shop.test")
	s.csp = "default-src 'none'; script-src " + stats + "; connect-src " + stats
	s.head = ScriptTag(stats, "shop.test")
	www := s.on("www.shop.test")
	var status int
	s.run(t, b, `
		await page.goto('http://stats.shop.test:' + args.port + '/ff.js');
		await context.addCookies([{name: 'own', value: 'yes', domain: 'stats.shop.test', path: '/', httpOnly: true, sameSite: 'Lax'}]);
		await page.goto('http://www.shop.test:' + args.port + '/x');
		await hits(1);
		const status = await page.evaluate(() => new Promise((ok) => footfall('Y', {callback: (r) => ok(r.status)})));
		await hits(2);
		await leave(3);
		return status;`, &status)
	hits := s.all(t, 3)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{
		"pageview " + www + "/x d=shop.test", "Y " + www + "/x d=shop.test", "engagement " + www + "/x d=shop.test"})
	for _, h := range hits {
		if h.Cookie != "own=yes" {
			t.Errorf("the %v came with the cookies %q, want Footfall's own", h.Fields["n"], h.Cookie)
		}
	}
	if status != 0 {
		t.Errorf("the callback got status %d of an opaque answer", status)
	}
}

// A server that is busy, then a connection that breaks: the same hit comes again, with
// the same id.
func testRetry(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var answered []any
	ids := func() []any {
		var ids []any
		for _, h := range s.hits {
			if len(ids) == 0 || h.Fields["id"] != ids[len(ids)-1] {
				ids = append(ids, h.Fields["id"])
			}
		}
		return ids
	}
	broken := 0
	s.fail = func(w http.ResponseWriter, n int) bool {
		switch {
		case n == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case broken < 2: // Chromium itself tries a broken connection again at once
			broken++
			panic(http.ErrAbortHandler)
		default:
			answered = append(answered, s.hits[n].Fields["n"])
			return false
		}
		return true
	}
	s.run(t, b, `
		await page.clock.install();
		await page.goto(args.url + '/r');
		await hits(1);
		for (let n = 1, clock = 0; n < 4; n = (await hits(n)).length) {
			await page.clock.fastForward(1000);
			await sleep(30);
			if (clock++ > 60) throw new Error('not sent again within a minute');
			if ((await hits(n)).length > n) n++;
		}
		await page.goto('about:blank');
		await sleep(200);`, nil, "503", "ERR_EMPTY_RESPONSE")
	s.all(t, 4)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(answered) == 0 || answered[0] != "pageview" {
		t.Errorf("answered: %v; want the page view in the end", answered)
	}
	views := 0
	for _, h := range s.hits {
		if h.Fields["n"] == "pageview" {
			views++
		}
	}
	if views != 4 || len(ids()) > 2 {
		t.Errorf("%d tries with the ids %v; want 4 of one id, then the engagement's", views, ids())
	}
}

func testLocalhost(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.run(t, b, `await page.goto('http://localhost:' + args.port + '/'); await hits(1); await leave(2);`, nil)
	hits := s.all(t, 2)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview " + s.on("localhost") + "/", "engagement " + s.on("localhost") + "/"})
}

func testNoscript(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.csp = "default-src 'none'; img-src " + s.on("stats.shop.test")
	s.head = ""
	tag := NoscriptTag(s.on("stats.shop.test"), "shop.test")
	s.body = func(string) string { return tag }
	b.Run(t, browsertest.Script{
		JS:      prelude + `await page.goto('http://www.shop.test:' + args.port + '/deep/page?utm_source=x'); await hits(1);`,
		Args:    map[string]any{"url": s.URL, "port": s.port},
		Context: map[string]any{"javaScriptEnabled": false},
	}, nil)
	hits := s.all(t, 1)
	if h := hits[0]; len(hits) != 1 || h.Path != "/ff.gif" || h.Query.Get("d") != "shop.test" || h.Refer != s.on("www.shop.test")+"/deep/page?utm_source=x" {
		t.Errorf("%d hits, the first %s?%s from %q; want one pixel with the whole address", len(hits), h.Path, h.Query.Encode(), h.Refer)
	}
}

// A page from a file has no host, and a sandboxed one neither origin nor storage.
func testOddPages(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte("<!doctype html><title>File</title>"+ScriptTag(s.URL, "f.example")), 0o644); err != nil {
		t.Fatal(err)
	}
	s.body = func(p string) string {
		if p == "/outer" {
			return `<iframe title="x" sandbox="allow-scripts" src="/framed"></iframe>`
		}
		return ""
	}
	// The page in the sandbox has the origin "null", so 'self' does not name this server.
	s.csp = "default-src 'none'; frame-src 'self'; script-src " + s.URL + "; connect-src " + s.URL
	s.run(t, b, `
		await page.goto('file://`+path+`');
		await hits(1);
		await page.goto(args.url + '/outer');
		await until(async () => (await hits(1)).some(l => l.includes('/framed')));`, nil, "Content Security Policy")
	var views []string
	for _, l := range s.views(s.all(t, 4)) {
		views = append(views, strings.Split(l, " r=")[0])
	}
	for _, want := range []string{"pageview file://" + path + " d=f.example", "pageview /framed"} {
		if !strings.Contains(strings.Join(views, "\n")+"\n", want+"\n") {
			t.Errorf("no %q among\n\t%s", want, strings.Join(views, "\n\t"))
		}
	}
}
