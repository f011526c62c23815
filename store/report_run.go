package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// ErrLimit is wrapped by the error of a report that took more time or memory than one may.
var ErrLimit = errors.New("the report asks for too much")

// reportLimits bound each statement of a report on the server.
type reportLimits struct {
	time   time.Duration
	memory uint64 // bytes; grouping moves to disk at half of it
	values uint64 // of a dimension that a day's rollup keeps
}

func defaultReportLimits() reportLimits {
	return reportLimits{time: ReportTime, memory: 1 << 30, values: RollupCap}
}

// builder is a reporter for rollups, which nobody waits for.
func (s *Store) builder(conn driver.Conn) *reporter {
	r := s.reporter(conn)
	r.limits.time = 10 * time.Minute
	return r
}

// Codes of ClickHouse's errors.
const (
	codeTimeout     = 159
	codeTooSlow     = 160
	codeMemory      = 241
	codeBadPattern  = 427
	codeCannotAlloc = 173
)

// reporter runs report statements on one connection pool.
type reporter struct {
	conn     driver.Conn
	days     *dayTracker
	limits   reportLimits
	unlogged bool // its statements name visitors' ids: keep them out of a server's log of queries
	long     bool // statements hold long lists
}

func (s *Store) reporter(conn driver.Conn) *reporter {
	return &reporter{conn: conn, days: &s.days, limits: defaultReportLimits()}
}

// noDeadline is a context of which the client's library cannot see when it ends, only that
// it has: else it would tell the server that time, and not ours.
type noDeadline struct{ context.Context }

func (noDeadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// bounded gives a statement's context the limits. They go beside the text: the oldest
// servers count memory before they have read its end. All are int, the one type that
// these servers can be sent.
func (r *reporter) bounded(ctx context.Context) context.Context {
	seconds := r.limits.time
	if end, ok := ctx.Deadline(); ok {
		seconds = min(seconds, time.Until(end))
	}
	settings := clickhouse.Settings{
		"max_execution_time":                 max(1, int(seconds.Round(time.Second)/time.Second)),
		"max_memory_usage":                   int(r.limits.memory),
		"max_bytes_before_external_group_by": int(r.limits.memory / 2),
	}
	if r.unlogged {
		settings["log_queries"] = 0
	}
	if r.long {
		settings["max_query_size"], settings["max_ast_elements"], settings["max_expanded_ast_elements"] = 16<<20, 2_000_000, 2_000_000
	}
	return clickhouse.Context(noDeadline{ctx}, clickhouse.WithSettings(settings))
}

// query runs the statement in queries/NAME.sql, filled with data.
func (r *reporter) query(ctx context.Context, name string, data any) (driver.Rows, error) {
	f, err := statement(name, data)
	if err != nil {
		return nil, err
	}
	rows, err := r.conn.Query(r.bounded(ctx), f.sql, f.args...)
	return rows, r.wrap(name, err)
}

// exec runs a statement that has no answer.
func (r *reporter) exec(ctx context.Context, name string, data any) error {
	f, err := statement(name, data)
	if err != nil {
		return err
	}
	return r.wrap(name, r.conn.Exec(r.bounded(ctx), f.sql, f.args...))
}

// number runs a statement that answers with one number.
func (r *reporter) number(ctx context.Context, name string, data any) (uint64, error) {
	rows, err := r.query(ctx, name, data)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var n uint64
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, r.wrap(name, err)
		}
	}
	return n, r.wrap(name, rows.Err())
}

// wrap names the statement. What the server said may repeat the values of the query, which
// belong in no log, so of a server's error only the code is told.
func (r *reporter) wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	var ex *clickhouse.Exception
	if !errors.As(err, &ex) {
		return fmt.Errorf("%s.sql: %w", name, err)
	}
	switch ex.Code {
	case codeTimeout, codeTooSlow:
		return fmt.Errorf("%s.sql: %w: it took longer than %s", name, ErrLimit, r.limits.time)
	case codeMemory, codeCannotAlloc:
		return fmt.Errorf("%s.sql: %w: it needs more than %d MB of memory", name, ErrLimit, r.limits.memory>>20)
	case codeBadPattern:
		return badQuery("filters", "the server does not understand a regular expression")
	}
	return &serverError{name + ".sql", ex}
}

// serverError is an error of the server without its text.
type serverError struct {
	statement string
	ex        *clickhouse.Exception
}

func (e *serverError) Error() string {
	return fmt.Sprintf("%s: ClickHouse error %d (%s)", e.statement, e.ex.Code, e.ex.Name)
}

func (e *serverError) Unwrap() error { return e.ex }
