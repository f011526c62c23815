package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize/canary"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

// marked is a visitor who does not exist, made of random values that must be found nowhere.
type marked struct {
	name string
	// The address that the requests come from: one of 127.0.0.0/8, all of which belong to the machine.
	peer netip.Addr
	// Addresses that the requests say they are forwarded for. A serve believes them if it takes peer for a proxy.
	forwarded4, forwarded6 netip.Addr

	agent, device string // device is a part of agent
	query         string // in the queries of pages, referrers and pixels, and in fragments
	cookie        string // of another program on the site, and as a session
	clickID       string
	eventID       string
	user          string // in the address of a page, before an @
	mail          string // an e-mail address, in paths and properties
	recipient     string // in the address of a pixel
	consent       [16]byte
}

// randomText is n random small letters and digits.
func randomText(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// highByte is one from 160 to 251: in bytes it is neither text nor a small number, in text it has three digits.
func highByte() byte {
	var b [1]byte
	rand.Read(b[:])
	return 160 + b[0]%92
}

func newMarked(i int) *marked {
	m := &marked{name: fmt.Sprintf("visitor %d", i)}
	m.peer = netip.AddrFrom4([4]byte{127, highByte(), highByte(), highByte()})
	m.forwarded4 = netip.AddrFrom4([4]byte{198, 18 + highByte()%2, highByte(), highByte()}) // kept for measurements: nobody's
	six := [16]byte{0x20, 0x01, 0x0d, 0xb8}                                                 // kept for documentation
	rand.Read(six[4:])
	six[8] |= 0x80
	m.forwarded6 = netip.AddrFrom16(six)
	m.device = "Ff" + randomText(10)
	m.agent = "Mozilla/5.0 (Linux; Android 15; " + m.device + ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
	m.query, m.cookie, m.clickID, m.user = "q"+randomText(13), "c"+randomText(15), "g"+randomText(13), "u"+randomText(11)
	m.eventID, m.recipient = randomText(14), "r"+randomText(13)
	m.mail = "m" + randomText(11) + "@example.com"
	rand.Read(m.consent[:])
	return m
}

// canaries are what must not be found of m. With pii: off what strays into paths is kept as it comes.
func (m *marked) canaries(piiOff bool) []canary.Canary {
	of := m.name + ": "
	out := []canary.Canary{
		canary.Address(of+"address", m.peer),
		canary.Address(of+"forwarded IPv4 address", m.forwarded4),
		canary.Address(of+"forwarded IPv6 address", m.forwarded6),
		canary.Text(of+"User-Agent", m.agent),
		canary.Text(of+"User-Agent's device", m.device),
		canary.Text(of+"address and User-Agent", m.peer.String()+m.agent),
		canary.Text(of+"query string", m.query),
		canary.Text(of+"cookie", m.cookie),
		canary.Text(of+"click id", m.clickID),
		canary.Text(of+"id of an event", m.eventID),
		canary.Text(of+"user name", m.user),
		canary.Text(of+"recipient", m.recipient),
		canary.Text(of+"consented cookie", base64.RawURLEncoding.EncodeToString(m.consent[:])),
		canary.Bytes(of+"consented cookie's number", m.consent[:]),
	}
	if !piiOff {
		out = append(out, canary.Text(of+"e-mail address", m.mail))
	}
	return out
}

// headers are what each of m's requests carries. Those that are forwarded for IPv6 come with the consented cookie.
func (m *marked) headers(site string, six bool) []string {
	forwarded, node := m.forwarded4.String(), m.forwarded4.String()
	cookies := "session=" + m.cookie + "; footfall_session=" + m.cookie
	if six {
		forwarded = m.forwarded6.String()
		node = `"[` + forwarded + `]"`
		tag := privacy.TagOf(site)
		cookies += fmt.Sprintf("; %s=1.%d.%s%s", privacy.ConsentName, event.DayOf(time.Now().UTC()), tag[:], base64.RawURLEncoding.EncodeToString(m.consent[:]))
	}
	return []string{
		"User-Agent: " + m.agent, "Accept-Language: en", "Cookie: " + cookies,
		"X-Forwarded-For: " + forwarded, "Forwarded: for=" + node, "X-Real-IP: " + forwarded,
	}
}

// proveSite is where marked visitors go.
type proveSite struct {
	domain, host string
	token        string // of an e-mail's pixel
	click        string // of a link in an e-mail
	drops        bool   // what has Do-Not-Track is not counted: else it has no id, and could not be erased
	everything   bool   // also what leaves rows without an id: nothing is erased afterwards
}

func newProveSite(s *SiteConfig) proveSite {
	at := proveSite{domain: s.Domain, host: s.Domain, drops: collector.DNT(s.DNT) == collector.DNTDrop}
	if len(s.Hostnames) > 0 {
		at.host = s.Hostnames[0]
	}
	return at
}

// request is one that is sent as it stands.
type request struct {
	staff bool // to the staff listener
	text  string
}

// counted tells whether an answer to a hit says that it is counted.
func counted(answer []byte) bool {
	head, _, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	status, header, _ := bytes.Cut(head, []byte("\r\n"))
	ok := bytes.Contains(status, []byte(" 202 ")) || bytes.Contains(header, []byte("image/gif"))
	return ok && !bytes.Contains(bytes.ToLower(header), []byte("x-footfall-dropped"))
}

// writeRequest makes the text of a request whose connection ends with its answer.
func writeRequest(method, target, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if method == "POST" || body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// requests are what a marked visitor sends: by every door, good and broken.
func (m *marked) requests(at proveSite, six bool) (out []request) {
	hs := m.headers(at.domain, six)
	add := func(method, target, body string, more ...string) {
		out = append(out, request{text: writeRequest(method, target, body, append(append([]string(nil), hs...), more...)...)})
	}
	secrets := fmt.Sprintf("?token=%s&gclid=%s#/in?x=%s", m.query, m.clickID, m.query)
	id := m.eventID
	if six {
		id += "6"
	}
	hit := func(name, path, more string) string {
		return fmt.Sprintf(`{"n":%q,"u":"https://%s:pw@%s%s%s","d":%q%s}`, name, m.user, at.host, path, secrets, at.domain, more)
	}
	referrer := fmt.Sprintf(`,"r":"https://%s:pw@www.google.com/search?q=%s#%s"`, m.user, m.query, m.query)
	page := "/footfall-prove/" + m.mail + "/page"

	// Counted.
	add("POST", "/api/event", hit("pageview", page, referrer+fmt.Sprintf(`,"id":%q,"t":"Mail to %s"`, id, m.mail)))
	add("POST", "/api/event", hit("engagement", page, `,"e":1500,"sd":40`))
	add("POST", "/api/event", hit("Prove", page, fmt.Sprintf(`,"props":{"to":%q}`, m.mail)))
	add("GET", fmt.Sprintf("/ff.gif?d=%s&u=https://%s/footfall-prove/pixel%%3Fx=%s&r=https://example.net/%%3F%s", at.domain, at.host, m.query, m.query), "")
	add("GET", "/ff.gif?d="+at.domain, "", "Referer: https://"+at.host+"/footfall-prove/referer?x="+m.query)
	if at.token != "" {
		add("GET", "/o/"+at.token+".gif?to="+m.recipient, "")
	}
	if at.click != "" {
		add("GET", "/c/"+at.click+"?to="+m.recipient, "")
	}
	// Not counted.
	add("POST", "/api/event", hit("pageview", page, fmt.Sprintf(`,"id":%q`, id))) // again
	add("POST", "/api/event", hit("pageview", page, ""), "Cookie: "+privacy.OptOutName+"="+privacy.OptOutValue)
	add("POST", "/api/event", hit("pageview", page, ""), "Sec-Purpose: prefetch;prerender")
	if at.drops || at.everything {
		add("POST", "/api/event", hit("pageview", page, ""), "DNT: 1")
	}
	robot := append([]string{"User-Agent: Googlebot/2.1 (" + m.device + "; +http://www.google.com/bot.html)"}, hs[1:]...)
	out = append(out, request{text: writeRequest("POST", "/api/event", hit("pageview", page, ""), robot...)})
	add("POST", "/api/event", strings.Replace(hit("pageview", page, ""), `"d":"`+at.domain, `"d":"`+m.query+`.example`, 1))
	add("GET", "/o/"+m.recipient+".gif", "")
	add("GET", "/c/"+m.recipient+"?u="+m.query, "")
	// Broken.
	add("POST", "/api/event", hit("pageview", page, "")[:60])
	add("POST", "/api/event", hit("pageview", page, ""), "Content-Encoding: gzip")
	add("POST", "/api/event", `{"n":"`+m.query+`","u":"`+m.user+`"}`)
	add("POST", "/api/event", strings.Repeat(m.query, 70<<10/len(m.query)))
	add("POST", "/api/event", hit("pageview", page, ""), "X-Long: "+strings.Repeat(m.cookie, 20<<10/len(m.cookie)))
	add("BREW", "/api/event", "")
	add("GET", "/nothing/"+m.query+"?"+m.query, "")
	out = append(out, request{text: "GET / HTTP/1.1\r\nX-Forwarded-For: " + m.forwarded4.String() + "\r\nUser-Agent: " + m.agent + "\r\nbad " + m.query + "\r\n\r\n"})
	// What the visitor can choose and see.
	for _, path := range []string{privacy.PathOptOut, privacy.PathMe, "/privacy", privacy.PathConsent, privacy.PathGPC, "/readyz"} {
		add("GET", path+"?site="+at.domain+"&x="+m.query, "", "Accept: text/html")
	}
	add("GET", privacy.PathMe+"?format=json&site="+at.domain, "")
	form := "Content-Type: application/x-www-form-urlencoded"
	add("POST", privacy.PathOptOut, "optout=1&site="+at.domain+"&x="+m.query, form, "Accept: application/json")
	add("POST", privacy.PathOptOut, "optout="+m.query, form)
	add("POST", privacy.PathConsent, "consent="+m.query+"&site="+m.recipient, form)
	add("POST", privacy.PathMe, "action="+m.query, form)
	// Somebody who is no staff.
	staff := len(out)
	add("GET", "/login", "")
	add("POST", "/login", "name=nobody&password="+m.query, form)
	add("GET", "/login?token="+m.query, "")
	add("GET", "/"+at.domain, "")
	add("POST", "/api/v2/query", `{"site_id":"`+m.query+`"}`, "Authorization: Bearer "+m.cookie)
	add("GET", "/metrics?"+m.query, "")
	for i := range out[staff:] {
		out[staff+i].staff = true
	}
	return out
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// errNoSource says that addresses of one's own choice cannot be used here.
var errNoSource = errors.New("connections cannot come from addresses of 127.0.0.0/8 here")

// exchange sends a request from an address to one that somebody listens on, and returns all that comes back.
// from may be the zero Addr.
func exchange(ctx context.Context, addr string, from netip.Addr, text string) ([]byte, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, withoutSource(err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	// A server that refuses a request early need not read it to its end.
	_, wrote := io.WriteString(c, text)
	b, err := io.ReadAll(io.LimitReader(c, maxAnswer))
	if len(b) > 0 {
		return b, nil
	}
	return nil, withoutSource(errors.Join(wrote, err))
}

// withoutSource takes the marked address out of a connection's error.
func withoutSource(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}

// reachable is the address under which this machine reaches a listener, of IPv4 where it takes that.
func reachable(bound string) string {
	ap, err := netip.ParseAddrPort(bound)
	if err != nil || !ap.Addr().IsUnspecified() {
		return bound
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()).String()
}

// held asks whether anything is held of m, as m would.
func (m *marked) held(ctx context.Context, addr string, from netip.Addr, at proveSite, six bool) (rows uint64, err error) {
	answer, err := exchange(ctx, addr, from, writeRequest("GET", privacy.PathMe+"?format=json&site="+at.domain, "", m.headers(at.domain, six)...))
	if err != nil {
		return 0, err
	}
	return heldIn(answer)
}

// erase deletes what is held of m, as m would.
func (m *marked) erase(ctx context.Context, addr string, from netip.Addr, at proveSite, six bool) error {
	answer, err := exchange(ctx, addr, from, writeRequest("POST", privacy.PathMe, "action=delete&site="+at.domain,
		append(m.headers(at.domain, six), "Content-Type: application/x-www-form-urlencoded", "Accept: application/json")...))
	if err == nil {
		_, err = heldIn(answer)
	}
	return err
}

// heldIn reads the numbers out of an answer of /privacy/me.
func heldIn(answer []byte) (rows uint64, err error) {
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	status, _, _ := strings.Cut(head, "\r\n")
	if !strings.Contains(status, " 200 ") {
		return 0, fmt.Errorf("%s answers %s", privacy.PathMe, status)
	}
	type counts struct {
		PageViews    uint64 `json:"pageviews"`
		Events       uint64 `json:"events"`
		ReadingTimes uint64 `json:"reading_times"`
		MailsOpened  uint64 `json:"mails_opened"`
		MailLinks    uint64 `json:"mail_links"`
		Waiting      uint64 `json:"waiting"`
	}
	var held struct {
		Sites []struct {
			Number counts
			Cookie *counts
		}
	}
	if err := json.Unmarshal([]byte(body), &held); err != nil {
		return 0, fmt.Errorf("%s: %w", privacy.PathMe, err)
	}
	for _, s := range held.Sites {
		for _, c := range []*counts{&s.Number, s.Cookie} {
			if c != nil {
				rows += c.PageViews + c.Events + c.ReadingTimes + c.MailsOpened + c.MailLinks + c.Waiting
			}
		}
	}
	return rows, nil
}
