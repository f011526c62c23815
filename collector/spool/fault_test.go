package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faulty is a file system whose next operations fail as told.
type faulty struct {
	diskFS
	mu     sync.Mutex
	broken map[string]error // by operation: create, write, footer, truncate, sync, rename, remove, read
	short  int              // bytes that a failing write still writes
}

func newFaulty() *faulty { return &faulty{broken: map[string]error{}} }

func (f *faulty) set(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[op] = err
}

func (f *faulty) fails(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken[op]; err != nil {
		return &os.PathError{Op: op, Path: "x", Err: err}
	}
	return nil
}

func (f *faulty) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.fails("create"); err != nil {
			return nil, err
		}
	}
	o, err := f.diskFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{o, f}, nil
}

func (f *faulty) ReadFile(name string) ([]byte, error) {
	if err := f.fails("read"); err != nil {
		return nil, err
	}
	return f.diskFS.ReadFile(name)
}

func (f *faulty) Rename(from, to string) error {
	if err := f.fails("rename"); err != nil {
		return err
	}
	return f.diskFS.Rename(from, to)
}

func (f *faulty) Remove(name string) error {
	if err := f.fails("remove"); err != nil {
		return err
	}
	return f.diskFS.Remove(name)
}

type faultyFile struct {
	File
	fs *faulty
}

func (f *faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	op := "write"
	if len(b) == footerSize && b[7] == footerMark {
		op = "footer"
	}
	if err := f.fs.fails(op); err != nil {
		short := min(f.fs.short, len(b))
		if op == "footer" && short == len(b) {
			short = 0
		}
		n, _ := f.File.WriteAt(b[:short], offset)
		return n, err
	}
	return f.File.WriteAt(b, offset)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.fails("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.fails("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

// Whatever fails, exactly the acknowledged events come out, by this process and, in a copy of the folder,
// by the one after a crash.
func TestFaultsLoseNothingAcknowledgedAndStoreNothingRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		sync   time.Duration
		faults []string
		err    error
		short  int
		refuse bool // appends fail meanwhile
		full   bool // with ErrFull
		crash  bool // the copy has the acknowledged events only, too
	}{
		{"disk full", time.Hour, []string{"write"}, syscall.ENOSPC, 0, true, true, true},
		{"quota", time.Hour, []string{"write"}, syscall.EDQUOT, 0, true, true, true},
		{"short write", time.Hour, []string{"write"}, syscall.ENOSPC, 33, true, true, true},
		{"whole record written, then an error", time.Hour, []string{"write"}, syscall.EIO, 1 << 20, true, false, true},
		{"short write that cannot be cut off", time.Hour, []string{"write", "truncate"}, syscall.EIO, 40, true, false, true},
		{"whole record that cannot be cut off", time.Hour, []string{"write", "truncate"}, syscall.EIO, 1 << 20, true, false, true},
		{"whole record that cannot be undone at all", time.Hour, []string{"write", "truncate", "footer"}, syscall.EIO, 1 << 20, true, false, false},
		{"fsync", 0, []string{"sync"}, syscall.EIO, 0, true, false, true},
		{"fsync, disk full", 0, []string{"sync"}, syscall.ENOSPC, 0, true, true, true},
		{"fsync and truncate", 0, []string{"sync", "truncate"}, syscall.EIO, 0, true, false, true},
		{"create", time.Hour, []string{"create"}, syscall.EMFILE, 0, false, false, true},
		{"footer", time.Hour, []string{"footer"}, syscall.ENOSPC, 5, false, false, true},
		{"footer that cannot be cut off", time.Hour, []string{"footer", "truncate"}, syscall.EIO, 9, false, false, true},
		{"rename", time.Hour, []string{"rename"}, syscall.EIO, 0, false, false, true},
		{"background fsync", time.Millisecond, []string{"sync"}, syscall.EIO, 0, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := newFaulty()
			fs.short = c.short
			r := openRig(t, filepath.Join(t.TempDir(), "spool"), fs, func(o *Options) { o.Sync = c.sync; o.SegmentEvents = 20; o.MaxAge = time.Hour })
			var want []uint64
			next := 1
			appendSome := func(n int) (failed int) {
				for range n {
					if err := r.Append(hit(next)); err == nil {
						want = append(want, uint64(next))
					} else {
						failed++
						if errors.Is(err, ErrFull) != c.full {
							t.Fatalf("the error is %v", err)
						}
					}
					next++
				}
				return failed
			}
			if appendSome(7) != 0 {
				t.Fatal("appends fail before anything is broken")
			}
			for _, op := range c.faults {
				fs.set(op, c.err)
			}
			failed := appendSome(40)
			atOnce := copyOf(t, r.dir)
			wantAtOnce := slices.Clone(want)
			if c.refuse {
				if failed != 40 {
					t.Errorf("%d of 40 appends failed", failed)
				}
				if st := r.Status(); st.Err == nil || errors.Is(st.Err, ErrFull) != c.full {
					t.Errorf("the status is %+v", st)
				}
			}
			if c.sync == time.Millisecond {
				eventually(t, "the error is counted", func() bool { return r.metric(t, "footfall_spool_errors_total") > 0 })
			}
			for _, op := range c.faults {
				fs.set(op, nil)
			}
			if appendSome(30) != 0 {
				t.Error("appends fail when all works again")
			}
			if st := r.Status(); st.Err != nil || st.Events != int64(len(want)) {
				t.Errorf("the status is %+v, %d events were acknowledged", st, len(want))
			}
			if counted := r.metric(t, "footfall_spool_errors_total"); counted == 0 {
				t.Error("no error is counted")
			}
			if !strings.Contains(r.log.String(), "level=ERROR") {
				t.Error("no error is logged")
			}

			later := copyOf(t, r.dir)
			ids := func(m *memory) (ids []uint64) {
				for _, e := range m.events() {
					ids = append(ids, e.ID)
				}
				return ids
			}
			var pending []uint64
			if err := r.Pending(func(e *hitEvent) error { pending = append(pending, e.ID); return nil }); err != nil || !reflect.DeepEqual(pending, want) {
				t.Errorf("pending %v (%v), want %v", pending, err, want)
			}
			if got := ids(r.drainAll(t)); !reflect.DeepEqual(got, want) {
				t.Errorf("stored %v, want %v", got, want)
			}
			if st := r.Status(); st.Events != 0 || st.Bytes != 0 {
				t.Errorf("at the end: %+v", st)
			}
			for dir, want := range map[string][]uint64{atOnce: wantAtOnce, later: want} {
				got := ids(openRig(t, dir, diskFS{}, nil).drainAll(t))
				if !c.crash { // the disk let nobody take the refused record back
					got = slices.DeleteFunc(got, func(id uint64) bool { return !slices.Contains(want, id) })
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("after a crash stored %v, want %v", got, want)
				}
			}
		})
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// After a failed fsync nobody knows what the disk has of the file: it gets nothing more.
func TestFileIsNotUsedAgainAfterAFailedSync(t *testing.T) {
	for _, sync0 := range []time.Duration{0, time.Millisecond} {
		fs := newFaulty()
		r := openRig(t, filepath.Join(t.TempDir(), "spool"), fs, func(o *Options) { o.Sync = sync0; o.MaxAge = time.Hour })
		r.append(t, 1, 3)
		fs.set("sync", syscall.EIO)
		r.Append(hit(3))
		eventually(t, "the error is counted", func() bool { return r.metric(t, "footfall_spool_errors_total") > 0 })
		fs.set("sync", nil)
		r.append(t, 4, 5)
		if files := r.files(t); len(files) != 2 || !strings.HasSuffix(files[0], sealedSuffix) {
			t.Errorf("sync %v: the files are %v", sync0, files)
		}
	}
}

func TestCreateFailsAndRecovers(t *testing.T) {
	fs := newFaulty()
	r := openRig(t, filepath.Join(t.TempDir(), "spool"), fs, nil)
	for _, op := range []string{"create", "write"} {
		fs.set(op, syscall.ENOSPC)
		if err := r.Append(hit(1)); !errors.Is(err, ErrFull) {
			t.Errorf("%s: %v", op, err)
		}
		fs.set(op, nil)
		if n := len(r.files(t)); n != 0 {
			t.Errorf("%s: %v is left", op, r.files(t))
		}
	}
	if st := r.Status(); st.Bytes != 0 || st.Events != 0 || !errors.Is(st.Err, ErrFull) {
		t.Errorf("%+v", st)
	}
	r.append(t, 1, 3)
	same(t, r.drainAll(t).events(), 1, 3)
}

func TestReadAndRemoveErrors(t *testing.T) {
	fs := newFaulty()
	r := openRig(t, filepath.Join(t.TempDir(), "spool"), fs, func(o *Options) { o.SegmentEvents = 5 })
	r.append(t, 1, 11)
	fs.set("read", syscall.EIO)
	ctx, cancel := context.WithCancel(context.Background())
	m := &memory{}
	done := make(chan error)
	go func() { done <- r.Run(ctx, m) }()
	eventually(t, "a read error is counted", func() bool { return r.metric(t, "footfall_spool_errors_total") > 0 })
	fs.set("remove", syscall.EIO)
	fs.set("read", nil)
	eventually(t, "all is stored", func() bool { return len(m.events()) == 10 })
	eventually(t, "nothing waits", func() bool { return r.Status().Events == 0 })
	cancel()
	<-done
	r.Close(canceled())
	same(t, m.events(), 1, 11)
	// What could not be removed comes again, and says so.
	again := openRig(t, r.dir, diskFS{}, nil).drainAll(t)
	for i, b := range again.batches {
		if !b.Replayed || b.ID != m.batches[i].ID || len(b.Events) != len(m.batches[i].Events) {
			t.Errorf("batch %d: %x, replayed %v", i, b.ID, b.Replayed)
		}
	}
	if len(again.batches) != 2 {
		t.Errorf("%d batches", len(again.batches))
	}
}

// Where no hit comes, a full disk is known by the probe, and so is that there is room again.
func TestProbe(t *testing.T) {
	for _, op := range []string{"create", "write", "sync"} {
		f := newFaulty()
		s := openRig(t, t.TempDir(), f, nil)
		s.Probe()
		if err := s.Status().Err; err != nil {
			t.Fatalf("a disk with room: %v", err)
		}
		f.set(op, syscall.ENOSPC)
		s.Probe()
		if err := s.Status().Err; !errors.Is(err, ErrFull) {
			t.Errorf("%s fails: %v", op, err)
		}
		f.set(op, nil)
		s.Probe()
		if err := s.Status().Err; err != nil {
			t.Errorf("%s works again: %v", op, err)
		}
	}
}
