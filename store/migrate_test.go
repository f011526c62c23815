package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

func TestSplitStatements(t *testing.T) {
	got := splitStatements(`-- a comment; with a semicolon
CREATE TABLE a (x String DEFAULT ';--''\'') /* b; */ ENGINE = Memory;
;
INSERT INTO a SELECT "q;" -- end
`)
	want := []string{"CREATE TABLE a (x String DEFAULT ';--''\\'')   ENGINE = Memory", `INSERT INTO a SELECT "q;"`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, cut := range []string{"'", "/*", "--", "`a\\", "", ";"} {
		splitStatements(cut) // must end
	}
}

func TestCapabilities(t *testing.T) {
	for version, want := range map[string]capabilities{
		"18.16.1":  {},
		"":         {},
		"nonsense": {},
		"20.3.1":   {lowCardinality: true, codecs: true, ttl: true, addIfMissing: true},
		"22.2.9":   {lowCardinality: true, codecs: true, ttl: true, addIfMissing: true, fsync: true},
		"22.3.1":   {lowCardinality: true, codecs: true, ttl: true, addIfMissing: true, fsync: true, deduplication: true, asyncInserts: true},
		"26.7.2.1": {lowCardinality: true, codecs: true, ttl: true, addIfMissing: true, fsync: true, deduplication: true, asyncInserts: true},
	} {
		want.version = version
		if got := capabilitiesOf(version); got != want {
			t.Errorf("%q: %+v", version, got)
		}
	}
}

// TestMigrationsDoNoHarmTwice holds the rule that the safety of migrations rests on.
func TestMigrationsDoNoHarmTwice(t *testing.T) {
	migrations, err := loadMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range migrations {
		for _, s := range splitStatements(m.sql) {
			words := strings.Join(strings.Fields(s), " ")
			if !strings.Contains(words, " IF NOT EXISTS ") && !strings.Contains(words, " IF EXISTS ") {
				t.Errorf("migration %d: %.60s… does harm when it is run twice", m.version, words)
			}
		}
	}
}

func TestLoadMigrationsRefusesGaps(t *testing.T) {
	for _, names := range [][]string{
		{},
		{"0002_b.sql"},
		{"0001_a.sql", "0003_b.sql"},
		{"0001_a.sql", "0001_b.sql"},
		{"first_a.sql"},
		{"0001.sql"},
	} {
		files := fstest.MapFS{}
		for _, n := range names {
			files["migrations/"+n] = &fstest.MapFile{Data: []byte("SELECT 1")}
		}
		if _, err := loadMigrations(files); err == nil {
			t.Errorf("%q were accepted", names)
		}
	}
	comment := func(text string) string {
		m, err := loadMigrations(fstest.MapFS{"migrations/0001_a.sql": &fstest.MapFile{Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return m[0].checksum
	}
	if comment("CREATE TABLE a -- x\n(b)") != comment("CREATE  TABLE a\n(b); -- y") {
		t.Error("a comment changes the checksum")
	}
	if comment("CREATE TABLE a (b)") == comment("CREATE TABLE a (c)") {
		t.Error("a column does not change the checksum")
	}
}

// schema returns the recorded versions and the tables of a store's database.
func schema(t testing.TB, s *Store) (versions []uint32, tables []string) {
	t.Helper()
	c, err := s.conn(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	err = c.QueryRow(testContext(t), "SELECT groupArray(version) FROM (SELECT DISTINCT version FROM schema_migrations ORDER BY version)").Scan(&versions)
	if err != nil {
		t.Fatal(err)
	}
	err = c.QueryRow(testContext(t), "SELECT groupArray(name) FROM (SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name)").Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	return versions, tables
}

func wantSchema(t testing.TB, s *Store) {
	t.Helper()
	versions, tables := schema(t, s)
	var all []uint32
	for _, m := range s.migrations {
		all = append(all, m.version)
	}
	if !reflect.DeepEqual(versions, all) {
		t.Errorf("versions %v, want %v", versions, all)
	}
	for _, want := range []string{"events", "schema_migrations"} {
		if !strings.Contains(" "+strings.Join(tables, " ")+" ", " "+want+" ") {
			t.Errorf("tables %v lack %s", tables, want)
		}
	}
}

func TestMigrateTwice(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			for range 2 {
				s := openStore(t, o)
				for range 2 {
					if err := s.Migrate(testContext(t)); err != nil {
						t.Fatal(err)
					}
				}
				wantSchema(t, s)
			}
		})
	}
}

// TestMigrateAllAtOnce has several processes meet an empty server.
func TestMigrateAllAtOnce(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			var wg sync.WaitGroup
			for i := range 8 {
				s := openStore(t, o)
				wg.Go(func() {
					if err := s.Write(testContext(t), testBatch(uint64(i+1), 10)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			s := openStore(t, o)
			wantSchema(t, s)
			for i := range uint64(8) {
				wantOnce(t, s, i+1, 10)
			}
		})
	}
}

// TestMigrateInterrupted cuts the connection at many places of a first migration.
func TestMigrateInterrupted(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			interrupted := 0
			const places = 10
			for i := range int64(places) {
				o, p := throughProxy(t, b.options(t))
				o.RetryMin = time.Hour // the store's own ping is the one interrupted, and not repeated
				p.arm(upward, 200+i*900, func() bool { return true })
				s := openStore(t, o)
				if err := s.Migrate(testContext(t)); err != nil {
					interrupted++
				}
				p.disarm()
				if err := s.Migrate(testContext(t)); err != nil {
					t.Fatal(err)
				}
				wantSchema(t, s)
				if err := s.Write(testContext(t), testBatch(1, 3)); err != nil {
					t.Fatal(err)
				}
				wantOnce(t, s, 1, 3)
			}
			t.Logf("%d of %d were interrupted", interrupted, places)
		})
	}
}

// TestMigrationStopsInTheMiddle has a statement fail, and a later program mend it.
func TestMigrationStopsInTheMiddle(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			two := func(second string) []migration {
				m, err := loadMigrations(fstest.MapFS{
					"migrations/0001_events.sql": &fstest.MapFile{Data: []byte(mustRead(t, "migrations/0001_events.sql") + ";\n" +
						mustRead(t, "migrations/0003_ledger.sql") + ";\n" + mustRead(t, "migrations/0004_masked_erased.sql"))},
					"migrations/0002_more.sql": &fstest.MapFile{Data: []byte(
						"CREATE TABLE IF NOT EXISTS first (a UInt8) ENGINE = MergeTree ORDER BY a;\n" + second +
							";\nCREATE TABLE IF NOT EXISTS third (a UInt8) ENGINE = MergeTree ORDER BY a;")},
				})
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			s := unpreparedStore(t, o, two("CREATE TABLE IF NOT EXISTS second (a Nonsense) ENGINE = MergeTree ORDER BY a"))
			err := s.Migrate(testContext(t))
			if err == nil || !strings.Contains(err.Error(), "0002_more, statement 2") {
				t.Fatalf("error %v", err)
			}
			s = unpreparedStore(t, o, two("CREATE TABLE IF NOT EXISTS second (a UInt8) ENGINE = MergeTree ORDER BY a"))
			if err := s.Migrate(testContext(t)); err != nil {
				t.Fatal(err)
			}
			_, tables := schema(t, s)
			if got := strings.Join(tables, " "); got != "events first ledger schema_migrations second third" {
				t.Errorf("tables %s", got)
			}
		})
	}
}

// TestLandedMigrationsStay holds the rule that databases are out there that have these: what a
// migration says is never changed, another one is added.
func TestLandedMigrationsStay(t *testing.T) {
	want := []string{ // by version, from 1 on
		"0efa1a4479d2906bd465d41a433b5a95",
		"018e2a1f00172088f86719b0e1246f2d",
		"85c2f04dbd2e5b9d6d5633aa0e7ddd0a",
		"acddc18e81d45fc2a57618ec95d79e38",
	}
	migrations, err := loadMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	if len(migrations) != len(want) {
		t.Errorf("%d migrations, %d are written down here", len(migrations), len(want))
	}
	for i, m := range migrations[:min(len(want), len(migrations))] {
		if m.checksum != want[i] {
			t.Errorf("migration %04d_%s is %s now", m.version, m.name, m.checksum)
		}
	}
}

// TestColumnsAreAdded migrates a database that has rows, by several processes at once, one of which was
// stopped before between two columns.
func TestColumnsAreAdded(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			all, err := loadMigrations(migrationFiles)
			if err != nil {
				t.Fatal(err)
			}
			old := unpreparedStore(t, o, all[:3])
			if err := old.Migrate(testContext(t)); err != nil && !errors.Is(err, errTable) { // this program may want the columns
				t.Fatal(err)
			}
			caps := capabilitiesOf(mustVersion(t, old))
			for _, sql := range []string{
				"INSERT INTO events (site, day, time, kind, page, event_id, batch_id) SELECT 'example.org', toDate('2026-11-24'), toDateTime('2026-11-24 10:00:00', 'UTC'), 1, '/a', number, 7 FROM system.numbers LIMIT 3",
				"INSERT INTO ledger (site, minute, outcome, hits, stored_at, batch_id) SELECT 'example.org', toDateTime('2026-11-24 10:00:00', 'UTC'), 'counted', 3, toDateTime('2026-11-24 10:00:05', 'UTC'), 7",
				strings.Replace(caps.ddl(splitStatements(all[3].sql)[0]), "IF NOT EXISTS ", "", 1),
			} {
				if err := old.writer.Exec(testContext(t), sql); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for range 4 {
				s := openStore(t, o)
				wg.Go(func() {
					if err := s.Migrate(testContext(t)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			s := openStore(t, o)
			if err := s.Migrate(testContext(t)); err != nil {
				t.Fatal(err)
			}
			wantSchema(t, s)
			var rows, hits, marks uint64
			if err := s.reader.QueryRow(testContext(t), "SELECT count(), toUInt64(sum(masked)) FROM events WHERE page = '/a'").Scan(&rows, &marks); err != nil || rows != 3 || marks != 0 {
				t.Errorf("%d events, masked %d, %v", rows, marks, err)
			}
			if err := s.reader.QueryRow(testContext(t), "SELECT sum(hits), toUInt64(sum(masked)) + sum(ref) FROM ledger WHERE page = ''").Scan(&hits, &marks); err != nil || hits != 3 || marks != 0 {
				t.Errorf("%d hits, %d, %v", hits, marks, err)
			}
			if err := s.Write(testContext(t), testBatch(8, 10)); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, 8, 10)
			wantOnce(t, s, 7, 3)
			wantBooks(t, s, testBatch(8, 10))
		})
	}
}

func mustVersion(t testing.TB, s *Store) string {
	t.Helper()
	v, err := s.serverVersion(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// unpreparedStore opens a store with other migrations than the program's.
func unpreparedStore(t testing.TB, o Options, migrations []migration) *Store {
	t.Helper()
	s, err := open(o, migrations)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func mustRead(t testing.TB, name string) string {
	t.Helper()
	b, err := migrationFiles.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestForeignSchemaIsRefused opens databases that a newer or another program has made.
func TestForeignSchemaIsRefused(t *testing.T) {
	for _, b := range backends() {
		for _, c := range []struct{ name, change, want string }{
			{"newer", "INSERT INTO schema_migrations (version, name, applied_at, checksum) SELECT toUInt32(9999), 'future', now(), 'x'",
				"the database has schema version 9999 and this program knows versions up to %d"},
			{"changed", "INSERT INTO schema_migrations (version, name, applied_at, checksum) SELECT toUInt32(1), 'events', toDateTime('2100-01-01 00:00:00'), 'x'",
				"migration 0001_events was applied to the database with other statements"},
		} {
			t.Run(b.name+"/"+c.name, func(t *testing.T) {
				o := b.options(t)
				s := openStore(t, o)
				if err := s.Migrate(testContext(t)); err != nil {
					t.Fatal(err)
				}
				if err := s.writer.Exec(testContext(t), c.change); err != nil {
					t.Fatal(err)
				}
				want := c.want
				if strings.Contains(want, "%d") {
					want = fmt.Sprintf(want, s.migrations[len(s.migrations)-1].version)
				}
				s = openStore(t, o)
				var refused *SchemaError
				if err := s.Migrate(testContext(t)); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v", err)
				}
				ctx, cancel := context.WithCancel(testContext(t))
				wrote := make(chan error, 1)
				go func() { wrote <- s.Write(ctx, testBatch(1, 1)) }()
				waitFor(t, "the refusal to be counted", func() bool { return value(s.metrics.retries.WithLabelValues(retryRefused)) > 0 })
				cancel()
				if err := <-wrote; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("a batch was written; error %v", err)
				}
				if _, err := s.conn(testContext(t)); err == nil {
					t.Error("a report got a connection")
				}
				if s.Up() {
					t.Error("the store counts as up")
				}
			})
		}
	}
}

// TestDroppedDatabase makes everything anew when the database was dropped.
func TestDroppedDatabase(t *testing.T) {
	url := sharedServer(t).NewURL()
	s := openStore(t, Options{URL: url})
	if err := s.Write(testContext(t), testBatch(1, 5)); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.Exec(testContext(t), "DROP DATABASE "+s.database); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(testContext(t), testBatch(2, 5)); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, s, 2, 5)
}
