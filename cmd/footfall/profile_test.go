package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/policy"
)

// assessOf runs check --profile beside p.
func assessOf(t *testing.T, p *program, profile string, more ...string) (map[string]policy.Verdict, int) {
	t.Helper()
	out, errs, status := footfall(t, "", append(append([]string{"check", "--profile", profile, "--json", "--data", p.data}, configArg(p.args)...), more...)...)
	var x policy.Assessment
	if err := json.Unmarshal([]byte(out), &x); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	rows := map[string]policy.Verdict{}
	for _, r := range x.Rows {
		rows[r.ID] = r
	}
	if x.Passed != (status == 0) || !strings.Contains(x.Note, "self-assessment") {
		t.Errorf("passed %v, status %d, %q", x.Passed, status, x.Note)
	}
	return rows, status
}

// TestProfile holds the running program against a profile: with settings that meet it, and with such
// that do not. The file that it signs holds no secret, and a change of it is found.
func TestProfile(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(rules, []byte("retention_reviewed: "+time.Now().AddDate(0, -1, 0).Format(time.DateOnly)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := writeConfig(t, `url: https://stats.example.org
policy: `+rules+`
organisation: {name: Example e.V., email: privacy@example.org, jurisdiction: DE}
proxy_login: {header: X-Staff, from: [192.0.2.1], role: viewer}
sites:
  - {domain: example.org, prefix: {ipv4: 16}, min_visitors: 5, grain: day, cookie: consented}
  - {domain: shop.example.org, prefix: {ipv4: 16}, min_visitors: 5, grain: day}
`)
	bad := writeConfig(t, "sites: [{domain: example.org, pii: \"off\", retention: 5y, dnt: ignore}]\n")
	none, errs, status := footfall(t, "", "check", "--profile", "cnil", "--config", good, "--data", t.TempDir())
	if status != 1 || !strings.Contains(errs, "no footfall serve runs") {
		t.Errorf("without a serve: %d, %s%s", status, none, errs)
	}

	p := start(t, t.TempDir(), "--config", good)
	rows, status := assessOf(t, p, "cnil")
	for id, r := range rows {
		if want := map[string]policy.Status{"A4": policy.Declared, "H1": policy.Declared}[id]; r.Status != policy.Pass && r.Status != want {
			t.Errorf("%s: %s: %s", id, r.Status, r.Measured)
		}
	}
	if status != 0 || len(rows) != 19 || !strings.Contains(rows["A1"].Measured, "390 days") {
		t.Errorf("status %d, %d conditions, %+v", status, len(rows), rows["A1"])
	}
	file := filepath.Join(t.TempDir(), "bundle.json")
	if _, status := assessOf(t, p, "uk", "--bundle", file); status != 0 {
		t.Errorf("uk: status %d", status)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(path string) int {
		_, _, status := footfall(t, "", "check", "--verify-bundle", path, "--config", good, "--data", p.data)
		return status
	}
	if check(file) != 0 {
		t.Error("the bundle is refused")
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), `"passed": true`, `"passed": false`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if check(file) != 1 {
		t.Error("an altered bundle is taken")
	}

	p = start(t, t.TempDir(), "--config", bad)
	for i := range 2 {
		p.hit(`{"n":"order","u":"https://example.org/u/jane.doe@example.net/` + string(rune('a'+i)) + `?utm_source=mail","d":"example.org","p":{"user_id":"7"},"$":{"currency":"EUR","amount":5}}`)
	}
	eventually(t, "the hits are stored", func() (string, bool) {
		n := p.query(`{"site_id":"example.org","metrics":["events"],"date_range":"day"}`)
		return "", len(n[""]) == 1 && n[""][0] >= 2
	})
	rows, status = assessOf(t, p, "cnil")
	for _, id := range []string{"A3", "A4", "B1", "D1", "D2", "D4", "E1", "E2", "F1", "H1", "R1"} {
		if r := rows[id]; r.Status != policy.Fail || r.Setting == "" && id != "R1" {
			t.Errorf("%s: %s: %s, mended by %q", id, r.Status, r.Measured, r.Setting)
		}
	}
	if rows["G1"].Status != policy.Doubtful || rows["E3"].Status != policy.Pass || status != 1 {
		t.Errorf("G1 %+v\nE3 %+v\nstatus %d", rows["G1"], rows["E3"], status)
	}
}
