package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPolicyIsEnforced: a configuration that breaks the policy is refused by check, at the start and on
// SIGHUP, with every clause that it breaks.
func TestPolicyIsEnforced(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dnt: [unlinked, drop]\nretention: 2y\nmin_visitors: 5\nsources: [script]\n")
	good := "policy: " + rules + "\nsites: [{domain: example.org, min_visitors: 5, means: [script]}]\n"
	bad := "policy: " + rules + "\nsites: [{domain: example.org, dnt: ignore, retention: 3y}]\n"
	data := t.TempDir()
	for _, command := range [][]string{{"check"}, {"serve", "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0"}} {
		_, errs, status := footfall(t, "", append(command, "--config", writeConfig(t, bad), "--data", data)...)
		if status != 2 {
			t.Errorf("%v: status %d", command, status)
		}
		for _, want := range []string{"retention: example.org", "dnt: example.org: dnt is ignore", "min_visitors: example.org", "sources: example.org: means is pixel", "sources: example.org: means is email"} {
			if !strings.Contains(errs, want) {
				t.Errorf("%v does not say %q: %s", command, want, errs)
			}
		}
	}
	if out, errs, status := footfall(t, "", "check", "--config", writeConfig(t, good), "--data", data); status != 0 || !strings.Contains(out, "policy         ok") {
		t.Errorf("check: status %d, %s%s", status, out, errs)
	}
	write("forbiden: [cities]\n")
	if _, errs, status := footfall(t, "", "check", "--config", writeConfig(t, good), "--data", data); status != 2 || !strings.Contains(errs, `unknown clause "forbiden"`) {
		t.Errorf("a policy that cannot be read: status %d, %s", status, errs)
	}
	write("sources: [script]\n")
	config := writeConfig(t, good)
	p := start(t, data, "--config", config)
	if err := os.WriteFile(config, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is refused", func() (string, bool) {
		return p.out.String(), strings.Contains(p.out.String(), "the old one stays in force")
	})
	// Still the old one: a picture is not taken, a script's hit is.
	res, err := p.client.Get(p.public + "/ff.gif?d=example.org&u=https://example.org/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("X-Footfall-Dropped"); res.StatusCode != http.StatusOK || got != "means" {
		t.Errorf("the pixel: %d, %q", res.StatusCode, got)
	}
	if status, h := p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org"}`); status != http.StatusAccepted || h.Get("X-Footfall-Dropped") != "" {
		t.Errorf("the script: %d, %v", status, h)
	}
}
