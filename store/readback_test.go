package store

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// TestReadBack: every column of every table is read back, as text and in bytes.
func TestReadBack(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		ctx := testContext(t)
		b := testBatch(0x1122334455667788, 3)
		b.Events[0].Page = "/read-back"
		b.Events[0].Network = "203.0.113.0/24"
		b.Events[1].Props = []event.Prop{{Key: "read-key", Value: "read-value"}}
		if err := s.Write(ctx, b); err != nil {
			t.Fatal(err)
		}
		read := func(within time.Duration) (map[string]string, map[string]ReadTable) {
			t.Helper()
			values, tables := map[string]string{}, map[string]ReadTable{}
			err := s.ReadBack(ctx, within, func(table, column string, value []byte) error {
				values[column] += string(value)
				return nil
			}, func(r ReadTable) error {
				tables[strings.TrimPrefix(r.Name, s.database+".")] = r
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return values, tables
		}
		values, tables := read(0)
		id := binary.LittleEndian.AppendUint64(nil, b.ID)
		for column, want := range map[string]string{
			"page": "/read-back", "network": "203.0.113.0/24", "prop_keys": "read-key", "prop_values": "read-value", "batch_id": string(id),
		} {
			if !strings.Contains(values[column], want) {
				t.Errorf("the column %s lacks %q: %q", column, want, values[column])
			}
		}
		if !strings.Contains(values["batch_id"], "1234605616436508552") {
			t.Errorf("batch_id in digits: %q", values["batch_id"])
		}
		conn, err := s.conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := conn.Query(ctx, "SELECT table, toUInt64(count()) FROM system.columns WHERE database = currentDatabase() GROUP BY table")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			var table string
			var columns uint64
			if err := rows.Scan(&table, &columns); err != nil {
				t.Fatal(err)
			}
			n++
			if got := tables[table]; uint64(len(got.Columns)) != columns || got.Refused {
				t.Errorf("%s has %d columns, read were %+v", table, columns, got)
			}
		}
		if n < 5 {
			t.Errorf("%d tables", n)
		}
		if r := tables["events"]; r.Rows != 3 || r.Of != 3 {
			t.Errorf("events: %+v", r)
		}
		if r, ok := tables["system.mutations"]; !ok || r.Refused {
			t.Errorf("the server's own lists are not read: %+v", r)
		}
		// What is old is not read again, and what is new is.
		time.Sleep(2100 * time.Millisecond) // the server's clock has seconds
		if err := s.Write(ctx, testBatch(2, 2)); err != nil {
			t.Fatal(err)
		}
		values, tables = read(time.Second)
		if r := tables["events"]; r.Of != 5 || r.Rows != 2 && r.Rows != 5 { // 5: they were merged
			t.Errorf("events of the last second: %+v", r)
		}
		if old := bytes.Contains([]byte(values["page"]), []byte("/read-back")); old != (tables["events"].Rows == 5) {
			t.Errorf("an old row was read: %v, of %d", old, tables["events"].Rows)
		}
	})
}
