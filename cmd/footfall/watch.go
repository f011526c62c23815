package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/spool"
)

const (
	watchEvery = 10 * time.Second
	// sayAgain is how often a trouble that lasts is logged.
	sayAgain = 10 * time.Minute
	// spoolFills is the part of the spool's limit from which on it is worth a word.
	spoolFills = 0.5
	// namesSaid bounds the sites that one log line names.
	namesSaid = 20
)

// watch keeps a program from looking healthy that is dead: it tells, in the log and in metrics, of
// hits that do not reach the store, a spool that fills up, sites that have fallen silent
// and visitor keys that stand still. The engine's restarts are told by its supervisor.
//
// It only looks; nothing depends on it. Names of sites are in the log and in no label.
type watch struct {
	now     func() time.Time
	log     *slog.Logger
	spool   func() spool.Status
	limit   int64 // the spool's, bytes
	storeUp func() bool
	ready   func() string // why not, or ""
	probe   func()        // whether the spool's disk takes a write
	silent  func() []collector.Silence

	silentSites prometheus.Gauge
	stuck       map[string]prometheus.Gauge // by reason

	mu       sync.Mutex
	storeWas time.Time // when the store was last seen up, or the start
	troubles map[string]*trouble
}

// trouble is something that is wrong and lasts.
type trouble struct {
	since, said time.Time
	what        string // of it changes the log hears at once
}

// Reasons for which keys stand still.
const (
	stuckClock = "clock" // it leapt, or stands before the keys
	stuckFile  = "file"  // the new keys could not be written
)

func newWatch(a *app) (*watch, error) {
	w := &watch{
		now: a.now, log: a.log, spool: a.spool.Status, limit: int64(a.cfg.Spool.MaxBytes),
		storeUp: a.store.Up, ready: a.collector.Unready, probe: a.spool.Probe, silent: a.collector.Silent,
	}
	return w, w.register(a.registry)
}

// register makes the metrics. Those that can be worked out when asked are.
func (w *watch) register(reg prometheus.Registerer) error {
	w.storeWas, w.troubles, w.stuck = w.now(), map[string]*trouble{}, map[string]prometheus.Gauge{}
	w.silentSites = prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_quiet_sites",
		Help: "Sites that have no hits at a time when they usually have some. The log names them."})
	stuck := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "footfall_keys_stuck",
		Help: "1 while the visitor keys do not move on with the calendar, by reason."}, []string{"reason"})
	for _, reason := range []string{stuckClock, stuckFile} {
		w.stuck[reason] = stuck.WithLabelValues(reason)
	}
	for _, c := range []prometheus.Collector{w.silentSites, stuck,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_ready",
			Help: "1 while hits can be acknowledged, as /readyz says."}, func() float64 {
			if w.ready() == "" {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "footfall_store_down_seconds",
			Help: "How long the database cannot be used; 0 while it can."}, func() float64 { return w.storeDown().Seconds() }),
	} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (w *watch) run(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			w.probe()
			w.look()
		}
	}
}

// storeDown returns how long the store has been down.
func (w *watch) storeDown() time.Duration {
	up, now := w.storeUp(), w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if up {
		w.storeWas = now
		return 0
	}
	return max(now.Sub(w.storeWas), 0)
}

// look compares what is with what should be.
func (w *watch) look() {
	now, st, down := w.now(), w.spool(), w.storeDown()
	age := time.Duration(0)
	if !st.Oldest.IsZero() {
		age = now.Sub(st.Oldest)
	}
	w.tell("hits do not reach the store; they are kept on disk", age >= collector.LongWait, slog.LevelError, "",
		"oldest", age.Truncate(time.Second), "waiting", st.Events, "store_down_for", down.Truncate(time.Second))

	filled := float64(st.Bytes) / float64(w.limit)
	w.tell("the spool fills up; when it is full hits are refused", filled >= spoolFills, slog.LevelError, "",
		"full_percent", int(100*filled), "waiting", st.Events)

	silent := w.silent()
	w.silentSites.Set(float64(len(silent)))
	names := make([]string, 0, min(len(silent), namesSaid))
	for i, s := range silent {
		if i == namesSaid {
			names = append(names, fmt.Sprintf("and %d more", len(silent)-namesSaid))
			break
		}
		names = append(names, fmt.Sprintf("%s (none since %s)", s.Site, s.Since.UTC().Format(time.RFC3339)))
	}
	which := strings.Join(names, ", ")
	w.tell("sites have no hits that usually have some", len(silent) > 0, slog.LevelWarn, which, "sites", which)
}

// keysAdvanced takes note of what moving the keys on came to.
func (w *watch) keysAdvanced(err error) {
	why := ""
	switch {
	case errors.Is(err, anonymize.ErrClock):
		why = stuckClock
	case err != nil:
		why = stuckFile
	}
	for reason, gauge := range w.stuck {
		is := 0.0
		if reason == why {
			is = 1
		}
		gauge.Set(is)
	}
	w.tell("the visitor keys did not advance", err != nil, slog.LevelError, why, "error", err)
}

// tell logs a trouble when it begins, when what of it changes, now and then while it lasts, and
// when it is over.
func (w *watch) tell(name string, is bool, level slog.Level, what string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, now := w.troubles[name], w.now()
	switch {
	case !is && t == nil:
	case !is:
		delete(w.troubles, name)
		w.log.Info("over: "+name, "lasted", now.Sub(t.since).Truncate(time.Second))
	case t == nil:
		w.troubles[name] = &trouble{since: now, said: now, what: what}
		w.log.Log(context.Background(), level, name, args...)
	case t.what != what || now.Sub(t.said).Abs() >= sayAgain:
		t.said, t.what = now, what
		w.log.Log(context.Background(), level, name, args...)
	}
}
