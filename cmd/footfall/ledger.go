package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/dashboard"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store"
)

// booksQuery is what `footfall ledger` was asked. Dates are on each site's own calendar.
type booksQuery struct {
	Site     string
	From, To event.Day // both included; 0: no such limit
	Minutes  bool
	PII      bool // where personal data was found, in place of the books
}

// maxMinuteDays is how many days may be asked for by the minute.
const maxMinuteDays = 31

func (q booksQuery) values() url.Values {
	v := url.Values{"site_id": {q.Site}, "minutes": {strconv.FormatBool(q.Minutes)}}
	if q.PII {
		v.Set("pii", "true")
	}
	for name, d := range map[string]event.Day{"from": q.From, "to": q.To} {
		if d != 0 {
			v.Set(name, d.String())
		}
	}
	return v
}

func parseBooksQuery(v url.Values) (q booksQuery, err error) {
	q.Site = v.Get("site_id")
	q.Minutes, _ = strconv.ParseBool(v.Get("minutes"))
	q.PII, _ = strconv.ParseBool(v.Get("pii"))
	for name, to := range map[string]*event.Day{"from": &q.From, "to": &q.To} {
		if s := v.Get(name); s != "" {
			t, err := time.Parse(time.DateOnly, s)
			if err != nil || t.Unix() <= 0 {
				return q, fmt.Errorf("%s: %q is no date such as 2026-11-24", name, s)
			}
			*to = event.DayOf(t)
		}
	}
	if q.To != 0 && q.To < q.From {
		return q, errors.New("to: the day is before that of from")
	}
	return q, nil
}

// check looks whether c has the site, and bounds minutes: without a first day they are today's.
func (q *booksQuery) check(c *Config, now time.Time) error {
	site := c.site(q.Site)
	if site == nil && q.Site != "" && q.Site != event.UnknownSite {
		return fmt.Errorf("site %q is not configured", q.Site)
	}
	if !q.Minutes {
		return nil
	}
	loc := time.UTC
	if site != nil {
		loc = site.Timezone.Location
	}
	today := event.DayOf(now.In(loc))
	last := q.To
	if last == 0 {
		last = max(today, q.From)
	}
	if q.From == 0 {
		q.From = min(today, last)
	}
	if last-q.From >= maxMinuteDays {
		return fmt.Errorf("minutes: at most %d days at a time", maxMinuteDays)
	}
	return nil
}

// booksReport is the ledger as it is printed with --json.
type booksReport struct {
	Balances bool       `json:"balances"`
	Total    booksLine  `json:"total"`
	Lines    []booksRow `json:"lines"`
}

type booksRow struct {
	Site string `json:"site"`
	Time string `json:"time"` // the day, or the minute with the site's offset
	booksLine
}

// booksLine is an account of hits: Received = Stored + Erased + Disposed + the sum of Dropped + Pending if it balances.
type booksLine struct {
	Received   uint64            `json:"received"`
	Stored     uint64            `json:"stored"`
	Erased     uint64            `json:"erased"`
	Disposed   uint64            `json:"disposed"`
	Dropped    map[string]uint64 `json:"dropped"`
	NotCounted uint64            `json:"not_counted"`
	Pending    uint64            `json:"pending"`
	Balances   bool              `json:"balances"`
}

func newBooksLine(l *store.LedgerLine) booksLine {
	return booksLine{l.Received, l.Stored, l.Erased, l.Disposed, l.Dropped, l.NotCounted(), l.Pending, l.Balances()}
}

// readBooks reads the ledger by day, or by minute, on each site's calendar. It balances
// only where each minute, or quarter of an hour, of each site does.
func readBooks(ctx context.Context, c *Config, st *store.Store, sp *spool.Spool, q booksQuery) (*booksReport, error) {
	zone := func(site string) *time.Location {
		if s := c.site(site); s != nil {
			return s.Timezone.Location
		}
		return time.UTC
	}
	// All zones are whole quarters of an hour from UTC, and days of all of them are within a day of UTC's.
	lq := store.LedgerQuery{Site: q.Site, Step: 15 * time.Minute}
	if q.Minutes {
		lq.Step = time.Minute
	}
	if q.From != 0 {
		lq.From = q.From.Time().AddDate(0, 0, -1)
	}
	if q.To != 0 {
		lq.To = q.To.Time().AddDate(0, 0, 2)
	}
	lines, err := st.Ledger(ctx, lq, sp.Waiting)
	if err != nil {
		return nil, err
	}
	type key struct {
		site string
		at   time.Time
	}
	sums := map[key]*store.LedgerLine{}
	total := store.LedgerLine{Dropped: map[string]uint64{}}
	r := &booksReport{Balances: true, Lines: []booksRow{}}
	off := map[key]bool{}
	for i := range lines {
		l := &lines[i]
		at := l.Start.In(zone(l.Site))
		day := event.DayOf(at)
		if day < q.From || q.To != 0 && day > q.To {
			continue
		}
		k := key{l.Site, day.Time()}
		if q.Minutes {
			k.at = at
		}
		if sums[k] == nil {
			sums[k] = &store.LedgerLine{}
		}
		sums[k].Add(l)
		total.Add(l)
		if !l.Balances() {
			off[k], r.Balances = true, false
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(sums), func(a, b key) int {
		return cmp.Or(strings.Compare(a.site, b.site), a.at.Compare(b.at))
	}) {
		layout := time.DateOnly
		if q.Minutes {
			layout = "2006-01-02T15:04Z07:00"
		}
		row := booksRow{k.site, k.at.Format(layout), newBooksLine(sums[k])}
		row.Balances = !off[k]
		r.Lines = append(r.Lines, row)
	}
	r.Total = newBooksLine(&total)
	r.Total.Balances = r.Balances
	return r, nil
}

// print writes the report as a table, with a column for each reason there is.
func (r *booksReport) print(out io.Writer) error {
	reasons := slices.Sorted(maps.Keys(r.Total.Dropped))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := append([]string{"site", "time", "received", "counted", "erased", "disposed", "not counted"}, reasons...)
	fmt.Fprintln(w, strings.Join(append(head, "pending", "balances"), "\t")+"\t")
	row := func(site, at string, l *booksLine) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t", site, at, l.Received, l.Stored, l.Erased, l.Disposed, l.NotCounted)
		for _, reason := range reasons {
			fmt.Fprintf(w, "%d\t", l.Dropped[reason])
		}
		fmt.Fprintf(w, "%d\t%s\t\n", l.Pending, map[bool]string{true: "yes", false: "NO"}[l.Balances])
	}
	for i := range r.Lines {
		row(r.Lines[i].Site, r.Lines[i].Time, &r.Lines[i].booksLine)
	}
	row("total", "", &r.Total)
	return w.Flush()
}

func runLedger(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("ledger", s)
	v := url.Values{}
	for flag, what := range map[string]string{
		"site": "one `site` only, or (unknown) for hits that name none",
		"from": "first `day`, as 2026-11-24, on the site's calendar (default: all; with --minutes today)",
		"to":   "last `day`",
	} {
		name := flag
		if flag == "site" {
			name = "site_id"
		}
		f.Func(flag, what, func(s string) error { v.Set(name, s); return nil })
	}
	minutes := f.Bool("minutes", false, "a line a minute instead of a line a day")
	pii := f.Bool("pii", false, "where personal data was found and masked, or dropped the hit: by kind and page")
	asJSON := f.Bool("json", false, "print JSON")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	v.Set("minutes", strconv.FormatBool(*minutes && !*pii))
	v.Set("pii", strconv.FormatBool(*pii))
	q, err := parseBooksQuery(v)
	if err != nil {
		return usageError{fmt.Errorf("--%w", err)}
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if err := q.check(cfg, time.Now()); err != nil {
		return usageError{fmt.Errorf("--%w", err)}
	}
	if q.PII {
		return runLedgerPII(ctx, s, cfg, q, *asJSON)
	}
	var r booksReport
	answer, status, err := askServe(ctx, cfg, http.MethodGet, "/api/v2/ledger?"+q.values().Encode(), nil)
	if err != nil {
		err = withStore(ctx, s, cfg, func(st *storeConn, log *slog.Logger) error {
			if err := announceOrders(cfg, st.Store); err != nil {
				return err
			}
			sp, err := openSpool(cfg, spool.Options{Now: time.Now, Log: log})
			if err != nil {
				return err
			}
			defer sp.Close(ctx) // no Run: what waits goes on waiting
			found, err := readBooks(ctx, cfg, st.Store, sp, q)
			if err == nil {
				r = *found
			}
			return err
		})
	} else if status == http.StatusBadRequest {
		return usageError{errors.New(errorText(answer))}
	} else if status != http.StatusOK {
		err = errors.New(errorText(answer))
	} else {
		err = json.Unmarshal(answer, &r)
	}
	if err != nil {
		return awayError{err}
	}
	if *asJSON {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(&r); err != nil {
			return err
		}
		_, err = s.out.Write(b.Bytes())
	} else {
		err = r.print(s.out)
	}
	if err != nil {
		return err
	}
	if !r.Balances {
		return errors.New("the books do not balance: what was received is not what was counted, erased, disposed, not counted and pending")
	}
	return nil
}

// withStore calls do with the store, opened in this process, which claims the data directory.
func withStore(ctx context.Context, s streams, c *Config, do func(*storeConn, *slog.Logger) error) error {
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	lock, err := c.lockData(ctx, ownerCommand)
	if err != nil {
		return err
	}
	defer lock.unlock()
	st, err := openStore(ctx, c, log, clocks{now: time.Now}, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer within(closeTimeout, func(ctx context.Context) { st.close(ctx) })
	ready, cancel := context.WithTimeout(ctx, 20*time.Second) // a serve may be waiting to start
	defer cancel()
	if err := st.Migrate(ready); err != nil {
		return fmt.Errorf("the store does not answer: %w", err)
	}
	return do(st, log)
}

// serveLedger answers GET /api/v2/ledger, which is what `footfall ledger` asks a serve for. Without a site it
// is for those who may see all of them, as is what names no site here.
func (a *app) serveLedger(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		auth.JSONError(w, http.StatusMethodNotAllowed, "GET the ledger")
		return
	}
	q, err := parseBooksQuery(r.URL.Query())
	if err != nil {
		auth.JSONError(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := q.check(a.config(), a.now()); err != nil {
		auth.JSONError(w, http.StatusBadRequest, err.Error())
		return
	}
	if id, _ := auth.From(r); !id.MaySee(q.Site) {
		auth.JSONError(w, http.StatusForbidden, "site_id: this token may not read that site, or all of them")
		return
	}
	var books any
	if q.PII {
		var found *piiReport
		if found, err = readPII(r.Context(), a.config(), a.store.Store, q); err == nil {
			if !seesMasked(r.Context()) {
				found.withoutPages(a.config().minVisitors)
			}
			books = found
		}
	} else {
		books, err = readBooks(r.Context(), a.config(), a.store.Store, a.spool, q)
	}
	if err != nil {
		a.log.Warn("the ledger could not be read", "error", err)
		auth.JSONError(w, http.StatusServiceUnavailable, "the ledger cannot be read now; the log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(books)
}

// foot is the two lines at the foot of a site's dashboard.
func (a *app) foot(ctx context.Context, site string, from, to time.Time) (dashboard.Foot, error) {
	lines, err := a.store.Ledger(ctx, store.LedgerQuery{Site: site, From: from, To: to}, a.spool.Waiting)
	if err != nil {
		return dashboard.Foot{}, err
	}
	sum := store.LedgerLine{}
	for i := range lines {
		sum.Add(&lines[i])
	}
	return dashboard.Foot{Books: dashboard.BooksOf(sum, site)}, nil
}

// ledgerPages is what the dashboard reads the books from.
type ledgerPages struct{ a *app }

func (p ledgerPages) Ledger(ctx context.Context, q store.LedgerQuery) ([]store.LedgerLine, error) {
	return p.a.store.Ledger(ctx, q, p.a.spool.Waiting)
}

func (p ledgerPages) Outages(ctx context.Context, site string, from, to time.Time) ([]store.Outage, error) {
	return p.a.store.Outages(ctx, site, from, to)
}

func (p ledgerPages) MaskedPages(ctx context.Context, q store.LedgerQuery) ([]store.MaskedPage, error) {
	found, err := p.a.store.MaskedPages(ctx, q)
	if err != nil || seesMasked(ctx) || p.a.config().minVisitors(q.Site) == 0 {
		return found, err
	}
	var out []store.MaskedPage
	for _, m := range found {
		i := slices.IndexFunc(out, func(x store.MaskedPage) bool { return x.Kind == m.Kind })
		if i < 0 {
			i, out = len(out), append(out, store.MaskedPage{Site: m.Site, Kind: m.Kind})
		}
		out[i].Masked += m.Masked
		out[i].Dropped += m.Dropped
	}
	return out, nil
}

func (p ledgerPages) Spool() (bytes, limit int64, oldest time.Time) {
	st := p.a.spool.Status()
	return st.Bytes, int64(p.a.config().Spool.MaxBytes), st.Oldest
}
