package store

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store/storetest"
)

// victim is a database of a test's own that can be hurt.
type victim struct {
	options Options
	pause   func() error
	resume  func() error
	kill    func()
	revive  func() error // after kill
}

func victims() map[string]func(t testing.TB) *victim {
	return map[string]func(t testing.TB) *victim{
		"server": func(t testing.TB) *victim {
			s := storetest.StartServer(t)
			return &victim{Options{URL: s.NewURL()}, s.Pause, s.Resume, s.Kill, s.Restart}
		},
		"engine": func(t testing.TB) *victim {
			e := storetest.StartEngine(t)
			return &victim{
				options: Options{Engine: e},
				pause:   func() error { return syscall.Kill(e.Pid(), syscall.SIGSTOP) },
				resume:  func() error { return syscall.Kill(e.Pid(), syscall.SIGCONT) },
				kill:    func() { syscall.Kill(e.Pid(), syscall.SIGKILL) },
				revive:  func() error { return nil }, // its supervisor does
			}
		},
	}
}

func onEachVictim(t *testing.T, test func(t *testing.T, v *victim)) {
	for name, start := range victims() {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

// cleanSizes returns the bytes of a write of a batch like those of a test, each way, with
// the store's connections already there.
func cleanSizes(t testing.TB, s *Store, p *proxy, rows int) [2]int64 {
	t.Helper()
	size := [2]int64{1 << 60, 1 << 60}
	for id := range uint64(3) { // a ping may fall into one of them
		p.arm(upward, 1<<60, nil)
		if err := s.Write(testContext(t), testBatch(id+1, rows)); err != nil {
			t.Fatal(err)
		}
		for d, n := range p.bytes() {
			size[d] = min(size[d], n)
		}
		p.disarm()
		wantOnce(t, s, id+1, rows)
	}
	return size
}

// TestCutConnections cuts the connection of an insert at many places, in both directions.
func TestCutConnections(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			direct := b.options(t)
			o, p := throughProxy(t, direct)
			o.InsertTimeout = 10 * time.Second
			s := openStore(t, o)
			const rows = 2000
			if err := s.Write(testContext(t), testBatch(99, 1)); err != nil { // connect
				t.Fatal(err)
			}
			size := cleanSizes(t, s, p, rows)
			id := uint64(100)
			cutAt := func(d direction, at int64) {
				t.Helper()
				id++
				p.arm(d, at, func() bool { return true })
				if err := s.Write(testContext(t), testBatch(id, rows)); err != nil {
					t.Fatal(err)
				}
				if !p.disarm() {
					t.Errorf("nothing was cut at byte %d of %d, direction %d", at, size[d], d)
				}
				wantOnce(t, s, id, rows)
			}
			const places = 12
			for _, d := range []direction{upward, downward} {
				for i := range int64(places) {
					cutAt(d, size[d]*(i+1)/(places+1))
				}
			}
			// All is done, and only the end of the answer missing. A slow server's reports of
			// progress can push the end further away.
			found := func() float64 { return value(s.metrics.ambiguous.WithLabelValues(foundStored)) }
			for tries := 0; tries < 10 && (tries == 0 || found() == 0); tries++ {
				cutAt(downward, size[downward]-1)
			}
			stored := found()
			absent := value(s.metrics.ambiguous.WithLabelValues(foundAbsent))
			t.Logf("asked: %v stored, %v absent", stored, absent)
			if stored == 0 || absent == 0 {
				t.Error("the cuts did not leave both answers in doubt")
			}
		})
	}
}

// TestPausedDatabase stops the process in the middle of an insert, lets the attempt time
// out and lets it go on. What was in its buffers must not be stored a second time.
func TestPausedDatabase(t *testing.T) {
	onEachVictim(t, func(t *testing.T, v *victim) {
		o, p := throughProxy(t, v.options)
		s := openStore(t, o)
		if err := s.Migrate(testContext(t)); err != nil {
			t.Fatal(err)
		}
		const rows = 2000
		s.insertTimeout = 10 * time.Second
		size := cleanSizes(t, s, p, rows)
		s.insertTimeout = 500 * time.Millisecond
		const places = 4
		for i := range int64(places) {
			at := size[upward] * (i + 1) / (places + 1)
			id := uint64(200 + i)
			failed := func() float64 {
				return value(s.metrics.retries.WithLabelValues(retryUnanswered)) +
					value(s.metrics.retries.WithLabelValues(retryUnreachable))
			}
			before := failed()
			p.arm(upward, at, func() bool {
				if err := v.pause(); err != nil {
					t.Error(err)
				}
				return false
			})
			done := make(chan error, 1)
			go func() { done <- s.Write(testContext(t), testBatch(id, rows)) }()
			waitFor(t, "two attempts to fail", func() bool { return failed() >= before+2 || len(done) > 0 })
			if err := v.resume(); err != nil {
				t.Fatal(err)
			}
			// The machine may be slow; attempts that hardly begin prove nothing.
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			p.disarm()
			wantOnce(t, s, id, rows)
		}
		time.Sleep(300 * time.Millisecond) // for a ghost to come in late
		for i := range uint64(places) {
			wantOnce(t, s, 200+i, rows)
		}
	})
}

// TestKilledDatabase kills the process in the middle of an insert and starts it again.
func TestKilledDatabase(t *testing.T) {
	onEachVictim(t, func(t *testing.T, v *victim) {
		o, p := throughProxy(t, v.options)
		o.InsertTimeout = 10 * time.Second
		s := openStore(t, o)
		if err := s.Migrate(testContext(t)); err != nil {
			t.Fatal(err)
		}
		const rows = 2000
		size := cleanSizes(t, s, p, rows)
		for i := range int64(5) {
			d, at := upward, size[upward]*(i+1)/5
			if i == 4 { // at the answer, when the rows are written
				d, at = downward, size[downward]-1
			}
			id := uint64(300 + i)
			killed := make(chan struct{})
			p.arm(d, max(at, 1), func() bool {
				v.kill()
				close(killed)
				return true
			})
			done := make(chan error, 1)
			go func() { done <- s.Write(testContext(t), testBatch(id, rows)) }()
			select {
			case <-killed:
			case err := <-done:
				t.Fatalf("nothing was killed at byte %d; error %v", at, err)
			}
			if err := v.revive(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, id, rows)
		}
		wantOnce(t, s, 1, rows)
	})
}

// TestReplay writes batches again, as the next process does with segments it finds.
func TestReplay(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o := b.options(t)
			first := openStore(t, o)
			batch := testBatch(5, 300)
			for i := range batch.Events[:100] {
				batch.Events[i].Day += 40 // of another month
			}
			if err := first.Write(testContext(t), batch); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, first, 5, 300)
			first.Close()

			s := openStore(t, o)
			batch.Replayed = true
			for range 2 {
				if err := s.Write(testContext(t), batch); err != nil {
					t.Fatal(err)
				}
				wantOnce(t, s, 5, 300)
			}
			// One that was not stored, and one of which only a month was.
			fresh := testBatch(6, 300)
			fresh.Replayed = true
			if err := s.Write(testContext(t), fresh); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, 6, 300)
			half := testBatch(7, 300)
			for i := range half.Events[:100] {
				half.Events[i].Day += 40
			}
			if err := s.Write(testContext(t), &event.Batch{ID: 7, Events: half.Events[:100]}); err != nil {
				t.Fatal(err)
			}
			half.Replayed = true
			if err := s.Write(testContext(t), half); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, 7, 300)
		})
	}
}

// TestReplayInTheSameProcess gives a batch up in the middle and writes it again.
func TestReplayInTheSameProcess(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			o, p := throughProxy(t, b.options(t))
			s := openStore(t, o)
			if err := s.Migrate(testContext(t)); err != nil {
				t.Fatal(err)
			}
			size := cleanSizes(t, s, p, 500)
			ctx, cancel := context.WithCancel(context.Background())
			p.arm(downward, size[downward]-1, func() bool { cancel(); return true }) // stored, and the answer lost
			if err := s.Write(ctx, testBatch(8, 500)); err == nil {
				t.Fatal("the answer came through")
			} else if ctx.Err() == nil {
				t.Fatal(err)
			}
			cancel()
			p.disarm()
			if err := s.Write(testContext(t), testBatch(8, 500)); err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, 8, 500)
		})
	}
}

// TestOrphanedInsert replays a batch while the insert of a killed process still runs on
// the server: once the orphan ends without rows, once it stores them at the last moment.
func TestOrphanedInsert(t *testing.T) {
	s := openStore(t, Options{URL: sharedServer(t).NewURL()})
	if err := s.Migrate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, finishes := range []bool{false, true} {
		t.Run(fmt.Sprintf("finishes=%v", finishes), func(t *testing.T) {
			batch := testBatch(10, 100)
			if finishes {
				batch = testBatch(11, 100)
			}
			batch.Replayed = true
			ctx := clickhouse.Context(testContext(t), clickhouse.WithQueryID(queryPrefix(batch.ID)+"0"))
			orphan, err := s.reader.PrepareBatch(ctx, insertStatement(tableEvents))
			if err != nil {
				t.Fatal(err)
			}
			if err := newEncoder().appendTo(orphan, batch, monthsOf(batch.Events)[0]); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- s.Write(testContext(t), batch) }()
			select {
			case err := <-done:
				t.Fatalf("the replay did not wait for the running insert; error %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			if finishes {
				t.Logf("the orphan's end: %v", orphan.Send())
			} else if err := orphan.Abort(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, batch.ID, 100)
		})
	}
}

// TestBatchInPart repairs what cannot happen: rows of a block that are not all there.
func TestBatchInPart(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		batch := testBatch(12, 300)
		if err := s.Write(testContext(t), &event.Batch{ID: 12, Events: batch.Events[50:120]}); err != nil {
			t.Fatal(err)
		}
		batch.Replayed = true
		if err := s.Write(testContext(t), batch); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, 12, 300)
		if n := value(s.metrics.ambiguous.WithLabelValues(foundPart)); n != 2 { // of events and of the ledger
			t.Errorf("%v blocks were found in part", n)
		}
	})
}

// TestTokenThatLies has the server remember a token whose rows it does not have, as after
// a kill between the two.
func TestTokenThatLies(t *testing.T) {
	s := openStore(t, Options{Engine: storetest.Database{Engine: sharedEngine(t), Name: "token"}})
	if err := s.Migrate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !s.caps().deduplication {
		t.Fatal("the engine has no deduplication tokens")
	}
	batch := testBatch(13, 50)
	p := &pending{batch: batch, block: eventBlock{batch, monthsOf(batch.Events)[0]}}
	other := testBatch(14, 1)
	insert := func() {
		t.Helper()
		ctx := clickhouse.Context(testContext(t),
			clickhouse.WithSettings(s.caps().insertSettings(p)), clickhouse.WithColumnNamesAndTypes(s.state.Load().columns[tableEvents]))
		raw, err := s.writer.PrepareBatch(ctx, insertStatement(tableEvents))
		if err != nil {
			t.Fatal(err)
		}
		if err := newEncoder().appendTo(raw, other, []int32{0}); err != nil {
			t.Fatal(err)
		}
		if err := raw.Send(); err != nil {
			t.Fatal(err)
		}
	}
	insert()
	insert() // the token is what makes the second one nothing
	wantOnce(t, s, 14, 1)
	batch.Replayed = true
	if err := s.Write(testContext(t), batch); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, s, 13, 50)
}

// TestUnreachableServer waits for a server that is not there yet.
func TestUnreachableServer(t *testing.T) {
	server := storetest.StartServer(t)
	server.Kill()
	// Waits so long that only the news of the server's return can end them in time.
	s := openStore(t, Options{URL: server.NewURL(), RetryMin: time.Hour, RetryMax: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.Write(ctx, testBatch(15, 10))
	if err == nil || !strings.Contains(err.Error(), "not definitely stored") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
	if s.Up() {
		t.Error("the store counts as up")
	}
	done := make(chan error, 1)
	go func() { done <- s.Write(testContext(t), testBatch(15, 10)) }()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !s.Up() {
		t.Error("the store counts as down")
	}
	wantOnce(t, s, 15, 10)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
