package dashboard

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kantarainitiative/footfall/policy"
)

// Audit reads the audit log.
type Audit interface {
	// Audit returns the entries with the action ("": any), newest first, after skip of them
	// and limit at most, and how many there are in all. The error wraps [policy.ErrAudit]
	// where the log is not whole; what can be read is there all the same.
	Audit(ctx context.Context, action string, skip, limit int) (entries []policy.AuditEntry, all int, head policy.AuditHead, err error)
}

const auditPerPage = 50

// auditPage is what was done, and by whom.
type auditPage struct {
	frame
	Broken  string // why the log is not whole, "" if it is
	Head    string
	All     string
	Actions []choice
	Rows    []auditRow
	Range   string
	Back    string
	Next    string
}

type auditRow struct {
	Seq           string
	Local, Time   string
	Actor, Action string
	Object        string
	Detail        [][2]string
}

// auditActions are all actions, as the form offers them.
func auditActions(now string) []choice {
	out := []choice{{"", "Everything", now == ""}}
	for _, a := range policy.AuditActions {
		out = append(out, choice{a, a, a == now})
	}
	return out
}

// audit draws GET /-/audit.
func (h *handler) audit(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	action := q.Get("action")
	page, err := strconv.Atoi(q.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	entries, all, head, err := h.o.Audit.Audit(r.Context(), action, (page-1)*auditPerPage, auditPerPage)
	p := auditPage{frame: h.frame(r, "Audit log"), Head: head.String(), All: count(uint64(all)), Actions: auditActions(action)}
	if err != nil {
		p.Broken = err.Error()
	}
	for _, e := range entries {
		x := auditRow{Seq: strconv.FormatUint(e.Seq, 10), Local: e.Time.Format(time.RFC3339), Time: e.Time.Format("2 Jan 2006 15:04:05"),
			Actor: e.Actor, Action: e.Action, Object: e.Object}
		for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
			x.Detail = append(x.Detail, [2]string{k, e.Detail[k]})
		}
		p.Rows = append(p.Rows, x)
	}
	at := func(n int) string {
		v := url.Values{}
		if action != "" {
			v.Set("action", action)
		}
		v.Set("page", strconv.Itoa(n))
		return "/-/audit?" + v.Encode()
	}
	first := (page - 1) * auditPerPage
	if n := len(entries); n > 0 {
		p.Range = count(uint64(first+1)) + "–" + count(uint64(first+n)) + " of " + count(uint64(all))
	}
	if page > 1 {
		p.Back = at(page - 1)
	}
	if first+len(entries) < all {
		p.Next = at(page + 1)
	}
	h.render(w, r, http.StatusOK, "audit", p)
}
