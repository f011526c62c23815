package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// This file is the one place that knows which field of an event is which column: the
// same list writes blocks and reads rows back, and a test sends every field through it.

// eventColumn is a column of events.
type eventColumn interface {
	name() string
	// expression reads the column in a type that destination accepts on every server.
	expression() string
	// appendTo appends the values of the events at the given indexes, at most chunkRows of
	// them, to a column of an insert.
	appendTo(to driver.BatchColumn, events []event.Event, rows []int32) error
	// destination returns where a scan puts the value; load then moves it into e.
	destination() any
	load(e *event.Event)
}

// chunkRows is how many events are turned into columns at a time: few enough that they
// stay in the processor's cache while one column after another is taken from them.
const chunkRows = 512

// buffer holds the values of a chunk of a column, and then those of the next column of
// the same type: the client copies what it is given.
type buffer[T any] [chunkRows]T

// plain is a column whose values are a field's own.
type plain[T any] struct {
	n     string
	field func(*event.Event) *T
	buf   *buffer[T]
	read  T
}

func (c *plain[T]) name() string       { return c.n }
func (c *plain[T]) expression() string { return c.n }
func (c *plain[T]) destination() any   { return &c.read }
func (c *plain[T]) load(e *event.Event) {
	*c.field(e) = c.read
}
func (c *plain[T]) appendTo(to driver.BatchColumn, events []event.Event, rows []int32) error {
	for i, r := range rows {
		c.buf[i] = *c.field(&events[r])
	}
	return to.Append(c.buf[:len(rows)])
}

// converted is a column of T whose values are made from the event, and back from R.
type converted[T, R any] struct {
	n, expr string
	from    func(*event.Event) T
	to      func(*event.Event, R)
	buf     *buffer[T]
	read    R
}

func (c *converted[T, R]) name() string       { return c.n }
func (c *converted[T, R]) expression() string { return c.expr }
func (c *converted[T, R]) destination() any   { return &c.read }
func (c *converted[T, R]) load(e *event.Event) {
	c.to(e, c.read)
}
func (c *converted[T, R]) appendTo(to driver.BatchColumn, events []event.Event, rows []int32) error {
	for i, r := range rows {
		c.buf[i] = c.from(&events[r])
	}
	return to.Append(c.buf[:len(rows)])
}

// propColumn holds the keys or the values of the events' properties.
type propColumn struct {
	n    string
	part func(*event.Prop) *string
	row  []string
	read []string
}

func (c *propColumn) name() string       { return c.n }
func (c *propColumn) expression() string { return c.n }
func (c *propColumn) destination() any   { return &c.read }
func (c *propColumn) load(e *event.Event) {
	if len(e.Props) != len(c.read) {
		e.Props = make([]event.Prop, len(c.read))
	}
	for i, s := range c.read {
		*c.part(&e.Props[i]) = s
	}
}
func (c *propColumn) appendTo(to driver.BatchColumn, events []event.Event, rows []int32) error {
	var none any = []string(nil) // most events have none, and this one costs no allocation
	for _, r := range rows {
		props := events[r].Props
		c.row = c.row[:0]
		for i := range props {
			c.row = append(c.row, *c.part(&props[i]))
		}
		row := none
		if len(props) > 0 {
			row = c.row
		}
		// Row by row: for whole columns of arrays the client goes through reflection.
		if err := to.AppendRow(row); err != nil {
			return err
		}
	}
	return nil
}

// lastDay is 2105-12-31, the end of the oldest server's calendar: later days are in no
// month's partition there, and two months of them would be one block in two parts.
const lastDay event.Day = 49672

// dayOf returns the day under which an event is stored.
func dayOf(e *event.Event) event.Day { return min(e.Day, lastDay) }

// eventColumns returns the columns of events that come from an event, with buffers that
// they share: one goroutine may use them at a time. batch_id is the block's.
func eventColumns() []eventColumn {
	var (
		strings buffer[string]
		times   buffer[time.Time]
		bytes   buffer[uint8]
		words   buffer[uint32]
		longs   buffer[uint64]
		shorts  buffer[uint16]
		signed  buffer[int64]
	)
	text := func(name string, field func(*event.Event) *string) eventColumn {
		return &plain[string]{n: name, field: field, buf: &strings}
	}
	type e = event.Event
	return []eventColumn{
		text("site", func(e *e) *string { return &e.Site }),
		&converted[time.Time, uint16]{buf: &times, n: "day", expr: "toUInt16(day)",
			from: func(e *e) time.Time { return dayOf(e).Time() },
			to:   func(e *e, day uint16) { e.Day = event.Day(day) }},
		&converted[time.Time, uint32]{buf: &times, n: "time", expr: "toUInt32(time)",
			from: func(e *e) time.Time { return time.Unix(min(max(e.Time, 0), math.MaxUint32), 0) },
			to:   func(e *e, t uint32) { e.Time = int64(t) }},
		&plain[uint8]{buf: &bytes, n: "kind", field: func(e *e) *uint8 { return (*uint8)(&e.Kind) }},
		text("name", func(e *e) *string { return &e.Name }),
		&converted[uint8, uint8]{buf: &bytes, n: "interactive", expr: "interactive",
			from: func(e *e) uint8 {
				if e.Interactive {
					return 1
				}
				return 0
			},
			to: func(e *e, v uint8) { e.Interactive = v != 0 }},
		&plain[uint64]{buf: &longs, n: "visitor_id", field: func(e *e) *uint64 { return &e.VisitorID }},
		&plain[uint64]{buf: &longs, n: "visit_id", field: func(e *e) *uint64 { return &e.Visit.ID }},
		&plain[uint16]{buf: &shorts, n: "visit_seq", field: func(e *e) *uint16 { return &e.Seq }},
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
		&plain[uint32]{buf: &words, n: "engaged_ms", field: func(e *e) *uint32 { return &e.EngagedMS }},
		&plain[uint8]{buf: &bytes, n: "scroll", field: func(e *e) *uint8 { return &e.Scroll }},
		&propColumn{n: "prop_keys", part: func(p *event.Prop) *string { return &p.Key }},
		&propColumn{n: "prop_values", part: func(p *event.Prop) *string { return &p.Value }},
		&plain[int64]{buf: &signed, n: "revenue", field: func(e *e) *int64 { return &e.Revenue }},
		text("currency", func(e *e) *string { return &e.Currency }),
		text("network", func(e *e) *string { return &e.Network }),
		&plain[uint32]{buf: &words, n: "notice", field: func(e *e) *uint32 { return &e.Notice }},
		&plain[uint16]{buf: &shorts, n: "masked", field: func(e *e) *uint16 { return (*uint16)(&e.Masked) }},
		&plain[uint64]{buf: &longs, n: "event_id", field: func(e *e) *uint64 { return &e.ID }},
	}
}

// encoder turns events into the columns of an insert. It is used again and small; it
// keeps the texts of at most a chunk of events in memory after use.
type encoder struct {
	columns  []eventColumn
	batchIDs [chunkRows]uint64
}

func newEncoder() *encoder { return &encoder{columns: eventColumns()} }

// appendTo gives the client the rows' columns, in the order of insertColumns.
func (c *encoder) appendTo(to driver.Batch, b *event.Batch, rows []int32) error {
	for i := range c.batchIDs {
		c.batchIDs[i] = b.ID
	}
	for chunk := range slices.Chunk(rows, chunkRows) {
		for i, column := range c.columns {
			if err := column.appendTo(to.Column(i), b.Events, chunk); err != nil {
				return fmt.Errorf("%w: column %s: %w", errTable, column.name(), err)
			}
		}
		if err := to.Column(len(c.columns)).Append(c.batchIDs[:len(chunk)]); err != nil {
			return fmt.Errorf("%w: column batch_id: %w", errTable, err)
		}
	}
	return nil
}

// insertColumns returns for each table the names of the columns that an insert sends, in order.
func insertColumns() map[string][]string {
	var events []string
	for _, c := range eventColumns() {
		events = append(events, c.name())
	}
	return map[string][]string{
		tableEvents: append(events, "batch_id"),
		tableLedger: {"site", "minute", "outcome", "hits", "stored_at", "batch_id", "ref", "masked", "page"},
	}
}

const (
	tableEvents = "events"
	tableLedger = "ledger"
)

// describeTables returns for each table the type of each of its insertColumns in which an HTTP insert sends
// it, as the table is; a column that is missing is found before the first insert. Texts
// are sent as such where the table has LowCardinality(String): the server makes
// dictionaries several times faster than the client does.
func describeTables(ctx context.Context, c driver.Conn) (map[string][]clickhouse.ColumnNameAndType, error) {
	rows, err := c.Query(ctx, "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND table IN ('events', 'ledger')")
	if err != nil {
		return nil, fmt.Errorf("store: reading the columns of the tables: %w", err)
	}
	defer rows.Close()
	types := map[[2]string]string{}
	for rows.Next() {
		var table, name, typ string
		if err := rows.Scan(&table, &name, &typ); err != nil {
			return nil, fmt.Errorf("store: reading the columns of the tables: %w", err)
		}
		types[[2]string{table, name}] = typ
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: reading the columns of the tables: %w", err)
	}
	all := map[string][]clickhouse.ColumnNameAndType{}
	for table, names := range insertColumns() {
		var missing []string
		for _, name := range names {
			typ := types[[2]string{table, name}]
			if typ == "" {
				missing = append(missing, name)
			}
			all[table] = append(all[table], clickhouse.ColumnNameAndType{Name: name, Type: strings.ReplaceAll(typ, "LowCardinality(String)", "String")})
		}
		if len(missing) > 0 {
			return nil, fmt.Errorf("store: %w: %s lacks the columns %s", errTable, table, strings.Join(missing, ", "))
		}
	}
	return all, nil
}
