package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// parentMain is a program that runs an engine on dir until it is killed.
func parentMain(dir string) int {
	s, err := Start(Options{DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := s.Ready(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.Pid())
	select {}
}

// alive tells whether a process runs. A zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// metric is the value of a metric without labels.
func metric(t testing.TB, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestKillLosesNothing(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, func(o *Options) { o.Registerer = reg })
	c := connect(t, s)
	run(t, c, eventsDDL(t))
	var acknowledged sync.Map
	var last, stored atomic.Uint64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	const rows = 5000
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				batch := last.Add(1)
				if sendEvents(ctx, c, batch, rows) == nil {
					acknowledged.Store(batch, true)
					stored.Add(1)
				} else {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for i := range 3 {
		before := stored.Load()
		eventually(t, 30*time.Second, "batches are acknowledged", func() bool { return stored.Load() >= before+4 })
		time.Sleep(time.Duration(i) * 7 * time.Millisecond) // somewhere in the next
		pid := s.Pid()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "another engine is up", func() bool { return s.Up() && s.Pid() != pid })
	}
	time.Sleep(300 * time.Millisecond)
	cancel()
	wg.Wait()
	found := map[uint64]uint64{}
	res, err := c.Query(context.Background(), "SELECT batch_id, count(), uniqExact(event_id) FROM events GROUP BY batch_id")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for res.Next() {
		var batch, n, distinct uint64
		if err := res.Scan(&batch, &n, &distinct); err != nil {
			t.Fatal(err)
		}
		found[batch] = n
		if n != rows || distinct != rows {
			t.Errorf("batch %d has %d rows, %d of them distinct, want %d", batch, n, distinct, rows)
		}
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	n := 0
	acknowledged.Range(func(batch, _ any) bool {
		n++
		if found[batch.(uint64)] != rows {
			t.Errorf("batch %d was acknowledged and has %d rows", batch, found[batch.(uint64)])
		}
		return true
	})
	if n < 10 {
		t.Errorf("only %d batches were acknowledged in the whole test", n)
	}
	if got := metric(t, reg, "footfall_engine_restarts_total"); got != 3 {
		t.Errorf("%v restarts counted, want 3", got)
	}
	if got := metric(t, reg, "footfall_engine_up"); got != 1 {
		t.Errorf("up is %v", got)
	}
}

func TestStuckEngineIsReplaced(t *testing.T) {
	s := start(t, func(o *Options) { o.probeEvery, o.probePatience = 100*time.Millisecond, 2*time.Second })
	time.Sleep(time.Second)
	pid := s.Pid()
	if !s.Up() {
		t.Fatal("a healthy engine was replaced")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "another engine is up", func() bool { return s.Up() && s.Pid() != pid })
	if err := connect(t, s).Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestParentDeath(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		dir := t.TempDir()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "parent", dir)
		cmd.Env = append(os.Environ(), LibraryEnv+"="+testLibrary(t))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Fscan(out, &pid); err != nil {
			t.Fatal(err)
		}
		if !alive(pid) {
			t.Fatal("there is no engine")
		}
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		// The next engine waits until the orphan has left.
		s := start(t, func(o *Options) { o.DataDir = dir })
		if alive(pid) {
			t.Errorf("after %v the engine outlived its parent", sig)
		}
		if s.Pid() == pid {
			t.Error("that is the same engine")
		}
	}
}

// TestOrphanLeavesByPipe: where the kernel does not signal the child, the end of the pipe does.
func TestOrphanLeavesByPipe(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "engine", "--path", filepath.Join(dir, "db"), "--socket", filepath.Join(dir, "s"), "--library", testLibrary(t), "--parent-pipe")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	say := new(lockedBuffer)
	cmd.Stderr = say
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the engine is ready", func() bool { return strings.Contains(say.String(), lineReady) })
	in.Close()
	began := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > orphanStop+5*time.Second {
		t.Errorf("it took %v to leave", took)
	}
	if _, err := os.Lstat(filepath.Join(dir, "s")); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestTwoEnginesOneDirectory(t *testing.T) {
	s := start(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "engine", "--path", filepath.Join(s.o.DataDir, "engine"), "--socket", filepath.Join(t.TempDir(), "s"),
		"--library", testLibrary(t), "--lock-wait", "300ms")
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != exitLocked || !strings.Contains(string(out), "another engine has the directory") {
		t.Errorf("%v: %s", err, out)
	}
	second, err := Start(Options{DataDir: s.o.DataDir, LibPath: testLibrary(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, second)
	const taken = "another engine has the directory"
	eventually(t, 30*time.Second, "a second program knows", func() bool { return second.Err() != nil && strings.Contains(second.Err().Error(), taken) })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := second.Ready(ctx); err == nil || !strings.Contains(err.Error(), "another engine has the directory") {
		t.Errorf("a second program on the directory: %v", err)
	}
	if err := connect(t, s).Ping(context.Background()); err != nil {
		t.Errorf("the first engine: %v", err)
	}
}

func TestStartNeitherBlocksNorFails(t *testing.T) {
	// A child that dies at once.
	log := new(lockedBuffer)
	began := time.Now()
	s, err := Start(Options{DataDir: t.TempDir(), LibPath: testLibrary(t), Executable: "/bin/false", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Start took %v", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	err = s.Ready(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("Ready: %v", err)
	}
	if _, err := s.DialContext(ctx, ""); err == nil {
		t.Error("there is nothing to connect to")
	}
	if n := strings.Count(log.String(), "is started again"); n > 8 {
		t.Errorf("%d attempts in 1.5 s: %s", n, log)
	}
	eventually(t, 30*time.Second, "a second attempt", func() bool { return strings.Count(log.String(), "is started again") >= 2 })
	if s.Up() || s.Err() == nil {
		t.Errorf("up %v, error %v", s.Up(), s.Err())
	}
	stop(t, s)
	stop(t, s) // again
	if err := s.Ready(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("Ready after Stop: %v", err)
	}
	// A child that hangs is killed by Stop.
	s, err = Start(Options{DataDir: t.TempDir(), LibPath: testLibrary(t), Executable: "/bin/sh", Args: []string{"-c", "trap '' TERM; read x; read x", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the child runs", func() bool { return s.Pid() != 0 })
	time.Sleep(100 * time.Millisecond)
	pid := s.Pid()
	stop(t, s)
	if alive(pid) {
		t.Error("the child lives")
	}
}

func stop(t testing.TB, s *Supervisor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestStopLetsStatementsEnd(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	got := make(chan error, 1)
	go func() {
		_, err := drain(context.Background(), c, "SELECT sleep(3)")
		got <- err
	}()
	eventually(t, 30*time.Second, "the query runs", func() bool { return statements(t, c) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the query ended with %v", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("Stop took %v", took)
	}
	if _, err := os.Lstat(s.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "data")
	for i := uint64(1); i <= 2; i++ {
		s := start(t, func(o *Options) { o.DataDir = dir })
		if len(s.socket) < 110 {
			t.Fatalf("the path %s is not long", s.socket)
		}
		fi, err := os.Lstat(s.socket)
		if err != nil || fi.Mode().Perm() != 0o600 || fi.Mode()&os.ModeSocket == 0 {
			t.Errorf("the socket has mode %v, %v", fi.Mode(), err)
		}
		c := connect(t, s)
		run(t, c, eventsDDL(t))
		if err := sendEvents(context.Background(), c, i, 1000); err != nil {
			t.Fatal(err)
		}
		if n := number(t, c, "SELECT count() FROM events"); n != 1000*i {
			t.Errorf("%d rows in run %d", n, i)
		}
		if err := filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
			if err != nil {
				return nil // a part that was merged away
			}
			if fi.Mode()&os.ModeSymlink == 0 && fi.Mode().Perm()&0o077 != 0 && p != dir {
				t.Errorf("%s has mode %v", p, fi.Mode())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
}

// TestNothingOfStatementsIsLogged looks for a secret of statements in all that the engine leaves.
func TestNothingOfStatementsIsLogged(t *testing.T) {
	log := new(lockedBuffer)
	s := start(t, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c := connect(t, s)
	const secret = "geheimnis4711"
	for _, sql := range []string{"SELECT '" + secret + "'", "SELEKT " + secret, "SELECT * FROM " + secret, "SELECT throwIf(1, '" + secret + "')"} {
		_, _ = drain(context.Background(), c, sql)
	}
	_ = c.Exec(clickhouse.Context(context.Background(), clickhouse.WithQueryID(secret)), "SELECT 1")
	pid := s.Pid()
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // the Go runtime prints its goroutines
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "another engine is up", func() bool { return s.Up() && s.Pid() != pid })
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log: %s", log)
	}
	if !strings.Contains(log.String(), "started again") {
		t.Errorf("the log says nothing of the restart: %s", log)
	}
	err := filepath.Walk(s.o.DataDir, func(p string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return nil
		}
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s holds it", p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
