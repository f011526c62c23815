package collector

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

const resent = `{"n":"pageview","u":"https://example.org/a","d":"example.org","id":"1234567890"}`

// TestResentAfterRestart: a hit that is sent again after a restart, because its answer was lost with the
// process, is known by its event, which another id, site or day is not.
func TestResentAfterRestart(t *testing.T) {
	o, sp, _, _, _ := options(t, &clock{t: noon})
	r := newRig(t, func(to *Options) { to.Keys, to.Spool = o.Keys, sp })
	r.spool = sp
	if a := r.post(t, resent); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
		t.Fatalf("%d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	kept := sp.take(t)
	if len(kept) != 1 || kept[0].ID == 0 {
		t.Fatalf("%+v", kept)
	}

	var next *rig
	for _, restore := range []func(){
		func() { next.c.Restore(&kept[0]) },
		func() { next.c.RestoreID(kept[0].ID, kept[0].Time) }, // the database does not answer yet
	} {
		next = newRig(t, func(to *Options) { to.Keys, to.Spool = o.Keys, sp })
		restore()
		for range 2 {
			if a := next.post(t, resent); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "duplicate" {
				t.Errorf("%d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
			}
		}
	}
	next.clock.add(time.Hour)
	for _, other := range []string{
		resent, // the hour is over
		`{"n":"pageview","u":"https://example.org/a","d":"example.org","id":"1234567891"}`,
		`{"n":"pageview","u":"https://example.org/a","d":"example.org"}`,
	} {
		if a := next.post(t, other); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
			t.Errorf("%s: %d, dropped %q", other, a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
		}
	}
}

// stuck is a spool whose disk hangs, and fails at last.
type stuck struct {
	memory
	once    sync.Once
	entered chan struct{}
	fails   chan error
}

func (s *stuck) Append(e *event.Event) error {
	err := error(nil)
	s.once.Do(func() {
		s.entered <- struct{}{}
		err = <-s.fails
	})
	if err != nil {
		return err
	}
	return s.memory.Append(e)
}

// TestResentWhileUnderWay: as long as it is not known whether a hit will be kept, the same one sent
// again is not told that it was.
func TestResentWhileUnderWay(t *testing.T) {
	s := &stuck{entered: make(chan struct{}), fails: make(chan error)}
	r := newRig(t, func(o *Options) { o.Spool = s })
	first := make(chan int)
	go func() { first <- r.post(t, resent).StatusCode }()
	<-s.entered
	if a := r.post(t, resent); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("the second is answered with %d", a.StatusCode)
	}
	s.fails <- errors.New("the disk is broken")
	if status := <-first; status != 503 {
		t.Errorf("the first is answered with %d", status)
	}
	if a := r.post(t, resent); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "" {
		t.Errorf("the third is answered with %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	if a := r.post(t, resent); a.StatusCode != 202 || a.Header.Get("X-Footfall-Dropped") != "duplicate" {
		t.Errorf("the fourth is answered with %d, dropped %q", a.StatusCode, a.Header.Get("X-Footfall-Dropped"))
	}
	if n := len(s.take(t)); n != 1 {
		t.Errorf("%d events", n)
	}
}
