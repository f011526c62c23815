package main

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
)

// demoClock is the program's one clock, which the demo sets while it fills the past. It
// then follows the machine's.
type demoClock struct {
	at      atomic.Int64 // Unix nanoseconds; 0: the machine's
	filling atomic.Bool
}

func (c *demoClock) now() time.Time {
	if at := c.at.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now()
}

// stored is when a batch is stored: not known while hours pass within milliseconds.
func (c *demoClock) stored() time.Time {
	if c.filling.Load() {
		return time.Time{}
	}
	return c.now()
}

// runDemo fills a site with invented traffic through the real path (every hit is a request to
// the public listener, while the program's clock moves through the weeks), then serves it, with a
// trickle of new hits. What an earlier demo filled is served as it is.
func runDemo(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("demo", s)
	days := f.Int("days", 61, "how many `days` of traffic")
	visitors := f.Float64("visitors", 350, "`visitors` on an average day")
	fill := f.Bool("fill-only", false, "fill and exit, serve nothing")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	if *days < 1 || *days > 90 || *visitors < 1 || *visitors > 100_000 {
		return usagef("--days takes 1 to 90, --visitors 1 to 100000")
	}
	if f.data == "" {
		f.data = "./data/demo"
	}
	cfg, err := f.load(demoConfig)
	if err != nil {
		return err
	}
	filled := exists(cfg.path(demoFilled))
	if !filled && exists(cfg.path("keys")) {
		return usagef("%s holds data already, and not a whole demo: the demo moves the clock, so it wants an empty directory. "+
			"Remove it, or name another with --data", cfg.Data)
	}
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	clock := &demoClock{}
	now := time.Now()
	begin := now.AddDate(0, 0, -*days).Truncate(time.Hour)
	if !filled {
		clock.at.Store(begin.UnixNano())
		clock.filling.Store(true)
	}
	hup := catchReload()
	defer signal.Stop(hup)
	a, err := newApp(ctx, cfg, log, surroundings{clocks: clocks{clock.now, clock.stored}})
	if err != nil {
		return err
	}
	a.start(ctx)
	d := &demo{clock: clock, app: a, traffic: newTraffic(uint64(begin.Unix()), *visitors, a.geo), zone: cfg.Sites[0].Timezone.Location}
	if d.key, err = email.LoadOrCreateKey(cfg.path("email.key"), clock.now); err == nil {
		if filled {
			fmt.Fprintf(s.err, "%s is filled already and served as it is. To begin anew, remove it.\n", cfg.Data)
		} else if err = d.fill(ctx, s.err, begin, now); err == nil {
			err = os.WriteFile(cfg.path(demoFilled), nil, 0o600)
		}
	}
	clock.at.Store(0)
	if err == nil && !filled {
		d.drain(ctx)
	}
	if *fill { // the last of it is stored by the stop
		a.stop()
		return err
	}
	clock.filling.Store(false)
	if err != nil || ctx.Err() != nil {
		a.stop()
		return err
	}
	live, stop := context.WithCancel(ctx)
	defer stop()
	go d.trickle(live)
	return serveStarted(ctx, s, a, hup, func() (*Config, error) { return f.load(demoConfig) })
}

// demoFilled is a file of the data directory: a demo was filled to the end.
const demoFilled = "demo"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// demoConfig is the configuration of the demo's one site. The generator stands in for a
// proxy: it says where a hit came from.
func demoConfig(c *Config) {
	site := defaultSite()
	site.Domain = demoSite
	c.Sites = []SiteConfig{site}
	c.TrustedProxies = append(c.TrustedProxies,
		prefix{netip.MustParsePrefix("127.0.0.0/8")}, prefix{netip.MustParsePrefix("::1/128")})
}

type demo struct {
	clock   *demoClock
	app     *app
	traffic *traffic
	zone    *time.Location
	key     *email.Key
	queue   hitQueue // visits run on after the hour in which they began
	client  http.Client
	sent    int
}

// fill sends the hits of [from, to) in order, with the clock at each hit's own time.
func (d *demo) fill(ctx context.Context, progress io.Writer, from, to time.Time) error {
	fmt.Fprintf(progress, "Inventing %.0f days of traffic for %s:\n", to.Sub(from).Hours()/24, demoSite)
	defer d.client.CloseIdleConnections()
	for hour := from; hour.Before(to); hour = hour.Add(time.Hour) {
		end := hour.Add(time.Hour)
		if end.After(to) {
			end = to
		}
		d.enqueue(hour, end)
		for d.queue.Len() > 0 && d.queue[0].at.Before(end) {
			h := heap.Pop(&d.queue).(demoHit)
			d.clock.at.Store(h.at.UnixNano())
			if err := d.send(ctx, h); err != nil {
				return err
			}
		}
		d.clock.at.Store(end.UnixNano())
		if done := hour.Sub(from).Hours() / to.Sub(from).Hours(); hour.In(d.zone).Hour() == 0 || !end.Before(to) {
			fmt.Fprintf(progress, "\r  %s  %3.0f %%  %d hits", hour.In(d.zone).Format(time.DateOnly), min(100, done*100+1), d.sent)
		}
	}
	fmt.Fprintf(progress, "\r  done: %d hits%20s\n", d.sent, "")
	return nil
}

// drain waits until what was filled is stored, a minute at the most.
func (d *demo) drain(ctx context.Context) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for range 1200 {
		if d.app.spool.Status().Events == 0 || ctx.Err() != nil {
			return
		}
		<-t.C
	}
}

func (d *demo) enqueue(from, to time.Time) {
	for _, h := range d.traffic.between(from.In(d.zone), to.In(d.zone)) {
		heap.Push(&d.queue, h)
	}
}

// trickle sends new hits as they fall due, until ctx ends.
func (d *demo) trickle(ctx context.Context) {
	d.queue = nil
	last := time.Now()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			d.enqueue(last, now)
			last = now
			for d.queue.Len() > 0 && !d.queue[0].at.After(now) {
				if err := d.send(ctx, heap.Pop(&d.queue).(demoHit)); err != nil && ctx.Err() == nil {
					d.app.log.Warn("a demo hit failed", "error", err)
				}
			}
		}
	}
}

func (d *demo) send(ctx context.Context, h demoHit) error {
	base := localURL(d.app.public.Addr().String())
	method, path := http.MethodPost, "/api/event"
	if h.body == nil {
		token, err := d.key.SealOpen(email.Open{Site: demoSite, Campaign: h.email.campaign, Message: h.email.message})
		if err != nil {
			return err
		}
		method, path = http.MethodGet, email.PixelURL("", token)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(h.body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", h.userAgent)
	req.Header.Set("X-Forwarded-For", h.addr.String())
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("the collector answered %s", res.Status)
	}
	d.sent++
	return nil
}

// hitQueue is a heap of hits, earliest first.
type hitQueue []demoHit

func (q hitQueue) Len() int           { return len(q) }
func (q hitQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q hitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *hitQueue) Push(h any)        { *q = append(*q, h.(demoHit)) }
func (q *hitQueue) Pop() any {
	old := *q
	h := old[len(old)-1]
	*q = old[:len(old)-1]
	return h
}
