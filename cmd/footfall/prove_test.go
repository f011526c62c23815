package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestProve runs the command beside a serve, on both stores: it looks everywhere, finds nothing, and
// leaves nothing of its own in the statistics.
func TestProve(t *testing.T) {
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) {
			config := writeConfig(t, "sites: [{domain: example.org}, {domain: shop.example, cookie: consented, hostnames: [www.shop.example], ip: hash}]\n")
			p := start(t, t.TempDir(), "--config", config, "--store", url)
			p.hit(`{"n":"pageview","u":"https://www.shop.example/mine","d":"shop.example"}`)
			out, errs, status := footfall(t, "", append([]string{"prove", "--site", "shop.example", "--json", "--data", p.data}, p.args...)...)
			if status != 0 {
				t.Fatalf("status %d: %s\n%s", status, errs, out)
			}
			var got proof
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			t.Logf("%.1f s, %d forms, %d requests, %d counted, %d by chance (%.1f expected), %+v", got.Seconds, got.Forms, got.Requests, got.Counted, len(got.ByChance), got.ByChanceExpected, got.Places)
			if !got.Passed || len(got.Found) > 0 || got.SelfTest.Found != got.Forms || got.Forms < 10_000 || got.Left != 0 || !got.Balances {
				t.Errorf("%+v", got)
			}
			if got.Counted < 6*2*5 || got.Pages < 50 {
				t.Errorf("%d hits were counted, %d pages came", got.Counted, got.Pages)
			}
			for _, missing := range got.NotLookedAt {
				if strings.Contains(missing, "connections") || strings.Contains(missing, "metrics") {
					t.Errorf("not looked at: %s", missing)
				}
			}
			looked := map[string]int64{}
			for _, s := range got.Places {
				looked[s.Group] = s.Bytes
			}
			for _, group := range allGroups {
				if looked[group] == 0 {
					t.Errorf("nothing was looked at of: %s", group)
				}
			}
			tables := map[string]proofTable{}
			for _, x := range got.Tables {
				_, table, _ := strings.Cut(x.Name, ".")
				tables[table] = x
			}
			if x := tables["events"]; x.Columns < 40 || x.Rows < uint64(got.Counted) {
				t.Errorf("events were read back as %+v", x)
			}
			if x := tables["ledger"]; x.Rows == 0 {
				t.Errorf("the ledger was read back as %+v", x)
			}
			p.wantTotal("shop.example", [3]float64{1, 1, 1}) // the page view that was there before

			out, errs, status = footfall(t, "", append([]string{"prove", "--data", p.data}, p.args...)...)
			if status != 0 || !strings.Contains(out, "Nothing was found.") || !strings.Contains(out, "of example.org sent") {
				t.Errorf("once more, in words: status %d: %s\n%s", status, errs, out)
			}
			if _, errs, status := footfall(t, "", "audit", "verify", "--data", p.data, "--config", config); status != 0 {
				t.Errorf("the audit log: %s", errs)
			}
			p.stop()
			if _, errs, status := footfall(t, "", append([]string{"prove", "--data", p.data}, p.args...)...); status != 1 || !strings.Contains(errs, "no footfall serve runs") {
				t.Errorf("without a serve: status %d: %s", status, errs)
			}
		})
	}
}

var allGroups = []string{inFiles, inNames, inSegments, inTables, inAnswers, inDashboard, inMetrics, inBooks, inLog, inProcesses}

// TestProveFinds: what the program does keep is found by the command, which then fails and says where.
func TestProveFinds(t *testing.T) {
	p := start(t, t.TempDir(), "--config", writeConfig(t, "sites: [{domain: example.org, pii: off, query_params: [token]}]\n"))
	out, errs, status := footfall(t, "", append([]string{"prove", "--data", p.data}, p.args...)...)
	if status != 1 || !strings.Contains(errs, "were found") {
		t.Fatalf("with a parameter that is kept: status %d: %s\n%s", status, errs, out)
	}
	for _, group := range []string{inFiles, inSegments, inTables, inDashboard} {
		if !strings.Contains(out, fmt.Sprintf("query string, as text, in %s: ", group)) {
			t.Errorf("not found in %s:\n%s", group, out)
		}
	}
	if !strings.Contains(out, ".events.page") || !strings.Contains(out, "pii: off") {
		t.Errorf("it says neither which column nor what it does not look for:\n%s", out)
	}
}
