package beacon

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// strictCSP is what a careful site sends: nothing inline, nothing from elsewhere.
const strictCSP = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'"

// site is a website and the Footfall beside it, on one loopback address: it serves
// pages, files, the tracker, and records what reaches /api/event, /ff.gif, /optout and
// /consent.
type site struct {
	URL  string // http://127.0.0.1:port
	port string

	csp  string
	head string                                  // in every page's head; the script tag
	body func(path string) string                // of a page
	file map[string]string                       // other files by path; type by the name's end
	fail func(w http.ResponseWriter, n int) bool // may answer the n-th hit, from 0, itself

	choice func(http.ResponseWriter) // answers /optout and /consent

	mu   sync.Mutex
	hits []hit
	raw  int // hits, broken ones included
	got  int // requests of every kind but for /_hits
}

// hit is one request that was recorded.
type hit struct {
	Path   string         // of the request
	Fields map[string]any // by their short names; n of a choice is its body
	Method string
	Type   string // Content-Type
	Cookie string
	Mode   string // Sec-Fetch-Mode
	Agent  string
	Refer  string
	Query  url.Values
	At     time.Time
}

func newSite(t *testing.T) *site {
	s := &site{csp: strictCSP, head: ScriptTag("", ""), file: map[string]string{}}
	s.body = func(string) string { return "<main><h1>Text</h1></main>" }
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	_, s.port, _ = net.SplitHostPort(strings.TrimPrefix(srv.URL, "http://"))
	return s
}

// on returns the site's address under another host name that leads here.
func (s *site) on(host string) string { return "http://" + host + ":" + s.port }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/_hits" {
		s.mu.Lock()
		s.got++
		s.mu.Unlock()
	}
	switch {
	case r.URL.Path == "/ff.js":
		w.Header().Set("Content-Type", ScriptType)
		w.Write(Script().Body)
	case r.URL.Path == "/api/event" || r.URL.Path == "/ff.gif":
		s.record(w, r)
	case r.URL.Path == "/optout" || r.URL.Path == "/consent":
		s.record(w, r)
		if s.choice != nil {
			s.choice(w)
		}
	case r.URL.Path == "/_hits":
		s.mu.Lock()
		defer s.mu.Unlock()
		json.NewEncoder(w).Encode(s.lines())
	case r.URL.Path == "/favicon.ico":
		w.WriteHeader(http.StatusNoContent)
	case s.file[r.URL.Path] != "":
		switch {
		case strings.HasSuffix(r.URL.Path, ".js"):
			w.Header().Set("Content-Type", ScriptType)
		case strings.HasSuffix(r.URL.Path, ".css"):
			w.Header().Set("Content-Type", "text/css")
		case strings.HasSuffix(r.URL.Path, ".json"):
			w.Header().Set("Content-Type", "application/speculationrules+json")
		}
		io.WriteString(w, s.file[r.URL.Path])
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", s.csp)
		if s.file["/rules.json"] != "" {
			w.Header().Set("Speculation-Rules", `"/rules.json"`)
		}
		http.SetCookie(w, &http.Cookie{Name: "first", Value: "party", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		fmt.Fprintf(w, "<!doctype html><html lang=en><head><meta charset=utf-8><title>Title of %s</title>%s</head><body>%s</body></html>",
			r.URL.Path, s.head, s.body(r.URL.Path))
	}
}

func (s *site) record(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.raw
	s.raw++
	h := hit{Path: r.URL.Path, Method: r.Method, Type: r.Header.Get("Content-Type"), Cookie: r.Header.Get("Cookie"),
		Mode: r.Header.Get("Sec-Fetch-Mode"), Agent: r.UserAgent(), Refer: r.Referer(), Query: r.URL.Query(), At: time.Now()}
	if r.URL.Path != "/ff.gif" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the browser went away in the middle
		}
		if r.URL.Path != "/api/event" {
			h.Fields = map[string]any{"n": h.Path, "u": string(body)}
		} else if err := json.Unmarshal(body, &h.Fields); err != nil {
			h.Fields = map[string]any{"n": fmt.Sprintf("not JSON: %q", body)}
		}
		for long, short := range map[string]string{"url": "u", "props": "p", "revenue": "$", "interactive": "i"} {
			if v, ok := h.Fields[long]; ok {
				delete(h.Fields, long)
				h.Fields[short] = v
			}
		}
	}
	s.hits = append(s.hits, h)
	if s.fail != nil && s.fail(w, n) {
		return
	}
	switch r.URL.Path {
	case "/ff.gif":
		w.Header().Set("Content-Type", PixelType)
		w.Write(Pixel())
	case "/api/event":
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, "ok")
	}
}

// lines returns the hits in short: the name, then whatever else there is but what
// every hit has. Engagement comes without its numbers.
func (s *site) lines() []string {
	lines := []string{}
	for _, h := range s.hits {
		lines = append(lines, s.line(h))
	}
	return lines
}

func (s *site) line(h hit) string {
	short := func(v any) string { return strings.ReplaceAll(fmt.Sprint(v), s.URL, "") }
	line := short(h.Fields["n"]) + " " + short(h.Fields["u"])
	for _, k := range []string{"d", "r", "h", "p", "$", "i"} {
		v, ok := h.Fields[k]
		if !ok || v == nil || k == "h" && v == false || k == "r" && v == "" {
			continue
		}
		if m, ok := v.(map[string]any); ok {
			if k == "p" && len(m) == 0 {
				continue
			}
			b, _ := json.Marshal(m)
			v = string(b)
		}
		line += " " + k + "=" + short(v)
	}
	return line
}

// all returns the hits once there are n or more and none has come for a while: what a
// page sends when it closes arrives after the script has ended.
func (s *site) all(t *testing.T, n int) []hit {
	t.Helper()
	const quiet = 400 * time.Millisecond
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		hits := append([]hit(nil), s.hits...)
		s.mu.Unlock()
		last := time.Time{}
		if len(hits) > 0 {
			last = hits[len(hits)-1].At
		}
		if len(hits) >= n && time.Since(last) > quiet {
			return hits
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d hits within 30 s, want %d: %q", len(hits), n, s.lines())
		}
	}
}

// views returns the lines of hits without engagement.
func (s *site) views(hits []hit) []string { return s.only(hits, false) }

// engagements returns the lines of engagement alone.
func (s *site) engagements(hits []hit) []string { return s.only(hits, true) }

func (s *site) only(hits []hit, engagement bool) []string {
	var lines []string
	for _, h := range hits {
		if (h.Fields["n"] == "engagement") == engagement {
			lines = append(lines, s.line(h))
		}
	}
	return lines
}

// find returns the first hit of that line.
func (s *site) find(t *testing.T, hits []hit, line string) hit {
	t.Helper()
	for _, h := range hits {
		if s.line(h) == line {
			return h
		}
	}
	t.Fatalf("no hit %q among %q", line, s.lines())
	return hit{}
}

// wellFormed checks what holds for every hit of the tracker.
func (s *site) wellFormed(t *testing.T, hits []hit) {
	t.Helper()
	ids := map[any]bool{}
	for _, h := range hits {
		if h.Path != "/api/event" {
			continue
		}
		id, _ := h.Fields["id"].(string)
		if len(id) < 12 || len(id) > 32 || ids[id] {
			t.Errorf("id %q: want 12 to 32 characters, each its own", id)
		}
		ids[id] = true
		if h.Method != "POST" || !strings.HasPrefix(h.Type, "text/plain") || h.Mode != "no-cors" && h.Mode != "" /* not sent to plain http */ {
			t.Errorf("%s of %q, mode %q; want a plain POST that needs no preflight", h.Method, h.Type, h.Mode)
		}
		if strings.Contains(h.Agent, "Headless") || h.Agent == "" {
			t.Errorf("user agent %q", h.Agent)
		}
		if h.Fields["v"] != float64(1) {
			t.Errorf("version %v, want 1", h.Fields["v"])
		}
		if w, _ := h.Fields["w"].(float64); w < 300 {
			t.Errorf("screen width %v", h.Fields["w"])
		}
		_, e := h.Fields["e"]
		_, sd := h.Fields["sd"]
		if isEngagement := h.Fields["n"] == "engagement"; e != isEngagement || sd != isEngagement {
			t.Errorf("%s: engaged time %v, scroll depth %v", s.line(h), e, sd)
		}
		for k := range h.Fields {
			if !strings.Contains(" n u d r t w h p $ i e sd v id ", " "+k+" ") {
				t.Errorf("field %q is not in the contract", k)
			}
		}
	}
}
