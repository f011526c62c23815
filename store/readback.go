package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// ReadTable is a table that ReadBack has read.
type ReadTable struct {
	Name    string   // with its database
	Columns []string // all it has
	Rows    uint64   // that were read, each with all columns
	Of      uint64   // that the table had, the older ones included; 0: not known
	Refused bool     // the server does not let us read it
}

// ReadBack reads rows back as they are stored, each with every column, of every table of the database and of
// what the server itself notes of queries: its logs, and its lists of errors, of deletions and of what
// runs. visit gets each value twice, as text and in the bytes that a table holds it in; value is good for the call.
//
// Of tables it reads the parts that were written within that time up to now, by the server's clock, which hold everything
// stored since then and older rows that were merged with it; 0: all.
func (s *Store) ReadBack(ctx context.Context, within time.Duration, visit func(table, column string, value []byte) error, done func(ReadTable) error) error {
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"log_queries": 0}))
	tables, err := readableTables(ctx, conn)
	if err != nil {
		return fmt.Errorf("store: reading back: %w", err)
	}
	for _, t := range tables {
		read, err := t.read(ctx, conn, within, visit)
		if err != nil && t.system && ctx.Err() == nil && isException(err, codeAccessDenied, codeNotEnoughPrivileges, codeUnknownTable) {
			read.Refused, err = true, nil
		}
		if err != nil {
			return fmt.Errorf("store: reading back %s: %w", t.name(), err)
		}
		if err := done(read); err != nil {
			return err
		}
	}
	return nil
}

// Codes of ClickHouse's errors.
const (
	codeAccessDenied        = 291
	codeNotEnoughPrivileges = 497
)

type readable struct {
	database, table string
	parts           bool // it has parts
	system          bool
}

func (t readable) name() string { return t.database + "." + t.table }

func readableTables(ctx context.Context, conn driver.Conn) (out []readable, err error) {
	rows, err := conn.Query(ctx, `SELECT database, name, engine FROM system.tables
WHERE database = currentDatabase()
   OR database = 'system' AND (name LIKE '%\\_log' OR name IN ('mutations', 'errors', 'processes'))
ORDER BY database, name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t readable
		var engine string
		if err := rows.Scan(&t.database, &t.table, &engine); err != nil {
			return nil, err
		}
		t.parts, t.system = strings.HasSuffix(engine, "MergeTree"), t.database == "system"
		out = append(out, t)
	}
	return out, rows.Err()
}

func (t readable) read(ctx context.Context, conn driver.Conn, within time.Duration, visit func(table, column string, value []byte) error) (ReadTable, error) {
	out := ReadTable{Name: t.name()}
	quote := func(s string) string { return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`" }
	query := "SELECT * FROM " + quote(t.database) + "." + quote(t.table)
	var args []any
	if t.parts {
		if err := conn.QueryRow(ctx, "SELECT toUInt64(sum(rows)) FROM system.parts WHERE active AND database = ? AND table = ?", t.database, t.table).Scan(&out.Of); err != nil {
			return out, err
		}
		if within > 0 {
			// What is not older, rather than what is newer: a part that a merge makes meanwhile is read too.
			query += " WHERE _part NOT IN (SELECT name FROM system.parts WHERE active AND database = ? AND table = ? AND toUInt32(modification_time) < toUInt32(now()) - ?)"
			args = append(args, t.database, t.table, uint32(within/time.Second)+1)
		}
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return out, err
	}
	defer rows.Close()
	var values []any
	var value []byte
	for rows.Next() {
		if values == nil {
			for _, c := range rows.ColumnTypes() {
				out.Columns = append(out.Columns, c.Name())
				values = append(values, reflect.New(c.ScanType()).Interface())
			}
		}
		if err := rows.Scan(values...); err != nil {
			return out, err
		}
		out.Rows++
		for i, v := range values {
			value = appendValue(value[:0], reflect.ValueOf(v).Elem())
			if err := visit(out.Name, out.Columns[i], value); err != nil {
				return out, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return out, err
	}
	out.Of = max(out.Of, out.Rows)
	if out.Columns == nil { // the engine does not tell of an answer without rows
		err = conn.QueryRow(ctx, "SELECT groupArray(name) FROM system.columns WHERE database = ? AND table = ?", t.database, t.table).Scan(&out.Columns)
	}
	return out, err
}

// appendValue appends a value as text and, where that is something else, in its bytes, each behind a line's end.
func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return b
		}
		return appendValue(b, v.Elem())
	case reflect.String:
		return append(append(b, v.String()...), '\n')
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			bytes := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(bytes), v)
			b = append(append(b, bytes...), '\n')
			return append(fmt.Append(b, v.Interface()), '\n') // an address has its own text
		}
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		for _, k := range v.MapKeys() {
			b = appendValue(appendValue(b, k), v.MapIndex(k))
		}
		return b
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b = append(strconv.AppendInt(b, v.Int(), 10), '\n')
		return appendBytes(b, uint64(v.Int()), int(v.Type().Size()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		b = append(strconv.AppendUint(b, v.Uint(), 10), '\n')
		return appendBytes(b, v.Uint(), int(v.Type().Size()))
	case reflect.Float64, reflect.Float32:
		b = append(strconv.AppendFloat(b, v.Float(), 'g', -1, 64), '\n')
		return appendBytes(b, math.Float64bits(v.Float()), 8)
	}
	if t, ok := v.Interface().(time.Time); ok {
		b = append(t.AppendFormat(b, time.RFC3339Nano), '\n')
		return appendBytes(append(strconv.AppendInt(b, t.Unix(), 10), '\n'), uint64(t.Unix()), 4)
	}
	return append(fmt.Append(b, v.Interface()), '\n')
}

func appendBytes(b []byte, n uint64, size int) []byte {
	var all [8]byte
	binary.LittleEndian.PutUint64(all[:], n)
	return append(append(b, all[:size]...), '\n')
}
