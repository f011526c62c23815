package beacon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

// prelude gives every script `hits(n)`: waits until the server has n hits, returns their
// lines.
const prelude = `
	const hits = (n) => until(async () => {
		const lines = await (await fetch(args.url + '/_hits')).json();
		return lines.length >= n && lines;
	}, 20000).catch(async () => { throw new Error('waiting for ' + n + ' hits, got ' + JSON.stringify(await (await fetch(args.url + '/_hits')).json())) });
	// Leaves the page as a reader does. The end of the script would end the browser's
	// requests, too.
	const leave = async (n) => { await page.goto('about:blank'); await hits(n) };
`

func (s *site) run(t *testing.T, b *browsertest.Browser, js string, out any, allow ...string) {
	t.Helper()
	b.Run(t, browsertest.Script{JS: prelude + js, Args: map[string]any{"url": s.URL, "port": s.port}, Allow: allow, Timeout: time.Minute}, out)
}

// equal compares without regard to order: each hit travels on a connection of its own, and
// what is sent within a moment may arrive the other way round.
func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestTracker visits real pages with a real browser under a strict content security
// policy. The driver fails a test on any violation of it and on any console error.
func TestTracker(t *testing.T) {
	b := browsertest.Start(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *browsertest.Browser)
	}{
		{"page view", testPageView},
		{"single-page application", testSPA},
		{"hash routing", testHash},
		{"clicks", testClicks},
		{"custom events", testEvents},
		{"attributes of the tag", testTag},
		{"opt-out flag", testOptOut},
		{"ways to embed", testInjection},
		{"engagement", testEngagement},
		{"scroll depth of single-page applications", testScrollSPA},
		{"hidden and shown", testHide},
		{"focus", testFocus},
		{"background tab", testBackgroundTab},
		{"back/forward cache", testBFCache},
		{"other origin", testOtherOrigin},
		{"retry", testRetry},
		{"noscript", testNoscript},
		{"localhost", testLocalhost},
		{"odd pages", testOddPages},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

func testPageView(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var got struct {
		Requests, Cookies, Databases []string
		Script                       string
		Local, Session, Caches       int
		Global                       string
	}
	s.run(t, b, `
		const requests = [];
		context.on('request', (r) => requests.push(r.method() + ' ' + r.url().replace(args.url, '')));
		await page.goto(args.url + '/some/page?utm_source=x&q=1#part');
		await hits(1);
		await sleep(500);
		const seen = [...requests];
		const state = await page.evaluate(async () => ({
			script: document.cookie, local: localStorage.length, session: sessionStorage.length,
			databases: (await indexedDB.databases()).map(d => d.name), caches: (await caches.keys()).length,
			global: Object.getOwnPropertyNames(window).filter(n => /^(ff|foot)/i.test(n)).join(),
		}));
		const cookies = (await context.cookies()).map(c => c.name);
		await leave(2);
		return {requests: seen, cookies, ...state};`, &got)
	hits := s.all(t, 2)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{"pageview /some/page?utm_source=x&q=1", "engagement /some/page?utm_source=x&q=1"})
	view := s.find(t, hits, "pageview /some/page?utm_source=x&q=1").Fields
	if view["t"] != "Title of /some/page" || view["w"] != float64(1280) {
		t.Errorf("title %v, width %v", view["t"], view["w"])
	}
	if r, ok := view["r"]; !ok || r != "" {
		t.Errorf("referrer %v, want none", r)
	}
	for _, h := range hits {
		if h.Cookie != "first=party" {
			t.Errorf("the %v came with the cookies %q; those of the site itself must come along", h.Fields["n"], h.Cookie)
		}
	}
	equal(t, "requests", got.Requests, []string{"GET /some/page?utm_source=x&q=1", "GET /ff.js", "POST /api/event"})
	equal(t, "cookies", got.Cookies, []string{"first"})
	if got.Script != "" || got.Local+got.Session+got.Caches+len(got.Databases) != 0 {
		t.Errorf("the page's storage after a visit: %+v, want nothing", got)
	}
	if got.Global != "footfall" {
		t.Errorf("global names %q, want footfall alone", got.Global)
	}
}

func testSPA(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.run(t, b, `
		await page.goto(args.url + '/');
		await hits(1);
		const go = (fn) => page.evaluate(fn);
		// The title follows the address, as applications do it.
		await go(() => { history.pushState({}, '', '/a'); setTimeout(() => { document.title = 'A' }, 30) });
		await hits(3);
		await go(() => history.pushState({}, '', '/a'));            // the same page: no
		await go(() => history.pushState({}, '', '/a#part'));       // a part of it: no
		await go(() => history.replaceState({}, '', '/a?zoom=2'));  // its state: no
		await sleep(300);
		await go(() => history.pushState({}, '', '/a?page=2'));     // another page of a list: yes
		await hits(5);
		await go(() => history.replaceState({}, '', '/b'));         // a redirect: yes
		await hits(7);
		await go(() => { location.hash = 'part' });                 // no
		await sleep(300);
		await go(() => { history.go(-5) });                         // back to /: yes
		await hits(9);
		await go(() => { history.pushState({}, '', '/quick1'); history.pushState({}, '', '/quick2') });
		await hits(13);
		await leave(14);`, nil)
	hits := s.all(t, 14)
	s.wellFormed(t, hits)
	equal(t, "views", s.views(hits), []string{
		"pageview /",
		"pageview /a r=/",
		"pageview /a?page=2 r=/a",
		"pageview /b r=/a?page=2",
		"pageview / r=/b",
		"pageview /quick1 r=/",
		"pageview /quick2 r=/quick1",
	})
	equal(t, "engagements", s.engagements(hits), []string{
		"engagement /",
		"engagement /a r=/",
		"engagement /a?page=2 r=/a",
		"engagement /b r=/a?page=2",
		"engagement / r=/b",
		"engagement /quick1 r=/",
		"engagement /quick2 r=/quick1",
	})
	if title := s.find(t, hits, "pageview /a r=/").Fields["t"]; title != "A" {
		t.Errorf("title of /a is %v, want the one set after the address", title)
	}
	for _, h := range hits {
		if e, _ := h.Fields["e"].(float64); e > 20_000 {
			t.Errorf("%s: engaged %v ms", s.line(h), e)
		}
	}
}
