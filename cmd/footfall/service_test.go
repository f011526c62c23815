package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestService has systemd's own tool read the unit and rate how much the service may do, and
// starts what the unit starts.
func TestService(t *testing.T) {
	b, err := os.ReadFile("../../deploy/footfall.service")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/footfall" // where the unit expects the program
	_, line, _ := strings.Cut(string(b), "ExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	args := strings.Fields(line)
	if args[0] != installed || args[1] != "serve" {
		t.Fatalf("the unit starts %s", line)
	}

	unit := filepath.Join(t.TempDir(), "footfall.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(b), installed, binary(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", unit},
		{"security", "--offline=yes", "--threshold=20", "--no-pager", unit}, // 2.0 of 10
	} {
		if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}

	data := t.TempDir()
	for i, a := range args {
		switch a {
		case "/etc/footfall/footfall.yml":
			args[i] = writeConfig(t, "sites: [{domain: example.org}]")
		case "/var/lib/footfall":
			args[i] = data
		}
	}
	if out, errs, status := footfall(t, "", append([]string{"check"}, args[2:]...)...); status != 0 || !strings.Contains(out, data) {
		t.Errorf("%s: %d\n%s%s", line, status, out, errs)
	}
}
