// Package beacon holds what pages load: the tracker script and the pixel, and the
// HTML that embeds them. Its folder email has the same for HTML e-mails.
//
// Rules it keeps:
//   - The script is written in TypeScript in src/, built by build/ into dist/, and
//     committed, so that Go alone builds the program. A test builds it again and compares
//     byte for byte.
//   - At most 1,600 bytes brotli with every feature, held by a test.
//   - The script sets no cookie, and stores one flag, of who opts out by footfall.optout; it
//     reads that and two of other products. It needs no inline code and talks to no other
//     host than the one it came from, unless the page names one.
//   - The package imports none of ours and keeps no state.
//
// # The tag
//
//	<script defer src="https://stats.example.org/ff.js" data-domain="example.org"></script>
//
// Attributes of the script element, all optional:
//
//	data-domain="a,b"   the sites to count for; without it the host of the page
//	data-api="URL"      where hits go; without it /api/event on the script's own host.
//	                    Choices go to ../optout and ../consent, seen from there
//	data-consent="required"  nothing is sent before footfall.consent(true)
//	data-hash           the fragment is the route (#/users): counted and sent, else neither
//	data-props-NAME="V" a property of every page view
//
// Attributes of the page's elements: data-ff-event="Name" on a form (when it is submitted) or
// on anything else (when it is clicked) sends that event, data-ff-NAME="V" are its properties.
//
// From scripts: footfall('Signup', {props, revenue: {currency, amount}, interactive, url,
// callback}). Calls before the script has loaded are kept by
//
//	window.footfall=window.footfall||function(){(footfall.q=footfall.q||[]).push(arguments)}
//
// footfall.optout(true|false) and footfall.consent(true|false), also footfall('optout', true) and
// so on for that stub, tell the server by a form: optout=1 or 0, consent=1 or 0, and site, the
// sites of data-domain or else the page's host. What was chosen is sent again if that fails,
// as it is by then. Hits after footfall.consent wait for the answer, with which the server sets its cookie,
// or for the page to end. Before consent that is required at most 50 hits wait, in memory; it is not remembered.
// Refused, they are dropped, and so is whatever the page does until consent is given.
//
// By itself it sends "pageview", "engagement", "Outbound Link: Click" and "File Download", the
// latter two with the property url, which has no query. A page view is counted when a page is
// shown: on loading, on coming back from the back/forward cache, on activation of
// a prerendered page, when a background tab is first looked at, and when a single-page
// application changes the address (replaceState with another query alone is not a change).
//
// A person whose localStorage has footfall_ignore, plausible_ignore or umami.disabled at "true"
// or "1" is not counted.
package beacon

//go:generate go run ./build

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"html"
	"net/url"
	"strings"
)

//go:embed dist/ff.js
var script string

//go:embed dist/ff.js.br
var scriptBrotli string

//go:embed dist/ff.js.gz
var scriptGzip string

// Asset is a file as it is served: as it is, and compressed beforehand. The slices
// belong to the caller.
type Asset struct {
	Body, Gzip, Brotli []byte

	// ETag is the same for each form, hence a weak one: W/"…", quotes included. Answers
	// need `Vary: Accept-Encoding`.
	ETag string
}

// ScriptType is the Content-Type of the tracker.
const ScriptType = "text/javascript; charset=utf-8"

// Script returns the tracker. Every call copies it: call it once and keep the result.
func Script() Asset {
	sum := sha256.Sum256([]byte(script))
	return Asset{
		Body:   []byte(script),
		Gzip:   []byte(scriptGzip),
		Brotli: []byte(scriptBrotli),
		ETag:   `W/"` + hex.EncodeToString(sum[:8]) + `"`,
	}
}

// pixel is a GIF89a of one transparent dot: header, a palette of two colours, a graphic
// control extension that makes the first transparent, one image, trailer.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" +
	"!\xf9\x04\x01\x00\x00\x00\x00" +
	",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// PixelType is the Content-Type of the pixel.
const PixelType = "image/gif"

// Pixel returns the transparent GIF of 43 bytes that answers every pixel request. The
// slice belongs to the caller.
func Pixel() []byte { return []byte(pixel) }

// ScriptTag returns the HTML to paste into every page of a site: base is the public
// address of this Footfall without a path ("" for the page's own host), domain the
// site, or several with commas; "" leaves it to the page's host name.
func ScriptTag(base, domain string) string {
	tag := `<script defer src="` + html.EscapeString(join(base, "/ff.js")) + `"`
	if domain != "" {
		tag += ` data-domain="` + html.EscapeString(domain) + `"`
	}
	return tag + `></script>`
}

// NoscriptTag returns the HTML that counts page views of readers without JavaScript.
// The pixel tells the page by its Referer header, so the tag asks for a whole one: browsers
// give other hosts only the origin by default.
func NoscriptTag(base, domain string) string {
	return `<noscript><img src="` + html.EscapeString(PixelURL(base, domain)) +
		`" alt="" width="1" height="1" referrerpolicy="no-referrer-when-downgrade"></noscript>`
}

// PixelURL returns the address of the page pixel for a site; base as in [ScriptTag].
func PixelURL(base, domain string) string {
	u := join(base, "/ff.gif")
	if domain != "" {
		u += "?d=" + url.QueryEscape(domain)
	}
	return u
}

func join(base, path string) string { return strings.TrimRight(base, "/") + path }
