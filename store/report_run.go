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
	return reportLimits{time: 30 * time.Second, memory: 1 << 30, values: rollupCap}
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
	conn   driver.Conn
	limits reportLimits
}

func (s *Store) reporter(conn driver.Conn) *reporter {
	return &reporter{conn: conn, limits: defaultReportLimits()}
}

// settings end every statement: the oldest servers take them there only.
func (r *reporter) settings() string {
	return fmt.Sprintf("\nSETTINGS max_execution_time = %d, max_memory_usage = %d, max_bytes_before_external_group_by = %d",
		max(1, int(r.limits.time/time.Second)), r.limits.memory, r.limits.memory/2)
}

// query runs the statement in queries/NAME.sql, filled with data.
func (r *reporter) query(ctx context.Context, name string, data any) (driver.Rows, error) {
	f, err := statement(name, data)
	if err != nil {
		return nil, err
	}
	rows, err := r.conn.Query(ctx, f.sql+r.settings(), f.args...)
	return rows, r.wrap(name, err)
}

// exec runs a statement that has no answer. Its settings are the server's: INSERT and ALTER
// take none at their end everywhere.
func (r *reporter) exec(ctx context.Context, name string, data any) error {
	f, err := statement(name, data)
	if err != nil {
		return err
	}
	return r.wrap(name, r.conn.Exec(ctx, f.sql, f.args...))
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
