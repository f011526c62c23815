package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/event"
)

// via says which door a hit came through.
type via uint8

const (
	viaScript via = iota // POST /api/event
	viaPixel             // GET /ff.gif
	viaEmail             // GET /o/{token}.gif, GET /c/{token}
	vias
)

var viaNames = [vias]string{"script", "pixel", "email"}

// reason says what became of a hit at one site: counted, or why not.
type reason uint8

const (
	counted reason = iota
	notSite
	optedOut
	notHost
	dnt
	prefetch
	bot
	spam
	duplicate
	rate
	personal
	notMeans
	// The ones below are no decision about a hit: it could not be read, or not be kept.
	badInput
	tooLarge
	full
	reasons
)

// reasonNames are the values of the reason label, of X-Footfall-Dropped and in the ledger.
var reasonNames = [reasons]string{"", "site", "optout", "host", "dnt", "prefetch", "bot", "spam", "duplicate", "rate", "pii", "means", "malformed", "too_large", "full"}

// outcome is the outcome label: a rejected hit's sender was told so by its status; an image
// is always answered as one, and a link leads on.
func outcome(v via, r reason) string {
	switch {
	case r == counted:
		return "counted"
	case r >= badInput && v == viaScript:
		return "rejected"
	}
	return "dropped"
}

// metrics are the collector's own. Labels come from fixed lists.
type metrics struct {
	hits    [vias][reasons]prometheus.Counter
	robots  *prometheus.CounterVec
	seconds prometheus.Histogram
	panics  prometheus.Counter
	refused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, activeVisits func() float64) (*metrics, error) {
	m := &metrics{
		robots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "footfall_robot_hits_total",
			Help: "Requests of robots that were not counted, by kind of robot.",
		}, []string{"kind"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "footfall_request_seconds",
			Help:    "Time from a whole request to its answer, for hits.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_panics_total",
			Help: "Requests that ended in a programming error.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "footfall_bad_requests_total",
			Help: "Requests that could not be read to their end: broken, too slow, too large. Those that may have been hits are hits as well.",
		}),
	}
	hits := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "footfall_hits_total",
		Help: "Hits, one for each site that a hit names, by what became of them.",
	}, []string{"source", "outcome", "reason"})
	for v := range m.hits {
		for r := range m.hits[v] {
			m.hits[v][r] = hits.WithLabelValues(viaNames[v], outcome(via(v), reason(r)), reasonNames[r])
		}
	}
	active := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "footfall_active_sessions",
		Help: "Visits with an event within the last 30 minutes.",
	}, activeVisits)
	for _, c := range []prometheus.Collector{hits, m.robots, m.seconds, m.panics, m.refused, active} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// account is the one place that every hit passes once for each site that it names,
// whatever became of it, before it is answered. A nil site is a name that is not
// configured, or a hit that could not be read far enough to know. What was counted is in the
// spool by now; of the rest the minute and the reason are noted there, and nothing else.
func (c *Collector) account(v via, s *site, r reason, at time.Time) {
	c.metrics.hits[v][r].Inc()
	if r == counted {
		return
	}
	c.note(s, r, at, 0, "")
}

// accountPersonal is account for a hit that is dropped for personal data in it: what kinds, and
// on which page, is noted as well, so that the owner can mend the page. x's event is masked.
func (c *Collector) accountPersonal(x *hit, s *site) {
	c.metrics.hits[x.via][personal].Inc()
	c.note(s, personal, x.now, x.event.Masked, c.dropPages.of(s, x.event.Page, event.MinuteOf(x.now.Unix())))
}

// note writes in the ledger why a hit is not counted.
func (c *Collector) note(s *site, r reason, at time.Time, found event.Masked, page string) {
	d := event.Drop{Site: event.UnknownSite, Minute: event.MinuteOf(at.Unix()), Reason: reasonNames[r], Count: 1, Masked: found, Page: page}
	if s != nil {
		d.Site = s.Domain
	}
	c.spool.Drop(&d)
}
