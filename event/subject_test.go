package event

import (
	"testing"
	"time"
)

func TestOrderCovers(t *testing.T) {
	o := NewOrder(time.Unix(1000, 5), []Subject{{"a.example", 7, 10, 12}, {"b.example", 8, 0, 65535}})
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	if o.Last()-o.ID != 65535 || o.ID == NewOrder(time.Unix(1000, 0), nil).ID {
		t.Errorf("id %x to %x", o.ID, o.Last())
	}
	for _, c := range []struct {
		site    string
		visitor uint64
		day     Day
		time    int64
		want    bool
	}{
		{"a.example", 7, 10, 1000, true}, {"a.example", 7, 12, 1, true}, {"b.example", 8, 65535, 5, true},
		{"a.example", 7, 10, 1001, false}, {"a.example", 7, 9, 5, false}, {"a.example", 7, 13, 5, false},
		{"b.example", 7, 10, 5, false}, {"a.example", 8, 10, 5, false}, {"a.example", 0, 10, 5, false},
	} {
		if got := o.Covers(&Event{Site: c.site, VisitorID: c.visitor, Day: c.day, Time: c.time}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for _, bad := range []Order{{}, {ID: 1, Subjects: o.Subjects}, {ID: 1 << 16}, {ID: 1 << 16, Subjects: []Subject{{Site: "a.example"}}},
		{ID: 1 << 16, Subjects: []Subject{{Visitor: 1}}}, {ID: 1 << 16, Subjects: make([]Subject, MaxSubjects+1)}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
