package statsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/store"
)

// reader records what it is asked and answers the same always.
type reader struct {
	asked []store.Query
	err   error
}

func (r *reader) Query(_ context.Context, q store.Query) (*store.Result, error) {
	r.asked = append(r.asked, q)
	if r.err != nil {
		return nil, r.err
	}
	n := 3.0
	row := store.Row{Metrics: make([]*float64, len(q.Metrics))}
	row.Metrics[0] = &n
	for range q.Dimensions {
		row.Dimensions = append(row.Dimensions, "2026-11-02")
	}
	return &store.Result{Rows: []store.Row{row}, TotalRows: 7, Warnings: map[string]string{"visitors": "daily ids"}, Capped: map[string]int{"visit:source": 3}}, nil
}

func (r *reader) Realtime(context.Context, string) (uint64, error) { return 14, r.err }

func kolkata(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Kolkata") // UTC+5:30
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func api(t *testing.T, r *reader) *API {
	zone := kolkata(t)
	return &API{
		Reader: r, Log: slog.New(slog.DiscardHandler),
		Site: func(name string) (Site, bool) { return Site{Zone: zone}, strings.HasPrefix(name, "example.") },
		Now:  func() time.Time { return time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC) }, // the 25th there
	}
}

func TestQueryReachesTheStore(t *testing.T) {
	r := &reader{}
	a := api(t, r)
	res, err := a.Answer(t.Context(), auth.Identity{}, []byte(`{
		"site_id": "example.org", "metrics": ["visitors", "bounce_rate"], "date_range": ["2026-11-01", "2026-11-24"],
		"dimensions": ["time:day"], "filters": [["is", "visit:country", ["DE", "FR"]], ["or", [
			["contains", "event:page", ["/docs"], {"case_sensitive": false}],
			["not", ["matches", "event:name", ["^Sign"]]]]]],
		"order_by": [["visitors", "desc"]], "include": {"total_rows": true, "time_labels": true},
		"pagination": {"limit": 20, "offset": 40}}`))
	if err != nil {
		t.Fatal(err)
	}
	zone := kolkata(t)
	want := store.Query{
		Site: "example.org", Zone: zone, Now: a.Now(),
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, zone), To: time.Date(2026, 11, 25, 0, 0, 0, 0, zone),
		Metrics: []string{"visitors", "bounce_rate"}, Dimensions: []string{"time:day"},
		Filters: []store.Filter{
			{Op: "is", Dimension: "visit:country", Values: []string{"DE", "FR"}},
			{Op: "or", Filters: []store.Filter{
				{Op: "contains", Dimension: "event:page", Values: []string{"/docs"}, IgnoreCase: true},
				{Op: "not", Filters: []store.Filter{{Op: "matches", Dimension: "event:name", Values: []string{"^Sign"}}}},
			}},
		},
		OrderBy: []store.Order{{By: "visitors", Desc: true}}, Limit: 20, Offset: 40, TotalRows: true,
	}
	if got := r.asked[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("asked %+v\nwant  %+v", got, want)
	}
	var out map[string]any
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	meta := out["meta"].(map[string]any)
	if labels := meta["time_labels"].([]any); len(labels) != 24 || labels[0] != "2026-11-01" || labels[23] != "2026-11-24" {
		t.Errorf("time labels %v", labels)
	}
	if said, want := fmt.Sprint(meta["dimension_warnings"]), `map[visit:source:map[code:capped warning:On 3 of the days there were more than 100000 different values of visit:source: those with the fewest visitors are together as "(other)"]]`; said != want {
		t.Errorf("got %s, want %s", said, want)
	}
	if meta["total_rows"] != 7.0 || meta["metric_warnings"] == nil {
		t.Errorf("meta %v", meta)
	}
	if got := string(b); !strings.Contains(got, `"results":[{"metrics":[3,null],"dimensions":["2026-11-02"]}]`) {
		t.Errorf("answer %s", got)
	}
	if got := out["query"].(map[string]any)["date_range"].([]any); got[0] != "2026-11-01T00:00:00+05:30" || got[1] != "2026-11-24T23:59:59+05:30" {
		t.Errorf("date_range %v", got)
	}
}

func TestDateRanges(t *testing.T) {
	zone := kolkata(t)
	now := time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)
	first := func() (time.Time, error) { return time.Date(2026, 3, 5, 9, 0, 0, 0, zone), nil }
	for in, want := range map[string][2]string{
		`"day"`:                       {"2026-11-25 00:00:00", "2026-11-26 00:00:00"},
		`"7d"`:                        {"2026-11-19 00:00:00", "2026-11-26 00:00:00"},
		`"28d"`:                       {"2026-10-29 00:00:00", "2026-11-26 00:00:00"},
		`"91d"`:                       {"2026-08-27 00:00:00", "2026-11-26 00:00:00"},
		`"month"`:                     {"2026-11-01 00:00:00", "2026-12-01 00:00:00"},
		`"6mo"`:                       {"2026-06-01 00:00:00", "2026-12-01 00:00:00"},
		`"12mo"`:                      {"2025-12-01 00:00:00", "2026-12-01 00:00:00"},
		`"year"`:                      {"2026-01-01 00:00:00", "2027-01-01 00:00:00"},
		`"all"`:                       {"2026-03-05 00:00:00", "2026-11-26 00:00:00"},
		`["2026-02-28","2026-02-28"]`: {"2026-02-28 00:00:00", "2026-03-01 00:00:00"},
		`["2026-02-28T10:00:00Z","2026-02-28T11:59:59Z"]`: {"2026-02-28 15:30:00", "2026-02-28 17:30:00"},
		`["2026-02-28T10:00:00","2026-02-28T10:00:00"]`:   {"2026-02-28 10:00:00", "2026-02-28 10:00:01"},
	} {
		from, to, err := parseRange(json.RawMessage(in), zone, now, first)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if f, g := from.In(zone).Format(time.DateTime), to.In(zone).Format(time.DateTime); f != want[0] || g != want[1] {
			t.Errorf("%s: %s to %s, want %v", in, f, g, want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	const good = `"site_id":"example.org","metrics":["visitors"],"date_range":"7d"`
	for body, want := range map[string]string{
		``:                             "no query",
		`[]`:                           "object belongs there, not an array",
		`{"site_id":1}`:                "site_id",
		`{}`:                           "site_id",
		`{"site_id":"example.org"}`:    "metrics",
		`{` + good + `,"filtres":[]}`:  "filtres",
		`{` + good + `}{}`:             "more than one",
		`{` + good + `,"filters":{}}`:  "filters",
		`{` + good + `,"filters":[1]}`: "filters",
		`{` + good + `,"filters":[["is","visit:source"]]}`:                                          "filters",
		`{` + good + `,"filters":[["is","visit:source",[]]]}`:                                       "filters",
		`{` + good + `,"filters":[["is","visit:source",[null]]]}`:                                   "visit:source",
		`{` + good + `,"filters":[["like","visit:source",["x"]]]}`:                                  "like",
		`{` + good + `,"filters":[["and",[]]]}`:                                                     "and",
		`{` + good + `,"filters":[["is","visit:source",["x"],{"x":1}]]}`:                            "case_sensitive",
		`{` + good + `,"filters":` + `[` + deep(20) + `]}`:                                          "nested",
		`{` + good + `,"order_by":[["visits","desc"]]}`:                                             "order_by",
		`{` + good + `,"order_by":[["visitors","down"]]}`:                                           "order_by",
		`{` + good + `,"order_by":"visitors"}`:                                                      "order_by",
		`{` + good + `,"pagination":{"limit":0}}`:                                                   "limit",
		`{` + good + `,"pagination":{"offset":-1}}`:                                                 "offset",
		`{` + good + `,"include":{"time_labels":true}}`:                                             "time_labels",
		`{"site_id":"example.org","metrics":["visitors","visitors"],"date_range":"7d"}`:             "twice",
		`{"site_id":"example.org","metrics":["visitors"],"date_range":"fortnight"}`:                 "date_range",
		`{"site_id":"example.org","metrics":["visitors"],"date_range":["2026-11-02","2026-11-01"]}`: "date_range",
		`{"site_id":"example.org","metrics":["visitors"],"date_range":["2026-11-02"]}`:              "date_range",
		`{"site_id":"example.org","metrics":["visitors"],"date_range":["2026-02-30","2026-03-01"]}`: "date_range",
	} {
		_, err := api(t, &reader{}).Answer(t.Context(), auth.Identity{}, []byte(body))
		var s *StatusError
		if !errors.As(err, &s) || s.Status != http.StatusBadRequest || !strings.Contains(s.Msg, want) {
			t.Errorf("%s: %v, want a 400 that names %s", body, err, want)
		}
	}
}

// Numbers among a filter's values are taken as they are written: properties are text.
func TestNumbersInFilters(t *testing.T) {
	got, err := parseFilters([]byte(`[["is","event:props:n",[1000000,0.10,12345678901234567890,"x"]]]`))
	if err != nil || !slices.Equal(got[0].Values, []string{"1000000", "0.10", "12345678901234567890", "x"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func deep(n int) string {
	return strings.Repeat(`["not",`, n) + `["is","visit:source",["x"]]` + strings.Repeat(`]`, n)
}

func TestStatuses(t *testing.T) {
	const body = `{"site_id":"example.org","metrics":["visitors"],"date_range":"7d"}`
	for name, c := range map[string]struct {
		id   auth.Identity
		err  error
		body string
		want int
	}{
		"good":         {body: body, want: 200},
		"unknown site": {body: strings.Replace(body, "example.org", "elsewhere.org", 1), want: 404},
		"other site":   {id: auth.Identity{Token: true, Sites: []string{"example.net"}}, body: body, want: 403},
		"bad name":     {err: &store.QueryError{Part: "metrics", Msg: `"visitorz" is no metric`}, body: body, want: 400},
		"store down":   {err: errors.New("dial tcp: refused by 10.0.0.7"), body: body, want: 503},
		"too much":     {err: fmt.Errorf("report.sql at 10.0.0.7: %w", store.ErrLimit), body: body, want: 400},
		"huge":         {body: strings.Repeat(" ", maxBody+1), want: 413},
	} {
		t.Run(name, func(t *testing.T) {
			a := api(t, &reader{err: c.err})
			h := http.HandlerFunc(a.Query)
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "/api/v2/query", strings.NewReader(c.body))
			h(w, r.WithContext(auth.With(r.Context(), c.id)))
			if w.Code != c.want {
				t.Fatalf("status %d, want %d: %s", w.Code, c.want, w.Body)
			}
			b, _ := io.ReadAll(w.Body)
			if strings.Contains(string(b), "10.0.0.7") {
				t.Errorf("the answer tells about the inside: %s", b)
			}
			if c.want != 200 && !strings.Contains(string(b), `"error":`) {
				t.Errorf("no error in %s", b)
			}
		})
	}
}

func TestRealtime(t *testing.T) {
	a := api(t, &reader{})
	w := httptest.NewRecorder()
	a.Realtime(w, httptest.NewRequest("GET", "/api/v2/realtime?site_id=example.org", nil))
	if got := strings.TrimSpace(w.Body.String()); got != `{"visitors":14}` {
		t.Error(got)
	}
	w = httptest.NewRecorder()
	a.Realtime(w, httptest.NewRequest("GET", "/api/v2/realtime", nil))
	if w.Code != 400 {
		t.Error(w.Code)
	}
}

// few is a store whose site has too few visitors to be told of.
type few struct{}

func (few) Query(context.Context, store.Query) (*store.Result, error) {
	return &store.Result{Rows: []store.Row{{Metrics: make([]*float64, 1)}}, Withheld: store.WithheldView, MinVisitors: 5}, nil
}

func (few) Realtime(context.Context, string) (uint64, error) { return 0, &store.FewError{Min: 5} }

func TestWithheld(t *testing.T) {
	a := api(t, &reader{})
	a.Reader = few{}
	w := httptest.NewRecorder()
	a.Query(w, httptest.NewRequest("POST", "/api/v2/query", strings.NewReader(
		`{"site_id":"example.org","metrics":["visitors"],"date_range":"7d","filters":[["is","visit:source",["rare.example"]]]}`)))
	for _, want := range []string{`"results":[{"metrics":[null],"dimensions":[]}]`, `"withheld":{"what":"view","fewer_than":5}`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s lacks %s", w.Body, want)
		}
	}
	w = httptest.NewRecorder()
	a.Realtime(w, httptest.NewRequest("GET", "/api/v2/realtime?site_id=example.org", nil))
	if got := strings.TrimSpace(w.Body.String()); got != `{"fewer_than":5,"visitors":null}` {
		t.Error(got)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"site_id":"example.org","metrics":["visitors"],"date_range":"7d","filters":[["is","visit:source",["x"]]]}`))
	f.Add([]byte(`{"site_id":"e","metrics":["m"],"date_range":["2026-01-01","2026-01-02T00:00:00Z"],"order_by":[["m","asc"]]}`))
	f.Add([]byte(`{"filters":[["and",[["not",["or",[]]]]]]}`))
	now := time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err != nil {
			return
		}
		q, err := r.query(Site{Zone: time.UTC}, now, func() (time.Time, error) { return now, nil })
		if err != nil {
			return
		}
		if !q.From.Before(q.To) || q.Limit < 1 || q.Limit > maxLimit || q.Offset < 0 || len(q.Metrics) == 0 {
			t.Errorf("out of bounds: %+v", q)
		}
		// What is said to have been understood asks the same.
		echo := respond(r, q, &store.Result{}).Query
		text, err := json.Marshal(echo)
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("%s: %v", text, err)
		}
		r, err = parseRequest(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := r.query(Site{Zone: time.UTC}, now, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again.TotalRows = q.TotalRows; len(q.Filters)+len(again.Filters) == 0 {
			again.Filters = q.Filters
		}
		if len(q.OrderBy)+len(again.OrderBy) == 0 {
			again.OrderBy = q.OrderBy
		}
		if len(q.Dimensions)+len(again.Dimensions) == 0 {
			again.Dimensions = q.Dimensions
		}
		if !again.From.Equal(q.From) || !again.To.Equal(q.To) {
			t.Errorf("from %v to %v, and again from %v to %v", q.From, q.To, again.From, again.To)
		}
		again.From, again.To = q.From, q.To
		if !reflect.DeepEqual(again, q) {
			t.Errorf("understood as %s\n%+v\n%+v", text, q, again)
		}
	})
}

// hung is a store that neither answers nor fails.
type hung struct{}

func (hung) Query(ctx context.Context, _ store.Query) (*store.Result, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hung) Realtime(ctx context.Context, _ string) (uint64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestHungStoreIsAnswered(t *testing.T) {
	a := api(t, nil)
	a.Reader, a.Timeout = hung{}, 10*time.Millisecond
	for _, c := range []struct {
		request *http.Request
		handler http.HandlerFunc
	}{
		{httptest.NewRequest("POST", "/api/v2/query", strings.NewReader(`{"site_id": "example.org", "metrics": ["visitors"], "date_range": "day"}`)), a.Query},
		{httptest.NewRequest("GET", "/api/v2/realtime?site_id=example.org", nil), a.Realtime},
	} {
		w := httptest.NewRecorder()
		c.handler(w, c.request)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "does not answer") {
			t.Errorf("%s: %d %s", c.request.URL, w.Code, w.Body)
		}
	}
}
