package dashboard

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/store"
)

// serve is a bench's dashboard on loopback.
func serve(t *testing.T, b *bench) string {
	t.Helper()
	srv := httptest.NewServer(b.h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// as is a browser's profile signed in as ada, with more of Playwright's options.
func as(options ...any) map[string]any {
	m := map[string]any{"extraHTTPHeaders": map[string]string{"User": "ada"}, "locale": "en-GB", "viewport": map[string]int{"width": 1280, "height": 900}}
	for i := 0; i < len(options); i += 2 {
		m[options[i].(string)] = options[i+1]
	}
	return m
}

func width(w int) map[string]int { return map[string]int{"width": w, "height": 800} }

// violation is what axe finds.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ Target, HTML, Why string }
}

// TestBrowser looks at the pages with a real browser.
func TestBrowser(t *testing.T) {
	chromium := browsertest.Start(t)
	b := newBench(t, func(o *Options) {
		o.Foot, o.PixelTag, o.Ledger = foot, o.ScriptTag, &fake.Books{Now: clock}
	})
	url := serve(t, b)
	empty := newBench(t)
	empty.store.Empty = true
	emptyURL := serve(t, empty)
	quiet := newBench(t)
	quiet.store.Quiet, quiet.store.Email = true, []store.EmailRow{}
	quietURL := serve(t, quiet)
	broken := newBench(t)
	broken.store.Err = down
	brokenURL := serve(t, broken)
	off := newBench(t, func(o *Options) { o.Ledger = &fake.Books{Now: clock, Off: true} })
	offURL := serve(t, off)

	pages := map[string]string{
		"dashboard":          url + "/example.org",
		"dashboard-filtered": url + "/example.org?f=is_not,visit:entry_page,/jobs&f=is,event:name,Newsletter:%20sign%20up&metric=visit_duration&pages=entry",
		"dashboard-today":    url + "/example.org?period=day&compare=off",
		"dashboard-quiet":    quietURL + "/example.org",
		"details":            url + "/example.org/details?by=visit:referrer",
		"ledger":             url + "/example.org/ledger?period=7d",
		"ledger-off":         offURL + "/example.org/ledger?period=7d",
		"sites":              url + "/",
		"waiting":            emptyURL + "/example.org",
		"out-of-reach":       brokenURL + "/example.org",
		"login":              url + "/login",
	}
	for name, page := range pages {
		t.Run("sound/"+name, func(t *testing.T) {
			var got map[string]struct {
				Violations []violation
				Sideways   int
			}
			chromium.Run(t, browsertest.Script{Context: as(), Args: map[string]any{"url": page, "name": name},
				Timeout: 2 * time.Minute, // axe measures every text, on a machine that may be busy
				Allow:   []string{"503"}, JS: `
				const out = {};
				for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 320]]) {
					await page.emulateMedia({colorScheme});
					await page.setViewportSize({width, height: 844});
					if (page.url() === 'about:blank') await page.goto(args.url);
					// Few rows stand for many: axe measures each cell.
					if (args.name === 'dashboard-today') await page.evaluate(() => { document.getElementById('astable').open = true; });
					out[colorScheme + ' ' + width] = {
						violations: await axe(page),
						sideways: await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
					};
				}
				await shots(page, 'dashboard/' + args.name);
				return out;`}, &got)
			if len(got) != 3 {
				t.Fatalf("%d looks", len(got))
			}
			for look, g := range got {
				for _, v := range g.Violations {
					t.Errorf("%s: %s (%s): %+v", look, v.ID, v.Help, v.Nodes)
				}
				if g.Sideways > 0 {
					t.Errorf("%s: scrolls sideways by %d px", look, g.Sideways)
				}
			}
		})
	}

	t.Run("texts fit", func(t *testing.T) {
		fresh := newBench(t)
		fresh.store.NoBefore = true
		fresh.store.Email = []store.EmailRow{{Campaign: "November newsletter", Message: "week 47", Opens: 92, Openers: 92}, {Campaign: "November newsletter", Message: "week 46", Opens: 90, Openers: 89}}
		chromium.Run(t, browsertest.Script{Context: as(), Args: serve(t, fresh), JS: `
			for (const width of [1280, 700, 320]) {
				await page.setViewportSize({width, height: 900});
				await page.goto(args + '/');
				const out = await page.evaluate(() => [...document.querySelectorAll('.sites dd .c')].filter((c) => {
					const room = c.closest('dl').getBoundingClientRect().right, range = document.createRange();
					range.selectNodeContents(c.firstElementChild);
					return range.getBoundingClientRect().right > room + 1;
				}).length);
				if (out) throw new Error(out + ' changes leave their card at ' + width);
				await page.goto(args + '/example.org');
				const cut = await page.evaluate(() => [...document.querySelectorAll('#panel-email .sub')].filter((m) => {
					const cell = m.closest('.lab').getBoundingClientRect(), range = document.createRange();
					range.selectNodeContents(m);
					const text = range.getBoundingClientRect();
					return text.right > cell.right + 1 || text.bottom > m.closest('tr').getBoundingClientRect().bottom + 1;
				}).length);
				if (cut) throw new Error(cut + ' messages are cut off at ' + width);
			}`}, nil)
	})

	t.Run("the books are whole on a phone", func(t *testing.T) {
		chromium.Run(t, browsertest.Script{Context: as(), Args: offURL + "/example.org/ledger?period=7d", JS: `
			await page.goto(args);
			for (const width of [320, 390, 560]) {
				await page.setViewportSize({width, height: 800});
				const lost = await page.evaluate(() => {
					const box = document.querySelector('#books .scroll');
					const edge = box.getBoundingClientRect();
					return (box.scrollWidth > box.clientWidth ? 1 : 0) + [...box.querySelectorAll('tbody th, tbody td')].filter(c => {
						const r = c.getBoundingClientRect();
						const label = c.matches('td') ? getComputedStyle(c, '::before').content : '"';
						return r.left < edge.left || r.right > edge.right || r.height < 10 || c.scrollWidth > c.clientWidth || !label.includes('"');
					}).length;
				});
				if (lost) throw new Error(lost + ' cells are not to be read at ' + width);
				const tree = await page.locator('#books table').ariaSnapshot();
				if (!tree.includes('columnheader "Not counted"') || !tree.includes('rowheader "Tue 24 Nov"')) throw new Error('no table any more: ' + tree);
			}`}, nil)
	})

	t.Run("menus are sound", func(t *testing.T) {
		var got map[string][]violation
		chromium.Run(t, browsertest.Script{Context: as(), Args: url + "/example.org?f=is,event:name,Signup", JS: `
			await page.goto(args);
			const out = {};
			for (const id of ['menu-site', 'menu-filter', 'menu-period', 'menu-compare']) for (const width of [1280, 320]) {
				const sound = width === 320 || id === 'menu-period';
				await page.setViewportSize({width, height: 900});
				await page.click('#' + id + ' summary');
				if (id === 'menu-filter') {
					await page.selectOption('select[name=add]', 'visit:country');
					await page.focus('input[name=value]');
					await until(() => page.evaluate(() => document.querySelector('#values option[value=Germany]')));
					await page.selectOption('select[name=add]', 'event:props');
					if (!await page.isVisible('input[name=key]')) throw new Error('a property cannot be named');
				}
				if (sound) out[id + width] = await axe(page, {include: '#top'});
				const box = await page.locator('#' + id + ' .pop').boundingBox();
				if (box.x < 0 || box.x + box.width > width) throw new Error(id + ' leaves the window at ' + width + ': ' + JSON.stringify(box));
				await page.keyboard.press('Escape');
				if (await page.evaluate(id => document.activeElement !== document.querySelector('#' + id + ' summary'), id)) throw new Error('focus is lost after ' + id);
			}
			return out;`}, &got)
		for menu, vs := range got {
			if len(vs) > 0 {
				t.Errorf("%s: %+v", menu, vs)
			}
		}
	})

	t.Run("in place", func(t *testing.T) {
		var got struct {
			Metric, Filter, Back, Forward, Removed, Tab, Range string
			Scroll, ScrollAfter                                int
			Loads                                              int
			Chips                                              []int
			Canvas, Focus                                      bool
			Title                                              string
		}
		chromium.Run(t, browsertest.Script{Context: as(), Args: url + "/example.org", JS: `
			let loads = 0;
			page.on('load', () => loads++);
			const view = () => page.evaluate(() => location.search);
			const calm = async () => { await until(() => page.evaluate(() => !document.querySelector('#view.busy'))); };
			await page.goto(args);
			const out = {chips: []};
			out.canvas = await page.evaluate(() => !!document.querySelector('#chart canvas'));
			await page.click('#fig-bounce_rate'); await calm();
			out.metric = await view();
			out.focus = await page.evaluate(() => document.activeElement.id === 'fig-bounce_rate');
			await page.click('#tab-cities');
			out.tab = await view();
			if (await page.isVisible('#rows-countries') || !await page.isVisible('#rows-cities')) throw new Error('the tab does not show');
			await page.evaluate(() => scrollTo(0, 500));
			out.scroll = await page.evaluate(() => scrollY);
			await page.click('#panel-events >> text=File Download'); await calm();
			out.scrollAfter = await page.evaluate(() => scrollY);
			out.filter = await view();
			out.chips.push(await page.locator('.chips li').count());
			if (!await page.isVisible('#rows-cities')) throw new Error('the tab is forgotten');
			await page.goBack(); await calm();
			out.back = await view();
			out.chips.push(await page.locator('.chips li').count());
			await page.goForward(); await calm();
			out.forward = await view();
			out.chips.push(await page.locator('.chips li').count());
			await page.click('.chips a'); await calm();
			out.removed = await view();
			out.chips.push(await page.locator('.chips li').count());
			await page.click('#menu-period summary');
			await page.fill('input[name=from]', '2026-11-02');
			await page.fill('input[name=to]', '2026-11-08');
			await page.click('text=Show these dates'); await calm();
			out.range = await view();
			out.title = await page.textContent('#menu-period summary');
			out.loads = loads;
			return out;`}, &got)
		for _, c := range []struct{ what, got, want string }{
			{"the metric", got.Metric, "?metric=bounce_rate"}, {"the tab", got.Tab, "?metric=bounce_rate&places=cities"},
			{"the filter", got.Filter, "?metric=bounce_rate&f=is,event:name,File%20Download&places=cities"},
			{"back", got.Back, "?metric=bounce_rate&places=cities"}, {"forward", got.Forward, got.Filter},
			{"without the filter", got.Removed, "?metric=bounce_rate&places=cities"},
			{"the range", got.Range, "?period=custom&from=2026-11-02&to=2026-11-08&metric=bounce_rate&places=cities"},
			{"the range's name", strings.TrimSpace(got.Title), "Period: 2 Nov – 8 Nov 2026"},
		} {
			if !sameQuery(c.got, c.want) {
				t.Errorf("%s: the address holds %s, want %s", c.what, c.got, c.want)
			}
		}
		if got.Loads != 1 || got.Scroll != got.ScrollAfter || got.Scroll == 0 || !got.Canvas || !got.Focus {
			t.Errorf("%+v", got)
		}
		if len(got.Chips) != 4 || got.Chips[0] != 1 || got.Chips[1] != 0 || got.Chips[2] != 1 || got.Chips[3] != 0 {
			t.Errorf("chips %v", got.Chips)
		}
	})

	t.Run("graph", func(t *testing.T) {
		var got struct {
			Hover, Key, Last string
			Zoom, Enter      string
			Shift            float64
			Same             bool
		}
		chromium.Run(t, browsertest.Script{Context: as(), Args: url + "/example.org", JS: `
			await page.addInitScript(() => {
				window.shift = 0;
				new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value; }).observe({type: 'layout-shift', buffered: true});
			});
			await page.goto(args);
			const out = {};
			const box = await page.locator('#chart .u-over').boundingBox();
			const plot = await page.evaluate(() => {
				const [top, bottom] = [...document.querySelectorAll('#chart .grid')].map(l => l.getBoundingClientRect()).filter((_, i, a) => i === 0 || i === a.length - 1).sort((a, b) => a.y - b.y);
				return {x: top.x, width: top.width, y: top.y, height: bottom.y - top.y};
			});
			await sleep(600);
			out.shift = await page.evaluate(() => window.shift);
			out.same = Math.abs(box.x - plot.x) < 1 && Math.abs(box.y - plot.y) < 1 && Math.abs(box.width - plot.width) < 1 && Math.abs(box.height - plot.height) < 1;
			if (!out.same) console.log(JSON.stringify([box, plot]));
			await page.mouse.move(box.x + box.width / 2, box.y + 80);
			out.hover = await page.textContent('.tip');
			await page.screenshot({path: await shot(page, 'dashboard/hover')});
			await page.mouse.move(5, 5);
			await page.focus('#chart');
			await page.keyboard.press('Home'); await page.keyboard.press('ArrowRight');
			out.key = await page.textContent('.tip');
			await page.keyboard.press('End');
			out.last = await page.textContent('.tip');
			await page.mouse.move(box.x + box.width * .1, box.y + 50);
			await page.mouse.down();
			await page.mouse.move(box.x + box.width * .3, box.y + 60, {steps: 4});
			await page.mouse.up();
			await until(() => page.evaluate(() => location.search.includes('from=')));
			out.zoom = await page.evaluate(() => location.search);
			await until(() => page.evaluate(() => !document.querySelector('#view.busy')));
			await page.focus('#chart');
			await page.keyboard.press('Home'); await page.keyboard.press('Enter');
			await until(() => page.evaluate(() => location.search.includes('from=2026-10-29&to=2026-10-29')));
			return out;`}, &got)
		wants(t, got.Hover, "Nov 2026", "visitors", "before")
		wants(t, got.Key, "27 Oct")
		wants(t, got.Last, "24 Nov", "still running")
		if !sameQuery(got.Zoom, "?period=custom&from=2026-10-29&to=2026-11-04") {
			t.Errorf("dragging shows %s", got.Zoom)
		}
		if got.Shift > 0 || !got.Same {
			t.Errorf("the layout shifts by %v; same box: %v", got.Shift, got.Same)
		}
	})

	t.Run("keyboard", func(t *testing.T) {
		var got struct {
			Order []string
			Tab   string
		}
		chromium.Run(t, browsertest.Script{Context: as(), Args: url + "/example.org", JS: `
			await page.goto(args);
			const out = {order: []};
			for (let i = 0; i < 18; i++) {
				await page.keyboard.press('Tab');
				out.order.push(await page.evaluate(() => {
					const e = document.activeElement, s = getComputedStyle(e), b = getComputedStyle(e, '::before');
					if (s.outlineStyle === 'none' && b.outlineStyle === 'none') throw new Error('focus is not seen on ' + e.outerHTML.slice(0, 90));
					return e.textContent.trim().split('\n')[0].slice(0, 30);
				}));
			}
			await page.focus('#tab-channels');
			await page.keyboard.press('ArrowRight');
			out.tab = await page.evaluate(() => document.activeElement.id + ' ' + location.search);
			return out;`}, &got)
		want := []string{"Skip to the figures", "Footfall", "Site: example.org", "+ Filter", "Period: Last 30 days", "Comparison: vs previous",
			"Visitors", "Visits", "Page views", "Views per visit", "Bounce rate", "Visit duration", "Day", "Week"}
		if strings.Join(got.Order[:len(want)], "|") != strings.Join(want, "|") {
			t.Errorf("the order is %q", got.Order)
		}
		if got.Tab != "tab-sources ?sources=sources" {
			t.Errorf("an arrow leads to %s", got.Tab)
		}
	})

	t.Run("touch", func(t *testing.T) {
		var small []string
		chromium.Run(t, browsertest.Script{Context: as("hasTouch", true, "isMobile", true, "viewport", width(390)), Args: url + "/example.org?f=is,visit:country,DE", JS: `
			await page.goto(args);
			await page.click('#menu-period summary');
			return page.evaluate(() => [...document.querySelectorAll('a, button, summary, input:not([type=hidden]), select')].filter(e => {
				const r = e.getBoundingClientRect();
				if (!r.width || e.matches('.skip') || e.closest('.line')) return false;
				return Math.max(r.height, e.closest('tbody tr')?.getBoundingClientRect().height ?? 0) < 43.5;
			}).map(e => e.outerHTML.slice(0, 100) + ' ' + e.getBoundingClientRect().height));`}, &small)
		for _, s := range small {
			t.Errorf("too low for a finger: %s", s)
		}
	})

	t.Run("without script", func(t *testing.T) {
		var got struct {
			Svg, Table, Chip, Cities bool
			Search                   string
		}
		chromium.Run(t, browsertest.Script{Context: as("javaScriptEnabled", false), Args: url + "/example.org", JS: `
			await page.goto(args);
			const out = {};
			out.svg = await page.isVisible('#chart .plot path.now');
			await page.click('#astable summary');
			out.table = await page.isVisible('#astable tbody td');
			await page.click('#tab-cities');
			await page.waitForURL(/places=cities/);
			out.cities = await page.isVisible('#rows-cities') && !await page.isVisible('#rows-countries');
			await page.click('#menu-filter summary');
			await page.selectOption('select[name=add]', 'visit:country');
			await page.fill('input[name=value]', 'Germany');
			await page.click('text=Add filter');
			await page.waitForURL(/f=is/);
			out.chip = await page.isVisible('.chips >> text=Germany');
			out.search = new URL(page.url()).search;
			await shot(page, 'dashboard/without-script');
			return out;`}, &got)
		if !got.Svg || !got.Table || !got.Chip || !got.Cities || !sameQuery(got.Search, "?f=is,visit:country,DE&places=cities") {
			t.Errorf("%+v", got)
		}
	})

	t.Run("another language", func(t *testing.T) {
		var got struct{ Country, Number, Axis string }
		chromium.Run(t, browsertest.Script{Context: as("locale", "de-DE"), Args: url + "/example.org", JS: `
			await page.goto(args + '?period=day');
			if (!/24\. Nov.*00:00/.test(await page.textContent('#astable time'))) throw new Error('the hour is lost');
			await page.goto(args);
			await shot(page, 'dashboard/german');
			await page.click('#astable summary');
			return {country: await page.textContent('#rows-countries tbody a'), number: await page.textContent('#fig-visitors .n'), axis: await page.textContent('#astable time')};`}, &got)
		if got.Country != "Deutschland" || !strings.Contains(got.Number, ".") || !strings.Contains(got.Axis, "Okt") {
			t.Errorf("%+v", got)
		}
	})

	t.Run("paper", func(t *testing.T) {
		var pages int
		chromium.Run(t, browsertest.Script{Context: as("colorScheme", "dark"), Args: url + "/example.org?f=is,visit:country,DE", JS: `
			await page.goto(args);
			const pdf = await page.pdf({format: 'A4', printBackground: true});
			await page.emulateMedia({media: 'print'});
			await page.setViewportSize({width: 710, height: 1040});
			await shot(page, 'dashboard/paper');
			return pdf.toString('latin1').match(/\/Type\s*\/Page\b(?!s)/g).length;`}, &pages)
		if pages != 1 {
			t.Errorf("prints on %d pages", pages)
		}
	})

	t.Run("the first visit arrives", func(t *testing.T) {
		first := newBench(t)
		first.store.Empty, first.store.Here = true, 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/live") { // asked again and again while waiting
				first.store.Empty, first.store.Here = false, 1
			}
			first.h.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		var got bool
		chromium.Run(t, browsertest.Script{Context: as(), Args: srv.URL + "/example.org", JS: `
			await page.goto(args);
			if (!await page.isVisible('#waiting')) throw new Error('does not wait');
			await page.waitForSelector('#fig-visitors', {timeout: 30000});
			return true;`}, &got)
	})
}

// sameQuery compares addresses' queries whatever their order.
func sameQuery(a, b string) bool {
	split := func(s string) map[string]bool {
		m := map[string]bool{}
		for p := range strings.SplitSeq(strings.TrimPrefix(s, "?"), "&") {
			m[p] = true
		}
		return m
	}
	x, y := split(a), split(b)
	for k := range x {
		if !y[k] {
			return false
		}
	}
	return len(x) == len(y)
}
