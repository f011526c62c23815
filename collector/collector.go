// Package collector is the public listener of Footfall: it serves the tracker and the
// pixels, and takes every hit from its bytes on the wire to an event in the spool.
//
// The path of a hit is in hit.go, top to bottom. Rules it keeps:
//   - A raw IP address and a User-Agent live in the request's own scope: in fasthttp's
//     buffers and in the visitor value that ends in Collector.fill. No log line, metric,
//     error or state has either, nor a path, query or body.
//   - A 2xx answer to an event is given after the spool has taken it, or for a decision not
//     to count it, which the answer names.
//   - Every outcome of a hit goes through Collector.account.
//   - Every buffer and table is bounded; the constants beside them say by what.
//
// What the person who is counted can do is below it, in package privacy; person.go tells it who asks.
//
// What reads the bytes of strangers: address.go (forwarding headers), headers.go, parse.go
// (JSON), pixel.go (query), url.go and campaign.go (addresses). Each has a fuzz target.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

// What the collector uses, as it uses it. Everything must be safe for concurrent use.
type (
	// Spool keeps events: [spool.Spool]. Append returns once e is kept, and holds on to no
	// part of it. It reports its own failures. Drop notes hits that are not counted, and
	// never fails.
	Spool interface {
		Append(e *event.Event) error
		Drop(d *event.Drop)
		Status() spool.Status
	}
	// Keys gives visitors their ids: [anonymize.Ratchet].
	Keys interface {
		ID(site string, w anonymize.Window, day int, addr netip.Addr, userAgent []byte) uint64
	}
	// Agents classifies User-Agents and keeps none of them: [classify.Agents].
	Agents interface {
		Lookup(userAgent []byte) classify.Agent
	}
	// Sources tells where a visit came from: [classify.Sources].
	Sources interface {
		Classify(referrer, pageHost string, c classify.Campaign) classify.Source
		// ClickID returns the lower-case name of a query parameter that identifies a click,
		// "" for any other.
		ClickID(param string) string
	}
	// Places tells where a truncated address is: [classify.Geo].
	Places interface {
		Lookup(netip.Addr) classify.Place
	}
	// EmailKey reads the tokens of e-mail pixels and links: [email.Key].
	EmailKey interface {
		OpenToken(token string, sites ...string) (email.Open, error)
		ClickToken(token string, sites ...string) (email.Click, error)
	}
)

// Limits bound what the listener takes. Zero values are the defaults.
type Limits struct {
	Connections      int           // open at a time, about 24 KiB each; default 8192
	ConnectionsPerIP int           // default 0: no such limit
	ReadTimeout      time.Duration // for a whole request; default 10 s
	WriteTimeout     time.Duration // for an answer; default 10 s
	IdleTimeout      time.Duration // between requests; default 60 s
	VisitBytes       int           // memory of the visits; default 256 MiB, about a million
	IDs              int           // ids of hits remembered; default 1,048,576
	Networks         int           // networks whose rate is known; default 65,536
}

// VisitMemory is how long a visit is remembered: events older than that give [Collector.Restore]
// nothing to go on with.
const VisitMemory = visitMemory * time.Second

const (
	maxBody   = 64 << 10 // bytes of a hit
	maxHeader = 16 << 10 // bytes of a request line and all header fields
)

// Options are what a Collector is made of.
type Options struct {
	Settings // can be changed later

	Keys     Keys
	Agents   Agents
	Sources  Sources
	Spool    Spool
	EmailKey EmailKey // nil: no e-mail token is good

	// CookieKey gives ids to visitors who agreed to a cookie; nil: no site may have Cookie set.
	CookieKey *anonymize.CookieKey
	Records   privacy.Records  // nil: visitors are told that nothing can be looked up now
	Receipts  privacy.Receipts // nil: there are none

	Notices *policy.Notices      // nil: there is no notice to show
	Notice  *privacy.NoticePages // nil: the notice in our own words

	Limits     Limits
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: nothing is logged
	Registerer prometheus.Registerer
}

// Collector is the public listener. Make one with [New].
type Collector struct {
	settings atomic.Pointer[settings]
	keys     Keys
	agents   Agents
	sources  Sources
	spool    Spool
	emailKey EmailKey
	cookies  *anonymize.CookieKey
	pages    *privacy.Pages

	visits    *visits
	seen      *dedupe
	limiter   *limiter // of hits
	dropPages *dropPages
	asking    *limiter // of requests for the pages
	hits      sync.Pool
	metrics   *metrics
	script    beacon.Asset
	pixel     []byte

	now    func() time.Time
	log    *slog.Logger
	server *fasthttp.Server
	conns  connSet

	configuring sync.Mutex // guards numbers and habits
	numbers     numbers
	habits      habits
	closing     atomic.Bool
	serving     sync.Mutex // guards listener
	listener    *listener  // nil: Serve was not called yet
}

// New returns a collector that is ready to serve. It starts nothing.
func New(o Options) (*Collector, error) {
	if o.Keys == nil || o.Agents == nil || o.Sources == nil || o.Spool == nil || o.Registerer == nil {
		return nil, errors.New("collector: Keys, Agents, Sources, Spool and Registerer are required")
	}
	l := o.Limits
	c := &Collector{
		keys: o.Keys, agents: o.Agents, sources: o.Sources, spool: o.Spool, emailKey: o.EmailKey, cookies: o.CookieKey,
		visits:    newVisits(or(l.VisitBytes, maxVisitBytes)),
		seen:      newDedupe(or(l.IDs, maxIDs)),
		limiter:   newLimiter(or(l.Networks, maxNetworks)),
		dropPages: newDropPages(),
		asking:    newLimiter(maxAsking),
		hits:      sync.Pool{New: func() any { return new(hit) }},
		script:    beacon.Script(),
		pixel:     beacon.Pixel(),
		now:       o.Now,
		log:       o.Log,
		numbers:   make(numbers),
		habits:    make(habits),
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.Configure(o.Settings); err != nil {
		return nil, err
	}
	var err error
	if c.pages, err = privacy.New(privacy.Options{
		Key: o.CookieKey, Records: o.Records, Receipts: o.Receipts, Now: c.now, Log: c.log,
		Notices: o.Notices, Notice: o.Notice,
	}); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer, func() float64 { return float64(c.visits.active(c.now().Unix())) })
	if err != nil {
		return nil, err
	}
	c.metrics = m
	c.server = &fasthttp.Server{
		Handler:            c.handle,
		ErrorHandler:       c.unreadable,
		Logger:             serverLog{c.log},
		Concurrency:        or(l.Connections, 8192),
		MaxConnsPerIP:      l.ConnectionsPerIP,
		ReadTimeout:        or(l.ReadTimeout, 10*time.Second),
		WriteTimeout:       or(l.WriteTimeout, 10*time.Second),
		IdleTimeout:        or(l.IdleTimeout, 60*time.Second),
		ReadBufferSize:     maxHeader,
		MaxRequestBodySize: maxBody,

		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		LazyRequestTime:              true,
	}
	return c, nil
}

func or[T comparable](v, def T) T {
	if v == *new(T) {
		return def
	}
	return v
}

// Configure replaces the settings for all hits that begin from now on. Visits go on. An
// error says which setting is wrong, and leaves the old ones in force.
func (c *Collector) Configure(s Settings) error {
	c.configuring.Lock()
	defer c.configuring.Unlock()
	if s.Updated.IsZero() {
		s.Updated = c.now()
	}
	cfg, err := newSettings(s, c.numbers, c.sources)
	if err != nil {
		return err
	}
	for domain, s := range cfg.sites {
		if s.Cookie && c.cookies == nil {
			return fmt.Errorf("collector: site %q has a cookie, and there is no key for it", domain)
		}
		s.habit = c.habits.of(domain, c.now().Unix())
	}
	c.habits.keep(cfg.sites)
	c.settings.Store(cfg)
	return nil
}

// Restore takes over the visit and the id of an event that was counted before a restart. Call it
// for the events of the last two hours, in any order, before [Collector.Serve]
// if possible.
func (c *Collector) Restore(e *event.Event) {
	s := c.settings.Load().sites[e.Site]
	now := c.now()
	if s != nil {
		c.seen.restore(e.ID, e.Time, now.Unix())
	}
	if s != nil && e.Kind == event.EmailClick && e.VisitorID != 0 && s.dayAt(now) == e.Day {
		c.visits.restoreLoan(visitKey{visitor: e.VisitorID, site: s.number}, e, now.Unix())
	}
	if s == nil || e.VisitorID == 0 || e.Visit.ID == 0 || now.Unix()-e.Time >= visitMemory || s.dayAt(now) != e.Day {
		return
	}
	c.visits.restore(visitKey{visitor: e.VisitorID, site: s.number}, e)
}

// IDMemory is how long the id of a hit is known: what is sent again within it counts once.
const IDMemory = rememberIDs * time.Second

// RestoreID takes over the id of an event that was counted before a restart, at a Unix time. Call
// it before [Collector.Serve].
func (c *Collector) RestoreID(id uint64, at int64) {
	c.seen.restore(id, at, c.now().Unix())
}

// Serve answers requests on ln until [Collector.Shutdown], then returns nil. It
// may be called once.
func (c *Collector) Serve(ln net.Listener) error {
	l := c.conns.listen(ln)
	c.serving.Lock()
	c.listener = l
	if c.closing.Load() {
		l.Close()
	}
	c.serving.Unlock()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		c.sweep(stop)
	}()
	err := c.server.Serve(l)
	close(stop)
	<-stopped
	return err
}

// sweep forgets old visits and networks, a shard of each a second.
func (c *Collector) sweep(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for shard := 0; ; shard++ {
		select {
		case <-stop:
			return
		case <-tick.C:
			now := c.now()
			c.visits.sweep(shard, now.Unix())
			c.limiter.sweep(shard, now)
			c.asking.sweep(shard, now)
		}
	}
}

// Shutdown takes no more connections, also where Serve is called later, and waits until the requests that have begun are
// answered. Where ctx ends first it cuts their connections and returns the error of ctx.
// The spool is still open: close it afterwards.
func (c *Collector) Shutdown(ctx context.Context) error {
	c.serving.Lock()
	c.closing.Store(true)
	if c.listener != nil {
		c.listener.Close() // the server does it too, but only once Serve has reached it
	}
	c.serving.Unlock()
	err := c.server.ShutdownWithContext(ctx)
	if err != nil {
		c.conns.closeAll()
	}
	return err
}
