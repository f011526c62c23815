package main

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/store"
)

const (
	booksFirst = 2 * time.Second // after the start
	booksEvery = time.Minute
	booksSpan  = 24 * time.Hour // of the books that are looked at
)

// booksWatch looks at the last day's books once a minute, for alerts.
type booksWatch struct {
	balanced prometheus.Gauge
	failed   prometheus.Counter
	hits     *prometheus.GaugeVec
}

func newBooksWatch(reg prometheus.Registerer) *booksWatch {
	w := &booksWatch{
		balanced: prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_ledger_balanced",
			Help: "1 while the last day's hits are all accounted for, 0 if not; what it was while the database does not answer, and NaN before it did once."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_ledger_checks_failed_total",
			Help: "Checks of the books that could not be made."}),
		hits: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "footfall_ledger_day_hits",
			Help: "Hits of the last 24 hours, all sites: received = stored + dropped + pending."}, []string{"account"}),
	}
	w.balanced.Set(math.NaN())
	reg.MustRegister(w.balanced, w.failed, w.hits)
	return w
}

// watchBooks runs until ctx ends.
func (a *app) watchBooks(ctx context.Context) {
	t := time.NewTimer(booksFirst)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		a.checkBooks(ctx)
		t.Reset(booksEvery)
	}
}

func (a *app) checkBooks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, booksEvery/2)
	defer cancel()
	from := a.now().Add(-booksSpan).Truncate(time.Minute)
	lines, err := a.store.Ledger(ctx, store.LedgerQuery{From: from, Step: time.Hour}, a.spool.Waiting)
	if err != nil {
		a.books.failed.Inc() // the store says by itself that it is down
		return
	}
	var sum store.LedgerLine
	off := 0
	for i := range lines {
		sum.Add(&lines[i])
		if !lines[i].Balances() {
			off++
		}
	}
	w := a.books
	for account, n := range map[string]uint64{"received": sum.Received, "stored": sum.Stored, "erased": sum.Erased, "disposed": sum.Disposed, "dropped": sum.NotCounted(), "pending": sum.Pending} {
		w.hits.WithLabelValues(account).Set(float64(n))
	}
	if off == 0 {
		w.balanced.Set(1)
		return
	}
	w.balanced.Set(0)
	a.log.Error("the books do not balance: rows of the database were lost or changed; footfall ledger says where",
		"hours", off, "received", sum.Received, "stored", sum.Stored, "erased", sum.Erased, "disposed", sum.Disposed, "dropped", sum.NotCounted(), "pending", sum.Pending)
}
