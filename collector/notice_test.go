package collector

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/policy"
)

func noticeFacts(site string) policy.Facts {
	return policy.Facts{
		Controller: policy.Controller{Name: "Example e.V.", Address: "Musterweg 1, 10115 Berlin", Email: "privacy@shop.test", Phone: "+49 30 0000000"},
		URL:        "https://stats.shop.test", Site: site,
		Means: []policy.Means{policy.Script, policy.Pixel, policy.Email}, Columns: policy.ColumnNames("events"),
		Timezone: "Europe/Berlin", Window: "day", KeyDelay: 120, Address: "truncate", Bits4: 24, Bits6: 48, DNT: "unlinked",
		Cookie: "none", OptOutName: "footfall_optout", OptOutDays: 400, Place: "country", PII: "mask", Retention: "400d", Disposal: true,
	}
}

// notices has three versions of the notice of shop.test, and one of example.org.
func notices(t testing.TB) *policy.Notices {
	t.Helper()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	n, err := policy.OpenNotices(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	shop, org := noticeFacts("shop.test"), noticeFacts("example.org")
	shop.DNT, shop.Retention = "ignore", "25mo"
	for _, change := range []func(){
		func() {},
		func() { shop.DNT = "unlinked"; now = time.Date(2026, 6, 14, 9, 0, 0, 0, time.UTC) },
		func() { shop.Retention = "400d"; now = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC) },
	} {
		change()
		if err := n.Update([]policy.Facts{shop, org}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func withNotice(n *policy.Notices, pages *privacy.NoticePages) func(*Options) {
	return func(o *Options) {
		o.Sites = append(o.Sites, Site{Domain: "shop.test"})
		o.Notices, o.Notice = n, pages
	}
}

// The notice is the one of ?site=, else of the host or a parent of it, else there is one for each site.
func TestNoticeAddressed(t *testing.T) {
	r := newRig(t, withNotice(notices(t), nil))
	for _, c := range []struct {
		path, host string
		status     int
		want       string
		not        string
	}{
		{"/privacy?site=shop.test", "127.0.0.1", 200, "Version 3, in force since 1 November 2026.", "The whole notice"},
		{"/privacy", "shop.test", 200, "Version 3, in force", "The whole notice"},
		{"/privacy", "stats.www.shop.test:8080", 200, "Version 3, in force", "The whole notice"},
		{"/privacy", "elsewhere.test", 200, "The whole notice of example.org", "Every column"},
		{"/privacy?site=nobody.test", "shop.test", 404, "no such site", "shop.test"},
		{"/privacy/history?site=shop.test", "127.0.0.1", 200, "In force from 14 June 2026 to 1 November 2026", "example.org"},
		{"/privacy/history", "elsewhere.test", 200, "Version 1 of example.org", "Every column"},
		{"/privacy/history?site=nobody.test", "shop.test", 404, "no such site", "shop.test"},
	} {
		a := r.do(t, "GET", c.path, "", "Host: "+c.host, "Accept: text/html")
		if a.StatusCode != c.status || !strings.Contains(a.body, c.want) || strings.Contains(a.body, c.not) {
			t.Errorf("%s at %s: %d\n%s", c.path, c.host, a.StatusCode, a.body)
		}
		if strings.Contains(a.body, "<script") || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s has a script or sets a cookie", c.path)
		}
	}
	a := r.do(t, "GET", "/privacy?site=shop.test", "", "Accept: application/json")
	var doc struct {
		Notices []struct {
			Version uint32
			Facts   policy.Facts
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Notices) != 1 || doc.Notices[0].Version != 3 || doc.Notices[0].Facts.Retention != "400d" {
		t.Errorf("%v in %s", err, a.body)
	}
	if a := r.do(t, "POST", "/privacy", ""); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.StatusCode)
	}
	r = newRig(t)
	if a := r.do(t, "GET", "/privacy", ""); a.StatusCode != 404 {
		t.Errorf("without notices: %d", a.StatusCode)
	}
}

// An organisation may use its own words, and leave no fact out: one that it does is found at the start,
// and never reaches a visitor.
func TestNoticeTemplate(t *testing.T) {
	n := notices(t)
	current, _ := n.Current("shop.test")
	dir := t.TempDir()
	write := func(text string) *privacy.NoticePages {
		if err := os.WriteFile(filepath.Join(dir, privacy.NoticeTemplate), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := privacy.NewNoticePages(dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const own = `{{template "top" .}}<h1>Unsere Worte</h1>{{with .Notice}}<p>{{.Version}}, {{.Date}}</p>
{{template "settings" .}}{{range .Sections}}{{with .Folded}}{{template "rows" .}}{{end}}{{end}}
<address>{{with .Facts.Controller}}{{.Name}} {{.Address}} {{.Email}} {{.Phone}}{{end}}</address>{{end}}{{template "bottom" .}}`
	good := write(own)
	if err := good.Check(policy.NewDocument(current)); err != nil {
		t.Error(err)
	}
	r := newRig(t, withNotice(n, good))
	if a := r.do(t, "GET", "/privacy?site=shop.test", ""); !strings.Contains(a.body, "Unsere Worte") || !strings.Contains(a.body, "400 days") {
		t.Errorf("the organisation's words are not used:\n%s", a.body)
	}
	for name, c := range map[string][2]string{
		"a setting":            {strings.Replace(own, `{{template "settings" .}}`, "", 1), "400 days, then deleted by the program"},
		"the columns":          {strings.Replace(own, `{{template "rows" .}}`, "", 1), "The campaign's name, from the link"},
		"who is responsible":   {strings.Replace(own, `{{.Email}}`, "", 1), "privacy@shop.test"},
		"a setting, commented": {strings.Replace(own, `{{template "settings" .}}`, `<style>{{template "settings" .}}</style>`, 1), "400 days, then"},
	} {
		bad := write(c[0])
		err := bad.Check(policy.NewDocument(current))
		if err == nil || !strings.Contains(err.Error(), c[1]) || !strings.Contains(err.Error(), "shop.test") {
			t.Errorf("%s: %v", name, err)
		}
		r := newRig(t, withNotice(n, bad))
		if a := r.do(t, "GET", "/privacy?site=shop.test", ""); strings.Contains(a.body, "Unsere Worte") || !strings.Contains(a.body, "In short") {
			t.Errorf("%s is left out:\n%s", name, a.body)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, privacy.NoticeTemplate), []byte("{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := privacy.NewNoticePages(dir); err == nil {
		t.Error("a template with a mistake")
	}
}

// TestNoticeInABrowser: every page of the notice, on a desk and a phone, in light and dark, by keyboard.
func TestNoticeInABrowser(t *testing.T) {
	b := browsertest.Start(t)
	r := newRig(t, withNotice(notices(t), nil))
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		t.Fatal(err)
	}
	b.Run(t, browsertest.Script{
		Timeout: 2 * time.Minute, Args: map[string]any{"site": "http://stats.shop.test:" + port, "all": "http://elsewhere.test:" + port},
		JS: `
		const check = (ok, what) => { if (!ok) throw new Error(what); };
		const pretty = async (name) => {
			for (const colorScheme of ['light', 'dark']) {
				await page.emulateMedia({colorScheme});
				const found = await axe(page, {});
				check(!found.length, name + ', ' + colorScheme + ': ' + JSON.stringify(found));
			}
			await page.emulateMedia({colorScheme: null});
			for (const width of [320, 820, 1280]) {
				await page.setViewportSize({width, height: 900});
				const wide = await page.evaluate(() => document.documentElement.scrollWidth);
				check(wide <= width, name + ' is ' + wide + ' wide in ' + width);
				const over = await page.evaluate(() => [...document.querySelectorAll('td, thead th')]
					.filter(c => c.clientWidth > 1 && c.scrollWidth > c.clientWidth + 1).map(c => c.textContent));
				check(!over.length, name + ' has cells that run over in ' + width + ': ' + over);
			}
			await shots(page, name, {widths: [820, 320], fullPage: true});
		};
		await page.goto(args.site + '/privacy');
		check((await page.title()) == 'How we count visits · shop.test', await page.title());
		await pretty('notice');
		for (const s of await page.locator('summary').all()) {
			await s.focus(); await page.keyboard.press('Enter');
		}
		check(await page.getByText('The name of an advertiser\'s click parameter, never its value').isVisible(), 'the columns do not open');
		await pretty('notice-open');
		await page.getByText('What changed since version 2').click();
		check(page.url().endsWith('/privacy/history#v3'), page.url());
		const v3 = await page.locator('#v3').innerText();
		check(/25 months/.test(v3) && /400 days/.test(v3), v3);
		await pretty('notice-history');
		await page.goto(args.site + '/privacy');
		await page.getByRole('link', {name: 'Do not count me'}).click();
		check(page.url() == args.site + '/optout', page.url());
		await page.goto(args.all + '/privacy');
		await pretty('notice-all');
		await page.getByText('The whole notice of shop.test').click();
		check(page.url().endsWith('/privacy?site=shop.test'), page.url());
		`,
	}, nil)
}
