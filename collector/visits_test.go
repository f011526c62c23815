package collector

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

func page(path string) string {
	return `{"n":"pageview","u":"https://example.org` + path + `","d":"example.org"}`
}

func named(name, path string) string {
	return `{"n":"` + name + `","u":"https://example.org` + path + `","d":"example.org"}`
}

func engaged(ms int, path string) string {
	return fmt.Sprintf(`{"n":"engagement","u":"https://example.org%s","d":"example.org","e":%d}`, path, ms)
}

func TestVisitKeepsItsFirstAttributes(t *testing.T) {
	r := newRig(t)
	first := r.hit(t, `{"n":"pageview","u":"https://example.org/in?utm_campaign=c&gclid=1","d":"example.org","r":"https://www.google.com/search?q=x"}`)
	r.clock.add(29 * time.Minute)
	second := r.hit(t, page("/next"))
	if second.Visit != first.Visit {
		t.Errorf("got  %+v\nwant %+v", second.Visit, first.Visit)
	}
	if second.Page != "/next" || first.Visit.EntryPage != "/in" || first.Visit.Source != "Google" || first.Visit.UTMCampaign != "c" || first.Visit.ClickID != "gclid" {
		t.Errorf("%+v", first)
	}
	r.clock.add(29 * time.Minute)
	if e := r.hit(t, named("Click", "/next")); e.Visit != first.Visit {
		t.Error("a custom event left the visit")
	}
	r.clock.add(29 * time.Minute)
	if e := r.hit(t, engaged(1000, "/next")); e.Visit != first.Visit {
		t.Error("engagement left the visit")
	}
	r.clock.add(29 * time.Minute)
	if e := r.hit(t, page("/")); e.Visit != first.Visit {
		t.Error("engagement did not extend the visit")
	}
	r.clock.add(30 * time.Minute)
	if e := r.hit(t, page("/late")); e.Visit.ID == first.Visit.ID || e.Visit.EntryPage != "/late" || e.Visit.Source != "" {
		t.Errorf("30 minutes did not end the visit: %+v", e.Visit)
	}
}

func TestVisitOfACampaign(t *testing.T) {
	r := newRig(t)
	direct := r.hit(t, page("/"))
	a := r.hit(t, page("/?utm_source=a"))
	if a.Visit.ID == direct.Visit.ID || a.Visit.UTMSource != "a" {
		t.Errorf("a campaign began no visit: %+v", a.Visit)
	}
	if e := r.hit(t, page("/?utm_source=a")); e.Visit.ID != a.Visit.ID {
		t.Error("loading the page again began a visit")
	}
	if e := r.hit(t, page("/x")); e.Visit.ID != a.Visit.ID {
		t.Error("a page without campaign began a visit")
	}
	if e := r.hit(t, named("Click", "/?utm_source=b")); e.Visit.ID != a.Visit.ID {
		t.Error("a custom event with a campaign began a visit")
	}
	b := r.hit(t, page("/?utm_source=a&utm_medium=cpc"))
	if b.Visit.ID == a.Visit.ID {
		t.Error("another medium began no visit")
	}
	c := r.hit(t, page("/?gclid=1"))
	if c.Visit.ID == b.Visit.ID || c.Visit.ClickID != "gclid" {
		t.Error("a click began no visit")
	}
	d := r.hit(t, page("/?ref=friend.example"))
	if d.Visit.ID == c.Visit.ID || d.Visit.Source != "friend.example" {
		t.Errorf("a reference began no visit: %+v", d.Visit)
	}
	if e := r.hit(t, page("/?ref=friend.example")); e.Visit.ID != d.Visit.ID {
		t.Error("the same reference began a visit")
	}
}

func TestVisitEndsAtTheSitesMidnight(t *testing.T) {
	r := newRig(t)
	r.clock.t = time.Date(2026, 11, 24, 22, 50, 0, 0, time.UTC) // 23:50 in Berlin
	first := r.hit(t, page("/"))
	week := r.hit(t, `{"n":"pageview","u":"https://deaf.example/","d":"deaf.example"}`)
	r.clock.add(9 * time.Minute)
	if e := r.hit(t, page("/")); e.Visit.ID != first.Visit.ID || e.Day != first.Day {
		t.Error("the visit ended before midnight")
	}
	r.clock.add(time.Minute)
	after := r.hit(t, page("/"))
	if after.Day != first.Day+1 || after.Visit.ID == first.Visit.ID || after.VisitorID == first.VisitorID {
		t.Errorf("across midnight: day %s, same visit %v, same visitor %v", after.Day, after.Visit.ID == first.Visit.ID, after.VisitorID == first.VisitorID)
	}
	if e := r.hit(t, engaged(60000, "/")); e.Visit.ID != after.Visit.ID {
		t.Error("engagement after midnight is not in the new visit")
	}
	// A window of a week keeps the visitor, and ends the visit all the same: at UTC's midnight here.
	r.hit(t, `{"n":"pageview","u":"https://deaf.example/","d":"deaf.example"}`)
	r.clock.t = time.Date(2026, 11, 25, 0, 10, 0, 0, time.UTC)
	e := r.hit(t, `{"n":"pageview","u":"https://deaf.example/","d":"deaf.example"}`)
	if e.VisitorID != week.VisitorID || e.Visit.ID == week.Visit.ID {
		t.Errorf("week: same visitor %v, same visit %v", e.VisitorID == week.VisitorID, e.Visit.ID == week.Visit.ID)
	}
}

func TestEngagement(t *testing.T) {
	r := newRig(t)
	if e := r.hit(t, engaged(5000, "/a")); e.Visit.ID != 0 || e.VisitorID == 0 || e.Page != "/a" || e.Visit.EntryPage != "" {
		t.Errorf("without a visit: %+v", e)
	}
	first := r.hit(t, page("/a"))
	// Read for 50 minutes, then left: what began within the visit belongs to it.
	r.clock.add(50 * time.Minute)
	if e := r.hit(t, engaged(int((49*time.Minute).Milliseconds()), "/a")); e.Visit != first.Visit {
		t.Errorf("a long read left its visit: %+v", e.Visit)
	}
	if e := r.hit(t, page("/b")); e.Visit.ID != first.Visit.ID {
		t.Error("the page after a long read is in another visit")
	}
	// Not looked at for 50 minutes, then for one second: no part of it.
	r.clock.add(50 * time.Minute)
	if e := r.hit(t, engaged(1000, "/b")); e.Visit.ID != 0 {
		t.Errorf("engagement revived a visit: %+v", e.Visit)
	}
	if e := r.hit(t, page("/c")); e.Visit.ID == first.Visit.ID {
		t.Error("the visit went on")
	}
}

func TestRestore(t *testing.T) {
	r := newRig(t)
	first := r.hit(t, page("/in?utm_source=a"))
	r.clock.add(10 * time.Minute)
	second := r.hit(t, page("/next"))
	other := r.hit(t, page("/other"), "X-Forwarded-For: 203.0.113.5")
	// The same keys, another process.
	again := newRig(t, func(o *Options) { o.Keys, o.Now = r.c.keys, r.clock.now })
	again.clock = r.clock
	for _, e := range []event.Event{second, other, first} {
		again.c.Restore(&e)
	}
	unlinked, gone, old := first, first, other
	unlinked.VisitorID, gone.Site, old.Time, old.Visit.ID = 0, "gone.example", old.Time-3*3600, 5
	for _, e := range []event.Event{unlinked, gone, old} {
		again.c.Restore(&e)
	}
	if got := again.metric(t, "footfall_active_sessions"); got != 2 {
		t.Errorf("%v active, want 2", got)
	}
	again.clock.add(25 * time.Minute)
	if e := again.hit(t, page("/after")); e.Visit != first.Visit || e.VisitorID != first.VisitorID || e.Seq != second.Seq+1 {
		t.Errorf("got  %+v, place %d\nwant %+v, place %d", e.Visit, e.Seq, first.Visit, second.Seq+1)
	}
	if e := again.hit(t, page("/after"), "X-Forwarded-For: 203.0.113.5"); e.Visit != other.Visit {
		t.Error("the other visit did not go on")
	}
}

func TestRestoreTakesTheLatestVisit(t *testing.T) {
	old := event.Event{Time: 100, Day: 1, Visit: event.Visit{ID: 1, EntryPage: "/old"}}
	late := event.Event{Time: 200, Day: 1, Visit: event.Visit{ID: 2, EntryPage: "/new"}}
	for _, order := range [][]event.Event{{old, late}, {late, old}, {late, late, old, late}} {
		vs := newVisits(1 << 20)
		for _, e := range order {
			vs.restore(visitKey{visitor: 1}, &e)
		}
		e := event.Event{Time: 300, Day: 1, Kind: event.PageView}
		if !vs.join(visitKey{visitor: 1}, &e, nil, false) || e.Visit != late.Visit {
			t.Errorf("%+v", e.Visit)
		}
	}
}

func TestActiveSessions(t *testing.T) {
	r := newRig(t)
	r.hit(t, page("/"))
	r.hit(t, page("/"), "X-Forwarded-For: 203.0.113.5")
	r.hit(t, page("/"), "X-Forwarded-For: 203.0.113.6", "DNT: 1")
	if got := r.metric(t, "footfall_active_sessions"); got != 2 {
		t.Errorf("%v, want 2", got)
	}
	r.clock.add(30 * time.Minute)
	if got := r.metric(t, "footfall_active_sessions"); got != 0 {
		t.Errorf("%v after 30 minutes", got)
	}
	r.clock.add(2 * time.Hour)
	for i := range visitShards {
		r.c.visits.sweep(i, r.clock.now().Unix())
	}
	for i := range r.c.visits.shards {
		if s := &r.c.visits.shards[i]; len(s.m) != 0 || s.bytes != 0 {
			t.Errorf("shard %d has %d visits, %d bytes", i, len(s.m), s.bytes)
		}
	}
}

// TestVisitRecordHasEveryAttribute fails when a field is added to event.Visit and not here.
func TestVisitRecordHasEveryAttribute(t *testing.T) {
	var v event.Visit
	rv := reflect.ValueOf(&v).Elem()
	for i := range rv.NumField() {
		if f := rv.Field(i); f.Kind() == reflect.String {
			f.SetString(strings.Repeat("é", i*20))
		}
	}
	var got event.Visit
	decodeVisit(&got, encodeVisit(&v))
	if got != v {
		t.Errorf("got  %+v\nwant %+v", got, v)
	}
}

func TestVisitsAreBounded(t *testing.T) {
	const limit = visitShards * 20 * (visitOverhead + 40)
	vs := newVisits(limit)
	e := event.Event{Kind: event.PageView, Day: 1}
	for i := range 20000 {
		e.Time = int64(i)
		e.Visit = event.Visit{EntryPage: strings.Repeat("x", i%50)}
		vs.start(visitKey{visitor: uint64(i), site: 1}, &e, nil, false)
	}
	total, n, late := 0, 0, 0
	for i := range vs.shards {
		s := &vs.shards[i]
		if s.bytes > limit/visitShards {
			t.Errorf("shard %d has %d bytes of %d", i, s.bytes, limit/visitShards)
		}
		sum := 0
		for _, v := range s.m {
			sum += v.size()
			if n++; v.last >= 20000-2*visitShards*20 {
				late++
			}
		}
		if sum != s.bytes {
			t.Errorf("shard %d: %d bytes counted, %d there", i, s.bytes, sum)
		}
		total += s.bytes
	}
	if total < limit*8/10 {
		t.Errorf("only %d of %d bytes used", total, limit)
	}
	if late*10 < n*8 {
		t.Errorf("of %d visits kept only %d are recent", n, late)
	}
	// One that is larger than everything must not hang or stay.
	e.Visit = event.Visit{EntryPage: strings.Repeat("x", limit)}
	vs.start(visitKey{visitor: 1, site: 1}, &e, nil, false)
}

func TestOneVisitHoweverManyBeginIt(t *testing.T) {
	vs := newVisits(1 << 20)
	var ids sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 200 {
				e := event.Event{Kind: event.PageView, Day: 1, Time: 5}
				k := visitKey{visitor: uint64(i), site: 1}
				if !vs.join(k, &e, nil, false) {
					vs.start(k, &e, nil, false)
				}
				if was, loaded := ids.LoadOrStore(i, e.Visit.ID); loaded && was != e.Visit.ID {
					t.Errorf("visitor %d has two visits", i)
				}
			}
		}()
	}
	wg.Wait()
}

func TestDedupeIsBounded(t *testing.T) {
	const limit = dedupeShards * 50
	d := newDedupe(limit)
	for i := range 100000 {
		if d.add(d.key(1, fmt.Sprint(i)), int64(i/1000)) != fresh {
			t.Fatalf("%d is new", i)
		}
	}
	n := 0
	for i := range d.shards {
		s := &d.shards[i]
		n += len(s.since)
		if len(s.since) > 50 || cap(s.queue) > 8192 {
			t.Errorf("shard %d: %d ids, queue of %d", i, len(s.since), cap(s.queue))
		}
	}
	if n != limit {
		t.Errorf("%d ids remembered, want %d", n, limit)
	}
	if d.add(d.key(1, "99999"), 100) == fresh {
		t.Error("the latest id was forgotten")
	}
	if d.key(1, "a") == d.key(2, "a") || d.key(1, "a") == newDedupe(1).key(1, "a") {
		t.Error("keys do not depend on site and seed")
	}
}
