package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options.
const (
	DefaultMaxMemory = 1 << 30   // bytes
	DefaultMaxInsert = 256 << 20 // bytes
)

// Times of the supervisor.
const (
	backoffMin    = 200 * time.Millisecond
	backoffMax    = 30 * time.Second
	healthyPeriod = time.Minute      // after so long the backoff starts anew
	startPatience = 10 * time.Minute // for a database to open; then the child is taken for stuck
	killAfter     = 8 * time.Second  // from SIGTERM to SIGKILL when Stop's context has no deadline
)

// ErrStopped is returned by calls on a supervisor that was stopped.
var ErrStopped = errors.New("the engine was stopped")

// Options configure a Supervisor. DataDir is needed; all else has defaults.
type Options struct {
	// DataDir is the program's data directory. The database is in its folder "engine", the socket is
	// its file "engine.sock".
	DataDir string
	// Executable and Args start the child; Args come before the child's own flags. Defaults: this
	// program and "engine". Main must be what runs there.
	Executable string
	Args       []string
	// Env is added to the child's environment, which otherwise has no more than TZ=UTC.
	Env []string
	// LibPath is the library or its folder; empty: FindLibrary.
	LibPath string
	// MaxMemory bounds the engine's memory in bytes, and a single statement's to 3/4 of it;
	// aggregations and sorts go to disk from 1/5 of it on. Default: DefaultMaxMemory, but at most half
	// of the machine's memory.
	MaxMemory int64
	// MaxInsert bounds one insert in bytes, since it is kept in memory whole. Default DefaultMaxInsert.
	MaxInsert int64
	// Sessions is how many statements run side by side, inserts aside. Default: twice the number of
	// processors, at least 4.
	Sessions int
	// Settings are ClickHouse settings of every statement, Server those of the engine as a whole. They
	// win over the defaults above.
	Settings, Server map[string]string

	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: none
	Registerer prometheus.Registerer
}

// Supervisor keeps an engine running. Its methods may be called from several goroutines.
type Supervisor struct {
	o       Options
	socket  string
	library string
	cancel  context.CancelFunc // asks run to end the child and itself
	ended   chan struct{}      // closed when run has returned

	up       prometheus.Gauge
	restarts prometheus.Counter

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the state below changes
	ready   bool
	process *os.Process
	last    error // why the child ended or does not start
	stopped bool
	kill    time.Duration // patience of Stop
}

// Start starts the engine and returns at once: opening a large database takes time, and the program
// does not need the engine to acknowledge hits. Errors are what restarting cannot mend: no library,
// a processor that is too old, a data directory that cannot be made. The caller must call Stop.
func Start(o Options) (*Supervisor, error) {
	if o.DataDir == "" {
		return nil, errors.New("engine: DataDir is empty")
	}
	if err := checkCPU(requiredCPU()); err != nil {
		return nil, err
	}
	s := &Supervisor{o: o, changed: make(chan struct{}), ended: make(chan struct{})}
	if err := s.defaults(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, err
	}
	s.o.DataDir = dir
	s.socket = filepath.Join(dir, "engine.sock")
	if err := os.MkdirAll(filepath.Join(dir, "engine"), 0o700); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if err := s.metrics(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(ctx)
	return s, nil
}

func (s *Supervisor) defaults() error {
	o := &s.o
	var err error
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return err
		}
	}
	if o.Args == nil {
		o.Args = []string{"engine"}
	}
	if o.LibPath == "" {
		s.library, err = FindLibrary()
	} else {
		s.library, err = libraryAt(o.LibPath, libraryName())
	}
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
		if total := totalMemory(); total > 0 {
			o.MaxMemory = min(o.MaxMemory, total/2)
		}
	}
	if o.MaxInsert <= 0 {
		o.MaxInsert = DefaultMaxInsert
	}
	if o.Sessions <= 0 {
		o.Sessions = max(4, 2*runtime.NumCPU())
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (s *Supervisor) metrics() error {
	s.up = prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_engine_up",
		Help: "1 while the embedded engine answers, 0 while it does not run or is starting."})
	s.restarts = prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_engine_restarts_total",
		Help: "Times the embedded engine had to be started again."})
	if s.o.Registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{s.up, s.restarts} {
		if err := s.o.Registerer.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// childArgs is the child's command line.
func (s *Supervisor) childArgs() []string {
	o := &s.o
	args := append([]string{}, o.Args...)
	args = append(args, "--path", filepath.Join(o.DataDir, "engine"), "--socket", s.socket, "--library", s.library, "--parent-pipe",
		"--sessions", strconv.Itoa(o.Sessions), "--max-insert", strconv.FormatInt(o.MaxInsert, 10))
	mem := func(num, den int64) string { return strconv.FormatInt(o.MaxMemory/den*num, 10) }
	flags := func(flag string, defaults []setting, own map[string]string) {
		for _, d := range defaults {
			if _, ok := own[d.name]; !ok {
				args = append(args, flag, d.name+"="+d.value)
			}
		}
		for name, value := range own {
			args = append(args, flag, name+"="+value)
		}
	}
	flags("--set", []setting{
		{"max_memory_usage", mem(3, 4)},
		{"max_bytes_before_external_group_by", mem(1, 5)},
		{"max_bytes_before_external_sort", mem(1, 5)},
		{"implicit_select", "0"}, // `garbage` is a syntax error here as it is on a server
	}, o.Settings)
	flags("--server", []setting{
		{"max_server_memory_usage", mem(1, 1)},
		{"mark_cache_size", mem(1, 8)},
		{"primary_index_cache_size", mem(1, 16)},
		{"query_condition_cache_size", mem(1, 64)},
		{"index_mark_cache_size", mem(1, 64)},
	}, o.Server)
	return args
}

// run starts the child again and again until ctx ends. It keeps its thread for itself: the kernel
// signals the child's parent-death signal when the thread that started it ends, and Go ends
// threads when it likes.
func (s *Supervisor) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.ended)
	backoff := backoffMin
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			s.restarts.Inc()
		}
		healthy, err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if healthy > healthyPeriod {
			backoff = backoffMin
		}
		wait := backoff/2 + rand.N(backoff/2+1)
		backoff = min(2*backoff, backoffMax)
		s.o.Log.Warn("the embedded engine ended and is started again", "error", err, "wait", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once runs one child to its end, and returns how long it was ready and why it ended.
func (s *Supervisor) once(ctx context.Context) (healthy time.Duration, err error) {
	cmd := exec.Command(s.o.Executable, s.childArgs()...)
	cmd.Dir = s.o.DataDir
	cmd.Env = append([]string{"TZ=UTC"}, s.o.Env...)
	cmd.SysProcAttr = childAttr()
	stdin, err := cmd.StdinPipe() // held open, never written: its end tells the child that we are gone
	if err != nil {
		return 0, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		s.set(func() { s.last = err })
		return 0, err
	}
	s.set(func() { s.process = cmd.Process })
	exited := make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() { s.end(ctx, cmd.Process, exited) })
	readyAt, said := s.listen(cmd.Process, stderr)
	err = cmd.Wait()
	close(exited)
	over.Wait()
	stdin.Close()
	why := exitReason(err, cmd.ProcessState, said)
	s.set(func() { s.process, s.ready, s.last = nil, false, why })
	s.up.Set(0)
	if !readyAt.IsZero() {
		healthy = s.o.Now().Sub(readyAt)
	}
	return healthy, why
}

// listen reads the child's lines until it closes its standard error, which it does by ending.
func (s *Supervisor) listen(p *os.Process, stderr io.Reader) (readyAt time.Time, said string) {
	stuck := time.AfterFunc(startPatience, func() {
		s.o.Log.Error("the embedded engine did not get ready and is killed", "after", startPatience)
		_ = p.Kill()
	})
	defer stuck.Stop()
	lines := bufio.NewScanner(io.LimitReader(stderr, 1<<20))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == lineReady:
			stuck.Stop()
			readyAt = s.o.Now()
			s.set(func() { s.ready, s.last = true, nil })
			s.up.Set(1)
			s.o.Log.Info("the embedded engine is ready", "pid", p.Pid)
		case strings.HasPrefix(line, lineError):
			said = strings.TrimPrefix(line, lineError)
		}
		// Anything else is the Go runtime's last words. They are not ours to print: they may quote.
	}
	_, _ = io.Copy(io.Discard, stderr)
	return readyAt, said
}

// exitReason says in words why a child ended.
func exitReason(err error, st *os.ProcessState, said string) error {
	switch {
	case said != "":
		return errors.New("engine: " + said)
	case err != nil && st == nil:
		return fmt.Errorf("engine: %w", err)
	case st != nil:
		return errors.New("engine: ended with " + st.String())
	}
	return errors.New("engine: ended")
}

// end stops the child when ctx ends: by SIGTERM, and after Stop's patience by SIGKILL.
func (s *Supervisor) end(ctx context.Context, p *os.Process, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	patience := s.kill
	s.mu.Unlock()
	_ = p.Signal(syscall.SIGTERM)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-exited:
	case <-t.C:
		s.o.Log.Warn("the embedded engine did not stop in time and is killed")
		_ = p.Kill()
		<-exited
	}
}

// set changes the state and wakes those who wait for a change.
func (s *Supervisor) set(f func()) {
	s.mu.Lock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// Up tells whether the engine answers.
func (s *Supervisor) Up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// Err is why the engine does not run, or nil while it runs or has not failed yet.
func (s *Supervisor) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Ready waits until the engine answers. If ctx ends before, the error says why the engine is not up,
// as far as it is known; it wraps ctx's error.
func (s *Supervisor) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		ready, stopped, last, changed := s.ready, s.stopped, s.last, s.changed
		s.mu.Unlock()
		switch {
		case stopped:
			return ErrStopped
		case ready:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("%w: %w", last, ctx.Err())
			}
			return fmt.Errorf("engine: not ready yet: %w", ctx.Err())
		}
	}
}

// Pid is the child's process id, or 0 while there is none.
func (s *Supervisor) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// Socket is the path of the engine's socket. It may be too long for a sockaddr_un: use DialContext.
func (s *Supervisor) Socket() string { return s.socket }

// DialContext connects to the engine; the address is not looked at. While the engine is not up it
// fails at once, with the reason.
func (s *Supervisor) DialContext(ctx context.Context, _ string) (net.Conn, error) {
	if !s.Up() {
		if err := s.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("engine: not ready yet")
	}
	return dialSocket(ctx, s.socket)
}

// ClickhouseOptions returns options for clickhouse-go, the caller's to change. Compression is off: on
// a Unix socket it only costs time, and the bridge refuses it.
func (s *Supervisor) ClickhouseOptions() *clickhouse.Options {
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP,
		// Never resolved. It has to be localhost because clickhouse-go asks the environment for an
		// HTTP proxy, which is not used for this name.
		Addr:         []string{"localhost:8123"},
		Auth:         clickhouse.Auth{Database: "default"},
		DialContext:  s.DialContext,
		Compression:  &clickhouse.Compression{Method: clickhouse.CompressionNone},
		MaxOpenConns: s.o.Sessions + 4, // inserts and questions about processes have sessions of their own
		MaxIdleConns: s.o.Sessions,
	}
}

// Stop ends the engine: SIGTERM, on which it lets running statements end, and SIGKILL shortly before
// ctx ends. It is idempotent and returns once the child is gone; the error is ctx's if it had to be
// killed later than that.
func (s *Supervisor) Stop(ctx context.Context) error {
	patience := killAfter
	if d, ok := ctx.Deadline(); ok {
		patience = max(0, time.Until(d)-200*time.Millisecond)
	}
	s.set(func() {
		if !s.stopped {
			s.stopped, s.kill = true, patience
		}
	})
	s.cancel()
	select {
	case <-s.ended:
	case <-ctx.Done():
		<-s.ended // the kill is under way
		return ctx.Err()
	}
	if s.o.Registerer != nil {
		s.o.Registerer.Unregister(s.up)
		s.o.Registerer.Unregister(s.restarts)
	}
	return nil
}
