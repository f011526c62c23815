package store

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// instruments are the metrics of the store. Labels come from the lists here.
type instruments struct {
	insertSeconds prometheus.Histogram
	storedEvents  prometheus.Counter
	retries       *prometheus.CounterVec // reason: see the constants
	ambiguous     *prometheus.CounterVec // found: stored, absent
}

// Reasons of another attempt.
const (
	retryUnreachable = "unreachable" // nothing was sent
	retryUnanswered  = "unanswered"  // sent, and no definite answer came
	retryRefused     = "refused"     // the server or the schema says no; somebody has to act
)

// newInstruments builds the metrics and registers them where r is set. A second store on one
// registry is an error.
func newInstruments(r prometheus.Registerer, up func() bool) (*instruments, error) {
	m := &instruments{
		insertSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "footfall_insert_seconds",
			Help:    "Time of one insert of one block into the database, successful ones only.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		storedEvents: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_stored_events_total",
			Help: "Events that are definitely in the database.",
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_insert_retries_total",
			Help: "Inserts that failed and are tried again.",
		}, []string{"reason"}),
		ambiguous: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_insert_checks_total",
			Help: "Blocks of which the database was asked whether it holds them already.",
		}, []string{"found"}),
	}
	for _, v := range []string{retryUnreachable, retryUnanswered, retryRefused} {
		m.retries.WithLabelValues(v)
	}
	for _, v := range []string{foundStored, foundAbsent, foundPart} {
		m.ambiguous.WithLabelValues(v)
	}
	if r == nil {
		return m, nil
	}
	upGauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "footfall_store_up",
		Help: "1 while the database can be used.",
	}, func() float64 {
		if up() {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.insertSeconds, m.storedEvents, m.retries, m.ambiguous, upGauge} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return m, nil
}
