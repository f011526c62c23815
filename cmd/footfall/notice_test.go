package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/policy"
)

// TestEveryColumnHasItsSentence compares what the notice explains with the tables that a running program
// made, and with the files it keeps.
func TestEveryColumnHasItsSentence(t *testing.T) {
	db := server(t).NewURL()
	cfg := writeConfig(t, "organisation: {name: Example}\nsites: [{domain: example.org, cookie: consented}]\n")
	p := start(t, t.TempDir(), "--config", cfg, "--store", db)
	p.hit(`{"n":"pageview","u":"https://example.org/"}`)
	p.wantTotal("example.org", [3]float64{1, 1, 1})

	options, err := clickhouse.ParseDSN(db)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.Query(context.Background(), "SELECT table, name FROM system.columns WHERE database = currentDatabase()")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	stored := map[string][]string{}
	for rows.Next() {
		var table, name string
		if err := rows.Scan(&table, &name); err != nil {
			t.Fatal(err)
		}
		stored[table] = append(stored[table], name)
	}
	if len(stored["events"]) < 40 {
		t.Fatalf("the store has %v", stored)
	}
	explained := policy.Tables()
	for table, columns := range stored {
		if strings.HasPrefix(table, "schema") { // which migrations ran
			continue
		}
		if !slices.Contains(explained, table) {
			t.Errorf("the table %s is not explained", table)
		}
		for _, name := range columns {
			i := slices.IndexFunc(policy.Columns(table), func(c policy.Column) bool { return c.Name == name })
			if i < 0 {
				t.Errorf("the column %s.%s has no sentence: write one in policy/columns.go", table, name)
			} else if c := policy.Columns(table)[i]; c.What == "" || c.Example == "" || c.Why == "" {
				t.Errorf("the sentence of %s.%s is not whole: %+v", table, name, c)
			}
		}
	}
	for _, table := range explained {
		for _, c := range policy.Columns(table) {
			if !slices.Contains(stored[table], c.Name) {
				t.Errorf("%s.%s is explained, and no column", table, c.Name)
			}
		}
	}

	// Everything in the data directory is in the register's list of what could be stolen.
	f := policy.Facts{Address: "truncate", Bits4: 24, Window: "day"}
	_, files := f.Holdings()
	entries, err := os.ReadDir(p.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(files, func(h policy.Holding) bool { ok, _ := path.Match(h.Name, e.Name()); return ok }) {
			t.Errorf("the register does not name the file %s of the data directory", e.Name())
		}
	}

	// The page is served, for the configuration in force.
	res, err := p.client.Get(p.public + "/privacy?site=example.org")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(page), "Version 1, in force since") || !strings.Contains(string(page), "footfall_id") {
		t.Errorf("%d, %v:\n%s", res.StatusCode, err, page)
	}
	// And the command says the same beside it.
	out, errs, status := footfall(t, "", "notice", "--config", cfg, "--data", p.data)
	if status != 0 || errs != "" || !strings.Contains(out, "Version 1, in force since") || !strings.Contains(out, "footfall\\_id") {
		t.Errorf("%d, %s\n%s", status, errs, out)
	}
}

func TestNoticeCommand(t *testing.T) {
	data := t.TempDir()
	args := []string{"notice", "--config", "testdata/good.full.yml", "--data", data}
	for format, want := range map[string]string{
		"html": "<title>How we count visits", "markdown": "# How we count visits: example.org", "json": `"notices": [`,
		"dpv": `"dpv": "https://w3id.org/dpv#"`, "register": "# Record of processing: counting visits to example.net",
	} {
		out, errs, status := inProcess(t, append(args, "--format", format)...)
		if status != exitOK || !strings.Contains(out, want) || !strings.Contains(out, "example.org") || !strings.Contains(out, "example.net") {
			t.Errorf("%s: %d, %s\n%.2000s", format, status, errs, out)
		}
		if !strings.Contains(errs, "becomes version 1") {
			t.Errorf("%s: it is said to be in force: %q", format, errs)
		}
		if format == "json" || format == "dpv" {
			if !json.Valid([]byte(out)) {
				t.Errorf("%s is no JSON", format)
			}
		}
	}
	if out, _, _ := inProcess(t, append(args, "--site", "example.net", "--format", "html")...); strings.Contains(out, "example.com") || !strings.Contains(out, `href="https://stats.example.org/optout?site=example.net"`) {
		t.Errorf("one site's page:\n%.3000s", out)
	}
	for _, bad := range [][]string{{"--format", "pdf"}, {"--site", "nobody.example"}, {"accept", "now"}} {
		if _, errs, status := inProcess(t, append(args, bad...)...); status != exitUsage {
			t.Errorf("%v: status %d, %s", bad, status, errs)
		}
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) > 0 {
		t.Errorf("it left %v (%v)", entries, err)
	}
}

// A template that leaves a fact out is found before anything is served.
func TestTemplatesCannotLeaveOutFacts(t *testing.T) {
	dir := t.TempDir()
	cfg := writeConfig(t, fmt.Sprintf("organisation: {name: Example}\nstore: clickhouse://db.internal/footfall\ntemplates: %q\nsites: [{domain: example.org}]\n", dir))
	if err := os.WriteFile(filepath.Join(dir, "notice.html"), []byte(`{{template "top" .}}<h1>Trust us</h1>{{template "bottom" .}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "serve", "notice"} {
		args := []string{command, "--config", cfg, "--data", t.TempDir()}
		switch command {
		case "serve":
			args = append(args, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0")
		case "notice":
			args = append(args, "--format", "html")
		}
		_, errs, status := inProcess(t, args...)
		if status == exitOK || !strings.Contains(errs, "notice.html leaves out, for example.org") || !strings.Contains(errs, "400 days") {
			t.Errorf("%s: %d, %s", command, status, errs)
		}
	}
	if err := os.Remove(filepath.Join(dir, "notice.html")); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := inProcess(t, "check", "--config", cfg, "--data", t.TempDir()); status != exitOK {
		t.Errorf("without it: %d, %s%s", status, out, errs)
	}
}

// The hour that a key is erased is said for the sites that there are: the last midnight of all.
func TestKeyDelay(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"sites: [{domain: a.example, timezone: Europe/Berlin}]":                                                                      0,
		"sites: [{domain: a.example, timezone: Europe/Berlin}, {domain: b.example}]":                                                 2 * time.Hour, // in summer
		"sites: [{domain: a.example, timezone: Asia/Kolkata}, {domain: b.example, timezone: Pacific/Pago_Pago}]":                     16*time.Hour + 30*time.Minute,
		"sites: [{domain: a.example, timezone: Pacific/Pago_Pago}, {domain: b.example, timezone: Asia/Kolkata}]":                     0,
		"sites: [{domain: a.example, timezone: Europe/Berlin}, {domain: b.example, timezone: America/New_York}]\nspool: {keep: 24h}": 6 * time.Hour,
	} {
		c, err := loadValid(writeConfig(t, text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.facts("http://localhost", nil)[0].KeyDelay; got != int(want/time.Minute) {
			t.Errorf("%s: %d minutes, want %s", text, got, want)
		}
	}
}
