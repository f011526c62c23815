package collector

import (
	"bytes"
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

const (
	// askingRate is how many requests for their pages one network may make a minute: enough for an
	// office in which everybody opts out at once.
	askingRate = 300
	// maxAsking is how many networks are known at a time for that.
	maxAsking = 4096
)

// publicSites is what visitors' pages know of the sites.
func publicSites(cfg *settings, updated time.Time) *privacy.Sites {
	out := make([]privacy.Site, 0, len(cfg.names))
	for _, name := range cfg.names {
		s := cfg.sites[name]
		out = append(out, privacy.Site{
			Domain: s.Domain, Hosts: s.Hostnames, Location: s.Location, Window: s.Window, Cookie: s.Cookie,
			Unlinked: s.DNT == DNTUnlinked, Dropped: s.DNT == DNTDrop,
		})
	}
	return privacy.NewSites(out, updated)
}

// visitorID is the id of a hit that is linked: that of the cookie which the visitor agreed to at
// the site, else that of the period. An e-mail's pixel or link never has the cookie's: who reads a mail
// is not to be joined with who reads the pages.
func (c *Collector) visitorID(s *site, kind event.Kind, day event.Day, now time.Time, who *visitor) uint64 {
	if s.Cookie && !isMail(kind) && len(who.consent) > 0 {
		if random, ok := privacy.ConsentOf(view(who.consent), s.tag, event.DayOf(now.UTC())); ok {
			return c.cookies.ID(s.Domain, random[:])
		}
	}
	return c.keys.ID(s.Domain, s.Window, int(day), who.addr, who.agent)
}

// Forget ends the visit that a visitor is in, so that nothing that comes later belongs to it. Call it for a visitor whose
// events are erased.
func (c *Collector) Forget(domain string, id uint64) {
	if s := c.settings.Load().sites[domain]; s != nil {
		c.visits.drop(visitKey{visitor: id, site: s.number})
	}
}

// servePerson answers what the person who is counted may ask for. The pages get the ids of who asks, and
// neither address nor agent.
func (c *Collector) servePerson(ctx *fasthttp.RequestCtx) {
	method := string(ctx.Method())
	switch method {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodPost:
	case fasthttp.MethodOptions:
		// Not for what is held: a page of another site could read the counts even without cookies, since
		// they belong to the network.
		if string(ctx.Path()) != privacy.PathMe {
			setCORS(ctx)
			preflight(ctx, "GET, HEAD, POST, OPTIONS")
			return
		}
		fallthrough
	default:
		wrongMethod(ctx, "GET, HEAD, POST")
		return
	}
	cfg := c.settings.Load()
	fields := readHeaders(ctx.Request.Header.RawHeaders())
	who, now := c.visitor(cfg, ctx, &fields), c.now()
	if who.addr.IsValid() && !cfg.proxies.trusts(who.addr) &&
		!c.asking.allow(anonymize.Truncate(who.addr, anonymize.Bits4, anonymize.Bits6), askingRate, now) {
		ctx.Response.Header.Set("Retry-After", "60")
		noStore(ctx)
		text(ctx, fasthttp.StatusTooManyRequests, "There are too many requests from your network. Try again in a minute.\n")
		return
	}
	h := &ctx.Request.Header
	c.pages.Serve(context.Background(), &privacy.Request{
		Method: method, Path: string(ctx.Path()), Query: ctx.QueryArgs(), Body: ctx.Request.Body(),
		Host: string(ctx.Host()), HTTPS: c.overTLS(cfg, ctx), Accept: string(h.Peek("Accept")),
		Origin: string(h.Peek("Origin")), FetchSite: string(h.Peek("Sec-Fetch-Site")),
		OptedOut: fields.cookies.optedOut, Consent: string(fields.cookies.consent), Signal: fields.dnt,
		Sites: cfg.public,
		Number: func(domain string, day event.Day) uint64 {
			s := cfg.sites[domain]
			return c.keys.ID(s.Domain, s.Window, int(day), who.addr, who.agent)
		},
	}, &ctx.Response)
}

// overTLS tells whether a browser's connection is encrypted: a trusted proxy says so, else the settings do.
func (c *Collector) overTLS(cfg *settings, ctx *fasthttp.RequestCtx) bool {
	if cfg.proxies.trusts(peerAddr(ctx.RemoteAddr())) {
		proto, _, _ := bytes.Cut(ctx.Request.Header.Peek("X-Forwarded-Proto"), []byte{','})
		if proto = bytes.TrimSpace(proto); len(proto) > 0 {
			return equalFold(proto, "https")
		}
	}
	return cfg.https
}
