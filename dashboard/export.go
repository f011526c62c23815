package dashboard

import (
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

// export answers GET /{site}/export.csv?by=DIMENSION: the details, all rows.
func (h *handler) export(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "export.csv")
	if !ok {
		return
	}
	l, err := parseListing(r)
	if err != nil {
		h.problem(w, r, http.StatusBadRequest, "That address does not make sense", sentence(err.Error()))
		return
	}
	q := l.query(v)
	q.Limit = exportRows
	res, err := h.o.Reader.Query(r.Context(), q)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	out := h.csvFile(w, r, v, strings.ReplaceAll(l.dim.Name, ":", "-"))
	head := []string{l.dim.Name}
	named := l.dim.Name == "visit:country"
	if named {
		head = append(head, "visit:country_name")
	}
	for _, c := range l.cols {
		head = append(head, c.Metric)
	}
	out.Write(head)
	for {
		for _, x := range res.Rows {
			if len(x.Dimensions) == 0 {
				continue
			}
			rec := []string{csvCell(x.Dimensions[0])}
			if named {
				rec = append(rec, csvCell(valueLabel(l.dim.Name, x.Dimensions[0], "")))
			}
			for i := range l.cols {
				rec = append(rec, number(x, i))
			}
			out.Write(rec)
		}
		q.Offset += len(res.Rows)
		if len(res.Rows) < q.Limit || q.Offset >= exportMost {
			break
		}
		if res, err = h.o.Reader.Query(r.Context(), q); err != nil {
			h.o.Log.Warn("dashboard: a CSV file broke off", "error", errorText(err))
			panic(http.ErrAbortHandler) // a cut connection, so that a part is not taken for the whole
		}
	}
	out.Flush()
}

// number is metric i of a row as programs read it, "" where there is none.
func number(x store.Row, i int) string {
	if i >= len(x.Metrics) || x.Metrics[i] == nil {
		return ""
	}
	return strconv.FormatFloat(math.Round(*x.Metrics[i]*100)/100, 'f', -1, 64)
}

// csvFile begins the answer with a CSV file of the view, and notes that figures leave the house.
func (h *handler) csvFile(w http.ResponseWriter, r *http.Request, v view, what string) *csv.Writer {
	h.note(r, policy.AuditExport, v.Site, "what", what, "from", v.Range.From.Format(time.DateOnly), "to", v.Range.To.Add(-time.Second).Format(time.DateOnly))
	name := fmt.Sprintf("%s %s %s to %s", v.Site, what, v.Range.From.Format(time.DateOnly), v.Range.To.Add(-time.Second).Format(time.DateOnly))
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, name)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+safe+`.csv"`)
	w.Header().Set("Cache-Control", "no-store")
	out := csv.NewWriter(w)
	out.UseCRLF = true
	return out
}

// seriesCSV answers GET /{site}/series.csv: the chart's table.
func (h *handler) seriesCSV(w http.ResponseWriter, r *http.Request, s Site) {
	v, ok := h.view(w, r, s, "series.csv")
	if !ok {
		return
	}
	o, err := h.o.Reader.Overview(r.Context(), v.overview(nil, 0))
	if err != nil {
		h.failed(w, r, err)
		return
	}
	out := h.csvFile(w, r, v, "by-"+v.Step)
	head := []string{v.Step}
	for _, m := range metrics() {
		head = append(head, m.Key)
	}
	out.Write(head)
	for _, p := range o.Series {
		if p.Time.After(v.now) {
			continue
		}
		rec := []string{p.Time.In(v.zone).Format(time.RFC3339)}
		for _, m := range metrics() {
			x, ok := m.value(p.Totals)
			if !ok {
				rec = append(rec, "")
				continue
			}
			rec = append(rec, strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64))
		}
		out.Write(rec)
	}
	out.Flush()
}
