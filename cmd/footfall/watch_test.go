package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/spool"
)

// TestWatch goes through each trouble: it is told of once when it begins, again while it lasts,
// and when it is over, and the metrics say so in between.
func TestWatch(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	start := now
	var (
		log    syncBuffer
		st     spool.Status
		up     = true
		unable = ""
		silent []collector.Silence
	)
	w := &watch{
		now: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil)), limit: 1000,
		spool: func() spool.Status { return st }, storeUp: func() bool { return up },
		ready: func() string { return unable }, silent: func() []collector.Silence { return silent },
	}
	reg := prometheus.NewRegistry()
	if err := w.register(reg); err != nil {
		t.Fatal(err)
	}
	gauge := func(name string, label ...string) float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				if f.GetName() == name && (len(label) == 0 || m.Label[0].GetValue() == label[0]) {
					return m.Gauge.GetValue()
				}
			}
		}
		t.Fatalf("there is no %s", name)
		return 0
	}
	// said advances the clock, looks, and compares the lines that were logged.
	said := func(wait time.Duration, want ...string) {
		t.Helper()
		now = now.Add(wait)
		before := len(log.String())
		w.look()
		lines := strings.Split(strings.TrimSuffix(log.String()[before:], "\n"), "\n")
		if lines[0] == "" {
			lines = nil
		}
		if len(lines) != len(want) {
			t.Fatalf("%v after the start it said %q, want %q", now.Sub(start), lines, want)
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("%v after the start it said %q, want %q", now.Sub(start), lines[i], want[i])
			}
		}
	}

	said(time.Hour)
	if gauge("footfall_ready") != 1 || gauge("footfall_store_down_seconds") != 0 || gauge("footfall_quiet_sites") != 0 {
		t.Error("not healthy at the start")
	}

	up, unable = false, "the spool is full"
	st = spool.Status{Oldest: now, Events: 7, Bytes: 499}
	said(59 * time.Second)
	said(time.Second, `level=ERROR msg="hits do not reach the store; they are kept on disk" oldest=1m0s waiting=7 store_down_for=1m0s`)
	if got := gauge("footfall_store_down_seconds"); got != 60 {
		t.Errorf("down for %v s", got)
	}
	if gauge("footfall_ready") != 0 {
		t.Error("ready with a full spool")
	}
	said(sayAgain - time.Second)
	said(time.Second, "oldest=11m0s")
	st.Bytes = 500
	said(0, `level=ERROR msg="the spool fills up; when it is full hits are refused" full_percent=50 waiting=7`)
	up, unable, st = true, "", spool.Status{}
	said(time.Minute, `level=INFO msg="over: hits do not reach the store; they are kept on disk" lasted=11m0s`, `"over: the spool fills up`)
	if got := gauge("footfall_store_down_seconds"); got != 0 {
		t.Errorf("down for %v s", got)
	}

	silent = []collector.Silence{{Site: "example.org", Since: start}}
	said(time.Second, `level=WARN msg="sites have no hits that usually have some" sites="example.org (none since 2026-11-24T12:00:00Z)"`)
	said(time.Second)
	silent = append(silent, collector.Silence{Site: "example.net", Since: start})
	said(time.Second, "example.net")
	if got := gauge("footfall_quiet_sites"); got != 2 {
		t.Errorf("%v quiet sites", got)
	}
	silent = nil
	for i := range 1000 {
		silent = append(silent, collector.Silence{Site: fmt.Sprintf("s%d.example", i), Since: start})
	}
	said(time.Second, "s19.example (none since 2026-11-24T12:00:00Z), and 980 more\"")
	silent = nil
	said(time.Second, "over: sites have no hits")

	for _, c := range []struct {
		err         error
		clock, file float64
		line        string
	}{
		{fmt.Errorf("anonymize: %w: it leapt", anonymize.ErrClock), 1, 0, `level=ERROR msg="the visitor keys did not advance" error="anonymize: the clock`},
		{errors.New("no space left"), 0, 1, "no space left"},
		{errors.New("no space left"), 0, 1, ""},
		{nil, 0, 0, "over: the visitor keys"},
		{nil, 0, 0, ""},
	} {
		before := len(log.String())
		w.keysAdvanced(c.err)
		line := log.String()[before:]
		if gauge("footfall_keys_stuck", stuckClock) != c.clock || gauge("footfall_keys_stuck", stuckFile) != c.file ||
			(c.line == "") != (line == "") || !strings.Contains(line, c.line) {
			t.Errorf("%v: clock %v, file %v, said %q", c.err, gauge("footfall_keys_stuck", stuckClock), gauge("footfall_keys_stuck", stuckFile), line)
		}
	}
}

// scrape returns what a program says of itself to Prometheus.
func (p *program) scrape() string {
	p.t.Helper()
	res, err := p.client.Get(p.staff + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("metrics: %d %v", res.StatusCode, err)
	}
	return string(b)
}

// sample returns the value of a metric without labels, -1 where there is none.
func sample(metrics, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return -1
	}
	return v
}

// TestStoreThatIsNotThere: hits are taken, the program is ready, and does not pretend that
// all is well.
func TestStoreThatIsNotThere(t *testing.T) {
	p := start(t, t.TempDir(), "--store", "clickhouse://127.0.0.1:1/footfall")
	if status, _ := p.hit(`{"n":"pageview","u":"http://localhost/","d":"localhost"}`); status != 202 {
		t.Fatalf("the hit was answered %d", status)
	}
	for _, name := range []string{"footfall_store_down_seconds", "footfall_spool_oldest_seconds"} {
		before := sample(p.scrape(), name)
		eventually(t, name, func() (string, bool) {
			now := sample(p.scrape(), name)
			return fmt.Sprintf("%v, and before %v", now, before), now > max(before, 0)
		})
	}
	metrics := p.scrape()
	for name, want := range map[string]float64{
		"footfall_store_up": 0, "footfall_ready": 1, "footfall_spool_events": 1, "footfall_stored_events_total": 0, "footfall_quiet_sites": 0,
	} {
		if got := sample(metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !strings.Contains(p.out.String(), "the database cannot be used; events wait in the spool") {
		t.Error("the log does not say that the database cannot be used")
	}
}

// TestRateLimitOfTheProgram: the setting reaches the collector, at the start and by SIGHUP.
func TestRateLimitOfTheProgram(t *testing.T) {
	const sites = "sites: [{domain: localhost}]\n"
	config := writeConfig(t, sites+"rate_limit: 3\n")
	p := start(t, t.TempDir(), "--config", config)
	why := func() string {
		t.Helper()
		status, header := p.hit(`{"n":"pageview","u":"http://localhost/","d":"localhost"}`)
		if status != 202 {
			t.Fatalf("answered %d", status)
		}
		return header.Get("X-Footfall-Dropped")
	}
	for i, want := range []string{"", "", "", "rate", "rate"} {
		if got := why(); got != want {
			t.Errorf("hit %d: dropped %q, want %q", i+1, got, want)
		}
	}
	if err := os.WriteFile(config, []byte(sites), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the limit ends", func() (string, bool) { r := why(); return r, r == "" })
}
