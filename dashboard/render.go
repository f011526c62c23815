package dashboard

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/ui"
	"github.com/kantarainitiative/footfall/store"
)

// fragmentHeader asks for the part of a page that the script swaps, without the head.
const fragmentHeader = "Footfall-Fragment"

func parseTemplates(assets *ui.Assets) (*template.Template, error) {
	t := template.New("").Funcs(template.FuncMap{
		"asset": assets.URL,
		"count": count,
	})
	t, err := t.ParseFS(ui.Templates(), "*.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: templates: %w", err)
	}
	return t, nil
}

func (h *handler) frame(r *http.Request, title string) frame {
	f := frame{Title: title, User: h.o.Auth.User(r), SignedIn: r.Header.Get("Authorization") == "", Fragment: r.Header.Get(fragmentHeader) != ""}
	id, _ := auth.From(r)
	for _, l := range []struct {
		there bool
		right auth.Right
		link
	}{
		{h.o.Audit != nil, auth.Privacy, link{Label: "Audit log", URL: "/-/audit"}},
		{h.o.Staff != nil, auth.Staff, link{Label: "Staff", URL: "/-/staff"}},
		{h.o.Staff != nil, auth.Stats, link{Label: "Your account", URL: "/-/account"}},
	} {
		if l.there && id.May(l.right) {
			l.Selected = r.URL.Path == l.URL
			f.Links = append(f.Links, l.link)
		}
	}
	return f
}

// render draws a page whole before the first byte is sent, so that a failure is a failure.
func (h *handler) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	if err := h.tmpl.ExecuteTemplate(&b, name, data); err != nil {
		h.o.Log.Error("dashboard: a page could not be drawn", "page", name, "error", fmt.Sprintf("%T", err))
		http.Error(w, "This page could not be drawn.", http.StatusInternalServerError)
		return
	}
	hd := w.Header()
	hd.Set("Content-Type", "text/html; charset=utf-8")
	hd.Set("Cache-Control", "no-store")
	hd.Add("Vary", fragmentHeader)
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// json answers the script.
func (h *handler) json(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil { // strings and numbers only
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(body)
}

// problemPage says in words what is wrong.
type problemPage struct {
	frame
	Status  int
	Heading string
	Words   string
}

// problem answers with a page that says what is wrong and what to do.
func (h *handler) problem(w http.ResponseWriter, r *http.Request, status int, heading, words string) {
	p := problemPage{frame: frame{Title: heading, Fragment: r.Header.Get(fragmentHeader) != ""}, Status: status, Heading: heading, Words: words}
	if status == http.StatusServiceUnavailable {
		p.Refresh = 15
	}
	h.render(w, r, status, "problem", p)
}

// errorText is what may be logged of an error: the text of a failed connection, else only the
// kind, since a database's message may quote the statement and with it what visitors sent.
func errorText(err error) string {
	var op *net.OpError
	var no syscall.Errno
	switch {
	case errors.As(err, &op):
		return op.Error()
	case errors.As(err, &no):
		return no.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprintf("%T", err)
		}
		err = inner
	}
}

// spark draws a small graph of visitors.
func spark(series []store.Point, top uint64) (line, area string) {
	n := len(series)
	if n < 2 {
		return "", ""
	}
	var b strings.Builder
	for i, p := range series {
		y := float64(sparkHeight - 1)
		if top > 0 {
			y -= float64(p.Visitors) / float64(top) * (sparkHeight - 2)
		}
		b.WriteString("L" + strconv.FormatFloat(math.Round(float64(i)/float64(n-1)*sparkWidth*10)/10, 'f', -1, 64) +
			" " + strconv.FormatFloat(math.Round(y*10)/10, 'f', -1, 64))
	}
	s := b.String()
	return "M" + s[1:], fmt.Sprintf("M0 %d%sL%d %dZ", sparkHeight, s, sparkWidth, sparkHeight)
}

// compress sends pages gzipped to those who take it. There is no secret in a page that a
// guess beside it could be measured against.
func compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !ui.Accepts(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		z := &gzipWriter{ResponseWriter: w}
		next.ServeHTTP(z, r)
		// Not deferred: an aborted answer must not look finished.
		if z.gz != nil {
			z.gz.Close()
		}
	})
}

// gzipWriter compresses bodies; answers that have none stay as they are.
type gzipWriter struct {
	http.ResponseWriter
	gz    *gzip.Writer
	begun bool
}

func (z *gzipWriter) WriteHeader(status int) {
	z.begun = true
	if status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified && (status < 300 || status >= 400) {
		z.Header().Set("Content-Encoding", "gzip")
		z.Header().Del("Content-Length")
		z.gz = gzip.NewWriter(z.ResponseWriter)
	}
	z.ResponseWriter.WriteHeader(status)
}

func (z *gzipWriter) Write(p []byte) (int, error) {
	if !z.begun {
		if z.Header().Get("Content-Type") == "" {
			z.Header().Set("Content-Type", http.DetectContentType(p))
		}
		z.WriteHeader(http.StatusOK)
	}
	if z.gz == nil {
		return z.ResponseWriter.Write(p)
	}
	return z.gz.Write(p)
}

// Unwrap lets http.ResponseController reach the real writer.
func (z *gzipWriter) Unwrap() http.ResponseWriter { return z.ResponseWriter }
