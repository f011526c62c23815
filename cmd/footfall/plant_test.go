package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/anonymize/canary"
)

// TestPlantsAreFound puts marked values where they must not be: in every kind of place that the search looks at, and in
// every form into a file, a column and the log. Each is found: so a search that finds nothing says something.
func TestPlantsAreFound(t *testing.T) {
	plant := "plant" + randomText(12)
	data := t.TempDir()
	config := writeConfig(t, "spool: {keep: 1h}\nsites: [{domain: example.org, cookie: consented, pii: off}, {domain: "+plant+".example}]\n")
	t.Chdir("../..") // where make puts the parts
	cfg, err := loadConfig(config, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data, cfg.Listen, cfg.Staff = data, "127.0.0.1:0", "127.0.0.1:0"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, err := newApp(ctx, cfg, slog.New(slog.DiscardHandler), surroundings{clocks: clocks{now: time.Now}})
	if err != nil {
		t.Fatal(err)
	}
	a.start(ctx)
	defer a.stop()
	p, err := newProver(ctx, cfg, cfg.site("example.org"))
	if err != nil {
		t.Fatal(err)
	}
	m := p.visitors[0]
	text, addr := canary.Text("plant", plant), canary.Address("planted address", m.forwarded4)
	p.search = canary.NewSearch(text, addr)

	// A place of each kind.
	a.tap.listen()
	a.log.Debug("planted", "what", plant)
	metric := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "planted_total", Help: "Planted."}, []string{"what"})
	metric.WithLabelValues(plant).Inc()
	a.registry.MustRegister(metric)
	if err := os.WriteFile(filepath.Join(data, plant), m.forwarded4.AppendTo([]byte("from ")), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(ctx, "sleep", "60")
	child.Env = []string{"PLANT=" + plant}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	for _, site := range []string{"example.org", plant + ".example"} { // the path of a page is kept
		body := fmt.Sprintf(`{"n":"pageview","u":"https://%s/%s","d":%q}`, site, plant, site)
		if answer, err := exchange(ctx, p.public, m.peer, writeRequest("POST", "/api/event", body, m.headers(site, true)...)); err != nil || !counted(answer) {
			t.Fatalf("%v: %s", err, answer)
		}
	}
	if _, _, err := p.ask(ctx, "/prove/flush"); err != nil {
		t.Fatal(err)
	}
	answer, err := exchange(ctx, p.public, m.peer, writeRequest("GET", "/privacy/me?format=json&site=example.org", "", m.headers("example.org", true)...))
	if err != nil {
		t.Fatal(err)
	}
	p.search.LookAt(inAnswers, "/privacy/me", plain(answer))

	// Every form, in a column.
	test := p.search.SelfTest()
	conn, err := clickhouse.Open(a.store.engine.ClickhouseOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "CREATE TABLE planted (at DateTime, v String) ENGINE = MergeTree ORDER BY at"); err != nil {
		t.Fatal(err)
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO planted (at, v)")
	if err != nil {
		t.Fatal(err)
	}
	printable := 0
	for _, sample := range test.Samples() {
		if err := batch.Append(time.Now(), string(sample)); err != nil {
			t.Fatal(err)
		}
		if strings.IndexFunc(string(sample), func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) || r == '"' || r == '\\' }) < 0 {
			printable++
			a.log.Info("planted", "what", string(sample))
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	missed := func(r io.Reader) int {
		t.Helper()
		missed, err := test.Fresh().Missed(r)
		if err != nil {
			t.Fatal(err)
		}
		return len(missed)
	}
	var column bytes.Buffer
	tables := tableSearch{search: p.search}
	if err := askTables(ctx, cfg, time.Minute, func(table, name string, piece []byte) {
		tables.data(table, name, piece)
		if strings.HasSuffix(table, ".planted") && name == "v" {
			column.Write(piece)
		}
	}, tables.done); err != nil {
		t.Fatal(err)
	}
	if n := missed(&column); n != 0 {
		t.Errorf("of %d forms in a column %d are not found", p.search.Forms(), n)
	}
	heard, _, err := p.ask(ctx, "/prove/log")
	if err != nil {
		t.Fatal(err)
	}
	p.search.LookAt(inLog, "log", heard)
	if n := p.search.Forms() - missed(bytes.NewReader(heard)); n < printable || printable < 500 {
		t.Errorf("of %d forms in log lines %d are found", printable, n)
	}

	// The places.
	if err := lookAtFiles(p.search, data, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := lookAtStaffPages(ctx, p.search, cfg, p.staff, "example.org"); err != nil {
		t.Fatal(err)
	}
	if err := lookAtMetrics(ctx, p.search, p.staff); err != nil {
		t.Fatal(err)
	}
	if _, err := lookAtBooks(ctx, p.search, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := lookAtProcesses(p.search, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	found, _ := p.search.Findings()
	in := map[string]bool{}
	places := map[string]bool{}
	for _, f := range found {
		in[f.Group], places[f.Place] = true, true
	}
	for _, group := range allGroups {
		if !in[group] {
			t.Errorf("what is planted in %q is not found", group)
		}
	}
	for _, place := range []string{plant, "default.events.page", "default.events.entry_page", "GET /example.org", "GET /example.org/export.csv?by=event%3Apage"} {
		if !places[place] {
			t.Errorf("what is planted in %s is not found", place)
		}
	}
	if !strings.Contains(fmt.Sprint(found), "planted address") {
		t.Errorf("an address in a file is not found")
	}
}
