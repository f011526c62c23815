package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestSmallLooksAreNoted: a question about fewer visitors than the site shows is noted, with who asked and
// without what it was about.
func TestSmallLooksAreNoted(t *testing.T) {
	p := start(t, t.TempDir(), "--config", writeConfig(t, "sites: [{domain: example.org, min_visitors: 5}]\ntrusted_proxies: [127.0.0.1]\n"))
	token, errs, status := footfall(t, "", "token", "add", "board", "--data", p.data)
	if status != 0 {
		t.Fatal(errs)
	}
	for i := range 6 {
		p.hit(`{"n":"pageview","u":"https://example.org/canarypage","d":"example.org"}`, "X-Forwarded-For", fmt.Sprintf("203.0.%d.7", i))
	}
	ask := func(filter string) {
		t.Helper()
		body := `{"site_id":"example.org","metrics":["visitors"],"date_range":"day","filters":[["is","event:page",["` + filter + `"]]]}`
		r, err := http.NewRequest("POST", p.staff+"/api/v2/query", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		res, err := p.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	log := func() string {
		out, _, _ := footfall(t, "", "audit", "show", "--action", "small group seen", "--data", p.data)
		return out
	}
	eventually(t, "the hits are stored", func() (string, bool) {
		out, _, _ := footfall(t, "", "query", `{"site_id":"example.org","metrics":["visitors"],"date_range":"day"}`, "--data", p.data)
		return out, strings.Contains(out, "[6]")
	})
	ask("/canarypage")
	if got := log(); got != "" {
		t.Errorf("noted: %s", got)
	}
	ask("/canaryperson")
	ask("/canaryperson") // within the minute
	got := log()
	if n := strings.Count(got, "\n"); n != 1 || !strings.Contains(got, "token board") || !strings.Contains(got, "example.org") || strings.Contains(got, "canary") {
		t.Errorf("noted: %s", got)
	}
}
