package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/collector/privacy"
)

// TestChoicesOfTheVisitor: a page of the site calls footfall.consent and footfall.optout, and the
// whole program does as they say. Footfall is on a host of its own beside the site's.
func TestChoicesOfTheVisitor(t *testing.T) {
	b := browsertest.Start(t)
	p := start(t, t.TempDir(), "--config", writeConfig(t, "sites: [{domain: shop.test, cookie: consented}]\n"))
	portOf := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	stats := "http://stats.shop.test:" + portOf(p.public[len("http://"):])
	site := website(t, stats, beacon.ScriptTag(stats, "shop.test"), "")

	type cookie struct {
		Value, Domain, SameSite string
		Expires                 float64
		HTTPOnly                bool `json:"httpOnly"`
	}
	var got struct {
		Given, Later, Again *cookie
		Left, Script        string
		Out                 *cookie
		Dropped             []string
	}
	b.Run(t, browsertest.Script{
		JS: `const answer = (path) => page.waitForResponse(r => r.url().endsWith(path) && r.request().method() === 'POST');
			const cookie = async (name) => (await context.cookies()).find(c => c.name === name);
			const load = async () => { const hit = answer('/api/event'); await page.goto(args.site + '/'); return (await (await hit).allHeaders())['x-footfall-dropped'] || 'counted' };
			const choose = async (fn, on) => { const a = answer('/' + fn); await page.evaluate(([fn, on]) => { footfall[fn](on) }, [fn, on]); const r = await a; if (r.status() >= 400) throw new Error(fn + ' ' + on + ': ' + r.status()) };
			const out = {dropped: []};
			await load();                                  // by the day's id
			await choose('consent', true);
			out.given = await until(() => cookie(args.id));
			await load();                                  // by the cookie's, twice
			out.later = await cookie(args.id);
			await sleep(1100);                             // cookies have seconds
			await choose('consent', true);
			await load();
			out.again = await cookie(args.id);
			out.script = await page.evaluate(() => document.cookie);
			await choose('consent', false);
			await until(async () => !await cookie(args.id));
			await load();                                  // by the day's again
			await choose('optout', true);
			out.out = await until(() => cookie(args.out));
			await page.evaluate(() => localStorage.clear()); // the server's part alone
			out.dropped.push(await load());
			await choose('optout', false);
			await until(async () => !await cookie(args.out));
			out.dropped.push(await load());
			out.left = (await context.cookies()).map(c => c.name).join();
			return out;`,
		Args: map[string]any{
			"site": "http://shop.test:" + portOf(site.Listener.Addr().String()),
			"id":   privacy.ConsentName, "out": privacy.OptOutName,
		},
		Timeout: time.Minute,
	}, &got)

	if c := got.Given; c == nil || !c.HTTPOnly || c.SameSite == "None" || c.Expires <= 0 || c.Expires > float64(time.Now().AddDate(0, 0, 395).Unix()) {
		t.Fatalf("the cookie of a consent is %+v; want one for at most 395 days, out of scripts' reach", c)
	}
	for _, c := range []*cookie{got.Later, got.Again} {
		if c == nil || *c != *got.Given {
			t.Errorf("the cookie became %+v, from %+v", c, got.Given)
		}
	}
	if got.Script != "" || got.Left != "" {
		t.Errorf("scripts see the cookies %q; at the end there are %q", got.Script, got.Left)
	}
	if fmt.Sprint(got.Dropped) != "[optout counted]" {
		t.Errorf("with the opt-out's cookie, and without: %v", got.Dropped)
	}
	// Five page views were counted, three by the day's id and two by the cookie's.
	eventually(t, "the page views and visitors", func() (string, bool) {
		m, err := p.tryQuery(`{"site_id":"shop.test","metrics":["pageviews","visitors"],` + today + `}`)
		return fmt.Sprint(m[""], err), err == nil && len(m[""]) == 2 && m[""][0] == 5 && m[""][1] == 2
	})
	eventually(t, "the books", func() (string, bool) {
		r, _ := p.ledger()
		var dropped uint64
		for _, l := range r.Lines {
			dropped += l.Dropped["optout"]
		}
		return fmt.Sprintf("%+v", r), r.Balances && dropped >= 1
	})
}
