package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// retainScene is batches of a year's days, two of which have events of the day of the cut and of the one before it.
type retainScene struct {
	now     time.Time
	cut     Cut
	batches []*event.Batch
}

// Days back from testDay. The cut is 60 days for events, 120 for rollups and 100 for the ledger.
func newRetainScene(daysBack ...int) *retainScene {
	x := &retainScene{now: testDay.Time().Add(10 * time.Hour), cut: Cut{Events: testDay - 60, Rollups: testDay - 120, Ledger: testDay - 100}}
	for i, back := range daysBack {
		b := &event.Batch{ID: uint64(i + 1), Drops: []event.Drop{{Site: "example.org", Minute: x.now.Unix()/60 - int64(back)*1440, Reason: "bot", Count: 3}}}
		for n := range 20 {
			e := testEvent(uint64(i+1)<<32 + uint64(n))
			e.Time = x.now.Unix() - int64(back)*86400 - int64(n*29)
			e.Site, e.Day = "example.org", event.DayOf(time.Unix(e.Time, 0).UTC())
			if n%2 == 1 {
				e.Site = "example.net"
			}
			e.Page = fmt.Sprintf("/%d", n)
			e.VisitorID, e.Visit.ID = uint64(1000*i+n/4+1), uint64(5000*i+n/4+1)
			b.Events = append(b.Events, e)
		}
		x.batches = append(x.batches, b)
	}
	return x
}

func (x *retainScene) open(t testing.TB, o Options) *Store {
	o.Now = func() time.Time { return x.now }
	return openStore(t, o)
}

func (x *retainScene) retention() Retention {
	return Retention{
		Cut:  func(string) Cut { return x.cut },
		Held: func(context.Context, func(*event.Event) bool) (event.Waiting, error) { return event.Waiting{}, nil },
	}
}

// count returns how many events and dropped hits are of days in [from, to).
func (x *retainScene) count(from, to event.Day) (events, drops uint64) {
	for _, b := range x.batches {
		for i := range b.Events {
			if d := b.Events[i].Day; d >= from && d < to {
				events++
			}
		}
		for _, d := range b.Drops {
			if day := event.DayOf(minuteTime(d.Minute)); day >= from && day < to {
				drops += d.Count
			}
		}
	}
	return events, drops
}

const forever = ^event.Day(0)

// wantKept fails unless the store holds what is to be kept, and balanced books.
func (x *retainScene) wantKept(t testing.TB, s *Store) {
	t.Helper()
	kept, _ := x.count(x.cut.Events, forever)
	old, _ := x.count(x.cut.Ledger, x.cut.Events)
	counted, dropped := x.count(x.cut.Ledger, forever)
	if n := len(rowsOf(t, s, everyEvent)); n != int(kept) {
		t.Errorf("%d events, want %d", n, kept)
	}
	var total LedgerLine
	for _, l := range books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{}) {
		total.Add(&l)
	}
	if total.Disposed != old || total.Stored != kept || total.Received != counted+dropped {
		t.Errorf("the books say %+v, want %d disposed, %d stored, %d received", total, old, kept, counted+dropped)
	}
	h, err := s.Holdings(testContext(t), func(string) Cut { return x.cut })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range h.Lines {
		want := map[string]event.Day{KindEvents: x.cut.Events, KindRollups: x.cut.Rollups, KindLedger: x.cut.Ledger}[l.Kind]
		if l.Due != 0 || l.DueBytes != 0 || l.Oldest < want {
			t.Errorf("left: %+v, want nothing before %s", l, want)
		}
	}
}

func (x *retainScene) overviews(t testing.TB, s *Store, from event.Day) (out []Totals) {
	t.Helper()
	for _, site := range []string{"example.org", "example.net"} {
		for _, long := range []bool{false, true} {
			o, err := s.Overview(testContext(t), OverviewQuery{Site: site, Zone: time.UTC, From: from.Time(), To: (testDay + 1).Time(), Now: x.now,
				Interval: "time:day", Panels: []string{"event:page"}, Limit: 100, LongIDs: long})
			if err != nil {
				t.Fatal(err)
			}
			var views uint64
			for _, r := range o.Panels[0].Rows {
				views += uint64(r.PageViews)
			}
			if views != uint64(o.Totals.PageViews) || !o.HasData {
				t.Errorf("%s: the pages have %d views, the whole %d", site, views, uint64(o.Totals.PageViews))
			}
			out = append(out, o.Totals)
		}
	}
	return out
}

// What is older than is kept goes, to the day, of every kind; what is younger stays, the books balance, the dashboard
// shows what its rollups say, and nothing comes back.
func TestDispose(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			x := newRetainScene(300, 121, 120, 119, 101, 100, 99, 80, 61, 60, 59, 1, 0)
			o := b.options(t)
			s := x.open(t, o)
			writeAll(t, s, x.batches, false)
			// Not rolled up yet: the disposal does it first.
			before := x.overviews(t, s, x.cut.Rollups)
			all, _ := x.count(0, forever)
			due, _ := x.count(0, x.cut.Events)

			d, err := s.Dispose(testContext(t), x.retention(), utc)
			if err != nil {
				t.Fatal(err)
			}
			removed := map[string]uint64{}
			for _, r := range d.Removed {
				removed[r.Kind] += r.Rows
			}
			if removed[KindEvents] != due || removed[KindRollups] == 0 || removed[KindLedger] == 0 || due == 0 || due == all {
				t.Errorf("removed %v, want %d of %d events", removed, due, all)
			}
			if d.Before.Due() == 0 || d.After.Due() != 0 || d.Before.Live() == 0 {
				t.Errorf("before %+v\nafter %+v", d.Before, d.After)
			}
			x.wantKept(t, s)
			if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
				t.Errorf("the dashboard says\n%+v, before\n%+v", after, before)
			}

			// Again, by another process, after more rollups: nothing changes.
			for range 2 {
				if err := s.SettleRollups(testContext(t), utc, 0); err != nil {
					t.Fatal(err)
				}
				if err := s.tidyRollups(testContext(t), true); err != nil {
					t.Fatal(err)
				}
				d, err := s.Dispose(testContext(t), x.retention(), utc)
				if err != nil || len(d.Removed) != 0 {
					t.Errorf("again: %+v, %v", d.Removed, err)
				}
				x.wantKept(t, s)
				if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
					t.Errorf("the dashboard says\n%+v, before\n%+v", after, before)
				}
				s = x.open(t, o)
			}

			// A replay of what is on the books as disposed stores nothing.
			var within []*event.Batch
			for _, b := range x.batches {
				if b.Events[0].Day > x.cut.Ledger {
					within = append(within, b)
				}
			}
			writeAll(t, s, within, true)
			x.wantKept(t, s)

			// What comes late to a disposed day is on the books as everything is, in no report, and goes next time.
			late := newRetainScene(90, 70).batches
			for i, b := range late {
				b.ID += 1000
				for n := range b.Events {
					b.Events[n].ID += uint64(1000+i) << 40
				}
			}
			writeAll(t, s, late, false)
			books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
			if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
				t.Errorf("after late events the dashboard says\n%+v, before\n%+v", after, before)
			}
			h, err := s.Holdings(testContext(t), x.retention().Cut)
			if err != nil || h.Due() != 40 {
				t.Errorf("%d rows are due (%v), want the late ones", h.Due(), err)
			}
			if _, err := s.Rollup(testContext(t), utc); err != nil {
				t.Fatal(err)
			}
			if d, err = s.Dispose(testContext(t), x.retention(), utc); err != nil {
				t.Fatal(err)
			}
			x.batches = append(x.batches, late...)
			x.wantKept(t, s)
			if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
				t.Errorf("without late events the dashboard says\n%+v, before\n%+v", after, before)
			}

			// Days go by; all of the books are too old in the end.
			for _, days := range []event.Day{1, 30, 400} {
				x.cut = Cut{Events: testDay - 60 + days, Rollups: testDay - 120 + days, Ledger: testDay - 100 + days}
				if days == 400 {
					x.cut = Cut{Events: testDay + 1, Rollups: testDay + 1, Ledger: testDay + 1}
				}
				if d, err = s.Dispose(testContext(t), x.retention(), utc); err != nil {
					t.Fatal(err)
				}
				x.wantKept(t, s)
			}
			if d.After.Live() > d.Before.Live()/10 {
				t.Errorf("the tables take %d bytes, and %d when they were full", d.After.Live(), d.Before.Live())
			}
			for _, table := range []string{"events", "daily", "ledger"} {
				if n := rowsOf(t, s, "SELECT toString(count()) FROM "+table); n[0] != "0" {
					t.Errorf("%s rows are left in %s", n[0], table)
				}
			}
		})
	}
}

// Each site has a calendar and periods of its own, also one that is not configured any more.
func TestDisposeBySite(t *testing.T) {
	onEachAt(t, testDay.Time().Add(10*time.Hour), func(t *testing.T, s *Store) {
		cuts := map[string]Cut{}
		b := &event.Batch{ID: 1}
		for i, name := range []string{"Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "America/New_York"} {
			z := zone(t, name)
			site := strings.ToLower(z.String()) + ".example"
			cut := event.DayOf(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) // New York's clocks went back that night
			if i == 2 {
				cut = event.DayOf(time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)) // Berlin's that one
			}
			cuts[site] = Cut{Events: cut, Rollups: cut, Ledger: cut, Zone: z}
			for n, at := range []time.Time{cut.Start(z).Add(-time.Second), cut.Start(z), (cut - 1).Start(z), (cut + 1).Start(z).Add(-time.Second)} {
				e := testEvent(uint64(i*10 + n + 1))
				e.Site, e.Time, e.Day = site, at.Unix(), event.DayOf(at.In(z))
				b.Events = append(b.Events, e)
			}
		}
		writeAll(t, s, []*event.Batch{b}, false)
		keep := Retention{Cut: func(site string) Cut { return cuts[site] }, Held: (&retainScene{}).retention().Held}
		if _, err := s.Dispose(testContext(t), keep, func(site string) *time.Location { return cuts[site].Zone }); err != nil {
			t.Fatal(err)
		}
		var want []string
		for site, c := range cuts {
			want = append(want, fmt.Sprintf("%s 2 %s %d", site, c.Events, c.Events.Start(c.Zone).Unix()))
		}
		slices.Sort(want)
		got := rowsOf(t, s, "SELECT concat(site, ' ', toString(count()), ' ', toString(min(day)), ' ', toString(toUInt32(min(time)))) AS line FROM events GROUP BY site ORDER BY line")
		if !slices.Equal(got, want) {
			t.Errorf("left %v\nwant %v", got, want)
		}
		for _, l := range books(t, s, LedgerQuery{}, event.Waiting{}) {
			if l.Received != 2 || l.Disposed != 0 {
				t.Errorf("the books say %+v", l)
			}
		}
	})
}

// Batches that the spool still has are passed over, so that their replay finds what is there.
func TestDisposePassesOverWhatWaits(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			x := newRetainScene(200, 90, 89, 70, 0)
			s := x.open(t, b.options(t))
			writeAll(t, s, x.batches, false)
			keep := x.retention()
			keep.Held = func(_ context.Context, take func(*event.Event) bool) (event.Waiting, error) {
				if !take(&x.batches[0].Events[0]) || take(&x.batches[4].Events[0]) {
					t.Error("other events are to be taken out of what is kept")
				}
				w := event.Waiting{Batches: []uint64{1, 2}}
				for _, b := range x.batches[:2] {
					for i := range b.Events {
						w.Hits = append(w.Hits, event.Drop{Site: b.Events[i].Site, Minute: event.MinuteOf(b.Events[i].Time), Count: 1})
					}
					w.Hits = append(w.Hits, b.Drops...)
				}
				return w, nil
			}
			if _, err := s.Dispose(testContext(t), keep, utc); err == nil {
				t.Error("there is no word of what is left")
			}
			if n := rowsOf(t, s, "SELECT toString(count()) FROM events WHERE day < toDate('"+x.cut.Events.String()+"')"); n[0] != "40" {
				t.Errorf("%s old rows are left, want those of two batches", n[0])
			}
			w, _ := keep.Held(t.Context(), func(e *event.Event) bool { return e.Day < x.cut.Events })
			books(t, s, LedgerQuery{Step: time.Minute}, w)
			writeAll(t, s, x.batches[:2], true)
			books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
			if _, err := s.Dispose(testContext(t), x.retention(), utc); err != nil {
				t.Fatal(err)
			}
			x.wantKept(t, s)
		})
	}
}

// A disposal that is cut short before or after any statement that changes something is finished by the next
// process; until then the books balance, the dashboard is right, and late and replayed events do no harm.
func TestDisposeCutShort(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			x := newRetainScene(130, 90, 62, 0)                      // months as a whole, and part of one
			step := map[string]int{"server": 2, "engine": 5}[b.name] // the statements are the same
			for n := 0; ; n += step {
				var c cutter
				o := b.options(t)
				hurt := o
				hurt.wrap = func(conn driver.Conn) driver.Conn { return &cutConn{conn, &c} }
				s := x.open(t, hurt)
				writeAll(t, s, x.batches, false)
				if _, err := s.Rollup(testContext(t), utc); err != nil {
					t.Fatal(err)
				}
				before := x.overviews(t, s, x.cut.Rollups)
				_, err := s.Dispose(c.arm(testContext(t), n), x.retention(), utc)
				if err == nil {
					if n < 16 {
						t.Errorf("only %d places", n)
					}
					t.Logf("cut at each of %d places", n)
					x.wantKept(t, s)
					return
				}
				s = x.open(t, o)
				books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
				if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
					t.Errorf("the dashboard says\n%+v, before\n%+v", after, before)
				}
				writeAll(t, s, x.batches[2:], true)
				books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
				if _, err := s.Dispose(testContext(t), x.retention(), utc); err != nil {
					t.Fatal(err)
				}
				x.wantKept(t, s)
				if after := x.overviews(t, s, x.cut.Rollups); !reflect.DeepEqual(after, before) {
					t.Errorf("in the end the dashboard says\n%+v, before\n%+v", after, before)
				}
				if t.Failed() {
					t.Fatalf("after a cut at place %d", n)
				}
			}
		})
	}
}
