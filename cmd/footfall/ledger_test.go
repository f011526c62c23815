package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
)

// ledger runs `footfall ledger --json` and returns what it says, and its exit status.
func (p *program) ledger(args ...string) (r booksReport, status int) {
	p.t.Helper()
	out, errs, status := footfall(p.t, "", append([]string{"ledger", "--json", "--data", p.data}, append(p.args, args...)...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		p.t.Fatalf("footfall ledger %v: status %d: %q, %q", args, status, out, errs)
	}
	return r, status
}

// TestLedger follows hits of every fate into the books: beside a serve, after a kill, and
// without a serve, on both stores.
func TestLedger(t *testing.T) {
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), "--config", writeConfig(t, twoSites), "--store", url)
			for range 3 {
				p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org","id":"same"}`)
			}
			p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org,example.net,nobody.example"}`)
			p.hit(`{"n":"pageview","u":"https://example.net/","d":"example.net"}`, "DNT", "1")
			p.hit(`{"n":"pageview","u":"https://example.net/","d":"example.net"}`, "User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)")
			p.hit(`{`)
			p.kill()
			p.run()
			p.hit(strings.Repeat("x", 70_000))

			dropped := func(site string) map[string]uint64 {
				return map[string]map[string]uint64{
					"example.org":     {"duplicate": 2},
					"example.net":     {"dnt": 1, "bot": 1},
					event.UnknownSite: {"site": 1, "malformed": 1, "too_large": 1},
				}[site]
			}
			stored := map[string]uint64{"example.org": 2, "example.net": 1, event.UnknownSite: 0}
			check := func(r booksReport, status int) (string, bool) {
				got := map[string]bool{}
				ok := r.Balances && status == 0 && r.Total.Received == 10 && r.Total.Pending == 0 && r.Total.NotCounted == 7
				for _, l := range r.Lines {
					if !got[l.Site] { // a test at midnight has two days
						got[l.Site] = true
						ok = ok && reflect.DeepEqual(l.Dropped, dropped(l.Site)) && l.Stored == stored[l.Site] && l.Balances
					}
				}
				return fmt.Sprintf("status %d, %+v", status, r), ok && len(got) == 3
			}
			// It balances at every moment, whatever waits.
			for range 5 {
				if r, status := p.ledger(); status != 0 || !r.Balances || r.Total.Received != 10 {
					t.Errorf("status %d, %+v", status, r)
				}
			}
			eventually(t, "all is stored", func() (string, bool) { return check(p.ledger()) })
			if r, status := p.ledger("--site", "example.net", "--minutes"); status != 0 || r.Total.Received != 3 || len(r.Lines) == 0 {
				t.Errorf("status %d, %+v", status, r)
			} else if _, err := time.Parse("2006-01-02T15:04Z07:00", r.Lines[0].Time); err != nil {
				t.Error(err)
			}
			if r, _ := p.ledger("--site", event.UnknownSite); r.Total.Received != 3 {
				t.Errorf("%+v", r)
			}
			if r, _ := p.ledger("--to", "2020-01-01"); len(r.Lines) != 0 || !r.Balances {
				t.Errorf("%+v", r)
			}
			eventually(t, "the metrics of the books", func() (string, bool) {
				res, err := p.client.Get(p.staff + "/metrics")
				if err != nil {
					return err.Error(), false
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				for _, want := range []string{`footfall_ledger_balanced 1`, `footfall_ledger_day_hits{account="received"} 10`,
					`footfall_ledger_day_hits{account="stored"} 3`, `footfall_ledger_day_hits{account="dropped"} 7`} {
					if !strings.Contains(string(b), want) {
						return "no " + want, false
					}
				}
				return "", err == nil
			})
			p.query(`{"site_id":"example.org","metrics":["pageviews"],` + today + `}`) // makes the token
			for page, want := range map[string]string{"": "The books balance", "/ledger": "Sent twice by the browser"} {
				req, err := http.NewRequest("GET", p.staff+"/example.org"+page, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+p.token)
				res, err := p.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || !strings.Contains(string(b), want) {
					t.Errorf("the page %q: %s, without %q", page, res.Status, want)
				}
			}
			// Programs may ask as well, each for what it may see.
			one, _, _ := footfall(t, "", append([]string{"token", "add", "one", "--site", "example.net", "--data", p.data}, configArg(p.args)...)...)
			for _, c := range []struct {
				token, query string
				status       int
				received     uint64
			}{
				{p.token, "", 200, 10},
				{p.token, "site_id=(unknown)", 200, 3},
				{p.token, "site_id=example.net&from=" + time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), 200, 3},
				{strings.TrimSpace(one), "site_id=example.net&minutes=1", 200, 3},
				{strings.TrimSpace(one), "site_id=example.org", 403, 0},
				{strings.TrimSpace(one), "site_id=(unknown)", 403, 0},
				{strings.TrimSpace(one), "", 403, 0},
				{"none", "", 401, 0},
				{p.token, "site_id=other.example", 400, 0},
				{p.token, "from=yesterday", 400, 0},
				{p.token, "minutes=1&from=2026-01-01&to=2026-03-01", 400, 0},
			} {
				req, err := http.NewRequest("GET", p.staff+"/api/v2/ledger?"+c.query, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+c.token)
				res, err := p.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				var r booksReport
				err = json.NewDecoder(res.Body).Decode(&r)
				res.Body.Close()
				if err != nil || res.StatusCode != c.status || r.Total.Received != c.received || r.Balances != (c.status == 200) {
					t.Errorf("%q: %s %+v %v", c.query, res.Status, r, err)
				}
			}
			p.stop()
			if said, ok := check(p.ledger()); !ok {
				t.Errorf("without a serve: %s", said)
			}
			out, _, status := footfall(t, "", append([]string{"ledger", "--data", p.data}, p.args...)...)
			if status != 0 || !strings.Contains(out, "duplicate") || !strings.Contains(out, "yes") || strings.Contains(out, "NO") {
				t.Errorf("status %d: %s", status, out)
			}
			for _, bad := range [][]string{{"--site", "other.example"}, {"--from", "yesterday"}, {"--from", "2026-11-02", "--to", "2026-11-01"}, {"what"},
				{"--minutes", "--from", "2026-01-01", "--to", "2026-03-01"}} {
				if _, errs, status := footfall(t, "", append(append([]string{"ledger", "--data", p.data}, p.args...), bad...)...); status != exitUsage {
					t.Errorf("%v: status %d, %s", bad, status, errs)
				}
			}
			if name == "embedded" {
				return
			}
			// A row too many is found.
			o, err := clickhouse.ParseDSN(url)
			if err != nil {
				t.Fatal(err)
			}
			c, err := clickhouse.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Exec(context.Background(), "INSERT INTO ledger (site, minute, outcome, hits, stored_at, batch_id) SELECT 'example.org', minute, 'counted', 1, minute, 1 FROM ledger LIMIT 1")
			if err != nil {
				t.Fatal(err)
			}
			if r, status := p.ledger(); status != exitError || r.Balances {
				t.Errorf("status %d, %+v", status, r)
			}
		})
	}
}

// FuzzBooksQuery: what is asked of the books is refused in words that name the part, or bounded, and asks the same
// when it is handed on to a serve.
func FuzzBooksQuery(f *testing.F) {
	f.Add("example.org", "2026-11-01", "2026-11-24", "true")
	f.Add("", "2026-11-31", "", "1")
	f.Add(event.UnknownSite, "", "1970-01-01", "maybe")
	f.Add("x&site_id=y", "2262-01-01", "0001-01-01", "")
	c := defaultConfig()
	now := time.Date(2026, 11, 24, 23, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, site, from, to, minutes string) {
		q, err := parseBooksQuery(map[string][]string{"site_id": {site}, "from": {from}, "to": {to}, "minutes": {minutes}})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "from: ") && !strings.HasPrefix(err.Error(), "to: ") {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if again, err := parseBooksQuery(q.values()); err != nil || again != q {
			t.Errorf("%+v, and handed on %+v %v", q, again, err)
		}
		if q.check(c, now) != nil {
			return
		}
		if q.Site != "" && q.Site != event.UnknownSite && c.site(q.Site) == nil {
			t.Errorf("the site %q is known", q.Site)
		}
		last := q.To
		if last == 0 {
			last = event.DayOf(now)
		}
		if q.Minutes && (q.From == 0 || last >= q.From && last-q.From >= maxMinuteDays) {
			t.Errorf("without bounds: %+v", q)
		}
	})
}
