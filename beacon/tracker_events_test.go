package beacon

import (
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

func testHash(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = `<script defer src="/ff.js" data-hash></script>`
	s.run(t, b, `
		await page.goto(args.url + '/app#/start');
		await hits(1);
		await page.evaluate(() => { location.hash = '#/users?id=1' });
		await hits(3);
		await page.evaluate(() => { location.hash = '#/users?id=2' });
		await hits(5);
		await page.evaluate(() => history.pushState({}, '', '/app#/settings'));
		await hits(7);
		await page.goBack();
		await hits(9);
		await leave(10);`, nil)
	hits := s.all(t, 10)
	s.wellFormed(t, hits)
	equal(t, "views", s.views(hits), []string{
		"pageview /app#/start h=true",
		"pageview /app#/users?id=1 r=/app#/start h=true",
		"pageview /app#/users?id=2 r=/app#/users?id=1 h=true",
		"pageview /app#/settings r=/app#/users?id=2 h=true",
		"pageview /app#/users?id=2 r=/app#/settings h=true",
	})
}

func testClicks(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	// Other hosts lead here as well, so that following a link ends in a page.
	shop := s.on("shop.test")
	s.file["/paper.PDF"] = "x"
	s.file["/stay.js"] = `addEventListener('click', (e) => { if (e.target.dataset.stay !== undefined) e.preventDefault() });
		addEventListener('submit', (e) => e.preventDefault());
		document.querySelector('#host').attachShadow({mode: 'open'}).innerHTML = '<a id="deep" href="` + shop + `/deep"><b>deep</b></a>';`
	s.body = func(path string) string {
		return `<main><h1>Links</h1>
			<a id="inside" data-stay href="/elsewhere">inside</a>
			<a id="mail" data-stay href="mailto:someone@example.org">mail</a>
			<a id="out" data-stay href="` + shop + `/item?session=secret#x">out</a>
			<a id="leave" href="` + shop + `/leave"><i id="inner">leave</i></a>
			<a id="file" data-stay href="/paper.PDF?sig=secret">file</a>
			<a id="saved" data-stay href="/blob" download="x.bin">saved</a>
			<a id="outfile" data-stay href="` + shop + `/set.zip">file elsewhere</a>
			<button id="buy" data-ff-event="Buy" data-ff-plan="pro" data-ff-price-list="2026"><span id="label">buy</span></button>
			<form id="form" data-ff-event="Sent" data-ff-form="contact"><input aria-label="x" id="text"><button id="submit">send</button></form>
			<svg width="20" height="20"><a id="svg" href="/x"><rect id="rect" data-stay width="20" height="20"/></a></svg>
			<div id="host"></div></main><script src="/stay.js"></script>`
	}
	s.run(t, b, `
		await page.goto(args.url + '/links');
		await hits(1);
		for (const id of ['inside', 'mail', 'out', 'file', 'saved', 'outfile', 'label', 'text', 'submit']) await page.click('#' + id);
		await page.dispatchEvent('#rect', 'click');
		await page.click('#out', {button: 'right'});
		await hits(7);
		const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#deep', {button: 'middle'})]);
		await popup.waitForLoadState();
		await popup.close();
		await hits(8);
		await page.bringToFront();
		await page.click('#inner');
		await page.waitForURL('**/leave');
		await hits(12);`, nil)
	var lines []string
	for _, l := range s.views(s.all(t, 10)) {
		if !strings.Contains(l, "pageview http://shop.test") { // the pages that the links led to
			lines = append(lines, strings.ReplaceAll(l, shop, "SHOP"))
		}
	}
	equal(t, "hits", lines, []string{
		`pageview /links`,
		`Outbound Link: Click /links p={"url":"SHOP/item"}`,
		`File Download /links p={"url":"/paper.PDF"}`,
		`File Download /links p={"url":"/blob"}`,
		`File Download /links p={"url":"SHOP/set.zip"}`,
		`Buy /links p={"plan":"pro","price-list":"2026"}`,
		`Sent /links p={"form":"contact"}`,
		`Outbound Link: Click /links p={"url":"SHOP/deep"}`,
		`Outbound Link: Click /links p={"url":"SHOP/leave"}`,
	})
	for _, h := range s.all(t, 10) {
		for _, v := range h.Fields {
			if strings.Contains(strings.ToLower(toString(v)), "secret") {
				t.Errorf("a link's query left the page: %v", h.Fields)
			}
		}
	}
}

func testEvents(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	// Queued by the stub of the documentation before the script has loaded.
	s.file["/stub.js"] = `window.footfall=window.footfall||function(){(footfall.q=footfall.q||[]).push(arguments)};
		footfall('Early', {props: {n: 1}}); footfall('Second');`
	s.head = `<script src="/stub.js"></script>` + ScriptTag("", "")
	var got struct {
		Answers []struct{ Status int }
		Plain   []string
	}
	s.run(t, b, `
		await page.goto(args.url + '/e');
		await hits(3);
		const answers = await page.evaluate(async () => {
			const send = (name, options) => new Promise((ok) => footfall(name, {...options, callback: (r) => ok({status: r.status})}));
			return [
				await send('Signup', {props: {plan: 'pro', seats: 3, trial: false}}),
				await send('Paid', {revenue: {currency: 'EUR', amount: 12.5}}),
				await send('Shown', {interactive: false}),
				await send('Virtual', {url: 'https://example.org/virtual'}),
			];
		});
		await page.evaluate(() => footfall('Bare'));
		await hits(8);
		await leave(9);
		return {answers};`, &got)
	hits := s.all(t, 9)
	s.wellFormed(t, hits)
	equal(t, "hits", s.views(hits), []string{
		`Early /e p={"n":1}`,
		`Second /e`,
		`pageview /e`,
		`Signup /e p={"plan":"pro","seats":3,"trial":false}`,
		`Paid /e $={"amount":12.5,"currency":"EUR"}`,
		`Shown /e i=false`,
		`Virtual https://example.org/virtual`,
		`Bare /e`,
	})
	for _, a := range got.Answers {
		if a.Status != 202 {
			t.Errorf("a callback got status %d, want the server's 202", a.Status)
		}
	}
	if len(got.Answers) != 4 {
		t.Errorf("%d callbacks, want 4", len(got.Answers))
	}
}

func testTag(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	s.head = `<script defer src="/ff.js" data-domain="a.example,b.example" data-api="/api/event?tagged" data-props-author="Ann" data-props-page-type="post"></script>
		<script defer src="/ff.js" data-domain="a.example,b.example"></script>` // twice: counted once
	s.run(t, b, `
		await page.goto(args.url + '/p');
		await hits(1);
		await page.evaluate(() => footfall('X'));
		await hits(2);
		await sleep(300);
		await leave(3);`, nil)
	hits := s.all(t, 3)
	s.wellFormed(t, hits)
	equal(t, "hits", s.lines(), []string{
		`pageview /p d=a.example,b.example p={"author":"Ann","page-type":"post"}`,
		`X /p d=a.example,b.example`,
		`engagement /p d=a.example,b.example`,
	})
	for _, h := range hits {
		if !h.Query.Has("tagged") {
			t.Errorf("the %v went to %s?%s, not to data-api", h.Fields["n"], h.Path, h.Query.Encode())
		}
	}
}

func testOptOut(t *testing.T, b *browsertest.Browser) {
	s := newSite(t)
	var got []struct {
		Key     string
		Answers int
	}
	s.run(t, b, `
		const done = [];
		for (const [key, value] of [['footfall_ignore', 'true'], ['footfall_ignore', '1'], ['plausible_ignore', 'true'], ['umami.disabled', '1']]) {
			const c = await newContext();
			const p = await c.newPage();
			await p.goto(args.url + '/ff.js');
			await p.evaluate(([k, v]) => localStorage.setItem(k, v), [key, value]);
			await p.goto(args.url + '/ignored');
			const answers = await p.evaluate(async () => {
				history.pushState({}, '', '/next');
				return await new Promise((callback) => footfall('X', {callback: () => callback(1)}));
			});
			await p.goto(args.url + '/ignored2');
			await c.close();
			done.push({key, answers});
		}
		await sleep(400);
		const none = await (await fetch(args.url + '/_hits')).json();
		if (none.length) throw new Error('sent in spite of the flag: ' + none);
		// The flag acts at once and in both directions.
		await page.goto(args.url + '/counted');
		await hits(1);
		await page.evaluate(() => { localStorage.footfall_ignore = 'true'; footfall('No'); localStorage.footfall_ignore = 'false'; footfall('Yes'); });
		await hits(2);
		await leave(3);
		return done;`, &got)
	hits := s.all(t, 3)
	equal(t, "hits", s.lines(), []string{"pageview /counted", "Yes /counted", "engagement /counted"})
	s.wellFormed(t, hits)
	if len(got) != 4 {
		t.Errorf("%d flags tried, want 4", len(got))
	}
	for _, g := range got {
		if g.Answers != 1 {
			t.Errorf("%s: the callback was not called", g.Key)
		}
	}
}

func testInjection(t *testing.T, b *browsertest.Browser) {
	for name, c := range map[string]struct{ head, js string }{
		"module":      {`<script type="module" src="/ff.js" data-domain="m.example"></script>`, ""},
		"async":       {`<script async src="/ff.js" data-domain="m.example"></script>`, ""},
		"element":     {"", `const s = document.createElement('script'); s.src = '/ff.js'; s.dataset.domain = 'm.example'; document.head.append(s);`},
		"plausible's": {`<script defer data-domain="m.example" src="/ff.js?v=2"></script>`, ""},
		"import":      {`<link rel="icon" href="/favicon.ico">`, `import('/ff.js');`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.head = c.head
			if c.js != "" {
				s.file["/inject.js"] = c.js
				s.head += `<script defer src="/inject.js"></script>`
			}
			s.run(t, b, `await page.goto(args.url + '/i'); await hits(1); await sleep(200); await leave(2);`, nil)
			hits := s.all(t, 2)
			s.wellFormed(t, hits)
			want := []string{"pageview /i d=m.example", "engagement /i d=m.example"}
			if name == "import" { // there is no element to ask
				want = []string{"pageview /i", "engagement /i"}
			}
			equal(t, "hits", s.lines(), want)
		})
	}
}
