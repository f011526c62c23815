package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kantarainitiative/footfall/policy"
)

// TestAudit: what the program and its commands do is noted, a changed configuration once, and
// a log that was edited or cut is found.
func TestAudit(t *testing.T) {
	config := writeConfig(t, twoSites)
	p := start(t, t.TempDir(), "--config", config)
	run := func(args ...string) string {
		t.Helper()
		out, errs, status := footfall(t, "", append(args, "--data", p.data)...)
		if status != 0 {
			t.Fatalf("footfall %v: status %d, %s", args, status, errs)
		}
		return out
	}
	run("token", "add", "grafana", "--config", config, "--site", "example.org")
	p.kill()
	p.run() // the same configuration
	changed := strings.Replace(twoSites, "Asia/Kolkata", "Europe/Berlin", 1)
	if err := os.WriteFile(config, []byte(changed+"rate_limit: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	entries := func(args ...string) (out []policy.AuditEntry) {
		t.Helper()
		for line := range strings.Lines(run(append([]string{"audit", "show", "--json"}, args...)...)) {
			var e policy.AuditEntry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
		return out
	}
	eventually(t, "the new configuration is noted", func() (string, bool) {
		return "", len(entries("--action", policy.AuditConfig)) == 2
	})
	configs := entries("--action", policy.AuditConfig)
	if got := configs[1].Detail["changed"]; got != "rate_limit, sites(example.org).timezone" {
		t.Errorf("changed: %q", got)
	}
	staff := entries("--action", policy.AuditStaff)
	if len(staff) == 0 || staff[0].Object != "token grafana" || staff[0].Detail["sites"] != "example.org" || staff[0].Actor != "command line" {
		t.Errorf("staff: %+v", staff)
	}
	if got := entries("--last", "1"); len(got) != 1 {
		t.Errorf("the last line is %d lines", len(got))
	}
	if out := run("audit", "show"); !strings.Contains(out, "token grafana") {
		t.Errorf("audit show: %s", out)
	}
	said := run("audit", "verify")
	_, head, ok := strings.Cut(strings.TrimSpace(said), "\nhead ")
	if !strings.Contains(said, "is whole") || !ok {
		t.Fatalf("audit verify: %s", said)
	}
	run("audit", "verify", "--head", head)

	path := filepath.Join(p.data, "audit.log")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string]string{
		"edited": strings.Replace(string(log), "grafana", "gravana", 1),
		"cut":    string(log[:strings.LastIndex(string(log[:len(log)-1]), "\n")+1]),
	} {
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"verify", "show"} {
			if _, errs, status := footfall(t, "", "audit", command, "--data", p.data); status != 1 || !strings.Contains(errs, "not whole") {
				t.Errorf("%s: audit %s: status %d, %s", what, command, status, errs)
			}
		}
	}
	if _, _, status := footfall(t, "", "audit", "verify", "--head", "x", "--data", p.data); status != 2 {
		t.Errorf("a bad head: status %d", status)
	}
}

func TestSettingsHoldNoSecret(t *testing.T) {
	c := defaultConfig()
	c.Store = "clickhouse://u:canarysecret@127.0.0.1:1/x"
	settings := settingsOf(c)
	if got := settings["store"]; !strings.Contains(got, "127.0.0.1") || strings.Contains(got, "canarysecret") {
		t.Errorf("store: %q", got)
	}
}
