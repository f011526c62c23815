package collector

import (
	"bytes"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/beacon"
)

// The bytes of answers that are given often. Nobody writes to them.
var (
	bodyOK      = []byte("ok")
	contentText = []byte("text/plain; charset=utf-8")
	contentGIF  = []byte(beacon.PixelType)

	keyAllowOrigin  = []byte("Access-Control-Allow-Origin")
	keyCacheControl = []byte("Cache-Control")
	keyResource     = []byte("Cross-Origin-Resource-Policy")
	valAny          = []byte("*")
	valNoStore      = []byte("no-store")
	valCrossOrigin  = []byte("cross-origin")
)

// took records how long a hit took.
func (c *Collector) took(start time.Time) {
	c.metrics.seconds.Observe(c.now().Sub(start).Seconds())
}

// setCORS lets any page read the answer, without credentials.
func setCORS(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetCanonical(keyAllowOrigin, valAny)
}

func noStore(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetCanonical(keyCacheControl, valNoStore)
}

// preflight answers what a browser asks before it sends something unusual.
func preflight(ctx *fasthttp.RequestCtx, methods string) {
	h := &ctx.Response.Header
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Allow", methods)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

func wrongMethod(ctx *fasthttp.RequestCtx, allow string) {
	ctx.Response.Header.Set("Allow", allow)
	text(ctx, fasthttp.StatusMethodNotAllowed, "method not allowed\n")
}

// imageMethod reports whether a request for an image is to be answered with it.
func imageMethod(ctx *fasthttp.RequestCtx) bool {
	setCORS(ctx)
	switch {
	case ctx.IsGet(), ctx.IsHead():
		return true
	case ctx.IsOptions():
		preflight(ctx, "GET, HEAD, OPTIONS")
	default:
		wrongMethod(ctx, "GET, HEAD, OPTIONS")
	}
	return false
}

// image answers with the pixel.
func (c *Collector) image(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	ctx.Response.Header.SetCanonical(keyResource, valCrossOrigin)
	ctx.Response.Header.SetContentTypeBytes(contentGIF)
	ctx.Response.SetBodyRaw(c.pixel)
}

// setDropped says why a hit was not counted.
func setDropped(ctx *fasthttp.RequestCtx, r reason) {
	if r == counted {
		return
	}
	h := &ctx.Response.Header
	h.Set("X-Footfall-Dropped", reasonNames[r])
	h.Set("X-Plausible-Dropped", "1")
	h.Set("Access-Control-Expose-Headers", "X-Footfall-Dropped, X-Plausible-Dropped")
}

func text(ctx *fasthttp.RequestCtx, status int, body string) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentTypeBytes(contentText)
	ctx.Response.SetBodyString(body)
}

// refuse answers a request that cannot be taken.
func refuse(ctx *fasthttp.RequestCtx, status int, bad *malformed) {
	noStore(ctx)
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType("application/json")
	b := append(ctx.Response.Body()[:0], `{"error":`...)
	b = strconv.AppendQuote(b, bad.msg)
	b = append(b, `,"field":`...)
	b = strconv.AppendQuote(b, bad.field)
	ctx.Response.SetBody(append(b, '}'))
}

// matchesETag compares weakly, as If-None-Match wants (RFC 9110, section 13.1.2).
func matchesETag(list []byte, etag string) bool {
	etag = etag[bytes.IndexByte([]byte(etag), '"'):]
	for len(list) > 0 {
		var tag []byte
		tag, list = nextToken(list)
		if string(tag) == "*" || string(bytes.TrimPrefix(tag, []byte("W/"))) == etag {
			return true
		}
	}
	return false
}

// accepts reports whether an Accept-Encoding header has coding with a weight above 0.
func accepts(list []byte, coding string) bool {
	for len(list) > 0 {
		var token []byte
		token, list = nextToken(list)
		name, params, _ := bytes.Cut(token, []byte{';'})
		if !equalFold(bytes.TrimSpace(name), coding) {
			continue
		}
		weight, ok := bytes.CutPrefix(bytes.TrimSpace(params), []byte("q="))
		if !ok {
			return true
		}
		q, err := strconv.ParseFloat(string(weight), 64)
		return err == nil && q > 0
	}
	return false
}
