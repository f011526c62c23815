package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon"

	"github.com/kantarainitiative/footfall/policy"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the README's code blocks of a language.
func blocks(t *testing.T, language string) (out []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("README.md has no %s blocks", language)
	}
	return out
}

// TestReadmeCommands runs every command that the README shows, as it stands there.
func TestReadmeCommands(t *testing.T) {
	path := t.TempDir()
	if err := os.Symlink(binary(t), filepath.Join(path, "footfall")); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "FOOTFALL_DATA="+filepath.Join(t.TempDir(), "data"))
	ran := 0
	for _, block := range blocks(t, "sh") {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			ran++
			switch line {
			case "make run", "make demo":
				serves(t, line)
				continue
			case "make test": // this is it
				line = "make -n test"
			}
			cmd := exec.Command("bash", "-o", "pipefail", "-c", line)
			cmd.Dir, cmd.Env = "../..", env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands were found", ran)
	}
}

// serves runs a make target until it says what it should, and stops it.
func serves(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	target := strings.TrimPrefix(line, "make ")
	args := "ARGS=--listen 127.0.0.1:0 --staff 127.0.0.1:0 --data " + filepath.Join(t.TempDir(), "data")
	if target == "demo" {
		args += " --days 2 --visitors 50"
	}
	cmd := exec.CommandContext(ctx, "make", target, args)
	cmd.Dir = "../.."
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for !strings.Contains(out.String(), "Ctrl-C stops") {
		select {
		case err := <-exited:
			t.Fatalf("%s ended: %v\n%s", line, err, out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, word := range []string{"Dashboard ", "<script", "/login?token="} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("%s does not print %s", line, word)
		}
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // Ctrl-C reaches the whole group
	if <-exited; !strings.Contains(out.String(), "Inventing") && target == "demo" {
		t.Error("the demo shows no progress")
	}
}

// TestReadmeConfiguration: what is shown is accepted, and every key is shown. The block that is a policy, not a
// configuration, names a profile.
func TestReadmeConfiguration(t *testing.T) {
	for _, block := range blocks(t, "yaml") {
		if strings.Contains(block, "profile:") {
			if _, err := policy.ParseRules([]byte(block)); err != nil {
				t.Errorf("%v in\n%s", err, block)
			}
			continue
		}
		c := defaultConfig()
		err := c.parse("README.md", []byte(block))
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
	}
	text := readme(t)
	for _, v := range []any{Config{}, SiteConfig{}} {
		for _, key := range yamlKeys(v) {
			if !strings.Contains(text, key+":") && !strings.Contains(text, "`"+key+"`") {
				t.Errorf("README.md does not mention the key %s", key)
			}
		}
	}
}

// TestReadmeColumns: every stored column is explained, and no other is.
func TestReadmeColumns(t *testing.T) {
	ddl, err := os.ReadFile("../../store/migrations/0001_events.sql")
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z_]+) +(?:\{string\}|Date|UInt|Int|Array)`).FindAllSubmatch(ddl, -1) {
		columns[string(m[1])] = true
	}
	more, err := os.ReadFile("../../store/migrations/0004_masked_erased.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ALTER TABLE events ADD COLUMN IF NOT EXISTS ([a-z_]+)`).FindAllSubmatch(more, -1) {
		columns[string(m[1])] = true
	}
	if len(columns) < 35 {
		t.Fatalf("only %d columns were found", len(columns))
	}
	_, section, _ := strings.Cut(readme(t), "## What is stored")
	section, _, _ = strings.Cut(section, "Not stored")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			if !columns[m[1]] {
				t.Errorf("README.md explains %s, which is no column", m[1])
			}
			delete(columns, m[1])
		}
	}
	for c := range columns {
		t.Errorf("README.md does not explain the column %s", c)
	}
}

// TestReadmeIsFinished: no place is left to fill in.
func TestReadmeIsFinished(t *testing.T) {
	if m := regexp.MustCompile(`(?m)^[A-Z]{4,}$|TODO|TBD`).FindString(readme(t)); m != "" {
		t.Errorf("README.md has the placeholder %q", m)
	}
}

// TestReadmeLedger: every column of the ledger is explained.
func TestReadmeLedger(t *testing.T) {
	ddl, err := os.ReadFile("../../store/migrations/0003_ledger.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(readme(t), "## The books")
	section, _, _ = strings.Cut(section, "\n## ")
	columns := regexp.MustCompile(`(?m)^    ([a-z_]+) +(?:\{string\}|DateTime|UInt)`).FindAllSubmatch(ddl, -1)
	if len(columns) != 6 {
		t.Fatalf("%d columns were found", len(columns))
	}
	for _, m := range columns {
		if !strings.Contains(section, "`"+string(m[1])+"`") {
			t.Errorf("README.md does not explain the column %s", m[1])
		}
	}
}

// TestReadmeTags: the tags shown are the ones that the program prints.
func TestReadmeTags(t *testing.T) {
	text := readme(t)
	for _, tag := range []string{
		beacon.ScriptTag("https://stats.example.org", "example.org"),
		beacon.NoscriptTag("https://stats.example.org", "example.org"),
	} {
		if !strings.Contains(text, tag) {
			t.Errorf("README.md lacks\n%s", tag)
		}
	}
}
