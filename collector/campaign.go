package collector

import (
	"strings"

	"github.com/kantarainitiative/footfall/event"
)

// campaign is what the query of a page's address says of where its reader came from.
type campaign struct {
	utmSource, medium, name, content, term string

	ref     string // "ref" or "source": names a source where utm_source does not
	clickID string // the name of an advertising click parameter, never its value
}

// isZero reports whether the address said nothing.
func (c *campaign) isZero() bool { return *c == campaign{} }

// source is what the campaign names as its source.
func (c *campaign) source() string {
	if c.utmSource != "" {
		return c.utmSource
	}
	return c.ref
}

// isCampaignName reports whether a parameter is read into the visit and is never kept in a
// page. A site may allow ref and source, which pages use too.
func isCampaignName(name string, sources Sources) bool {
	return strings.HasPrefix(name, "utm_") || sources.ClickID(name) != ""
}

// readCampaign reads the campaign parameters of a query, decoding into buf. Values are
// clean and within their limits. Of a repeated parameter the first value counts.
func readCampaign(buf []byte, query string, sources Sources) (c campaign, _ []byte) {
	for query != "" {
		var name, value string
		_, name, value, query = nextPair(query)
		name, buf = unescapeQuery(buf, name)
		var to *string
		switch name {
		case "utm_source":
			to = &c.utmSource
		case "utm_medium":
			to = &c.medium
		case "utm_campaign":
			to = &c.name
		case "utm_content":
			to = &c.content
		case "utm_term":
			to = &c.term
		case "ref", "source":
			to = &c.ref
		default:
			if c.clickID == "" && value != "" {
				c.clickID = sources.ClickID(name)
			}
			continue
		}
		if *to != "" {
			continue
		}
		value, buf = unescapeValue(buf, value)
		*to = event.Clean(trim(value), event.MaxUTM)
	}
	return c, buf
}
