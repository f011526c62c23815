package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/store/storetest"
)

// proofConfig has a site for every way to treat addresses, Do-Not-Track, personal data and cookies.
const proofConfig = `
trusted_proxies: [%s]
rate_limit: 40
spool: {max_bytes: 1MiB, keep: 1h, sync: %s}
sites:
  - {domain: cut.example, ip: truncate, pii: mask, dnt: unlinked, cookie: consented}
  - {domain: hash.example, ip: hash, pii: drop, dnt: ignore, timezone: Asia/Kolkata}
  - {domain: drop.example, ip: drop, pii: mask, dnt: drop, geo: false, hostnames: [www.drop.example]}
  - {domain: week.example, ip: truncate, prefix: {ipv4: 16, ipv6: 32}, visitor_window: week, cookie: consented, min_visitors: 5}
`

// proofRun is the whole program with a database, hurt in every way that may make it write something.
type proofRun struct {
	*program
	p      *prover
	server *storetest.Server // nil: embedded
	files  string            // of the server
	config string
}

// TestNothingPersonalIsWritten drives the whole program with marked visitors: every source, every setting of
// a site, broken requests, the rate limit, debug logging, a store that is away until the spool is full, kill -9 of
// everything, replay, a signal that has Go print its stacks. Then every byte that it or the
// database wrote is searched for them, in every form.
func TestNothingPersonalIsWritten(t *testing.T) {
	for _, name := range []string{"embedded", "server"} {
		t.Run(name, func(t *testing.T) {
			r := newProofRun(t, name == "server")
			ctx := t.Context()

			// The addresses that connections come from are the visitors'.
			r.sendToAll(ctx)
			r.overload(ctx)
			r.lookAtData()
			r.killAll()
			r.lookAtData()

			// Those are proxies, and the visitors' are forwarded.
			r.configure("127.0.0.0/8", "always")
			r.wake()
			r.run()
			r.find()
			r.sendToAll(ctx)
			r.flush(ctx)
			if _, errs, status := footfall(t, "", append([]string{"replay", "--data", r.data}, r.args...)...); status != 0 {
				t.Errorf("replay: %s", errs)
			}
			r.crash(ctx)

			r.run()
			r.find()
			r.flush(ctx)
			r.lookAtAll(ctx)
			r.stop()
			r.optimize(ctx)
			r.lookAtData()
			r.p.search.LookAt(inLog, "output", []byte(r.out.String()))

			found, chance := r.p.search.Findings()
			t.Logf("%d forms, %d requests, %d counted; by chance %d, expected %.1f; %+v", r.p.search.Forms(), r.p.Requests, r.p.Counted, len(chance), r.p.search.ByChanceExpected(), r.p.search.Seen())
			for i, f := range found {
				if i == 20 {
					t.Errorf("and %d more", len(found)-i)
					break
				}
				t.Errorf("%s, as %s, is in %s: %s (%d times)", f.Canary, f.Form, f.Group, f.Place, f.Times)
			}
			looked := map[string]int64{}
			for _, s := range r.p.search.Seen() {
				looked[s.Group] = s.Bytes
			}
			for _, group := range allGroups {
				if looked[group] == 0 {
					t.Errorf("nothing was looked at of: %s", group)
				}
			}
			if r.p.Counted < 300 {
				t.Errorf("only %d hits were counted", r.p.Counted)
			}
		})
	}
}

func newProofRun(t *testing.T, onServer bool) *proofRun {
	r := &proofRun{config: writeConfig(t, "")}
	args := []string{"--config", r.config, "--log", "debug"}
	if onServer {
		r.files = t.TempDir()
		r.server = storetest.StartLoggingServer(t, r.files)
		args = append(args, "--store", r.server.NewURL())
	}
	r.configure("10.0.0.0/8", "200ms")
	r.program = start(t, t.TempDir(), args...)
	r.find()
	return r
}

func (r *proofRun) configure(proxies, sync string) {
	if err := os.WriteFile(r.config, fmt.Appendf(nil, proofConfig, proxies, sync), 0o600); err != nil {
		panic(err)
	}
}

// find makes the prover know the program that runs now. Its visitors and its search stay.
func (r *proofRun) find() {
	r.t.Helper()
	cfg, err := loadConfig(r.config, func(string) string { return "" })
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.Data = r.data
	if r.server != nil {
		cfg.Store = storeURL(r.args[len(r.args)-1])
	}
	p, err := newProver(r.t.Context(), cfg, &cfg.Sites[0])
	if err != nil {
		r.t.Fatal(err)
	}
	if r.p != nil {
		p.visitors, p.search, p.Requests, p.Counted, p.began = r.p.visitors, r.p.search, r.p.Requests, r.p.Counted, r.p.began
	}
	r.p = p
	if _, _, err := r.p.ask(r.t.Context(), "/prove/listen"); err != nil {
		r.t.Fatal(err)
	}
}

// sendToAll sends what the visitors send, to each site.
func (r *proofRun) sendToAll(ctx context.Context) {
	r.t.Helper()
	for i := range r.p.cfg.Sites {
		at := newProveSite(&r.p.cfg.Sites[i])
		at.everything = true
		key, err := email.LoadOrCreateKey(r.p.cfg.path("email.key"), time.Now)
		if err != nil {
			r.t.Fatal(err)
		}
		if at.token, err = key.SealOpen(email.Open{Site: at.domain, Campaign: "proof"}); err != nil {
			r.t.Fatal(err)
		}
		for _, m := range r.p.visitors { // another hit at each site
			m.eventID = m.eventID[:len(m.eventID)-1] + fmt.Sprint(i)
		}
		r.p.at = at
		if err := r.p.send(ctx); err != nil {
			r.t.Fatal(err)
		}
		if !r.p.sources {
			r.t.Fatal(errNoSource)
		}
	}
}

// overload stops the database and sends until the spool is full, and then everything once more.
func (r *proofRun) overload(ctx context.Context) {
	r.t.Helper()
	if r.server != nil {
		if err := r.server.Pause(); err != nil {
			r.t.Fatal(err)
		}
	} else if err := syscall.Kill(enginePid(r.t, r.program), syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	var props []string
	for i := range 30 {
		props = append(props, fmt.Sprintf(`"k%d":%q`, i, strings.Repeat("filler", 300)))
	}
	for _, more := range []string{`,"p":{` + strings.Join(props, ",") + "}", ""} { // what is left is filled with little ones
		full := false
		for i := 0; !full && i < 2000; i++ {
			m := r.p.visitors[i%len(r.p.visitors)]
			body := fmt.Sprintf(`{"n":"Fill","u":"https://cut.example/%d?x=%s","d":"cut.example"%s}`, i, m.query, more)
			// From everywhere: the rate limit is in force.
			from := m.peer.As4()
			from[2], from[3] = byte(i), byte(i>>8)
			answer, err := exchange(ctx, r.p.public, netip.AddrFrom4(from), writeRequest("POST", "/api/event", body, m.headers("cut.example", false)...))
			if err != nil {
				r.t.Fatal(err)
			}
			full = strings.Contains(string(answer), " 503 ")
		}
		if !full {
			r.t.Fatal("the spool does not get full")
		}
	}
	refused := 0
	for i, m := range r.p.visitors {
		for _, q := range m.requests(r.p.at, false)[:8] {
			from := m.peer.As4()
			from[1], from[2] = byte(i), 0 // a network without hits until now
			answer, err := exchange(ctx, r.p.public, netip.AddrFrom4(from), q.text)
			if err != nil {
				r.t.Fatal(err)
			}
			if strings.Contains(string(answer), " 503 ") {
				refused++
			}
			r.p.search.LookAt(inAnswers, "refused", plain(answer))
		}
	}
	if refused == 0 {
		r.t.Error("a full spool refuses nothing")
	}
}

// killAll ends the program and its database as a power failure would.
func (r *proofRun) killAll() {
	r.t.Helper()
	if r.server != nil {
		r.server.Kill()
	} else {
		syscall.Kill(enginePid(r.t, r.program), syscall.SIGKILL)
	}
	r.kill()
}

// wake starts the database again.
func (r *proofRun) wake() {
	r.t.Helper()
	if r.server == nil {
		return
	}
	if err := r.server.Restart(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *proofRun) flush(ctx context.Context) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, _, err := r.p.ask(ctx, "/prove/flush"); err != nil {
		r.t.Fatal(err)
	}
}

// crash ends the program by the signal for stacks, in the middle of requests that wait for the disk.
func (r *proofRun) crash(ctx context.Context) {
	r.t.Helper()
	r.lookAtLog(ctx)
	var sending sync.WaitGroup
	stop := make(chan struct{})
	for i := range 24 {
		m := r.p.visitors[i%len(r.p.visitors)]
		text := m.requests(r.p.at, i%2 == 0)[0].text
		sending.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					exchange(ctx, r.p.public, m.peer, text) // it ends with the program
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // so that requests are under way
	if err := r.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.exited:
		r.exited <- nil
	case <-time.After(30 * time.Second):
		r.t.Error("SIGQUIT does not end the program")
	}
	close(stop)
	sending.Wait()
	if !strings.Contains(r.out.String(), "ended by a signal") {
		r.t.Error("the end is not told")
	}
	eventually(r.t, "the engine's end", func() (string, bool) { return "", enginePid(r.t, r.program) == 0 })
}

func (r *proofRun) lookAtLog(ctx context.Context) {
	r.t.Helper()
	log, _, err := r.p.ask(ctx, "/prove/log")
	if err != nil {
		r.t.Fatal(err)
	}
	r.p.search.LookAt(inLog, "listened to", log)
}

// lookAtData searches all files, also the server's.
func (r *proofRun) lookAtData() {
	r.t.Helper()
	if err := lookAtFiles(r.p.search, r.data, nil); err != nil {
		r.t.Fatal(err)
	}
	if r.files != "" {
		if err := lookAtFiles(r.p.search, r.files, nil); err != nil {
			r.t.Fatal(err)
		}
	}
}

// lookAtAll searches what a running program shows.
func (r *proofRun) lookAtAll(ctx context.Context) {
	r.t.Helper()
	tables := tableSearch{search: r.p.search}
	err := askTables(ctx, r.p.cfg, 0, tables.data, tables.done)
	for i := range r.p.cfg.Sites {
		if err == nil {
			_, err = lookAtStaffPages(ctx, r.p.search, r.p.cfg, r.p.staff, r.p.cfg.Sites[i].Domain)
		}
	}
	err = errors.Join(err, lookAtMetrics(ctx, r.p.search, r.p.staff))
	balances, booksErr := lookAtBooks(ctx, r.p.search, r.p.cfg)
	_, procErr := lookAtProcesses(r.p.search, r.p.serve.PID)
	if err = errors.Join(err, booksErr, procErr); err != nil {
		r.t.Fatal(err)
	}
	if !balances {
		r.t.Error("the books do not balance")
	}
	columns, queries := 0, false
	for _, x := range tables.tables {
		columns += len(x.Columns)
		queries = queries || x.Name == "system.query_log" && x.Rows > 0
		if strings.HasSuffix(x.Name, ".events") && x.Rows < uint64(r.p.Counted) {
			r.t.Errorf("%d hits were counted, and the table of events has %d rows", r.p.Counted, x.Rows)
		}
	}
	if columns < 70 || r.server != nil && !queries {
		r.t.Errorf("read back: %+v", tables.tables)
	}
	r.lookAtLog(ctx)
}

// optimize has the database write everything anew.
func (r *proofRun) optimize(ctx context.Context) {
	r.t.Helper()
	var opt *clickhouse.Options
	if r.server != nil {
		var err error
		if opt, err = clickhouse.ParseDSN(r.args[len(r.args)-1]); err != nil {
			r.t.Fatal(err)
		}
	} else {
		e, err := storetest.NewEngine(r.data)
		if err != nil {
			r.t.Fatal(err)
		}
		defer storetest.StopEngine(e)
		opt = e.ClickhouseOptions()
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	for _, table := range []string{"events", "ledger", "days", "daily"} {
		if err := conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			r.t.Fatal(err)
		}
	}
}
