package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The lines by which the child tells its parent how it fares, one each on standard error. They hold
// no statement, no data and nothing the library printed.
const (
	lineReady = "engine: ready"
	lineError = "engine: "
)

// Exit statuses of Main.
const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitLocked = 3
)

// Times the child gives itself.
const (
	lockWait   = 15 * time.Second // for a lock left by the engine of a parent that was killed
	orphanStop = 3 * time.Second  // to close files once nobody waits for an answer any more
	termStop   = 30 * time.Second // to let statements end after SIGTERM; the parent kills before
)

var errLocked = errors.New("the directory is locked")

// childConfig is what the child's command line says.
type childConfig struct {
	path, socket   string
	library        string
	reads, inserts int
	maxInsert      int64
	settings       settingsFlag
	server         settingsFlag
	lockWait       time.Duration
	stall          time.Duration
	watchStdin     bool
}

// settingsFlag collects repeated NAME=VALUE flags.
type settingsFlag []setting

func (f *settingsFlag) String() string { return "" }

func (f *settingsFlag) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || !settingNameRe.MatchString(name) {
		return errors.New("want NAME=VALUE")
	}
	*f = append(*f, setting{name, value})
	return nil
}

func parseChildArgs(args []string, stderr io.Writer) (*childConfig, error) {
	c := new(childConfig)
	fs := flag.NewFlagSet("footfall engine", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.path, "path", "", "directory of the database")
	fs.StringVar(&c.socket, "socket", "", "Unix socket to serve on")
	fs.StringVar(&c.library, "library", "", "the engine's library; empty: look in the usual places")
	fs.IntVar(&c.reads, "sessions", max(4, 2*runtime.NumCPU()), "statements that run side by side, inserts aside")
	fs.IntVar(&c.inserts, "inserts", 2, "inserts that run side by side")
	fs.Int64Var(&c.maxInsert, "max-insert", DefaultMaxInsert, "bytes of one insert")
	fs.Var(&c.settings, "set", "NAME=VALUE: a setting of every statement; may be repeated")
	fs.Var(&c.server, "server", "NAME=VALUE: a setting of the engine as a whole; may be repeated")
	fs.DurationVar(&c.lockWait, "lock-wait", lockWait, "how long to wait for another engine to leave the directory")
	fs.DurationVar(&c.stall, "stall", 2*time.Minute, "how long a client may neither send nor take what it has to")
	fs.BoolVar(&c.watchStdin, "parent-pipe", false, "stop when standard input ends")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case c.path == "" || c.socket == "":
		return nil, errors.New("--path and --socket are needed")
	case c.reads < 1 || c.inserts < 1 || c.maxInsert < 1:
		return nil, errors.New("--sessions, --inserts and --max-insert must be at least 1")
	}
	return c, nil
}

// Main is the child process: it opens the database in --path and serves it on --socket until SIGTERM,
// SIGINT or, with --parent-pipe, the end of standard input. It takes the process over: it mutes
// standard output and error (messages go to what stderr was), changes the umask and maps a library
// that stays. It returns the exit status: 0 after an orderly end, 2 for bad arguments, 3 if another
// engine has the directory, 1 for all else.
func Main(args []string, stderr io.Writer) int {
	say, err := ownStderr(stderr)
	if err != nil {
		fmt.Fprintln(stderr, lineError+err.Error())
		return exitError
	}
	c, err := parseChildArgs(args, say)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(say, lineError+err.Error())
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	grace := termStop
	if c.watchStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
			// Nobody is left to ask for more time or to send a signal.
			time.AfterFunc(orphanStop, func() { os.Exit(exitError) })
		}()
	}
	err = runChild(ctx, c, grace, say)
	switch {
	case errors.Is(err, errLocked):
		fmt.Fprintf(say, "%sanother engine has the directory %s\n", lineError, c.path)
		return exitLocked
	case err != nil:
		fmt.Fprintln(say, lineError+oneLine(err))
		return exitError
	}
	return exitOK
}

// ownStderr returns a writer to where stderr goes that stays when standard error is muted.
func ownStderr(stderr io.Writer) (io.Writer, error) {
	f, ok := stderr.(*os.File)
	if !ok {
		return stderr, nil
	}
	return dupFile(f)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func runChild(ctx context.Context, c *childConfig, grace time.Duration, say io.Writer) error {
	setUmask(0o077)
	path, err := filepath.Abs(c.path)
	if err != nil {
		return err
	}
	socket, err := filepath.Abs(c.socket)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close() // the lock goes with it
	if err := waitLock(ctx, dir, c.lockWait, say); err != nil {
		return err
	}
	// The library reads a config.xml from the working directory if there is one.
	if err := os.Chdir(path); err != nil {
		return err
	}
	library := c.library
	if library == "" {
		if library, err = FindLibrary(); err != nil {
			return err
		}
	}
	l, err := loadLibrary(library)
	if err != nil {
		return err
	}
	noCoreDumps()
	if err := muteStdio(); err != nil {
		return err
	}
	options := make([]string, 0, len(c.server))
	for _, s := range c.server {
		options = append(options, "--"+s.name+"="+s.value)
	}
	p, err := newPool(func() (*session, error) { return l.open(path, options...) }, c.reads, c.inserts, c.settings, insertSettings())
	if err != nil {
		return sayable(err)
	}
	ln, err := ListenSocket(socket)
	if err != nil {
		p.close()
		return err
	}
	defer os.Remove(socket)
	fmt.Fprintln(say, lineReady)
	if err := serveBridge(ctx, ln, newBridge(p, c.maxInsert, c.stall), grace); err != nil {
		return err // statements still run: their sessions cannot be closed
	}
	p.close()
	l.shutdown()
	return nil
}

// sayable is an error as it may be printed: of an exception only the code, since its text may quote
// statements and data.
func sayable(err error) error {
	var e *exception
	if errors.As(err, &e) {
		return fmt.Errorf("the engine failed to start with ClickHouse's error %d", e.code)
	}
	return err
}

// insertSettings make the engine take all blocks of an insert for one, whatever their size, so that
// it stores all of them or, when one is missing, none. The insert's size is bounded by the bridge.
func insertSettings() []setting {
	const huge = 1 << 40
	n := strconv.Itoa(huge)
	return []setting{
		{"min_insert_block_size_rows", n},
		{"min_insert_block_size_bytes", n},
		{"max_insert_block_size", n},
		{"max_insert_threads", "1"},
	}
}

// waitLock takes the lock on the directory, waiting for an engine that is about to leave it.
func waitLock(ctx context.Context, dir *os.File, patience time.Duration, say io.Writer) error {
	deadline := time.Now().Add(patience)
	for told := false; ; told = true {
		err := lockDir(dir)
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return err
		}
		if !told {
			fmt.Fprintf(say, "%sanother engine has the directory %s, waiting for it to leave\n", lineError, dir.Name())
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serveBridge serves until ctx ends, then gives running statements the grace time to end and stops
// those that have not.
func serveBridge(ctx context.Context, ln net.Listener, b *bridge, grace time.Duration) error {
	stopAll, cancelAll := context.WithCancel(context.Background())
	defer cancelAll()
	srv := &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       0, // the client closes what it does not use
		MaxHeaderBytes:    1 << 20,
		BaseContext:       func(net.Listener) context.Context { return stopAll },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:          log.New(io.Discard, "", 0), // it would quote requests
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if srv.Shutdown(wait) == nil {
		return nil
	}
	cancelAll()
	wait, cancel = context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(wait); err != nil {
		return errors.New("statements did not end in time")
	}
	return nil
}
