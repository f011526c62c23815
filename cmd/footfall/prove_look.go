package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize/canary"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store"
)

// Groups of places that are searched.
const (
	inFiles     = "files"
	inNames     = "names of files"
	inSegments  = "spool segments, decoded"
	inTables    = "columns of tables"
	inAnswers   = "answers to the visitors"
	inDashboard = "dashboard, Stats API, exports"
	inMetrics   = "metrics"
	inBooks     = "ledger"
	inLog       = "log, debug included"
	inProcesses = "processes: arguments, environment, redirected output"
)

// lookAtFiles searches every file below dir, and the name of each. Files can go while it looks. only, if it is
// not nil, tells which.
func lookAtFiles(s *canary.Search, dir string, only func(path string) bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if only != nil && d.Type().IsRegular() && !only(name) {
			return nil
		}
		s.LookAt(inNames, name, []byte(name))
		if !d.Type().IsRegular() {
			return nil
		}
		err = lookAtFile(s, inFiles, name, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && strings.HasPrefix(name, "spool"+string(filepath.Separator)) {
			err = lookAtSegment(s, name, path)
		}
		return err
	})
}

func lookAtFile(s *canary.Search, group, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Look(group, name, f)
}

// lookAtSegment searches what a spool segment says, as text; other files are passed over.
func lookAtSegment(s *canary.Search, name, path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if spool.ReadSegment(data, func(e *event.Event) { fmt.Fprintf(&text, "%+v\n", *e) }, func(d *event.Drop) { fmt.Fprintf(&text, "%+v\n", *d) }) {
		s.LookAt(inSegments, name, text.Bytes())
	}
	return nil
}

// tableSearch searches the columns of tables.
type tableSearch struct {
	search *canary.Search
	seen   map[string]bool
	tables []store.ReadTable
}

func (t *tableSearch) data(table, column string, piece []byte) {
	name := table + "." + column
	if t.seen[name] {
		t.search.More(inTables, name, piece)
		return
	}
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	t.seen[name] = true
	t.search.LookAt(inTables, name, piece)
}

func (t *tableSearch) done(r store.ReadTable) { t.tables = append(t.tables, r) }

// lookAtProcesses searches what the system shows of a process and its children: their arguments, their environment, and
// their output where that goes to a file. What their memory holds while a request is answered is not looked at.
func lookAtProcesses(s *canary.Search, pid int) (looked []int, err error) {
	pids := []int{pid}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the thread ended
		}
		for _, word := range strings.Fields(string(b)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	for _, pid := range pids {
		at := fmt.Sprintf("/proc/%d/", pid)
		if _, err := os.Stat(at); err != nil {
			continue
		}
		looked = append(looked, pid)
		for _, name := range []string{"cmdline", "environ"} {
			if err := lookAtFile(s, inProcesses, at+name, at+name); err != nil {
				return looked, err
			}
		}
		for _, fd := range []string{"fd/1", "fd/2"} {
			if fi, err := os.Stat(at + fd); err == nil && fi.Mode().IsRegular() {
				if err := lookAtFile(s, inProcesses, at+fd, at+fd); err != nil {
					return looked, err
				}
			}
		}
	}
	return looked, nil
}

// plain is an answer as its reader gets it: the header, and the body without what is there for transport.
func plain(answer []byte) []byte {
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return answer
	}
	defer res.Body.Close()
	var out bytes.Buffer
	fmt.Fprintln(&out, res.Status)
	res.Header.Write(&out)
	io.Copy(&out, res.Body) // what can be read of it
	return out.Bytes()
}

// staffPages are the addresses that a site's staff look at, and what programs ask.
func staffPages(site string) (paths []string) {
	at := "/" + url.PathEscape(site)
	paths = []string{"/", at, at + "?period=all", at + "/ledger", at + "/live", at + "/series.csv", "/-/account", "/-/staff", "/-/audit"}
	for _, dimension := range append(proveDimensions(), "event:goal") {
		q := url.Values{"by": {dimension}}.Encode()
		paths = append(paths, at+"/details?"+q, at+"/export.csv?"+q, at+"/values?"+q)
	}
	return append(paths, "/api/v2/realtime?site_id="+url.QueryEscape(site))
}

// proveDimensions are those of the Stats API that have values of their own.
func proveDimensions() []string {
	return []string{"event:name", "event:page", "event:hostname", "event:props:to", "visit:entry_page", "visit:exit_page",
		"visit:source", "visit:referrer", "visit:channel", "visit:utm_medium", "visit:utm_source", "visit:utm_campaign",
		"visit:utm_content", "visit:utm_term", "visit:device", "visit:browser", "visit:browser_version", "visit:os",
		"visit:os_version", "visit:country", "visit:region", "visit:city"}
}

// statsQueries are queries of the Stats API, one a dimension.
func statsQueries(site string) (out []string) {
	for _, d := range proveDimensions() {
		out = append(out, fmt.Sprintf(`{"site_id":%q,"metrics":["visitors"],"date_range":"day","dimensions":[%q]}`, site, d))
	}
	return out
}

// lookAtStaffPages logs in with a link that is made for it, searches what staff see and logs out. It returns how
// many pages there were.
func lookAtStaffPages(ctx context.Context, s *canary.Search, c *Config, addr, site string) (pages int, err error) {
	files, err := auth.Open(c.Data, time.Now)
	if err != nil {
		return 0, err
	}
	secret, err := files.NewLink()
	if err != nil {
		return 0, err
	}
	if err := noteStaff(c, "login link", "made for a proof"); err != nil {
		return 0, err
	}
	ask := func(method, path, body string, headers ...string) (string, []byte, error) {
		b, err := exchange(ctx, addr, netip.Addr{}, writeRequest(method, path, body, append(headers, "Accept: text/html")...))
		if err != nil {
			return "", nil, err
		}
		b = plain(b)
		status, _, _ := strings.Cut(string(b), "\n")
		return status, b, nil
	}
	_, answer, err := ask("GET", "/login?token="+secret, "")
	if err != nil {
		return 0, err
	}
	var cookie string
	for line := range strings.Lines(string(answer)) {
		if v, ok := strings.CutPrefix(line, "Set-Cookie: "); ok {
			cookie, _, _ = strings.Cut(strings.TrimSpace(v), ";")
		}
	}
	if cookie == "" {
		return 0, errors.New("the login link does not let in")
	}
	login := "Cookie: " + cookie
	look := func(method, path, body string) error {
		status, b, err := ask(method, path, body, login, "Content-Type: application/json")
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s.LookAt(inDashboard, method+" "+path, b)
		if strings.HasPrefix(status, "200") {
			pages++
		}
		return nil
	}
	for _, path := range staffPages(site) {
		if err := look("GET", path, ""); err != nil {
			return pages, err
		}
	}
	for i, q := range statsQueries(site) {
		if err := look("POST", "/api/v2/query", q); err != nil {
			return pages, fmt.Errorf("query %d: %w", i, err)
		}
	}
	_, _, err = ask("POST", "/logout", "", login)
	return pages, err
}

// lookAtMetrics searches /metrics.
func lookAtMetrics(ctx context.Context, s *canary.Search, addr string) error {
	b, err := exchange(ctx, addr, netip.Addr{}, writeRequest("GET", "/metrics", ""))
	if err != nil {
		return err
	}
	if b = plain(b); !bytes.Contains(b, []byte("footfall_hits_total")) {
		return errors.New("/metrics has no metrics: it is not open to this machine")
	}
	s.LookAt(inMetrics, "/metrics", b)
	return nil
}

// lookAtBooks searches the ledger, as programs get it, and tells whether it balances.
func lookAtBooks(ctx context.Context, s *canary.Search, c *Config) (balances bool, err error) {
	day := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	for _, path := range []string{"/api/v2/ledger?from=" + day, "/api/v2/ledger?minutes=true&from=" + day} {
		b, status, err := askServe(ctx, c, http.MethodGet, path, nil)
		if err != nil {
			return false, err
		}
		if status != http.StatusOK {
			return false, errors.New(errorText(b))
		}
		s.LookAt(inBooks, path, b)
		balances = bytes.Contains(b, []byte(`"balances":true`)) && !bytes.Contains(b, []byte(`"balances":false`))
		if !balances {
			return false, nil
		}
	}
	return balances, nil
}

// notEngine passes over the embedded engine's files.
func notEngine(path string) bool {
	first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
	return !slices.Contains([]string{"engine"}, first)
}
