package beacon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

// stub is what README.md gives pages whose scripts may run before the tracker.
const stub = `window.footfall = window.footfall || function () { (footfall.q = footfall.q || []).push(arguments) }
footfall.optout = footfall.optout || (on => footfall('optout', on))
footfall.consent = footfall.consent || (on => footfall('consent', on))
`

// asks is the tag of a site that needs consent.
const asks = `<script defer src="/ff.js" data-consent="required"></script>`

// helpers for scripts: what is stored where the page can see it, and what was requested.
const watching = `
	const requests = [];
	context.on('request', (r) => requests.push(r.method() + ' ' + r.url().replace(args.url, '')));
	const stored = (p) => (p || page).evaluate(() => Object.entries(localStorage).map(e => e.join('=')).join() + document.cookie + Object.keys(sessionStorage));
	const lines = async () => await (await fetch(args.url + '/_hits')).json();
	const call = (fn, on) => page.evaluate(([fn, on]) => { footfall[fn](on) }, [fn, on]);
`

// TestChoices: opting out and consenting, on pages as strict as those of TestTracker.
func TestChoices(t *testing.T) {
	b := browsertest.Start(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *browsertest.Browser)
	}{
		{"opting out and back in", testOptOutCall},
		{"flags of others", testOptOutPeers},
		{"no second try after opting out", testOptOutRetry},
		{"nothing before consent", testConsentNothing},
		{"consent", testConsentGiven},
		{"leaving at once", testConsentLeaving},
		{"refused, and given after all", testConsentRefused},
		{"bounded", testConsentBounded},
		{"consent that is not required", testConsentOptional},
		{"before the script has loaded", testChoicesEarly},
		{"the server fails", testChoiceRetry},
		{"no storage", testChoicesSandbox},
		{"two sites", testChoicesTwoSites},
		{"api below a path", testChoicesPath},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

func (s *site) watch(t *testing.T, b *browsertest.Browser, js string, out any, allow ...string) {
	t.Helper()
	s.run(t, b, watching+js, out, allow...)
}

// setsCookie answers choices as the server does, and slowly: one cookie for the last of them.
func (s *site) setsCookie(w http.ResponseWriter) {
	s.mu.Lock()
	c := &http.Cookie{Name: "visitor", Value: "1", Path: "/", HttpOnly: true, MaxAge: -1}
	for _, h := range s.hits {
		if u, ok := h.Fields["u"].(string); ok && h.Path == "/consent" {
			c.MaxAge = map[bool]int{true: 1000, false: -1}[strings.Contains(u, "consent=1")]
		}
	}
	s.mu.Unlock()
	time.Sleep(300 * time.Millisecond)
	http.SetCookie(w, c)
}

func testOptOutCall(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	tall(s)
	var got struct{ Out, In string }
	s.watch(t, b, `
		await page.goto(args.url + '/policy');
		await hits(1);
		await sleep(1200);                       // engagement that is not sent yet
		await page.mouse.wheel(0, 2000);
		await call('optout', true);
		await hits(2);
		const out = await stored();
		await page.evaluate(() => new Promise((callback) => footfall('No', {callback})));
		await page.evaluate(() => history.pushState({}, '', '/policy/2'));
		const other = await context.newPage();   // another tab of the same browser
		await other.goto(args.url + '/other');
		await other.evaluate(() => footfall('No'));
		await other.close();
		await page.goto(args.url + '/next');
		await page.evaluate(() => new Promise((callback) => footfall('No', {callback})));
		await sleep(300);
		if ((await lines()).length != 2) throw new Error('sent after opting out: ' + await lines());
		await call('optout', false);
		await hits(3);
		await page.evaluate(() => footfall('Yes'));
		await hits(4);
		return {out, in: await stored()};`, &got)
	hits := s.all(t, 4)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines()[:4], []string{"pageview /policy", "/optout site=127.0.0.1&optout=1", "/optout site=127.0.0.1&optout=0", "Yes /next"})
	for _, h := range hits[1:3] {
		if h.Method != "POST" || !strings.HasPrefix(h.Type, "application/x-www-form-urlencoded") || h.Cookie != "first=party" || h.Mode != "no-cors" && h.Mode != "" {
			t.Errorf("%s of %q, mode %q, cookies %q; want a form with the site's own cookies", h.Method, h.Type, h.Mode, h.Cookie)
		}
	}
	if got.Out != "footfall_ignore=1" || got.In != "" {
		t.Errorf("stored after opting out %q, and back in %q; want the one flag, then nothing", got.Out, got.In)
	}
}

func testOptOutPeers(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var got string
	s.watch(t, b, `
		await page.goto(args.url + '/ff.js');
		await page.evaluate(() => { localStorage.plausible_ignore = 'true' });
		await page.goto(args.url + '/p');
		await call('optout', true);
		await call('optout', false);
		await hits(2);
		await page.evaluate(() => footfall('No'));
		await page.goto(args.url + '/p2');
		await sleep(300);
		return await stored();`, &got)
	hits := s.all(t, 2)
	equal(t, "hits", s.lines(), []string{"/optout site=127.0.0.1&optout=1", "/optout site=127.0.0.1&optout=0"})
	if got != "plausible_ignore=true" || len(hits) != 2 {
		t.Errorf("stored %q; want another product's flag left alone", got)
	}
}

// A hit that the server could not take is not tried again once its reader is out.
func testOptOutRetry(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.fail = func(w http.ResponseWriter, n int) bool {
		if n == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 0
	}
	s.watch(t, b, `
		await page.clock.install();
		await page.goto(args.url + '/r');
		await hits(1);
		await call('optout', true);
		await hits(2);
		for (let n = 0; n < 60; n++) { await page.clock.fastForward(1000); await sleep(5) }
		await page.goto('about:blank');`, nil, "503")
	s.all(t, 2)
	equal(t, "hits", s.lines(), []string{"pageview /r", "/optout site=127.0.0.1&optout=1"})
}

// Whatever a reader does before consenting, no request is made, no cookie set, nothing stored.
func testConsentNothing(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	tall(s)
	s.head += asks
	s.body = func(string) string { return `<h1>Text</h1><a id="file" href="/x.pdf" download>x</a>` }
	s.head = strings.Replace(s.head, ScriptTag("", ""), "", 1)
	var got struct {
		Requests, Cookies []string
		Stored            string
	}
	s.watch(t, b, `
		await page.goto(args.url + '/land?utm_source=x');
		await sleep(300);
		const loaded = requests.length;
		await page.evaluate(() => new Promise((callback) => footfall('Held', {callback})));
		await page.evaluate(() => { history.pushState({}, '', '/second') });
		await page.mouse.wheel(0, 3000);
		await sleep(1200);
		await page.evaluate(() => {
			Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
			document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
		});
		await page.evaluate(() => { document.getElementById('file').addEventListener('click', (e) => e.preventDefault()); document.getElementById('file').click() });
		await page.evaluate(() => footfall.optout(false)); // what is chosen of the one leaves the other open
		await hits(1);
		await sleep(500);
		const got = {requests: requests.slice(), cookies: (await context.cookies()).map(c => c.name), stored: await stored()};
		await page.goto(args.url + '/third'); // the page before is forgotten
		await sleep(500);
		await page.close();
		return got;`, &got)
	equal(t, "requests", got.Requests, []string{"GET /land?utm_source=x", "GET /ff.js", "GET /tall.css", "POST /optout"})
	equal(t, "cookies", got.Cookies, []string{"first"})
	if got.Stored != "" {
		t.Errorf("stored %q", got.Stored)
	}
	s.all(t, 1)
	equal(t, "hits", s.lines(), []string{"/optout site=127.0.0.1&optout=0"})
}

// Consent sends what happened before it on the page, after the server has set its cookie.
func testConsentGiven(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = asks
	s.choice = s.setsCookie
	var got string
	s.watch(t, b, `
		await page.goto(args.url + '/land?utm_source=x');
		await page.evaluate(() => footfall('Before', {props: {n: 1}}));
		await page.evaluate(() => { history.pushState({}, '', '/second') });
		await sleep(300);
		await page.evaluate(() => { footfall.consent(true); footfall('Meanwhile') });
		await hits(6);
		const status = await page.evaluate(() => new Promise((ok) => footfall('After', {callback: (r) => ok(r.status)})));
		if (status != 202) throw new Error('status ' + status);
		await page.goto(args.url + '/later'); // the page asks its own memory, not ours
		await hits(8);
		await sleep(500);
		if ((await lines()).length != 8) throw new Error('sent before consent: ' + await lines());
		await call('consent', true);
		await hits(10);
		return await stored();`, &got)
	hits := s.all(t, 10)
	s.wellFormed(t, hits)
	lines := s.lines()
	equal(t, "hits", lines[:10], []string{
		"/consent site=127.0.0.1&consent=1",
		"pageview /land?utm_source=x",
		`Before /land?utm_source=x p={"n":1}`,
		"engagement /land?utm_source=x",
		"pageview /second r=/land?utm_source=x",
		"Meanwhile /second r=/land?utm_source=x",
		"engagement /second r=/land?utm_source=x",
		"After /second r=/land?utm_source=x",
		"/consent site=127.0.0.1&consent=1",
		"pageview /later",
	})
	if lines[0] != "/consent site=127.0.0.1&consent=1" {
		t.Errorf("first came %q", lines[0])
	}
	for _, h := range hits {
		if h.Path == "/api/event" && !strings.Contains(h.Cookie, "visitor=1") {
			t.Errorf("the %v came with the cookies %q, before the server had set its own", h.Fields["n"], h.Cookie)
		}
	}
	if got != "" {
		t.Errorf("the script stored %q", got)
	}
}

// A reader who consents by the link that leads on is counted, cookie or not.
func testConsentLeaving(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = asks
	hold := make(chan struct{}) // the answer does not come in time
	s.choice = func(http.ResponseWriter) { <-hold }
	t.Cleanup(func() { close(hold) })
	s.watch(t, b, `
		await page.goto(args.url + '/land');
		await page.evaluate((to) => { footfall.consent(true); location = to }, args.url + '/next');
		await page.waitForURL('**/next');
		await hits(3);`, nil)
	s.all(t, 3)
	equal(t, "hits", s.lines(), []string{"/consent site=127.0.0.1&consent=1", "pageview /land", "engagement /land"})
}

func testConsentRefused(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = asks
	s.watch(t, b, `
		await page.goto(args.url + '/a');
		await page.evaluate(() => footfall('Before'));
		await call('consent', false);
		await hits(1);
		await sleep(1200); // nobody's time
		await page.evaluate(() => new Promise((callback) => footfall('Refused', {callback})));
		await page.evaluate(() => history.pushState({}, '', '/b'));
		await sleep(300);
		await call('consent', true);
		await hits(2);
		await page.evaluate(() => footfall('Given'));
		await hits(3);
		await page.evaluate(() => { history.pushState({}, '', '/c') });
		await until(async () => (await lines()).some(l => l.startsWith('pageview')));
		const n = (await lines()).length;
		await call('consent', false);
		await hits(n + 1);
		await page.evaluate(() => footfall('Withdrawn'));
		await page.goto(args.url + '/d');
		await sleep(500);
		return n;`, nil)
	s.all(t, 5)
	var lines []string
	for _, l := range s.lines() {
		if !strings.HasPrefix(l, "engagement /b") { // of the moment after consent, if long enough
			lines = append(lines, l)
		}
	}
	equal(t, "hits", lines, []string{
		"/consent site=127.0.0.1&consent=0",
		"/consent site=127.0.0.1&consent=1",
		"Given /b r=/a",
		"pageview /c r=/b",
		"/consent site=127.0.0.1&consent=0",
	})
}

func testConsentBounded(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = asks
	s.watch(t, b, `
		await page.goto(args.url + '/');
		await page.evaluate(() => { for (let n = 0; n < 200; n++) footfall('E') });
		await call('consent', true);
		await hits(51);`, nil)
	s.all(t, 51)
	if n := strings.Count(strings.Join(s.views(s.hits), "\n"), "E /"); n != 49 {
		t.Errorf("%d events were kept, want 49 beside the page view", n)
	}
}

// Where no consent is required, it is about the cookie alone.
func testConsentOptional(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.choice = s.setsCookie
	s.watch(t, b, `
		await page.goto(args.url + '/');
		await hits(1);
		await page.evaluate(() => { footfall.consent(true); footfall('Yes') });
		await hits(3);
		await page.evaluate(() => { footfall.consent(false); footfall('No') });
		await hits(5);`, nil)
	hits := s.all(t, 5)
	equal(t, "hits", s.lines()[:5], []string{"pageview /", "/consent site=127.0.0.1&consent=1", "Yes /", "/consent site=127.0.0.1&consent=0", "No /"})
	for _, h := range hits {
		if with := strings.Contains(h.Cookie, "visitor=1"); h.Path == "/api/event" && with != (h.Fields["n"] == "Yes") {
			t.Errorf("the %v came with the cookies %q", h.Fields["n"], h.Cookie)
		}
	}
}

func testChoicesEarly(t *testing.T, b *browsertest.Browser) {
	for name, c := range map[string]struct {
		tag, js string
		want    []string
	}{
		"optout":    {ScriptTag("", ""), `footfall('Early'); footfall.optout(true); footfall('Late')`, []string{"/optout site=127.0.0.1&optout=1"}},
		"consent":   {asks, `footfall('Early'); footfall.consent(true)`, []string{"/consent site=127.0.0.1&consent=1", "pageview /", "Early /"}},
		"refusal":   {asks, `footfall('Early'); footfall.consent(false)`, []string{"/consent site=127.0.0.1&consent=0"}},
		"no asking": {ScriptTag("", ""), `footfall.consent(true)`, []string{"/consent site=127.0.0.1&consent=1", "pageview /"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.choice = s.setsCookie
			s.file["/stub.js"] = stub + c.js
			s.file["/stub2.js"] = stub // where the tracker is there already it changes nothing
			s.head = `<script src="/stub.js"></script>` + c.tag + `<script defer src="/stub2.js"></script>`
			s.watch(t, b, fmt.Sprintf(`await page.goto(args.url + '/'); await hits(%d); await sleep(300);`, len(c.want)), nil)
			hits := s.all(t, len(c.want))
			equal(t, "hits", s.views(hits), c.want)
			for _, h := range hits {
				if h.Fields["n"] == "pageview" && !strings.Contains(h.Cookie, "visitor=1") {
					t.Errorf("the page view came with the cookies %q", h.Cookie)
				}
			}
		})
	}
}

// What was chosen last arrives in the end, and arrives last.
func testChoiceRetry(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.fail = func(w http.ResponseWriter, n int) bool {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 1
	}
	s.watch(t, b, `
		await page.clock.install();
		await page.goto(args.url + '/');
		await hits(1);
		await call('optout', true);
		await hits(2);
		await call('optout', false);
		await hits(3);
		await until(async () => { await page.clock.fastForward(1000); return (await lines()).length > 3 });`, nil, "503")
	s.all(t, 4)
	equal(t, "hits", s.views(s.hits), []string{"pageview /", "/optout site=127.0.0.1&optout=1", "/optout site=127.0.0.1&optout=0", "/optout site=127.0.0.1&optout=0"})
}

// A sandboxed page has no storage: the choice holds while the page does.
func testChoicesSandbox(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = asks
	s.body = func(p string) string {
		if p == "/outer" {
			return `<iframe title="x" sandbox="allow-scripts" src="/framed"></iframe>`
		}
		return ""
	}
	s.csp = "default-src 'none'; frame-src 'self'; script-src " + s.URL + "; connect-src " + s.URL
	s.watch(t, b, `
		await page.goto(args.url + '/outer');
		const frame = await until(() => page.frames().find(f => f.url().endsWith('/framed')));
		await frame.waitForFunction(() => window.footfall && footfall.v);
		await frame.evaluate(() => footfall.consent(true));
		await hits(2);
		await frame.evaluate(() => footfall.optout(true));
		await hits(3);
		await frame.evaluate(() => footfall('No'));
		await sleep(300);
		await frame.evaluate(() => footfall.optout(false));
		await hits(4);
		await frame.evaluate(() => footfall('Yes'));
		await hits(5);`, nil, "Content Security Policy")
	hits := s.all(t, 5)
	var lines []string
	for _, h := range hits {
		lines = append(lines, strings.Split(s.line(h), " r=")[0])
	}
	if want := "Yes /framed"; lines[4] != want || strings.Contains(strings.Join(lines, "\n"), "No ") {
		t.Errorf("hits %q, want %q last and nothing while opted out", lines, want)
	}
}

// Two sites of one Footfall, which lives on a third host: each choice names its site, and the
// script's flag is the site's own.
func testChoicesTwoSites(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	stats := s.on("stats.shop.test")
	s.csp = "default-src 'none'; script-src " + stats + "; connect-src " + stats
	s.head = ScriptTag(stats, "shop.test,all.test")
	s.watch(t, b, `
		const at = (host) => 'http://' + host + ':' + args.port + '/';
		await page.goto(at('www.shop.test'));
		await hits(1);
		await page.evaluate(() => { footfall.consent(true); footfall.optout(true) });
		await hits(3);
		await page.goto(at('www.else.test'));
		await hits(4);
		await page.goto(at('www.shop.test'));
		await hits(5);
		await sleep(300);`, nil)
	s.all(t, 5)
	equal(t, "hits", s.lines()[:5], []string{
		"pageview " + s.on("www.shop.test") + "/ d=shop.test,all.test",
		"/consent site=shop.test%2Call.test&consent=1",
		"/optout site=shop.test%2Call.test&consent=1&optout=1",
		"pageview " + s.on("www.else.test") + "/ d=shop.test,all.test",
		"engagement " + s.on("www.else.test") + "/ d=shop.test,all.test",
	})
}

// A proxy may have Footfall below a path of the site.
func testChoicesPath(t *testing.T, b *browsertest.Browser) {
	for api, want := range map[string]string{
		"/stats/api/event?k=1": "/stats/optout",
		"/hit":                 "/optout",
	} {
		s := newSite(t)
		s.head = `<script defer src="/ff.js" data-api="` + api + `"></script>`
		var got []string
		s.watch(t, b, `
			await page.goto(args.url + '/');
			await call('optout', true);
			return await until(() => { const r = requests.filter(r => r.includes('optout')); return r.length && r });`, &got)
		equal(t, api, got, []string{"POST " + want})
	}
}
