package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be the child, and a parent that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "engine":
			os.Exit(Main(os.Args[2:], os.Stderr))
		case "parent":
			os.Exit(parentMain(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

// testLibrary is the real library; tests need it.
func testLibrary(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	p, err := findLibrary(os.Getenv(LibraryEnv), []string{root}, systemLibraryDirs())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs an engine for a test on a directory of its own, unless options name one.
func start(t testing.TB, change ...func(*Options)) *Supervisor {
	t.Helper()
	o := Options{DataDir: t.TempDir(), LibPath: testLibrary(t)}
	for _, c := range change {
		c(&o)
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// connect opens a client on an engine.
func connect(t testing.TB, s *Supervisor) driver.Conn {
	t.Helper()
	c, err := clickhouse.Open(s.ClickhouseOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t testing.TB, c driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%.80s: %v", sql, err)
	}
}

func number(t testing.TB, c driver.Conn, sql string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%.80s: %v", sql, err)
	}
	return n
}

// eventsDDL is the program's own migration as it runs on a server with all capabilities.
func eventsDDL(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "migrations", "0001_events.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("{string}", "LowCardinality(String)", "{zstd}", "CODEC(ZSTD(1))",
		"{events_settings}", "SETTINGS non_replicated_deduplication_window = 1000").Replace(string(b))
}

const eventColumns = "site, day, time, kind, visitor_id, visit_id, page, country, prop_keys, prop_values, event_id, batch_id"

// sendEvents stores rows events as one batch.
func sendEvents(ctx context.Context, c driver.Conn, batch uint64, rows int) error {
	b, err := c.PrepareBatch(ctx, "INSERT INTO events ("+eventColumns+")")
	if err != nil {
		return err
	}
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for i := range rows {
		err := b.Append("example.org", at, at.Add(time.Duration(i)*time.Millisecond), uint8(1), uint64(i), uint64(i/3),
			fmt.Sprintf("/page/%d", i%500), "DE", []string{"plan", "size"}, []string{"pro", fmt.Sprint(i % 7)}, uint64(i), batch)
		if err != nil {
			return err
		}
	}
	return b.Send()
}
