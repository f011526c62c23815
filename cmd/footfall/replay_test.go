package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// TestResentWhileTheDatabaseIsAway: a program that was started anew knows what was stored before, though
// it cannot ask.
func TestResentWhileTheDatabaseIsAway(t *testing.T) {
	db := storetest.StartServer(t)
	p := start(t, t.TempDir(), "--config", writeConfig(t, twoSites), "--store", db.URL("resent"))
	const body = `{"n":"pageview","u":"https://example.org/","d":"example.org","id":"0123456789"}`
	if _, h := p.hit(body); h.Get("X-Footfall-Dropped") != "" {
		t.Fatalf("dropped %q", h.Get("X-Footfall-Dropped"))
	}
	eventually(t, "it is stored", func() (string, bool) {
		r, _ := p.ledger()
		return fmt.Sprintf("%+v", r.Total), r.Total.Stored == 1
	})
	p.kill()
	db.Kill()
	p.run()
	if _, h := p.hit(body); h.Get("X-Footfall-Dropped") != "duplicate" {
		t.Errorf("sent again it is dropped as %q", h.Get("X-Footfall-Dropped"))
	}
}

// TestReplay has a server lose what it confirmed, as a power failure of its machine can, and come by it
// again: beside a serve and without one, once each.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	db := storetest.StartServerIn(t, dir)
	config := writeConfig(t, "spool: {keep: 1h}\n"+twoSites)
	p := start(t, t.TempDir(), "--config", config, "--store", db.URL("replayed"))
	hits := 0
	send := func() {
		t.Helper()
		for range 20 {
			hits++
			p.hit(fmt.Sprintf(`{"n":"pageview","u":"https://example.org/%d","d":"example.org"}`, hits))
		}
		p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org"}`, "User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)")
		eventually(t, "all is stored", func() (string, bool) {
			r, _ := p.ledger()
			return fmt.Sprintf("%+v", r.Total), r.Balances && r.Total.Pending == 0 && r.Total.Stored == uint64(hits)
		})
	}
	// lose removes all parts of both tables that were written since from.
	lose := func(from time.Time) {
		t.Helper()
		db.Kill()
		n := 0
		for _, table := range []string{"events", "ledger"} {
			parts, err := filepath.Glob(filepath.Join(dir, "data", "data", "replayed", table, "*_*_*_*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts {
				if fi, err := os.Stat(part); err != nil || fi.ModTime().Before(from) {
					continue
				}
				if err := os.RemoveAll(part); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		if err := db.Restart(); err != nil {
			t.Fatal(err)
		}
		if n < 2 {
			t.Errorf("%d parts were lost", n)
		}
	}
	replay := func(args ...string) (out string, status int) {
		t.Helper()
		out, errs, status := footfall(t, "", append([]string{"replay", "--data", p.data}, append(p.args, args...)...)...)
		return out + errs, status
	}
	whole := func(when string) {
		t.Helper()
		r, status := p.ledger()
		if status != 0 || !r.Balances || r.Total.Stored != uint64(hits) || r.Total.Received != uint64(hits+hits/20) || r.Total.Dropped["bot"] != uint64(hits/20) {
			t.Errorf("%s: status %d, %+v, want %d hits", when, status, r.Total, hits)
		}
	}

	send()
	lose(time.Time{})
	if r, _ := p.ledger(); r.Total.Stored != 0 {
		t.Fatalf("nothing was lost: %+v", r.Total)
	}
	if out, status := replay("--from", "2000-01-01T00:00:00Z", "--to", "2000-01-02T00:00:00Z"); status != 0 || !strings.Contains(out, "0 batches") {
		t.Errorf("status %d: %s", status, out)
	}
	for _, lacked := range []int{20, 0} {
		if out, status := replay(); status != 0 || !strings.Contains(out, fmt.Sprintf("20 events handed over, of which the database lacked %d\n", lacked)) {
			t.Errorf("status %d: %s", status, out)
		}
		whole("beside a serve")
	}

	between := time.Now()
	send()
	p.stop()
	lose(between) // the older part is still there, unless they were merged
	for i := range 2 {
		out, status := replay()
		if status != 0 || !strings.Contains(out, "40 events handed over") || strings.Contains(out, "lacked 0\n") != (i == 1) {
			t.Errorf("status %d: %s", status, out)
		}
		whole("without a serve")
	}

	for _, bad := range [][]string{{"--from", "yesterday"}, {"--from", "2026-11-02T00:00:00Z", "--to", "2026-11-01T00:00:00Z"}, {"what"}} {
		if out, status := replay(bad...); status != exitUsage {
			t.Errorf("%v: status %d, %s", bad, status, out)
		}
	}
	p.args = []string{"--config", writeConfig(t, twoSites), "--store", db.URL("replayed")}
	if out, status := replay(); status != exitError || !strings.Contains(out, "spool.keep") {
		t.Errorf("without keep: status %d, %s", status, out)
	}
	p.run()
	if out, status := replay(); status != exitError || !strings.Contains(out, "spool.keep") {
		t.Errorf("without keep, beside a serve: status %d, %s", status, out)
	}
	if left, err := filepath.Glob(filepath.Join(p.data, "spool", "stored", "*")); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	whole("at last")
}
