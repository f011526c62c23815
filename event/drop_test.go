package event

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDropRoundTrip(t *testing.T) {
	for _, d := range []Drop{
		{},
		{Site: "example.org", Minute: 29_931_840, Reason: "bot", Count: 1},
		{Site: UnknownSite, Minute: -1, Reason: "too_large", Count: 1<<64 - 1},
		{Site: strings.Repeat("a", MaxSite), Reason: strings.Repeat("r", MaxReason), Page: strings.Repeat("p", MaxPage), Masked: 1<<16 - 1},
	} {
		rec := string(d.AppendTo(nil))
		var got Drop
		if err := got.Decode(rec); err != nil || got != d {
			t.Errorf("%+v became %+v, %v", d, got, err)
		}
		if !IsDrop(rec) {
			t.Errorf("%+v is not known for a drop", d)
		}
		for n := range len(rec) {
			if err := got.Decode(rec[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d of %d bytes: %v", n, len(rec), err)
			}
		}
		if err := new(Event).Decode(rec); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a drop is an event: %v", err)
		}
	}
	old := Drop{Site: "example.org", Minute: 7, Reason: "bot", Count: 3}
	v1 := old.AppendTo(nil)
	v1 = append(v1[:dropFixedSize:dropFixedSize], v1[dropFixedSize+2:len(v1)-1]...) // without Masked and Page
	v1[0] = dropUnmasked
	got := Drop{Masked: 1, Page: "/"}
	if err := got.Decode(string(v1)); err != nil || got != old || !IsDrop(v1) {
		t.Errorf("the old form: %+v, %v", got, err)
	}
	e := Event{Site: "example.org"}
	rec := string(e.AppendTo(nil))
	if err := new(Drop).Decode(rec); !errors.Is(err, ErrCorrupt) || IsDrop(rec) {
		t.Errorf("an event is a drop: %v", err)
	}
}

func TestMinuteOf(t *testing.T) {
	for seconds, want := range map[int64]int64{0: 0, 59: 0, 60: 1, -1: 0, 1 << 40: (1<<32 - 1) / 60} {
		if got := MinuteOf(seconds); got != want {
			t.Errorf("second %d is in minute %d, want %d", seconds, got, want)
		}
	}
}

// What is read is within its limits and valid UTF-8, and is written as it was.
func FuzzDropDecode(f *testing.F) {
	for _, d := range []Drop{{}, {Site: "example.org", Minute: 29_931_840, Reason: "bot", Count: 3}, {Site: UnknownSite, Reason: "malformed", Count: 1}, {Site: "example.org", Reason: "pii", Count: 1, Masked: 1, Page: "/(email)"}} {
		f.Add(string(d.AppendTo(nil)))
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, rec string) {
		var d Drop
		if err := d.Decode(rec); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if len(d.Site) > MaxSite || len(d.Reason) > MaxReason || len(d.Page) > MaxPage || !utf8.ValidString(d.Page) || !utf8.ValidString(d.Site) || !utf8.ValidString(d.Reason) {
			t.Fatalf("beyond its limits: %+v", d)
		}
		var again Drop
		if err := again.Decode(string(d.AppendTo(nil))); err != nil || again != d {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}
