package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

// website is a site as its owner has it: a page with the script tag, a strict content
// security policy, a single-page application, a download; and the mail that it sends.
func website(t *testing.T, collector, tag, mail string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	page := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; script-src 'self' %[1]s; connect-src %[1]s; img-src 'self' %[1]s; style-src 'self'", collector))
		io.WriteString(w, `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title><link rel="stylesheet" href="/app.css">`+body)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		page(w, tag+`<script defer src="/app.js"></script></head><body><h1>Shop</h1>
			<button id="spa">Catalogue</button> <button id="buy">Buy</button>
			<a id="download" href="/files/prices.pdf" download>Prices</a>
			<a id="out" href="http://partner.test:`+r.Host[strings.LastIndex(r.Host, ":")+1:]+`/partner">Partner</a>
			<p class="long"></p></body></html>`)
	})
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, `document.getElementById('spa').onclick=()=>history.pushState({},'','/catalogue');
			document.getElementById('buy').onclick=()=>footfall('Purchase',{props:{plan:'yearly'}});`)
	})
	mux.HandleFunc("GET /app.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		io.WriteString(w, ".long { height: 3000px }")
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /files/prices.pdf", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/pdf")
		io.WriteString(w, "%PDF-1.4 prices")
	})
	mux.HandleFunc("GET /partner", func(w http.ResponseWriter, _ *http.Request) {
		page(w, "</head><body>Partner</body></html>")
	})
	mux.HandleFunc("GET /mail", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><p>Dear reader</p>"+mail)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestBrowserToDashboard: a page with the script tag is visited, navigated, clicked through
// and closed, a mail is opened, and the dashboard shows just that.
func TestBrowserToDashboard(t *testing.T) {
	b := browsertest.Start(t)
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) {
			cfg := writeConfig(t, "sites: [{domain: shop.test, timezone: Europe/Berlin}]\n")
			data := t.TempDir()
			p := start(t, data, "--config", cfg, "--store", url)
			mail, errs, status := footfall(t, "", "email", "pixel", "--site", "shop.test", "--campaign", "Autumn sale", "--message", "first", "--data", data, "--config", cfg)
			if status != 0 {
				t.Fatal(errs)
			}
			// The command beside a serve on a port of the kernel's choice knows the configured one only.
			mail = strings.ReplaceAll(mail[strings.Index(mail, "<"):], "http://localhost:8080", p.public)
			site := website(t, p.public, strings.TrimSpace(scriptTag(t, p)), mail)
			_, port, err := net.SplitHostPort(site.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			b.Run(t, browsertest.Script{
				JS: `const sent = () => page.waitForResponse(r => r.url().endsWith('/api/event') && r.request().method() === 'POST');
				let s = sent();
				await page.goto(args.site + '/?utm_source=newsletter&utm_medium=email&utm_campaign=Autumn&secret=42');
				await s;
				s = sent(); await page.click('#spa'); await s;
				s = sent(); await page.click('#buy'); await s;
				s = sent(); await page.click('#download'); await s;
				await page.evaluate(() => scrollTo(0, 2000));
				await sleep(1200);
				await page.click('#out');
				await page.waitForURL('**/partner');
				await page.close();
				const mail = await context.newPage();
				const pixel = mail.waitForResponse(r => r.url().includes('/o/'));
				await mail.goto(args.site + '/mail');
				const answer = await pixel;
				if (answer.status() !== 200) throw new Error('the pixel answered ' + answer.status());
				const cookies = await context.cookies();
				if (cookies.length) throw new Error('cookies: ' + JSON.stringify(cookies));`,
				Args:    map[string]any{"site": "http://shop.test:" + port},
				Timeout: time.Minute,
			}, nil)

			// Two page views (the second by pushState), in one visit by one visitor.
			p.wantTotal("shop.test", [3]float64{2, 1, 1})
			eventually(t, "the events", func() (string, bool) {
				got := p.query(`{"site_id":"shop.test","metrics":["events"],` + today + `,"dimensions":["event:name"]}`)
				want := map[string]float64{"pageview": 2, "Purchase": 1, "File Download": 1, "Outbound Link: Click": 1}
				ok := len(got) == len(want)
				for k, v := range want {
					ok = ok && len(got[k]) == 1 && got[k][0] == v
				}
				return fmt.Sprint(got), ok
			})
			for dim, want := range map[string]string{
				"visit:entry_page": "/", "visit:exit_page": "/catalogue", "visit:source": "newsletter", "visit:channel": "Email",
				"visit:utm_campaign": "Autumn", "visit:browser": "Chrome", "visit:device": "Desktop",
			} {
				if got := p.query(`{"site_id":"shop.test","metrics":["visits"],` + today + `,"dimensions":["` + dim + `"]}`); len(got) != 1 || got[want] == nil {
					t.Errorf("%s: %v, want %s", dim, got, want)
				}
			}
			if got := p.query(`{"site_id":"shop.test","metrics":["time_on_page","scroll_depth"],` + today + `,"dimensions":["event:page"]}`); got["/catalogue"] == nil || got["/catalogue"][0] < 1 || got["/catalogue"][1] < 30 {
				t.Errorf("engagement: %v", got)
			}
			dashboardShows(t, b, p, name)
		})
	}
}

// scriptTag is the tag that the program printed for its only site.
func scriptTag(t *testing.T, p *program) string {
	t.Helper()
	for line := range strings.Lines(p.out.String()) {
		if strings.Contains(line, "<script") {
			return line
		}
	}
	t.Fatal("no script tag was printed")
	return ""
}

// dashboardShows signs in with the one-time link and reads the dashboard, with and
// without JavaScript, and looks for accessibility violations.
func dashboardShows(t *testing.T, b *browsertest.Browser, p *program, name string) {
	t.Helper()
	var got struct {
		Path                              string
		Visitors, Visits, PageViews, Text string
		Mail                              []string
		Plain                             string
		Violations                        []any
	}
	b.Run(t, browsertest.Script{
		JS: `await page.goto(args.link);
			await page.waitForSelector('#fig-visitors .n');
			await page.goto(args.staff + '/shop.test?period=day');
			await page.waitForSelector('#fig-visitors .n');
			const text = async s => (await page.textContent(s)).trim();
			const out = {path: new URL(page.url()).pathname, visitors: await text('#fig-visitors .n'), visits: await text('#fig-visits .n'),
				pageViews: await text('#fig-pageviews .n'), text: await page.innerText('body')};
			out.mail = await page.$$eval('#panel-email tbody td', cells => cells.map(c => c.innerText.trim().replace(/\s+/g, ' ')));
			out.violations = await axe(page, {});
			await shots(page, 'footfall-' + args.name, {fullPage: true});
			const storage = await context.storageState();
			const plain = await newContext({javaScriptEnabled: false, storageState: storage});
			const noscript = await plain.newPage();
			await noscript.goto(page.url());
			out.plain = (await noscript.textContent('#fig-pageviews .n')).trim();
			return out;`,
		Args:    map[string]any{"link": p.link, "staff": p.staff, "name": name},
		Timeout: time.Minute,
	}, &got)
	if got.Path != "/shop.test" || got.Visitors != "1" || got.Visits != "1" || got.PageViews != "2" || got.Plain != "2" {
		t.Errorf("the dashboard at %s shows %s visitors, %s visits, %s page views (%s without JavaScript)", got.Path, got.Visitors, got.Visits, got.PageViews, got.Plain)
	}
	if m := strings.Join(got.Mail, "|"); m != "Autumn sale first|1|1" {
		t.Errorf("email opens: %q, want one of one reader", m)
	}
	for _, word := range []string{"Autumn sale", "Email", "/catalogue", "Purchase", "Chrome"} {
		if !strings.Contains(got.Text, word) {
			t.Errorf("the dashboard does not show %q", word)
		}
	}
	if len(got.Violations) > 0 {
		t.Errorf("accessibility: %v", got.Violations)
	}
}
