package spool

import (
	"errors"
	"os"
	"time"
)

// syncLoop brings what was written to the disk within Options.Sync. It sleeps while nothing is
// written.
func (s *Spool) syncLoop() {
	defer close(s.synced)
	for {
		select {
		case <-s.unsynced:
		case <-s.stop:
			return
		}
		t := time.NewTimer(s.sync)
		select {
		case <-t.C:
		case <-s.stop:
			t.Stop()
			return
		}
		s.syncNow()
	}
}

// syncNow syncs every file that was written, and the folder if one was made. Writes go on meanwhile.
func (s *Spool) syncNow() {
	s.writing.Lock()
	segments := s.toSync
	s.toSync = nil
	if a := s.active; a != nil && a.dirty {
		a.dirty = false
		segments = append(segments, a)
	}
	sealed := len(segments)
	if s.active != nil && sealed > 0 && segments[sealed-1] == s.active {
		sealed--
	}
	folder := s.newFiles
	s.newFiles = false
	s.writing.Unlock()

	for i, g := range segments {
		// A sealed one may have been stored and removed by now, which needs no sync.
		if err := g.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.trouble("sync", g, err)
			g.suspect.Store(true)
		}
		if i < sealed {
			g.file.Close()
		}
	}
	if folder {
		if err := s.fs.SyncDir(s.dir); err != nil {
			s.metrics.errors.WithLabelValues("sync").Inc()
			s.log.Error("spool: syncing the folder failed", "error", err)
		}
	}
}
