package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// This file is the one place that knows which field of an event is which column: the
// same list writes blocks and reads rows back, and a test sends every field through it.

// eventColumn is a column of events together with the values of one block. Its buffer is
// used again for the next block.
type eventColumn interface {
	name() string
	// expression reads the column in a type that destination accepts on every server.
	expression() string
	// fill takes over the values of the events at the given indexes.
	fill(events []event.Event, rows []int32)
	// values returns what fill has taken, as the client's columnar append wants it.
	values() any
	// clear drops references into the events' memory.
	clear()
	// destination returns where a scan puts the value; load then moves it into e.
	destination() any
	load(e *event.Event)
}

// plain is a column whose values are a field's own.
type plain[T any] struct {
	n     string
	field func(*event.Event) *T
	vals  []T
	read  T
}

func (c *plain[T]) name() string       { return c.n }
func (c *plain[T]) expression() string { return c.n }
func (c *plain[T]) values() any        { return c.vals }
func (c *plain[T]) clear()             { clear(c.vals) }
func (c *plain[T]) destination() any   { return &c.read }
func (c *plain[T]) load(e *event.Event) {
	*c.field(e) = c.read
}
func (c *plain[T]) fill(events []event.Event, rows []int32) {
	c.vals = c.vals[:0]
	for _, r := range rows {
		c.vals = append(c.vals, *c.field(&events[r]))
	}
}

// converted is a column of T whose values are made from the event, and back from R.
type converted[T, R any] struct {
	n, expr string
	from    func(*event.Event) T
	to      func(*event.Event, R)
	vals    []T
	read    R
}

func (c *converted[T, R]) name() string       { return c.n }
func (c *converted[T, R]) expression() string { return c.expr }
func (c *converted[T, R]) values() any        { return c.vals }
func (c *converted[T, R]) clear()             { clear(c.vals) }
func (c *converted[T, R]) destination() any   { return &c.read }
func (c *converted[T, R]) load(e *event.Event) {
	c.to(e, c.read)
}
func (c *converted[T, R]) fill(events []event.Event, rows []int32) {
	c.vals = c.vals[:0]
	for _, r := range rows {
		c.vals = append(c.vals, c.from(&events[r]))
	}
}

// propColumn holds the keys or the values of the events' properties. The rows' slices
// lie behind one another in flat.
type propColumn struct {
	n    string
	part func(*event.Prop) *string
	flat []string
	vals [][]string
	read []string
}

func (c *propColumn) name() string       { return c.n }
func (c *propColumn) expression() string { return c.n }
func (c *propColumn) values() any        { return c.vals }
func (c *propColumn) clear()             { clear(c.flat[:cap(c.flat)]) }
func (c *propColumn) destination() any   { return &c.read }
func (c *propColumn) load(e *event.Event) {
	if len(e.Props) != len(c.read) {
		e.Props = make([]event.Prop, len(c.read))
	}
	for i, s := range c.read {
		*c.part(&e.Props[i]) = s
	}
}
func (c *propColumn) fill(events []event.Event, rows []int32) {
	total := 0
	for _, r := range rows {
		total += len(events[r].Props)
	}
	if cap(c.flat) < total {
		c.flat = make([]string, 0, total)
	}
	c.flat, c.vals = c.flat[:0], c.vals[:0]
	for _, r := range rows {
		props := events[r].Props
		start := len(c.flat)
		for i := range props {
			c.flat = append(c.flat, *c.part(&props[i]))
		}
		c.vals = append(c.vals, c.flat[start:len(c.flat):len(c.flat)])
	}
}

// lastDay is 2105-12-31, the end of the oldest server's calendar: later days are in no
// month's partition there, and two months of them would be one block in two parts.
const lastDay event.Day = 49672

// dayOf returns the day under which an event is stored.
func dayOf(e *event.Event) event.Day { return min(e.Day, lastDay) }

// eventColumns returns the columns of events that come from an event, with buffers of
// their own. batch_id is the block's.
func eventColumns() []eventColumn {
	text := func(name string, field func(*event.Event) *string) eventColumn {
		return &plain[string]{n: name, field: field}
	}
	type e = event.Event
	return []eventColumn{
		text("site", func(e *e) *string { return &e.Site }),
		&converted[time.Time, uint16]{n: "day", expr: "toUInt16(day)",
			from: func(e *e) time.Time { return dayOf(e).Time() },
			to:   func(e *e, day uint16) { e.Day = event.Day(day) }},
		&converted[time.Time, uint32]{n: "time", expr: "toUInt32(time)",
			from: func(e *e) time.Time { return time.Unix(min(max(e.Time, 0), math.MaxUint32), 0) },
			to:   func(e *e, t uint32) { e.Time = int64(t) }},
		&plain[uint8]{n: "kind", field: func(e *e) *uint8 { return (*uint8)(&e.Kind) }},
		text("name", func(e *e) *string { return &e.Name }),
		&converted[uint8, uint8]{n: "interactive", expr: "interactive",
			from: func(e *e) uint8 {
				if e.Interactive {
					return 1
				}
				return 0
			},
			to: func(e *e, v uint8) { e.Interactive = v != 0 }},
		&plain[uint64]{n: "visitor_id", field: func(e *e) *uint64 { return &e.VisitorID }},
		&plain[uint64]{n: "visit_id", field: func(e *e) *uint64 { return &e.Visit.ID }},
		text("hostname", func(e *e) *string { return &e.Hostname }),
		text("page", func(e *e) *string { return &e.Page }),
		text("title", func(e *e) *string { return &e.Title }),
		text("entry_page", func(e *e) *string { return &e.Visit.EntryPage }),
		text("referrer", func(e *e) *string { return &e.Visit.Referrer }),
		text("source", func(e *e) *string { return &e.Visit.Source }),
		text("channel", func(e *e) *string { return &e.Visit.Channel }),
		text("utm_source", func(e *e) *string { return &e.Visit.UTMSource }),
		text("utm_medium", func(e *e) *string { return &e.Visit.UTMMedium }),
		text("utm_campaign", func(e *e) *string { return &e.Visit.UTMCampaign }),
		text("utm_content", func(e *e) *string { return &e.Visit.UTMContent }),
		text("utm_term", func(e *e) *string { return &e.Visit.UTMTerm }),
		text("click_id", func(e *e) *string { return &e.Visit.ClickID }),
		text("device", func(e *e) *string { return &e.Visit.Device }),
		text("browser", func(e *e) *string { return &e.Visit.Browser }),
		text("browser_version", func(e *e) *string { return &e.Visit.BrowserVersion }),
		text("os", func(e *e) *string { return &e.Visit.OS }),
		text("os_version", func(e *e) *string { return &e.Visit.OSVersion }),
		text("country", func(e *e) *string { return &e.Visit.Country }),
		text("region", func(e *e) *string { return &e.Visit.Region }),
		text("region_name", func(e *e) *string { return &e.Visit.RegionName }),
		text("city", func(e *e) *string { return &e.Visit.City }),
		&plain[uint32]{n: "engaged_ms", field: func(e *e) *uint32 { return &e.EngagedMS }},
		&plain[uint8]{n: "scroll", field: func(e *e) *uint8 { return &e.Scroll }},
		&propColumn{n: "prop_keys", part: func(p *event.Prop) *string { return &p.Key }},
		&propColumn{n: "prop_values", part: func(p *event.Prop) *string { return &p.Value }},
		&plain[int64]{n: "revenue", field: func(e *e) *int64 { return &e.Revenue }},
		text("currency", func(e *e) *string { return &e.Currency }),
		text("network", func(e *e) *string { return &e.Network }),
		&plain[uint32]{n: "notice", field: func(e *e) *uint32 { return &e.Notice }},
		&plain[uint64]{n: "event_id", field: func(e *e) *uint64 { return &e.ID }},
	}
}

// block is what one insert sends: some rows of one batch, all of one month. Blocks are
// used again; their buffers grow to the largest one.
type block struct {
	columns  []eventColumn
	batchIDs []uint64
	rows     int
}

func newBlock() *block { return &block{columns: eventColumns()} }

func (b *block) fill(batch *event.Batch, rows []int32) {
	b.rows = len(rows)
	for _, c := range b.columns {
		c.fill(batch.Events, rows)
	}
	b.batchIDs = b.batchIDs[:0]
	for range rows {
		b.batchIDs = append(b.batchIDs, batch.ID)
	}
}

// appendTo gives the block's columns, in the order of insertColumns, to the client.
func (b *block) appendTo(batch driver.Batch) error {
	for i, c := range b.columns {
		if err := batch.Column(i).Append(c.values()); err != nil {
			return fmt.Errorf("column %s: %w", c.name(), err)
		}
	}
	if err := batch.Column(len(b.columns)).Append(b.batchIDs); err != nil {
		return fmt.Errorf("column batch_id: %w", err)
	}
	return nil
}

// release drops what the block holds of the batch's memory.
func (b *block) release() {
	for _, c := range b.columns {
		c.clear()
	}
}

// insertColumns returns the names of the columns that an insert sends, in order.
func insertColumns(columns []eventColumn) []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name())
	}
	return append(names, "batch_id")
}

// describeEvents returns the type of each of insertColumns in the table as it is. An
// HTTP insert needs them, and a column that is missing is found before the first one.
func describeEvents(ctx context.Context, c driver.Conn) ([]clickhouse.ColumnNameAndType, error) {
	rows, err := c.Query(ctx, "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'events'")
	if err != nil {
		return nil, fmt.Errorf("store: reading the columns of events: %w", err)
	}
	defer rows.Close()
	types := map[string]string{}
	for rows.Next() {
		var name, typ string
		if err := rows.Scan(&name, &typ); err != nil {
			return nil, fmt.Errorf("store: reading the columns of events: %w", err)
		}
		types[name] = typ
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: reading the columns of events: %w", err)
	}
	var all []clickhouse.ColumnNameAndType
	var missing []string
	for _, name := range insertColumns(eventColumns()) {
		if types[name] == "" {
			missing = append(missing, name)
		}
		all = append(all, clickhouse.ColumnNameAndType{Name: name, Type: types[name]})
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("store: the table events lacks the columns %s", strings.Join(missing, ", "))
	}
	return all, nil
}
