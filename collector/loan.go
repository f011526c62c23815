package collector

import (
	"hash/fnv"
	"io"

	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/event"
)

// loan is the source that a click in a mail lends to the page view that follows it. A click itself
// is in no visit.
type loan struct {
	campaign, message string
	at                int64 // Unix seconds of the click
	day               event.Day
}

// maxLoans bounds the loans of a shard; of all together that is 65,536, about 160 bytes each. A click beyond it
// is counted and lends nothing.
const maxLoans = 1024

// lend keeps l for a visitor, in place of an older one.
func (vs *visits) lend(k visitKey, l loan) {
	s := vs.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.loans[k]; ok && old.at > l.at {
		return
	}
	s.keep(k, l)
}

// keep stores l if there is room. The caller holds the lock.
func (s *visitShard) keep(k visitKey, l loan) {
	if _, ok := s.loans[k]; !ok && len(s.loans) >= maxLoans {
		return
	}
	if s.loans == nil {
		s.loans = make(map[visitKey]loan)
	}
	s.loans[k] = l
}

// borrow takes the loan of a visitor for the page view e, if there is one that is not older than a visit's
// timeout.
func (vs *visits) borrow(k visitKey, e *event.Event) (loan, bool) {
	s := vs.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.loans[k]
	if !ok {
		return loan{}, false
	}
	delete(s.loans, k)
	return l, e.Time-l.at < visitTimeout && l.day == e.Day
}

// restoreLoan takes over what a click before a restart lent, unless the visitor has been active since: a
// visit that the click began has its source already.
func (vs *visits) restoreLoan(k visitKey, e *event.Event, now int64) {
	if now-e.Time >= visitTimeout {
		return
	}
	s := vs.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.m[k]; ok && v.last >= e.Time {
		return
	}
	if old, ok := s.loans[k]; ok && old.at > e.Time {
		return
	}
	s.keep(k, loan{campaign: e.Visit.UTMCampaign, message: e.Visit.UTMContent, at: e.Time, day: e.Day})
}

// otherMail reports whether the mail that e came from is not the one that the visit came from.
func (v *visit) otherMail(e *event.Event) bool {
	var was event.Visit
	decodeVisit(&was, v.rec)
	return was.Channel != classify.Email || was.UTMCampaign != e.Visit.UTMCampaign || was.UTMContent != e.Visit.UTMContent
}

// mark stands for what c says, and is never 0.
func (c *campaign) mark() uint32 {
	h := fnv.New32a()
	for _, s := range [...]string{c.utmSource, c.medium, c.name, c.content, c.term, c.ref, c.clickID} {
		io.WriteString(h, s)
		h.Write([]byte{0})
	}
	return h.Sum32() | 1
}
