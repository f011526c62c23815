package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

const childWorkers = 32

// child is the process that gets killed: it appends events as fast as it can, writes the number of each
// to standard output once it is acknowledged, and stores batches into a ledger file meanwhile.
func child(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sync0, err := time.ParseDuration(os.Getenv("SPOOL_TEST_SYNC"))
	if err != nil {
		fail(err)
	}
	var first int
	if _, err := fmt.Sscan(os.Getenv("SPOOL_TEST_FIRST"), &first); err != nil {
		fail(err)
	}
	s, err := Open(Options{Dir: filepath.Join(dir, "spool"), Sync: sync0, MaxBytes: 1 << 30, SegmentEvents: 500, MaxAge: 5 * time.Millisecond,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		fail(err)
	}
	l, err := openLedger(filepath.Join(dir, "ledger"))
	if err != nil {
		fail(err)
	}
	go s.Run(context.Background(), l)
	for w := range childWorkers {
		go func() {
			for n := first + w; ; n += childWorkers {
				if err := s.Append(hit(n)); err != nil {
					fail(err)
				}
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], uint64(n))
				if _, err := os.Stdout.Write(b[:]); err != nil {
					fail(err)
				}
			}
		}()
	}
	select {}
}

// ledger is a store in a file, which holds a batch as soon as one write has returned: for
// each its id, the number of events and their ids.
type ledger struct {
	mu      sync.Mutex
	f       *os.File
	batches map[uint64][]uint64
}

func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{f: f, batches: map[uint64][]uint64{}}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	for len(raw) >= 16 {
		id, n := binary.LittleEndian.Uint64(raw), int(binary.LittleEndian.Uint64(raw[8:]))
		raw = raw[16:]
		if len(raw) < 8*n {
			return nil, fmt.Errorf("batch %x is cut short", id)
		}
		if _, twice := l.batches[id]; twice {
			return nil, fmt.Errorf("batch %x is there twice", id)
		}
		for range n {
			l.batches[id] = append(l.batches[id], binary.LittleEndian.Uint64(raw))
			raw = raw[8:]
		}
	}
	return l, nil
}

func (l *ledger) Write(_ context.Context, b *event.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.batches[b.ID]; ok { // as a store asks for rows with that id
		if !b.Replayed {
			return fmt.Errorf("batch %x came again and was not marked", b.ID)
		}
		if len(held) != len(b.Events) {
			return fmt.Errorf("batch %x had %d events and now has %d", b.ID, len(held), len(b.Events))
		}
		return nil
	}
	out := binary.LittleEndian.AppendUint64(nil, b.ID)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(b.Events)))
	for _, e := range b.Events {
		out = binary.LittleEndian.AppendUint64(out, e.ID)
		l.batches[b.ID] = append(l.batches[b.ID], e.ID)
	}
	_, err := l.f.Write(out)
	return err
}

// A process is killed under load, three times on one folder: every event it acknowledged is stored, once.
func TestKillUnderLoad(t *testing.T) {
	for _, sync := range []string{"0s", "50ms"} {
		t.Run("sync "+sync, func(t *testing.T) {
			dir := t.TempDir()
			acked := map[uint64]bool{}
			first := 1
			for round := range 3 {
				first = killOne(t, dir, sync, first, 3000+2777*round, acked)
			}
			l, err := openLedger(filepath.Join(dir, "ledger"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.f.Close()
			before := len(l.batches)
			r := openRig(t, filepath.Join(dir, "spool"), diskFS{}, nil)
			waiting := r.Status().Events
			done := make(chan error)
			go func() { done <- r.Run(context.Background(), l) }()
			eventually(t, "the spool is empty", func() bool { return r.Status().Events == 0 })
			if err := r.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			times := map[uint64]int{}
			for _, ids := range l.batches {
				for _, id := range ids {
					times[id]++
				}
			}
			for id := range acked {
				if times[id] != 1 {
					t.Errorf("event %d was acknowledged and is stored %d times", id, times[id])
				}
			}
			for id, n := range times {
				if n != 1 {
					t.Errorf("event %d is stored %d times", id, n)
				}
			}
			// Besides, what was in the kernel and not yet acknowledged when the kill came may be there:
			// at most one event a worker and round.
			if extra := len(times) - len(acked); extra < 0 || extra > 3*childWorkers {
				t.Errorf("%d events are stored, %d were acknowledged", len(times), len(acked))
			}
			t.Logf("%d acknowledged; %d batches were stored before the kills, %d events waited", len(acked), before, waiting)
			if before == 0 {
				t.Error("no batch was stored while it ran: the kill did not fall into a drain")
			}
		})
	}
}

// killOne runs a child, kills it after it has acknowledged some events, and adds those to acked. It returns the number
// for the next child to begin at.
func killOne(t *testing.T, dir, sync string, first, after int, acked map[uint64]bool) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_CHILD="+dir, "SPOOL_TEST_SYNC="+sync, fmt.Sprint("SPOOL_TEST_FIRST=", first))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	last := uint64(0)
	for n := 0; ; n++ {
		if n == after {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		var b [8]byte
		if _, err := io.ReadFull(in, b[:]); err != nil { // the pipe still holds what was written before the kill
			break
		}
		id := binary.LittleEndian.Uint64(b[:])
		acked[id] = true
		last = max(last, id)
	}
	cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v: %s", cmd.ProcessState, stderr.String())
	}
	return int(last) + 10*childWorkers
}
