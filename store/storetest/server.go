// Package storetest gives tests a real database to store into: Debian's
// clickhouse-server, started on loopback with a configuration and a folder of its own.
// Only tests import it.
//
// Rules it keeps:
//   - A missing program is a failure that names the command that installs it; nothing is skipped.
//   - A server listens on 127.0.0.1 only, and dies with the test process, however that ends.
//   - What a server printed is shown when its test fails.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// installCommand installs the server that the tests run against.
const installCommand = "DEBIAN_FRONTEND=noninteractive apt-get install -y clickhouse-server clickhouse-client"

// A user with a password, on every server, beside "default" that has none.
const (
	GuardedUser     = "guarded"
	GuardedPassword = "pass-word-of-tests"
)

const startTimeout = 60 * time.Second // a loaded machine; it is 0.3 s on an idle one

// Server is one clickhouse-server process and its folder. Its ports stay the same over
// [Server.Restart]. Methods may be called from several goroutines.
type Server struct {
	dir       string
	binary    string
	tcp, http int
	logs      bool // of queries, in a table of the server
	databases atomic.Uint64

	mu   sync.Mutex
	proc *process // nil: not running
}

// process is one life of the server.
type process struct {
	pid  int
	done chan struct{} // closed once the process has been waited for
}

// StartServer starts a server for one test (or for all tests of a package when t is
// theirs). It is killed at the test's end.
func StartServer(t testing.TB) *Server {
	t.Helper()
	return StartServerIn(t, t.TempDir())
}

// StartServerIn is StartServer with all of the server's files below dir.
func StartServerIn(t testing.TB, dir string) *Server {
	t.Helper()
	s, err := NewServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of clickhouse-server:\n%s", s.Output())
		}
		s.Kill()
	})
	return s
}

// NewServer starts a server with all of its files below dir, for a TestMain. The caller
// ends it with Kill or Stop.
func NewServer(dir string) (*Server, error) { return newServer(dir, false) }

// StartLoggingServer is StartServerIn for a server that notes every query in system.query_log, as
// those that people run do.
func StartLoggingServer(t testing.TB, dir string) *Server {
	t.Helper()
	s, err := newServer(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func newServer(dir string, logs bool) (*Server, error) {
	binary, err := exec.LookPath("clickhouse-server")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/clickhouse-server"); err != nil {
			return nil, errors.New("clickhouse-server is not installed; run: " + installCommand)
		}
	}
	for attempt := 0; ; attempt++ {
		s := &Server{dir: dir, binary: binary, logs: logs}
		ports, err := freePorts(3)
		if err != nil {
			return nil, err
		}
		s.tcp, s.http = ports[0], ports[1]
		if err := s.writeConfig(ports[2]); err != nil {
			return nil, err
		}
		if err = s.start(); err == nil {
			return s, nil
		}
		// Another program can take a port between the search and the start.
		if attempt == 4 || !bytes.Contains([]byte(s.Output()), []byte("already in use")) {
			return nil, fmt.Errorf("clickhouse-server does not start: %w\n%s", err, s.Output())
		}
	}
}

// URL returns the address of a database on the server as the configuration writes it.
// The database need not exist.
func (s *Server) URL(database string) string {
	return "clickhouse://default@" + s.Addr() + "/" + database
}

// NewURL is URL with a database name that was not used on this server before.
func (s *Server) NewURL() string {
	return s.URL("test_" + strconv.FormatUint(s.databases.Add(1), 10))
}

// GuardedURL is URL for the user that has a password; pass GuardedPassword or a wrong one.
func (s *Server) GuardedURL(password, database string) string {
	return "clickhouse://" + GuardedUser + ":" + password + "@" + s.Addr() + "/" + database
}

// Addr returns the host and port of the native protocol.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tcp)) }

// Output returns what the server has printed since its last start, at most the last 64 KiB.
func (s *Server) Output() string {
	b, err := os.ReadFile(s.file("output"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-64<<10):])
}

// Pid returns the server's process id, 0 while it does not run.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}

// Kill ends the server as a crash does (SIGKILL) and waits until it is gone. It may be
// called when the server does not run.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop asks the server to end (SIGTERM), waits, and kills it after ten seconds.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.proc
	if p == nil {
		return
	}
	s.proc = nil
	syscall.Kill(p.pid, sig)
	syscall.Kill(p.pid, syscall.SIGCONT) // a paused one does not see SIGTERM
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
	}
}

// Restart starts a server that was stopped or killed, with the same files and ports, and
// waits until it answers.
func (s *Server) Restart() error {
	if err := s.start(); err != nil {
		return fmt.Errorf("clickhouse-server does not start again: %w\n%s", err, s.Output())
	}
	return nil
}

// Pause stops the process where it is (SIGSTOP): connections stay open and nothing
// answers. Resume lets it go on.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return errors.New("clickhouse-server is not running")
	}
	return syscall.Kill(s.proc.pid, sig)
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return errors.New("already running")
	}
	out, err := os.Create(s.file("output"))
	if err != nil {
		return err
	}
	cmd := exec.Command(s.binary, "--config-file="+s.file("config.xml"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	// The kernel sends Pdeathsig when the *thread* that started the child ends, so that
	// thread is kept for as long as the child lives. A process group of its own keeps an
	// interrupt at the terminal from reaching the server before the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		defer close(p.done)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is in its output
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	if err := s.waitReady(p); err != nil {
		syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
		return err
	}
	s.proc = p
	return nil
}

func (s *Server) waitReady(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if s.ping(ctx, client) {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s", startTimeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ping tells whether both ports are open; the HTTP one answers once the tables are loaded.
func (s *Server) ping(ctx context.Context, client *http.Client) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(s.http)+"/", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "Ok.\n" {
		return false
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (s *Server) writeConfig(interserver int) error {
	queryLog, logQueries := "", 0
	if s.logs {
		logQueries = 1
		queryLog = "<query_log><database>system</database><table>query_log</table><flush_interval_milliseconds>100</flush_interval_milliseconds></query_log>"
	}
	config := fmt.Sprintf(`<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>%d</tcp_port>
  <http_port>%d</http_port>
  <interserver_http_port>%d</interserver_http_port>
  <interserver_http_host>127.0.0.1</interserver_http_host>
  <path>%s/</path>
  <tmp_path>%s/</tmp_path>
  <users_config>%s</users_config>
  <mark_cache_size>67108864</mark_cache_size>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  %s
</yandex>
`, s.tcp, s.http, interserver, s.file("data"), s.file("tmp"), s.file("users.xml"), queryLog)
	users := fmt.Sprintf(`<yandex>
  <profiles><default><log_queries>%[4]d</log_queries></default></profiles>
  <quotas><default></default></quotas>
  <users>
    <default><password></password>%[1]s</default>
    <%[2]s><password>%[3]s</password>%[1]s</%[2]s>
  </users>
</yandex>
`, "<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>", GuardedUser, GuardedPassword, logQueries)
	if err := os.WriteFile(s.file("config.xml"), []byte(config), 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.file("users.xml"), []byte(users), 0o600)
}

// freePorts returns n different ports of 127.0.0.1 that were free a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all stay open until all are found, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
