package collector

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/kantarainitiative/footfall/anonymize/canary"
	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

// TestCanary sends marked addresses, agents, queries, cookies and identifiers through every
// door, in good and broken requests, and looks for the marks in whatever remains: event
// records, the log, the metrics and the state of the collector.
func TestCanary(t *testing.T) {
	const (
		ip4, ip6 = "203.0.113.241", "2001:db8:7:beef::41"
		uaMark   = "Canary0Agent"
		agent    = "Mozilla/5.0 (Linux; Android 15; " + uaMark + ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
		query    = "canary0query"
		cookie   = "canary0cookie"
		clickID  = "canary0click"
		eventID  = "canary0id"
		user     = "canary0user"
	)
	r := newRig(t, func(o *Options) { o.Limits.ReadTimeout = 500 * time.Millisecond })
	token, err := r.key.SealOpen(email.Open{Site: "example.org", Campaign: "c"})
	if err != nil {
		t.Fatal(err)
	}
	// The consented cookie of a site that has one: sixteen bytes of a mark.
	const mark = "canary0random.16"
	random := base64.RawURLEncoding.EncodeToString([]byte(mark))
	tag := privacy.TagOf("club.example")
	var remains bytes.Buffer
	headers := func(ip string) []string {
		return []string{"User-Agent: " + agent, "X-Forwarded-For: " + ip + ", 10.0.0.1", "Forwarded: for=" + ip, "X-Real-IP: " + ip,
			"Cookie: a=" + cookie + "; " + privacy.ConsentName + "=1.20781." + string(tag[:]) + random, "Referer: https://example.org/?" + query}
	}
	secrets := `?x=` + query + `&gclid=` + clickID + `&token=` + query + `#/r?t=` + query
	for _, ip := range []string{ip4, ip6} {
		for _, site := range []string{"example.org", "shop.example", "quiet.example", "deaf.example", "club.example", "nobody.example"} {
			for _, name := range []string{"pageview", "engagement", "Sign up"} {
				for _, extra := range []string{`}`, `,"h":1}`, `,"r":"https://` + user + `:pw@www.google.com/x?q=` + query + `#` + query + `"}`, `,`} {
					r.post(t, `{"n":"`+name+`","u":"https://`+user+`:pw@`+site+`/a`+secrets+`","d":"`+site+`","id":"`+eventID+fmt.Sprint(ip, name, len(extra))+`"`+extra, headers(ip)...)
				}
			}
		}
		r.post(t, okBody, append(headers(ip), "DNT: 1")...)
		r.post(t, okBody, append(headers(ip), "Content-Encoding: gzip")...)
		r.post(t, okBody[:20], headers(ip)...)
		r.post(t, strings.Repeat(query, maxBody/10), headers(ip)...)
		r.do(t, "GET", "/ff.gif?d=example.org", "", headers(ip)...)
		r.do(t, "GET", "/ff.gif?d=example.org&u=https://example.org/"+query[:0]+"%3Fx="+query, "", headers(ip)...)
		r.do(t, "GET", "/o/"+token+".gif?"+query, "", headers(ip)...)
		r.do(t, "GET", "/o/"+query+".gif", "", headers(ip)...)
		r.do(t, "GET", "/c/"+query, "", headers(ip)...)
		for _, site := range []string{"example.org", "shop.example", "quiet.example", "club.example"} {
			r.do(t, "GET", r.link(t, email.Click{Site: site, URL: "https://" + user + ":pw@example.org/?x=" + query + "&gclid=" + clickID + "#" + query})+"?"+query, "", headers(ip)...)
		}
		for _, host := range []string{"Host: club.example", "Host: example.org"} {
			h := append(headers(ip), host)
			r.do(t, "GET", "/optout?site="+query, "", h...)
			r.do(t, "GET", "/privacy/me?x="+query, "", h...)
			for _, path := range []string{"/optout", "/consent", "/privacy/me"} {
				for _, body := range []string{"optout=1&consent=1&action=delete&x=" + query, `{"optout":0,"consent":0,"x":"` + query + `"}`, query} {
					a := r.do(t, "POST", path, body, append(h, "Accept: text/html")...)
					remains.WriteString(a.body)
				}
			}
		}
		r.do(t, "GET", "/nothing/"+query, "", headers(ip)...)
		r.do(t, "BREW", "/api/event", "", headers(ip)...)
		for _, bad := range []string{"GET / HTTP/1.1\r\nX-Forwarded-For: " + ip + "\r\nUser-Agent: " + agent + "\r\nbad " + query + "\r\n\r\n",
			"POST /api/event HTTP/1.1\r\nHost: x\r\nX-Real-IP: " + ip + "\r\nContent-Length: 99\r\n\r\n" + query} {
			nc, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.WriteString(nc, bad)
			_, _ = io.Copy(io.Discard, nc)
			nc.Close()
		}
	}
	broke := r.c.sources
	r.c.sources = broken{broke}
	r.post(t, page("/"+secrets), headers(ip4)...)
	r.c.sources = broke

	records := 0
	r.spool.mu.Lock()
	for _, rec := range r.spool.recs {
		records++
		remains.WriteString(rec + "\n")
	}
	if len(r.spool.drops) < 50 {
		t.Errorf("only %d drops", len(r.spool.drops))
	}
	for _, d := range r.spool.drops {
		remains.Write(append(d.AppendTo(nil), '\n'))
	}
	r.spool.mu.Unlock()
	if records < 50 {
		t.Fatalf("only %d events", records)
	}
	remains.WriteString(r.log.String())
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&remains, f); err != nil {
			t.Fatal(err)
		}
	}
	// The visits: keys, times and records.
	for i := range r.c.visits.shards {
		for k, v := range r.c.visits.shards[i].m {
			fmt.Fprintf(&remains, "%+v %+v\n", k, v)
		}
	}
	for i := range r.c.seen.shards {
		fmt.Fprintf(&remains, "%+v\n", r.c.seen.shards[i].since)
	}
	for i := range r.c.settings.Load().places.slots {
		if p := r.c.settings.Load().places.slots[i].Load(); p != nil {
			fmt.Fprintf(&remains, "%+v\n", *p)
		}
	}
	a4, a6 := netip.MustParseAddr(ip4), netip.MustParseAddr(ip6)
	b4, b6 := a4.As4(), a6.As16()
	for what, mark := range map[string]string{
		"IPv4 address": ip4, "IPv6 address": ip6, "IPv6 address in full": a6.StringExpanded(),
		"IPv4 address in bytes": string(b4[:]), "IPv6 address in bytes": string(b6[:]),
		"agent": uaMark, "query": query, "cookie": cookie, "consented cookie": random, "bytes of the consented cookie": mark, "click id": clickID, "event id": eventID, "user": user,
		"peer": "127.0.0.1",
	} {
		if i := strings.Index(remains.String(), mark); i >= 0 {
			s := remains.String()
			t.Errorf("the %s remains: …%q…", what, s[max(0, i-80):min(len(s), i+80)])
		}
	}
}

// TestStacksHoldNoAddress: what Go would print of a request that waits for the disk holds nothing of
// who asks.
func TestStacksHoldNoAddress(t *testing.T) {
	r := newRig(t)
	addr := netip.MustParseAddr("198.19.203.241")
	six := netip.MustParseAddr("2001:db8:7:beef:c3a5:90ff:fe12:d641")
	const agent = "Mozilla/5.0 (Linux; Android 15; Canary0Agent) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
	var stacks bytes.Buffer
	r.spool.mu.Lock()
	r.spool.fail = func(*event.Event) error {
		b := make([]byte, 1<<20)
		stacks.Write(b[:runtime.Stack(b, true)])
		return nil
	}
	r.spool.mu.Unlock()
	for _, a := range []netip.Addr{addr, six} {
		r.post(t, okBody, "X-Forwarded-For: "+a.String(), "User-Agent: "+agent)
		r.do(t, "GET", "/ff.gif?d=example.org&u=https://example.org/", "", "X-Forwarded-For: "+a.String(), "User-Agent: "+agent)
	}
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	if !strings.Contains(stacks.String(), "collectFor") {
		t.Fatal("the stacks are not those of hits")
	}
	s := canary.NewSearch(canary.Address("IPv4", addr), canary.Address("IPv6", six), canary.Text("agent", agent))
	s.LookAt("stacks", "stacks", stacks.Bytes())
	found, chance := s.Findings()
	for _, f := range append(found, chance...) {
		t.Errorf("%s is in the stacks, as %s", f.Canary, f.Form)
	}
}

// TestNoTypeHoldsAnAddress walks through everything a Collector and a hit can reach within
// this package: outside the settings of trusted proxies nothing has room for an address.
func TestNoTypeHoldsAnAddress(t *testing.T) {
	addr := reflect.TypeFor[netip.Addr]()
	ip := reflect.TypeFor[net.IP]()
	seen := map[reflect.Type]bool{}
	var walk func(ty reflect.Type, path string)
	walk = func(ty reflect.Type, path string) {
		if ty == addr || ty == ip {
			t.Errorf("%s can hold an address", path)
		}
		if seen[ty] || ty == reflect.TypeFor[proxies]() {
			return
		}
		seen[ty] = true
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			walk(ty.Elem(), path)
		case reflect.Map:
			walk(ty.Key(), path+" key")
			walk(ty.Elem(), path)
		case reflect.Struct:
			if p := ty.PkgPath(); p != "" && !strings.HasSuffix(p, "/collector") && !strings.HasSuffix(p, "/classify") && !strings.HasSuffix(p, "/event") {
				return
			}
			for i := range ty.NumField() {
				f := ty.Field(i)
				walk(f.Type, path+"."+f.Name)
			}
		}
	}
	for _, ty := range []reflect.Type{reflect.TypeFor[hit](), reflect.TypeFor[visitShard](), reflect.TypeFor[dedupeShard](), reflect.TypeFor[settings](), reflect.TypeFor[Collector]()} {
		walk(ty, ty.Name())
	}
}
