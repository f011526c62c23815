package collector

import (
	"bytes"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/event"
)

// isMail reports whether a hit comes from a mail: an opened one, or a link in it. It is on no page of the
// site, in no visit, and never has the id of the cookie.
func isMail(k event.Kind) bool { return k == event.EmailOpen || k == event.EmailClick }

// ofMail says which mail x comes from.
func (x *hit) ofMail(campaign, message string) {
	x.source.Source, x.source.Channel = mailSource, classify.Email
	x.campaign.name, x.campaign.content = campaign, message
}

// mailSource is the source of what comes from a mail.
const mailSource = "Email"

// openToken returns the token of /o/{token}.gif.
func openToken(path []byte) (token []byte, ok bool) {
	token, ok = bytes.CutPrefix(path, []byte("/o/"))
	if !ok {
		return nil, false
	}
	token, ok = bytes.CutSuffix(token, []byte(".gif"))
	return token, ok && len(token) > 0 && bytes.IndexByte(token, '/') < 0
}

// openEmail reads the token of an e-mail pixel. Its second result is counted for a good one.
func (c *Collector) openEmail(cfg *settings, token []byte) (email.Open, reason) {
	if c.emailKey == nil || len(token) > email.MaxToken {
		return email.Open{}, badInput
	}
	open, err := c.emailKey.OpenToken(view(token), cfg.names...)
	switch {
	case errors.Is(err, email.ErrSite):
		return open, notSite
	case err != nil:
		return open, badInput
	}
	return open, counted
}

// serveOpen counts an opened e-mail. Its answer is always the image.
func (c *Collector) serveOpen(ctx *fasthttp.RequestCtx, token []byte) {
	if !imageMethod(ctx) {
		return
	}
	start := c.now()
	defer c.took(start)
	c.image(ctx)
	if ctx.IsHead() {
		return
	}
	cfg := c.settings.Load()
	open, why := c.openEmail(cfg, token)
	if why != counted {
		c.account(viaEmail, nil, why, start)
		setDropped(ctx, why)
		return
	}
	fields := readHeaders(ctx.Request.Header.RawHeaders())
	x := c.newHit(viaEmail, &fields, start)
	defer c.release(x, 0)
	x.kind = event.EmailOpen
	x.sent.name = "open"
	x.sent.domains = open.Site
	x.ofMail(open.Campaign, open.Message)
	who := c.visitor(cfg, ctx, &fields)
	setDropped(ctx, c.collect(cfg, x, &who))
}

// clickToken returns the token of /c/{token}.
func clickToken(path []byte) (token []byte, ok bool) {
	token, ok = bytes.CutPrefix(path, []byte("/c/"))
	return token, ok && len(token) > 0 && bytes.IndexByte(token, '/') < 0
}

// serveClick leads the reader of a mail on to where the link was made to lead, whatever becomes of the hit: only
// a token of this installation that has not expired leads anywhere. Nothing is looked up, so it works while
// the store is down, and where the hit cannot be kept.
func (c *Collector) serveClick(ctx *fasthttp.RequestCtx, token []byte) {
	if !ctx.IsGet() && !ctx.IsHead() {
		wrongMethod(ctx, "GET, HEAD")
		return
	}
	start := c.now()
	defer c.took(start)
	noStore(ctx)
	h := &ctx.Response.Header
	h.Set("X-Robots-Tag", "noindex, nofollow")
	cfg := c.settings.Load()
	click, why := c.readClick(cfg, token)
	if why == badInput {
		if ctx.IsGet() {
			c.account(viaEmail, nil, badInput, start)
			setDropped(ctx, badInput)
		}
		text(ctx, fasthttp.StatusNotFound, "This link is not valid, or no longer.\n")
		return
	}
	ctx.SetStatusCode(fasthttp.StatusFound)
	h.Set("Location", click.Location())
	h.Set("Referrer-Policy", "no-referrer") // where mail is read is nobody's business
	if ctx.IsHead() {
		return // nobody follows it
	}
	if why != counted {
		c.account(viaEmail, nil, why, start)
		setDropped(ctx, why)
		return
	}
	fields := readHeaders(ctx.Request.Header.RawHeaders())
	x := c.newHit(viaEmail, &fields, start)
	defer c.release(x, 0)
	x.kind = event.EmailClick
	x.sent.name = "click"
	x.sent.domains = click.Site
	x.ofMail(click.Campaign, click.Message)
	// What cannot be read as the address of a page is counted without one.
	x.page, x.buf, _ = parseURL(x.buf, click.URL)
	who := c.visitor(cfg, ctx, &fields)
	setDropped(ctx, c.collect(cfg, x, &who))
}

// readClick reads the token of a link. Its second result is counted for a good one, notSite for a good one of
// a site that is no longer configured, else badInput.
func (c *Collector) readClick(cfg *settings, token []byte) (email.Click, reason) {
	if c.emailKey == nil {
		return email.Click{}, badInput
	}
	click, err := c.emailKey.ClickToken(view(token), cfg.names...)
	switch {
	case errors.Is(err, email.ErrSite):
		return click, notSite
	case err != nil:
		return email.Click{}, badInput
	}
	return click, counted
}

// lendFromClick keeps the source of a counted click for the page view that follows it.
func (c *Collector) lendFromClick(key visitKey, x *hit) {
	if e := &x.event; e.Kind == event.EmailClick && e.VisitorID != 0 {
		c.visits.lend(key, loan{campaign: strings.Clone(e.Visit.UTMCampaign), message: strings.Clone(e.Visit.UTMContent), at: e.Time, day: e.Day})
	}
}

// borrow gives a page view the source of the click that its visitor followed before, if there is one. The
// page's own campaign parameters stay where the mail says nothing.
func (c *Collector) borrow(x *hit) {
	e := &x.event
	if e.Kind != event.PageView || x.clicker.visitor == 0 {
		return
	}
	if x.loan, x.lent = c.visits.borrow(x.clicker, e); x.lent {
		v := &e.Visit
		v.Source, v.Channel = mailSource, classify.Email
		v.UTMCampaign, v.UTMContent = x.loan.campaign, x.loan.message
	}
}
