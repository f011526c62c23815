package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// soakHit is a hit, and how often its sender was told what.
type soakHit struct {
	n      int
	custom bool // a custom event, else a page view
	pixel  bool
	id     string
	sites  []string
	title  string

	counted, duplicates, refused, unanswered int
	times                                    []string // how each attempt ended, for reports
	tries                                    []attempt
}

// attempt is when a hit was sent and its answer came: on the test's clock, and on the victim's.
type attempt struct {
	begin, end time.Duration // elapsed
	clock      time.Time     // at begin
}

func (h *soakHit) attempts() int { return len(h.times) }

func (h *soakHit) String() string {
	return fmt.Sprintf("hit %d for %s, id %q: %s", h.n, strings.Join(h.sites, "+"), h.id, strings.Join(h.times, ", "))
}

func (h *soakHit) page() string { return fmt.Sprintf("/n/%dx", h.n) }

func (h *soakHit) name() string {
	if h.custom {
		return "Soak"
	}
	return "pageview"
}

// differs says in what a row is not what was sent.
func (h *soakHit) differs(r soakRow) string {
	switch {
	case r.page != h.page():
		return "another page"
	case r.title != h.title:
		return "another title"
	case r.name != h.name():
		return "another name"
	case !slices.Contains(h.sites, r.site):
		return "another site"
	case h.custom && !h.pixel && r.prop != fmt.Sprint(h.n):
		return "another property"
	case r.day != r.dayWanted():
		return "another day than the site's"
	}
	return ""
}

// request makes the request of a hit. The visitor is one of some hundred.
func (h *soakHit) request(base string) (*http.Request, error) {
	var req *http.Request
	var err error
	page := "https://" + h.sites[0] + h.page()
	if h.pixel {
		q := url.Values{"d": {strings.Join(h.sites, ",")}, "u": {page}, "n": {h.name()}, "t": {h.title}}
		req, err = http.NewRequest("GET", base+"/ff.gif?"+q.Encode(), nil)
	} else {
		body := map[string]any{"n": h.name(), "u": page, "d": strings.Join(h.sites, ","), "t": h.title}
		if h.id != "" {
			body["id"] = h.id
		}
		if h.custom {
			body["p"] = map[string]any{"n": fmt.Sprint(h.n), "pad": h.title, "more": h.title}
		}
		b, jerr := json.Marshal(body)
		if jerr != nil {
			return nil, jerr
		}
		req, err = http.NewRequest("POST", base+"/api/event", strings.NewReader(string(b)))
	}
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", firefox)
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("81.2.%d.%d", h.n%3, h.n%101))
	return req, nil
}

// soakLoad sends hits from several senders at a time, one after another each, and sends some
// of them again with the same id, as browsers do.
type soakLoad struct {
	v       *victim
	seed    uint64
	resend  bool
	next    atomic.Int64
	stop    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	sent    []*soakHit
	books   soakBooks
}

// soakBooks is what the senders know of the hits received, a hit for two sites being two.
type soakBooks struct {
	mu       sync.Mutex
	attempts int            // whatever became of them
	counted  int            // answered so
	dropped  map[string]int // answered so, by the program's address: another for each start
}

// sendJunk sends what is not counted, for other reasons than the soak's hits.
func (b *soakBooks) sendJunk(client *http.Client, v *victim, r *rand.Rand) {
	base := v.base()
	body, want, agent := `{"n":"pageview","u":"https://example.org/","d":"example.org"}`, "bot", "Googlebot/2.1 (+http://www.google.com/bot.html)"
	if r.IntN(2) == 0 {
		body, want, agent = `{"n":`, "", firefox
	}
	req, err := http.NewRequest("POST", base+"/api/event", strings.NewReader(body))
	if base == "" || err != nil {
		return
	}
	req.Header.Set("User-Agent", agent)
	h := &soakHit{sites: []string{"one"}}
	res, err := client.Do(req)
	if err != nil {
		b.note(h, base, "no answer")
		return
	}
	res.Body.Close()
	if got := res.Header.Get("X-Footfall-Dropped"); got != want || want == "" && res.StatusCode != 400 {
		v.t.Errorf("junk: status %d, dropped %q, want %q", res.StatusCode, got, want)
	}
	b.note(h, base, "refused")
}

func (b *soakBooks) note(h *soakHit, base, how string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped == nil {
		b.dropped = map[string]int{}
	}
	b.attempts += len(h.sites)
	switch how {
	case "counted":
		b.counted += len(h.sites)
	case "duplicate", "refused":
		b.dropped[base] += len(h.sites)
	}
}

func newSoakLoad(v *victim, seed uint64) *soakLoad {
	return &soakLoad{v: v, seed: seed, resend: true, stop: make(chan struct{})}
}

func (l *soakLoad) begin(senders int) {
	for i := range senders {
		l.running.Go(func() { l.send(rand.New(rand.NewPCG(l.seed, uint64(100+i)))) })
	}
}

// end stops the senders and waits for their last answers.
func (l *soakLoad) end() {
	close(l.stop)
	l.running.Wait()
}

func (l *soakLoad) hits() []*soakHit { return l.sent }

func (l *soakLoad) send(r *rand.Rand) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var mine, again []*soakHit
	var before []*soakHit // the last that were answered; sent again when the program was started anew
	base := ""
	defer func() {
		l.mu.Lock()
		l.sent = append(l.sent, mine...)
		l.mu.Unlock()
	}()
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(time.Duration(r.IntN(16)) * time.Millisecond):
		}
		if b := l.v.base(); b != base && b != "" {
			base = b
			if l.resend {
				again = append(again, before...)
			}
		}
		var h *soakHit
		if len(again) > 0 && (r.IntN(3) == 0 || len(again) > 50) {
			h, again = again[0], again[1:]
		} else {
			h = l.newHit(r)
			mine = append(mine, h)
		}
		answered := h.send(client, l.v, &l.books)
		if r.IntN(10) == 0 {
			l.books.sendJunk(client, l.v, r)
		}
		if !answered {
			time.Sleep(20 * time.Millisecond) // there may be nobody
		}
		if answered && h.id != "" {
			if before = append(before, h); len(before) > 3 {
				before = before[1:]
			}
		}
		unsure := h.counted+h.duplicates == 0 && r.IntN(2) == 0
		if l.resend && h.id != "" && h.attempts() < 20 && (unsure || r.IntN(20) == 0) {
			again = append(again, h)
		}
	}
}

func (l *soakLoad) newHit(r *rand.Rand) *soakHit {
	h := &soakHit{n: int(l.next.Add(1)), custom: r.IntN(3) == 0, pixel: r.IntN(8) == 0}
	first := r.IntN(len(soakSites))
	h.sites = []string{soakSites[first].domain}
	if r.IntN(10) == 0 {
		h.sites = append(h.sites, soakSites[(first+1)%len(soakSites)].domain)
	}
	h.title = fmt.Sprintf("%d %s", h.n, strings.Repeat("x", r.IntN(280)))
	h.title = strings.TrimSpace(h.title)
	if !h.pixel && r.IntN(2) == 0 {
		h.id = fmt.Sprintf("%016x", r.Uint64())
	}
	return h
}

// send sends h once and notes the answer.
func (h *soakHit) send(client *http.Client, v *victim, books *soakBooks) (answered bool) {
	base := v.base()
	try := attempt{begin: v.elapsed(), clock: v.panel.now()}
	defer func() {
		try.end = v.elapsed()
		h.tries = append(h.tries, try)
	}()
	note := func(counter *int, how string) {
		*counter++
		h.times = append(h.times, fmt.Sprintf("%s at %s", how, v.since()))
		if base != "" {
			books.note(h, base, how)
		}
	}
	if base == "" {
		note(&h.unanswered, "nobody there")
		return false
	}
	req, err := h.request(base)
	if err != nil {
		v.t.Error(err)
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		note(&h.unanswered, "no answer")
		return false
	}
	defer res.Body.Close()
	dropped := res.Header.Get("X-Footfall-Dropped")
	if _, err := io.Copy(io.Discard, res.Body); err != nil && res.StatusCode != 202 {
		note(&h.unanswered, "half an answer")
		return false
	}
	switch {
	case res.StatusCode/100 == 2 && dropped == "":
		note(&h.counted, "counted")
	case res.StatusCode/100 == 2 && dropped == "duplicate" && h.id != "":
		note(&h.duplicates, "duplicate")
	case res.StatusCode == 503 && res.Header.Get("Retry-After") != "", h.pixel && dropped == "full":
		note(&h.refused, "refused")
		time.Sleep(5 * time.Millisecond)
	default:
		v.t.Errorf("hit %d: status %d, dropped %q", h.n, res.StatusCode, dropped)
	}
	return true
}
