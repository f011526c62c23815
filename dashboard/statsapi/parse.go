package statsapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/store"
)

// Limits of a query.
const (
	defaultLimit = 10_000
	maxLimit     = 100_000
	maxDepth     = 8
	maxValues    = 1000
)

// Request is a query as it came, checked for shape. Names of metrics and dimensions are
// checked by the store, which knows them.
type Request struct {
	SiteID     string          `json:"site_id"`
	Metrics    []string        `json:"metrics"`
	DateRange  json.RawMessage `json:"date_range"`
	Dimensions []string        `json:"dimensions"`
	Filters    json.RawMessage `json:"filters"`
	OrderBy    json.RawMessage `json:"order_by"`
	Include    struct {
		TimeLabels bool `json:"time_labels"`
		TotalRows  bool `json:"total_rows"`
		Imports    bool `json:"imports"` // accepted: there are no imported statistics to leave out
	} `json:"include"`
	Pagination struct {
		Limit  *int `json:"limit"`
		Offset int  `json:"offset"`
	} `json:"pagination"`
}

// badRequest is an error whose text the asker may read. It names the part that is wrong.
type badRequest struct{ msg string }

func (e badRequest) Error() string { return e.msg }

func bad(format string, a ...any) error { return badRequest{fmt.Sprintf(format, a...)} }

// parseRequest reads the JSON of a query. Unknown keys are errors: a misspelt filter
// would otherwise answer another question.
func parseRequest(body []byte) (*Request, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var r Request
	if err := dec.Decode(&r); err != nil {
		return nil, jsonError(err)
	}
	if dec.More() {
		return nil, bad("the body holds more than one JSON value")
	}
	if r.SiteID == "" {
		return nil, bad("site_id: missing")
	}
	if len(r.Metrics) == 0 {
		return nil, bad("metrics: name at least one")
	}
	for name, list := range map[string][]string{"metrics": r.Metrics, "dimensions": r.Dimensions} {
		for i, v := range list {
			if slices.Contains(list[:i], v) {
				return nil, bad("%s: %q is named twice", name, v)
			}
		}
	}
	if len(r.DateRange) == 0 {
		return nil, bad("date_range: missing")
	}
	if l := r.Pagination.Limit; l != nil && (*l < 1 || *l > maxLimit) {
		return nil, bad("pagination: limit is %d, not 1 to %d", *l, maxLimit)
	}
	if r.Pagination.Offset < 0 {
		return nil, bad("pagination: offset is negative")
	}
	return &r, nil
}

func jsonError(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		what := "a " + typ.Value
		if strings.HasPrefix(typ.Value, "array") || strings.HasPrefix(typ.Value, "object") {
			what = "an " + typ.Value
		}
		if typ.Field == "" {
			return bad("the body is no query: a JSON object belongs there, not %s", what)
		}
		return bad("%s: %s is not what belongs there", typ.Field, what)
	}
	return bad("the body is no query: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// query turns the request into the store's terms. first tells when the site's data begins;
// it is called for date_range "all" only.
func (r *Request) query(site Site, now time.Time, first func() (time.Time, error)) (store.Query, error) {
	q := store.Query{
		Site: r.SiteID, Zone: site.Zone, LongIDs: site.LongIDs, Now: now, Metrics: r.Metrics, Dimensions: r.Dimensions,
		Limit: defaultLimit, Offset: r.Pagination.Offset, TotalRows: r.Include.TotalRows,
	}
	if r.Pagination.Limit != nil {
		q.Limit = *r.Pagination.Limit
	}
	var err error
	if q.From, q.To, err = parseRange(r.DateRange, site.Zone, now, first); err != nil {
		return q, err
	}
	if q.Filters, err = parseFilters(r.Filters); err != nil {
		return q, err
	}
	if q.OrderBy, err = r.order(); err != nil {
		return q, err
	}
	if r.Include.TimeLabels && !slices.ContainsFunc(r.Dimensions, isTime) {
		return q, bad("include: time_labels needs a time dimension")
	}
	return q, nil
}

func isTime(dimension string) bool {
	return dimension == "time" || strings.HasPrefix(dimension, "time:")
}

func (r *Request) order() (out []store.Order, err error) {
	if len(r.OrderBy) == 0 || string(r.OrderBy) == "null" {
		return nil, nil
	}
	var terms [][]string
	if json.Unmarshal(r.OrderBy, &terms) != nil {
		return nil, bad(`order_by: write [["visitors", "desc"]]`)
	}
	for _, t := range terms {
		if len(t) != 2 || t[1] != "asc" && t[1] != "desc" {
			return nil, bad(`order_by: each term is a name and "asc" or "desc"`)
		}
		if !slices.Contains(r.Metrics, t[0]) && !slices.Contains(r.Dimensions, t[0]) {
			return nil, bad("order_by: %q is neither a metric nor a dimension of this query", t[0])
		}
		out = append(out, store.Order{By: t[0], Desc: t[1] == "desc"})
	}
	return out, nil
}

// parseFilters reads the filters of a query: a list of [op, dimension, [values]] with an
// optional fourth {"case_sensitive": false}, and ["and"|"or", [filters]], ["not", filter].
func parseFilters(raw json.RawMessage) ([]store.Filter, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	return filterList(raw, 0)
}

func filterList(raw json.RawMessage, depth int) ([]store.Filter, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, bad("filters: a list of filters belongs there, not %s", short(raw))
	}
	out := make([]store.Filter, 0, len(list))
	for _, f := range list {
		parsed, err := filter(f, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, parsed)
	}
	return out, nil
}

func filter(raw json.RawMessage, depth int) (f store.Filter, err error) {
	if depth > maxDepth {
		return f, bad("filters: nested deeper than %d", maxDepth)
	}
	var parts []json.RawMessage
	if json.Unmarshal(raw, &parts) != nil || len(parts) < 2 || json.Unmarshal(parts[0], &f.Op) != nil {
		return f, bad(`filters: %s is no filter: write ["is", "visit:source", ["Google"]]`, short(raw))
	}
	switch f.Op {
	case "and", "or":
		if len(parts) != 2 {
			return f, bad("filters: %s takes one list of filters", f.Op)
		}
		if f.Filters, err = filterList(parts[1], depth+1); err == nil && len(f.Filters) == 0 {
			err = bad("filters: %s takes at least one filter", f.Op)
		}
		return f, err
	case "not":
		if len(parts) != 2 {
			return f, bad("filters: not takes one filter")
		}
		inner, err := filter(parts[1], depth+1)
		f.Filters = []store.Filter{inner}
		return f, err
	case "is", "is_not", "contains", "contains_not", "matches", "matches_not":
	default:
		return f, bad("filters: %q is no operator: is, is_not, contains, contains_not, matches, matches_not, and, or, not", f.Op)
	}
	if len(parts) < 3 || len(parts) > 4 || json.Unmarshal(parts[1], &f.Dimension) != nil {
		return f, bad("filters: %s takes a dimension and a list of values", f.Op)
	}
	var values []any
	dec := json.NewDecoder(bytes.NewReader(parts[2]))
	dec.UseNumber() // as it is written: 1000000 is not 1e+06
	if dec.Decode(&values) != nil || len(values) == 0 || len(values) > maxValues {
		return f, bad("filters: %s on %s takes a list of 1 to %d values", f.Op, f.Dimension, maxValues)
	}
	for _, v := range values {
		switch v := v.(type) {
		case string:
			f.Values = append(f.Values, v)
		case json.Number:
			f.Values = append(f.Values, v.String())
		default:
			return f, bad("filters: a value of %s is neither text nor a number", f.Dimension)
		}
	}
	if len(parts) == 4 {
		var mod struct {
			CaseSensitive *bool `json:"case_sensitive"`
		}
		dec := json.NewDecoder(bytes.NewReader(parts[3]))
		dec.DisallowUnknownFields()
		if dec.Decode(&mod) != nil || mod.CaseSensitive == nil {
			return f, bad(`filters: the fourth element is {"case_sensitive": false} or nothing`)
		}
		f.IgnoreCase = !*mod.CaseSensitive
	}
	return f, nil
}

func short(raw json.RawMessage) string {
	s := strings.ToValidUTF8(string(raw), "\uFFFD")
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return s
}
