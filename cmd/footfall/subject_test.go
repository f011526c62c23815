package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store/storetest"
)

// consentCookie is the value of a cookie that a visitor of a site agreed to today.
func consentCookie(site string) string {
	var random [16]byte
	rand.Read(random[:])
	tag := privacy.TagOf(site)
	return fmt.Sprintf("1.%d.%s%s", event.DayOf(time.Now().UTC()), tag[:], base64.RawURLEncoding.EncodeToString(random[:]))
}

// subject runs `footfall subject … --json` and reads what it printed.
func (p *program) subject(what, cookie string, to any) {
	p.t.Helper()
	out, errs, status := footfall(p.t, cookie+"\n", append([]string{"subject", what, "--cookie", "-", "--json", "--data", p.data}, p.args...)...)
	if status != 0 {
		p.t.Fatalf("subject %s: status %d, %s", what, status, errs)
	}
	if err := json.Unmarshal([]byte(out), to); err != nil {
		p.t.Fatalf("subject %s: %v in %s", what, err, out)
	}
}

type exported struct {
	Sites  []string
	Counts struct{ Pageviews, Visits, Waiting uint64 }
	Events []struct {
		Kind, Page, Visit string
		EntryPage         string `json:"entry_page"`
	}
}

func (p *program) held(cookie string) (x exported) {
	p.t.Helper()
	p.subject("export", cookie, &x)
	return x
}

// wantErased waits until nothing of the cookie is held, the books say so and no order is left.
func (p *program) wantErased(cookie string, erased, stored uint64) {
	p.t.Helper()
	eventually(p.t, "the erasure", func() (string, bool) {
		x := p.held(cookie)
		r, _ := p.ledger()
		orders, err := os.ReadDir(filepath.Join(p.data, ordersDir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("held %+v, books %+v, orders %v", x, r.Total, orders), len(x.Events) == 0 && x.Counts.Waiting == 0 && len(orders) == 0 &&
			r.Balances && r.Total.Erased == erased && r.Total.Stored == stored
	})
}

func (p *program) visit(page, cookie string) {
	p.t.Helper()
	status, h := p.hit(fmt.Sprintf(`{"n":"pageview","u":"https://example.org%s","d":"example.org"}`, page), "Cookie", privacy.ConsentName+"="+cookie)
	if status != 202 || h.Get("X-Footfall-Dropped") != "" {
		p.t.Fatalf("status %d, dropped %q", status, h.Get("X-Footfall-Dropped"))
	}
}

// TestSubject: what is held of one person is given out and erased by those who run the program, beside a serve
// and without one; it stays erased after a crash and a replay, and the books balance.
func TestSubject(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), "--store", store, "--config", writeConfig(t, "spool: {keep: 1h}\nsites: [{domain: example.org, cookie: consented}]\n"))
			mine, other := consentCookie("example.org"), consentCookie("example.org")
			for i := range 3 {
				p.visit(fmt.Sprintf("/mine/%d", i), mine)
				p.visit("/other", other)
			}
			eventually(t, "all is stored", func() (string, bool) {
				x := p.held(mine)
				return fmt.Sprintf("%+v", x), len(x.Events) == 3 && x.Counts.Pageviews == 3 && x.Counts.Visits == 1 && x.Counts.Waiting == 0
			})
			x := p.held(mine)
			pages := map[string]bool{}
			for _, e := range x.Events {
				pages[e.Page] = e.EntryPage == "/mine/0"
			}
			if !pages["/mine/0"] || !pages["/mine/1"] || !pages["/mine/2"] || strings.Join(x.Sites, "") != "example.org" {
				t.Errorf("held is %+v", x)
			}
			p.visit("/mine/last", mine) // in the spool, perhaps
			var e subjectErasure
			p.subject("erase", mine, &e)
			if !e.Done || e.Rows != 4 || e.Order == "" {
				t.Fatalf("%+v", e)
			}
			p.wantErased(mine, 4, 3)
			if x := p.held(other); len(x.Events) != 3 {
				t.Errorf("of somebody else is held %+v", x)
			}
			m := p.query(`{"site_id":"example.org","metrics":["pageviews","visitors"],` + today + `}`)
			if fmt.Sprint(m[""]) != "[3 1]" {
				t.Errorf("the dashboard says %v", m)
			}

			again := func(when string) {
				t.Helper()
				out, errs, status := footfall(t, "", append([]string{"replay", "--data", p.data}, p.args...)...)
				if status != 0 || !strings.Contains(out, "lacked 0\n") || strings.Contains(out, " 0 events") {
					t.Errorf("%s: replay: status %d, %s%s", when, status, out, errs)
				}
				p.wantErased(mine, 4, 3)
				p.subject("erase", mine, &e)
				if !e.Done || e.Rows != 0 {
					t.Errorf("%s: erased again: %+v", when, e)
				}
				p.wantErased(mine, 4, 3)
			}
			again("beside a serve")
			p.kill()
			again("without a serve, after a crash")
			p.run()
			p.visit("/new", mine)
			eventually(t, "what came later", func() (string, bool) {
				x := p.held(mine)
				return fmt.Sprintf("%+v", x), len(x.Events) == 1 && x.Events[0].EntryPage == "/new"
			})
			p.stop()
			p.subject("erase", mine, &e)
			if !e.Done || e.Rows != 1 {
				t.Errorf("without a serve: %+v", e)
			}
			p.wantErased(mine, 5, 3)
			if out, errs, status := footfall(t, "", append([]string{"audit", "verify", "--data", p.data}, configArg(p.args)...)...); status != 0 {
				t.Errorf("the audit log: %s%s", out, errs)
			}
		})
	}
}

// TestSubjectWords: what cannot be held is said, and a value that is none is not repeated.
func TestSubjectWords(t *testing.T) {
	base := []string{"--data", t.TempDir(), "--config", writeConfig(t, "sites: [{domain: example.org, cookie: consented}]\n")}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"export", "--recipient", "reader@example.org"}, exitOK, "Nothing is held. Nothing is held by recipient"},
		{[]string{"erase", "--recipient", "reader@example.org"}, exitOK, "Nothing is to be erased."},
		{[]string{"erase", "--cookie", consentCookie("example.net")}, exitOK, "the cookie has no id at the sites"},
		{[]string{"erase", "--cookie", consentCookie("example.net"), "--site", "example.org"}, exitOK, "no id"},
		{[]string{"export", "--recipient", "x", "--json"}, exitOK, `"events": []`},
		{[]string{"export", "--cookie", "secret-value"}, exitUsage, "no value of the cookie footfall_id"},
		{[]string{"export"}, exitUsage, "either --cookie or --recipient"},
		{[]string{"export", "--cookie", "-"}, exitUsage, "empty"},
		{[]string{"show", "--cookie", "x"}, exitUsage, "export or erase"},
	} {
		out, errs, status := footfall(t, "", append(append([]string{"subject"}, c.args...), base...)...)
		all := out + errs
		if status != c.status || !strings.Contains(strings.ToLower(all), strings.ToLower(c.want)) || strings.Contains(all, "secret-value") || strings.Contains(all, "reader@") {
			t.Errorf("%v: status %d, %s", c.args, status, all)
		}
	}
}

// TestErasureSurvivesKills: an order is taken while the database is away, and when the program is
// killed at any time it is carried out by the next one.
func TestErasureSurvivesKills(t *testing.T) {
	db := storetest.StartServer(t)
	p := start(t, t.TempDir(), "--store", db.URL("killed"), "--config", writeConfig(t, "sites: [{domain: example.org, cookie: consented}]\n"))
	mine, other := consentCookie("example.org"), consentCookie("example.org")
	erased, stored := uint64(0), uint64(0)
	hits := func() {
		t.Helper()
		for range 5 {
			p.visit("/mine", mine)
			p.visit("/other", other)
			erased, stored = erased+1, stored+1
		}
	}
	hits()
	eventually(t, "all is stored", func() (string, bool) {
		r, _ := p.ledger()
		return fmt.Sprintf("%+v", r.Total), r.Total.Stored == 10
	})
	db.Kill()
	hits()
	out, errs, status := footfall(t, mine, append([]string{"subject", "erase", "--cookie", "-", "--data", p.data}, p.args...)...)
	if status != 0 || !strings.Contains(out, "not done yet") {
		t.Errorf("while the database is away: status %d, %s%s", status, out, errs)
	}
	p.kill()
	if err := db.Restart(); err != nil {
		t.Fatal(err)
	}
	p.run()
	p.wantErased(mine, erased, stored)

	for _, after := range []time.Duration{900, 1040, 1080, 1130, 1200} { // ms; an order waits for a second first
		hits()
		done := make(chan struct{})
		go func() {
			defer close(done)
			footfall(t, mine, append([]string{"subject", "erase", "--cookie", "-", "--data", p.data}, p.args...)...)
		}()
		eventually(t, "the order", func() (string, bool) {
			orders, _ := os.ReadDir(filepath.Join(p.data, ordersDir))
			return "", len(orders) > 0
		})
		time.Sleep(after * time.Millisecond)
		p.kill()
		<-done
		p.run()
		p.wantErased(mine, erased, stored)
	}
}
