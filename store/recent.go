package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
)

// recentStatement reads whole events. day lies on the site's calendar, at most 14 hours
// ahead of UTC and 12 behind; with it only the last month's partitions are read.
func recentStatement(columns []eventColumn) string {
	var exprs []string
	for _, c := range columns {
		exprs = append(exprs, c.expression())
	}
	return "SELECT " + strings.Join(exprs, ", ") + ` FROM events
WHERE day >= toDate(?) AND time >= toDateTime(?)
ORDER BY time, event_id`
}

// Recent calls fn with each stored event since a time, oldest first, until fn returns an
// error, which Recent then returns. The event is fn's during the call only, its strings may be
// kept. It is meant for rebuilding the open visits after a restart.
func (s *Store) Recent(ctx context.Context, since time.Time, fn func(*event.Event) error) error {
	c, err := s.conn(ctx)
	if err != nil {
		return err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_bytes_before_external_sort": 128 << 20, // a busy site's half hour does not have to fit into memory
	}))
	from := max(since.Unix(), 0)
	columns := eventColumns()
	rows, err := c.Query(ctx, recentStatement(columns), uint16(max(from/86400-1, 0)), uint32(from))
	s.note(err)
	if err != nil {
		return fmt.Errorf("store: reading recent events: %w", err)
	}
	defer rows.Close()
	destinations := make([]any, len(columns))
	for i, c := range columns {
		destinations[i] = c.destination()
	}
	var e event.Event
	for rows.Next() {
		if err := rows.Scan(destinations...); err != nil {
			return fmt.Errorf("store: reading recent events: %w", err)
		}
		for _, c := range columns {
			c.load(&e)
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: reading recent events: %w", err)
	}
	return nil
}
