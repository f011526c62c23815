package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/kantarainitiative/footfall/anonymize/canary"
	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/policy"
)

const (
	proveVisitors = 6                // four-byte forms of one address occur by chance; of six in one place they do not
	proveTime     = 30 * time.Minute // of a whole proof
	proveWait     = 2 * time.Minute  // for the store
	proveFile     = "prove-self-test"
)

// proof is what `footfall prove` did and found, as it is printed with --json.
type proof struct {
	Site     string        `json:"site"`
	Began    string        `json:"began"`
	Seconds  float64       `json:"seconds"`
	Visitors int           `json:"visitors"`
	Canaries int           `json:"canaries"`
	Forms    int           `json:"forms"`
	SelfTest proofSelfTest `json:"self_test"`
	Requests int           `json:"requests"`
	Counted  int           `json:"counted"` // of the requests
	Places   []canary.Seen `json:"places"`
	Tables   []proofTable  `json:"tables"`
	Pages    int           `json:"pages"` // of the dashboard and exports that came

	Found            []canary.Finding `json:"found"`
	ByChance         []canary.Finding `json:"by_chance"`
	ByChanceExpected float64          `json:"by_chance_expected"`

	NotLookedAt []string `json:"not_looked_at"`
	Left        uint64   `json:"left"`     // rows of the marked visitors that are still held
	Balances    bool     `json:"balances"` // the books, after the marked visitors' rows are erased
	Passed      bool     `json:"passed"`
}

// proofSelfTest is whether the search finds what it looks for.
type proofSelfTest struct {
	Forms  int      `json:"forms"`
	Found  int      `json:"found"`
	Missed []string `json:"missed,omitempty"`
}

// proofTable is a table that was read back.
type proofTable struct {
	Name    string `json:"name"`
	Columns int    `json:"columns"`
	Rows    uint64 `json:"rows"`
	Of      uint64 `json:"of"`
	Refused bool   `json:"refused,omitempty"`
}

// prover is a proof under way.
type prover struct {
	proof
	cfg      *Config
	serve    proveTarget
	public   string // where the public listener is reached
	staff    string
	at       proveSite
	visitors []*marked
	search   *canary.Search
	sources  bool // requests can come from addresses of our choice
	began    time.Time
}

func runProve(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("prove", s)
	site := f.String("site", "", "the `site` that the marked visitors go to (default: the first)")
	asJSON := f.Bool("json", false, "print JSON")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if *site == "" {
		*site = cfg.Sites[0].Domain
	}
	sc := cfg.site(*site)
	if sc == nil {
		return usagef("--site: %q is not configured", *site)
	}
	ctx, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	p, err := newProver(ctx, cfg, sc)
	if err != nil {
		return err
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(&p.proof)
	} else {
		err = p.print(s.out)
	}
	if err == nil && !p.Passed {
		err = p.verdict()
	}
	return err
}

// newProver finds the serve that is to be looked at, and makes marked visitors.
func newProver(ctx context.Context, cfg *Config, site *SiteConfig) (*prover, error) {
	p := &prover{cfg: cfg, at: newProveSite(site), began: time.Now()}
	answer, status, err := askServe(ctx, cfg, http.MethodGet, "/prove", nil)
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("no footfall serve runs on %s: start it, and prove again beside it", cfg.Data)
	}
	if err := json.Unmarshal(answer, &p.serve); err != nil {
		return nil, err
	}
	p.public, p.staff = reachable(p.serve.Public), reachable(p.serve.Staff)
	key, err := email.LoadOrCreateKey(cfg.path("email.key"), time.Now)
	if err != nil {
		return nil, err
	}
	if p.at.token, err = key.SealOpen(email.Open{Site: p.at.domain, Campaign: "footfall prove"}); err != nil {
		return nil, err
	}
	if p.at.click, err = key.SealClick(email.Click{Site: p.at.domain, Campaign: "footfall prove", URL: "https://" + p.at.host + "/footfall-prove/click"}); err != nil {
		return nil, err
	}
	piiOff := collector.PII(site.PII) == collector.PIIOff
	if piiOff {
		p.NotLookedAt = append(p.NotLookedAt, "e-mail addresses in paths: the site has pii: off, so they are kept as they come")
	}
	var all []canary.Canary
	for i := range proveVisitors {
		m := newMarked(i + 1)
		p.visitors = append(p.visitors, m)
		all = append(all, m.canaries(piiOff)...)
	}
	p.search = canary.NewSearch(all...)
	p.proof.Site, p.proof.Began = p.at.domain, p.began.UTC().Format(time.RFC3339)
	p.Visitors, p.Canaries, p.Forms = len(p.visitors), len(all), p.search.Forms()
	return p, nil
}

// run does all of it. What the marked visitors left is erased also when something fails.
func (p *prover) run(ctx context.Context) (err error) {
	if err := p.selfTest(); err != nil {
		return err
	}
	if _, _, err := p.ask(ctx, "/prove/listen"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			within(proveWait, func(ctx context.Context) { p.erase(ctx) })
		}
	}()
	if err := p.send(ctx); err != nil {
		return err
	}
	// While hits wait in the spool.
	if err := lookAtFiles(p.search, p.cfg.Data, notEngine); err != nil {
		return err
	}
	flush, cancel := context.WithTimeout(ctx, proveWait)
	defer cancel()
	if _, _, err := p.ask(flush, "/prove/flush"); err != nil {
		return fmt.Errorf("the hits are not stored: %w", err)
	}
	held, err := p.held(ctx)
	if err != nil {
		return err
	}
	if p.Counted == 0 || held == 0 {
		return fmt.Errorf("no hit of a marked visitor was counted at %s, so there is nothing to prove: are its hostnames or a rate limit in the way?", p.at.domain)
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	erasing, cancel := context.WithTimeout(ctx, proveWait)
	defer cancel()
	if err := p.erase(erasing); err != nil {
		return err
	}
	return p.finish(ctx)
}

// selfTest writes every form into a file of the data directory, and finds it there.
func (p *prover) selfTest() error {
	test := p.search.SelfTest()
	path := p.cfg.path(proveFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	if _, err := test.WriteTo(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	missed, err := test.Missed(f)
	p.SelfTest = proofSelfTest{Forms: p.Forms, Found: p.Forms - len(missed), Missed: missed}
	return err
}

func (p *prover) ask(ctx context.Context, path string) ([]byte, int, error) {
	b, status, err := askServe(ctx, p.cfg, http.MethodPost, path, nil)
	if err == nil && status != http.StatusOK {
		err = errors.New(errorText(b))
	}
	return b, status, err
}

// source is where a visitor's requests come from.
func (p *prover) source(m *marked) netip.Addr {
	if p.sources {
		return m.peer
	}
	return netip.Addr{}
}

// send sends all requests of all marked visitors.
func (p *prover) send(ctx context.Context) error {
	if _, err := exchange(ctx, p.public, p.visitors[0].peer, writeRequest("GET", "/healthz", "")); err == nil {
		p.sources = true
	} else if _, plainErr := exchange(ctx, p.public, netip.Addr{}, writeRequest("GET", "/healthz", "")); plainErr != nil {
		return fmt.Errorf("the public listener does not answer: %w", plainErr)
	} else {
		p.NotLookedAt = append(p.NotLookedAt, "addresses of connections: "+errNoSource.Error()+"; only forwarded ones are looked for")
	}
	for _, m := range p.visitors {
		for _, six := range []bool{false, true} {
			for i, r := range m.requests(p.at, six) {
				if r.staff && six {
					continue
				}
				addr, name := p.public, "public request"
				if r.staff {
					addr, name = p.staff, "request to staff"
				}
				p.Requests++
				answer, err := exchange(ctx, addr, p.source(m), r.text)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil { // a broken one may be cut off
					continue
				}
				if counted(answer) {
					p.Counted++
				}
				p.search.LookAt(inAnswers, fmt.Sprintf("%s %d", name, i+1), plain(answer))
			}
		}
	}
	return nil
}

// held is how much is held of the marked visitors, as they are told.
func (p *prover) held(ctx context.Context) (rows uint64, err error) {
	for _, m := range p.visitors {
		for _, six := range []bool{false, true} {
			n, err := m.held(ctx, p.public, p.source(m), p.at, six)
			if err != nil {
				return rows, err
			}
			rows += n
		}
	}
	return rows, nil
}

// look searches all that can be read from here.
func (p *prover) look(ctx context.Context) error {
	if err := lookAtFiles(p.search, p.cfg.Data, nil); err != nil {
		return err
	}
	tables := tableSearch{search: p.search}
	if err := askTables(ctx, p.cfg, time.Since(p.began)+time.Minute, tables.data, tables.done); err != nil {
		return fmt.Errorf("reading the tables back: %w", err)
	}
	for _, t := range tables.tables {
		p.Tables = append(p.Tables, proofTable{t.Name, len(t.Columns), t.Rows, t.Of, t.Refused})
	}
	if !p.cfg.Store.embedded() {
		p.NotLookedAt = append(p.NotLookedAt, "files of the ClickHouse server: its tables and its own logs of queries were read through it, as far as it lets us")
	}
	var err error
	if p.Pages, err = lookAtStaffPages(ctx, p.search, p.cfg, p.staff, p.at.domain); err != nil {
		return fmt.Errorf("the dashboard: %w", err)
	}
	if err := lookAtMetrics(ctx, p.search, p.staff); err != nil {
		p.NotLookedAt = append(p.NotLookedAt, err.Error())
	}
	if _, err := lookAtProcesses(p.search, p.serve.PID); err != nil {
		p.NotLookedAt = append(p.NotLookedAt, "the processes: "+errors.Unwrap(err).Error())
	}
	p.NotLookedAt = append(p.NotLookedAt, "memory: while a request is answered its address is there",
		"what stands in front of Footfall and what the system logs: web server, journal of other programs, network")
	return nil
}

// erase erases what the marked visitors left, as they would, and waits until it is gone.
func (p *prover) erase(ctx context.Context) error {
	type who struct {
		m   *marked
		six bool
	}
	var all []who
	for _, m := range p.visitors {
		all = append(all, who{m, false}, who{m, true})
	}
	ordered := make([]bool, len(all))
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		rows, failed := make([]uint64, len(all)), make([]error, len(all))
		var asking sync.WaitGroup
		for i, w := range all {
			asking.Go(func() {
				rows[i], failed[i] = w.m.held(ctx, p.public, p.source(w.m), p.at, w.six)
				if failed[i] == nil && rows[i] > 0 && !ordered[i] {
					failed[i] = w.m.erase(ctx, p.public, p.source(w.m), p.at, w.six)
					ordered[i] = failed[i] == nil
				}
			})
		}
		asking.Wait()
		p.Left = 0
		for _, n := range rows {
			p.Left += n
		}
		err := errors.Join(failed...)
		if p.Left == 0 && err == nil {
			return nil
		}
		select {
		case <-time.After(wait): // also where more asked at a time than may
		case <-ctx.Done():
			return fmt.Errorf("rows of the marked visitors are left: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// finish looks at what the erasure wrote, and comes to a verdict.
func (p *prover) finish(ctx context.Context) error {
	if err := lookAtFiles(p.search, p.cfg.Data, notEngine); err != nil {
		return err
	}
	var err error
	if p.Balances, err = lookAtBooks(ctx, p.search, p.cfg); err != nil {
		return err
	}
	log, _, err := p.ask(ctx, "/prove/log")
	if err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	p.search.LookAt(inLog, "log", log)
	p.Places = p.search.Seen()
	p.Found, p.ByChance = p.search.Findings()
	p.ByChanceExpected = p.search.ByChanceExpected()
	p.Seconds = time.Since(p.began).Seconds()
	p.Passed = len(p.Found) == 0 && len(p.SelfTest.Missed) == 0 && p.Balances && p.Left == 0
	result := "nothing found"
	if !p.Passed {
		result = "not passed"
	}
	return policy.NewAudit(p.cfg.Data, time.Now).Append("command line", policy.AuditProof, p.at.domain, "result", result)
}

// verdict says why a proof is none.
func (p *prover) verdict() error {
	switch {
	case len(p.SelfTest.Missed) > 0:
		return fmt.Errorf("the search does not find %d of %d forms", len(p.SelfTest.Missed), p.Forms)
	case len(p.Found) > 0:
		return fmt.Errorf("marked values were found in %d places and forms", len(p.Found))
	case !p.Balances:
		return errors.New("the books do not balance")
	}
	return errors.New("rows of marked visitors are left")
}

// print writes what was done and found.
func (p *proof) print(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d marked visitors of %s sent %d requests, of which %d were counted as hits; %d values of theirs were looked for in %d forms.\n",
		p.Visitors, p.Site, p.Requests, p.Counted, p.Canaries, p.Forms)
	fmt.Fprintf(&b, "Self-test: the search finds what it looks for, %d of %d forms.\n\nLooked at:\n", p.SelfTest.Found, p.SelfTest.Forms)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range p.Places {
		fmt.Fprintf(w, "  %s\t%d\t%s\n", s.Group, s.Places, bytesText(s.Bytes))
	}
	w.Flush()
	fmt.Fprintln(&b, "\nTables, each with every column:")
	for _, t := range p.Tables {
		switch {
		case t.Refused:
			fmt.Fprintf(w, "  %s\tthe server does not let us read it\n", t.Name)
		case t.Rows < t.Of:
			fmt.Fprintf(w, "  %s\t%d columns\t%d rows\twhich were written since; %d in all\n", t.Name, t.Columns, t.Rows, t.Of)
		default:
			fmt.Fprintf(w, "  %s\t%d columns\t%d rows\t\n", t.Name, t.Columns, t.Rows)
		}
	}
	w.Flush()
	fmt.Fprintln(&b, "\nNot looked at:")
	for _, n := range p.NotLookedAt {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	fmt.Fprintf(&b, "\nFour bytes by chance: %d times, where %.1f are expected in so many bytes.\n", len(p.ByChance), p.ByChanceExpected)
	fmt.Fprintf(&b, "The marked visitors' rows are erased (%d left), the books balance: %s.\n", p.Left, map[bool]string{true: "yes", false: "NO"}[p.Balances])
	for _, m := range p.SelfTest.Missed {
		fmt.Fprintf(&b, "NOT FOUND BY THE SEARCH  %s\n", m)
	}
	for _, x := range p.Found {
		fmt.Fprintf(&b, "FOUND  %s, as %s, in %s: %s, %d times\n", x.Canary, x.Form, x.Group, x.Place, x.Times)
	}
	if p.Passed {
		fmt.Fprintf(&b, "\nNothing was found.\n")
	}
	_, err := b.WriteTo(out)
	return err
}

// bytesText is a size in words.
func bytesText(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
