package privacy

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

const (
	// lookTime bounds what one page waits for the database, its turn included.
	lookTime = 5 * time.Second
	// eraseTime is what a page waits for a deletion. What takes longer goes on without it.
	eraseTime = 8 * time.Second
	// maxSites is how many sites one page looks up: three numbers each.
	maxSites = 8
)

var errBusy = errors.New("privacy: as many look-ups as may run at a time are under way")

// holding is what is held at one site of whoever asks.
type holding struct {
	site *Site
	// numbers are those that can still be computed, shared by all who are behind one network with one
	// browser: of the period, and of the one before while it is not over at every site.
	numbers []event.Subject
	shared  event.Held
	erased  time.Time     // when the keys of the numbers are erased
	cookie  event.Subject // of the consented cookie; Visitor is 0 without one
	own     event.Held
}

// first is the date from which on something can be found without a cookie.
func (h *holding) first() event.Day { return h.numbers[len(h.numbers)-1].First }

// holdings computes whose rows are looked for. Nothing is looked up yet.
func (p *Pages) holdings(r *Request, sites []*Site) []holding {
	now := p.now()
	c := r.consent(now)
	out := make([]holding, len(sites))
	for i, s := range sites {
		today := event.DayOf(now.In(s.Location))
		h := holding{site: s, erased: r.Sites.erased(s.next(today))}
		for last := today; ; {
			first := event.Day(s.Window.First(int(last)))
			h.numbers = append(h.numbers, event.Subject{Site: s.Domain, Visitor: r.Number(s.Domain, last), First: first, Last: last})
			if last = first - 1; len(h.numbers) == 2 || !now.Before(r.Sites.erased(first)) {
				break
			}
		}
		if random, ok := c.Of(s.tag); ok && s.Cookie && p.key != nil {
			// The consent's date is UTC's: the site may have been in the day before, or be in the next one.
			h.cookie = event.Subject{Site: s.Domain, Visitor: p.key.ID(s.Domain, random), First: c.Day - 1, Last: today}
		}
		out[i] = h
	}
	return out
}

// subjects lists whom all of it is about.
func subjects(hs []holding) (out []event.Subject) {
	for i := range hs {
		out = append(out, hs[i].numbers...)
		if hs[i].cookie.Visitor != 0 {
			out = append(out, hs[i].cookie)
		}
	}
	return out
}

// look asks what is held. What is shared is asked for without details, so that none can be shown by mistake.
func (p *Pages) look(ctx context.Context, hs []holding) (err error) {
	for i := range hs {
		h := &hs[i]
		if h.shared, err = p.records.Held(ctx, h.numbers, false); err != nil {
			return err
		}
		if h.cookie.Visitor == 0 {
			continue
		}
		if h.own, err = p.records.Held(ctx, []event.Subject{h.cookie}, true); err != nil {
			return err
		}
	}
	return nil
}

// turn waits until fewer than maxLookups requests ask the database.
func (p *Pages) turn(ctx context.Context) (done func(), err error) {
	if p.records == nil {
		return nil, errors.New("privacy: there are no records to look in")
	}
	select {
	case p.lookups <- struct{}{}:
		return func() { <-p.lookups }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// asked returns the sites that a request for what is held is about, and refuses one that names none or too many.
func (p *Pages) asked(r *Request, w *fasthttp.Response, list string) ([]*Site, bool) {
	sites, ok := r.sites(list)
	if !ok {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return nil, false
	}
	if len(sites) <= maxSites {
		return sites, true
	}
	if r.wants() == formPage {
		p.tpl.render(w, "choose", &view{Title: titleMe, At: PathMe, Me: &meView{Choose: sites}})
	} else {
		p.refuse(r, w, fasthttp.StatusBadRequest, problem{"many sites are counted here: name the one you mean", "site"})
	}
	return nil, false
}

// getMe shows what is held that still leads to whoever asks.
func (p *Pages) getMe(ctx context.Context, r *Request, w *fasthttp.Response) {
	sites, ok := p.asked(r, w, "")
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	done, err := p.turn(ctx)
	if err != nil {
		p.down(r, w, err)
		return
	}
	defer done()
	hs := p.holdings(r, sites)
	if err := p.look(ctx, hs); err != nil {
		p.down(r, w, err)
		return
	}
	p.answerHeld(r, w, hs, nil)
}

// postMe deletes what is held, and shows by another look what is left.
func (p *Pages) postMe(ctx context.Context, r *Request, w *fasthttp.Response) {
	field := r.form()
	if field("action") != "delete" {
		p.refuse(r, w, fasthttp.StatusBadRequest, problem{"must be delete", "action"})
		return
	}
	if !r.fromHere() {
		p.refuse(r, w, fasthttp.StatusForbidden, notByYou)
		return
	}
	sites, ok := p.asked(r, w, field("site"))
	if !ok {
		return
	}
	erasing, cancel := context.WithTimeout(ctx, eraseTime)
	defer cancel()
	done, err := p.turn(erasing)
	if err != nil {
		p.down(r, w, err)
		return
	}
	defer done()
	hs := p.holdings(r, sites)
	e, err := p.records.Erase(erasing, subjects(hs))
	if err != nil {
		p.down(r, w, err)
		return
	}
	d := &deletion{Erasure: e}
	if withdraw, _ := yes(field("withdraw")); withdraw {
		_, d.withdrew = p.consent(r, w, sites, false)
	}
	d.receipts = p.issue(r, policy.Erasure, sites)
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if d.lookFailed = p.look(looking, hs) != nil; d.lookFailed {
		for i := range hs {
			hs[i].shared, hs[i].own = event.Held{}, event.Held{}
		}
	}
	p.answerHeld(r, w, hs, d)
}

// deletion is what became of an order to delete.
type deletion struct {
	event.Erasure
	withdrew   bool
	lookFailed bool // the database could not be asked afterwards
	receipts   [][]byte
}

// down says that the database cannot be asked. Its error may name what it was asked for: it is told by kind only.
func (p *Pages) down(r *Request, w *fasthttp.Response, err error) {
	switch {
	case errors.Is(err, errBusy):
		p.log.Warn("a visitor's look-up had to wait too long")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p.log.Warn("a visitor's look-up took too long")
	default:
		p.log.Warn("a visitor's look-up failed: the database cannot be asked")
	}
	w.Header.Set("Retry-After", "60")
	w.SetStatusCode(fasthttp.StatusServiceUnavailable)
	if r.wants() == formPage {
		p.tpl.render(w, "down", &view{Title: titleMe, Query: queryOf(r), At: PathMe, Deleting: r.Method == fasthttp.MethodPost})
		return
	}
	answerJSON(w, []byte(`{"error":"the database cannot be asked now: try again in a minute","field":""}`))
}

// answerHeld answers with what is held, as a page or as JSON. d is nil where nothing was to be deleted.
func (p *Pages) answerHeld(r *Request, w *fasthttp.Response, hs []holding, d *deletion) {
	if r.wants() == formPage {
		p.tpl.render(w, "me", p.meView(r, hs, d))
		return
	}
	answerJSON(w, marshal(heldOf(hs, d, p.now())))
}
