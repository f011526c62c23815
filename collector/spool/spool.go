// Package spool keeps counted hits on disk from before they are acknowledged until they are
// definitely stored.
//
// It is a queue of segment files. Events are appended to the active segment; a segment
// that is sealed never changes, and is one batch for the store, with an id that stays the
// same however often it is handed over. It is removed only when the store has said that it
// holds it.
//
// Rules it keeps:
//   - An event whose Append returned nil is handed to the sink, whatever is killed and whenever; one
//     whose Append failed is not.
//   - Damage is found by checksums, reported and counted, never read as an event; whole
//     records around it are kept.
//   - Memory and disk are bounded, and a full disk is an answer ([ErrFull]), not a
//     state: when there is room again it goes on.
//   - Files are readable by their owner only, and no log line or metric holds
//     anything of an event.
//
// With Options.Keep a stored segment is not removed but kept for a while, and can be put back into the queue: see
// [Spool.Replay].
//
// What a power failure or a crash of the system can take is the last Options.Sync of
// acknowledged events, and nothing with Sync 0.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/event"
)

// ErrFull is wrapped by errors of [Spool.Append] that will pass when there is room again: the
// spool has reached its limit, or the disk is full.
var ErrFull = errors.New("spool: full")

// ErrClosed is returned by [Spool.Append] after [Spool.Close].
var ErrClosed = errors.New("spool: closed")

// Options of a spool. Dir, MaxBytes, Now and Log are required.
type Options struct {
	// Dir is the spool's own folder. It is made if it is not there, and is used by one
	// process at a time.
	Dir string
	// Sync is how much of what was acknowledged a power failure may take. 0: nothing, Append waits for
	// an fsync, which it shares with whoever waits at the same time.
	Sync time.Duration
	// MaxBytes bounds the segment files together.
	MaxBytes int64
	// Keep is how long a segment is kept beside the queue once it is stored, for [Spool.Replay]. 0: it is
	// removed at once. What is kept takes MaxBytes more at most.
	Keep time.Duration
	// Remember is how long the ids of events are noted once they are stored, for [Spool.Stored]. 0: not at all.
	Remember time.Duration

	// A segment is sealed before it outgrows SegmentBytes or SegmentEvents, or MaxAge after
	// its first event if nothing older waits. 0 means the default: 16 MiB or a
	// quarter of MaxBytes, whichever is less; 50,000; 1 s.
	SegmentBytes  int64
	SegmentEvents int
	MaxAge        time.Duration

	Files      FileSystem // nil: Disk
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

const (
	defaultSegmentBytes  = 16 << 20
	defaultSegmentEvents = 50_000
	defaultMaxAge        = time.Second

	// failureLasts is how long a failed write makes the spool unready: if nobody sends
	// hits to an unready program, no write will show that it works again.
	failureLasts = 30 * time.Second
)

// Spool is a queue of events on disk. Its methods may be called from many goroutines.
//
// Locks are taken in the order writing, mu.
type Spool struct {
	dir            string
	sync           time.Duration
	maxBytes       int64
	keep, remember time.Duration
	segmentBytes   int64
	segmentEvents  int
	maxAge         time.Duration
	now            func() time.Time
	log            *slog.Logger
	fs             FileSystem
	lock           *os.File
	metrics        *metrics

	events   atomic.Int64 // acknowledged and not stored
	drops    atomic.Int64 // records of hits that were not counted, not stored
	bytes    atomic.Int64 // of the files, and of records on their way to them
	appended atomic.Uint64
	failure  atomic.Pointer[failure]

	activeSince atomic.Int64 // Unix nanoseconds: the active segment's first event; 0 without
	groups      sync.Pool    // of *group

	wake     chan struct{} // there is something for Run
	unsynced chan struct{} // there is something for syncLoop
	closing  chan struct{} // closed when Close begins
	stop     chan struct{} // ends syncLoop
	synced   chan struct{} // syncLoop has ended

	writing  sync.Mutex // held while files are written or sealed; guards the next five
	active   *segment
	seq      uint64
	ended    bool // no more writes
	newFiles bool // the folder needs a sync
	toSync   []*segment

	mu        sync.Mutex // never held during disk access; guards what follows
	joining   *group     // the group that appenders join
	closed    bool       // no more appends
	finished  bool       // nothing will be queued any more
	queue     []*segment // sealed, oldest first
	kept      []kept     // by when they were stored
	keptBytes int64
	saidFull  time.Time     // when it was last said that segments are not kept for long enough
	forgot    chan struct{} // closed when a segment leaves the queue; nil while nobody waits
	sink      Sink
	running   chan struct{} // closed when the Run in progress ends
	cancelRun context.CancelFunc

	room []event.Event // drain's, for the next segment's events

	debts    debts
	counting sync.Mutex // held by Waiting

	replaying sync.Mutex // held by Replay, Purge and at the end of Flush

	noting sync.Mutex // guards what follows
	ids    []idFile   // oldest first; the last is idFile's, if that is open
	idFile File

	closeOnce sync.Once
	closeErr  error
}

type failure struct {
	err error
	at  time.Time
}

// Open opens the spool in o.Dir and takes over what an earlier process left there, reporting
// what of it was damaged. An error says that the folder cannot be used.
func Open(o Options) (*Spool, error) {
	if o.Files == nil {
		o.Files = Disk()
	}
	switch {
	case o.Dir == "" || o.Now == nil || o.Log == nil:
		return nil, errors.New("spool: Options.Dir, Now and Log are required")
	case o.Sync < 0:
		return nil, fmt.Errorf("spool: sync is %v: it cannot be negative", o.Sync)
	case o.Keep < 0 || o.Remember < 0:
		return nil, fmt.Errorf("spool: keep is %v, remember %v: neither can be negative", o.Keep, o.Remember)
	case o.MaxBytes < 1<<16:
		return nil, fmt.Errorf("spool: max_bytes is %d: at least %d", o.MaxBytes, 1<<16)
	}
	s := &Spool{
		dir: o.Dir, sync: o.Sync, maxBytes: o.MaxBytes, keep: o.Keep, remember: o.Remember, now: o.Now, log: o.Log, fs: o.Files,
		segmentBytes:  orDefault(o.SegmentBytes, min(defaultSegmentBytes, o.MaxBytes/4)),
		segmentEvents: orDefault(o.SegmentEvents, defaultSegmentEvents),
		maxAge:        orDefault(o.MaxAge, defaultMaxAge),
		wake:          make(chan struct{}, 1),
		unsynced:      make(chan struct{}, 1),
		closing:       make(chan struct{}),
		stop:          make(chan struct{}),
		synced:        make(chan struct{}),
	}
	s.groups.New = func() any { return new(group) }
	var err error
	if s.lock, err = lockDir(o.Dir); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(s, o.Registerer); err == nil {
		err = s.recover()
	}
	if err == nil {
		err = s.recoverKept()
	}
	if err != nil {
		s.metrics.unregister()
		s.lock.Close()
		return nil, err
	}
	if s.sync > 0 {
		go s.syncLoop()
	} else {
		close(s.synced)
	}
	return s, nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// lockDir makes the folder private and takes it. The lock goes with the process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another process is using it")
	}
	if err == nil {
		err = d.Chmod(0o700)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("spool: %s: %w", dir, err)
	}
	return d, nil
}

// Status is a moment's view of a spool.
type Status struct {
	Events int64     // acknowledged and not stored yet
	Bytes  int64     // of the segment files
	Oldest time.Time // when the oldest segment's first event came; zero if none waits
	Err    error     // not nil: hits cannot be acknowledged at present, and why
}

// Status returns the present state, for readiness: a store that is down is no error,
// having no room for hits is.
func (s *Spool) Status() Status {
	st := Status{Events: s.events.Load(), Bytes: s.bytes.Load()}
	if ns := s.activeSince.Load(); ns != 0 { // without s.writing: a disk that hangs must not make this hang
		st.Oldest = time.Unix(0, ns)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		st.Oldest = s.queue[0].born
	}
	f := s.failure.Load()
	switch {
	case s.closed:
		st.Err = ErrClosed
	case s.nearlyFull():
		st.Err = ErrFull
	case f != nil && s.now().Sub(f.at).Abs() < failureLasts:
		st.Err = f.err
	}
	return st
}

// failed remembers a failed write and logs the first of a row.
func (s *Spool) failed(err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	if s.failure.Swap(&failure{err, s.now()}) == nil {
		s.log.Error("spool: writing failed, hits are refused until it works again", "error", err)
	}
}

// Probe tries whether the disk takes a write, and what it finds is what [Spool.Status] says: where no hit
// comes nobody would know otherwise. Call it after Open and every ten seconds or so.
func (s *Spool) Probe() {
	if err := s.probe(); err != nil {
		s.failed(s.writeError("probe", err))
		return
	}
	s.works()
}

// probeName is no segment's: a start does not look at it.
const probeName = "probe.tmp"

func (s *Spool) probe() error {
	name := filepath.Join(s.dir, probeName)
	f, err := s.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 4<<10), 0)
	err = errors.Join(err, f.Sync(), f.Close())
	s.fs.Remove(name) // that it stays does not keep anything from being written
	return err
}

// nearlyFull tells whether the next event may not fit.
func (s *Spool) nearlyFull() bool { return s.bytes.Load() > s.maxBytes-min(maxRecord, s.maxBytes/16) }

// works forgets a failed write, but not at the limit, where small events fit between large
// ones that do not.
func (s *Spool) works() {
	if s.failure.Load() != nil && !s.nearlyFull() && s.failure.Swap(nil) != nil {
		s.log.Info("spool: writing works again")
	}
}

// Close ends appending, seals the active segment and gives the sink of [Spool.Run] the time
// until ctx ends to store what waits, whether that Run is still in progress or not. What is not
// stored then stays on disk for the next Open, and is no error.
func (s *Spool) Close(ctx context.Context) error {
	s.closeOnce.Do(func() { s.closeErr = s.close(ctx) })
	return s.closeErr
}

func (s *Spool) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.closing)
	s.writing.Lock()
	s.settle()
	s.ended = true
	s.seal()
	s.writing.Unlock()
	if n := s.owedHits(); n > 0 {
		s.log.Error("spool: there was no room to note hits that were refused; they are missing in the ledger", "hits", n)
	}

	s.mu.Lock()
	s.finished = true
	running, cancel, sink := s.running, s.cancelRun, s.sink
	s.mu.Unlock()
	if running != nil {
		notify(s.wake)
		select {
		case <-running:
		case <-ctx.Done():
			cancel()
			<-running
		}
	}
	for sink != nil && ctx.Err() == nil {
		g, _ := s.oldest()
		if g == nil {
			break
		}
		if err := s.drain(ctx, g, sink); err != nil {
			s.log.Warn("spool: the last batches were not stored, they are kept for the next start", "error", err)
			break
		}
	}

	s.noting.Lock()
	s.closeIDs()
	s.noting.Unlock()
	close(s.stop)
	<-s.synced
	s.syncNow()
	s.mu.Lock()
	left := 0
	for _, g := range s.queue {
		left += g.records
	}
	s.mu.Unlock()
	if left > 0 {
		s.log.Info("spool: closed, records wait on disk for the next start", "records", left)
	}
	err := s.fs.SyncDir(s.dir)
	s.metrics.unregister()
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("spool: closing %s: %w", filepath.Base(s.dir), err)
	}
	return nil
}
