package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// The person of these tests has an id at each of two sites.
const (
	personHere  = 77_000_001
	personThere = 77_000_002
)

// eraseScene is batches over a month that is over, closed days and the open day, in which one of
// every five events is the person's.
type eraseScene struct {
	now     time.Time
	batches []*event.Batch
	order   event.Order
	taken   int // events of the order
}

func newEraseScene(daysBack ...int) *eraseScene {
	x := &eraseScene{now: testDay.Time().Add(10 * time.Hour)}
	all := []event.Subject{
		{Site: "example.org", Visitor: personHere, Last: 65535}, {Site: "example.net", Visitor: personThere, Last: 65535}}
	x.order = event.NewOrder(x.now, all)
	for i, back := range daysBack {
		b := &event.Batch{ID: uint64(i + 1), Drops: []event.Drop{{Site: "example.org", Minute: x.now.Unix()/60 - int64(back)*1440, Reason: "bot", Count: 3}}}
		for n := range 25 {
			e := testEvent(uint64(i+1)<<32 + uint64(n))
			e.Time = x.now.Unix() - int64(back)*86400 - int64(n*29)
			if back == 24 && n > 12 { // across the end of October
				e.Time -= 86400
			}
			e.Site, e.Day = "example.org", event.DayOf(time.Unix(e.Time, 0).UTC())
			if n%2 == 1 {
				e.Site = "example.net"
			}
			if n%5 == 0 {
				e.VisitorID = map[string]uint64{"example.org": personHere, "example.net": personThere}[e.Site]
				e.Visit.ID = 5_000_000 + uint64(i)
				e.Page = fmt.Sprintf("/private/%d", n)
				x.taken++
			}
			b.Events = append(b.Events, e)
		}
		x.batches = append(x.batches, b)
	}
	return x
}

// without returns the batches without what the order takes.
func (x *eraseScene) without() (out []*event.Batch) {
	for _, b := range x.batches {
		c := *b
		c.Events = slices.DeleteFunc(slices.Clone(b.Events), func(e event.Event) bool { return x.order.Covers(&e) })
		out = append(out, &c)
	}
	return out
}

func (x *eraseScene) open(t testing.TB, o Options) *Store {
	o.Now = func() time.Time { return x.now }
	return openStore(t, o)
}

func writeAll(t testing.TB, s *Store, batches []*event.Batch, replayed bool) {
	t.Helper()
	for _, b := range batches {
		c := *b
		c.Replayed = replayed
		if err := s.Write(testContext(t), &c); err != nil {
			t.Fatal(err)
		}
	}
}

// rowsOf returns an answer as text, a line a row.
func rowsOf(t testing.TB, s *Store, sql string) (out []string) {
	t.Helper()
	c, err := s.conn(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query(testContext(t), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}

const (
	everyEvent = "SELECT concat(site, ' ', toString(day), ' ', toString(event_id), ' ', toString(batch_id)) AS line FROM events ORDER BY line"
	everyDaily = `SELECT arrayStringConcat([toString(site), toString(dim), toString(day), toString(value), toString(visitors), toString(visits), toString(pageviews),
    toString(events), toString(started), toString(visit_views), toString(bounces), toString(duration), toString(depth), toString(engaged), toString(engaged_visits)], ' ') AS line
FROM daily ORDER BY line`
)

func utc(string) *time.Location { return time.UTC }

// wantErased fails unless the database says what one would say that had never had the rows, but for the books.
func (x *eraseScene) wantErased(t testing.TB, s, control *Store) {
	t.Helper()
	if got, want := rowsOf(t, s, everyEvent), rowsOf(t, control, everyEvent); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	h, err := s.Held(testContext(t), x.order.Subjects, true)
	if err != nil || h.Rows() != 0 || h.Visits != 0 || len(h.Events) != 0 {
		t.Errorf("held %+v, %v", h, err)
	}
	var total LedgerLine
	for _, l := range books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{}) {
		total.Add(&l)
	}
	if n := len(x.batches) * 25; total.Erased != uint64(x.taken) || total.Stored != uint64(n-x.taken) || total.Received != uint64(n+3*len(x.batches)) {
		t.Errorf("the books say %+v, want %d of %d erased", total, x.taken, n)
	}
}

func (x *eraseScene) wantSettled(t testing.TB, s, control *Store) {
	t.Helper()
	if err := s.SettleRollups(testContext(t), utc, 0); err != nil {
		t.Fatal(err)
	}
	got, want := rowsOf(t, s, everyDaily), rowsOf(t, control, everyDaily)
	if !slices.Equal(got, want) {
		t.Errorf("the rollups have %d rows, those that never saw the person %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("got  %s\nwant %s", got[i], want[i])
				break
			}
		}
	}
	if t.Failed() {
		return
	}
	from, to := (testDay - 40).Time(), (testDay + 1).Time()
	for _, site := range []string{"example.org", "example.net"} {
		q := OverviewQuery{Site: site, Zone: time.UTC, From: from, To: to, Now: x.now, Interval: "time:day", Panels: []string{"event:page", "visit:source"}, Limit: 100}
		a, err := s.Overview(testContext(t), q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := control.Overview(testContext(t), q)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the dashboard says %+v, want %+v", site, a.Totals, b.Totals)
		}
	}
}

// Raw events, rollups of days and months, and the open day: all is as if the person had never been
// there, also after everything is replayed, and after the order is carried out again.
func TestErase(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			x := newEraseScene(32, 24, 24, 2, 0)
			o := b.options(t)
			s, control := x.open(t, o), x.open(t, b.options(t))
			writeAll(t, s, x.batches, false)
			writeAll(t, control, x.without(), false)
			for _, s := range []*Store{s, control} {
				if _, err := s.Rollup(testContext(t), utc); err != nil {
					t.Fatal(err)
				}
			}
			h, err := s.Held(testContext(t), x.order.Subjects, true)
			if err != nil || h.Rows() != uint64(x.taken) || len(h.Events) != x.taken || h.Visits != uint64(2*len(x.batches)) || h.More {
				t.Fatalf("held %d rows, %d events, %d visits (%v), want %d", h.Rows(), len(h.Events), h.Visits, err, x.taken)
			}
			for i, e := range h.Events {
				if !x.order.Covers(&e) || i > 0 && e.Time > h.Events[i-1].Time || len(e.Props) != 1 {
					t.Fatalf("event %d is %+v", i, e)
				}
			}
			if h, err = s.Held(testContext(t), x.order.Subjects[:1], false); err != nil || h.Rows() == 0 || len(h.Events) != 0 || h.Rows() >= uint64(x.taken) {
				t.Errorf("held of one id %+v, %v", h, err)
			}

			// Whoever reads the books meanwhile finds them right.
			stop, read := make(chan struct{}), make(chan int)
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						read <- n
						return
					default:
						books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
						n++
					}
				}
			}()
			n, err := s.Erase(testContext(t), x.order)
			close(stop)
			t.Logf("the books were read %d times", <-read)
			if err != nil || n != uint64(x.taken) {
				t.Fatalf("erased %d, %v; want %d", n, err, x.taken)
			}
			x.wantErased(t, s, control)
			x.wantSettled(t, s, control)

			writeAll(t, s, x.batches, true)
			x.wantErased(t, s, control)
			if n, err := s.Erase(testContext(t), x.order); err != nil || n != uint64(x.taken) {
				t.Errorf("again: erased %d, %v", n, err)
			}
			if n, err := s.Erase(testContext(t), event.NewOrder(x.now, x.order.Subjects)); err != nil || n != 0 {
				t.Errorf("another order: erased %d, %v", n, err)
			}
			again := x.open(t, o)
			writeAll(t, again, x.batches, true)
			x.wantErased(t, again, control)
			x.wantSettled(t, again, control)

			// What comes later is new, whoever it is.
			later := testBatch(50, 1)
			e := &later.Events[0]
			e.Site, e.VisitorID, e.Time = "example.org", personHere, x.now.Unix()+1
			writeAll(t, again, []*event.Batch{later}, false)
			if _, err := again.Erase(testContext(t), x.order); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, again, 50, 1)
			books(t, again, LedgerQuery{Step: time.Minute}, event.Waiting{})
		})
	}
}

// cutter ends a context at a statement: the n-th of those that change something, or the first
// one after it. Statements of other contexts pass.
type cutter struct {
	mu    sync.Mutex
	ctx   context.Context // nil: none
	cut   context.CancelFunc
	n     int // twice the number of the statement, and one more for the one after it
	place int
}

func (c *cutter) arm(ctx context.Context, n int) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx = context.WithValue(ctx, c, true)
	c.ctx, c.cut = context.WithCancel(ctx)
	c.n, c.place = n, 0
	return c.ctx
}

func (c *cutter) statement(ctx context.Context, changes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Value(c) == nil {
		return
	}
	if c.place%2 == 1 { // the one after a change
		if c.place == c.n {
			c.cut()
		}
		c.place++
	}
	if changes {
		if c.place == c.n {
			c.cut()
		}
		c.place++
	}
}

type cutConn struct {
	driver.Conn
	*cutter
}

func (c *cutConn) Exec(ctx context.Context, q string, args ...any) error {
	c.statement(ctx, true)
	return c.Conn.Exec(ctx, q, args...)
}

func (c *cutConn) Query(ctx context.Context, q string, args ...any) (driver.Rows, error) {
	c.statement(ctx, false)
	return c.Conn.Query(ctx, q, args...)
}

func (c *cutConn) QueryRow(ctx context.Context, q string, args ...any) driver.Row {
	c.statement(ctx, false)
	return c.Conn.QueryRow(ctx, q, args...)
}

func (c *cutConn) PrepareBatch(ctx context.Context, q string, o ...driver.PrepareBatchOption) (driver.Batch, error) {
	c.statement(ctx, true)
	return c.Conn.PrepareBatch(ctx, q, o...)
}

// An order that is cut short before or after any statement that changes something is finished by the
// next process; until then the books balance, nothing is rolled up that is to be erased, and a replay
// brings nothing back.
func TestEraseCutShort(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			x := newEraseScene(24, 24, 0)
			control := x.open(t, b.options(t))
			writeAll(t, control, x.without(), false)
			if _, err := control.Rollup(testContext(t), utc); err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				var c cutter
				o := b.options(t)
				hurt := o
				hurt.wrap = func(conn driver.Conn) driver.Conn { return &cutConn{conn, &c} }
				s := x.open(t, hurt)
				writeAll(t, s, x.batches, false)
				if _, err := s.Rollup(testContext(t), utc); err != nil {
					t.Fatal(err)
				}
				_, err := s.Erase(c.arm(testContext(t), n), x.order)
				if err == nil {
					if n < 8 { // two months on the books, marks, a deletion
						t.Errorf("only %d places", n)
					}
					t.Logf("cut at each of %d places", n)
					x.wantErased(t, s, control)
					return
				}

				s = x.open(t, o)
				s.AnnounceErasure(x.order)
				books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
				if _, err := s.Rollup(testContext(t), utc); err != nil {
					t.Fatal(err)
				}
				writeAll(t, s, x.batches, true)
				if n, err := s.Erase(testContext(t), x.order); err != nil || n != uint64(x.taken) {
					t.Fatalf("erased %d, %v", n, err)
				}
				x.wantErased(t, s, control)
				x.wantSettled(t, s, control)
				if t.Failed() {
					t.Fatalf("after a cut at place %d", n)
				}
			}
		})
	}
}
