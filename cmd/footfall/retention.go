package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

const (
	disposeFirst = time.Minute      // after the start
	disposeLook  = time.Minute      // whether a site's day is over
	disposeAfter = 20 * time.Minute // after the site's midnight: the day is closed by then
	disposeRetry = time.Hour        // after a run that failed
	disposeTime  = 6 * time.Hour    // of one run
	// disposeGrace is how long after a site's midnight a verification takes the day before as kept.
	disposeGrace = 2 * time.Hour
)

// lastPlace is the calendar of sites that are not configured any more: their days are over when they are everywhere.
func lastPlace() *time.Location { return time.FixedZone("UTC-12", -12*3600) }

// retentionOf is what is kept of a site, the default of one that is not configured.
func (c *Config) retentionOf(site string) (r retention, zone *time.Location, configured bool) {
	if s := c.site(site); s != nil {
		return s.Retention, s.Timezone.Location, true
	}
	if site == event.UnknownSite {
		return keptFor(defaultPeriod), time.UTC, false
	}
	return keptFor(defaultPeriod), lastPlace(), false
}

func (c *Config) cuts(now time.Time) func(site string) store.Cut {
	return func(site string) store.Cut {
		r, zone, _ := c.retentionOf(site)
		return r.cut(now, zone)
	}
}

// disposer removes what is too old, once a day and when it is told to, and writes a certificate of it.
type disposer struct {
	disposerOptions
	failedGauge, lastGauge prometheus.Gauge

	running sync.Mutex // a run is under way

	mu   sync.Mutex
	last *certificate // of the newest run, nil for none
	good *certificate // of the newest run that did not fail
}

// disposerOptions are the parts that a disposer uses.
type disposerOptions struct {
	config func() *Config
	store  *store.Store
	spool  *spool.Spool
	keys   func() map[anonymize.Window]time.Time // nil: there are none
	now    func() time.Time
	log    *slog.Logger
	note   func(actor, action, object string, pairs ...string) // in the audit log
}

// newDisposer returns a disposer that knows how the newest run ended.
func newDisposer(o disposerOptions, reg prometheus.Registerer) (*disposer, error) {
	d := &disposer{disposerOptions: o,
		failedGauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_retention_failed",
			Help: "1 while records are there that are older than is kept, because the last disposal failed."}),
		lastGauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_retention_last_success_seconds",
			Help: "When everything that is too old was last removed, in Unix time; before the first time, when the program was started."}),
	}
	var err error
	if d.last, d.good, err = readCertificates(o.config().Data); err != nil {
		return nil, err
	}
	d.lastGauge.Set(float64(o.now().Unix()))
	d.show()
	if reg == nil {
		return d, nil
	}
	return d, errors.Join(reg.Register(d.failedGauge), reg.Register(d.lastGauge))
}

func (d *disposer) show() {
	d.failedGauge.Set(0)
	if d.last != nil && !d.last.OK {
		d.failedGauge.Set(1)
	}
	if d.good != nil {
		d.lastGauge.Set(float64(d.good.Time.Unix()))
	}
}

// failing tells since when something of the site that is too old could not be removed, zero if it is not so.
func (d *disposer) failing(site string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil || d.last.OK {
		return time.Time{}
	}
	measured := false
	for _, l := range d.last.Left {
		measured = measured || l.Due > 0
		if l.Site == site && l.Due > 0 {
			return d.last.FailingSince
		}
	}
	if measured { // so it is other sites
		return time.Time{}
	}
	return d.last.FailingSince
}

// due tells whether a run is to begin: a site's day is over, or the policy another, or the last run failed a while ago.
func (d *disposer) due() bool {
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	now := d.now()
	switch {
	case last == nil:
		return true
	case !last.OK:
		return now.Sub(last.Time).Abs() >= disposeRetry
	}
	return !slices.Equal(last.Policy, d.policies(now.Add(-disposeAfter)))
}

// policies are the configured periods, and what they keep at an instant.
func (d *disposer) policies(now time.Time) (out []certPolicy) {
	c := d.config()
	for _, s := range c.Sites {
		out = append(out, policyOf(c, s.Domain, now))
	}
	return out
}

// run disposes until ctx ends.
func (d *disposer) run(ctx context.Context) {
	t := time.NewTimer(disposeFirst)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if d.due() {
			d.dispose(ctx, system)
		}
		t.Reset(disposeLook)
	}
}

// retention is what the store works by.
func (d *disposer) retention(now time.Time) store.Retention {
	return store.Retention{Cut: d.config().cuts(now), Held: func(ctx context.Context, take func(*event.Event) bool) (event.Waiting, error) {
		w, err := d.spool.Waiting()
		if err == nil {
			_, err = d.spool.Purge(ctx, take)
		}
		return w, err
	}}
}

// dispose makes one run, and a certificate of it, which says whether it failed. An error is that of a
// certificate that cannot be written, or of a run that the end of ctx has cut short.
func (d *disposer) dispose(ctx context.Context, actor string) (*certificate, error) {
	d.running.Lock()
	defer d.running.Unlock()
	try, cancel := context.WithTimeout(ctx, disposeTime)
	defer cancel()
	began := d.now()
	// At the hour that the scheduled run has: what a run removes does not depend on when in the day it is.
	at := began.Add(-disposeAfter)
	c := d.config()
	done, failed := d.store.Dispose(try, d.retention(at), func(site string) *time.Location {
		if s := c.site(site); s != nil {
			return s.Timezone.Location
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	cert := d.certify(began, actor, &done, failed)
	d.mu.Lock()
	if !cert.OK {
		cert.FailingSince = began
		if d.last != nil && !d.last.OK {
			cert.FailingSince = d.last.FailingSince
		}
	}
	d.mu.Unlock()
	name, hash, err := cert.write(c.Data)
	if err != nil {
		d.log.Error("the certificate of a disposal cannot be written", "error", err)
		cert.OK, cert.Errors = false, append(cert.Errors, "this certificate cannot be written: "+err.Error())
	}
	d.mu.Lock()
	d.last = cert
	if cert.OK {
		d.good = cert
	}
	d.show()
	d.mu.Unlock()
	var rows uint64
	for _, r := range cert.Removed {
		rows += r.Rows
	}
	outcome := "removed"
	if !cert.OK {
		outcome = "failed"
		d.log.Error("records that are too old could not be removed; it is tried again", "since", cert.FailingSince, "removed", rows, "certificate", name, "error", failed)
	} else {
		d.log.Info("records that are too old are removed", "rows", rows, "bytes", cert.BytesFreed, "certificate", name)
	}
	d.note(actor, policy.AuditDisposal, name, "outcome", outcome, "rows", strconv.FormatUint(rows, 10), "sha256", hash)
	return cert, err
}

// certify says what a run has done, and what is left.
func (d *disposer) certify(began time.Time, actor string, done *store.Disposal, failed error) *certificate {
	cert := d.measured(began.Add(-disposeAfter), &done.After)
	cert.Time, cert.Took, cert.By = began.UTC().Truncate(time.Millisecond), d.now().Sub(began).Round(time.Millisecond).String(), actor
	cert.OK = failed == nil
	if failed != nil {
		cert.Errors = append(cert.Errors, failed.Error())
	}
	for _, r := range done.Removed {
		cert.Removed = append(cert.Removed, certRows{r.Site, r.Kind, r.Rows})
	}
	for i := range cert.Disk {
		for _, b := range done.Before.Disk {
			if b.Kind == cert.Disk[i].Kind {
				cert.Disk[i].Before = b.Live
				cert.BytesFreed += b.Live - min(b.Live, cert.Disk[i].After)
			}
		}
	}
	return cert
}

// measured is what is held, as a certificate has it.
func (d *disposer) measured(at time.Time, h *store.Holdings) *certificate {
	c := d.config()
	cert := &certificate{Time: d.now().UTC().Truncate(time.Millisecond), Removed: []certRows{}, Errors: []string{},
		Recipients: "nothing is held by recipient: opens of mail are counted by mailing"}
	cert.Policy = d.policies(at)
	for _, l := range h.Lines {
		if !slices.ContainsFunc(cert.Policy, func(p certPolicy) bool { return p.Site == l.Site }) {
			cert.Others = appendPolicy(cert.Others, policyOf(c, l.Site, at))
		}
		cert.Left = append(cert.Left, certLeft{l.Site, l.Kind, l.Oldest.String(), l.Rows, l.Due, l.DueBytes})
	}
	for _, u := range h.Disk {
		cert.Disk = append(cert.Disk, certDisk{u.Kind, u.Live, u.Live, u.Leaves})
	}
	st := d.spool.Status()
	cert.Spool = certSpool{Bytes: st.Bytes, KeptFor: time.Duration(c.Spool.Keep).String()}
	if !st.Oldest.IsZero() {
		cert.Spool.Oldest = st.Oldest.UTC().Format(time.RFC3339)
	}
	if d.keys != nil {
		for w, day := range d.keys() {
			cert.Keys = append(cert.Keys, certKey{w.String(), day.Format(time.DateOnly)})
		}
		slices.SortFunc(cert.Keys, func(a, b certKey) int { return slices.Compare([]byte(a.Window), []byte(b.Window)) })
	}
	return cert
}

// measure looks at what is held now.
func (d *disposer) measure(ctx context.Context, grace time.Duration) (*certificate, error) {
	at := d.now().Add(-grace)
	h, err := d.store.Holdings(ctx, d.config().cuts(at))
	if err != nil {
		return nil, err
	}
	cert := d.measured(at, &h)
	cert.OK = h.Due() == 0
	for _, l := range h.Lines {
		if l.Due > 0 {
			cert.Errors = append(cert.Errors, fmt.Sprintf("%s: %d rows of %s are older than is kept, the oldest of %s", l.Site, l.Due, l.Kind, l.Oldest))
		}
	}
	return cert, nil
}

// serveRetention answers `footfall retention` on the control socket.
func (a *app) serveRetention(w http.ResponseWriter, r *http.Request) {
	var cert *certificate
	var err error
	if r.Method == http.MethodPost {
		cert, err = a.disposer.dispose(r.Context(), commandLine)
	} else {
		grace, bad := time.ParseDuration(r.URL.Query().Get("grace"))
		if bad != nil {
			grace = disposeAfter
		}
		cert, err = a.disposer.measure(r.Context(), grace)
	}
	if err != nil {
		http.Error(w, string(mustMarshal(map[string]string{"error": err.Error()})), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(cert)
}
