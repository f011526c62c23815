package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// wantCode fails unless err is an exception of the code.
func wantCode(t testing.TB, err error, code int32) {
	t.Helper()
	var e *clickhouse.Exception
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want an exception of code %d", err, code)
	}
}

// drain reads a query's rows and returns how many there were.
func drain(ctx context.Context, c driver.Conn, sql string) (int, error) {
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

// eventually waits until ok, and fails after patience.
func eventually(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// statements is how many statements the engine runs, the asking one and a new connection's handshake aside.
func statements(t testing.TB, c driver.Conn) uint64 {
	t.Helper()
	return number(t, c, "SELECT toUInt64(count()) FROM system.processes WHERE query NOT LIKE '%system.processes%' AND query NOT LIKE '%displayName()%'")
}

func TestTypes(t *testing.T) {
	c := connect(t, start(t))
	// Each value is read through the bridge by type, and as the text the engine itself makes of it,
	// in one row after another column, so that a column whose end was misjudged cannot go unseen.
	for _, expr := range []string{
		"'é\\0x'", "toFixedString('abc', 3)", "CAST('a', 'LowCardinality(String)')", "CAST(NULL, 'LowCardinality(Nullable(String))')",
		"CAST('a', 'LowCardinality(Nullable(String))')", "CAST(NULL, 'Nullable(UInt32)')", "toNullable(7)",
		"CAST([], 'Array(LowCardinality(String))')", "CAST(['a','b','a'], 'Array(LowCardinality(String))')",
		"CAST([[], ['x'], ['y','z']], 'Array(Array(LowCardinality(String)))')", "[NULL, 1, 2]", "[]", "[[1],[2,3],[]]",
		"map('k', 1, 'l', 2)", "CAST(map('k','v'), 'Map(LowCardinality(String), LowCardinality(String))')",
		"CAST(map(), 'Map(String, Array(UInt8))')", "map('a', [1,2], 'b', [])",
		"tuple(1, 'x', [3])", "CAST(tuple(map('x',1)), 'Tuple(m Map(String, UInt8))')",
		"toDate('2026-11-24')", "toDate32('1950-01-02')", "toDateTime('2026-11-24 10:00:00', 'UTC')", "toDateTime64('2026-11-24 10:00:00.123', 3, 'Europe/Berlin')",
		"toInt8(-5)", "toInt64(-5)", "toUInt64(18446744073709551615)", "toInt128('-170141183460469231731687303715884105728')", "toUInt256('7')",
		"toFloat32(1.5)", "toFloat64(-0.1)", "true", "toDecimal32('1.5', 2)", "toDecimal64('1.5', 8)", "toDecimal128('-1.5', 20)", "toDecimal256('1.5', 40)",
		"toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", "toIPv4('192.0.2.1')", "toIPv6('2001:db8::1')",
		"CAST('a', 'Enum8(\\'a\\' = 1, \\'b,\\\\\\')(\\' = 2)')", "CAST('a', 'Enum16(\\'a\\' = 1000)')",
		"INTERVAL 3 DAY", "CAST(1, 'SimpleAggregateFunction(sum, UInt64)')",
	} {
		for _, rows := range []int{1, 3} {
			sql := fmt.Sprintf("SELECT 'before' AS a, materialize(%s) AS x, toString(x) AS text, number FROM numbers(%d)", expr, rows)
			if strings.HasPrefix(expr, "INTERVAL") || expr == "[]" {
				sql = fmt.Sprintf("SELECT 'before' AS a, %s AS x, 'text' AS text, number FROM numbers(%d)", expr, rows)
			}
			res, err := c.Query(context.Background(), sql)
			if err != nil {
				t.Errorf("%s: %v", expr, err)
				continue
			}
			n := 0
			for res.Next() {
				types := res.ColumnTypes()
				dest := []any{new(string), nil, new(string), new(uint64)}
				if strings.Contains(expr, "NULL") {
					dest[2] = new(*string)
				}
				dest[1] = newValue(types[1])
				if err := res.Scan(dest...); err != nil {
					t.Errorf("%s (%s): %v", expr, types[1].DatabaseTypeName(), err)
					break
				}
				if *dest[0].(*string) != "before" || *dest[3].(*uint64) != uint64(n) {
					t.Errorf("%s: row %d has the neighbours %q and %d", expr, n, *dest[0].(*string), *dest[3].(*uint64))
				}
				n++
			}
			if err := res.Err(); err != nil || n != rows {
				t.Errorf("%s: %d rows of %d, %v", expr, n, rows, err)
			}
			res.Close()
		}
	}
}

// newValue is a place to scan a value of a column into.
func newValue(t driver.ColumnType) any { return reflect.New(t.ScanType()).Interface() }

func TestEmptyResults(t *testing.T) {
	c := connect(t, start(t))
	run(t, c, eventsDDL(t))
	for _, sql := range []string{"SELECT 1 WHERE 0", "SELECT * FROM events", "SELECT site, prop_keys FROM events ORDER BY time", "SHOW TABLES LIKE 'none'"} {
		if n, err := drain(context.Background(), c, sql); n != 0 || err != nil {
			t.Errorf("%s: %d rows, %v", sql, n, err)
		}
	}
	if n, err := drain(context.Background(), c, "SHOW TABLES"); n != 1 || err != nil {
		t.Errorf("SHOW TABLES: %d rows, %v", n, err)
	}
	if n, err := drain(context.Background(), c, "DESCRIBE TABLE events"); n < 30 || err != nil {
		t.Errorf("DESCRIBE: %d rows, %v", n, err)
	}
	if n, err := drain(context.Background(), c, "EXPLAIN SELECT count() FROM events"); n == 0 || err != nil {
		t.Errorf("EXPLAIN: %d rows, %v", n, err)
	}
	if err := c.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	v, err := c.ServerVersion()
	if err != nil || v.Version.Major < 26 {
		t.Errorf("version %v, %v", v, err)
	}
}

// peakMemory is the most memory a process has had resident, in bytes.
func peakMemory(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func TestBigResultStreams(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	before := peakMemory(t, s.Pid())
	rows, err := c.Query(context.Background(), "SELECT number, toString(number) || repeat('x', 1000), CAST(number % 9, 'LowCardinality(String)') FROM numbers(1000000) SETTINGS max_block_size = 8192")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var (
		n, want uint64
		text    string
		low     string
	)
	for ; rows.Next(); want++ {
		if err := rows.Scan(&n, &text, &low); err != nil {
			t.Fatal(err)
		}
		if n != want || low != strconv.FormatUint(n%9, 10) || !strings.HasPrefix(text, strconv.FormatUint(n, 10)+"xx") {
			t.Fatalf("row %d is %d %.10s %s", want, n, text, low)
		}
	}
	if err := rows.Err(); err != nil || want != 1_000_000 {
		t.Fatalf("%d rows, %v", want, err)
	}
	// The result has a gigabyte, and the engine has held no more than some blocks of 8 MB.
	if grown := peakMemory(t, s.Pid()) - before; grown > 200<<20 {
		t.Errorf("the engine's memory grew by %d MiB", grown>>20)
	}
}

func TestSideBySide(t *testing.T) {
	c := connect(t, start(t, func(o *Options) { o.Sessions = 4 }))
	var wg sync.WaitGroup
	began := time.Now()
	for range 4 {
		wg.Go(func() {
			if _, err := drain(context.Background(), c, "SELECT sleep(3)"); err != nil {
				t.Error(err)
			}
		})
	}
	// A fifth has to wait, and those about processes need not.
	eventually(t, 30*time.Second, "four statements run at the same time", func() bool { return statements(t, c) == 4 })
	wg.Wait()
	if took := time.Since(began); took > 11*time.Second {
		t.Errorf("four sleeps of three seconds took %v", took)
	}
}

func TestCancelStopsQuery(t *testing.T) {
	c := connect(t, start(t))
	for name, sql := range map[string]string{
		"before the first block": "SELECT max(sipHash64(number, number)) FROM numbers(100000000000)",
		"between blocks":         "SELECT number, repeat('y', 100) FROM numbers(100000000000)",
		"mutation of nothing":    "SELECT count() FROM numbers(10000000000) AS a WHERE sipHash64(number) % 7 = 99",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			got := make(chan error, 1)
			go func() {
				_, err := drain(ctx, c, sql)
				got <- err
			}()
			eventually(t, 30*time.Second, "the query runs", func() bool { return statements(t, c) == 1 })
			cancel()
			if err := <-got; err == nil {
				t.Error("no error")
			}
			eventually(t, 30*time.Second, "the query has stopped", func() bool { return statements(t, c) == 0 })
		})
	}
}

func TestTimeoutStopsQuery(t *testing.T) {
	c := connect(t, start(t))
	ctx := clickhouse.Context(context.Background(), clickhouse.WithSettings(clickhouse.Settings{"max_execution_time": 1}))
	began := time.Now()
	_, err := drain(ctx, c, "SELECT max(sipHash64(number, number)) FROM numbers(100000000000)")
	wantCode(t, err, codeTimeout)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopped after %v", took)
	}
	eventually(t, 30*time.Second, "the query has stopped", func() bool { return statements(t, c) == 0 })
	// A deadline of the context stops it too.
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if _, err := drain(ctx, c, "SELECT max(sipHash64(number, number)) FROM numbers(100000000000)"); err == nil {
		t.Error("no error")
	}
	eventually(t, 30*time.Second, "the query has stopped", func() bool { return statements(t, c) == 0 })
}

func TestQueryIDs(t *testing.T) {
	c := connect(t, start(t))
	bg := context.Background()
	const id = "writer's \\ batch 1"
	got := make(chan error, 1)
	go func() {
		_, err := drain(clickhouse.Context(bg, clickhouse.WithQueryID(id)), c, "SELECT max(sipHash64(number, number)) FROM numbers(100000000000)")
		got <- err
	}()
	running := func() uint64 { return number(t, c, "SELECT count() FROM system.processes WHERE query_id = ?", id) }
	eventually(t, 30*time.Second, "the query is seen by its id", func() bool { return running() == 1 })
	if n := number(t, c, "SELECT count() FROM system.processes WHERE query_id = ?", "another"); n != 0 {
		t.Errorf("%d statements of an id that does not run", n)
	}
	_, err := drain(clickhouse.Context(bg, clickhouse.WithQueryID(id)), c, "SELECT 1")
	wantCode(t, err, codeSameID)
	run(t, c, "KILL QUERY WHERE query_id = ? SYNC", id)
	wantCode(t, <-got, codeCancelled)
	if n := running(); n != 0 {
		t.Errorf("%d statements run under the id after KILL", n)
	}
	// The id can be used again.
	if _, err := drain(clickhouse.Context(bg, clickhouse.WithQueryID(id)), c, "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func TestSettingsLastForOneRequest(t *testing.T) {
	c := connect(t, start(t, func(o *Options) { o.Sessions = 1 }))
	bg := context.Background()
	read := func(ctx context.Context) (v uint64) {
		t.Helper()
		if err := c.QueryRow(ctx, "SELECT toUInt64(getSetting('max_block_size'))").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	usual := read(bg)
	if v := read(clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"max_block_size": 1234}))); v != 1234 {
		t.Errorf("max_block_size %d, want 1234", v)
	}
	if v := read(bg); v != usual {
		t.Errorf("a setting of one request is %d in the next", v)
	}
	run(t, c, "SET max_block_size = 77")
	if v := read(bg); v != usual {
		t.Errorf("SET left %d behind", v)
	}
	run(t, c, "CREATE TEMPORARY TABLE left_behind (a UInt8)")
	_, err := drain(bg, c, "SELECT * FROM left_behind")
	wantCode(t, err, 60)
	_, err = drain(clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"no_such_setting": 1})), c, "SELECT 1")
	wantCode(t, err, 115)
	if v := read(bg); v != usual {
		t.Errorf("a failed setting left %d behind", v)
	}
	var memory uint64
	if err := c.QueryRow(bg, "SELECT toUInt64(getSetting('max_memory_usage'))").Scan(&memory); err != nil || memory == 0 {
		t.Errorf("max_memory_usage %d, %v", memory, err)
	}
	// A base setting that one request changed is back at its base in the next.
	if err := c.QueryRow(clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"max_memory_usage": 100000000})), "SELECT 1").Err(); err != nil {
		t.Error(err)
	}
	var again uint64
	if err := c.QueryRow(bg, "SELECT toUInt64(getSetting('max_memory_usage'))").Scan(&again); err != nil || again != memory {
		t.Errorf("max_memory_usage %d, want %d, %v", again, memory, err)
	}
	// Databases, and parameters.
	run(t, c, "CREATE DATABASE other")
	run(t, c, "CREATE TABLE other.only (a UInt8) ENGINE = Memory")
	_, err = drain(clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"database": "other"})), c, "SELECT * FROM only")
	if err != nil {
		t.Error(err)
	}
	_, err = drain(bg, c, "SELECT * FROM only")
	wantCode(t, err, 60)
	var p string
	if err := c.QueryRow(clickhouse.Context(bg, clickhouse.WithParameters(clickhouse.Parameters{"x": "it's"})), "SELECT {x:String}").Scan(&p); err != nil || p != "it's" {
		t.Errorf("parameter %q, %v", p, err)
	}
	_, err = drain(bg, c, "SELECT 1; SELECT 2")
	wantCode(t, err, codeSyntax)
}

func TestMemoryIsBounded(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxMemory = 400 << 20 })
	c := connect(t, s)
	pid := s.Pid()
	// Too much for one statement.
	_, err := drain(context.Background(), c, "SELECT groupArray(repeat('x', 1000) || toString(number)) FROM numbers(2000000)")
	wantCode(t, err, 241)
	// An aggregation that only fits on disk.
	if n := number(t, c, "SELECT count() FROM (SELECT number AS k, any(toString(number)) FROM numbers(6000000) GROUP BY k)"); n != 6_000_000 {
		t.Errorf("%d groups", n)
	}
	if s.Pid() != pid || !s.Up() {
		t.Error("the engine did not survive")
	}
	if peak := peakMemory(t, pid); peak > 900<<20 {
		t.Errorf("%d MiB resident at a limit of 400", peak>>20)
	}
}
