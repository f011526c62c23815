package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

// archive answers from what the spool of a rig was given, as a store does once it has it.
type archive struct {
	t     testing.TB
	spool *memory

	mu    sync.Mutex
	later bool  // orders to erase wait
	err   error // the store is down
}

func (a *archive) set(later bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.later, a.err = later, err
}

func covered(of []event.Subject, e *event.Event) bool {
	return slices.ContainsFunc(of, func(s event.Subject) bool {
		return e.Site == s.Site && e.VisitorID == s.Visitor && s.First <= e.Day && e.Day <= s.Last
	})
}

func (a *archive) Held(ctx context.Context, of []event.Subject, details bool) (h event.Held, err error) {
	a.mu.Lock()
	err = a.err
	a.mu.Unlock()
	if err != nil {
		return h, err
	}
	a.spool.mu.Lock()
	defer a.spool.mu.Unlock()
	rows, visits := map[event.Kind]uint64{}, map[uint64]bool{}
	for _, rec := range slices.Backward(a.spool.recs) {
		var e event.Event
		if err := e.Decode(rec); err != nil {
			a.t.Error(err)
		}
		if !covered(of, &e) {
			continue
		}
		rows[e.Kind]++
		if visits[e.Visit.ID] = e.Visit.ID != 0; details {
			h.Events = append(h.Events, e)
		}
	}
	for k, n := range rows {
		h.Counts = append(h.Counts, event.KindCount{Kind: k, Rows: n})
	}
	h.Visits = uint64(len(visits))
	return h, ctx.Err()
}

func (a *archive) Erase(ctx context.Context, of []event.Subject) (event.Erasure, error) {
	a.mu.Lock()
	later, err := a.later, a.err
	a.mu.Unlock()
	e := event.Erasure{ID: 1, At: noon, Done: !later}
	if err != nil || later {
		return e, err
	}
	a.spool.mu.Lock()
	defer a.spool.mu.Unlock()
	a.spool.recs = slices.DeleteFunc(a.spool.recs, func(rec string) bool {
		var ev event.Event
		if err := ev.Decode(rec); err != nil {
			a.t.Error(err)
		}
		if covered(of, &ev) {
			e.Rows++
			return true
		}
		return false
	})
	return e, nil
}

// papers gives receipts that say what they are about.
type papers struct{}

func (papers) Issue(act policy.Act, site string) ([]byte, error) {
	return json.MarshalIndent(map[string]any{"receipt": map[string]any{"act": act, "site": site}}, "", "  ")
}
func (papers) Keys() []byte { return []byte(`{"keys":[]}`) }

// withPages gives a rig a site with a cookie, records and receipts.
func withPages(a *archive) func(*Options) {
	return func(o *Options) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			panic(err)
		}
		o.Sites = append(o.Sites, Site{Domain: "shop.test", Location: berlin, Cookie: true}, Site{Domain: "far.test"})
		o.Records, o.Receipts = a, papers{}
		a.spool = o.Spool.(*memory)
	}
}

// TestVisitorsPages walks through every page as a visitor does, on a phone and on a desk, in light and dark, by keyboard, with
// JavaScript and without.
func TestVisitorsPages(t *testing.T) {
	b := browsertest.Start(t)
	a := &archive{t: t}
	r := newRig(t, withPages(a))
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	stats := "http://stats.shop.test:" + port
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/favicon.ico" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>%s</head><body><h1>Shop</h1>%s</body></html>`,
			beacon.ScriptTag(stats, "shop.test"), beacon.NoscriptTag(stats, "shop.test"))
	}))
	t.Cleanup(site.Close)
	_, sitePort, err := net.SplitHostPort(site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	args := map[string]any{"stats": stats, "site": "http://shop.test:" + sitePort, "far": "http://stats.far.test:" + port + "/optout?site=shop.test"}

	for _, js := range []bool{true, false} {
		t.Run(fmt.Sprintf("javascript %v", js), func(t *testing.T) {
			args["js"] = js
			b.Run(t, browsertest.Script{Context: map[string]any{"javaScriptEnabled": js}, Timeout: 2 * time.Minute, Args: args, JS: `
				const check = (ok, what) => { if (!ok) throw new Error(what); };
				const text = async () => (await page.innerText('main')).replace(/\s+/g, ' ');
				const says = async (what) => { const t = await text(); check(t.includes(what), 'the page does not say "' + what + '": ' + t); };
				const pretty = async (name) => {
					if (args.js) {
						const found = await axe(page, {});
						check(!found.length, name + ': ' + JSON.stringify(found));
						for (const width of [320, 1280]) {
							await page.setViewportSize({width, height: 900});
							const wide = await page.evaluate(() => document.documentElement.scrollWidth);
							check(wide <= width, name + ' is ' + wide + ' wide in ' + width);
						}
						await page.emulateMedia({colorScheme: 'dark'});
						const dark = await axe(page, {});
						check(!dark.length, name + ', dark: ' + JSON.stringify(dark));
						await page.emulateMedia({colorScheme: null});
						await shots(page, 'visitor-' + name, {widths: [320]});
					}
				};
				const visit = async () => {
					const hit = page.waitForResponse(r => /\/(api\/event|ff\.gif)/.test(r.url()) && r.request().method() != 'OPTIONS');
					await page.goto(args.site + '/catalogue');
					return (await hit).headers()['x-footfall-dropped'] || 'counted';
				};
				const button = async (name) => {
					// By keyboard: whatever has the focus is reached by Tab alone.
					await page.keyboard.press('Tab');
					for (let i = 0; i < 40; i++) {
						if (await page.locator('button:focus').filter({hasText: name}).count()) {
							await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
							return;
						}
						await page.keyboard.press('Tab');
					}
					throw new Error('no Tab reaches the button ' + name);
				};
				const download = async () => {
					const [file] = await Promise.all([page.waitForEvent('download'), page.click('a[download]')]);
					const chunks = [];
					for await (const c of await file.createReadStream()) chunks.push(c);
					return [file.suggestedFilename(), Buffer.concat(chunks).toString()];
				};
				const jar = async () => (await context.cookies()).map(c => c.name + '@' + c.domain + (c.httpOnly ? '' : ' readable') + ' ' + c.sameSite).sort().join(', ');

				check(await visit() == 'counted', 'the first visit');
				await page.goto(args.stats + '/optout');
				await says('This browser is counted.');
				await pretty('optout');
				await button('Do not count me');
				await says('Done. This browser is not counted.');
				check(await jar() == 'footfall_optout@.shop.test Lax', await jar());
				const [name, receipt] = await download();
				check(name == 'receipt-opt-out.json' && JSON.parse(receipt).receipt.site == 'shop.test', name + receipt);
				await pretty('optedout');
				check(await visit() == 'optout', 'after the opt-out');
				await page.goto(args.stats + '/optout');
				await says('This browser is not counted.');
				await button('Count me again');
				await says('This browser is counted again.');
				check(await jar() == '', await jar());
				check(await visit() == 'counted', 'after opting in');

				await page.goto(args.stats + '/privacy/me');
				await says('Page views 2');
				check(!(await page.content()).includes('/catalogue'), 'without the cookie the page shows pages');
				await pretty('me-shared');
				await page.goto(args.stats + '/optout');
				await button('I agree to the cookie');
				await says('You agreed to the cookie of shop.test');
				check(await jar() == 'footfall_id@stats.shop.test Lax', await jar());
				await pretty('agreed');
				check(await visit() == 'counted', 'with the cookie');
				await page.goto(args.stats + '/privacy/me');
				await says('/catalogue');
				if (args.js) await page.click('td details summary');
				await pretty('me');
				await button('Delete what is held');
				await says('Deleted: ');
				await says('it holds nothing any more under the numbers that lead to you');
				check(await jar() == 'footfall_id@stats.shop.test Lax', await jar());
				check((await download())[0] == 'receipt-erasure.json', 'no receipt of the erasure');
				await pretty('deleted');
				check(await visit() == 'counted', 'after the deletion');
				await page.goto(args.stats + '/privacy/me');
				await says('Page views 1');
				await page.check('input[name=withdraw]');
				await button('Delete what is held');
				await says('Your consent is withdrawn, and the cookie removed.');
				check(await jar() == '', await jar());

				await page.goto(args.far);
				await says('To your browser these are two sites');
				await says('footfall.optout(true)');
				await pretty('far');
				await page.goto(args.stats + '/optout?site=shop.test,example.org');
				await says('Other sites counted here');
				await pretty('several');
				`,
			}, nil)
		})
	}
	t.Run("the store is down", func(t *testing.T) {
		defer a.set(false, nil)
		a.set(true, nil)
		b.Run(t, browsertest.Script{Args: args, JS: `
			await page.goto(args.site + '/'); await sleep(300);
			await page.goto(args.stats + '/privacy/me');
			await page.click('button.danger');
			const said = await page.innerText('main');
			if (!said.includes('Your order is written down')) throw new Error(said);
			const found = await axe(page, {}); if (found.length) throw new Error(JSON.stringify(found));`}, nil)
		a.set(false, context.DeadlineExceeded)
		b.Run(t, browsertest.Script{Args: args, Allow: []string{"503"}, JS: `
			const answer = await page.goto(args.stats + '/privacy/me');
			const said = await page.innerText('main');
			if (answer.status() != 503 || !said.includes('cannot be asked just now')) throw new Error(said);
			const found = await axe(page, {}); if (found.length) throw new Error(JSON.stringify(found));`}, nil)
	})
	if s := r.log.String(); strings.Contains(s, "catalogue") || strings.Contains(s, "footfall_id") {
		t.Errorf("the log tells of a visitor:\n%s", s)
	}
}
