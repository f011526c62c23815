package privacy

import (
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

const day = 24 * time.Hour

func (p *Pages) getOptOut(r *Request, w *fasthttp.Response) {
	sites, ok := r.sites("")
	if !ok {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return
	}
	p.answerChoice(r, w, sites, choice{optedOut: r.OptedOut, consent: r.consent(p.now())})
}

// postOptOut takes a choice to be counted or not. Not to be counted may be asked for from anywhere: it takes nothing
// from anybody. To be counted again is the person's own word.
func (p *Pages) postOptOut(r *Request, w *fasthttp.Response) {
	field := r.form()
	out, ok := yes(field("optout"))
	if !ok {
		p.refuse(r, w, fasthttp.StatusBadRequest, problem{"must be 1 (do not count me) or 0 (count me again)", "optout"})
		return
	}
	sites, ok := r.sites(field("site"))
	if !ok {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return
	}
	if !out && !r.fromHere() {
		p.refuse(r, w, fasthttp.StatusForbidden, notByYou)
		return
	}
	c := cookie{name: OptOutName, domain: reachOf(r.host(), sites).Domain}
	if out {
		c.value, c.life = OptOutValue, OptOutDays*day
		r.setCookie(w, c)
	} else {
		// Both that there may be: the one of this host, and the one of the whole domain.
		c.domain = ""
		r.setCookie(w, c)
		if c.domain = registrable(r.host()); c.domain != "" {
			r.setCookie(w, c)
		}
	}
	act := policy.OptIn
	if out {
		act = policy.OptOut
	}
	p.answerChoice(r, w, sites, choice{optedOut: out, consent: r.consent(p.now()), did: act})
}

// choice is how things stand after a request.
type choice struct {
	optedOut bool
	consent  Consent
	did      policy.Act // "" for nothing
}

// consent returns the consent that the request carries, empty where it is over.
func (r *Request) consent(now time.Time) Consent {
	c, ok := ParseConsent(r.Consent)
	if !ok || !inForce(c.Day, today(now)) {
		return Consent{}
	}
	return c
}

// today is the date that a consent counts from: the same one everywhere.
func today(now time.Time) event.Day { return event.DayOf(now.UTC()) }

// postConsent turns the consented cookie on or off for the sites named.
func (p *Pages) postConsent(r *Request, w *fasthttp.Response) {
	field := r.form()
	agree, ok := yes(field("consent"))
	if !ok {
		p.refuse(r, w, fasthttp.StatusBadRequest, problem{"must be 1 (I agree to the cookie) or 0 (I do not)", "consent"})
		return
	}
	sites, ok := r.sites(field("site"))
	if !ok {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return
	}
	if agree && !r.fromHere() {
		p.refuse(r, w, fasthttp.StatusForbidden, notByYou)
		return
	}
	c, changed := p.consent(r, w, sites, agree)
	now := choice{optedOut: r.OptedOut, consent: c}
	switch {
	case changed && agree:
		now.did = policy.Consent
	case changed:
		now.did = policy.Withdrawal
	}
	p.answerChoice(r, w, sites, now)
}

// consent gives or withdraws consent at the sites that have a cookie, sets or removes it, and reports whether
// anything changed. Nothing extends a consent that there is.
func (p *Pages) consent(r *Request, w *fasthttp.Response, sites []*Site, agree bool) (c Consent, changed bool) {
	now := p.now()
	c = r.consent(now)
	first := len(c.entries) == 0
	for _, s := range sites {
		switch {
		case !agree:
			changed = c.withdraw(s.tag) || changed
		case s.Cookie:
			changed = c.give(s.tag, today(now)) || changed
		}
	}
	set := cookie{name: ConsentName, value: c.Value(), life: ConsentDays * day}
	switch {
	case set.value == "":
		// Whatever was sent: a consent that is over, or nothing at all.
		if set.life = 0; !agree || r.Consent != "" {
			r.setCookie(w, set)
		}
	case changed:
		if !first {
			set.life = (c.Day + ConsentDays).Time().Sub(now)
		}
		r.setCookie(w, set)
	}
	return c, changed
}

// answerChoice says how things stand, in the form that was asked for.
func (p *Pages) answerChoice(r *Request, w *fasthttp.Response, sites []*Site, c choice) {
	switch r.wants() {
	case formJSON:
		if receipts := p.issue(r, c.did, sites); len(receipts) == 1 {
			answerJSON(w, receipts[0])
			return
		}
		answerJSON(w, marshal(stateOf(sites, c)))
	case formPage:
		v := p.optOutView(r, sites, c)
		v.Receipts = receiptViews(c.did, p.issue(r, c.did, sites))
		p.tpl.render(w, "optout", v)
	default:
		note(w)
	}
}

// issue returns the receipts of an act: one for all sites, or one for each of those it was done at. A receipt that
// cannot be given is no reason to refuse what it is about.
func (p *Pages) issue(r *Request, act policy.Act, sites []*Site) (out [][]byte) {
	if p.receipts == nil || act == "" {
		return nil
	}
	names := []string{""}
	if len(sites) < len(r.Sites.all) {
		names = names[:0]
		for _, s := range sites {
			names = append(names, s.Domain)
		}
	}
	for _, name := range names {
		b, err := p.receipts.Issue(act, name)
		if err != nil {
			p.log.Error("no receipt was given", "act", act, "error", err)
			continue
		}
		out = append(out, b)
	}
	return out
}

// stateJSON is how things stand, for programs.
type stateJSON struct {
	OptOut bool            `json:"optout"`
	Sites  []siteStateJSON `json:"sites"`
}

type siteStateJSON struct {
	Site    string `json:"site"`
	Cookie  bool   `json:"cookie"`  // the site has a cookie for those who agree
	Consent bool   `json:"consent"` // this browser agreed
}

func stateOf(sites []*Site, c choice) stateJSON {
	out := stateJSON{OptOut: c.optedOut, Sites: []siteStateJSON{}}
	for _, s := range sites {
		_, agreed := c.consent.Of(s.tag)
		out.Sites = append(out.Sites, siteStateJSON{Site: s.Domain, Cookie: s.Cookie, Consent: agreed && s.Cookie})
	}
	return out
}

// gpcJSON is what the specification of Global Privacy Control wants to be told.
type gpcJSON struct {
	GPC        bool   `json:"gpc"`
	LastUpdate string `json:"lastUpdate"`
}

// getGPC says whether all sites that the host stands for honour the signal.
func (p *Pages) getGPC(r *Request, w *fasthttp.Response) {
	g := gpcJSON{GPC: true, LastUpdate: r.Sites.updated.UTC().Format(time.DateOnly)}
	for _, s := range r.Sites.addressed(r.host()) {
		g.GPC = g.GPC && (s.Unlinked || s.Dropped)
	}
	public(w)
	answerJSON(w, marshal(g))
}

// marshal is for our own types, all of which can be written.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
