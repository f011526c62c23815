package store

import (
	"reflect"
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
