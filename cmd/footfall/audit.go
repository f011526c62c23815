package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/policy"
)

// runAudit reads the audit log, which needs no running serve and works beside one.
func runAudit(_ context.Context, s streams, args []string) error {
	f := newFlags("audit", s)
	noted := f.String("head", "", "for verify: a `NUMBER:HASH` that an earlier verify printed and that was noted elsewhere; its line must still be there")
	last := f.Int("last", 50, "for show: the newest `lines`; 0: all")
	action := f.String("action", "", "for show: only this `action`, such as login")
	asJSON := f.Bool("json", false, "print JSON, for show a line an object")
	rest, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	var head policy.AuditHead
	if *noted != "" {
		if head, err = policy.ParseAuditHead(*noted); err != nil {
			return usagef("--head: %w", err)
		}
	}
	switch rest[0] {
	case "verify":
		return verifyAudit(s, cfg, head, *asJSON)
	case "show":
		return showAudit(s, cfg, *action, *last, *asJSON)
	}
	return usagef("write audit verify, or audit show")
}

func verifyAudit(s streams, cfg *Config, noted policy.AuditHead, asJSON bool) error {
	r, err := policy.VerifyAudit(cfg.Data, noted, nil)
	if asJSON {
		out := map[string]any{"whole": err == nil, "lines": r.Entries, "head": r.Head.String()}
		if err != nil {
			out["error"] = err.Error()
		}
		if e := json.NewEncoder(s.out).Encode(out); e != nil {
			return e
		}
		return err
	}
	if err != nil {
		return err
	}
	if r.Entries == 0 {
		fmt.Fprintln(s.out, "The audit log is empty.")
		return nil
	}
	fmt.Fprintf(s.out, "The audit log is whole: %d lines, from %s to %s.\nhead %s\n",
		r.Entries, r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339), r.Head)
	return nil
}

// showAudit prints the newest lines, and after them what is wrong with the log, if anything is.
func showAudit(s streams, cfg *Config, action string, last int, asJSON bool) error {
	var lines []policy.AuditEntry
	_, bad := policy.VerifyAudit(cfg.Data, policy.AuditHead{}, func(e policy.AuditEntry) bool {
		if action == "" || e.Action == action {
			lines = append(lines, e)
		}
		if last > 0 && len(lines) > 2*last { // not the whole log in memory
			lines = slices.Delete(lines, 0, len(lines)-last)
		}
		return true
	})
	if last > 0 && len(lines) > last {
		lines = lines[len(lines)-last:]
	}
	if asJSON {
		enc := json.NewEncoder(s.out)
		for _, e := range lines {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return bad
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for _, e := range lines {
		var detail []string
		for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
			detail = append(detail, k+": "+e.Detail[k])
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.Time.Format(time.RFC3339), e.Actor, e.Action, e.Object, strings.Join(detail, ", "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return bad
}

// system is the actor of what Footfall does by itself.
const system = "footfall"

// note writes a line of the audit log. What it tells of has happened by then, so that a log
// that cannot be written is an error to shout about, and none to stop for.
func (a *app) note(actor, action, object string, pairs ...string) {
	if err := a.audit.Append(actor, action, object, pairs...); err != nil {
		a.log.Error("the audit log cannot be written", "action", action, "error", err)
	}
}

func (a *app) keyErased(w anonymize.Window, oldest time.Time) {
	a.note(system, policy.AuditKeyErased, "", "window", w.String(), "ids can be made from", oldest.Format(time.DateOnly))
}

// noteConfig notes that a configuration is in force, if it is another than the last one
// noted: with the names of its settings that are others, where the one before is known.
func (a *app) noteConfig(old, next *Config) {
	sum := next.digest()
	var last string
	// A damaged log is found by whoever verifies it; here its readable lines will do.
	policy.VerifyAudit(next.Data, policy.AuditHead{}, func(e policy.AuditEntry) bool {
		if e.Action == policy.AuditConfig {
			last = e.Detail["digest"]
		}
		return true
	})
	if last == sum {
		return
	}
	pairs := []string{"digest", sum}
	if old != nil {
		pairs = append(pairs, "changed", strings.Join(changedSettings(old, next), ", "))
	}
	a.note(system, policy.AuditConfig, next.file, pairs...)
}

// digest stands for every setting, secrets left out.
func (c *Config) digest() string {
	h := sha256.New()
	settings := settingsOf(c)
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(h, "%q: %q\n", k, settings[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// changedSettings names the settings that are others, those of a site with its domain.
func changedSettings(old, next *Config) []string {
	var out []string
	was, is := settingsOf(old), settingsOf(next)
	for k := range maps.Keys(is) {
		if was[k] != is[k] {
			out = append(out, k)
		}
	}
	for k := range maps.Keys(was) {
		if _, ok := is[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// settingsOf maps each setting's name to its text. The types of settings print no secret.
func settingsOf(c *Config) map[string]string {
	out := map[string]string{}
	add := func(at string, v any) {
		rv := reflect.ValueOf(v)
		for i := range rv.NumField() {
			if key := rv.Type().Field(i).Tag.Get("yaml"); key != "" && key != "sites" {
				out[at+key] = fmt.Sprint(rv.Field(i).Interface())
			}
		}
	}
	add("", *c)
	for _, s := range c.Sites {
		add("sites("+s.Domain+").", s)
	}
	return out
}

// auditPages is what the dashboard reads the audit log from.
type auditPages struct{ a *app }

func (p auditPages) Audit(_ context.Context, action string, skip, limit int) (entries []policy.AuditEntry, all int, head policy.AuditHead, err error) {
	var kept []policy.AuditEntry // the newest that are wanted, oldest first
	r, err := policy.VerifyAudit(p.a.config().Data, policy.AuditHead{}, func(e policy.AuditEntry) bool {
		if action == "" || e.Action == action {
			all++
			kept = append(kept, e)
			if len(kept) > 2*(skip+limit) {
				kept = slices.Delete(kept, 0, len(kept)-skip-limit)
			}
		}
		return true
	})
	slices.Reverse(kept)
	kept = kept[min(skip, len(kept)):]
	return kept[:min(limit, len(kept))], all, r.Head, err
}
