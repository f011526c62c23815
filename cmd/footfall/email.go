package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kantarainitiative/footfall/beacon/email"
)

func runEmail(_ context.Context, s streams, args []string) error {
	f := newFlags("email", s)
	site := f.String("site", "", "the `site` that the mail belongs to")
	campaign := f.String("campaign", "", "the campaign's `name`, at most 24 bytes")
	message := f.String("message", "", "the message's `name` within the campaign, at most 24 bytes")
	rest, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	if rest[0] != "pixel" {
		return usagef("write email pixel --site S --campaign C [--message M]")
	}
	c, err := f.load()
	if err != nil {
		return err
	}
	switch {
	case *site == "":
		return usagef("--site: which site does the mail belong to?")
	case c.site(*site) == nil:
		return usagef("--site: %q is not configured", *site)
	case *campaign == "":
		return usagef("--campaign: give the campaign a name")
	}
	if err := c.makeData(); err != nil {
		return err
	}
	key, err := email.LoadOrCreateKey(c.path("email.key"), time.Now)
	if err != nil {
		return err
	}
	token, err := key.SealOpen(email.Open{Site: *site, Campaign: *campaign, Message: *message})
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintf(s.out, "%s\n%s\n", email.PixelURL(c.publicURL(), token), email.PixelHTML(c.publicURL(), token))
	return err
}
