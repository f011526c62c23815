package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sort"
	"time"

	"github.com/kantarainitiative/footfall/collector/classify"
)

// This file invents the demo's traffic: who comes when, from where, and what they do. The
// same seed and dates give the same traffic.

// demoSite is the site that the demo fills.
const demoSite = "demo.example"

// demoHit is one request to come: at a time, to a path of the public listener.
type demoHit struct {
	at        time.Time
	addr      netip.Addr
	userAgent string
	body      []byte // of POST /api/event; nil for an email open
	email     demoEmail
}

// demoEmail names the message whose pixel is fetched.
type demoEmail struct{ campaign, message string }

type weighted[T any] struct {
	weight float64
	value  T
}

func pick[T any](r *rand.Rand, of []weighted[T]) T {
	var sum float64
	for _, w := range of {
		sum += w.weight
	}
	x := r.Float64() * sum
	for _, w := range of {
		if x -= w.weight; x < 0 {
			return w.value
		}
	}
	return of[len(of)-1].value
}

type demoPage struct {
	path, title string
	next        []weighted[int] // where readers go from here
}

// traffic is the invented site and its readers.
type traffic struct {
	r         *rand.Rand
	visitors  float64 // on an average day
	pages     []demoPage
	entries   []weighted[int]
	sources   []weighted[string] // what follows the path in the address, and the referrer after a space
	agents    []weighted[demoAgent]
	addresses []weighted[[]netip.Addr]
	regulars  []demoReader
}

type demoAgent struct {
	userAgent string
	width     int
}

// demoReader is somebody with an address and a browser.
type demoReader struct {
	addr  netip.Addr
	agent demoAgent
}

func newTraffic(seed uint64, visitors float64, geo *classify.Geo) *traffic {
	t := &traffic{r: rand.New(rand.NewPCG(seed, seed)), visitors: visitors}
	t.pages = []demoPage{
		{"/", "Home", []weighted[int]{{3, 1}, {2, 2}, {2, 5}, {1, 7}}},
		{"/docs/getting-started", "Getting started", []weighted[int]{{5, 3}, {2, 4}, {1, 0}}},
		{"/news/2026/annual-report", "Annual report 2026", []weighted[int]{{2, 0}, {1, 5}}},
		{"/docs/consent-receipt", "Consent receipts", []weighted[int]{{2, 4}, {2, 1}}},
		{"/docs/reference", "Reference", []weighted[int]{{2, 3}, {1, 1}}},
		{"/membership", "Membership", []weighted[int]{{3, 6}, {1, 0}}},
		{"/membership/join", "Join us", []weighted[int]{{1, 0}}},
		{"/events/workshop-berlin", "Workshop in Berlin", []weighted[int]{{1, 5}, {1, 0}}},
		{"/jobs", "Jobs", []weighted[int]{{1, 0}}},
		{"/über-uns", "Über uns", []weighted[int]{{1, 0}, {1, 5}}},
	}
	t.entries = []weighted[int]{{30, 0}, {22, 1}, {14, 2}, {8, 3}, {7, 4}, {6, 5}, {7, 7}, {4, 8}, {2, 9}}
	t.sources = []weighted[string]{
		{34, " https://www.google.com/"}, {24, ""}, {5, " https://duckduckgo.com/"}, {4, " https://www.bing.com/"},
		{6, " https://chatgpt.com/"}, {2, " https://www.perplexity.ai/"}, {4, " https://www.linkedin.com/"},
		{3, " https://news.ycombinator.com/"}, {3, " https://mastodon.social/"}, {3, " https://github.com/"},
		{2, " https://blog.example.net/analytics-without-cookies"},
		{6, "?utm_source=newsletter&utm_medium=email&utm_campaign=november-newsletter"},
		{3, "?utm_source=newsletter&utm_medium=email&utm_campaign=workshop-invitation"},
		{2, "?utm_source=google&utm_medium=cpc&utm_campaign=membership&gclid=x https://www.google.com/"},
	}
	chrome := func(os string) string {
		return "Mozilla/5.0 (" + os + ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	}
	t.agents = []weighted[demoAgent]{
		{26, demoAgent{chrome("Windows NT 10.0; Win64; x64"), 1920}},
		{9, demoAgent{chrome("Macintosh; Intel Mac OS X 10_15_7"), 1512}},
		{4, demoAgent{chrome("X11; Linux x86_64"), 2560}},
		{18, demoAgent{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36", 412}},
		{17, demoAgent{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", 393}},
		{7, demoAgent{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", 1512}},
		{7, demoAgent{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", 1920}},
		{3, demoAgent{"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", 1920}},
		{7, demoAgent{chrome("Windows NT 10.0; Win64; x64") + " Edg/142.0.0.0", 1920}},
		{2, demoAgent{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", 384}},
	}
	t.addresses = t.networks(geo)
	return t
}

// networks draws addresses until each country that the demo's readers come from has some.
// Without a country database they come from anywhere.
func (t *traffic) networks(geo *classify.Geo) []weighted[[]netip.Addr] {
	weights := map[string]float64{"DE": 26, "US": 22, "GB": 12, "NL": 8, "FR": 7, "CA": 6, "AT": 4, "CH": 4, "SE": 3, "IN": 3, "JP": 3, "BR": 2}
	found := map[string][]netip.Addr{}
	var any []netip.Addr
	for range 40_000 {
		a := netip.AddrFrom4([4]byte{byte(1 + t.r.IntN(222)), byte(t.r.IntN(256)), byte(t.r.IntN(256)), byte(1 + t.r.IntN(254))})
		if a.IsPrivate() || a.IsLoopback() {
			continue
		}
		c := geo.Lookup(a).Country
		any = append(any, a)
		if weights[c] > 0 {
			found[c] = append(found[c], a)
		}
	}
	var out []weighted[[]netip.Addr]
	for c, addrs := range found {
		out = append(out, weighted[[]netip.Addr]{weights[c], addrs})
	}
	if len(out) == 0 {
		return []weighted[[]netip.Addr]{{1, any}}
	}
	// Out of a map they come in any order; the same seed must give the same traffic.
	sort.Slice(out, func(i, j int) bool { return out[i].value[0].Less(out[j].value[0]) })
	return out
}

func (t *traffic) reader() demoReader {
	if len(t.regulars) > 0 && t.r.Float64() < 0.25 {
		return t.regulars[t.r.IntN(len(t.regulars))]
	}
	addrs := pick(t.r, t.addresses)
	rd := demoReader{addrs[t.r.IntN(len(addrs))], pick(t.r, t.agents)}
	if len(t.regulars) < int(t.visitors) && t.r.Float64() < 0.1 {
		t.regulars = append(t.regulars, rd)
	}
	return rd
}

// load is how busy an hour of the week is, 1 on average: nights and weekends are calm.
func load(at time.Time) float64 {
	hour := float64(at.Hour()) + float64(at.Minute())/60
	l := 0.15 + 1.7*math.Exp(-math.Pow(hour-11, 2)/18) + 1.1*math.Exp(-math.Pow(hour-17.5, 2)/14)
	switch at.Weekday() {
	case time.Saturday:
		l *= 0.5
	case time.Sunday:
		l *= 0.55
	}
	return l / 0.95
}

// between invents the hits of [from, to), in order of time. Visits that begin then may
// have hits after to.
func (t *traffic) between(from, to time.Time) (hits []demoHit) {
	days := to.Sub(from).Hours() / 24
	expected := t.visitors * days * load(from) * (1 + 0.1*math.Sin(float64(from.YearDay())/9))
	for range poisson(t.r, expected) {
		hits = append(hits, t.visit(from.Add(time.Duration(t.r.Float64()*float64(to.Sub(from)))))...)
	}
	for range poisson(t.r, expected*0.06) { // robots come too
		hits = append(hits, demoHit{at: from, addr: t.reader().addr, body: eventBody(map[string]any{"n": "pageview", "u": "https://" + demoSite + "/", "d": demoSite}),
			userAgent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"})
	}
	// Mailings go out on Tuesdays at eight, and are opened over the day.
	if from.Weekday() == time.Tuesday && from.Hour() >= 8 {
		mail := demoEmail{"November newsletter", fmt.Sprintf("week %d", weekOf(from))}
		for range poisson(t.r, t.visitors*days*2.5/float64(from.Hour()-6)) {
			rd := t.reader()
			hits = append(hits, demoHit{at: from.Add(time.Duration(t.r.Float64() * float64(to.Sub(from)))), addr: rd.addr, userAgent: rd.agent.userAgent, email: mail})
		}
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].at.Before(hits[j].at) })
	return hits
}

func weekOf(at time.Time) int { _, w := at.ISOWeek(); return w }

// visit is one visit: page views, the time spent on each, and sometimes an event.
func (t *traffic) visit(at time.Time) (hits []demoHit) {
	rd := t.reader()
	add := func(fields map[string]any) {
		fields["d"] = demoSite
		fields["w"] = rd.agent.width
		hits = append(hits, demoHit{at: at, addr: rd.addr, userAgent: rd.agent.userAgent, body: eventBody(fields)})
	}
	query, referrer := splitSource(pick(t.r, t.sources))
	page := pick(t.r, t.entries)
	for n := 0; n < 12; n++ {
		p := t.pages[page]
		url := "https://" + demoSite + p.path
		view := map[string]any{"n": "pageview", "u": url + query, "t": p.title}
		if referrer != "" {
			view["r"] = referrer
		}
		add(view)
		query, referrer = "", url
		if page == 6 && t.r.Float64() < 0.4 {
			at = at.Add(40 * time.Second)
			add(map[string]any{"n": "Join", "u": url, "p": map[string]string{"plan": pick(t.r, []weighted[string]{{5, "individual"}, {2, "organisation"}})}})
		}
		if page == 2 && t.r.Float64() < 0.3 {
			at = at.Add(15 * time.Second)
			add(map[string]any{"n": "File Download", "u": url, "p": map[string]string{"url": "https://" + demoSite + "/files/annual-report-2026.pdf"}})
		}
		engaged := time.Duration(math.Exp(t.r.NormFloat64()*0.9+3.4)) * time.Second // half a minute, give or take
		at = at.Add(min(engaged, 15*time.Minute))
		add(map[string]any{"n": "engagement", "u": url, "e": engaged.Milliseconds(), "sd": 20 + t.r.IntN(81)})
		if t.r.Float64() < 0.47 {
			break
		}
		page = pick(t.r, p.next)
	}
	return hits
}

func splitSource(s string) (query, referrer string) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func eventBody(fields map[string]any) []byte {
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// poisson draws how many of many unlikely things happen (Knuth, TAOCP 3.4.1; the normal
// approximation where that would take long).
func poisson(r *rand.Rand, mean float64) int {
	if mean > 50 {
		return max(0, int(math.Round(mean+r.NormFloat64()*math.Sqrt(mean))))
	}
	limit, p, n := math.Exp(-mean), 1.0, 0
	for {
		if p *= r.Float64(); p <= limit {
			return n
		}
		n++
	}
}
