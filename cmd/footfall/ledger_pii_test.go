package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const piiSites = `sites: [{domain: example.org}, {domain: example.net, pii: drop}, {domain: example.com, pii: "off"}]`

// TestPII sends personal data to a site of each setting, and reads what became of it.
func TestPII(t *testing.T) {
	p := start(t, t.TempDir(), "--config", writeConfig(t, piiSites))
	for _, u := range []string{"/welcome/ann%40example.fr", "/welcome/ann@example.fr", "/plain"} {
		p.hit(`{"n":"pageview","u":"https://site.example` + u + `","d":"example.org,example.net,example.com"}`)
	}
	p.hit(`{"n":"pageview","u":"https://site.example/call","d":"example.org","t":"Call +49 30 1234567"}`)
	want := []piiRow{
		{"example.net", "email", "/welcome/(email)", 2, 0, 2},
		{"example.org", "email", "/welcome/(email)", 2, 2, 0},
		{"example.org", "phone", "/call", 1, 1, 0},
	}
	ask := func(args ...string) (r piiReport) {
		out, _, status := footfall(t, "", append([]string{"ledger", "--pii", "--json", "--data", p.data}, append(p.args, args...)...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 {
			t.Fatalf("status %d, %v: %s", status, err, out)
		}
		return r
	}
	eventually(t, "all is stored", func() (string, bool) {
		out, _ := json.Marshal(ask())
		return string(out), reflect.DeepEqual(ask().Pages, want)
	})
	if got := ask("--site", "example.org", "--to", "2020-01-01").Pages; len(got) != 0 {
		t.Errorf("long ago: %+v", got)
	}
	if out, _, status := footfall(t, "", append([]string{"ledger", "--pii", "--site", "example.net", "--data", p.data}, p.args...)...); status != 0 || !strings.Contains(out, "/welcome/(email)") || strings.Contains(out, "example.org") {
		t.Errorf("status %d: %s", status, out)
	}
	if r, status := p.ledger("--site", "example.net"); status != 0 || r.Total.Dropped["pii"] != 2 || !r.Balances {
		t.Errorf("status %d, %+v", status, r)
	}
}
