package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/store"
)

// piiReport is where personal data was found, as `footfall ledger --pii --json` prints it, most hits first.
type piiReport struct {
	Pages []piiRow `json:"pages"`
}

// piiRow is one page and kind of personal data. Hits that had several kinds are in several rows.
type piiRow struct {
	Site    string `json:"site"`
	Kind    string `json:"kind"`
	Page    string `json:"page"`    // "" where it is not for the reader
	Hits    uint64 `json:"hits"`    // Masked + Dropped
	Masked  uint64 `json:"masked"`  // stored without it
	Dropped uint64 `json:"dropped"` // not counted for it
}

// readPII asks for each site the days of its own calendar.
func readPII(ctx context.Context, c *Config, st *store.Store, q booksQuery) (*piiReport, error) {
	r := &piiReport{Pages: []piiRow{}}
	for i := range c.Sites {
		s := &c.Sites[i]
		if q.Site != "" && q.Site != s.Domain {
			continue
		}
		lq := store.LedgerQuery{Site: s.Domain}
		if q.From != 0 {
			lq.From = q.From.Start(s.Timezone.Location)
		}
		if q.To != 0 {
			lq.To = (q.To + 1).Start(s.Timezone.Location)
		}
		found, err := st.MaskedPages(ctx, lq)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			r.Pages = append(r.Pages, piiRow{p.Site, p.Kind, p.Page, p.Masked + p.Dropped, p.Masked, p.Dropped})
		}
	}
	r.sort()
	return r, nil
}

// seesMasked tells whether who asks may see on which pages personal data was found, however few were
// there. The control socket has no identity: who has the data directory has all of it.
func seesMasked(ctx context.Context) bool {
	id, ok := auth.Of(ctx)
	return !ok || id.May(auth.Privacy)
}

// withoutPages leaves of sites with a rule on small numbers the kinds only, in rows without a page: one may
// have been seen by anybody alone.
func (r *piiReport) withoutPages(min func(site string) int) {
	out := []piiRow{}
	at := map[[2]string]int{}
	for _, p := range r.Pages {
		if min(p.Site) == 0 {
			out = append(out, p)
			continue
		}
		k := [2]string{p.Site, p.Kind}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, piiRow{Site: p.Site, Kind: p.Kind})
		}
		out[i].Hits += p.Hits
		out[i].Masked += p.Masked
		out[i].Dropped += p.Dropped
	}
	r.Pages = out
	r.sort()
}

func (r *piiReport) sort() {
	slices.SortFunc(r.Pages, func(a, b piiRow) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), strings.Compare(a.Site, b.Site), strings.Compare(a.Page, b.Page), strings.Compare(a.Kind, b.Kind))
	})
}

func (r *piiReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "site\tkind\thits\tmasked\tdropped\tpage")
	for _, p := range r.Pages {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", p.Site, p.Kind, p.Hits, p.Masked, p.Dropped, p.Page)
	}
	return w.Flush()
}

// runLedgerPII is `footfall ledger --pii`.
func runLedgerPII(ctx context.Context, s streams, cfg *Config, q booksQuery, asJSON bool) error {
	var r piiReport
	answer, status, err := askServe(ctx, cfg, http.MethodGet, "/api/v2/ledger?"+q.values().Encode(), nil)
	switch {
	case err != nil:
		err = withStore(ctx, s, cfg, func(st *storeConn, _ *slog.Logger) error {
			found, err := readPII(ctx, cfg, st.Store, q)
			if err == nil {
				r = *found
			}
			return err
		})
	case status != http.StatusOK:
		err = errors.New(errorText(answer))
	default:
		err = json.Unmarshal(answer, &r)
	}
	if err != nil {
		return err
	}
	if !asJSON {
		return r.print(s.out)
	}
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(&r)
}
