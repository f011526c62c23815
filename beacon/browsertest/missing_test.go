package browsertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A missing part is a failure that names the command which installs it.
func TestMissingParts(t *testing.T) {
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "go.mod"), []byte("module x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, env, want string }{
		{"browser", here, "FOOTFALL_CHROMIUM=" + filepath.Join(empty, "none"), "FOOTFALL_CHROMIUM: stat"},
		{"node", here, "PATH=" + empty, "node is missing: apt-get install -y nodejs npm"},
		{"packages", empty, "", "npm package playwright-core is missing: run `npm ci`"},
		{"module", t.TempDir(), "", "no go.mod in this folder or above it"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRun$", "-test.v")
		cmd.Dir = c.dir
		if c.env != "" {
			cmd.Env = append(os.Environ(), c.env)
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestRun") || !strings.Contains(string(out), c.want) {
			t.Errorf("without %s: %v\n%s\nwant a failure that says %q", c.name, err, out, c.want)
		}
		if strings.Contains(string(out), "SKIP") {
			t.Errorf("without %s: skipped", c.name)
		}
	}
}
