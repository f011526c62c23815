package collector

import (
	"net/netip"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/event"
)

// visitor is who is asking. It is on the stack of one request, ends in Collector.fill and is stored nowhere, not
// even in a hit, which is used again. It is handed on by pointer: should the program crash, Go prints the arguments
// of functions that wait for the disk, and an address must not be one.
type visitor struct {
	addr    netip.Addr
	agent   []byte // part of the request
	consent []byte // the value of the cookie that the visitor agreed to, likewise
}

// hit is one request to count something. Its texts are parts of the request and of its own
// buffers: they die when it is released, and everything that is to live longer is copied.
type hit struct {
	via      via
	kind     event.Kind
	sent     sent
	page     pageURL
	campaign campaign
	dnt      bool
	optedOut bool
	prefetch bool
	now      time.Time

	agent  classify.Agent
	source classify.Source

	reader reader
	buf    []byte
	event  event.Event
	props  []event.Prop // the properties of event, if some are masked
	tagged campaign     // the campaign of event, masked or not

	clicker visitKey // who followed a link in a mail, if this visitor did; its visitor is 0 for nobody
	lent    bool     // the event has the source of such a click,
	loan    loan     // which is this
}

// maxKept is the largest buffer that a hit keeps for the next one.
const maxKept = 16 << 10

func (c *Collector) newHit(v via, h *headers, now time.Time) *hit {
	x := c.hits.Get().(*hit)
	x.via, x.dnt, x.optedOut, x.prefetch, x.now = v, h.dnt, h.cookies.optedOut, h.prefetch, now
	return x
}

// release gives x back. Only its buffers are kept, and they are not for long either.
func (c *Collector) release(x *hit, size int) {
	if size > maxKept || cap(x.buf) > 4*maxKept {
		return // the parser of a large body holds a large multiple of it
	}
	clear(x.sent.props)
	clear(x.props)
	*x = hit{sent: sent{props: x.sent.props[:0]}, reader: x.reader, buf: x.buf[:0], props: x.props[:0]}
	c.hits.Put(x)
}

// locate takes the address of the page apart and tells what kind of hit it is.
func (x *hit) locate(sources Sources) *malformed {
	var ok bool
	x.page, x.buf, ok = parseURL(x.buf, x.sent.url)
	if !ok {
		return &malformed{msg: "must be the whole address of a page, such as https://example.org/", field: "url"}
	}
	if x.sent.domains == "" {
		if x.page.host == noHost {
			return &malformed{msg: "is missing, and the url has no host to take it from", field: "domain"}
		}
		x.sent.domains = x.page.host
	}
	if strings.Trim(x.sent.domains, ", ") == "" {
		return &malformed{msg: "must not be empty", field: "domain"}
	}
	if strings.Count(x.sent.domains, ",") >= maxDomains {
		return &malformed{msg: "names too many sites", field: "domain"}
	}
	x.campaign, x.buf = readCampaign(x.buf, x.page.query, sources)
	switch x.sent.name {
	case "pageview":
		x.kind = event.PageView
	case "engagement":
		x.kind = event.Engagement
	default:
		x.kind = event.Custom
	}
	return nil
}

// collect counts x at every site that it names. It returns counted if one of them counted
// it, full if one of them could not keep it, and else why the first of them dropped it.
//
// A hit for two sites of which only the second could not keep it is answered as if
// neither could. Whoever sends it again with the same id is counted once at both: the
// first site knows the id. Without an id the first site counts it twice, which is the
// lesser evil: a 202 would be a promise that the second site cannot hold.
func (c *Collector) collect(cfg *settings, x *hit, who *visitor) (verdict reason) {
	if !x.optedOut { // else not even what browser it is
		x.agent = c.agents.Lookup(who.agent)
	}
	if !x.optedOut && !isMail(x.kind) && x.agent.Bot == "" {
		x.agent = x.agent.WithScreen(x.sent.width)
		x.source = c.sources.Classify(x.sent.referrer, x.page.host, classify.Campaign{
			Source: x.campaign.source(), Medium: x.campaign.medium, Campaign: x.campaign.name,
			Content: x.campaign.content, Term: x.campaign.term, ClickID: x.campaign.clickID,
		})
	}
	var done [maxDomains]*site
	n := 0
	for rest := x.sent.domains; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ",")
		if name = trim(name); name == "" {
			continue
		}
		var s *site
		s, x.buf = cfg.site(x.buf, name)
		if s != nil && contains(done[:n], s) {
			continue // named twice
		}
		done[n], n = s, n+1
		r := c.collectFor(cfg, s, x, who)
		if r == personal {
			c.accountPersonal(x, s)
		} else {
			c.account(x.via, s, r, x.now)
		}
		switch {
		case n == 1, r == full, r == counted && verdict != full:
			verdict = r
		}
	}
	return verdict
}

func contains(sites []*site, s *site) bool {
	for _, have := range sites {
		if have == s {
			return true
		}
	}
	return false
}

// collectFor is the path of a hit for one of the sites it names, nil for one that is not
// configured: why it is dropped, or how it is counted.
func (c *Collector) collectFor(cfg *settings, s *site, x *hit, who *visitor) reason {
	switch {
	case x.optedOut:
		return optedOut
	case s == nil:
		return notSite
	case !s.takes(x.via):
		return notMeans
	case x.prefetch:
		return prefetch
	case x.agent.Bot != "" && !(x.kind == event.EmailOpen && x.agent.MailProxy):
		c.metrics.robots.WithLabelValues(x.agent.Bot).Inc()
		return bot
	case x.source.Spam:
		return spam
	case !isMail(x.kind) && !s.allows(x.page.host):
		return notHost
	case x.dnt && s.DNT == DNTDrop:
		return dnt
	}
	var id uint64
	if x.sent.id != "" { // one that counts already uses up nobody's allowance
		id = c.seen.key(s.number, x.sent.id)
		if c.seen.has(id, x.now.Unix()) || c.seen.has(c.eventID(s, x, s.dayAt(x.now)), x.now.Unix()) {
			return duplicate
		}
	}
	if c.limited(cfg, who.addr, x.now) {
		return rate
	}
	if x.sent.id != "" {
		switch c.seen.add(id, x.now.Unix()) {
		case taken:
			return duplicate
		case underWay: // the first one can still fail, and "duplicate" would be a promise
			return full
		}
	}
	c.fill(cfg, s, x, who)
	e := &x.event
	if s.PII != PIIOff {
		x.mask()
	}
	e.Normalize()
	if s.PII == PIIDrop && e.Masked != 0 {
		if x.sent.id != "" {
			c.seen.remove(id)
		}
		return personal
	}
	key := visitKey{visitor: e.VisitorID, site: s.number}
	started := c.enterVisit(key, x)
	if err := c.spool.Append(e); err != nil {
		// Nothing of it happened: it may be sent again.
		if x.lent {
			c.visits.lend(x.clicker, x.loan)
		}
		if started {
			c.visits.forget(key, e.Visit.ID)
		}
		if x.sent.id != "" {
			c.seen.remove(id)
		}
		return full
	}
	if x.sent.id != "" {
		c.seen.settle(id)
	}
	c.lendFromClick(key, x)
	s.habit.count(x.now.Unix())
	return counted
}

// fill makes the event of x for a site. The address and the agent end here: what is left
// of them is the truncated network, the place it is in and the keyed id.
func (c *Collector) fill(cfg *settings, s *site, x *hit, who *visitor) {
	e := &x.event
	day := s.dayAt(x.now)
	*e = event.Event{
		ID:     c.eventID(s, x, day),
		Site:   s.Domain,
		Day:    day,
		Time:   x.now.Unix(),
		Kind:   x.kind,
		Name:   x.sent.name,
		Title:  x.sent.title,
		Props:  x.sent.props,
		Notice: s.Notice,
		Visit: event.Visit{
			Referrer: x.source.Referrer, Source: x.source.Source, Channel: x.source.Channel,
			UTMSource: x.campaign.utmSource, UTMMedium: x.campaign.medium, UTMCampaign: x.campaign.name,
			UTMContent: x.campaign.content, UTMTerm: x.campaign.term, ClickID: x.source.ClickID,
			Device: x.agent.Device, Browser: x.agent.Browser, BrowserVersion: x.agent.BrowserVersion,
			OS: x.agent.OS, OSVersion: x.agent.OSVersion,
		},
	}
	if x.page.host != "" {
		e.Hostname = x.page.host
		e.Page, x.buf = appendPage(x.buf, &x.page, s.params, x.sent.hash)
	}
	switch x.kind {
	case event.Engagement:
		e.EngagedMS, e.Scroll = x.sent.engaged, x.sent.scroll
	case event.PageView:
		e.Interactive = !x.sent.passive
	case event.Custom:
		e.Interactive = !x.sent.passive
		e.Revenue, e.Currency = x.sent.revenue, x.sent.currency
	}

	x.clicker, x.lent = visitKey{site: s.number}, false
	if !x.dnt || s.DNT == DNTIgnore {
		e.VisitorID = c.visitorID(s, x.kind, e.Day, x.now, who)
		if x.clicker.visitor = e.VisitorID; s.Cookie && len(who.consent) > 0 { // the click has not the cookie's
			x.clicker.visitor = c.visitorID(s, event.EmailClick, e.Day, x.now, who)
		}
	}
	at := cfg.places.of(s.network(who.addr))
	if s.IP == anonymize.ModeTruncate {
		e.Network = at.text
	}
	// Where a mail provider's machine stands is not where the reader is.
	if !s.GeoOff && !x.agent.MailProxy {
		v := &e.Visit
		v.Country, v.Region, v.RegionName, v.City = at.where.Country, at.where.Region, at.where.RegionName, at.where.City
	}
}

// eventID is random. Where the sender gave an id it is made from that instead, with the day's key, so
// that a hit that comes again after a restart is known by what is stored of it; when the key
// is erased nobody can tell any more which id it was.
func (c *Collector) eventID(s *site, x *hit, day event.Day) uint64 {
	if x.sent.id == "" {
		return newID()
	}
	start := len(x.buf)
	x.buf = append(x.buf, x.sent.id...)
	return c.keys.ID(s.Domain, anonymize.Day, int(day), netip.Addr{}, x.buf[start:])
}

// enterVisit finds or begins the visit of x's event and reports whether it began one. Page
// views and custom events begin visits. Engagement without a visit that it could belong
// to is kept without one: it still tells how long its page was read. Email opens and clicks and
// unlinked hits are in no visit and keep their own attributes.
func (c *Collector) enterVisit(key visitKey, x *hit) (started bool) {
	e := &x.event
	if e.VisitorID == 0 || isMail(e.Kind) {
		return false
	}
	var tagged *campaign
	if !x.campaign.isZero() {
		tagged = x.maskedCampaign()
	}
	c.borrow(x)
	if c.visits.join(key, e, tagged, x.lent) || e.Kind == event.Engagement {
		return false
	}
	e.Visit.EntryPage = e.Page
	return c.visits.start(key, e, tagged, x.lent)
}
