package main

import (
	"context"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

// looks are the reports that staff and programs get. A question whose answer is withheld, because it was
// about fewer visitors than the site shows, is a line of the audit log: who asks such questions again and
// again may be looking for somebody. The line holds no filter: those can name who was looked for.
type looks struct {
	store.Reports
	note func(actor, action, object string, pairs ...string)
	now  func() time.Time

	mu   sync.Mutex
	last map[[2]string]time.Time // by actor and site
}

// looksEvery is the time in which several such looks of one person at one site are one line: a page asks
// more than one question.
const looksEvery = time.Minute

func (a *app) looks() *looks {
	return &looks{Reports: a.reports(), note: a.note, now: a.now, last: map[[2]string]time.Time{}}
}

// Query is [store.Reports.Query].
func (l *looks) Query(ctx context.Context, q store.Query) (*store.Result, error) {
	res, err := l.Reports.Query(ctx, q)
	if err == nil && res.Withheld == store.WithheldView {
		l.withheld(ctx, q.Site)
	}
	return res, err
}

// Overview is [store.Reports.Overview].
func (l *looks) Overview(ctx context.Context, q store.OverviewQuery) (*store.Overview, error) {
	res, err := l.Reports.Overview(ctx, q)
	if err == nil && res.Totals.Withheld {
		l.withheld(ctx, q.Site)
	}
	return res, err
}

func (l *looks) withheld(ctx context.Context, site string) {
	actor := "command line" // whoever owns the data directory
	if id, ok := auth.Of(ctx); ok {
		actor = id.String()
	}
	now := l.now()
	l.mu.Lock()
	for k, at := range l.last {
		if now.Sub(at) >= looksEvery {
			delete(l.last, k)
		}
	}
	_, known := l.last[[2]string{actor, site}]
	if !known {
		l.last[[2]string{actor, site}] = now
	}
	l.mu.Unlock()
	if !known {
		l.note(actor, policy.AuditSmall, site)
	}
}
