package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/policy"
)

// openStaff parses the arguments of a command about users or tokens, one or two, and opens
// their file. It needs no running serve, and works beside one.
func openStaff(f *flags, args []string) (rest []string, c *Config, files *auth.Files, err error) {
	if rest, err = f.parse(args, 1, 2); err != nil {
		return nil, nil, nil, err
	}
	if c, err = f.load(); err != nil {
		return nil, nil, nil, err
	}
	if err = c.makeData(); err != nil {
		return nil, nil, nil, err
	}
	files, err = auth.Open(c.Data, time.Now)
	return rest, c, files, err
}

func runToken(_ context.Context, s streams, args []string) error {
	f := newFlags("token", s)
	var sites listFlag
	f.Var(&sites, "site", "for add: a `site` the token may read; again for more (default: every site)")
	var scopes listFlag
	f.Var(&scopes, "scope", "for add: what it is for, `stats` or metrics; again for more (default: both)")
	var life period
	f.Func("expires", "for add: the `time` after which it is void, such as 90d (default: never)", func(v string) error {
		if !periodPattern.MatchString(v) {
			return fmt.Errorf("%q is no time: write a number and d, w, mo or y", v)
		}
		life = period(v)
		return nil
	})
	rest, c, files, err := openStaff(f, args)
	if err != nil {
		return err
	}
	switch {
	case rest[0] == "list" && len(rest) == 1:
		tokens, err := files.Tokens()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
		for _, t := range tokens {
			may := siteNames(t.Sites)
			what, until := "stats, metrics", "for ever"
			if len(t.Scopes) > 0 {
				what = strings.Join(t.Scopes, ", ")
			}
			if !t.Expires.IsZero() {
				until = "until " + t.Expires.Format(time.DateOnly)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.Name, t.Created.Format(time.DateOnly), may, what, until)
		}
		return w.Flush()
	case rest[0] == "add" && len(rest) == 2:
		if err := knownSites(c, sites); err != nil {
			return err
		}
		for _, scope := range scopes {
			if !slices.Contains(auth.Scopes, scope) {
				return usagef("--scope: %q is none of %s", scope, strings.Join(auth.Scopes, ", "))
			}
		}
		var expires time.Time
		if life != "" {
			expires = life.after(time.Now()).UTC().Truncate(time.Second)
		}
		token, err := files.AddToken(rest[1], sites, scopes, expires)
		if err != nil {
			return err
		}
		if err := noteStaff(c, "token "+rest[1], "added", "sites", siteNames(sites)); err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, token)
		return err
	case rest[0] == "remove" && len(rest) == 2:
		if err := files.RemoveToken(rest[1]); err != nil {
			return err
		}
		return noteStaff(c, "token "+rest[1], "removed")
	}
	return usagef("write token add NAME, token list, or token remove NAME")
}

func runUser(_ context.Context, s streams, args []string) error {
	f := newFlags("user", s)
	var sites listFlag
	f.Var(&sites, "site", "for add and grant: a `site` whose figures the user sees; again for more (default: every site)")
	role := auth.Viewer
	f.Func("role", "for add and grant: `viewer` (figures), privacy (also what is kept and done) or admin (default viewer)", func(v string) (err error) {
		role, err = auth.ParseRole(v)
		return err
	})
	off := f.Bool("off", false, "for totp: without a second factor again")
	rest, c, files, err := openStaff(f, args)
	if err != nil {
		return err
	}
	switch {
	case rest[0] == "list" && len(rest) == 1:
		users, err := files.Users()
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
		for _, u := range users {
			second := ""
			if u.TOTP != nil {
				second = "second factor"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Name, u.Created.Format(time.DateOnly), u.Role, siteNames(u.Sites), second)
		}
		return w.Flush()
	case rest[0] == "link" && len(rest) == 1:
		link, err := loginLink(c, files)
		if err != nil {
			return err
		}
		fmt.Fprintln(s.out, link)
		return noteStaff(c, "login link", "made")
	case rest[0] == "add" && len(rest) == 2:
		if err := knownSites(c, sites); err != nil {
			return err
		}
		password, err := readPassword(s)
		if err != nil {
			return err
		}
		if err := files.AddUser(rest[1], password, role, sites); err != nil {
			return err
		}
		return noteStaff(c, "user "+rest[1], "added", "role", string(role), "sites", siteNames(sites))
	case rest[0] == "grant" && len(rest) == 2:
		if err := knownSites(c, sites); err != nil {
			return err
		}
		if err := files.Grant(rest[1], role, sites); err != nil {
			return err
		}
		return noteStaff(c, "user "+rest[1], "granted", "role", string(role), "sites", siteNames(sites))
	case rest[0] == "totp" && len(rest) == 2:
		return setSecond(s, c, files, rest[1], *off)
	case rest[0] == "revoke" && len(rest) <= 2:
		name := strings.Join(rest[1:], "")
		if err := files.Revoke(name); err != nil {
			return err
		}
		if name == "" {
			return noteStaff(c, "login link", "sessions ended")
		}
		return noteStaff(c, "user "+name, "sessions ended")
	case rest[0] == "passwd" && len(rest) == 2:
		password, err := readPassword(s)
		if err != nil {
			return err
		}
		if err := files.SetPassword(rest[1], password); err != nil {
			return err
		}
		return noteStaff(c, "user "+rest[1], "password set")
	case rest[0] == "remove" && len(rest) == 2:
		if err := files.RemoveUser(rest[1]); err != nil {
			return err
		}
		return noteStaff(c, "user "+rest[1], "removed")
	}
	return usagef("write user add NAME, grant NAME, passwd NAME, totp NAME, revoke [NAME], remove NAME, list, or link")
}

func siteNames(sites []string) string {
	if len(sites) == 0 {
		return "every site"
	}
	return strings.Join(sites, ", ")
}

func knownSites(c *Config, sites []string) error {
	for _, site := range sites {
		if c.site(site) == nil {
			return usagef("--site: %q is not configured", site)
		}
	}
	return nil
}

// setSecond gives a user a second factor: it prints the secret, and takes the first code on
// the input.
func setSecond(s streams, c *Config, files *auth.Files, name string, off bool) error {
	if off {
		if err := files.SetSecond(name, "", ""); err != nil {
			return err
		}
		return noteStaff(c, "user "+name, "second factor removed")
	}
	key, err := auth.NewSecond(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "Give this to the authenticator app of %s:\n  secret   %s\n  address  %s\nThen type the code that it shows: ", name, key.Secret(), key.URL())
	code, err := bufio.NewReader(s.in).ReadString('\n')
	if code == "" && err != nil {
		return usagef("give the code on the standard input: %w", err)
	}
	if err := files.SetSecond(name, key.Secret(), code); err != nil {
		return err
	}
	return noteStaff(c, "user "+name, "second factor set")
}

// noteStaff notes a change of who may see what. It has happened, so that an error says
// only that it is not noted.
func noteStaff(c *Config, who, what string, pairs ...string) error {
	return policy.NewAudit(c.Data, time.Now).Append("command line", policy.AuditStaff, who, append([]string{"what", what}, pairs...)...)
}

func loginLink(c *Config, files *auth.Files) (string, error) {
	secret, err := files.NewLink()
	if err != nil {
		return "", err
	}
	return localURL(c.Staff) + "/login?token=" + secret, nil
}

// readPassword asks on a terminal, without echo, and otherwise takes the first line of the
// input. A password is never an argument: those show in the list of processes.
func readPassword(s streams) (string, error) {
	if in, ok := s.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(s.err, "Password: ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(s.err)
		return string(b), err
	}
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if line == "" && err != nil {
		return "", usagef("give the password on the standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// listFlag is a flag that may be given several times.
type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(v string) error { *l = append(*l, v); return nil }
