package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
)

// sitesPage is the list of sites.
type sitesPage struct {
	frame
	Sites []siteCard
}

type siteCard struct {
	Domain, URL string
	Figures     []figure
	Spark       string // SVG path of the last 30 days' visitors
	SparkArea   string
	Here        string
	Waiting     bool
	Unknown     bool // its figures could not be had in time
}

// Size of the small graph's drawing.
const sparkWidth, sparkHeight = 240, 40

// visible are the sites that who asks may see.
func (h *handler) visible(r *http.Request) []Site {
	var out []Site
	for _, s := range h.o.Sites() {
		if h.o.Auth.Allowed(r, s.Domain) {
			if s.Location == nil {
				s.Location = time.UTC
			}
			out = append(out, s)
		}
	}
	return out
}

// sites draws GET /: the sites, or sends on to the only one.
func (h *handler) sites(w http.ResponseWriter, r *http.Request) {
	sites := h.visible(r)
	if len(sites) == 1 {
		http.Redirect(w, r, "/"+url.PathEscape(sites[0].Domain), http.StatusFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
	defer cancel()
	p := sitesPage{frame: h.frame(r, "Sites"), Sites: make([]siteCard, len(sites))}
	// A few at a time: a store shared by many sites is asked gently.
	slots := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for i, s := range sites {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			p.Sites[i] = h.card(ctx, s)
		})
	}
	wg.Wait()
	h.render(w, r, http.StatusOK, "sites", p)
}

// card reads a site's small figures: its last 30 days.
func (h *handler) card(ctx context.Context, s Site) siteCard {
	c := siteCard{Domain: s.Domain, URL: "/" + url.PathEscape(s.Domain)}
	now := h.now().In(s.Location)
	r, err := period.Named(defaultPeriod, now, s.Location, time.Time{})
	if err != nil { // a name of the package's own
		c.Unknown = true
		return c
	}
	v := view{Site: s.Domain, Range: r, Compare: comparePrevious, Step: period.Daily, Metric: metrics()[0].Key, now: now, zone: s.Location, longIDs: s.LongIDs}
	o, err := h.o.Reader.Overview(ctx, v.overview(nil, 0))
	if err != nil {
		h.o.Log.Warn("dashboard: a site's figures could not be had", "error", errorText(err))
		c.Unknown = true
		return c
	}
	if c.Waiting = !o.HasData; c.Waiting {
		return c
	}
	c.Figures = figures(v, o)[:3]
	var top uint64
	if n := len(o.Series); n > 1 { // today is not over, and would look like a fall
		o.Series = o.Series[:n-1]
	}
	for _, x := range o.Series {
		top = max(top, x.Visitors)
	}
	c.Spark, c.SparkArea = spark(o.Series, top)
	c.Here = h.here(ctx, s.Domain)
	return c
}
