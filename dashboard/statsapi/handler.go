// Package statsapi answers the Stats API: queries in JSON with Plausible's v2 shape and
// names, over HTTP and for the command line, and the number of visitors there now.
//
// It only translates: what a metric means is the store's, so the pages and the API
// cannot disagree.
package statsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/period"
	"github.com/kantarainitiative/footfall/store"
)

// maxBody bounds a query's JSON.
const maxBody = 256 << 10

// Reader is what the API needs of a store.
type Reader interface {
	Query(ctx context.Context, q store.Query) (*store.Result, error)
	Realtime(ctx context.Context, site string) (uint64, error)
}

// API answers queries about the configured sites.
type API struct {
	Reader Reader
	Site   func(name string) (Site, bool) // false: no such site
	Now    func() time.Time
	Log    *slog.Logger

	Timeout time.Duration // of one answer; 0: 45 s, more than the store gives a statement
}

// limited bounds the wait for a store that neither answers nor fails.
func (a *API) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.Timeout == 0 {
		return context.WithTimeout(ctx, 45*time.Second)
	}
	return context.WithTimeout(ctx, a.Timeout)
}

// Site is what a query has to know of its site.
type Site struct {
	Zone    *time.Location
	LongIDs bool // its visitor ids outlive a day
}

type resultRow struct {
	Metrics    []*float64 `json:"metrics"`
	Dimensions []string   `json:"dimensions"`
}

// warning is a remark that a reader of the figures needs.
type warning struct {
	Code    string `json:"code"`
	Warning string `json:"warning"`
}

type meta struct {
	MetricWarnings map[string]warning `json:"metric_warnings,omitempty"`
	// DimensionWarnings are about the values of a dimension.
	DimensionWarnings map[string]warning `json:"dimension_warnings,omitempty"`
	TimeLabels        []string           `json:"time_labels,omitempty"`
	TotalRows         *int               `json:"total_rows,omitempty"`
	Withheld          *withheld          `json:"withheld,omitempty"`
}

// withheld says that there is more than may be told.
type withheld struct {
	What      string `json:"what"` // "view": all of it; "rows": steps of time
	FewerThan int    `json:"fewer_than"`
}

type pagination struct {
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// Response is the answer to a query; "query" in it is what was understood.
type Response struct {
	Results []resultRow `json:"results"`
	Meta    meta        `json:"meta"`
	Query   struct {
		SiteID     string          `json:"site_id"`
		Metrics    []string        `json:"metrics"`
		DateRange  [2]string       `json:"date_range"`
		Filters    json.RawMessage `json:"filters"`
		Dimensions []string        `json:"dimensions"`
		OrderBy    [][2]string     `json:"order_by"`
		Include    map[string]bool `json:"include"`
		Pagination pagination      `json:"pagination"`
	} `json:"query"`
}

// StatusError is an error with the HTTP status that says what kind it is, and a text that
// the asker may read.
type StatusError struct {
	Status int
	Msg    string
}

func (e *StatusError) Error() string { return e.Msg }

// Answer answers the query in body for id. Its errors are *StatusError.
func (a *API) Answer(ctx context.Context, id auth.Identity, body []byte) (*Response, error) {
	ctx, cancel := a.limited(ctx)
	defer cancel()
	r, err := parseRequest(body)
	if err != nil {
		return nil, a.statusError(ctx, err)
	}
	site, err := a.site(id, r.SiteID)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	q, err := r.query(site, now, func() (time.Time, error) { return a.first(ctx, r.SiteID, site.Zone, now) })
	if err != nil {
		return nil, a.statusError(ctx, err)
	}
	res, err := a.Reader.Query(ctx, q)
	if err != nil {
		return nil, a.statusError(ctx, err)
	}
	return respond(r, q, res), nil
}

func (a *API) site(id auth.Identity, name string) (Site, error) {
	site, ok := a.Site(name)
	if !ok {
		return Site{}, &StatusError{http.StatusNotFound, "site_id: there is no such site"}
	}
	if !id.MaySee(name) {
		return Site{}, &StatusError{http.StatusForbidden, "this token may not read that site"}
	}
	return site, nil
}

// first returns the first day of the site that has data, zero if none has.
func (a *API) first(ctx context.Context, site string, zone *time.Location, now time.Time) (time.Time, error) {
	res, err := a.Reader.Query(ctx, store.Query{
		Site: site, Zone: zone, Now: now, From: time.Date(1971, 1, 1, 0, 0, 0, 0, zone), To: period.AddDays(now.In(zone), 1),
		Metrics: []string{"events"}, Dimensions: []string{"time:day"}, OrderBy: []store.Order{{By: "time:day"}}, Limit: 1,
	})
	if err != nil || len(res.Rows) == 0 {
		return time.Time{}, err
	}
	return time.ParseInLocation(time.DateOnly, res.Rows[0].Dimensions[0], zone)
}

func respond(r *Request, q store.Query, res *store.Result) *Response {
	out := &Response{Results: make([]resultRow, 0, len(res.Rows))}
	for _, row := range res.Rows {
		d := row.Dimensions
		if d == nil {
			d = []string{}
		}
		out.Results = append(out.Results, resultRow{row.Metrics, d})
	}
	for metric, w := range res.Warnings {
		if out.Meta.MetricWarnings == nil {
			out.Meta.MetricWarnings = map[string]warning{}
		}
		out.Meta.MetricWarnings[metric] = warning{"remark", w}
	}
	for dim, days := range res.Capped {
		if out.Meta.DimensionWarnings == nil {
			out.Meta.DimensionWarnings = map[string]warning{}
		}
		out.Meta.DimensionWarnings[dim] = warning{"capped", fmt.Sprintf("On %d of the days there were more than %d different values of %s: those with the fewest visitors are together as %q",
			days, store.RollupCap, dim, store.Other)}
	}
	if res.Withheld != "" {
		out.Meta.Withheld = &withheld{res.Withheld, res.MinVisitors}
	}
	if r.Include.TotalRows {
		out.Meta.TotalRows = &res.TotalRows
	}
	if r.Include.TimeLabels {
		i := slices.IndexFunc(r.Dimensions, isTime)
		out.Meta.TimeLabels = store.TimeLabels(q, r.Dimensions[i])
	}
	o := &out.Query
	o.SiteID, o.Metrics, o.Dimensions, o.Filters = r.SiteID, r.Metrics, r.Dimensions, r.Filters
	if o.Dimensions == nil {
		o.Dimensions = []string{}
	}
	if len(o.Filters) == 0 {
		o.Filters = json.RawMessage("[]")
	}
	o.DateRange = [2]string{q.From.In(q.Zone).Format(time.RFC3339), q.To.Add(-time.Second).In(q.Zone).Format(time.RFC3339)}
	o.OrderBy = [][2]string{}
	for _, t := range q.OrderBy {
		dir := "asc"
		if t.Desc {
			dir = "desc"
		}
		o.OrderBy = append(o.OrderBy, [2]string{t.By, dir})
	}
	o.Include = map[string]bool{}
	for name, on := range map[string]bool{"time_labels": r.Include.TimeLabels, "total_rows": r.Include.TotalRows, "imports": r.Include.Imports} {
		if on {
			o.Include[name] = true
		}
	}
	o.Pagination = pagination{q.Limit, q.Offset}
	return out
}

// statusError is the one table from what went wrong to what the asker is told.
func (a *API) statusError(ctx context.Context, err error) error {
	var b badRequest
	var q *store.QueryError
	switch {
	case errors.As(err, &b):
		return &StatusError{http.StatusBadRequest, b.msg}
	case errors.As(err, &q):
		return &StatusError{http.StatusBadRequest, q.Error()}
	case errors.Is(err, store.ErrLimit): // the store is well: asking again would cost the same
		return &StatusError{http.StatusBadRequest, "the query asks for too much time or memory: take a shorter period or fewer dimensions"}
	case errors.Is(ctx.Err(), context.Canceled):
		return &StatusError{499, "the asker went away"}
	}
	a.Log.Error("stats query failed", "error", err)
	return &StatusError{http.StatusServiceUnavailable, "the store does not answer; the server's log says why"}
}

func (a *API) fail(w http.ResponseWriter, err error) {
	var s *StatusError
	if !errors.As(err, &s) {
		s = &StatusError{http.StatusInternalServerError, "internal error"}
	}
	auth.JSONError(w, s.Status, s.Msg)
}

// Query is the handler of POST /api/v2/query.
func (a *API) Query(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		auth.JSONError(w, http.StatusMethodNotAllowed, "POST a query")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			auth.JSONError(w, http.StatusRequestEntityTooLarge, "the query is larger than 256 KiB")
			return
		}
		auth.JSONError(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	id, _ := auth.From(r)
	res, err := a.Answer(r.Context(), id, body)
	if err != nil {
		a.fail(w, err)
		return
	}
	writeJSON(w, res)
}

// Realtime is the handler of GET /api/v2/realtime: {"visitors": n} of the last five minutes, or
// {"visitors": null, "fewer_than": n} where there are too few to be told.
func (a *API) Realtime(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		auth.JSONError(w, http.StatusMethodNotAllowed, "GET the number")
		return
	}
	site := r.URL.Query().Get("site_id")
	if site == "" {
		auth.JSONError(w, http.StatusBadRequest, "site_id: missing")
		return
	}
	id, _ := auth.From(r)
	if _, err := a.site(id, site); err != nil {
		a.fail(w, err)
		return
	}
	ctx, cancel := a.limited(r.Context())
	defer cancel()
	n, err := a.Reader.Realtime(ctx, site)
	var few *store.FewError
	if errors.As(err, &few) {
		writeJSON(w, map[string]any{"visitors": nil, "fewer_than": few.Min})
		return
	}
	if err != nil {
		a.fail(w, a.statusError(ctx, err))
		return
	}
	writeJSON(w, map[string]uint64{"visitors": n})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // the asker may have gone; nothing else can fail
}
