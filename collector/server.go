package collector

import (
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/collector/spool"
)

// handle answers a request. Paths are compared as fasthttp normalises them.
func (c *Collector) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if c.closing.Load() { // the server's CloseOnShutdown comes later than the end of the listener
			ctx.SetConnectionClose()
		}
	}()
	defer c.recovered(ctx)
	path := ctx.Path()
	switch string(path) {
	case "/api/event":
		c.serveEvent(ctx)
	case "/ff.gif":
		c.servePixel(ctx)
	case "/ff.js", "/js/script.js":
		c.serveScript(ctx)
	case "/healthz":
		c.serveHealth(ctx)
	case "/readyz":
		c.serveReady(ctx)
	case privacy.PathOptOut, privacy.PathConsent, privacy.PathMe, privacy.PathGPC, privacy.PathKeys, privacy.PathNotice, privacy.PathHistory:
		c.servePerson(ctx)
	default:
		if token, ok := openToken(path); ok {
			c.serveOpen(ctx, token)
			return
		}
		if token, ok := clickToken(path); ok {
			c.serveClick(ctx, token)
			return
		}
		text(ctx, fasthttp.StatusNotFound, "not found\n")
	}
}

// recovered turns a programming error into a 500. The log has the functions on the stack
// and neither their arguments nor the error's text: both can hold an address.
func (c *Collector) recovered(ctx *fasthttp.RequestCtx) {
	if recover() == nil {
		return
	}
	c.metrics.panics.Inc()
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var where []string
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		where = append(where, f.Function+":"+strconv.Itoa(f.Line))
	}
	c.log.Error("a request ended in a programming error", "stack", strings.Join(where, " "))
	ctx.Response.Reset()
	text(ctx, fasthttp.StatusInternalServerError, "internal error\n")
}

// serveEvent counts what a script sends.
func (c *Collector) serveEvent(ctx *fasthttp.RequestCtx) {
	setCORS(ctx)
	switch {
	case ctx.IsPost():
	case ctx.IsOptions():
		preflight(ctx, "POST, OPTIONS")
		return
	default:
		wrongMethod(ctx, "POST, OPTIONS")
		return
	}
	start := c.now()
	defer c.took(start)

	fields := readHeaders(ctx.Request.Header.RawHeaders())
	if fields.encoded {
		c.account(viaScript, nil, badInput, start)
		ctx.Response.Header.Set("Accept-Encoding", "identity")
		refuse(ctx, fasthttp.StatusUnsupportedMediaType, &malformed{msg: "compressed bodies are not taken"})
		return
	}
	cfg := c.settings.Load()
	body := ctx.Request.Body()
	x := c.newHit(viaScript, &fields, start)
	defer c.release(x, len(body))
	bad := x.reader.read(&x.sent, body)
	if bad == nil {
		bad = x.locate(c.sources)
	}
	if bad != nil {
		c.account(viaScript, nil, badInput, start)
		refuse(ctx, fasthttp.StatusBadRequest, bad)
		return
	}
	who := c.visitor(cfg, ctx, &fields)
	r := c.collect(cfg, x, &who)
	if r == full {
		ctx.Response.Header.Set("Retry-After", "10")
		refuse(ctx, fasthttp.StatusServiceUnavailable, &malformed{msg: "the hit cannot be kept now, send it again later"})
		return
	}
	setDropped(ctx, r)
	ctx.SetStatusCode(fasthttp.StatusAccepted)
	ctx.Response.Header.SetContentTypeBytes(contentText)
	ctx.Response.SetBodyRaw(bodyOK)
}

// servePixel counts what a page without script shows. Its answer is always the image.
func (c *Collector) servePixel(ctx *fasthttp.RequestCtx) {
	if !imageMethod(ctx) {
		return
	}
	start := c.now()
	defer c.took(start)
	c.image(ctx)
	if ctx.IsHead() {
		return // nobody looked at it
	}
	fields := readHeaders(ctx.Request.Header.RawHeaders())
	cfg := c.settings.Load()
	x := c.newHit(viaPixel, &fields, start)
	defer c.release(x, 0)
	x.readPixel(ctx.URI().QueryString(), ctx.Request.Header.Referer())
	if bad := x.locate(c.sources); bad != nil {
		c.account(viaPixel, nil, badInput, start)
		setDropped(ctx, badInput)
		return
	}
	who := c.visitor(cfg, ctx, &fields)
	setDropped(ctx, c.collect(cfg, x, &who))
}

// visitor tells who is asking.
func (c *Collector) visitor(cfg *settings, ctx *fasthttp.RequestCtx, h *headers) visitor {
	return visitor{
		addr:  cfg.proxies.client(peerAddr(ctx.RemoteAddr()), &h.forwarded),
		agent: ctx.Request.Header.UserAgent(), consent: h.cookies.consent,
	}
}

// serveScript serves the tracker.
func (c *Collector) serveScript(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		wrongMethod(ctx, "GET, HEAD")
		return
	}
	setCORS(ctx) // for a tag with integrity and crossorigin
	h := &ctx.Response.Header
	h.Set("ETag", c.script.ETag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "public, max-age=3600, stale-while-revalidate=86400")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	if matchesETag(ctx.Request.Header.Peek("If-None-Match"), c.script.ETag) {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	h.SetContentType(beacon.ScriptType)
	accept := ctx.Request.Header.Peek("Accept-Encoding")
	switch {
	case accepts(accept, "br"):
		h.Set("Content-Encoding", "br")
		ctx.Response.SetBodyRaw(c.script.Brotli)
	case accepts(accept, "gzip"):
		h.Set("Content-Encoding", "gzip")
		ctx.Response.SetBodyRaw(c.script.Gzip)
	default:
		ctx.Response.SetBodyRaw(c.script.Body)
	}
}

// serveHealth says that the process is alive.
func (c *Collector) serveHealth(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		wrongMethod(ctx, "GET, HEAD")
		return
	}
	setCORS(ctx)
	noStore(ctx)
	text(ctx, fasthttp.StatusOK, "ok\n")
}

// serveReady says whether hits can be acknowledged.
func (c *Collector) serveReady(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		wrongMethod(ctx, "GET, HEAD")
		return
	}
	setCORS(ctx)
	noStore(ctx)
	if why := c.Unready(); why != "" {
		text(ctx, fasthttp.StatusServiceUnavailable, why+"\n")
		return
	}
	// Hits are acknowledged all the same while the store is down, but whoever looks may know.
	said := "ready\n"
	if oldest := c.spool.Status().Oldest; !oldest.IsZero() {
		if age := c.now().Sub(oldest); age >= LongWait {
			said += "hits wait to be stored, the oldest for " + age.Truncate(time.Second).String() + "\n"
		}
	}
	text(ctx, fasthttp.StatusOK, said)
}

// LongWait is how long a hit may wait for the store before it is worth a word: while the store is
// up it takes seconds.
const LongWait = time.Minute

// Unready says why hits cannot be acknowledged, or "". It names no cause in the machine:
// strangers read it.
func (c *Collector) Unready() string {
	err := c.spool.Status().Err
	switch {
	case c.closing.Load(), errors.Is(err, spool.ErrClosed):
		return "shutting down"
	case errors.Is(err, spool.ErrFull):
		return "the spool is full"
	case err != nil:
		return "the spool cannot be written"
	}
	return ""
}

// unreadable answers a request that could not be read to its end. The connection is closed after it.
//
// Where it was a hit, or nobody can tell, it is in the books: whoever sent it counts it as sent. fasthttp has
// dropped the header when that is too large or broken, when a body does not come, and when chunks add up to too much.
func (c *Collector) unreadable(ctx *fasthttp.RequestCtx, err error) {
	cn, ours := ctx.Conn().(*conn)
	if ours {
		cn.linger.Store(true)
	}
	ctx.Response.Reset()
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	status, why, msg := fasthttp.StatusBadRequest, badInput, "the request cannot be read"
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status, why, msg = fasthttp.StatusRequestEntityTooLarge, tooLarge, "the body is larger than 64 KiB"
	case errors.As(err, &small):
		status, why, msg = fasthttp.StatusRequestHeaderFieldsTooLarge, tooLarge, "the header is larger than 16 KiB"
	case errors.As(err, &netErr) && netErr.Timeout():
		status, msg = fasthttp.StatusRequestTimeout, "the request took too long"
	}
	silent := ours && !cn.spoke.Load() // it was opened and nothing came: that is no request
	if !silent {
		c.metrics.refused.Inc()
		if len(ctx.Request.Header.RawHeaders()) == 0 {
			c.account(viaScript, nil, why, c.now())
		} else if v, isHit := door(ctx); isHit {
			if v == viaScript {
				setCORS(ctx)
			}
			c.account(v, nil, why, c.now())
		}
	}
	refuse(ctx, status, &malformed{msg: msg})
}

// door tells through which door a request would come, if through any.
func door(ctx *fasthttp.RequestCtx) (v via, isHit bool) {
	switch path := ctx.Path(); string(path) {
	case "/api/event":
		return viaScript, ctx.IsPost()
	case "/ff.gif":
		return viaPixel, ctx.IsGet()
	default:
		if _, isHit = openToken(path); !isHit {
			_, isHit = clickToken(path)
		}
		return viaEmail, isHit && ctx.IsGet()
	}
}
