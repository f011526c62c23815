package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
)

// subjectQuery is of whom `footfall subject` speaks.
type subjectQuery struct {
	cookie, recipient, site string
}

// maxCookieLine bounds what is read of a cookie from the input.
const maxCookieLine = 4096

// subjects returns the ids that the person has, as far as they can be told. None means that nothing
// can be held, and why says that in words.
func (q subjectQuery) subjects(c *Config) (out []event.Subject, why string, err error) {
	if q.recipient != "" {
		// The pixel of a mail says which mailing was opened, not by whom.
		return nil, "nothing is held by recipient: opens are counted by mailing, and which recipient opened one is not recorded", nil
	}
	consent, ok := privacy.ParseConsent(q.cookie)
	if !ok {
		return nil, "", usagef("--cookie: that is no value of the cookie %s, which begins with 1. and has dots in it", privacy.ConsentName)
	}
	key, err := anonymize.OpenCookieKey(c.path("cookie.key"))
	if err != nil {
		return nil, "", err
	}
	sites := []string{q.site}
	if q.site == "" {
		sites = nil
		for _, s := range c.Sites {
			sites = append(sites, s.Domain)
		}
	}
	for _, site := range sites {
		if random, ok := consent.Of(privacy.TagOf(site)); ok {
			out = append(out, event.Subject{Site: site, Visitor: key.ID(site, random), Last: ^event.Day(0)})
		}
	}
	if len(out) > event.MaxSubjects {
		return nil, "", usagef("the cookie has ids at %d sites; name one at a time with --site", len(out))
	}
	return out, "the cookie has no id at the sites that are configured: nothing is held that it leads to", nil
}

// subjectExport is what is held, as it is printed with --json. It goes over the control socket as a
// line without events, and a line an event.
type subjectExport struct {
	At     string            `json:"at"`
	Sites  []string          `json:"sites"`
	Counts json.RawMessage   `json:"counts"`
	Events []json.RawMessage `json:"events"`
}

// subjectErasure is what became of an order, as it is printed with --json.
type subjectErasure struct {
	Order string `json:"order"` // its number, which is in the log too; empty: there was nothing to order
	At    string `json:"at"`
	Rows  uint64 `json:"rows"`
	Done  bool   `json:"done"`
}

func runSubject(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("subject", s)
	var q subjectQuery
	f.StringVar(&q.cookie, "cookie", "", "`value` of the person's cookie "+privacy.ConsentName+"; - reads it from the input")
	f.StringVar(&q.recipient, "recipient", "", "`address` of a recipient of mail")
	f.StringVar(&q.site, "site", "", "one `site` only (default: all that are configured)")
	asJSON := f.Bool("json", false, "print JSON")
	rest, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	if rest[0] != "export" && rest[0] != "erase" {
		return usagef("want export or erase, not %q", rest[0])
	}
	if (q.cookie == "") == (q.recipient == "") {
		return usagef("want either --cookie or --recipient")
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	for name, value := range map[string]*string{"cookie": &q.cookie, "recipient": &q.recipient} {
		if *value == "-" {
			line, err := bufio.NewReader(io.LimitReader(s.in, maxCookieLine)).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if *value = strings.TrimSpace(line); *value == "" {
				return usagef("--%s: the input is empty", name)
			}
		}
	}
	of, why, err := q.subjects(cfg)
	if err != nil {
		return err
	}
	if rest[0] == "export" {
		x := subjectExport{At: time.Now().UTC().Format(time.RFC3339), Sites: []string{}, Counts: mustMarshal(privacy.CountsJSON(&event.Held{})), Events: []json.RawMessage{}}
		if len(of) > 0 {
			if x, err = exportSubjects(ctx, s, cfg, of); err != nil {
				return err
			}
			why = ""
		}
		return x.print(s.out, *asJSON, why)
	}
	e := subjectErasure{At: time.Now().UTC().Format(time.RFC3339), Done: true}
	if len(of) > 0 {
		if e, err = eraseSubjects(ctx, s, cfg, of); err != nil {
			return err
		}
		why = ""
	}
	return e.print(s.out, *asJSON, why)
}

// askSubjects asks the serve that owns the data directory; ok is false where there is none.
func askSubjects(ctx context.Context, c *Config, what string, of []event.Subject) (answer []byte, ok bool, err error) {
	answer, status, err := askServe(ctx, c, http.MethodPost, "/subject/"+what, mustMarshal(filesOf(of)))
	if err != nil {
		return nil, false, nil
	}
	if status != http.StatusOK {
		return nil, true, errors.New(errorText(answer))
	}
	return answer, true, nil
}

func exportSubjects(ctx context.Context, s streams, c *Config, of []event.Subject) (x subjectExport, err error) {
	answer, ok, err := askSubjects(ctx, c, "export", of)
	if !ok {
		var b bytes.Buffer
		err = withRecords(ctx, s, c, func(r *records) error { return r.export(ctx, &b, of) })
		answer = b.Bytes()
	}
	if err != nil {
		return x, err
	}
	head, events, _ := bytes.Cut(answer, []byte("\n"))
	if err := json.Unmarshal(head, &x); err != nil {
		return x, err
	}
	x.Events = []json.RawMessage{}
	for line := range bytes.Lines(events) {
		line = bytes.TrimSpace(line)
		if !json.Valid(line) {
			return x, errors.New("the export ends in the middle: the database stopped answering; try again")
		}
		x.Events = append(x.Events, line)
	}
	return x, nil
}

func eraseSubjects(ctx context.Context, s streams, c *Config, of []event.Subject) (e subjectErasure, err error) {
	answer, ok, err := askSubjects(ctx, c, "erase", of)
	if ok {
		if err == nil {
			err = json.Unmarshal(answer, &e)
		}
		return e, err
	}
	err = withRecords(ctx, s, c, func(r *records) error {
		work, stop := context.WithCancel(ctx)
		working := make(chan struct{})
		go func() {
			defer close(working)
			r.run(work)
		}()
		defer func() { stop(); <-working }()
		done, err := r.Erase(ctx, of)
		if err != nil {
			return err
		}
		if e = erasureOf(done); done.Done {
			r.settled(ctx)
		}
		return nil
	})
	return e, err
}

// withRecords calls do with records of this process's own, which claims the data directory. Nobody
// sends hits meanwhile, and no report is read.
func withRecords(ctx context.Context, s streams, c *Config, do func(*records) error) error {
	return withStore(ctx, s, c, func(st *storeConn, log *slog.Logger) (err error) {
		sp, err := openSpool(c, spool.Options{Now: time.Now, Log: log})
		if err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- sp.Run(running, st) }()
		defer func() {
			stop()
			within(flushTimeout, func(ctx context.Context) { err = errors.Join(err, <-ended, sp.Close(ctx)) })
		}()
		r, err := newRecords(c.path(ordersDir), recordsOptions{
			note: func(action string, pairs ...string) {
				if err := policy.NewAudit(c.Data, time.Now).Append(system, action, "", pairs...); err != nil {
					log.Error("the audit log cannot be written", "action", action, "error", err)
				}
			},
			spool: sp, store: st.Store, now: time.Now, log: log, forget: func(string, uint64) {},
			zone: func(site string) *time.Location {
				if s := c.site(site); s != nil {
					return s.Timezone.Location
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		return do(r)
	})
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types
	}
	return b
}

func erasureOf(e event.Erasure) subjectErasure {
	return subjectErasure{Order: orderName(e.ID), At: e.At.UTC().Format(time.RFC3339), Rows: e.Rows, Done: e.Done}
}

// print writes the export, as text without what is the same on every event.
func (x *subjectExport) print(out io.Writer, asJSON bool, why string) error {
	if asJSON {
		return printJSON(out, x)
	}
	if why != "" {
		_, err := fmt.Fprintln(out, "Nothing is held. "+strings.ToUpper(why[:1])+why[1:]+".")
		return err
	}
	var counts struct{ Waiting uint64 }
	if err := json.Unmarshal(x.Counts, &counts); err != nil {
		return err
	}
	fmt.Fprintf(out, "Held at %s on %s: %d events, and %d that wait to be stored. --json has everything.\n", x.At, strings.Join(x.Sites, ", "), len(x.Events), counts.Waiting)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range x.Events {
		var e struct{ Time, Kind, Name, Hostname, Page string }
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", e.Time, e.Kind, e.Name, e.Hostname, e.Page)
	}
	return w.Flush()
}

func (e *subjectErasure) print(out io.Writer, asJSON bool, why string) error {
	if asJSON {
		return printJSON(out, e)
	}
	var err error
	switch {
	case why != "":
		_, err = fmt.Fprintln(out, "Nothing is to be erased. "+strings.ToUpper(why[:1])+why[1:]+".")
	case e.Done:
		_, err = fmt.Fprintf(out, "Erased %d events, and looked that none is left (order %s).\n", e.Rows, e.Order)
	default:
		_, err = fmt.Fprintf(out, "Ordered, and not done yet: the database does not answer, or takes long. Until it is done everything can be seen as before.\n"+
			"It goes on by itself, also after a restart (order %s); serve's log says when it is done.\n", e.Order)
	}
	return err
}

func printJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(b, '\n'))
	return err
}

// export writes what is held: a line that says what, and a line an event, newest first.
func (r *records) export(ctx context.Context, w io.Writer, of []event.Subject) error {
	h, err := r.Held(ctx, of, false)
	if err != nil {
		return err
	}
	x := subjectExport{At: r.now().UTC().Format(time.RFC3339), Counts: mustMarshal(privacy.CountsJSON(&h))}
	for _, s := range of {
		x.Sites = append(x.Sites, s.Site)
	}
	e := json.NewEncoder(w)
	if err := e.Encode(&x); err != nil {
		return err
	}
	r.note(policy.AuditSubject, "ids", strconv.Itoa(len(of)))
	return r.store.EachHeld(ctx, of, func(v *event.Event) error { return e.Encode(privacy.RowJSON(v)) })
}

// readSubjects reads what askSubjects sends.
func readSubjects(w http.ResponseWriter, r *http.Request) ([]event.Subject, bool) {
	var files []subjectFile
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&files)
	of := subjectsOf(files)
	if err == nil {
		err = event.CheckSubjects(of)
	}
	if err != nil {
		auth.JSONError(w, http.StatusBadRequest, "want a list of subjects")
	}
	return of, err == nil
}

func (a *app) serveSubjectExport(w http.ResponseWriter, r *http.Request) {
	of, ok := readSubjects(w, r)
	if !ok {
		return
	}
	out := &lateWriter{ResponseWriter: w}
	if err := a.records.export(r.Context(), out, of); err != nil {
		a.log.Warn("what is held of a visitor could not be read", "error", err)
		if out.begun {
			io.WriteString(w, "the database stopped answering\n") // no JSON: whoever reads it knows
			return
		}
		auth.JSONError(w, http.StatusServiceUnavailable, "what is held cannot be read now: "+err.Error())
	}
}

// lateWriter knows whether anything was written.
type lateWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *lateWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

func (a *app) serveSubjectErase(w http.ResponseWriter, r *http.Request) {
	of, ok := readSubjects(w, r)
	if !ok {
		return
	}
	e, err := a.records.Erase(r.Context(), of)
	if err != nil {
		a.log.Warn("an order to erase could not be taken", "error", err)
		auth.JSONError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(erasureOf(e))
}
