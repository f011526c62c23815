package store

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// filled returns an event in which every field, found by reflection, has a value of its
// own, so that a new field cannot be forgotten.
func filled(seed int) event.Event {
	var e event.Event
	n := seed
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.String:
			v.SetString("ü'\\\"`\t–😀" + strings.Repeat("x", n))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Int64:
			v.SetInt(int64(n) << 20)
		case reflect.Uint64:
			v.SetUint(uint64(n)<<56 + 1)
		default:
			v.SetUint(uint64(n))
		}
	}
	fill(reflect.ValueOf(&e).Elem())
	e.Day = testDay
	e.Time = testDay.Time().Unix() + int64(seed)
	return e
}

func recent(t testing.TB, s *Store, since time.Time) []event.Event {
	t.Helper()
	var all []event.Event
	err := s.Recent(testContext(t), since, func(e *event.Event) error {
		c := *e
		c.Props = append([]event.Prop(nil), e.Props...)
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRoundTripOfEveryField(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		want := []event.Event{filled(1), {ID: 7, Day: testDay, Time: testDay.Time().Unix() + 2}, filled(100)}
		want[1].Revenue = -5
		var heard []uint64
		s.onStored = func(b *event.Batch) { heard = append(heard, b.ID) }
		if err := s.Write(testContext(t), &event.Batch{ID: 9, Events: want}); err != nil {
			t.Fatal(err)
		}
		got := recent(t, s, testDay.Time())
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("event %d\ngot  %+v\nwant %+v", i, got[i], want[i])
			}
		}
		if !reflect.DeepEqual(heard, []uint64{9}) {
			t.Errorf("OnStored heard of %v", heard)
		}
		if got := recent(t, s, time.Unix(want[2].Time, 0)); len(got) != 1 || got[0].ID != want[2].ID {
			t.Errorf("since the last event's second there are %d events", len(got))
		}
	})
}

// TestPartitionsAreMonths holds the ground of an atomic block: days of one month, as
// [event.Day.Month] has it, are in one partition on the server, for all days that are stored.
func TestPartitionsAreMonths(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		c, err := s.conn(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := c.Query(testContext(t), "SELECT toUInt16(number) AS d, toYYYYMM(toDate(d)) AS m FROM system.numbers LIMIT ?", uint64(lastDay)+1)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		partition := map[int]uint32{}
		bad := 0
		for rows.Next() {
			var d uint16
			var m uint32
			if err := rows.Scan(&d, &m); err != nil {
				t.Fatal(err)
			}
			month := event.Day(d).Month()
			if p, ok := partition[month]; ok && p != m && bad < 5 {
				bad++
				t.Errorf("day %d of %d is in partition %d, days before it in %d", d, month, m, p)
			}
			partition[month] = m
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if len(partition) != 12*(2106-1970) {
			t.Errorf("%d months", len(partition))
		}
	})
}

// parts returns the parts that hold rows of a batch, and the months they are of.
func parts(t testing.TB, s *Store, batch uint64) (parts, months uint64) {
	t.Helper()
	c, err := s.conn(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	err = c.QueryRow(testContext(t), "SELECT uniqExact(_part), uniqExact(toYYYYMM(day)) FROM events WHERE batch_id = ?", batch).Scan(&parts, &months)
	if err != nil {
		t.Fatal(err)
	}
	return parts, months
}

func TestMonthsAreBlocksOfTheirOwn(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		b := testBatch(20, 100)
		days := []string{"2026-11-30", "2026-12-01", "2026-11-01", "1970-01-01", "2105-12-31", "2026-12-31", "2027-01-01"}
		for i := range b.Events {
			d, err := time.Parse(time.DateOnly, days[i%len(days)])
			if err != nil {
				t.Fatal(err)
			}
			b.Events[i].Day = event.DayOf(d)
		}
		if err := s.Write(testContext(t), b); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, 20, 100)
		if p, m := parts(t, s, 20); p != 5 || m != 5 {
			t.Errorf("%d parts of %d months, want 5 of 5", p, m)
		}
	})
}

func TestMonthsOf(t *testing.T) {
	day := func(s string) event.Day {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return event.DayOf(d)
	}
	events := []event.Event{{Day: day("2026-12-01")}, {Day: day("2026-11-30")}, {Day: day("2026-11-01")}, {Day: day("2026-12-01")},
		{Day: 65535}, {Day: 60000}, {Day: 0}, {Day: day("2026-12-31")}}
	want := [][]int32{{6}, {1, 2}, {0, 3, 7}, {4, 5}}
	if got := monthsOf(events); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := monthsOf(nil); len(got) != 0 {
		t.Errorf("no events are of the months %v", got)
	}
}

func TestSortRows(t *testing.T) {
	events := testBatch(1, 3000).Events
	for i := range events {
		events[i].Day += event.Day(i % 3)
		events[i].Kind = event.Kind(1 + i%5)
		if i%7 == 0 {
			events[i].Site = ""
		}
	}
	rows := monthsOf(events)[0]
	want := slices.Clone(rows)
	byKey := func(a, b int32) int {
		x, y := &events[a], &events[b]
		return cmp.Or(strings.Compare(x.Site, y.Site), cmp.Compare(x.Day, y.Day), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Visit.ID, y.Visit.ID))
	}
	sortRows(events, rows)
	if !slices.IsSortedFunc(rows, byKey) {
		t.Error("the rows are not sorted")
	}
	slices.Sort(rows)
	if !slices.Equal(rows, want) {
		t.Error("they are not the same rows")
	}
	sortRows(nil, nil)
}

// TestTimesBeyondTheCalendar stores what no clock should show, at the calendar's ends.
func TestTimesBeyondTheCalendar(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		in := []event.Event{
			{ID: 1, Day: 0, Time: -1},
			{ID: 2, Day: 0, Time: math.MinInt64},
			{ID: 3, Day: 65535, Time: math.MaxInt64},
			{ID: 4, Day: 49711, Time: 1 << 32},
			{ID: 5, Day: 49672, Time: 1<<32 - 1},
		}
		if err := s.Write(testContext(t), &event.Batch{ID: 21, Events: in}); err != nil {
			t.Fatal(err)
		}
		got := map[uint64]event.Event{}
		for _, e := range recent(t, s, time.Time{}) {
			got[e.ID] = e
		}
		for id, want := range map[uint64]event.Event{
			1: {Day: 0, Time: 0}, 2: {Day: 0, Time: 0},
			3: {Day: lastDay, Time: math.MaxUint32}, 4: {Day: lastDay, Time: math.MaxUint32}, 5: {Day: lastDay, Time: math.MaxUint32},
		} {
			if got[id].Day != want.Day || got[id].Time != want.Time {
				t.Errorf("event %d: day %d, time %d; want %d, %d", id, got[id].Day, got[id].Time, want.Day, want.Time)
			}
		}
		if lastDay.String() != "2105-12-31" {
			t.Errorf("the last day is %s", lastDay)
		}
	})
}

// TestLargeBatch stores a hundred thousand rows as one part, with long and rare texts.
func TestLargeBatch(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		b := testBatch(22, 100_000)
		long := strings.Repeat("ß", event.MaxPage/2)
		for i := range b.Events {
			e := &b.Events[i]
			e.Visit.UTMContent = fmt.Sprint("unique ", i) // more values than a dictionary of bytes or words has
			if i%100 == 0 {
				e.Page = long
				for range event.MaxProps {
					e.Props = append(e.Props, event.Prop{Key: "key", Value: long})
				}
			}
		}
		if err := s.Write(testContext(t), b); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, 22, 100_000)
		if p, _ := parts(t, s, 22); p != 1 {
			t.Errorf("%d parts", p)
		}
		c, err := s.conn(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		var contents, props, bytes uint64
		err = c.QueryRow(testContext(t), "SELECT uniqExact(utm_content), sum(length(prop_values)), sum(length(page)) FROM events WHERE batch_id = 22").
			Scan(&contents, &props, &bytes)
		if err != nil {
			t.Fatal(err)
		}
		var wantProps, wantBytes uint64
		for i := range b.Events {
			wantProps += uint64(len(b.Events[i].Props))
			wantBytes += uint64(len(b.Events[i].Page))
		}
		if contents != 100_000 || props != wantProps || bytes != wantBytes {
			t.Errorf("%d contents, %d properties, %d bytes of pages; want 100000, %d, %d", contents, props, bytes, wantProps, wantBytes)
		}
	})
}

// TestRecentOrder reads events in the order of their times, whatever their sites, and stops when told.
func TestRecentOrder(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		if err := s.Write(testContext(t), testBatch(23, 500)); err != nil {
			t.Fatal(err)
		}
		since := time.Unix(testBatch(23, 1).Events[0].Time+100, 0)
		want := 0
		for _, e := range testBatch(23, 500).Events {
			if e.Time >= since.Unix() {
				want++
			}
		}
		all := recent(t, s, since)
		if len(all) != want || want == 0 || want == 500 {
			t.Errorf("%d events, want %d", len(all), want)
		}
		for i := range all[1:] {
			if all[i].Time > all[i+1].Time {
				t.Fatalf("event %d is later than the next", i)
			}
		}
		stop := errors.New("stop")
		n := 0
		err := s.Recent(testContext(t), since, func(*event.Event) error {
			if n++; n == 3 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || n != 3 {
			t.Errorf("after %d events: %v", n, err)
		}
		if err := s.Ping(testContext(t)); err != nil {
			t.Errorf("after a stop: %v", err)
		}
	})
}
