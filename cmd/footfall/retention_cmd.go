package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/policy"
)

// commandLine is the actor of what is done with a subcommand.
const commandLine = "command line"

// runRetention disposes, tells what a disposal would do, or verifies that none is due: by the serve that owns the data directory, or
// where there is none by itself.
func runRetention(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("retention", s)
	dry := f.Bool("dry-run", false, "remove nothing, and print what would go")
	asJSON := f.Bool("json", false, "print the certificate as JSON")
	rest, err := f.parse(args, 0, 1)
	if err != nil {
		return err
	}
	verify := len(rest) == 1
	if verify && (rest[0] != "verify" || *dry) {
		return usagef("write retention, retention --dry-run, or retention verify")
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	grace := disposeAfter
	method, path := http.MethodPost, "/retention"
	if verify {
		grace = disposeGrace
	}
	if verify || *dry {
		method, path = http.MethodGet, "/retention?"+url.Values{"grace": {grace.String()}}.Encode()
	}
	var cert *certificate
	answer, status, err := askServe(ctx, cfg, method, path, nil)
	switch {
	case err != nil:
		err = withDisposer(ctx, s, cfg, func(d *disposer) (err error) {
			if verify || *dry {
				cert, err = d.measure(ctx, grace)
			} else {
				cert, err = d.dispose(ctx, commandLine)
			}
			return err
		})
	case status != http.StatusOK:
		err = errors.New(errorText(answer))
	default:
		cert = &certificate{}
		err = json.Unmarshal(answer, cert)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(s.out, cert)
	} else {
		err = cert.print(s.out, !verify && !*dry)
	}
	if err != nil || cert.OK || *dry {
		return err
	}
	return fmt.Errorf("older than is kept:\n%s", strings.Join(cert.Errors, "\n"))
}

// withDisposer calls do with a disposer of this process's own, which claims the data directory.
func withDisposer(ctx context.Context, s streams, c *Config, do func(*disposer) error) error {
	return withStore(ctx, s, c, func(st *storeConn, log *slog.Logger) error {
		if err := announceOrders(c, st.Store); err != nil {
			return err
		}
		sp, err := openSpool(c, spool.Options{Now: time.Now, Log: log})
		if err != nil {
			return err
		}
		defer sp.Close(ctx) // no Run: what waits goes on waiting
		o := disposerOptions{config: func() *Config { return c }, store: st.Store, spool: sp, now: time.Now, log: log,
			note: func(actor, action, object string, pairs ...string) {
				if err := policy.NewAudit(c.Data, time.Now).Append(actor, action, object, pairs...); err != nil {
					log.Error("the audit log cannot be written", "action", action, "error", err)
				}
			}}
		if _, err := os.Stat(c.path("keys")); err == nil {
			keys, err := anonymize.Open(c.path("keys"), anonymize.Options{Now: time.Now, Log: log, Zones: func() (out []*time.Location) {
				for _, s := range c.Sites {
					out = append(out, s.Timezone.Location)
				}
				return out
			}})
			if err != nil {
				return err
			}
			o.keys = keys.Oldest
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d, err := newDisposer(o, nil)
		if err != nil {
			return err
		}
		return do(d)
	})
}
