package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

const (
	surveyDays     = 90 // of what events have in them
	surveyTextDays = 30 // of addresses and titles that are searched, and of reports
)

// userProps are names of properties that tell who somebody is.
var userProps = []string{"user", "userid", "uid", "username", "login", "customer", "customerid", "client", "clientid", "account", "accountid", "email", "mail", "phone", "member", "memberid"}

// measure looks at the running program: its listener is asked as a browser asks, its tables are read. Test hits
// are such that are dropped, so that they are in no figure but that of what was dropped.
func (a *app) measure(ctx context.Context, profile string) (*policy.Measured, error) {
	cfg := a.config()
	a.mu.RLock()
	facts := cfg.facts(a.publicURLOf(cfg), a.geo)
	a.mu.RUnlock()
	rules, err := cfg.rules()
	if err != nil {
		return nil, err
	}
	m := &policy.Measured{At: a.now(), Reviewed: rules.Reviewed.Time, Breaches: policy.ProfileBreaches(profile, facts), Missed: map[string]string{}}
	if !cfg.Store.embedded() {
		if u, err := url.Parse(string(cfg.Store)); err == nil {
			if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
				m.Remote = u.Hostname()
			}
		}
	}
	miss := func(err error, ids ...string) {
		for _, id := range ids {
			if err != nil && m.Missed[id] == "" {
				m.Missed[id] = "it could not be measured: " + sayMissed(err)
			}
		}
	}
	miss(a.measureOldest(ctx, m), "A3")
	m.Columns, err = a.store.EventColumns(ctx)
	miss(err, "B3")
	for i := range facts {
		s := policy.MeasuredSite{Facts: facts[i], URLSet: cfg.URL != ""}
		b := newVisitorBrowser(a, &s)
		miss(b.consent(ctx), "A1", "A2")
		miss(b.notice(ctx), "E1")
		miss(b.objection(ctx), "E2", "E3")
		a.measureIDs(&s, facts)
		miss(a.measureRows(ctx, cfg, &s), "B1", "D2", "D4", "G1")
		miss(a.measureReports(ctx, cfg, &s), "D1", "F1")
		m.Sites = append(m.Sites, s)
	}
	return m, ctx.Err()
}

// sayMissed is what may be told of an error: a database's text may quote a statement.
func sayMissed(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.Is(err, errAnswer):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it takes too long"
	}
	return "the database does not answer"
}

func (a *app) measureOldest(ctx context.Context, m *policy.Measured) error {
	rows, err := a.store.OldestRows(ctx)
	for _, r := range rows {
		m.Oldest = append(m.Oldest, policy.Age{What: r.Table, Site: r.Site, Oldest: r.Time})
	}
	if at := a.spool.Status().Oldest; !at.IsZero() {
		m.Oldest = append(m.Oldest, policy.Age{What: "spool", Oldest: at})
	}
	return err
}

// measureIDs makes the ids of a person who does not exist, as hits do.
func (a *app) measureIDs(s *policy.MeasuredSite, all []policy.Facts) {
	who := newMarked(0)
	s.TruncatedV = 32
	n := anonymize.Truncate(netip.AddrFrom4([4]byte{255, 255, 255, 255}), s.Facts.Bits4, s.Facts.Bits6).Addr().As4()
	for s.TruncatedV > 0 && n[(s.TruncatedV-1)/8]>>(7-(s.TruncatedV-1)%8)&1 == 0 {
		s.TruncatedV--
	}
	id := func(site string) uint64 {
		w, err := anonymize.ParseWindow(s.Facts.Window)
		if err != nil {
			return 0
		}
		loc := a.zoneOf(s.Facts.Site)
		if loc == nil {
			loc = time.UTC
		}
		return a.keys.ID(site, w, int(event.DayOf(a.now().In(loc))), who.forwarded4, []byte(who.agent))
	}
	others := []string{"another-site.invalid"} // where there is one site only
	for _, f := range all {
		if f.Site != s.Facts.Site {
			others = append(others, f.Site)
		}
	}
	for _, other := range others {
		if id(other) == id(s.Facts.Site) {
			s.Same = append(s.Same, other)
		}
	}
}

func (a *app) measureRows(ctx context.Context, cfg *Config, s *policy.MeasuredSite) error {
	site := cfg.site(s.Facts.Site)
	today := event.DayOf(a.now().In(site.Timezone.Location))
	got, err := a.store.Survey(ctx, site.Domain, today-surveyDays, today-surveyTextDays, today)
	if err != nil {
		return err
	}
	s.Revenue, s.Campaigns, s.Network, s.Texts = got.Revenue, got.Campaigns, got.Network, len(got.Texts)
	for _, p := range got.Props {
		plain := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(p))
		if slices.Contains(userProps, plain) {
			s.UserProps = append(s.UserProps, p)
		}
	}
	for _, t := range got.Texts {
		if _, found := anonymize.Mask(t); found != 0 {
			s.Personal++
		}
	}
	pages, err := a.store.MaskedPages(ctx, store.LedgerQuery{Site: site.Domain, From: a.now().AddDate(0, 0, -surveyTextDays), To: a.now().Add(time.Minute)})
	for _, p := range pages {
		s.Masked += p.Masked + p.Dropped
	}
	return err
}

// measureReports asks for reports as staff do.
func (a *app) measureReports(ctx context.Context, cfg *Config, s *policy.MeasuredSite) error {
	site := cfg.site(s.Facts.Site)
	zone := site.Timezone.Location
	today := event.DayOf(a.now().In(zone))
	q := store.Query{Site: site.Domain, Zone: zone, From: (today - surveyTextDays).Start(zone), To: (today + 1).Start(zone), Now: a.now(), LongIDs: site.longIDs(), Metrics: []string{"visitors"}}
	reports := a.reports()
	for _, d := range []string{"event:page", "visit:source", "visit:country", "visit:device"} {
		q.Dimensions = []string{d}
		res, err := reports.Query(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range res.Rows {
			if v := r.Metrics[0]; v != nil && (s.Smallest == 0 || uint64(*v) < s.Smallest) {
				s.Smallest = uint64(*v)
			}
		}
	}
	var refused *store.QueryError
	q.From = today.Start(zone)
	for _, x := range []struct{ name, metric, dimension string }{
		{"visitors", "visitors", ""}, {"sources", "visitors", "visit:source"}, {"devices", "visitors", "visit:device"},
		{"places", "visitors", "visit:country"}, {"engagement", "bounce_rate", ""},
	} {
		q.Metrics, q.Dimensions = []string{x.metric}, []string{"time:hour"}
		if x.dimension != "" {
			q.Dimensions = append(q.Dimensions, x.dimension)
		}
		if _, err := reports.Query(ctx, q); err == nil {
			s.Finer = append(s.Finer, x.name)
		} else if !errors.As(err, &refused) {
			return err
		}
	}
	var few *store.FewError
	if _, err := reports.Realtime(ctx, site.Domain); err == nil || errors.As(err, &few) {
		s.Finer = append(s.Finer, "how many are there now")
	} else if !errors.As(err, &refused) {
		return err
	}
	return nil
}

// visitorBrowser asks the public listener as somebody's browser would.
type visitorBrowser struct {
	app    *app
	s      *policy.MeasuredSite
	client *http.Client
	host   string // of the public address
	agent  string
	path   string // "?site=…"
}

func newVisitorBrowser(a *app, s *policy.MeasuredSite) *visitorBrowser {
	b := &visitorBrowser{app: a, s: s, agent: newMarked(0).agent, path: "?site=" + url.QueryEscape(s.Facts.Site)}
	if u, err := url.Parse(s.Facts.URL); err == nil {
		b.host = u.Host
		s.FirstParty = privacy.SameSite(u.Hostname(), s.Facts.Site)
	}
	addr := reachable(a.public.Addr().String())
	b.client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}}}
	return b
}

// errAnswer is wrapped by what is wrong with an answer.
var errAnswer = errors.New("the public listener answers otherwise")

func (b *visitorBrowser) ask(ctx context.Context, method, path, body, accept string, cookies ...*http.Cookie) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://footfall"+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Host = b.host
	req.Header.Set("User-Agent", b.agent)
	req.Header.Set("Accept", accept)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	res, err := b.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil && res.StatusCode >= 400 {
		p, _, _ := strings.Cut(path, "?")
		err = fmt.Errorf("%w: %s: %s", errAnswer, p, res.Status)
	}
	return res, page, err
}

// days counts begun days of a cookie's life.
func days(c *http.Cookie) int { return (c.MaxAge + 86399) / 86400 }

func cookieOf(res *http.Response, name string) *http.Cookie {
	for _, c := range res.Cookies() {
		if c.Name == name && c.MaxAge > 0 {
			return c
		}
	}
	return nil
}

// consent agrees to the cookie, twice, and sends hits with and without it. No receipt is asked for.
func (b *visitorBrowser) consent(ctx context.Context) error {
	form := "consent=1&site=" + url.QueryEscape(b.s.Facts.Site)
	first, _, err := b.ask(ctx, http.MethodPost, privacy.PathConsent, form, "*/*")
	if err != nil {
		return err
	}
	if c := cookieOf(first, privacy.ConsentName); c != nil {
		b.s.CookieSet, b.s.CookieDays = true, days(c)
		again, _, err := b.ask(ctx, http.MethodPost, privacy.PathConsent, form, "*/*", c)
		if err != nil {
			return err
		}
		visit, err := b.hit(ctx, c, optedOut())
		if err != nil {
			return err
		}
		b.s.Extended = len(again.Cookies())+len(visit.Cookies()) > 0
	}
	without, err := b.hit(ctx, optedOut())
	if err == nil && len(without.Cookies()) > 0 {
		b.s.HitCookie = without.Cookies()[0].Name
	}
	return err
}

func optedOut() *http.Cookie {
	return &http.Cookie{Name: privacy.OptOutName, Value: privacy.OptOutValue}
}

// hit sends a page view. Every caller objects to being counted.
func (b *visitorBrowser) hit(ctx context.Context, cookies ...*http.Cookie) (*http.Response, error) {
	res, _, err := b.ask(ctx, http.MethodPost, "/api/event", fmt.Sprintf(`{"n":"pageview","u":"https://%s/footfall-check","d":%q}`, b.s.Facts.Site, b.s.Facts.Site), "*/*", cookies...)
	return res, err
}

// notice fetches the notice and looks for every fact in it.
func (b *visitorBrowser) notice(ctx context.Context) error {
	_, page, err := b.ask(ctx, http.MethodGet, privacy.PathNotice+b.path, "", "text/html")
	if err != nil {
		return err
	}
	n, ok := b.app.notices.Current(b.s.Facts.Site)
	if !ok {
		return fmt.Errorf("%w: there is no notice of the site", errAnswer)
	}
	d := policy.NewDocument(n)
	text := privacy.TextOf(page)
	b.s.LeftOut = d.Missing(text)
	plain := strings.Join(strings.Fields(text), " ")
	for _, purpose := range policy.Purposes() {
		if !strings.Contains(plain, purpose) {
			b.s.LeftOut = append(b.s.LeftOut, purpose)
		}
	}
	b.s.NoticeLinks = bytes.Contains(page, []byte(`href="`+privacy.PathOptOut))
	return nil
}

// objection objects as somebody without JavaScript does, and looks what is kept of a hit after that.
func (b *visitorBrowser) objection(ctx context.Context) error {
	_, page, err := b.ask(ctx, http.MethodGet, privacy.PathOptOut+b.path, "", "text/html")
	if err != nil {
		return err
	}
	action, fields := formOf(page, "optout")
	b.s.Scripts = bytes.Contains(bytes.ToLower(page), []byte("<script"))
	if action == "" || fields.Get("optout") != privacy.OptOutValue {
		return nil
	}
	res, _, err := b.ask(ctx, http.MethodPost, action, fields.Encode(), "*/*")
	if err != nil {
		return err
	}
	c := cookieOf(res, privacy.OptOutName)
	if c == nil {
		return nil
	}
	b.s.OptOutDays, b.s.Clicks = days(c), 2 // the link in the notice, and the button
	dropped, err := b.hit(ctx, c)
	if err != nil {
		return err
	}
	b.s.Dropped = dropped.Header.Get("X-Footfall-Dropped") != ""
	if err := b.app.spool.Flush(ctx); err != nil {
		return err
	}
	_, answer, err := b.ask(ctx, http.MethodGet, privacy.PathMe+b.path+"&format=json", "", "application/json", c)
	if err != nil {
		return err
	}
	b.s.Held, err = heldIn(append([]byte("HTTP/1.1 200 OK\r\n\r\n"), answer...))
	return err
}
