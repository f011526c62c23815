package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
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
			may := "every site"
			if len(t.Sites) > 0 {
				may = strings.Join(t.Sites, ", ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, t.Created.Format(time.DateOnly), may)
		}
		return w.Flush()
	case rest[0] == "add" && len(rest) == 2:
		for _, site := range sites {
			if c.site(site) == nil {
				return usagef("--site: %q is not configured", site)
			}
		}
		token, err := files.AddToken(rest[1], sites)
		if err != nil {
			return err
		}
		may := "every site"
		if len(sites) > 0 {
			may = strings.Join(sites, ", ")
		}
		if err := noteStaff(c, "token "+rest[1], "added", "sites", may); err != nil {
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
			fmt.Fprintf(w, "%s\t%s\n", u.Name, u.Created.Format(time.DateOnly))
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
		password, err := readPassword(s)
		if err != nil {
			return err
		}
		if err := files.AddUser(rest[1], password); err != nil {
			return err
		}
		return noteStaff(c, "user "+rest[1], "added")
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
	return usagef("write user add NAME, user passwd NAME, user list, user remove NAME, or user link")
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
