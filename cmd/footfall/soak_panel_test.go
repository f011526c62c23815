package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/store"
)

// The crash test's victim is this test binary, started again as the program: everything is as in
// `footfall serve`, but the clock and the spool's file layer are the test's, which turns them by a
// page of memory that both have mapped. It outlives the victim's death.
const panelEnv = "FOOTFALL_TEST_PANEL"

// panel is the page.
type panel struct {
	offset atomic.Int64  // what the victim's clock is ahead, nanoseconds
	broken atomic.Uint64 // a diskFault: how its files fail
	seed   atomic.Uint64 // decides which operations fail
	failed atomic.Uint64 // operations that failed
	cut    atomic.Int64  // n > 0: the engine's connection is cut after n-1 bytes of requests; n < 0: of answers; 0: not
	cuts   atomic.Uint64 // how often that came
}

func openPanel(path string) (*panel, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := os.Getpagesize()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	page, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*panel)(unsafe.Pointer(&page[0])), nil
}

func newPanel(t *testing.T) (p *panel, env string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "panel")
	p, err := openPanel(path)
	if err != nil {
		t.Fatal(err)
	}
	return p, panelEnv + "=" + path
}

// now is the victim's time. It has no monotonic reading: a clock that is set shows in every difference.
func (p *panel) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(p.offset.Load()))
}

// victimMain is `footfall serve` on the panel's clock and files.
func victimMain(path string) int {
	p, err := openPanel(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = serveOn(ctx, streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv}, os.Args[2:], surroundings{
		clocks: clocks{now: p.now},
		files:  &hurtFiles{FileSystem: spool.Disk(), panel: p},
		engine: func(e store.Engine) store.Engine { return cutEngine{e, p} },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	return exitOK
}

// cutEngine is an engine whose connections are cut as the panel says.
type cutEngine struct {
	store.Engine
	panel *panel
}

func (e cutEngine) ClickhouseOptions() *clickhouse.Options {
	o := e.Engine.ClickhouseOptions()
	dial := o.DialContext
	o.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		return cutConn{c, e.panel}, nil
	}
	return o
}

type cutConn struct {
	net.Conn
	panel *panel
}

func (c cutConn) Write(b []byte) (int, error) {
	pass, cut := c.panel.passes(1, len(b))
	n, err := c.Conn.Write(b[:pass])
	if cut {
		c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	return n, err
}

func (c cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	pass, cut := c.panel.passes(-1, n)
	if cut {
		c.Conn.Close()
		return pass, io.ErrUnexpectedEOF
	}
	return n, err
}

// passes returns how many of n bytes of a direction pass before the cut, if that comes now.
func (p *panel) passes(direction int64, n int) (pass int, cut bool) {
	for {
		armed := p.cut.Load()
		left := armed*direction - 1
		if left < 0 {
			return n, false
		}
		if int64(n) <= left {
			if p.cut.CompareAndSwap(armed, direction*(left-int64(n)+1)) {
				return n, false
			}
		} else if p.cut.CompareAndSwap(armed, 0) {
			p.cuts.Add(1)
			return int(left), true
		}
	}
}

// diskFault is a way in which files fail; 0 for none.
type diskFault uint64

const (
	writesFail   diskFault = 1 + iota // EIO, after a part of the bytes
	noSpace                           // ENOSPC, after a part of the bytes
	syncsFail                         // EIO, of files and of folders
	namesFail                         // EIO from rename and remove
	writesUndone                      // writes fail when all is written, and it cannot be cut off
	diskFaults
)

func (d diskFault) String() string {
	return [...]string{"none", "writes fail", "no space", "syncs fail", "renaming and removing fail", "writes fail and cannot be cut off"}[d]
}

// hurtFiles fails as the panel says: of the operations concerned three in four, by the seed and
// their number in this process. Which hit an operation is for depends on when it came.
type hurtFiles struct {
	spool.FileSystem
	panel *panel
	ops   atomic.Uint64
}

// fails decides about one operation, and draws how much of it happens all the same.
func (h *hurtFiles) fails(faults ...diskFault) (part float64, err error) {
	broken := diskFault(h.panel.broken.Load())
	for _, f := range faults {
		if f != broken {
			continue
		}
		r := rand.New(rand.NewPCG(h.panel.seed.Load(), h.ops.Add(1)))
		if r.IntN(4) == 0 {
			return 0, nil
		}
		h.panel.failed.Add(1)
		errno := syscall.EIO
		if f == noSpace {
			errno = syscall.ENOSPC
		}
		return r.Float64(), &os.PathError{Op: "test", Path: "x", Err: errno}
	}
	return 0, nil
}

func (h *hurtFiles) OpenFile(name string, flag int, perm os.FileMode) (spool.File, error) {
	if flag&os.O_CREATE != 0 {
		if _, err := h.fails(writesFail, noSpace); err != nil {
			return nil, err
		}
	}
	f, err := h.FileSystem.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &hurtFile{File: f, files: h}, nil
}

func (h *hurtFiles) Rename(from, to string) error {
	if _, err := h.fails(namesFail); err != nil {
		return err
	}
	return h.FileSystem.Rename(from, to)
}

func (h *hurtFiles) Remove(name string) error {
	if _, err := h.fails(namesFail); err != nil {
		return err
	}
	return h.FileSystem.Remove(name)
}

func (h *hurtFiles) SyncDir(name string) error {
	if _, err := h.fails(syncsFail); err != nil {
		return err
	}
	return h.FileSystem.SyncDir(name)
}

type hurtFile struct {
	spool.File
	files *hurtFiles
	stuck atomic.Bool // the last write failed and is not to be cut off
}

func (f *hurtFile) WriteAt(b []byte, offset int64) (int, error) {
	if len(b) > footerBytes { // what ends a segment must not fail together with cutting off
		if _, err := f.files.fails(writesUndone); err != nil {
			f.stuck.Store(true)
			n, _ := f.File.WriteAt(b, offset)
			return n, err
		}
	}
	if part, err := f.files.fails(writesFail, noSpace); err != nil {
		n, _ := f.File.WriteAt(b[:int(part*float64(len(b)+1))], offset)
		return n, err
	}
	return f.File.WriteAt(b, offset)
}

// footerBytes is the length of a segment's footer. No record is as short.
const footerBytes = 16

func (f *hurtFile) Truncate(size int64) error {
	if f.stuck.Swap(false) {
		f.files.panel.failed.Add(1)
		return &os.PathError{Op: "test", Path: "x", Err: syscall.EIO}
	}
	return f.File.Truncate(size)
}

func (f *hurtFile) Sync() error {
	if _, err := f.files.fails(syncsFail); err != nil {
		return err
	}
	return f.File.Sync()
}
