package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/collector/privacy"
)

// visitorAnswer is what a visitor's page answers a program.
type visitorAnswer struct {
	status int
	body   string
	cookie map[string]string // that it sets
}

// visitor asks one of the pages for visitors on the host stats.shop.test, as a browser of the site would.
func (p *program) visitor(method, path, form string, header ...string) visitorAnswer {
	p.t.Helper()
	req, err := http.NewRequest(method, p.public+path, strings.NewReader(form))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = "stats.shop.test"
	req.Header.Set("User-Agent", firefox)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := visitorAnswer{res.StatusCode, string(b), map[string]string{}}
	for _, c := range res.Cookies() {
		a.cookie[c.Name] = c.Value
	}
	return a
}

// heldAnswer is the part of /privacy/me that tests read.
type heldAnswer struct {
	Deleted *struct {
		Rows           uint64
		Done, Verified bool
	}
	Sites []heldSite
}

type heldSite struct {
	Site   string
	Number heldCounts
	Cookie *struct {
		heldCounts
		Rows []struct{ Page, Browser string }
	}
}

type heldCounts struct{ PageViews, Visits, Waiting uint64 }

// me asks what is held at one site, or deletes it. Where the database cannot be asked the answer is empty.
func (p *program) me(method, form string, header ...string) (h heldAnswer, s heldSite, body string) {
	p.t.Helper()
	a := p.visitor(method, privacy.PathMe, form, header...)
	if a.status == http.StatusServiceUnavailable {
		return h, s, a.body
	}
	if err := json.Unmarshal([]byte(a.body), &h); err != nil || a.status != http.StatusOK || len(h.Sites) != 1 {
		p.t.Fatalf("%s %s: %d %s (%v)", method, form, a.status, a.body, err)
	}
	return h, h.Sites[0], a.body
}

// TestVisitorDeletes: on the whole program and both stores, a visitor sees what is held, somebody behind the same network sees
// counts, what is deleted is gone from figures and books, by a look and after a crash; and the receipts can be checked.
func TestVisitorDeletes(t *testing.T) {
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), "--config", writeConfig(t, "sites: [{domain: shop.test, cookie: consented}]\n"), "--store", url)
			page := func(path string) string {
				return `{"n":"pageview","u":"https://shop.test` + path + `","d":"shop.test"}`
			}
			a := p.visitor("POST", privacy.PathConsent, "consent=1&site=shop.test")
			cookie := privacy.ConsentName + "=" + a.cookie[privacy.ConsentName]
			if a.status != 200 || cookie == privacy.ConsentName+"=" {
				t.Fatalf("%+v", a)
			}
			p.hit(page("/ward"))
			p.hit(page("/ward/7"))
			p.hit(page("/own"), "Cookie", cookie)
			p.hit(page("/own/2"), "Cookie", cookie)
			p.hit(page("/somebody-else"), "User-Agent", strings.ReplaceAll(firefox, "Linux x86_64", "Linux aarch64"))

			eventually(t, "what is held", func() (string, bool) {
				_, s, body := p.me("GET", "", "Cookie", cookie)
				ok := s.Number.PageViews == 2 && s.Number.Visits == 1 && s.Number.Waiting == 0 && s.Cookie != nil && s.Cookie.PageViews == 2 && len(s.Cookie.Rows) == 2
				return body, ok && s.Cookie.Rows[0].Page != s.Cookie.Rows[1].Page && strings.HasPrefix(s.Cookie.Rows[0].Page, "/own") && s.Cookie.Rows[0].Browser == "Firefox" &&
					!strings.Contains(body, "/ward")
			})
			// Somebody with the same browser on the same network, without the cookie.
			if _, s, body := p.me("GET", ""); s.Number.PageViews != 2 || s.Cookie != nil || strings.Contains(body, "/ward") || strings.Contains(body, "/own") {
				t.Errorf("without the cookie: %s", body)
			}
			if a := p.visitor("POST", privacy.PathMe, "action=delete", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
				t.Errorf("another site's page deletes: %+v", a)
			}

			h, s, body := p.me("POST", "action=delete", "Cookie", cookie)
			// On a busy machine the order may go on after the answer; what the answer claims is true in any case.
			if h.Deleted == nil || h.Deleted.Done && (h.Deleted.Rows != 4 || h.Deleted.Verified && (s.Number.PageViews != 0 || s.Cookie == nil || s.Cookie.PageViews != 0)) {
				t.Errorf("the answer to the deletion: %s", body)
			}
			gone := func() (string, bool) {
				_, s, body := p.me("GET", "", "Cookie", cookie)
				return body, s.Site != "" && s.Number.PageViews+s.Number.Waiting+s.Number.Visits == 0 && s.Cookie != nil && s.Cookie.PageViews+s.Cookie.Waiting == 0 && len(s.Cookie.Rows) == 0
			}
			eventually(t, "the deletion", gone)
			left := func() (string, bool) {
				got, err := p.tryQuery(`{"site_id":"shop.test","metrics":["pageviews","visits"],` + today + `,"dimensions":["event:page"]}`)
				return fmt.Sprint(got, err), err == nil && len(got) == 1 && len(got["/somebody-else"]) == 2 && got["/somebody-else"][0] == 1
			}
			eventually(t, "the figures", left)
			eventually(t, "the books", func() (string, bool) {
				r, _ := p.ledger()
				return fmt.Sprintf("%+v", r), r.Balances
			})
			if h, _, body := p.me("POST", "action=delete", "Cookie", cookie); h.Deleted != nil && h.Deleted.Rows != 0 {
				t.Errorf("deleting again: %s", body)
			}
			p.kill()
			p.run()
			eventually(t, "the deletion after a crash", gone)
			eventually(t, "the figures after a crash", left)

			// A receipt as a program takes it, checked against the published key.
			dir := t.TempDir()
			receipt, key := filepath.Join(dir, "receipt.json"), filepath.Join(dir, "key.json")
			a = p.visitor("POST", privacy.PathOptOut, "optout=1")
			if err := os.WriteFile(receipt, []byte(a.body), 0o600); err != nil || a.cookie[privacy.OptOutName] != "1" {
				t.Fatalf("%v %+v", err, a)
			}
			if err := os.WriteFile(key, []byte(p.visitor("GET", privacy.PathKeys, "").body), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, errs, status := footfall(t, "", "receipt", "verify", receipt, "--key", key); status != 0 || !strings.Contains(out, "opt-out") || !strings.Contains(out, "shop.test") {
				t.Errorf("%d %s%s", status, out, errs)
			}
			if _, h := p.hit(page("/out"), "Cookie", privacy.OptOutName+"=1"); h.Get("X-Footfall-Dropped") != "optout" {
				t.Errorf("with the cookie: %v", h)
			}
		})
	}
}
