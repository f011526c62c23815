package store

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// TestFullDisk has batches written while the engine's disk fills up and becomes free again, many
// times. What was confirmed must be there after a restart. An engine that goes on to the last byte confirms
// parts whose files are all empty.
func TestFullDisk(t *testing.T) {
	dir, err := storetest.SmallDisk(t, 160<<20)
	if err != nil {
		t.Logf("no disk is filled here: %v", err)
		return
	}
	e, err := storetest.NewEngine(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.StopEngine(e)
	s := openStore(t, Options{Engine: e})
	if err := s.Migrate(testContext(t)); err != nil {
		t.Fatal(err)
	}

	stop, filled := make(chan struct{}), make(chan struct{})
	var times atomic.Int64 // that the disk was full
	go func() {
		defer close(filled)
		fillAgainAndAgain(t, filepath.Join(dir, "filler"), stop, &times)
	}()
	const rows = 600
	confirmed := map[uint64]bool{}
	stored := 0
	enough := func() bool { return times.Load() >= 3 && stored > 0 && stored < len(confirmed) }
	begin := time.Now()
	for id := uint64(1); time.Since(begin) < 8*time.Second || !enough() && time.Since(begin) < time.Minute; id++ {
		ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
		confirmed[id] = s.Write(ctx, testBatch(id, rows)) == nil
		cancel()
		if confirmed[id] {
			stored++
		}
	}
	close(stop)
	<-filled

	pid := e.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for e.Pid() == pid {
		time.Sleep(time.Millisecond)
	}
	if err := e.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id, ok := range confirmed {
		if !ok {
			continue
		}
		var got uint64
		if err := s.writer.QueryRow(testContext(t), "SELECT count() FROM events WHERE batch_id = ?", id).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != rows {
			lost++
			t.Errorf("batch %d was confirmed, and has %d rows", id, got)
		}
	}
	t.Logf("the disk was full %d times; %d of %d batches were confirmed, %d of them lost", times.Load(), stored, len(confirmed), lost)
	if !enough() {
		t.Error("the disk was not both full and free")
	}
}

// fillAgainAndAgain fills the disk of a file at 400 MB/s, keeps it full for a while and makes
// room again. It counts how often.
func fillAgainAndAgain(t *testing.T, filler string, stop <-chan struct{}, times *atomic.Int64) {
	f, err := os.Create(filler)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for size, step := int64(0), int64(4<<20); ; {
		select {
		case <-stop:
			if err := f.Truncate(0); err != nil {
				t.Error(err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
		switch err := syscall.Fallocate(int(f.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case step > 4096:
			step /= 2
		default:
			time.Sleep(100 * time.Millisecond)
			if err := f.Truncate(0); err != nil {
				t.Error(err)
				return
			}
			times.Add(1)
			size, step = 0, 4<<20
			time.Sleep(100 * time.Millisecond)
		}
	}
}
