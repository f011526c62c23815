package store

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered file. ClickHouse has neither transactions over definitions
// nor locks, so a file must do no harm when it is run again, in part or by two
// processes at once: each statement says IF NOT EXISTS or the like. Its version is recorded
// after its last statement; until then it is run again from its beginning.
type migration struct {
	version  uint32
	name     string
	sql      string
	checksum string // of the statements, without comments and layout
}

// SchemaError says that the database's tables are not those of this program, and that it
// has touched nothing.
type SchemaError struct {
	Database uint32 // version the database has
	Program  uint32 // newest version the program knows
	Changed  string // the migration that was applied with another text, if that is it
}

func (e *SchemaError) Error() string {
	if e.Changed != "" {
		return fmt.Sprintf("store: migration %s was applied to the database with other statements than this program has; "+
			"run the footfall that made the database, or use another database", e.Changed)
	}
	return fmt.Sprintf("store: the database has schema version %d and this program knows versions up to %d; "+
		"run the newer footfall that changed the database, or use another database", e.Database, e.Program)
}

// loadMigrations reads the files of a folder: 0001_name.sql, 0002_name.sql, without a gap.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []migration
	for i, path := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		number, name, ok := strings.Cut(base, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || int(version) != i+1 {
			return nil, fmt.Errorf("store: %s is not migration %04d_name.sql", path, i+1)
		}
		sql, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		sum := fnv.New128a()
		for _, s := range splitStatements(string(sql)) {
			sum.Write([]byte(strings.Join(strings.Fields(s), " ") + ";"))
		}
		all = append(all, migration{uint32(version), name, string(sql), hex.EncodeToString(sum.Sum(nil))})
	}
	if len(all) == 0 {
		return nil, errors.New("store: there are no migrations")
	}
	return all, nil
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations (
    version    UInt32,
    name       String,
    applied_at DateTime('UTC'),
    checksum   String
) ENGINE = MergeTree ORDER BY version`

// migrate brings the database that c is connected to up to the newest version.
func (s *Store) migrate(ctx context.Context, c driver.Conn, caps capabilities) error {
	if err := define(ctx, c, createMigrations); err != nil {
		return fmt.Errorf("store: creating schema_migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, c)
	if err != nil {
		return err
	}
	newest := s.migrations[len(s.migrations)-1].version
	for version := range applied {
		if version > newest {
			return &SchemaError{Database: slices.Max(keys(applied)), Program: newest}
		}
	}
	for _, m := range s.migrations {
		if sum, ok := applied[m.version]; ok {
			if sum != m.checksum {
				return &SchemaError{Database: slices.Max(keys(applied)), Program: newest, Changed: fmt.Sprintf("%04d_%s", m.version, m.name)}
			}
			continue
		}
		for i, statement := range splitStatements(m.sql) {
			if err := s.defineOrAdd(ctx, c, caps, statement); err != nil {
				return fmt.Errorf("store: migration %04d_%s, statement %d: %w", m.version, m.name, i+1, err)
			}
		}
		err := c.Exec(ctx, "INSERT INTO schema_migrations (version, name, applied_at, checksum) SELECT toUInt32(?), ?, toDateTime(?), ?",
			m.version, m.name, s.now().Unix(), m.checksum)
		if err != nil {
			return fmt.Errorf("store: recording migration %04d_%s: %w", m.version, m.name, err)
		}
		s.log.Info("database migrated", "version", m.version, "name", m.name)
	}
	return nil
}

// define runs a statement that says IF NOT EXISTS. That two processes ran it at the same
// moment is no error, though old servers can report it as one.
func define(ctx context.Context, c driver.Conn, statement string) error {
	err := c.Exec(ctx, statement)
	if isException(err, codeTableExists, codeDatabaseExists) {
		return nil
	}
	return err
}

// addColumn is how a migration adds a column, the only thing it may do to a table that is there.
var addColumn = regexp.MustCompile(`^ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+) `)

// defineOrAdd runs a statement of a migration. Servers before 20 know no IF NOT EXISTS of
// columns, so there it is asked whether the column is missing.
func (s *Store) defineOrAdd(ctx context.Context, c driver.Conn, caps capabilities, statement string) error {
	statement = caps.ddl(statement)
	names := addColumn.FindStringSubmatch(statement)
	if names == nil || caps.addIfMissing {
		return define(ctx, c, statement)
	}
	missing := func() (bool, error) {
		var n uint64
		err := c.QueryRow(ctx, "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = ? AND name = ?", names[1], names[2]).Scan(&n)
		return n == 0, err
	}
	if add, err := missing(); err != nil || !add {
		return err
	}
	err := c.Exec(ctx, strings.Replace(statement, "IF NOT EXISTS ", "", 1))
	if err != nil {
		if still, asked := missing(); asked == nil && !still { // another process was faster
			return nil
		}
	}
	return err
}

// appliedMigrations returns the checksum of each recorded version. Two processes may
// have recorded the same one.
func appliedMigrations(ctx context.Context, c driver.Conn) (map[uint32]string, error) {
	rows, err := c.Query(ctx, "SELECT version, checksum FROM schema_migrations ORDER BY version, applied_at")
	if err != nil {
		return nil, fmt.Errorf("store: reading schema_migrations: %w", err)
	}
	defer rows.Close()
	applied := map[uint32]string{}
	for rows.Next() {
		var version uint32
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return nil, fmt.Errorf("store: reading schema_migrations: %w", err)
		}
		applied[version] = sum
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: reading schema_migrations: %w", err)
	}
	return applied, nil
}

func keys[V any](m map[uint32]V) []uint32 {
	var k []uint32
	for v := range m {
		k = append(k, v)
	}
	return k
}

// splitStatements returns the statements of a file, without comments and semicolons.
// Semicolons and dashes in quotes are text.
func splitStatements(sql string) []string {
	var all []string
	var b strings.Builder
	flush := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			all = append(all, s)
		}
		b.Reset()
	}
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '\'' || c == '`' || c == '"':
			end := i + 1
			for end < len(sql) && sql[end] != c {
				if sql[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(sql)-1)
			b.WriteString(sql[i : end+1])
			i = end
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				n = len(sql) - i
			}
			i += n
			b.WriteByte('\n')
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i:], "*/")
			if n < 0 {
				n = len(sql) - i
			}
			i += n + 1
			b.WriteByte(' ')
		case c == ';':
			flush()
		default:
			b.WriteByte(c)
		}
	}
	flush()
	return all
}
