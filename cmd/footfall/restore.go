package main

import (
	"context"
	"time"

	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store"
)

const (
	// restoreTimeout bounds the wait for the store at start: visits that cannot be
	// restored begin anew, and hits must not wait for a database.
	restoreTimeout = 5 * time.Second
	restoreRetry   = 200 * time.Millisecond // doubled each time
)

// restore gives the collector the visits that may go on and the ids that may come again: from the
// store what is stored, from the spool what is not yet, and the ids alone of both. A store that does not answer in time is asked
// on while hits are taken already: they must not wait for it.
func (a *app) restore(ctx context.Context) {
	first, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if !a.restoreStored(first) && ctx.Err() == nil {
		a.log.Warn("the store does not answer yet: visits under way are restored when it does")
		a.done.Go(func() {
			if a.restoreStored(ctx) {
				close(a.restored)
			}
		})
	} else {
		close(a.restored)
	}
	if err := a.spool.Stored(a.collector.RestoreID); err != nil {
		a.log.Warn("ids that were stored could not be read: a hit that is sent again may count twice until the store answers", "error", err)
	}
	n := 0
	if err := a.spool.Pending(func(e *event.Event) error {
		a.restoreEvent(e)
		n++
		return nil
	}); err != nil {
		a.log.Warn("visits that wait in the spool could not be read", "error", err)
	}
	a.log.Info("visits restored from the spool", "events", n)
}

// restoreStored asks the store until it has answered or ctx ends.
func (a *app) restoreStored(ctx context.Context) bool {
	return a.askStore(ctx, "recent events", func() error {
		n := 0
		err := a.store.Recent(ctx, a.now().Add(-collector.VisitMemory), func(e *event.Event) error {
			a.restoreEvent(e)
			n++
			return nil
		})
		if err == nil {
			a.log.Info("visits restored", "events", n)
		}
		return err
	})
}

// restoreEvent restores an event's visit and id, and the id alone where the event is to be erased.
func (a *app) restoreEvent(e *event.Event) {
	if a.records.covers(e) {
		a.collector.RestoreID(e.ID, e.Time)
		return
	}
	a.collector.Restore(e)
}

// restoreHabits tells the collector what the sites' habits were before the start at started, from the
// books. Nobody waits for it.
func (a *app) restoreHabits(ctx context.Context, started time.Time) {
	a.askStore(ctx, "books", func() error {
		q := store.LedgerQuery{From: started.Add(-collector.HabitMemory), To: started.Truncate(time.Minute), Step: time.Hour}
		var waiting []event.Drop
		lines, err := a.store.Ledger(ctx, q, func() (event.Waiting, error) {
			w, err := a.spool.Waiting()
			waiting = w.Hits
			return w, err
		})
		if err != nil {
			return err
		}
		for _, l := range lines {
			if n := l.Stored + l.Erased + l.Disposed; n > 0 {
				a.collector.RestoreHabit(l.Site, l.Start, n)
			}
		}
		for _, d := range waiting { // of what waits, what will count
			if at := time.Unix(d.Minute*60, 0); d.Reason == "" && at.Before(q.To) {
				a.collector.RestoreHabit(d.Site, at.Truncate(time.Hour), d.Count)
			}
		}
		return nil
	})
}

// askStore calls ask until it succeeds or ctx ends.
func (a *app) askStore(ctx context.Context, what string, ask func() error) bool {
	for wait := restoreRetry; ; wait = min(2*wait, restoreTimeout) {
		err := ask()
		if err == nil {
			return true
		}
		a.log.Debug("the store did not tell the "+what, "error", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}
