package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

func nothingWaits() (event.Waiting, error) { return event.Waiting{}, nil }

// books reads the ledger and fails unless each line balances.
func books(t testing.TB, s *Store, q LedgerQuery, w event.Waiting) []LedgerLine {
	t.Helper()
	lines, err := s.Ledger(testContext(t), q, func() (event.Waiting, error) { return w, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if !l.Balances() {
			t.Errorf("%s at %s does not balance: %+v", l.Site, l.Start, l)
		}
	}
	return lines
}

// wantBooks fails unless the ledger holds of a batch what is in it, each line once.
func wantBooks(t testing.TB, s *Store, b *event.Batch) {
	t.Helper()
	c, err := s.conn(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var rows, lines, counted, all uint64
	err = c.QueryRow(testContext(t), `SELECT count(), uniqExact(site, minute, outcome), sumIf(hits, outcome = 'counted'), sum(hits)
FROM ledger WHERE batch_id = ?`, b.ID).Scan(&rows, &lines, &counted, &all)
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(len(b.Events))
	for _, d := range b.Drops {
		want += d.Count
	}
	if rows != lines || counted != uint64(len(b.Events)) || all != want {
		t.Errorf("batch %x: %d rows, %d different, %d of %d events, %d of %d hits", b.ID, rows, lines, counted, len(b.Events), all, want)
	}
}

// Random batches, stored once, again as a replay and in part as a crash between the two tables
// leaves them, add up by minute, by day and as a whole to what was sent.
func TestLedgerAddsUp(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		r := rand.New(rand.NewPCG(4, 2))
		sites := []string{"example.org", "example.net", event.UnknownSite}
		reasons := []string{"bot", "malformed", "full"}
		begin := time.Date(2026, 10, 31, 23, 50, 0, 0, time.UTC)
		type key struct {
			site string
			at   time.Time
		}
		want := map[key]*LedgerLine{}
		at := func(site string, sec int64) *LedgerLine {
			k := key{site, time.Unix(sec-sec%60, 0).UTC()}
			if want[k] == nil {
				want[k] = &LedgerLine{Site: site, Start: k.at, Dropped: map[string]uint64{}}
			}
			return want[k]
		}
		var w event.Waiting
		for id := uint64(1); id <= 12; id++ {
			b := &event.Batch{ID: id}
			for range r.IntN(40) {
				sec := begin.Unix() + r.Int64N(20*60)
				e := testEvent(id<<32 + uint64(len(b.Events)))
				e.Site, e.Time, e.Day = sites[r.IntN(2)], sec, event.DayOf(time.Unix(sec, 0).UTC())
				b.Events = append(b.Events, e)
			}
			for range r.IntN(20) + 1 {
				sec := begin.Unix() + r.Int64N(20*60)
				b.Drops = append(b.Drops, event.Drop{Site: sites[r.IntN(3)], Minute: sec / 60, Reason: reasons[r.IntN(3)], Count: 1 + r.Uint64N(3)})
			}
			waits := id > 9
			for i := range b.Events {
				l := at(b.Events[i].Site, b.Events[i].Time)
				l.Received++
				if waits {
					l.Pending++
					w.Hits = append(w.Hits, event.Drop{Site: l.Site, Minute: b.Events[i].Time / 60, Count: 1})
				} else {
					l.Stored++
				}
			}
			for _, d := range b.Drops {
				l := at(d.Site, d.Minute*60)
				l.Received += d.Count
				if waits {
					l.Pending += d.Count
					w.Hits = append(w.Hits, d)
				} else {
					l.Dropped[d.Reason] += d.Count
				}
			}
			if waits {
				w.Batches = append(w.Batches, id)
			}
			switch {
			case id == 10: // not begun
				continue
			case id == 11 && len(b.Events) > 0: // events without their lines
				if err := s.writeBlock(testContext(t), b, eventBlock{b, monthsOf(b.Events)[0]}, false); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := s.Write(testContext(t), b); err != nil {
				t.Fatal(err)
			}
			if b.Replayed = true; id%3 == 0 {
				if err := s.Write(testContext(t), b); err != nil {
					t.Fatal(err)
				}
			}
			wantBooks(t, s, b)
		}

		got := books(t, s, LedgerQuery{Step: time.Minute}, w)
		if len(got) != len(want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
		for _, l := range got {
			if x := want[key{l.Site, l.Start}]; x == nil || !reflect.DeepEqual(l, *x) {
				t.Errorf("got %+v, want %+v", l, x)
			}
		}
		for _, q := range []LedgerQuery{
			{}, {Site: "example.org"}, {Step: 15 * time.Minute}, {From: begin.Add(5 * time.Minute)}, {To: begin.Add(11 * time.Minute)},
			{Site: event.UnknownSite, From: begin.Add(3 * time.Minute), To: begin.Add(14 * time.Minute), Step: 5 * time.Minute},
		} {
			sum, wanted := LedgerLine{Dropped: map[string]uint64{}}, LedgerLine{Dropped: map[string]uint64{}}
			for _, l := range books(t, s, q, w) {
				sum.Add(&l)
				if !q.From.IsZero() && l.Start.Add(max(q.Step, time.Minute)).Before(q.From) && q.Step > 0 || q.Site != "" && l.Site != q.Site {
					t.Errorf("%+v has the line %+v", q, l)
				}
			}
			for k, l := range want {
				if (q.Site == "" || q.Site == k.site) && !k.at.Before(q.From) && (q.To.IsZero() || k.at.Before(q.To)) {
					wanted.Add(l)
				}
			}
			if !reflect.DeepEqual(sum, wanted) {
				t.Errorf("%+v: got %+v, want %+v", q, sum, wanted)
			}
		}
		// Nothing waits, says the spool, but something does: the books tell.
		lines, err := s.Ledger(testContext(t), LedgerQuery{}, nothingWaits)
		if err != nil {
			t.Fatal(err)
		}
		off := 0
		for _, l := range lines {
			if !l.Balances() {
				off++
			}
		}
		if off == 0 {
			t.Error("events without their lines in the ledger balance")
		}
		stop := errors.New("stop")
		if _, err := s.Ledger(testContext(t), LedgerQuery{}, func() (event.Waiting, error) { return w, stop }); !errors.Is(err, stop) {
			t.Errorf("a spool that cannot be read: %v", err)
		}
	})
}

// Rows that are there in part are completed, told apart by what they say.
func TestLedgerPartIsCompleted(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		b := testBatch(70, 200)
		for i := range 30 {
			b.Drops = append(b.Drops, event.Drop{Site: fmt.Sprintf("s%d.example", i), Minute: testDay.Time().Unix()/60 + int64(i), Reason: "bot", Count: 2})
		}
		whole := ledgerBlocks(b)[0].(ledgerBlock)
		part := ledgerBlock{b.ID, whole.lines[5:20]}
		other := *b
		if err := s.writeBlock(testContext(t), &other, part, false); err != nil {
			t.Fatal(err)
		}
		b.Replayed = true
		if err := s.Write(testContext(t), b); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, 70, 200)
		wantBooks(t, s, b)
	})
}

// Batches stored late are told as outages, with all of their hits.
func TestOutages(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			now := testDay.Time().Add(10 * time.Hour)
			o.Now = func() time.Time { return now }
			s := openStore(t, o)
			begin := now
			write := func(id uint64, minutes ...int) {
				t.Helper()
				b := &event.Batch{ID: id}
				for _, m := range minutes {
					b.Drops = append(b.Drops, event.Drop{Site: "example.org", Minute: begin.Unix()/60 + int64(m), Reason: "bot", Count: 5})
				}
				if err := s.Write(testContext(t), b); err != nil {
					t.Fatal(err)
				}
			}
			write(1, 0)
			now = begin.Add(12 * time.Minute)
			write(2, 1, 2, 3, 8, 11) // the last is in time
			now = begin.Add(13 * time.Minute)
			write(3, 12)
			now = begin.Add(90 * time.Minute)
			write(4, 60)
			got, err := s.Outages(testContext(t), "example.org", begin, begin.Add(2*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			at := func(m int) time.Time { return begin.Add(time.Duration(m) * time.Minute) }
			want := []Outage{{at(1), at(9), 20, at(12)}, {at(60), at(61), 5, at(90)}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			if got, err := s.Outages(testContext(t), "example.net", begin, begin.Add(2*time.Hour)); err != nil || len(got) != 0 {
				t.Errorf("another site has %v, %v", got, err)
			}
		})
	}
}

// Reading the books holds back the next batch, and neither waits longer than its context.
func TestBooksHoldBackBatches(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		if err := s.Write(testContext(t), testBatch(80, 5)); err != nil {
			t.Fatal(err)
		}
		reading, goOn := make(chan struct{}), make(chan struct{})
		read := make(chan []LedgerLine, 1)
		go func() {
			lines, err := s.Ledger(testContext(t), LedgerQuery{}, func() (event.Waiting, error) {
				close(reading)
				<-goOn
				return event.Waiting{}, nil
			})
			if err != nil {
				t.Error(err)
			}
			read <- lines
		}()
		<-reading
		short, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		defer cancel()
		if err := s.Write(short, testBatch(81, 5)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a batch while the books are read: %v", err)
		}
		if rows, _ := counts(t, s, 81); rows != 0 {
			t.Errorf("%d rows came while the books were read", rows)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- s.Write(testContext(t), testBatch(81, 5)) }()
		close(goOn)
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		sum := LedgerLine{}
		for _, l := range <-read {
			sum.Add(&l)
		}
		if sum.Received != 5 || sum.Stored != 5 {
			t.Errorf("read %+v", sum)
		}
		wantOnce(t, s, 81, 5)
		books(t, s, LedgerQuery{Step: time.Minute}, event.Waiting{})
	})
}

// Where the tables are older than the ledger, the books begin after it: what came before has
// no lines in it, and is not held against it.
func TestBooksBeginWithTheLedger(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			now := testDay.Time().Add(-48 * time.Hour)
			o.Now = func() time.Time { return now }
			all, err := loadMigrations(migrationFiles)
			if err != nil {
				t.Fatal(err)
			}
			old := unpreparedStore(t, o, all[:ledgerMigration-1])
			if err := old.Migrate(testContext(t)); !errors.Is(err, errTable) { // this program wants a ledger
				t.Fatalf("without a ledger: %v", err)
			}
			now = testDay.Time().Add(12 * time.Hour)
			s := openStore(t, o)
			e := testBatch(90, 2)
			e.Events[0].Time, e.Events[1].Time = now.Unix()-3600, now.Unix()+120
			if err := s.writeBlock(testContext(t), &event.Batch{ID: 89}, eventBlock{&event.Batch{ID: 89, Events: e.Events[:1]}, []int32{0}}, false); err != nil {
				t.Fatal(err)
			}
			if err := s.Write(testContext(t), &event.Batch{ID: 90, Events: e.Events[1:]}); err != nil {
				t.Fatal(err)
			}
			lines := books(t, s, LedgerQuery{}, event.Waiting{})
			if len(lines) != 1 || lines[0].Received != 1 || lines[0].Stored != 1 {
				t.Errorf("%+v", lines)
			}
		})
	}
}
