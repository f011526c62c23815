package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const today = `"date_range":"day"`

// wantTotal waits until the day's page views, visitors and visits are these.
func (p *program) wantTotal(site string, want [3]float64) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("page views, visitors, visits %v", want), func() (string, bool) {
		m, err := p.tryQuery(`{"site_id":"` + site + `","metrics":["pageviews","visitors","visits"],` + today + `}`)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprint(m[""]), [3]float64(m[""]) == want
	})
}

const twoSites = `
trusted_proxies: [127.0.0.1]
sites:
  - domain: example.org
    timezone: Asia/Kolkata
  - domain: example.net
    ip: drop
    dnt: drop
`

// TestHitBecomesANumber takes hits from the socket to the Stats API, on both stores, over
// a crash and a clean stop.
func TestHitBecomesANumber(t *testing.T) {
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), "--config", writeConfig(t, twoSites), "--store", url)
			for _, addr := range []string{"81.2.69.142", "81.2.69.142", "89.160.20.112"} {
				status, h := p.hit(`{"n":"pageview","u":"https://example.org/news?utm_source=mail&secret=1#x","d":"example.org","r":"https://www.google.com/search?q=x"}`,
					"X-Forwarded-For", addr)
				if status != 202 || h.Get("X-Footfall-Dropped") != "" {
					t.Fatalf("status %d, dropped %q", status, h.Get("X-Footfall-Dropped"))
				}
			}
			p.wantTotal("example.org", [3]float64{3, 2, 2})
			p.hit(`{"name":"Signup","url":"https://example.org/news","domain":"example.org","props":{"plan":"free"}}`, "X-Forwarded-For", "81.2.69.142")

			p.kill() // as a crash does: what was answered is there
			p.run()
			p.hit(`{"n":"pageview","u":"https://example.org/about","d":"example.org"}`, "X-Forwarded-For", "81.2.69.142")
			p.wantTotal("example.org", [3]float64{4, 2, 2}) // the visit goes on

			if took := p.stop(); took > 10*time.Second {
				t.Errorf("the stop took %s", took)
			}
			p.run()
			p.wantTotal("example.org", [3]float64{4, 2, 2})
			got := p.query(`{"site_id":"example.org","metrics":["events"],` + today + `,"dimensions":["event:props:plan"],"filters":[["is","event:name",["Signup"]]]}`)
			if len(got["free"]) != 1 || got["free"][0] != 1 {
				t.Errorf("events by plan: %v", got)
			}
			got = p.query(`{"site_id":"example.org","metrics":["pageviews"],` + today + `,"dimensions":["event:page"]}`)
			if got["/news"][0] != 3 || got["/about"][0] != 1 || len(got) != 2 {
				t.Errorf("page views by page: %v", got)
			}
			got = p.query(`{"site_id":"example.org","metrics":["visits"],` + today + `,"dimensions":["visit:country"]}`)
			if got["GB"] == nil || got["SE"] == nil {
				t.Errorf("visits by country: %v", got)
			}
		})
	}
}

// TestStoreDown: hits are acknowledged while the database is down, and counted afterwards.
func TestStoreDown(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		p := start(t, t.TempDir())
		p.hit(`{"n":"pageview","u":"http://localhost/a"}`)
		p.wantTotal("localhost", [3]float64{1, 1, 1})
		for range 3 {
			pid := enginePid(t, p)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if status, _ := p.hit(`{"n":"pageview","u":"http://localhost/b"}`); status != 202 {
				t.Fatalf("status %d without an engine", status)
			}
			eventually(t, "another engine", func() (string, bool) { n := enginePid(t, p); return fmt.Sprint(n), n != pid && n != 0 })
		}
		p.wantTotal("localhost", [3]float64{4, 1, 1})
		res, err := p.client.Get(p.public + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("readyz %d", res.StatusCode)
		}
		// The engine ends with its parent, even one that is killed.
		pid := enginePid(t, p)
		p.kill()
		eventually(t, "the engine's end", func() (string, bool) { return fmt.Sprint(pid), syscall.Kill(pid, 0) != nil })
	})
	t.Run("server", func(t *testing.T) {
		p := start(t, t.TempDir(), "--store", server(t).NewURL())
		p.hit(`{"n":"pageview","u":"http://localhost/a"}`)
		p.wantTotal("localhost", [3]float64{1, 1, 1})
		server(t).Kill()
		for range 5 {
			if status, _ := p.hit(`{"n":"pageview","u":"http://localhost/b"}`); status != 202 {
				t.Fatalf("status %d without a server", status)
			}
		}
		if err := server(t).Restart(); err != nil {
			t.Fatal(err)
		}
		p.wantTotal("localhost", [3]float64{6, 1, 1})
	})
}

// enginePid finds the program's engine among the processes, 0 if there is none now.
func enginePid(t *testing.T, p *program) int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range procs {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		var pid, ppid int
		var state string
		_, rest, _ := strings.Cut(string(b), ") ")
		fmt.Sscan(string(b), &pid)
		fmt.Sscan(rest, &state, &ppid)
		if ppid == p.cmd.Process.Pid && state != "Z" {
			return pid
		}
	}
	return 0
}

func TestTwoOnOneDirectory(t *testing.T) {
	p := start(t, t.TempDir())
	_, errs, status := footfall(t, "", "serve", "--data", p.data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0")
	if status != 1 || !strings.Contains(errs, "another footfall uses") {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestReloadOnSIGHUP(t *testing.T) {
	cfg := writeConfig(t, "sites: [{domain: example.org}]\n")
	p := start(t, t.TempDir(), "--config", cfg)
	dropped := func() string {
		_, h := p.hit(`{"n":"pageview","u":"https://example.net/","d":"example.net"}`)
		return h.Get("X-Footfall-Dropped")
	}
	if r := dropped(); r != "site" {
		t.Fatalf("an unknown site is dropped for %q", r)
	}
	rewrite := func(text string) {
		if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	rewrite("sites: [{domain: example.org, colour: red}]\n")
	eventually(t, "the refusal", func() (string, bool) {
		return "", strings.Contains(p.out.String(), "refused") && strings.Contains(p.out.String(), "colour")
	})
	if status, h := p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org"}`); status != 202 || h.Get("X-Footfall-Dropped") != "" {
		t.Errorf("the old configuration is not in force: %d", status)
	}
	rewrite("sites: [{domain: example.org}, {domain: example.net}]\n")
	eventually(t, "the new site", func() (string, bool) { r := dropped(); return r, r == "" })
}

func TestSubcommands(t *testing.T) {
	data := t.TempDir()
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		out    string // contained in what is printed, on either output
	}{
		{"", []string{}, 2, "Usage"},
		{"", []string{"help"}, 0, "serve"},
		{"", []string{"nonsense"}, 2, "nonsense"},
		{"", []string{"version"}, 0, "footfall "},
		{"", []string{"check", "--data", data}, 0, "ok"},
		{"", []string{"check", "--config", "cmd/footfall/testdata/bad.unknown-key.yml"}, 2, `line 2: unknown key "listen_on"`},
		{"", []string{"check", "--config", "missing.yml"}, 2, "missing.yml"},
		{"", []string{"serve", "--colour"}, 2, "colour"},
		{"", []string{"serve", "extra"}, 2, "extra"},
		{"", []string{"token", "list", "--data", data}, 0, ""},
		{"", []string{"token", "--data", data, "add", "ci"}, 0, "ff_"},
		{"", []string{"token", "add", "ci", "--data", data}, 1, "taken"},
		{"", []string{"token", "list", "--data", data}, 0, "ci"},
		{"", []string{"token", "remove", "ci", "--data", data}, 0, ""},
		{"", []string{"token", "remove", "ci", "--data", data}, 1, "nobody and nothing"},
		{"", []string{"token", "add", "--data", data}, 2, "token add NAME"},
		{"correct horse\n", []string{"user", "add", "ada", "--data", data}, 0, ""},
		{"short\n", []string{"user", "passwd", "ada", "--data", data}, 1, "8 characters"},
		{"", []string{"user", "list", "--data", data}, 0, "ada"},
		{"", []string{"user", "link", "--data", data}, 0, "/login?token="},
		{"", []string{"user", "remove", "ada", "--data", data}, 0, ""},
		{"", []string{"email", "pixel", "--site", "localhost", "--campaign", "News", "--data", data}, 0, "/o/"},
		{"", []string{"email", "pixel", "--site", "elsewhere", "--campaign", "News", "--data", data}, 2, "not configured"},
		{"", []string{"email", "pixel", "--site", "localhost", "--data", data}, 2, "campaign"},
		{"", []string{"email", "pixel", "--site", "localhost", "--campaign", strings.Repeat("x", 25), "--data", data}, 2, "24"},
		{"", []string{"query", `{"site_id":"localhost"}`, "--data", data}, 2, "metrics"},
		{"", []string{"query", `{"site_id":"localhost","metrics":["visitors"],"date_range":"day"}`, "--data", data}, 0, `"metrics":[0]`},
	} {
		out, errs, status := footfall(t, c.stdin, c.args...)
		if status != c.status || !strings.Contains(out+errs, c.out) {
			t.Errorf("footfall %q: status %d, want %d with %q:\n%s%s", c.args, status, c.status, c.out, out, errs)
		}
	}
}

func TestQueryBesideServe(t *testing.T) {
	p := start(t, t.TempDir())
	p.hit(`{"n":"pageview","u":"http://localhost/a"}`)
	p.wantTotal("localhost", [3]float64{1, 1, 1})
	out, errs, status := footfall(t, "", "query", "--data", p.data, `{"site_id":"localhost","metrics":["pageviews"],`+today+`}`)
	if status != 0 || results(t, []byte(out))[""][0] != 1 {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

func TestMetricsAndAccess(t *testing.T) {
	p := start(t, t.TempDir())
	p.hit(`{"n":"pageview","u":"http://localhost/a"}`)
	p.hit(`{"n":"pageview","u":"http://localhost/a"}`, "User-Agent", "Googlebot/2.1")
	p.wantTotal("localhost", [3]float64{1, 1, 1})
	get := func(url string, header ...string) (int, string) {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	var metrics string
	eventually(t, "the insert in the metrics", func() (string, bool) { // rows are seen before their insert is over
		status, text := get(p.staff + "/metrics")
		metrics = text
		return fmt.Sprint(status), status == 200 && strings.Contains(text, "footfall_stored_events_total 1\n")
	})
	for _, name := range []string{"footfall_hits_total{", "footfall_request_seconds_bucket", "footfall_spool_events", "footfall_spool_bytes",
		"footfall_store_up 1", "footfall_insert_seconds_bucket", "footfall_active_sessions 1", `reason="bot"`} {
		if !strings.Contains(metrics, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
	if status, _ := get(p.staff+"/metrics", "X-Forwarded-For", "203.0.113.7"); status != 401 {
		t.Errorf("metrics by a proxy without a token: %d", status)
	}
	for path, want := range map[string]int{
		"/healthz": 200, "/login": 200, "/api/v2/realtime?site_id=localhost": 401,
	} {
		if status, _ := get(p.staff + path); status != want {
			t.Errorf("staff %s: %d, want %d", path, status, want)
		}
	}
	for _, path := range []string{"/", "/login", "/metrics", "/localhost", "/api/v2/realtime"} {
		if status, _ := get(p.public + path); status != 404 {
			t.Errorf("public %s: %d, want 404", path, status)
		}
	}
	_, n := get(p.staff+"/api/v2/realtime?site_id=localhost", "Authorization", "Bearer "+p.token)
	if strings.TrimSpace(n) != `{"visitors":1}` {
		t.Errorf("realtime %s", n)
	}
}

// TestDemo fills the demo and asks for its numbers.
func TestDemo(t *testing.T) {
	data := t.TempDir()
	_, errs, status := footfall(t, "", "demo", "--fill-only", "--days", "3", "--visitors", "60",
		"--data", data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0")
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	out, errs, status := footfall(t, "", "query", "--data", data, "--config", writeConfig(t, "sites: [{domain: demo.example}]"),
		`{"site_id":"demo.example","metrics":["visitors","pageviews"],"date_range":"7d","dimensions":["time:day"]}`)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	days := results(t, []byte(out))
	if len(days) < 3 {
		t.Errorf("days: %v", days)
	}
	if _, errs, status := footfall(t, "", "ledger", "--data", data, "--config", writeConfig(t, "sites: [{domain: demo.example}]")); status != 0 {
		t.Errorf("the demo's books: status %d: %s", status, errs)
	}
	for day, m := range days {
		if m[0] < 1 || m[1] < m[0] {
			t.Errorf("%s: %v visitors and page views", day, m)
		}
	}
	// Again: what is there is served, and nothing is added to the past.
	_, errs, status = footfall(t, "", "demo", "--fill-only", "--data", data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0")
	if status != 0 || !strings.Contains(errs, "filled already") || strings.Contains(errs, "Inventing") {
		t.Errorf("a second demo: status %d: %s", status, errs)
	}
	if err := os.Remove(filepath.Join(data, demoFilled)); err != nil {
		t.Fatal(err)
	}
	_, errs, status = footfall(t, "", "demo", "--data", data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0")
	if status != 2 || !strings.Contains(errs, "empty directory") {
		t.Errorf("among other data: status %d: %s", status, errs)
	}
}
