package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// The tests of this file's kind run the built program, as its users do. The program is
// built, and the database server started, when the first test asks for it.
var parts struct {
	binary func() (string, error)
	server func() (*storetest.Server, error)
}

func TestMain(m *testing.M) {
	storetest.Child()
	if path := os.Getenv(panelEnv); path != "" {
		os.Exit(victimMain(path))
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "footfall-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	var running *storetest.Server
	parts.binary = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "footfall")
		if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
			return "", fmt.Errorf("building the program: %w\n%s", err, out)
		}
		return path, nil
	})
	parts.server = sync.OnceValues(func() (*storetest.Server, error) {
		db := filepath.Join(dir, "clickhouse")
		if err := os.Mkdir(db, 0o700); err != nil {
			return nil, err
		}
		running, err = storetest.NewServer(db)
		return running, err
	})
	defer func() {
		if running != nil {
			running.Kill()
		}
	}()
	return m.Run()
}

func binary(t *testing.T) string { return must(t, parts.binary) }

func server(t *testing.T) *storetest.Server { return must(t, parts.server) }

func must[T any](t *testing.T, get func() (T, error)) T {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stores are the two databases that the whole program is tested on.
func stores(t *testing.T) map[string]string {
	return map[string]string{"embedded": "embedded", "server": server(t).NewURL()}
}

// program is a running footfall serve.
type program struct {
	t             *testing.T
	cmd           *exec.Cmd
	data          string
	args          []string
	public, staff string // addresses with http://
	link          string // the one-time login link, "" if none was printed
	out           syncBuffer
	exited        chan error
	client        *http.Client
	token         string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// writeConfig writes a configuration file and returns its path.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "footfall.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awayFromMidnight waits while a day is about to end in a zone of the tests' sites: they ask for today, and
// expect a visitor to stay the same one.
func awayFromMidnight(t *testing.T) {
	t.Helper()
	for _, zone := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().In(loc)
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, loc)
		if left := midnight.Sub(now); left < 2*time.Minute {
			time.Sleep(left + time.Second)
		}
	}
}

// start starts footfall serve on free ports and waits until it collects.
func start(t *testing.T, data string, args ...string) *program {
	t.Helper()
	awayFromMidnight(t)
	p := &program{t: t, data: data, args: args, client: &http.Client{Timeout: 30 * time.Second}}
	p.run()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of the program:\n%s", p.out.String())
		}
	})
	return p
}

var (
	collecting = regexp.MustCompile(`Collecting\s+(http://\S+)`)
	dashboards = regexp.MustCompile(`Dashboard\s+(http://\S+)/\s`)
	linkLine   = regexp.MustCompile(`(http://\S+/login\?token=\S+)`)
)

func (p *program) run() {
	p.t.Helper()
	args := append([]string{"serve", "--data", p.data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0"}, p.args...)
	p.cmd = exec.Command(binary(p.t), args...)
	p.cmd.Dir = "../.." // where make puts the parts
	// The go command sets it for tests; users do not.
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOTRACEBACK=") })
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.exited = make(chan error, 1)
	ready := make(chan string, 1)
	go func() {
		var said strings.Builder
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadString('\n')
			said.WriteString(line)
			p.out.Write([]byte(line))
			if strings.Contains(line, "Ctrl-C stops") {
				select {
				case ready <- said.String():
				default:
				}
			}
			if err != nil {
				break
			}
		}
		p.exited <- p.cmd.Wait()
		close(ready)
	}()
	select {
	case said, ok := <-ready:
		if !ok {
			p.t.Fatalf("the program ended at start:\n%s", p.out.String())
		}
		p.public = group(collecting, said)
		p.staff = group(dashboards, said)
		p.link = group(linkLine, said)
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("the program does not collect after two minutes:\n%s", p.out.String())
	}
}

func group(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// kill ends the program as a crash does, and waits until its engine is gone as well.
func (p *program) kill() {
	pid := enginePid(p.t, p)
	p.cmd.Process.Kill()
	<-p.exited
	p.exited <- nil // for the next that waits
	for pid != 0 && syscall.Kill(pid, 0) == nil {
		time.Sleep(10 * time.Millisecond)
	}
}

// stop asks the program to stop and returns how long that took.
func (p *program) stop() time.Duration {
	p.t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		p.exited <- nil
		if err != nil {
			p.t.Errorf("the program ended with %v", err)
		}
	case <-time.After(time.Minute):
		p.t.Error("the program does not stop")
	}
	return time.Since(begin)
}

// footfall runs a subcommand beside the program, or without one.
func footfall(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Dir = "../.."
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

// hit posts an event and returns the answer's status and header.
func (p *program) hit(body string, header ...string) (int, http.Header) {
	p.t.Helper()
	req, err := http.NewRequest("POST", p.public+"/api/event", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("User-Agent", firefox)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, res.Header
}

// query asks the Stats API and returns its results' metrics, by dimensions joined with "|".
func (p *program) query(body string) map[string][]float64 {
	p.t.Helper()
	got, err := p.tryQuery(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

func (p *program) tryQuery(body string) (map[string][]float64, error) {
	p.t.Helper()
	if p.token == "" {
		out, errs, status := footfall(p.t, "", append([]string{"token", "add", "test", "--data", p.data}, configArg(p.args)...)...)
		if status != 0 {
			p.t.Fatalf("token add: %s", errs)
		}
		p.token = strings.TrimSpace(out)
	}
	req, err := http.NewRequest("POST", p.staff+"/api/v2/query", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		return nil, fmt.Errorf("query: %d %s %w", res.StatusCode, b, err)
	}
	return results(p.t, b), nil
}

func results(t *testing.T, b []byte) map[string][]float64 {
	t.Helper()
	var answer struct {
		Results []struct {
			Metrics    []float64
			Dimensions []string
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	out := map[string][]float64{}
	for _, r := range answer.Results {
		out[strings.Join(r.Dimensions, "|")] = r.Metrics
	}
	return out
}

func configArg(args []string) []string {
	for i, a := range args {
		if a == "--config" {
			return args[i : i+2]
		}
	}
	return nil
}

// eventually waits until ok is true, and fails with what it last said otherwise. Five
// seconds is what is promised; the machine may be building something else.
func eventually(t *testing.T, what string, ok func() (string, bool)) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		said, good := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute: %s", what, said)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
