package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kantarainitiative/footfall/beacon"
	"github.com/kantarainitiative/footfall/policy"
)

// serveFlags are those of the commands that serve.
type serveFlags struct {
	*flags
	listen, staff, store, log string
}

func newServeFlags(name string, s streams) *serveFlags {
	f := &serveFlags{flags: newFlags(name, s)}
	f.StringVar(&f.listen, "listen", "", "public `address` (default :8080)")
	f.StringVar(&f.staff, "staff", "", "staff `address` (default 127.0.0.1:8081)")
	f.StringVar(&f.store, "store", "", "`embedded`, or clickhouse://user:password@host:9000/database (a password is safer in FOOTFALL_STORE or the file: arguments show in the list of processes)")
	f.StringVar(&f.log, "log", "info", "least `level` logged: debug, info, warn or error")
	return f
}

// load is flags.load with the flags of a serving command on top.
func (f *serveFlags) load(more ...func(*Config)) (*Config, error) {
	return f.flags.load(append(more, func(c *Config) {
		for _, set := range []struct {
			to   *string
			from string
		}{{&c.Listen, f.listen}, {&c.Staff, f.staff}, {(*string)(&c.Store), f.store}} {
			if set.from != "" {
				*set.to = set.from
			}
		}
	})...)
}

func (f *serveFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.log)); err != nil {
		return nil, usagef("--log: %q is none of debug, info, warn, error", f.log)
	}
	return slog.New(slog.NewTextHandler(f.s.err, &slog.HandlerOptions{Level: level})), nil
}

// memoryLimit is what the serving process keeps its memory below. Its tables, full, and what is under way
// need about half of it; the rest is what the collector of garbage may leave lying about. It works harder
// where that is little, and nothing is refused for it.
const memoryLimit = 1 << 30

func runServe(ctx context.Context, s streams, args []string) error {
	return serveOn(ctx, s, args, surroundings{clocks: clocks{now: time.Now}})
}

func serveOn(ctx context.Context, s streams, args []string, on surroundings) error {
	f := newServeFlags("serve", s)
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	log, err := f.logger()
	if err != nil {
		return err
	}
	hup := catchReload()
	defer signal.Stop(hup)
	a, err := newApp(ctx, cfg, log, on)
	if err != nil && ctx.Err() != nil {
		return nil // stopped while it waited
	}
	if err != nil {
		return err
	}
	a.start(ctx)
	return serveStarted(ctx, s, a, hup, func() (*Config, error) { return f.load() })
}

// catchReload takes SIGHUP from the beginning: one that came while the parts are still opened
// would end the program.
func catchReload() chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// serveStarted keeps a running until ctx ends; a signal from hup puts in force what load returns.
func serveStarted(ctx context.Context, s streams, a *app, hup <-chan os.Signal, load func() (*Config, error)) error {
	if s.getenv("GOMEMLIMIT") == "" { // the operator's own
		debug.SetMemoryLimit(memoryLimit)
	}
	// From here on the clock is the machine's; the demo has moved it before.
	var watching sync.WaitGroup
	watching.Go(func() { a.watch.run(ctx) })
	defer watching.Wait()
	for _, w := range a.cfg.warnings() {
		a.log.Warn(w)
	}
	if err := welcome(s.out, a); err != nil {
		a.log.Error("no login link", "error", err)
	}
	for {
		select {
		case <-hup:
			next, err := load()
			if err == nil {
				err = a.reload(next)
			}
			if err != nil {
				a.log.Error("the new configuration is refused, the old one stays in force", "error", err)
				continue
			}
			for _, w := range next.warnings() {
				a.log.Warn(w)
			}
			a.log.Info("the new configuration is in force")
		case <-ctx.Done():
			a.log.Info("stopping")
			a.stop()
			a.log.Info("stopped")
			return nil
		}
	}
}

// welcome prints where to look, what to paste, and, while nobody can log in with a
// password, a link that logs in once. It is one write, so that no log line cuts into it.
func welcome(w io.Writer, a *app) error {
	cfg := a.config()
	staff := localURL(a.private.Addr().String())
	var b strings.Builder
	fmt.Fprintf(&b, "\nFootfall is collecting.\n\n")
	fmt.Fprintf(&b, "  Dashboard    %s/\n", staff)
	fmt.Fprintf(&b, "  Collecting   %s\n", a.publicURL())
	fmt.Fprintf(&b, "\n  Paste this into the pages to count:\n\n")
	for _, site := range cfg.Sites {
		fmt.Fprintf(&b, "    %s\n", beacon.ScriptTag(a.publicURL(), site.Domain))
	}
	users, err := a.files.Users()
	if err == nil && len(users) == 0 {
		var secret string
		if secret, err = a.files.NewLink(); err == nil {
			fmt.Fprintf(&b, "\n  Log in once, within the hour:\n\n    %s/login?token=%s\n", staff, secret)
			fmt.Fprintf(&b, "\n  To log in with a password from then on:  footfall user add NAME\n")
		}
	}
	fmt.Fprintf(&b, "\n  Ctrl-C stops.\n\n")
	if _, werr := io.WriteString(w, b.String()); err == nil {
		err = werr
	}
	return err
}

func runCheck(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("check", s)
	profile := f.String("profile", "", "hold the running installation against a `profile`: "+strings.Join(policy.ProfileNames(), ", "))
	bundle := f.String("bundle", "", "with --profile: write the result, signed, with notice and configuration, to a `file`")
	verify := f.String("verify-bundle", "", "check the signature of such a `file`")
	key := f.String("key", "", "with --verify-bundle: the published key, a `file` (default: this installation's)")
	asJSON := f.Bool("json", false, "with --profile: print JSON")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	switch {
	case *verify != "":
		return verifyBundle(s, cfg, *verify, *key)
	case *profile != "":
		return checkProfile(ctx, s, cfg, *profile, *bundle, *asJSON)
	case *bundle != "" || *asJSON:
		return usagef("--bundle and --json want --profile")
	}
	return check(s.out, cfg)
}

// check looks at what serve would need, changes nothing, and prints what it found.
func check(w io.Writer, c *Config) error {
	file := c.file
	if file == "" {
		file = "none: defaults, environment and flags"
	}
	fmt.Fprintf(w, "configuration  %s\n", file)
	fmt.Fprintf(w, "listen         %s\nstaff          %s\ndata           %s\n", c.Listen, c.Staff, c.Data)
	if err := c.checkData(); err != nil {
		return usageError{err}
	}
	where, err := checkStore(c)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(w, "store          %s\n", where)
	rate := "no limit"
	if c.RateLimit > 0 {
		rate = fmt.Sprintf("%d hits a minute of one network", c.RateLimit)
	}
	fmt.Fprintf(w, "rate limit     %s\n", rate)
	g, err := openGeo(c)
	if err != nil {
		return usageError{err}
	}
	if err := c.enforce(g, time.Now()); err != nil {
		g.Close()
		return err
	}
	if c.Policy != "" {
		fmt.Fprintf(w, "policy         ok: %s\n", c.Policy)
	}
	if g == nil {
		fmt.Fprintln(w, "geoip          none: countries stay empty")
	} else {
		fmt.Fprintf(w, "geoip          ok: %s\n", cmp.Or(g.About(), "it does not say where it is from"))
		g.Close()
	}
	if _, err := c.noticePages(c.facts(c.publicURL(), nil)); err != nil {
		return usageError{err}
	}
	for _, site := range c.Sites {
		fmt.Fprintf(w, "site           %s (%s)\n", site.Domain, site.Timezone)
	}
	for _, warning := range c.warnings() {
		fmt.Fprintf(w, "warning        %s\n", warning)
	}
	fmt.Fprintln(w, "ok")
	return nil
}
