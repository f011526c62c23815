package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/policy"
)

// inProcess runs a command as main does.
func inProcess(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), streams{strings.NewReader(""), &out, &errs, noEnv}, args)
	return out.String(), errs.String(), status
}

func TestReceiptVerify(t *testing.T) {
	data, elsewhere := t.TempDir(), t.TempDir()
	cfg, err := loadValid("testdata/good.full.yml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 11, 24, 15, 20, 11, 0, time.UTC) }
	notices, err := policy.OpenNotices(data, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := notices.Update(cfg.facts(cfg.publicURL(), nil), nil); err != nil {
		t.Fatal(err)
	}
	receipts, err := policy.OpenReceipts(data, notices, now)
	if err != nil {
		t.Fatal(err)
	}
	defer receipts.Close()
	b, err := receipts.Issue(policy.OptOut, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	file, keys := filepath.Join(elsewhere, "receipt.json"), filepath.Join(elsewhere, "keys.json")
	write := func(path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, b)
	write(keys, receipts.Keys())

	out, errs, status := inProcess(t, "receipt", "verify", file, "--data", data)
	for _, want := range []string{
		"act          opt-out\n", "time         2026-11-24 15:20:11 UTC\n", "controller   Example e.V., privacy@example.org\n",
		"notice       example.org, version 1\n", "https://stats.example.org/privacy/history?site=example.org#v1\n",
		"https://stats.example.org/optout?site=example.org\n", "signature    good, key ", "known here   yes, given 2026-11-24 15:20:11 UTC\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%d, %s: it lacks %q:\n%s", status, errs, want, out)
		}
	}
	if status != exitOK {
		t.Errorf("status %d: %s", status, errs)
	}
	// A visitor has the published key and nothing else.
	out, errs, status = inProcess(t, "receipt", "verify", file, "--data", elsewhere, "--key", keys)
	if status != exitOK || !strings.Contains(out, "signature    good") || !strings.Contains(out, "known here   not looked up") {
		t.Errorf("%d\n%s%s", status, out, errs)
	}
	write(file, bytes.Replace(b, []byte(`"act": "opt-out"`), []byte(`"act": "consent"`), 1))
	if out, errs, status = inProcess(t, "receipt", "verify", file, "--data", data); status != exitError || out != "" || !strings.Contains(errs, "altered") {
		t.Errorf("an altered one: %d\n%s%s", status, out, errs)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"verify", file, "--data", elsewhere}, exitError, "--key"},
		{[]string{"verify", keys, "--data", data}, exitError, "this is no receipt"},
		{[]string{"verify", filepath.Join(elsewhere, "none"), "--data", data}, exitError, "no such file"},
		{[]string{"verify", "--data", data}, exitUsage, "missing"},
		{[]string{"show", file, "--data", data}, exitUsage, "receipt verify FILE"},
		{[]string{"verify", file, "--key", file}, exitError, "key file"},
	} {
		if out, errs, status := inProcess(t, append([]string{"receipt"}, c.args...)...); status != c.status || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%q: status %d, %q, %q", c.args, status, out, errs)
		}
	}
}

// What a stranger signed cannot draw on the terminal, or add a line that we did not write.
func TestReceiptPrintsOneLineEach(t *testing.T) {
	var out strings.Builder
	v := &policy.Verified{KeyID: "k"}
	v.Controller.Name = "a\nknown here   yes\x1b[2J\u202e"
	v.Undo.URL = "https://example.org/\r\n"
	if err := printReceipt(&out, v, "no"); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); strings.Contains(s, "\nknown here   yes") || strings.ContainsAny(s, "\x1b\r\u202e") {
		t.Errorf("%q", s)
	}
}

// TestEventsCarryTheNotice: each event has the version it was collected under, through changes of
// meaning, changes of wording and starts.
func TestEventsCarryTheNotice(t *testing.T) {
	db := server(t).NewURL()
	config := func(dnt, phone string) string {
		return fmt.Sprintf("organisation: {name: Example, phone: %q}\nsites: [{domain: example.org, dnt: %s}, {domain: example.net}]\n", phone, dnt)
	}
	cfg := writeConfig(t, config("unlinked", "1"))
	p := start(t, t.TempDir(), "--config", cfg, "--store", db)
	n := 0
	hits := func() {
		n++
		for _, site := range []string{"example.org", "example.net"} {
			if status, _ := p.hit(fmt.Sprintf(`{"n":"pageview","u":"https://%s/%d"}`, site, n)); status != 202 {
				t.Fatalf("status %d", status)
			}
		}
	}
	reloads := 0
	reload := func(text string) {
		if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		reloads++
		eventually(t, "the new configuration", func() (string, bool) {
			return "", strings.Count(p.out.String(), "is in force") == reloads
		})
	}
	hits()                          // 1: version 1
	reload(config("unlinked", "2")) // wording
	hits()                          // 2: version 1
	reload(config("drop", "2"))
	hits() // 3: version 2 of example.org, 1 of example.net
	p.stop()
	p.run()
	hits() // 4: the same

	options, err := clickhouse.ParseDSN(db)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := "[example.net/1 v1 example.net/2 v1 example.net/3 v1 example.net/4 v1 example.org/1 v1 example.org/2 v1 example.org/3 v2 example.org/4 v2]"
	eventually(t, want, func() (string, bool) {
		var got []string
		rows, err := conn.Query(context.Background(), "SELECT concat(site, page, ' v', toString(notice)) AS what FROM events ORDER BY what")
		if err != nil {
			return err.Error(), false
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err.Error(), false
			}
			got = append(got, s)
		}
		return fmt.Sprint(got), fmt.Sprint(got) == want
	})
	notices, err := policy.OpenNotices(p.data, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if h := notices.History("example.org"); len(h) != 2 || len(policy.Changes(h[0].Facts, h[1].Facts)) != 1 {
		t.Errorf("history %+v", h)
	}
}

// TestReceiptOfARunningProgram goes the way of a visitor: opts out, keeps what is answered, and has it
// checked, by the installation and by somebody who has only the published key.
func TestReceiptOfARunningProgram(t *testing.T) {
	cfg := writeConfig(t, "organisation: {name: Example e.V., email: privacy@example.org}\nsites: [{domain: example.org}]\n")
	p := start(t, t.TempDir(), "--config", cfg)
	ask := func(method, path, body string) []byte {
		req, err := http.NewRequest(method, p.public+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %v\n%s", method, path, res.StatusCode, err, b)
		}
		return b
	}
	dir := t.TempDir()
	receipt, keys := filepath.Join(dir, "receipt.json"), filepath.Join(dir, "keys.json")
	if err := os.WriteFile(receipt, ask("POST", "/optout?site=example.org", "optout=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, ask("GET", "/.well-known/footfall-receipt-key.json", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--data", p.data}, "known here   yes, given "},
		{[]string{"--data", dir, "--key", keys}, "known here   not looked up"},
	} {
		out, errs, status := footfall(t, "", append([]string{"receipt", "verify", receipt}, c.args...)...)
		if status != exitOK || !strings.Contains(out, "act          opt-out\n") || !strings.Contains(out, "signature    good") ||
			!strings.Contains(out, "Example e.V., privacy@example.org") || !strings.Contains(out, c.want) {
			t.Errorf("%v: %d\n%s%s", c.args, status, out, errs)
		}
	}
}
