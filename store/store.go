package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/event"
)

// Engine is a ClickHouse that runs beside the program and is reached by other means than
// an address, as the embedded one is.
type Engine interface {
	// ClickhouseOptions returns how to reach the engine. The caller owns the result.
	ClickhouseOptions() *clickhouse.Options
}

// Options configures a Store. Formatting it, by whatever verb, shows no password.
type Options struct {
	URL    string // clickhouse://user:password@host:9000/database; or
	Engine Engine // an engine. Exactly one of the two is set

	Now        func() time.Time      // nil: time.Now
	StoredAt   func() time.Time      // what the ledger says of when a batch came; nil: Now. The zero time: it is not known
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are not exported

	// OnStored, if set, hears of each batch once it is definitely stored, before Write
	// returns. After a crash it can hear of a batch a second time. The batch is the
	// caller's: it must not be kept.
	OnStored func(*event.Batch)

	InsertTimeout time.Duration // one attempt; 0: a minute
	RetryMin      time.Duration // first wait after a failure, doubled each time; 0: 200 ms
	RetryMax      time.Duration // longest wait; 0: 15 s

	wrap func(driver.Conn) driver.Conn // for tests: what is put around each pool; nil: nothing
}

// Format shows that there are options, and none of them: the address holds a password.
func (o Options) Format(f fmt.State, _ rune) { fmt.Fprint(f, "store.Options{…}") }

// LogValue is Format for structured logs.
func (o Options) LogValue() slog.Value { return slog.StringValue("store.Options{…}") }

const (
	readerConns   = 8
	writerConns   = 3               // an insert, the question what became of one, and a ping
	probeInterval = 5 * time.Second // while nobody else speaks to the database
	probeDown     = time.Second     // while it is down
)

// Store is a database of events. Its methods may be called from several goroutines.
// It holds no password in a form that can be printed.
type Store struct {
	now        func() time.Time
	storedAt   func() time.Time
	log        *slog.Logger
	onStored   func(*event.Batch)
	migrations []migration
	metrics    *instruments

	insertTimeout, retryMin, retryMax time.Duration

	database string
	http     bool // the engine's protocol: a request goes out whole
	// bare opens a connection without a database, to create it.
	bare func() (driver.Conn, error)
	// Two pools, so that no number of slow reports can keep the writer from its connection.
	reader, writer driver.Conn

	gate       chan struct{} // holds one token: whoever has it may prepare the database
	state      atomic.Pointer[prepared]
	health     atomic.Int32 // unknown, up or down
	complained atomic.Int64 // when refused last logged, Unix nanoseconds
	heard      atomic.Int64 // when the server last answered, Unix nanoseconds
	encoders   sync.Pool    // of *encoder

	mu        sync.Mutex
	attempted map[uint64]struct{} // batches that Write began and has not finished
	came      chan struct{}       // closed, and replaced, when the database comes back

	days dayTracker

	books    readGate // while the books are read no batch begins to be written
	erasures erasures
	rolling  waitLock // whoever makes rollups or tidies them
	building waitLock // whoever makes the rollup of a day, or deletes rows of closed days
	removing waitLock // whoever erases or disposes of events

	stop context.CancelFunc
	done chan struct{}
}

// prepared is what is known once the database is migrated.
type prepared struct {
	caps    capabilities
	columns map[string][]clickhouse.ColumnNameAndType // by table, in the order of insertColumns
}

// Open returns a store on the configured database without waiting for it: a server that
// is down is no error, and its tables are made or migrated once it can be reached. The
// error tells of an address that cannot be used. Close the store after use.
func Open(o Options) (*Store, error) {
	migrations, err := loadMigrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	return open(o, migrations)
}

func open(o Options, migrations []migration) (*Store, error) {
	if (o.URL == "") == (o.Engine == nil) {
		return nil, errors.New("store: want either an address or an engine")
	}
	var opt *clickhouse.Options
	var err error
	if o.Engine != nil {
		opt = o.Engine.ClickhouseOptions()
		if opt.Auth.Database == "" {
			opt.Auth.Database = defaultDatabase
		}
	} else if opt, err = parseAddress(o.URL); err != nil {
		return nil, err
	}
	withContext(opt)
	s := &Store{
		now:           o.Now,
		storedAt:      o.StoredAt,
		log:           o.Log,
		onStored:      o.OnStored,
		migrations:    migrations,
		insertTimeout: or(o.InsertTimeout, time.Minute),
		retryMin:      or(o.RetryMin, 200*time.Millisecond),
		retryMax:      or(o.RetryMax, 15*time.Second),
		database:      opt.Auth.Database,
		http:          opt.Protocol == clickhouse.HTTP,
		gate:          make(chan struct{}, 1),
		attempted:     map[uint64]struct{}{},
		came:          make(chan struct{}),
		done:          make(chan struct{}),
		rolling:       newWaitLock(),
		building:      newWaitLock(),
		removing:      newWaitLock(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.storedAt == nil {
		s.storedAt = s.now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.encoders.New = func() any { return newEncoder() }
	if s.metrics, err = newInstruments(o.Registerer, s.Up); err != nil {
		return nil, err
	}
	s.bare = func() (driver.Conn, error) {
		o := *opt
		o.Auth.Database = ""
		return openPool(&o, 1)
	}
	if s.reader, err = openPool(opt, readerConns); err != nil {
		return nil, err
	}
	if s.writer, err = openPool(opt, writerConns); err != nil {
		s.reader.Close()
		return nil, err
	}
	if o.wrap != nil {
		s.reader, s.writer = o.wrap(s.reader), o.wrap(s.writer)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go s.probe(ctx)
	return s, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// openPool opens a pool with a copy of opt; it connects on first use.
func openPool(opt *clickhouse.Options, conns int) (driver.Conn, error) {
	o := *opt
	o.MaxOpenConns, o.MaxIdleConns = conns, conns
	c, err := clickhouse.Open(&o)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return c, nil
}

// Close ends the store's connections. Calls that are under way fail. It may be called
// again.
func (s *Store) Close() {
	s.stop()
	<-s.done
	s.reader.Close()
	s.writer.Close()
}

// Migrate connects, creates the database where it is missing and brings its tables up to
// date. Other methods do this by themselves. The error is a *SchemaError where the
// database belongs to another version of the program.
func (s *Store) Migrate(ctx context.Context) error {
	_, err := s.ready(ctx)
	return err
}

// conn returns the pool of the readers on a database that is ready: migrated, and its
// capabilities known.
func (s *Store) conn(ctx context.Context) (driver.Conn, error) {
	if _, err := s.ready(ctx); err != nil {
		return nil, err
	}
	return s.reader, nil
}

// caps returns what the server can do. Before conn has succeeded once it is the zero
// value, which is what the oldest server can do.
func (s *Store) caps() capabilities {
	if p := s.state.Load(); p != nil {
		return p.caps
	}
	return capabilities{}
}

// ready prepares the database, once; callers wait for the one that does it. A failure
// is returned to its caller alone and the next one tries again.
func (s *Store) ready(ctx context.Context) (*prepared, error) {
	if p := s.state.Load(); p != nil {
		return p, nil
	}
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return nil, fmt.Errorf("store: waiting for the database: %w", ctx.Err())
	}
	if p := s.state.Load(); p != nil {
		return p, nil
	}
	p, err := s.prepare(ctx)
	s.note(err)
	if err != nil {
		return nil, err
	}
	s.state.Store(p)
	return p, nil
}

// unprepare forgets that the database was ready, after a table went missing.
func (s *Store) unprepare() { s.state.Store(nil) }

func (s *Store) prepare(ctx context.Context) (*prepared, error) {
	version, err := s.serverVersion(ctx)
	if isException(err, codeUnknownDatabase) {
		if err := s.createDatabase(ctx); err != nil {
			return nil, err
		}
		version, err = s.serverVersion(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("store: connecting: %w", err)
	}
	caps := capabilitiesOf(version)
	if err := s.migrate(ctx, s.writer, caps); err != nil {
		return nil, err
	}
	columns, err := describeTables(ctx, s.writer)
	if err != nil {
		return nil, err
	}
	return &prepared{caps, columns}, nil
}

func (s *Store) serverVersion(ctx context.Context) (v string, err error) {
	err = s.writer.QueryRow(ctx, "SELECT version()").Scan(&v)
	return v, err
}

func (s *Store) createDatabase(ctx context.Context) error {
	c, err := s.bare()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := define(ctx, c, "CREATE DATABASE IF NOT EXISTS `"+s.database+"`"); err != nil {
		return fmt.Errorf("store: creating the database %s: %w", s.database, err)
	}
	return nil
}

// Ping asks the server for a sign of life and prepares the database if nobody has.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := s.ready(ctx); err != nil {
		return err
	}
	var one uint8
	err := s.writer.QueryRow(ctx, "SELECT toUInt8(1)").Scan(&one)
	s.note(err)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Up tells whether the database was usable when it was last spoken to, which is at most
// some seconds ago.
func (s *Store) Up() bool { return s.health.Load() == up }

// Values of Store.health.
const (
	unknown = iota
	up
	down
)

// note records the outcome of a call and logs when the database comes or goes.
func (s *Store) note(err error) {
	if errors.Is(err, context.Canceled) {
		return // says nothing of the server
	}
	if err == nil {
		s.heard.Store(time.Now().UnixNano())
		if s.health.Swap(up) != up {
			s.log.Info("the database is reachable")
			s.mu.Lock()
			close(s.came)
			s.came = make(chan struct{})
			s.mu.Unlock()
		}
	} else if s.health.Swap(down) != down {
		s.log.Warn("the database cannot be used; events wait in the spool", "error", err)
	}
}

// comesBack returns a channel that is closed when the database comes back.
func (s *Store) comesBack() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came
}

// probe keeps Up true to the facts while nobody uses the store.
func (s *Store) probe(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(probeDown)
	defer tick.Stop()
	for {
		if !s.Up() || time.Since(time.Unix(0, s.heard.Load())) >= probeInterval {
			c, cancel := context.WithTimeout(ctx, probeInterval)
			err := s.Ping(c)
			cancel()
			if isPermanent(err) && ctx.Err() == nil {
				s.refused(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refused logs that somebody has to act, at most once a minute.
func (s *Store) refused(err error) {
	now := time.Now().UnixNano()
	if last := s.complained.Load(); now-last > int64(time.Minute) && s.complained.CompareAndSwap(last, now) {
		s.log.Error("the database cannot be used until somebody has mended it", "error", err)
	}
}
