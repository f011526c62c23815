package event

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// filled returns an event in which every field, found by reflection, has a value of its own.
func filled() Event {
	var e Event
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.String:
			v.SetString(strings.Repeat("ü", n))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Int64:
			v.SetInt(-int64(n))
		default:
			v.SetUint(uint64(n))
		}
	}
	fill(reflect.ValueOf(&e).Elem())
	return e
}

func TestBinaryRoundTripOfEveryField(t *testing.T) {
	want := filled()
	var got Event
	if err := got.Decode(string(want.AppendTo(nil))); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Records of version 1 have no Masked; a spool may hold some after an upgrade.
func TestDecodeVersion1(t *testing.T) {
	want := filled()
	want.Masked = 0
	rec := want.AppendTo(nil)
	at := fixedSize - 1 // Masked is before the number of properties
	rec = append(rec[:at:at], rec[at+2:]...)
	rec[0] = 1
	got := Event{Masked: 7}
	if err := got.Decode(string(rec)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	for i := range rec {
		if new(Event).Decode(string(rec[:i])) == nil {
			t.Fatalf("the first %d of %d bytes were accepted", i, len(rec))
		}
	}
}

func TestMaskedKinds(t *testing.T) {
	if got := Masked(1 | 32).Kinds(); !reflect.DeepEqual(got, []string{"email", "token"}) || Masked(0).Kinds() != nil {
		t.Error(got)
	}
}

func TestDecodeRefusesEveryCut(t *testing.T) {
	e := filled()
	rec := string(e.AppendTo(nil))
	for i := range rec {
		var got Event
		if got.Decode(rec[:i]) == nil {
			t.Fatalf("the first %d of %d bytes were accepted", i, len(rec))
		}
	}
	var got Event
	if got.Decode(rec+"x") == nil {
		t.Error("a record with a byte too many was accepted")
	}
}

func TestNormalizeBoundsEveryString(t *testing.T) {
	e := filled()
	long := strings.Repeat("a\x00\xff\u2028é", 2000)
	for _, s := range e.strings() {
		*s = long
	}
	for range 40 {
		e.Props = append(e.Props, Prop{long, long})
	}
	e.EngagedMS, e.Scroll = math.MaxUint32, 255
	e.Normalize()
	check := func(s string) {
		t.Helper()
		if len(s) > MaxPage || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\u2028") {
			t.Errorf("not clean: %d bytes", len(s))
		}
	}
	for _, s := range e.strings() {
		check(*s)
	}
	if len(e.Props) != MaxProps || e.Scroll != MaxScroll || e.EngagedMS != MaxEngagedMS {
		t.Errorf("props %d, scroll %d, engaged %d", len(e.Props), e.Scroll, e.EngagedMS)
	}
	for _, p := range e.Props {
		check(p.Key)
		check(p.Value)
	}
}

func TestDay(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	late := time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	if d := DayOf(late.In(berlin)); d.String() != "2026-11-24" || d.Month() != 202611 {
		t.Errorf("%s in Berlin is %s, month %d", late, d, d.Month())
	}
	// Clocks went forward at midnight in Beirut on 2025-03-30.
	beirut, err := time.LoadLocation("Asia/Beirut")
	if err != nil {
		t.Fatal(err)
	}
	d := DayOf(time.Date(2025, 3, 30, 12, 0, 0, 0, beirut))
	if s := d.Start(beirut); DayOf(s) != d || DayOf(s.Add(-time.Second)) == d {
		t.Errorf("%s starts at %s", d, s)
	}
}

func FuzzDecode(f *testing.F) {
	e := filled()
	f.Add(string(e.AppendTo(nil)))
	f.Add(string((&Event{}).AppendTo(nil)))
	f.Fuzz(func(t *testing.T, rec string) {
		var e Event
		if e.Decode(rec) != nil {
			return
		}
		var again Event
		if err := again.Decode(string(e.AppendTo(nil))); err != nil {
			t.Fatal(err)
		}
		if len(e.Props) == 0 {
			e.Props, again.Props = nil, nil
		}
		if !reflect.DeepEqual(e, again) {
			t.Errorf("%+v\nbecame %+v", e, again)
		}
		e.Normalize()
		for _, s := range e.strings() {
			if !utf8.ValidString(*s) || len(*s) > MaxPage {
				t.Errorf("%q is not clean", *s)
			}
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("plain", 3)
	f.Add("\xff\x00é\u2028", 4)
	f.Fuzz(func(t *testing.T, s string, max int) {
		if max < 0 {
			return
		}
		got := Clean(s, max)
		if len(got) > max || !utf8.ValidString(got) || Clean(got, max) != got {
			t.Errorf("Clean(%q, %d) = %q", s, max, got)
		}
	})
}
