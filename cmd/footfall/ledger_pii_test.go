package main

import (
	"encoding/json"
	"io"
	"net/http"
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

// TestPIIPagesBelowMinVisitors: where small groups are not shown, a token learns what kinds of personal data
// were found and how often, and not on which pages; whoever owns the machine learns the pages.
func TestPIIPagesBelowMinVisitors(t *testing.T) {
	p := start(t, t.TempDir(), "--config", writeConfig(t, "sites: [{domain: example.org, min_visitors: 5}]\n"))
	p.hit(`{"n":"pageview","u":"https://example.org/vip/zed@example.fr","d":"example.org"}`)
	eventually(t, "the page is on the books", func() (string, bool) {
		out, errs, _ := footfall(t, "", "ledger", "--pii", "--json", "--data", p.data, "--config", p.args[1])
		return out + errs, strings.Contains(out, "/vip/(email)")
	})
	token, errs, status := footfall(t, "", "token", "add", "board", "--data", p.data)
	if status != 0 {
		t.Fatal(errs)
	}
	r, err := http.NewRequest("GET", p.staff+"/api/v2/ledger?site_id=example.org&pii=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(b), `"kind":"email"`) || strings.Contains(string(b), "vip") {
		t.Errorf("a token learns: %d %s", res.StatusCode, b)
	}
}
