package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store/engine"
)

func day(s string) event.Day {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return event.DayOf(t)
}

func TestPeriodBefore(t *testing.T) {
	for _, c := range []struct{ period, today, want string }{
		{"1d", "2026-03-01", "2026-02-28"},
		{"400d", "2026-11-24", "2025-10-20"},
		{"2w", "2026-01-03", "2025-12-20"},
		{"1mo", "2026-03-31", "2026-02-28"},
		{"1mo", "2024-03-31", "2024-02-29"},
		{"13mo", "2026-01-15", "2024-12-15"},
		{"25mo", "2026-11-30", "2024-10-30"},
		{"1y", "2024-02-29", "2023-02-28"},
		{"99y", "2026-11-24", "1970-01-01"},
		{"99999d", "2026-11-24", "1970-01-01"},
	} {
		if got := period(c.period).before(day(c.today)); got != day(c.want) {
			t.Errorf("%s before %s is %s, want %s", c.period, c.today, got, c.want)
		}
	}
}

func TestRetentionSetting(t *testing.T) {
	for text, want := range map[string]string{
		"90d":                          "{90d 90d 90d 90d}",
		"{events: 90d, rollups: 25mo}": "{90d 25mo 90d 90d}",
		"{recipients: 13mo}":           "{400d 400d 400d 13mo}",
		"{ledger: 2y, rollups: 3y}":    "{400d 3y 2y 400d}",
		"{events: 400d, rollups: 90d}": "sites[0].retention.rollups: 90d is less than that of events, 400d: write as much or more",
		"{events: 2y, ledger: 1y}":     "sites[0].retention.ledger: 1y is less than that of events, 2y: write as much or more",
		"{events: 400d, mails: 90d}":   `unknown key "mails"`,
		"{events: soon}":               `"soon" is no period`,
		"[90d]":                        "is no period",
	} {
		c, err := loadValid(writeConfig(t, "sites: [{domain: example.org, retention: "+text+"}]\n"), noEnv)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			r := c.Sites[0].Retention
			got = "{" + strings.Join([]string{string(r.Events), string(r.Rollups), string(r.Ledger), string(r.Recipients)}, " ") + "}"
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A run is due once after each site's midnight, when the policy changes, and an hour after one that failed.
func TestDisposalIsDue(t *testing.T) {
	c, err := loadValid(writeConfig(t, "sites: [{domain: a.example, timezone: Pacific/Auckland}, {domain: b.example, timezone: America/New_York}]\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Data = t.TempDir()
	now := time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC) // New York's clocks go forward the night after
	o := disposerOptions{config: func() *Config { return c }, now: func() time.Time { return now }}
	d, err := newDisposer(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !d.due() {
		t.Error("the first run is not due")
	}
	var runs []string
	for range 3 * 24 * 60 {
		if now = now.Add(time.Minute); d.due() {
			runs = append(runs, now.Format("02T15:04"))
			d.last = &certificate{Time: now, OK: true, Policy: d.policies(now.Add(-disposeAfter))}
		}
	}
	if got := strings.Join(runs, " "); got != "07T00:01 07T05:20 07T11:20 08T05:20 08T11:20 09T04:20 09T11:20" {
		t.Errorf("runs at %s", got)
	}
	if _, _, err := d.last.write(c.Data); err != nil {
		t.Fatal(err)
	}
	if d, err = newDisposer(o, nil); err != nil || d.due() {
		t.Errorf("after a restart it is due again (%v)", err)
	}
	c.Sites[0].Retention = keptFor("30d")
	if !d.due() {
		t.Error("a shorter period is not acted on")
	}
	d.last = &certificate{Time: now, Policy: d.policies(now)}
	if now = now.Add(disposeRetry - time.Second); d.due() {
		t.Error("one that failed is due too soon")
	}
	if now = now.Add(time.Second); !d.due() {
		t.Error("one that failed is not tried again")
	}
}

// fillOld stores an event for each of some days ago, of a store that no program uses.
func fillOld(t *testing.T, c *Config, ago ...int) {
	t.Helper()
	if libs, _ := filepath.Glob("../../.parts/node_modules/@chdb/lib-*/libchdb.*"); len(libs) > 0 && os.Getenv(engine.LibraryEnv) == "" {
		path, err := filepath.Abs(libs[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(engine.LibraryEnv, path)
	}
	s := streams{strings.NewReader(""), io.Discard, io.Discard, noEnv}
	err := withStore(t.Context(), s, c, func(st *storeConn, _ *slog.Logger) error {
		b := &event.Batch{ID: 77}
		for i, n := range ago {
			at := time.Now().UTC().AddDate(0, 0, -n)
			e := event.Event{ID: uint64(i + 1), Site: "example.org", Time: at.Unix(), Day: event.DayOf(at), Kind: event.PageView,
				VisitorID: uint64(i + 1), Hostname: "example.org", Page: "/old"}
			e.Visit.ID, e.Visit.EntryPage = uint64(i+1), "/old"
			b.Events = append(b.Events, e)
		}
		return st.Write(t.Context(), b)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// retention runs the subcommand and returns the certificate that it prints.
func (p *program) retention(want int, args ...string) (c certificate) {
	p.t.Helper()
	out, errs, status := footfall(p.t, "", append(append([]string{"retention", "--json", "--data", p.data}, p.args...), args...)...)
	if status != want {
		p.t.Fatalf("retention %v: status %d, want %d: %s%s", args, status, want, out, errs)
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// TestRetention: what would go is told, goes, stays gone, and is certified; beside a serve and without one.
func TestRetention(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			config := writeConfig(t, "sites: [{domain: example.org, retention: {events: 30d, rollups: 60d, ledger: 90d}}]\n")
			data := t.TempDir()
			c, err := loadValid(config, noEnv)
			if err != nil {
				t.Fatal(err)
			}
			c.Data = data
			if store != "embedded" {
				c.Store = storeURL(store)
			}
			fillOld(t, c, 400, 91, 61, 60, 31, 30, 1)
			p := start(t, data, "--store", store, "--config", config)
			if x := p.retention(exitOK, "--dry-run"); x.OK || x.due("events") != 5 || x.due("ledger") == 0 || len(x.Removed) != 0 {
				t.Errorf("what would go is %+v", x)
			}
			if x := p.retention(exitError, "verify"); x.OK || len(x.Errors) == 0 || !strings.Contains(strings.Join(x.Errors, " "), "example.org: 5 rows of events") {
				t.Errorf("the verification says %+v", x)
			}
			x := p.retention(exitOK)
			if !x.OK || x.removed("events") != 5 || x.BytesFreed <= 0 || len(x.Keys) != 3 || x.Policy[0].Rollups != "60d" {
				t.Errorf("the certificate says %+v", x)
			}
			if x := p.retention(exitOK, "verify"); !x.OK {
				t.Errorf("the verification says %+v", x)
			}
			x.wantKept(t, data)
			p.wantDisposed(3, 2)
			p.kill()
			p.wantDisposed(3, 2)
			if x := p.retention(exitOK); !x.OK || x.removed("events") != 0 {
				t.Errorf("without a serve: %+v", x)
			}
			p.run()
			if m := p.scrape(); !strings.Contains(m, "footfall_retention_failed 0\n") {
				t.Error("the metrics say that it failed")
			}
		})
	}
}

func (c *certificate) due(kind string) (n uint64) {
	for _, l := range c.Left {
		if l.Kind == kind {
			n += l.Due
		}
	}
	return n
}

func (c *certificate) removed(kind string) (n uint64) {
	for _, r := range c.Removed {
		if r.Kind == kind {
			n += r.Rows
		}
	}
	return n
}

// wantKept fails unless the certificate is on disk as it was printed, and its hash in the audit log.
func (c *certificate) wantKept(t *testing.T, data string) {
	t.Helper()
	last, good, err := readCertificates(data)
	if err != nil || last == nil || good == nil || string(mustMarshal(last)) != string(mustMarshal(c)) {
		t.Fatalf("on disk is %+v (%v), want %+v", last, err, c)
	}
	noted := false
	if _, err := policy.VerifyAudit(data, policy.AuditHead{}, func(e policy.AuditEntry) bool {
		if e.Action == policy.AuditDisposal {
			text, err := os.ReadFile(filepath.Join(data, certificatesDir, e.Object))
			noted = noted || err == nil && e.Detail["sha256"] == sumOf(text) && e.Detail["outcome"] == "removed"
		}
		return true
	}); err != nil || !noted {
		t.Errorf("the audit log does not have it (%v)", err)
	}
}

// login returns a client that is logged in by the link that the program printed.
func (p *program) login() *http.Client {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	res, err := c.Get(p.link)
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	p.t.Cleanup(c.CloseIdleConnections)
	return c
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (p *program) wantDisposed(disposed, stored uint64) {
	p.t.Helper()
	out, errs, status := footfall(p.t, "", append([]string{"ledger", "--json", "--data", p.data}, p.args...)...)
	var r booksReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitOK {
		p.t.Fatalf("ledger: status %d, %v: %s%s", status, err, out, errs)
	}
	if !r.Balances || r.Total.Disposed != disposed || r.Total.Stored != stored {
		p.t.Errorf("the books say %+v, want %d disposed and %d stored", r.Total, disposed, stored)
	}
}

// TestDisposalFails: a table that is not there is told by the exit status, the certificate, the metrics, the log and on the
// dashboard, until a run succeeds.
func TestDisposalFails(t *testing.T) {
	url := server(t).NewURL()
	config := writeConfig(t, "sites: [{domain: example.org, retention: 30d}]\n")
	data := t.TempDir()
	c, err := loadValid(config, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	c.Data, c.Store = data, storeURL(url)
	fillOld(t, c, 40, 1)
	p := start(t, data, "--store", url, "--config", config)
	opt, err := clickhouse.ParseDSN(url)
	if err != nil {
		t.Fatal(err)
	}
	db, err := clickhouse.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(context.Background(), "DETACH TABLE ledger"); err != nil {
		t.Fatal(err)
	}
	x := p.retention(exitError)
	if x.OK || len(x.Errors) == 0 || x.FailingSince.IsZero() {
		t.Errorf("the certificate says %+v", x)
	}
	since := x.FailingSince
	if m := p.scrape(); !strings.Contains(m, "footfall_retention_failed 1\n") {
		t.Error("the metrics do not say that it failed")
	}
	client := p.login()
	warned := func() bool {
		res, err := client.Get(p.staff + "/example.org")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("the dashboard answers %d (%v)", res.StatusCode, err)
		}
		return bytes.Contains(b, []byte("Old data could not be removed since "))
	}
	if err := db.Exec(context.Background(), "ATTACH TABLE ledger"); err != nil {
		t.Fatal(err)
	}
	if !warned() {
		t.Error("the dashboard does not warn")
	}
	if x := p.retention(exitError, "verify"); !strings.Contains(strings.Join(x.Errors, " "), "rows of events are older than is kept") {
		t.Errorf("the verification says %q", x.Errors)
	}
	p.stop()
	p.run()
	if m := p.scrape(); !strings.Contains(m, "footfall_retention_failed 1\n") {
		t.Error("after a restart the metrics do not say that it failed")
	}
	if last, _, err := readCertificates(data); err != nil || last.OK || !last.FailingSince.Equal(since) {
		t.Errorf("after a restart the certificate says %+v (%v)", last, err)
	}
	if x := p.retention(exitOK); !x.OK || x.removed("events") != 1 {
		t.Errorf("in the end the certificate says %+v", x)
	}
	client = p.login()
	if warned() {
		t.Error("the dashboard warns still")
	}
	if m := p.scrape(); !strings.Contains(m, "footfall_retention_failed 0\n") {
		t.Error("the metrics say that it failed still")
	}
}
