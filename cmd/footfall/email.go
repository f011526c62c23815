package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
)

// mailing is what the flags of the email commands say of a mail.
type mailing struct {
	site, campaign, message, expires string
	utm                              bool
}

const emailUsage = "write email pixel | link URL... | rewrite [FILE], with --site S --campaign C [--message M], or email rotate"

func runEmail(_ context.Context, s streams, args []string) error {
	f := newFlags("email", s)
	var m mailing
	f.StringVar(&m.site, "site", "", "the `site` that the mail belongs to")
	f.StringVar(&m.campaign, "campaign", "", "the campaign's `name`, at most 24 bytes")
	f.StringVar(&m.message, "message", "", "the message's `name` within the campaign, at most 24 bytes")
	f.StringVar(&m.expires, "expires", "", "the last `date` on which the mail is counted and its links lead on (default in 400 days)")
	f.BoolVar(&m.utm, "utm", false, "links add utm_source, utm_medium, utm_campaign and utm_content where the address has none of that name")
	rest, err := f.parse(args, 1, 1000)
	if err != nil {
		return err
	}
	c, err := f.load()
	if err != nil {
		return err
	}
	switch what, rest := rest[0], rest[1:]; {
	case what == "rotate" && len(rest) == 0:
		return rotateEmailKey(s, c)
	case what == "pixel" && len(rest) == 0, what == "link" && len(rest) > 0:
		l, err := m.linker(c)
		if err != nil {
			return err
		}
		if what == "pixel" {
			token, err := l.Pixel()
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintf(s.out, "%s\n%s\n", email.PixelURL(l.Base, token), email.PixelHTML(l.Base, token))
			return err
		}
		for _, u := range rest {
			link, err := l.Link(u)
			if err != nil {
				return usageError{err}
			}
			if _, err := fmt.Fprintln(s.out, link); err != nil {
				return err
			}
		}
		return nil
	}
	if what, rest := rest[0], rest[1:]; what == "rewrite" && len(rest) < 2 {
		return m.rewrite(s, c, rest)
	}
	return usagef(emailUsage)
}

// maxMail is the largest mail that is rewritten: more than mail servers take.
const maxMail = 64 << 20

// rewrite writes a mail, from a file or the input, with its links counted and the pixel in it.
func (m *mailing) rewrite(s streams, c *Config, file []string) error {
	l, err := m.linker(c)
	if err != nil {
		return err
	}
	in := s.in
	if len(file) > 0 && file[0] != "-" {
		f, err := os.Open(file[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	mail, err := io.ReadAll(io.LimitReader(in, maxMail+1))
	if err != nil {
		return err
	}
	if len(mail) > maxMail {
		return fmt.Errorf("the mail is larger than %d MiB", maxMail>>20)
	}
	out, done, err := l.Rewrite(mail)
	if err != nil {
		return err
	}
	if _, err := s.out.Write(out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.err, "%d links are counted, %d are left as they were\n", done.Links, done.Left)
	return err
}

// linker makes the tokens of the mail.
func (m *mailing) linker(c *Config) (*email.Linker, error) {
	switch {
	case m.site == "":
		return nil, usagef("--site: which site does the mail belong to?")
	case c.site(m.site) == nil:
		return nil, usagef("--site: %q is not configured", m.site)
	case m.campaign == "":
		return nil, usagef("--campaign: give the campaign a name")
	}
	l := &email.Linker{Base: c.publicURL(), Site: m.site, Campaign: m.campaign, Message: m.message, UTM: m.utm}
	if m.expires != "" {
		var err error
		if l.Expires, err = time.Parse(time.DateOnly, m.expires); err != nil {
			return nil, usagef("--expires: write a date as 2027-03-31")
		}
	}
	if err := c.makeData(); err != nil {
		return nil, err
	}
	var err error
	l.Key, err = email.LoadOrCreateKey(c.path("email.key"), time.Now)
	return l, err
}

// rotateEmailKey adds a key to the ring. A running serve reads it by itself.
func rotateEmailKey(s streams, c *Config) error {
	path := c.path("email.key")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no key yet: %w", err)
	}
	from, err := email.Rotate(path, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "A new key is in %s and seals from %s (UTC) on; what the old ones sealed stays good.\nIf there are other nodes, bring the file to them before then.\n",
		path, from.Format(time.DateOnly))
	return err
}
