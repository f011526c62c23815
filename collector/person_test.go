package collector

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
)

// cookies returns what an answer sets, by name; of several of a name the last.
func (a answer) cookies() map[string]*http.Cookie {
	out := map[string]*http.Cookie{}
	for _, c := range a.Response.Cookies() {
		out[c.Name] = c
	}
	return out
}

func clubPage(path string) string {
	return `{"n":"pageview","u":"https://club.example` + path + `","d":"club.example"}`
}

// TestOptOut: whatever door a hit of an opted-out browser comes through, the count is all that is left of it.
func TestOptOut(t *testing.T) {
	r := newRig(t)
	a := r.do(t, "POST", "/optout", "optout=1")
	c := a.cookies()[privacy.OptOutName]
	if a.StatusCode != 200 || c == nil || c.Value != "1" || c.MaxAge != 400*86400 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode ||
		c.Domain != "example.org" || c.Path != "/" || c.Secure {
		t.Fatalf("%d, cookie %+v", a.StatusCode, c)
	}
	sent := "Cookie: theme=dark; " + c.Name + "=" + c.Value + "; x"
	token, err := r.key.SealOpen(email.Open{Site: "example.org", Campaign: "c"})
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func() answer{
		"script": func() answer { return r.post(t, okBody, sent) },
		"robot":  func() answer { return r.post(t, okBody, sent, "User-Agent: "+google) },
		"id twice": func() answer {
			body := strings.TrimSuffix(okBody, "}") + `,"id":"once"}`
			r.post(t, body, sent)
			return r.post(t, body, sent)
		},
		"signal":     func() answer { return r.post(t, okBody, sent, "DNT: 1") },
		"pixel":      func() answer { return r.do(t, "GET", "/ff.gif?d=example.org&u=https://example.org/", "", sent) },
		"email open": func() answer { return r.do(t, "GET", "/o/"+token+".gif", "", sent) },
	} {
		if got := send().Header.Get("X-Footfall-Dropped"); got != "optout" {
			t.Errorf("%s: dropped %q", name, got)
		}
	}
	if es := r.spool.take(t); len(es) != 0 {
		t.Errorf("kept: %+v", es)
	}
	for _, d := range r.spool.takeDrops() {
		if d != (event.Drop{Site: "example.org", Minute: event.MinuteOf(noon.Unix()), Reason: "optout", Count: 1}) {
			t.Errorf("noted: %+v", d)
		}
	}
	if n := r.metric(t, "footfall_robot_hits_total"); n > 0 {
		t.Errorf("an opted-out agent was looked at: %v", n)
	}
	if n := r.c.visits.active(noon.Unix()); n != 0 {
		t.Errorf("%d visits", n)
	}
	if id := r.c.seen.key(1, "once"); r.c.seen.has(id, noon.Unix()) {
		t.Error("the id of an opted-out hit is remembered")
	}
	for _, other := range []string{"Cookie: " + c.Name + "=0", "Cookie: x" + c.Name + "=1", "Cookie: a=" + c.Name + "=1", "X-Cookie: " + c.Name + "=1"} {
		r.hit(t, okBody, other)
	}

	back := r.do(t, "POST", "/optout", "optout=0", sent, "Sec-Fetch-Site: same-origin")
	var gone []string
	for _, c := range back.Response.Cookies() {
		if c.Name == privacy.OptOutName && c.MaxAge < 0 {
			gone = append(gone, c.Domain)
		}
	}
	if back.StatusCode != 200 || strings.Join(gone, "|") != "|example.org" {
		t.Errorf("%d, removed for %q", back.StatusCode, gone)
	}
}

// TestChoicesComeFromTheSite: what takes something from a visitor is refused to other sites' pages.
func TestChoicesComeFromTheSite(t *testing.T) {
	r := newRig(t)
	const host = "Host: stats.club.example"
	for _, c := range []struct {
		path, body string
		headers    []string
		status     int
	}{
		{"/optout", "optout=1", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 200},
		{"/optout", `{"optout": true}`, nil, 200},
		{"/optout", "optout=0", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"/optout", "optout=0", []string{"Origin: https://evil.example"}, 403},
		{"/optout", "optout=0", []string{"Origin: null"}, 403},
		{"/optout", "optout=0", []string{"Origin: https://club.example"}, 200},
		{"/optout", "optout=0", []string{"Origin: https://club.example.evil.example"}, 403},
		{"/optout", "optout=0", []string{"Sec-Fetch-Site: same-site", "Origin: null"}, 200},
		{"/optout", "optout=0", nil, 200},
		{"/optout", "optout=maybe", nil, 400},
		{"/optout", "", nil, 400},
		{"/optout", `{"optout": `, nil, 400},
		{"/optout?site=nobody.example", "optout=1", nil, 404},
		{"/consent", "consent=1&site=club.example", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"/consent", "consent=0&site=club.example", []string{"Sec-Fetch-Site: cross-site"}, 200},
		{"/consent", "consent=1&site=club.example", []string{"Sec-Fetch-Site: same-site"}, 200},
		{"/consent", `{"consent":1,"site":"club.example"}`, []string{"Sec-Fetch-Site: same-site", "Content-Type: text/plain;charset=UTF-8"}, 200},
		{"/consent", "consent=1&site=nobody.example", nil, 404},
	} {
		a := r.do(t, "POST", c.path, c.body, append([]string{host}, c.headers...)...)
		if a.StatusCode != c.status || (a.StatusCode == 200) != (len(a.cookies()) > 0) {
			t.Errorf("%s %s %v: %d %s, cookies %v; want %d", c.path, c.body, c.headers, a.StatusCode, a.body, a.cookies(), c.status)
		}
	}
	for path, want := range map[string]int{"/optout": 405, "/consent": 405, "/.well-known/gpc.json": 405} {
		if a := r.do(t, "DELETE", path, "", host); a.StatusCode != want {
			t.Errorf("DELETE %s: %d", path, a.StatusCode)
		}
	}
	if a := r.do(t, "GET", "/consent?site=club.example", "", host); a.StatusCode != 303 || a.Header.Get("Location") != "/optout?site=club.example" {
		t.Errorf("GET /consent: %d %s", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestConsentedCookie: one id from when it was agreed to until it is withdrawn or 390 days are over, never longer.
func TestConsentedCookie(t *testing.T) {
	r := newRig(t)
	const host, here = "Host: stats.club.example", "Sec-Fetch-Site: same-site"
	plain := r.hit(t, clubPage("/"))
	a := r.do(t, "POST", "/consent", "consent=1&site=club.example", host, here)
	c := a.cookies()[privacy.ConsentName]
	if c == nil || c.MaxAge != 390*86400 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || c.Secure {
		t.Fatalf("%d, cookie %+v", a.StatusCode, c)
	}
	sent := "Cookie: " + c.Name + "=" + c.Value
	with := r.hit(t, clubPage("/a"), sent)
	if with.VisitorID == plain.VisitorID || with.VisitorID == 0 || with.Visit.ID == plain.Visit.ID {
		t.Errorf("the cookie's id %d, the day's %d", with.VisitorID, plain.VisitorID)
	}
	if again := r.do(t, "POST", "/consent", "consent=1&site=club.example", host, here, sent); len(again.cookies()) != 0 {
		t.Errorf("agreeing again sets %v", again.cookies())
	}
	if e := r.hit(t, clubPage("/b"), sent, "X-Forwarded-For: 198.51.100.9", "User-Agent: "+safari); e.VisitorID != with.VisitorID {
		t.Error("on another network the cookie gives another id")
	}
	// Elsewhere, and where nobody agreed, it gives none.
	for body, why := range map[string]string{
		okBody: "a site without a cookie",
		`{"n":"pageview","u":"https://blog.club.example/","d":"blog.club.example"}`: "a site that was not agreed at",
	} {
		if e, day := r.hit(t, body, sent), r.hit(t, body); e.VisitorID != day.VisitorID {
			t.Errorf("%s uses the cookie", why)
		}
	}
	if e := r.hit(t, clubPage("/"), sent, "Sec-GPC: 1"); e.VisitorID != 0 {
		t.Error("the signal does not win over the cookie")
	}
	if e := r.hit(t, clubPage("/"), sent, "Cookie: "+c.Name+"=1.20781.AAAAAAAAAAAAAAAAAAAAAAAAAA"); e.VisitorID != plain.VisitorID {
		t.Error("of two cookies of the name one counts")
	}
	for _, bad := range []string{"", "1", c.Value + "x", strings.Replace(c.Value, "1.", "2.", 1), c.Value[:len(c.Value)-1] + "!", strings.Repeat("1", 600)} {
		if e := r.hit(t, clubPage("/"), "Cookie: "+c.Name+"="+bad); e.VisitorID != plain.VisitorID {
			t.Errorf("the cookie %q gives an id", bad)
		}
	}
	// Consent at a second site: another id, and the end stays where it was.
	r.clock.add(100 * 24 * time.Hour)
	two := r.do(t, "POST", "/consent", "consent=1&site=blog.club.example", host, here, sent).cookies()[c.Name]
	if two == nil || two.MaxAge > 290*86400 || two.MaxAge < 289*86400 || !strings.HasPrefix(two.Value, c.Value) {
		t.Fatalf("the second site's cookie: %+v", two)
	}
	both := "Cookie: " + c.Name + "=" + two.Value
	blog := r.hit(t, `{"n":"pageview","u":"https://blog.club.example/","d":"blog.club.example"}`, both)
	if e := r.hit(t, clubPage("/"), both); e.VisitorID != with.VisitorID || blog.VisitorID == with.VisitorID {
		t.Error("the ids of two sites")
	}
	// Withdrawing at one leaves the other's.
	one := r.do(t, "POST", "/consent", "consent=0&site=blog.club.example", host, here, both).cookies()[c.Name]
	if one == nil || one.Value != c.Value {
		t.Errorf("after withdrawing at the second site: %+v", one)
	}
	none := r.do(t, "POST", "/consent", "consent=0&site=club.example", host, here, sent).cookies()[c.Name]
	if none == nil || none.MaxAge >= 0 || none.Value != "" {
		t.Errorf("after withdrawing: %+v", none)
	}
	// 13 months are over, whatever the browser says.
	r.clock.add(289 * 24 * time.Hour)
	if e := r.hit(t, clubPage("/"), sent); e.VisitorID != with.VisitorID {
		t.Error("on its last day the cookie gives no id any more")
	}
	r.clock.add(24 * time.Hour)
	if e := r.hit(t, clubPage("/"), sent); e.VisitorID == with.VisitorID {
		t.Error("after 390 days the cookie still gives its id")
	}
	fresh := r.do(t, "POST", "/consent", "consent=1&site=club.example", host, here, sent).cookies()[c.Name]
	if fresh == nil || fresh.MaxAge != 390*86400 || fresh.Value[len("1.20781"):] == c.Value[len("1.20781"):] {
		t.Errorf("agreeing anew after the end: %+v", fresh)
	}
	// With cookie: none nothing is set.
	if a := r.do(t, "POST", "/consent", "consent=1&site=example.org", host, here); a.StatusCode != 200 || len(a.cookies()) != 0 {
		t.Errorf("a site without a cookie: %d, %v", a.StatusCode, a.cookies())
	}
}

// TestCookieOfTheMail: who reads a mail is not joined with who reads the pages.
func TestCookieOfTheMail(t *testing.T) {
	r := newRig(t)
	c := r.do(t, "POST", "/consent", "consent=1&site=club.example", "Host: stats.club.example").cookies()[privacy.ConsentName]
	token, err := r.key.SealOpen(email.Open{Site: "club.example", Campaign: "c"})
	if err != nil {
		t.Fatal(err)
	}
	r.do(t, "GET", "/o/"+token+".gif", "", "Cookie: "+c.Name+"="+c.Value)
	r.do(t, "GET", "/o/"+token+".gif", "")
	if es := r.spool.take(t); len(es) != 2 || es[0].VisitorID != es[1].VisitorID {
		t.Errorf("%+v", es)
	}
}

func TestCookiesAreSecure(t *testing.T) {
	for _, c := range []struct {
		https  bool
		header string
		want   bool
	}{{false, "", false}, {true, "", true}, {false, "https", true}, {true, "http", false}, {false, "https, http", true}} {
		r := newRig(t, func(o *Options) { o.HTTPS = c.https })
		headers := []string{"Host: stats.club.example"}
		if c.header != "" {
			headers = append(headers, "X-Forwarded-Proto: "+c.header)
		}
		for path, body := range map[string]string{"/optout": "optout=1", "/consent": "consent=1"} {
			for _, k := range r.do(t, "POST", path, body, headers...).cookies() {
				if k.Secure != c.want {
					t.Errorf("url over https %v, proxy says %q: %s secure %v", c.https, c.header, path, k.Secure)
				}
			}
		}
	}
	r := newRig(t, func(o *Options) { o.TrustedProxies = nil })
	if c := r.do(t, "POST", "/optout", "optout=1", "X-Forwarded-Proto: https").cookies()[privacy.OptOutName]; c == nil || c.Secure {
		t.Errorf("a stranger's word makes the cookie secure: %+v", c)
	}
}

// TestGPC: the statement is about the sites that the host stands for.
func TestGPC(t *testing.T) {
	r := newRig(t)
	for host, want := range map[string]bool{"stats.example.org": true, "quiet.example": true, "deaf.example": false, "www.deaf.example:8080": false, "elsewhere.example": false} {
		var got struct {
			GPC        *bool
			LastUpdate string
		}
		a := r.do(t, "GET", "/.well-known/gpc.json", "", "Host: "+host)
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 || got.GPC == nil || *got.GPC != want || got.LastUpdate != "2026-11-24" ||
			a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, %v", host, a.StatusCode, a.body, err)
		}
	}
}

func TestForget(t *testing.T) {
	r := newRig(t)
	before := r.hit(t, clubPage("/"))
	other := r.hit(t, clubPage("/"), "User-Agent: "+safari)
	r.c.Forget("club.example", before.VisitorID)
	r.c.Forget("nobody.example", before.VisitorID)
	if e := r.hit(t, clubPage("/b")); e.Visit.ID == before.Visit.ID || e.Visit.EntryPage != "/b" {
		t.Errorf("the visit goes on: %+v", e.Visit)
	}
	if e := r.hit(t, clubPage("/b"), "User-Agent: "+safari); e.Visit.ID != other.Visit.ID {
		t.Error("another's visit was forgotten")
	}
}

// TestAskingIsLimited: a network that asks for its pages without end is told to wait, and knows nothing of hits.
func TestAskingIsLimited(t *testing.T) {
	r := newRig(t)
	got := 0
	for range askingRate + 1 {
		a := r.do(t, "GET", "/optout", "")
		if got = a.StatusCode; got != 200 {
			break
		}
	}
	if got != 429 {
		t.Errorf("the last answer is %d", got)
	}
	if a := r.do(t, "GET", "/optout", "", "X-Forwarded-For: 198.51.100.1"); a.StatusCode != 200 {
		t.Errorf("another network: %d", a.StatusCode)
	}
	r.hit(t, okBody)
}

func TestHeadersCostNothing(t *testing.T) {
	raw := []byte("Host: x\r\nCookie: a=b; footfall_optout=1; footfall_id=1.20781.abcdAAAAAAAAAAAAAAAAAAAAAA; c=d\r\nDNT: 1\r\n\r\n")
	var h headers
	if n := testing.AllocsPerRun(100, func() { h = readHeaders(raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !h.cookies.optedOut || len(h.cookies.consent) != 34 {
		t.Errorf("%+v", h.cookies)
	}
	s := site{tag: privacy.TagOf("club.example")}
	c, ok := privacy.ParseConsent("1.20781." + string(s.tag[:]) + "AAAAAAAAAAAAAAAAAAAAAA")
	if !ok {
		t.Fatal("not parsed")
	}
	value := c.Value()
	if n := testing.AllocsPerRun(100, func() { _, ok = privacy.ConsentOf(value, s.tag, 20781) }); n != 0 || !ok {
		t.Errorf("%v allocations, %v", n, ok)
	}
}

// FuzzCookies: whatever a Cookie field holds, the two that are ours are read as a plain reading of RFC 6265, section 5.4, does.
func FuzzCookies(f *testing.F) {
	for _, s := range []string{"footfall_optout=1", "a=b; footfall_id=1.2.x;footfall_optout=1", " footfall_optout=1 ;; =;", "footfall_optout=11; footfall_id",
		"footfall_id=a; footfall_id=b", "footfall_id=a; footfall_id=a", "x=footfall_optout=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		field = strings.NewReplacer("\r", "", "\n", "").Replace(field)
		out, ids := false, map[string]bool{}
		for pair := range strings.SplitSeq(strings.TrimSpace(field), ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			out = out || name == privacy.OptOutName && value == privacy.OptOutValue
			if name == privacy.ConsentName {
				ids[value] = true
			}
		}
		c := readHeaders([]byte("Cookie: " + field + "\r\n")).cookies
		if c.optedOut != out {
			t.Fatalf("opted out: %v", c.optedOut)
		}
		if len(c.consent) > 0 && (!ids[string(c.consent)] || len(c.consent) > privacy.MaxConsent) {
			t.Fatalf("consent %q", c.consent)
		}
		if len(ids) == 1 && !c.several {
			for id := range ids {
				if len(id) <= privacy.MaxConsent && string(c.consent) != id {
					t.Fatalf("consent %q, sent %q", c.consent, id)
				}
			}
		}
	})
}
