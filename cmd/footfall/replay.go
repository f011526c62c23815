package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/dashboard/auth"
)

// openSpool opens the spool of the data directory, which this process has claimed.
func openSpool(c *Config, o spool.Options) (*spool.Spool, error) {
	o.Dir, o.Sync = c.path("spool"), time.Duration(c.Spool.Sync)
	o.MaxBytes, o.Keep = int64(c.Spool.MaxBytes), time.Duration(c.Spool.Keep)
	return spool.Open(o)
}

// errNothingKept says how there would be something to replay.
var errNothingKept = errors.New("spool.keep is 0s: stored segments are not kept, so there is nothing to replay")

// parseReplay reads --from and --to, which are times or "".
func parseReplay(v url.Values) (from, to time.Time, err error) {
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if s := v.Get(name); s != "" {
			if *at, err = time.Parse(time.RFC3339, s); err != nil {
				return from, to, fmt.Errorf("--%s: %q is no time such as 2026-11-24T09:30:00Z", name, s)
			}
		}
	}
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		return from, to, errors.New("--to is before --from")
	}
	return from, to, nil
}

// runReplay hands stored segments that were kept to the database once more: by the serve that owns the
// data directory, or where there is none by opening spool and store itself.
func runReplay(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("replay", s)
	v := url.Values{}
	f.Func("from", "only what came at this `time` or later, as 2026-11-24T09:30:00Z", func(s string) error { v.Set("from", s); return nil })
	f.Func("to", "only what came at this `time` or earlier", func(s string) error { v.Set("to", s); return nil })
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	from, to, err := parseReplay(v)
	if err != nil {
		return usageError{err}
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	var r spool.Replayed
	answer, status, err := askServe(ctx, cfg, http.MethodPost, "/replay?"+v.Encode(), nil)
	switch {
	case err != nil && cfg.Spool.Keep == 0:
		return errNothingKept
	case err != nil:
		err = withStore(ctx, s, cfg, func(st *storeConn, log *slog.Logger) (err error) {
			r, err = replayAlone(ctx, cfg, st, log, from, to)
			return err
		})
	case status != http.StatusOK:
		err = errors.New(errorText(answer))
	default:
		err = json.Unmarshal(answer, &r)
	}
	if err != nil && r == (spool.Replayed{}) {
		return err
	}
	fmt.Fprintf(s.out, "%d batches with %d events handed over, of which the database lacked %d\n", r.Batches, r.Events, r.Missing)
	if r.Damaged > 0 {
		fmt.Fprintf(s.out, "%d batches were damaged or gone and left out\n", r.Damaged)
	}
	return err
}

// replayAlone is a replay without a serve.
func replayAlone(ctx context.Context, c *Config, st *storeConn, log *slog.Logger, from, to time.Time) (spool.Replayed, error) {
	sp, err := openSpool(c, spool.Options{Now: time.Now, Log: log})
	if err != nil {
		return spool.Replayed{}, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sp.Run(running, st) }()
	r, err := sp.Replay(ctx, from, to)
	stop()
	within(flushTimeout, func(ctx context.Context) { err = errors.Join(err, <-ended, sp.Close(ctx)) })
	return r, err
}

// serveReplay answers `footfall replay` on the control socket.
func (a *app) serveReplay(w http.ResponseWriter, r *http.Request) {
	from, to, err := parseReplay(r.URL.Query())
	if err == nil && a.started.Spool.Keep == 0 {
		err = errNothingKept
	}
	if err != nil {
		auth.JSONError(w, http.StatusBadRequest, err.Error())
		return
	}
	done, err := a.spool.Replay(r.Context(), from, to)
	a.log.Info("stored segments were handed to the database once more", "batches", done.Batches, "events", done.Events, "missing", done.Missing, "damaged", done.Damaged)
	if err != nil {
		auth.JSONError(w, http.StatusServiceUnavailable, fmt.Sprintf("the replay ended after %d batches: %v", done.Batches, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(done)
}
