package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestEventsRoundTrip(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	run(t, c, eventsDDL(t))
	run(t, c, eventsDDL(t)) // IF NOT EXISTS
	const rows = 100_000
	for batch := uint64(1); batch <= 3; batch++ {
		if err := sendEvents(context.Background(), c, batch, rows); err != nil {
			t.Fatal(err)
		}
	}
	if n := number(t, c, "SELECT count() FROM events"); n != 3*rows {
		t.Fatalf("%d rows, want %d", n, 3*rows)
	}
	if n := number(t, c, "SELECT count() FROM events WHERE batch_id = ?", uint64(2)); n != rows {
		t.Fatalf("%d rows of batch 2, want %d", n, rows)
	}
	var (
		at         time.Time
		page       string
		keys, vals []string
	)
	row := c.QueryRow(context.Background(), "SELECT time, page, prop_keys, prop_values FROM events WHERE batch_id = 1 AND event_id = 4242")
	if err := row.Scan(&at, &page, &keys, &vals); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 3, 12, 0, 4, 0, time.UTC); !at.Equal(want) {
		t.Errorf("time %v, want %v", at, want)
	}
	if page != "/page/242" || len(keys) != 2 || keys[1] != "size" || vals[1] != "0" {
		t.Errorf("page %q keys %q values %q", page, keys, vals)
	}
}

func TestExceptionHasCode(t *testing.T) {
	c := connect(t, start(t))
	for sql, code := range map[string]int32{
		"SELECT * FROM nosuch": 60,
		"SELEKT 1":             62,
		"SELECT nosuch":        47,
		"SELECT throwIf(number = 5e6) FROM numbers(10000000)":                                395,
		"SELECT number, throwIf(number = 5e6) FROM numbers(10000000) SETTINGS max_threads=1": 395, // after many blocks
		"CREATE TABLE x": 80,
	} {
		rows, err := c.Query(context.Background(), sql)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			rows.Close()
		}
		var e *clickhouse.Exception
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v, want a *clickhouse.Exception of code %d", sql, err, code)
		}
	}
}
