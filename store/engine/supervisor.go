package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
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

// Supervisor keeps an engine running. Its methods may be called from several goroutines.
type Supervisor struct {
	o       Options
	socket  string
	library string
	cancel  context.CancelFunc // asks run to end the child and itself
	ended   chan struct{}      // closed when run has returned

	probeEvery, probePatience time.Duration

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
	if err := supported(); err != nil {
		return nil, err
	}
	if err := checkCPU(requiredCPU()); err != nil {
		return nil, err
	}
	s := &Supervisor{o: o, changed: make(chan struct{}), ended: make(chan struct{}), probeEvery: 15 * time.Second, probePatience: 2 * time.Minute}
	if o.probeEvery > 0 {
		s.probeEvery, s.probePatience = o.probeEvery, o.probePatience
	}
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
	cmd.Env = []string{"TZ=UTC"} // nothing of the parent's: it may hold a password
	cmd.SysProcAttr = childAttr()
	stdin, err := cmd.StdinPipe() // held open, never written: its end tells the child that we are gone
	if err != nil {
		return 0, err
	}
	lines := new(lineWriter)
	var (
		said    string
		readyAt time.Time
		got     = make(chan struct{}) // closed when the child is ready
	)
	lines.line = func(line string) {
		switch {
		case line == lineReady && readyAt.IsZero():
			readyAt = s.o.Now()
			close(got)
			s.set(func() { s.ready, s.last = true, nil })
			s.up.Set(1)
			s.o.Log.Info("the embedded engine is ready")
		case strings.HasPrefix(line, lineError):
			said = strings.TrimPrefix(line, lineError)
			s.set(func() { s.last = errors.New("engine: " + said) })
		}
		// Anything else is the Go runtime's last words. They are not ours to print: they may quote.
	}
	cmd.Stderr = lines
	cmd.WaitDelay = time.Second // should somebody else hold the child's standard error open
	if err := cmd.Start(); err != nil {
		s.set(func() { s.last = err })
		return 0, err
	}
	s.set(func() { s.process = cmd.Process })
	exited := make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() { s.end(ctx, cmd.Process, exited) })
	over.Go(func() { s.watchHealth(cmd.Process, got, exited) })
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

// DialContext connects to the engine; the address is not looked at. While the engine is not up it
// fails at once, with the reason.
func (s *Supervisor) DialContext(ctx context.Context, _ string) (net.Conn, error) {
	if !s.Up() {
		if err := s.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("engine: not ready yet")
	}
	return DialSocket(ctx, s.socket)
}

// ClickhouseOptions returns options for clickhouse-go, the caller's to change. Compression is off: on
// a Unix socket it only costs time, and the bridge refuses it.
func (s *Supervisor) ClickhouseOptions() *clickhouse.Options {
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP,
		// Never resolved. It has to be localhost because clickhouse-go asks the environment for an
		// HTTP proxy, which is not used for this name.
		Addr:         []string{"embedded-engine:0"},
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
