package spool

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one spool.
type metrics struct {
	torn         prometheus.Counter
	corrupt      prometheus.Counter
	corruptDrops prometheus.Counter
	errors       *prometheus.CounterVec // by op

	reg prometheus.Registerer
	all []prometheus.Collector
}

// newMetrics makes the metrics of s and registers them with reg, unless that is nil.
func newMetrics(s *Spool, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		torn: prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_spool_torn_total",
			Help: "Segments found cut short at start."}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_spool_corrupt_total",
			Help: "Events lost to damage of segment files; where that cannot be known, damaged places."}),
		corruptDrops: prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_spool_corrupt_drops_total",
			Help: "Notes of hits that were not counted, lost to damage of segment files."}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "footfall_spool_errors_total",
			Help: "Errors of the file system, by what was tried."}, []string{"op"}),
		reg: reg,
	}
	for _, op := range []string{"create", "write", "truncate", "sync", "seal", "read", "remove", "keep", "note"} {
		m.errors.WithLabelValues(op)
	}
	m.all = []prometheus.Collector{m.torn, m.corrupt, m.corruptDrops, m.errors,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_events",
			Help: "Events acknowledged and not stored yet."}, func() float64 { return float64(s.events.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_drops",
			Help: "Records of hits that were not counted, not stored yet."}, func() float64 { return float64(s.drops.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_unwritten_hits",
			Help: "Refused hits that there is no room to note: a kill would lose their count."}, func() float64 { return float64(s.owedHits()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_bytes",
			Help: "Size of the segment files."}, func() float64 { return float64(s.bytes.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_limit_bytes",
			Help: "The size at which hits are refused."}, func() float64 { return float64(s.maxBytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_kept_bytes",
			Help: "Size of the segment files that are stored and kept."}, s.keptSize),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_spool_oldest_seconds",
			Help: "Age of the oldest event that is not stored yet."}, s.oldestSeconds),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "footfall_spool_appended_total",
			Help: "Events written and acknowledged."}, func() float64 { return float64(s.appended.Load()) }),
	}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			return m, err
		}
	}
	return m, nil
}

func (s *Spool) keptSize() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.keptBytes)
}

func (s *Spool) oldestSeconds() float64 {
	if st := s.Status(); !st.Oldest.IsZero() {
		return max(s.now().Sub(st.Oldest).Seconds(), 0)
	}
	return 0
}

// unregister lets another spool use the same registry.
func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}
