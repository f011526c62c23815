// Command footfall is a first-party web analytics collector: it takes page views and email
// opens, keeps nothing that identifies anybody, stores them in ClickHouse, and shows
// staff what they need to know.
//
// This package turns flags, environment and configuration into the parts and wires them;
// what happens to a hit is in the packages it imports, in the order of the path: collector,
// anonymize, collector/spool, store, dashboard.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/kantarainitiative/footfall/store/engine"
)

// version is set by the build.
var version string

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // bad usage or configuration
	exitAway  = 3 // what was asked for cannot be looked at now, which says nothing about it
)

// streams are a command's input and outputs.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// usageError makes the exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// command is a subcommand.
type command struct {
	name, args, what string
	run              func(ctx context.Context, s streams, args []string) error
}

func commands() []command {
	return []command{
		{name: "serve", what: "collect hits and serve the dashboard", run: runServe},
		{name: "demo", what: "fill a demo site with weeks of traffic and serve it", run: runDemo},
		{name: "check", args: "[--profile cnil|uk|strict [--bundle FILE] | --verify-bundle FILE]", what: "validate configuration and environment; or hold the running installation against a profile", run: runCheck},
		{name: "token", args: "add NAME | list | remove NAME", what: "tokens for the Stats API", run: runToken},
		{name: "user", args: "add NAME | grant NAME | passwd NAME | totp NAME | revoke [NAME] | list | remove NAME | link", what: "people who may log in", run: runUser},
		{name: "query", args: "JSON", what: "answer a Stats API query", run: runQuery},
		{name: "ledger", what: "what became of every hit, and whether the books balance", run: runLedger},
		{name: "replay", what: "store again what the database lost, from segments that were kept", run: runReplay},
		{name: "audit", args: "verify | show", what: "what was done, and whether that record is whole", run: runAudit},
		{name: "prove", what: "search all that is written for marked visitors, who must not be there", run: runProve},
		{name: "retention", args: "[verify] [--dry-run]", what: "remove what is older than is kept, or look whether anything is", run: runRetention},
		{name: "subject", args: "export | erase  --cookie VALUE | --recipient R", what: "what is held of one person, and erasing it", run: runSubject},
		{name: "email", args: "pixel | link URL... | rewrite [FILE] | rotate  --site S --campaign C [--message M]", what: "make the pixel and the links of an email", run: runEmail},
		{name: "notice", args: "[--format html|markdown|json|dpv|register] [--site S]", what: "print the privacy notice", run: runNotice},
		{name: "receipt", args: "verify FILE [--key FILE]", what: "check a receipt that a visitor has", run: runReceipt},
		{name: "version", what: "print the version", run: runVersion},
	}
}

func main() {
	// The engine's process has its own signals and no use for the rest.
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		os.Exit(engine.Main(os.Args[2:], os.Stderr))
	}
	if len(os.Args) > 1 && slices.Contains([]string{"serve", "demo"}, os.Args[1]) {
		printNoStacks()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv}, os.Args[1:]))
}

// printNoStacks ends the program at the signals for which Go would print every stack, with the arguments of functions:
// the address of somebody who just asks can be among them. Whoever sets GOTRACEBACK wants to see that. A panic of a
// request is logged without arguments in any case.
func printNoStacks() {
	if _, set := os.LookupEnv("GOTRACEBACK"); set {
		return
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGQUIT, syscall.SIGABRT)
	go func() {
		s := <-c
		fmt.Fprintf(os.Stderr, "footfall: ended by a signal (%v); its stacks are not printed, addresses can be in them\n", s)
		os.Exit(exitUsage) // as Go does
	}()
}

func run(ctx context.Context, s streams, args []string) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage(s.out)
		if len(args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	i := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
	if i < 0 {
		fmt.Fprintf(s.err, "footfall: there is no command %q; footfall help lists them\n", args[0])
		return exitUsage
	}
	err := commands()[i].run(ctx, s, args[1:])
	var u usageError
	var away awayError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &u):
		fmt.Fprintf(s.err, "footfall %s: %v\n", args[0], err)
		return exitUsage
	case errors.As(err, &away):
		fmt.Fprintf(s.err, "footfall %s: %v\n", args[0], err)
		return exitAway
	default:
		fmt.Fprintf(s.err, "footfall %s: %v\n", args[0], err)
		return exitError
	}
}

// awayError is why something cannot be looked at now.
type awayError struct{ error }

func (e awayError) Unwrap() error { return e.error }

func usage(w io.Writer) {
	fmt.Fprint(w, "Footfall counts visits on your own domain and keeps nothing that identifies anybody.\n\nUsage: footfall COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.what)
		if c.args != "" {
			fmt.Fprintf(w, "  %-8s   %s %s\n", "", c.name, c.args)
		}
	}
	fmt.Fprint(w, "\nEvery command takes --config FILE and --data DIR; footfall COMMAND --help lists its flags.\n")
}

func runVersion(_ context.Context, s streams, args []string) error {
	f := newFlags("version", s)
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "footfall %s\n", programVersion())
	return err
}

func programVersion() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok {
		return bi.Main.Version
	}
	return "unknown"
}

// flags are those that every subcommand takes, and room for its own.
type flags struct {
	*flag.FlagSet
	s            streams
	config, data string
}

func newFlags(name string, s streams) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("footfall "+name, flag.ContinueOnError), s: s}
	f.SetOutput(s.err)
	f.StringVar(&f.config, "config", s.getenv("FOOTFALL_CONFIG"), "configuration `file`")
	f.StringVar(&f.data, "data", "", "data `directory` (default ./data)")
	return f
}

// parse reads flags before, between and after the other arguments, and returns those. It
// wants at least min and at most max of them.
func (f *flags) parse(args []string, min, max int) (rest []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		if args = f.Args(); len(args) == 0 {
			break
		}
		rest = append(rest, args[0])
		args = args[1:]
	}
	if len(rest) < min {
		return nil, usagef("an argument is missing; footfall help shows how")
	}
	if len(rest) > max {
		return nil, usagef("unexpected argument %q", strings.Join(rest[max:], " "))
	}
	return rest, nil
}

// load returns the configuration: file, environment, then flags.
func (f *flags) load(more ...func(*Config)) (*Config, error) {
	c, err := loadConfig(f.config, f.s.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	if f.data != "" {
		c.Data = f.data
	}
	for _, change := range more {
		change(c)
	}
	if err := c.Validate(); err != nil {
		if c.file != "" {
			err = fmt.Errorf("%s: %w", c.file, err)
		}
		return nil, usageError{err}
	}
	return c, nil
}
