package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/dashboard"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/statsapi"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
	"github.com/kantarainitiative/footfall/store/engine"
)

// Time limits of a stop: together they stay below the 10 s in which SIGTERM is answered.
const (
	intakeTimeout = 2 * time.Second // for requests under way
	flushTimeout  = 4 * time.Second // for what the spool still holds; the rest waits on disk
	closeTimeout  = 2 * time.Second // for the store and its engine
)

// app is a running Footfall: the parts along the path of a hit, and the staff's side.
type app struct {
	log *slog.Logger
	tap *tapped // of log
	now func() time.Time

	mu  sync.RWMutex
	cfg *Config
	// started is the configuration at the start: some settings hold until the next one.
	started *Config
	// assessed is the last assessment by each profile.
	assessed  map[string]*policy.Assessment
	assessing sync.Mutex // one at a time

	lock      *dirLock
	audit     *policy.Audit
	registry  *prometheus.Registry
	keys      *anonymize.Ratchet
	geo       *classify.Geo
	spool     *spool.Spool
	records   *records
	disposer  *disposer
	restored  chan struct{} // closed when no stored event is going to restore a visit any more
	store     *storeConn
	collector *collector.Collector
	watch     *watch
	staff     *http.Server
	control   *http.Server
	files     *auth.Files
	oidc      *auth.OIDC // nil: none is configured
	books     *booksWatch
	notices   *policy.Notices
	receipts  *policy.Receipts

	public, private, socket net.Listener

	background context.CancelFunc // of everything that runs beside the listeners
	done       sync.WaitGroup
}

// clocks are where the program takes the time from: now is everybody's. The demo's runs ahead of the
// database, so it has another for what the ledger says of when a batch was stored.
type clocks struct {
	now    func() time.Time
	stored func() time.Time // nil: now
}

// surroundings are what the program stands on besides its configuration.
type surroundings struct {
	clocks
	files spool.FileSystem // the spool's; nil: the machine's
	// engine stands between the store and the embedded engine; nil: nothing.
	engine func(store.Engine) store.Engine
}

// newApp opens every part and binds the listeners; nothing is served yet. What was opened
// is closed again when a later part fails. The end of ctx ends every wait and is no error.
func newApp(ctx context.Context, cfg *Config, log *slog.Logger, on surroundings) (_ *app, err error) {
	now := on.now
	log, tap := newLogTap(log.Handler())
	a := &app{cfg: cfg, started: cfg, log: log, tap: tap, now: now, registry: prometheus.NewRegistry(), restored: make(chan struct{})}
	var opened []func()
	defer func() {
		if err != nil {
			for i := len(opened) - 1; i >= 0; i-- {
				opened[i]()
			}
		}
	}()
	a.books = newBooksWatch(a.registry)
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	if a.lock, err = cfg.lockData(ctx, ownerServe); err != nil {
		return nil, err
	}
	opened = append(opened, a.lock.unlock)
	a.audit = policy.NewAudit(cfg.Data, now)
	// Listeners first: a busy port is the likeliest mistake, and says so at once.
	if a.public, err = listen("listen", cfg.Listen); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.public.Close() })
	if a.private, err = listen("staff", cfg.Staff); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.private.Close() })
	if a.socket, err = engine.ListenSocket(cfg.path("control.sock")); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	opened = append(opened, func() { a.socket.Close() })

	if a.keys, err = anonymize.Open(cfg.path("keys"), anonymize.Options{Now: now, Log: log, Zones: a.zones, Erased: a.keyErased}); err != nil {
		return nil, err
	}
	if a.geo, err = openGeo(cfg); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.geo.Close() })
	if err = cfg.enforce(a.geo, now()); err != nil {
		return nil, err
	}
	if a.files, err = auth.Open(cfg.Data, now); err != nil {
		return nil, err
	}
	if a.notices, err = policy.OpenNotices(cfg.Data, now); err != nil {
		return nil, err
	}
	if a.receipts, err = policy.OpenReceipts(cfg.Data, a.notices, now); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.receipts.Close() })
	emailKey, err := email.LoadOrCreateKey(cfg.path("email.key"), now)
	if err != nil {
		return nil, err
	}
	cookies, err := anonymize.OpenCookieKey(cfg.path("cookie.key"))
	if err != nil {
		return nil, err
	}
	if a.store, err = openStoreOn(ctx, cfg, log, on, a.registry); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.store.close(context.Background()) })
	if a.spool, err = openSpool(cfg, spool.Options{Remember: collector.IDMemory, Files: on.files, Now: now, Log: log, Registerer: a.registry}); err != nil {
		return nil, err
	}
	opened = append(opened, func() { a.spool.Close(context.Background()) })
	a.spool.Probe()
	if a.records, err = newRecords(cfg.path(ordersDir), recordsOptions{
		spool: a.spool, store: a.store.Store, zone: a.zoneOf, now: now, log: log,
		forget:  func(site string, visitor uint64) { a.collector.Forget(site, visitor) },
		note:    func(action string, pairs ...string) { a.note(system, action, "", pairs...) },
		readers: store.ReportTime + time.Second, grace: inFlight,
	}); err != nil {
		return nil, err
	}
	if a.disposer, err = newDisposer(disposerOptions{
		config: a.config, store: a.store.Store, spool: a.spool, keys: a.keys.Oldest, now: now, log: log, note: a.note,
	}, a.registry); err != nil {
		return nil, err
	}
	if err = a.newCollector(emailKey, cookies); err != nil {
		return nil, err
	}
	if a.watch, err = newWatch(a); err != nil {
		return nil, err
	}
	return a, a.newStaff()
}

func (a *app) newCollector(key *email.Key, cookies *anonymize.CookieKey) error {
	agents, err := classify.NewAgents()
	if err != nil {
		return err
	}
	sources, err := classify.NewSources()
	if err != nil {
		return err
	}
	pages, err := a.cfg.noticePages(a.cfg.facts(a.publicURL(), a.geo))
	if err != nil {
		return err
	}
	return a.notices.Update(a.cfg.facts(a.publicURL(), a.geo), func(notice map[string]uint32) (err error) {
		a.collector, err = collector.New(collector.Options{
			Settings: a.cfg.collector(notice, a.geo),
			Now:      a.now, Log: a.log, Registerer: a.registry,
			Keys: a.keys, Agents: agents, Sources: sources, Spool: a.spool, EmailKey: key, CookieKey: cookies, Records: a.records,
			Receipts: a.receipts, Notices: a.notices, Notice: pages,
		})
		return err
	})
}

func (a *app) newStaff() error {
	reports := a.looks()
	stats := &statsapi.API{Reader: reports, Site: func(name string) (statsapi.Site, bool) { return a.config().apiSite(name) }, Now: a.now, Log: a.log}
	api := http.NewServeMux()
	api.HandleFunc("/api/v2/query", stats.Query)
	api.HandleFunc("/api/v2/realtime", stats.Realtime)
	api.HandleFunc("/api/v2/ledger", a.serveLedger)
	api.HandleFunc("/api/v2/", func(w http.ResponseWriter, r *http.Request) {
		auth.JSONError(w, http.StatusNotFound, "there is no such endpoint")
	})
	a.oidc = a.started.oidc()
	loginPage, err := dashboard.LoginPage()
	if err != nil {
		return err
	}
	refusedPage, err := dashboard.RefusedPage()
	if err != nil {
		return err
	}
	guard, err := auth.NewGuard(auth.Options{
		Files: a.files, Now: a.now, Log: a.log, LoginPage: loginPage, RefusedPage: refusedPage,
		Trusted: func() []netip.Prefix { return a.config().trustedProxies() },
		OIDC:    func() *auth.OIDC { return a.oidc }, Proxy: a.proxyLogin, Note: a.note,
	})
	if err != nil {
		return err
	}
	login := http.NewServeMux()
	login.HandleFunc("/login", guard.Login)
	login.HandleFunc("/login/", guard.LoginOIDC)
	login.HandleFunc("/logout", guard.Logout)
	h, err := dashboard.New(dashboard.Options{
		Reader: reports, Sites: a.sites, Auth: guard, Login: login, Stats: api,
		Foot: a.foot, Ledger: ledgerPages{a}, TooOld: a.disposer.failing,
		Staff: a.files, CheckPassword: guard.Check, Audit: auditPages{a}, Note: a.note,
		Metrics:   promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}),
		ScriptTag: func(site string) string { return beacon.ScriptTag(a.publicURL(), site) },
		PixelTag:  func(site string) string { return beacon.NoscriptTag(a.publicURL(), site) },
		Now:       a.now, Log: a.log,
	})
	if err != nil {
		return err
	}
	errorLog := stdlog.New(serverLog{a.log}, "", 0)
	a.staff = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: errorLog,
	}
	// Whoever may open the socket owns the data directory, and needs no token.
	control := http.NewServeMux()
	control.Handle("/api/", api)
	control.HandleFunc("POST /replay", a.serveReplay)
	control.HandleFunc("GET /retention", a.serveRetention)
	control.HandleFunc("POST /retention", a.serveRetention)
	a.handleProof(control)
	control.HandleFunc("POST /profile", a.serveProfile)
	control.HandleFunc("POST /subject/export", a.serveSubjectExport)
	control.HandleFunc("POST /subject/erase", a.serveSubjectErase)
	a.control = &http.Server{Handler: control, ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog}
	return nil
}

// start restores the visits under way and begins to serve.
func (a *app) start(ctx context.Context) {
	started := a.now()
	a.noteConfig(nil, a.cfg)
	a.restore(ctx) // a stop ends the wait for the store
	ctx, a.background = context.WithCancel(context.WithoutCancel(ctx))
	a.done.Go(func() { a.store.RunRollups(ctx, a.zoneOf) }) // ends with ctx, and says so
	a.done.Go(func() {
		if err := a.spool.Run(ctx, a.store); err != nil && ctx.Err() == nil {
			a.log.Error("the spool stopped", "error", err)
		}
	})
	a.done.Go(func() {
		select {
		case <-a.restored:
			a.records.run(ctx)
		case <-ctx.Done():
		}
	})
	a.done.Go(func() { a.advanceKeys(ctx) })
	a.done.Go(func() { a.watchBooks(ctx) })
	a.done.Go(func() { a.disposer.run(ctx) })
	a.done.Go(func() { a.restoreHabits(ctx, started) })
	a.done.Go(func() { logServe(a.log, "public", a.collector.Serve(a.public)) })
	a.done.Go(func() { logServe(a.log, "staff", a.staff.Serve(a.private)) })
	a.done.Go(func() { logServe(a.log, "control", a.control.Serve(a.socket)) })
}

func logServe(log *slog.Logger, which string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		log.Error("a listener stopped", "listener", which, "error", err)
	}
}

// serverLog takes what net/http's servers would print, which holds the peer's address or a
// panic's value, and tells only that something happened.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("http: panic")) {
		l.log.Error("a request of staff ended in a programming error")
	} else {
		l.log.Debug("a connection of staff failed")
	}
	return len(line), nil
}

// advanceKeys moves the keys on when a date is over, hits or not: what was said to be
// erased at an hour is erased at that hour.
func (a *app) advanceKeys(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		a.watch.keysAdvanced(a.keys.Advance())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// stop drains in the order of the path: intake, spool, store. It takes less than 10 s.
func (a *app) stop() {
	within(intakeTimeout, func(ctx context.Context) {
		if err := a.collector.Shutdown(ctx); err != nil {
			a.log.Warn("requests were cut off", "error", err)
		}
		a.staff.Shutdown(ctx)
		a.control.Shutdown(ctx)
	})
	within(flushTimeout, func(ctx context.Context) {
		if err := a.spool.Close(ctx); err != nil {
			a.log.Info("hits wait on disk for the next start", "reason", err)
		}
	})
	a.background()
	within(closeTimeout, func(ctx context.Context) { a.store.close(ctx) })
	a.done.Wait()
	a.geo.Close()
	a.receipts.Close()
	a.lock.unlock()
}

func within(d time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	f(ctx)
}

// reload puts a new configuration in force. What needs a restart is named and left as it was.
func (a *app) reload(next *Config) error {
	geo, err := openGeo(next)
	if err != nil {
		return err
	}
	if err := next.enforce(geo, a.now()); err != nil {
		geo.Close()
		return err
	}
	if err := a.notices.Update(next.facts(a.publicURLOf(next), geo), func(notice map[string]uint32) error {
		return a.collector.Configure(next.collector(notice, geo))
	}); err != nil {
		geo.Close()
		return err
	}
	a.noteConfig(a.config(), next)
	a.mu.Lock()
	old := a.started
	for name, changed := range map[string]bool{
		"listen": next.Listen != old.Listen, "staff": next.Staff != old.Staff, "data": next.Data != old.Data,
		"store": next.Store != old.Store, "spool": next.Spool != old.Spool, "oidc": !reflect.DeepEqual(next.OIDC, old.OIDC),
		"templates": next.Templates != old.Templates,
	} {
		if changed {
			a.log.Warn("this setting changes at the next start only", "setting", name)
		}
	}
	a.cfg = next
	oldGeo := a.geo
	a.geo = geo
	a.mu.Unlock()
	a.watch.keysAdvanced(a.keys.Advance()) // a new site's zone may be in another date
	// A look-up may still be under way in the old file; no request lasts a minute.
	time.AfterFunc(time.Minute, func() { oldGeo.Close() })
	return nil
}

func (a *app) config() *Config {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.cfg
}

// publicURL is the configured address, or the one that was bound: the port may have been 0.
func (a *app) publicURL() string { return a.publicURLOf(a.config()) }

func (a *app) publicURLOf(c *Config) string {
	if c.URL != "" {
		return c.publicURL()
	}
	return localURL(a.public.Addr().String())
}

// reports answers reports under the configuration in force.
func (a *app) reports() store.Reports {
	return store.Reports{Store: a.store.Store, Min: func(site string) int { return a.config().minVisitors(site) },
		Daily: func(site string) bool { return a.config().daily(site) }}
}

func (a *app) sites() []dashboard.Site {
	cfg := a.config()
	out := make([]dashboard.Site, len(cfg.Sites))
	for i, s := range cfg.Sites {
		out[i] = dashboard.Site{Domain: s.Domain, Location: s.Timezone.Location, LongIDs: s.longIDs(), Daily: s.Grain == "day"}
	}
	return out
}

// zoneOf returns a site's zone, nil for a site that is not configured any more.
func (a *app) zoneOf(site string) *time.Location {
	if s := a.config().site(site); s != nil {
		return s.Timezone.Location
	}
	return nil
}

func (a *app) zones() (out []*time.Location) {
	for _, s := range a.config().Sites {
		out = append(out, s.Timezone.Location)
	}
	return out
}
