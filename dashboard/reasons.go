package dashboard

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/kantarainitiative/footfall/store"
)

// reasonWords says in a few words why hits were not counted: at the foot of the dashboard, and
// as a row of the ledger's page.
func reasonWords(reason string) (short, long string) {
	switch reason {
	case "bot":
		return "robots", "Robot (user agent)"
	case "duplicate":
		return "duplicates", "Sent twice by the browser"
	case "dnt":
		return "asked not to be tracked", "Do Not Track"
	case "optout":
		return "opted out", "Opted out"
	case "consent":
		return "without consent", "Consent was not given"
	case "prefetch":
		return "prefetched", "Loaded ahead, perhaps never seen"
	case "spam":
		return "referrer spam", "Referrer spam"
	case "host":
		return "from other hosts", "On a host that is not the site’s"
	case "site":
		return "for no site here", "For a site that is not configured"
	case "pii":
		return "with personal data", "Personal data in the address or the texts"
	case "means":
		return "by means that are not used", "By script, picture or email, which the site does not use"
	case "rate":
		return "over the rate limit", "More than one network may send"
	case "malformed":
		return "malformed", "Could not be read"
	case "too_large":
		return "too large", "Larger than 64 KiB"
	case "full":
		return "refused for want of room", "Refused: no room on disk"
	}
	return reason, reason
}

// BooksOf is what a line of the ledger says at the foot of a dashboard.
func BooksOf(l store.LedgerLine, site string) *Books {
	b := &Books{Received: l.Received, Counted: l.Stored, Erased: l.Erased, Disposed: l.Disposed, Pending: l.Pending, URL: "/" + url.PathEscape(site) + "/ledger"}
	for reason, n := range l.Dropped {
		short, _ := reasonWords(reason)
		b.Dropped = append(b.Dropped, Dropped{short, n})
	}
	slices.SortFunc(b.Dropped, func(x, y Dropped) int {
		return cmp.Or(cmp.Compare(y.Hits, x.Hits), strings.Compare(x.Reason, y.Reason))
	})
	return b
}
