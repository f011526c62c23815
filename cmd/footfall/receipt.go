package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/kantarainitiative/footfall/policy"
)

func runReceipt(_ context.Context, s streams, args []string) error {
	f := newFlags("receipt", s)
	keyFile := f.String("key", "", "the published key, a `file` as /.well-known/footfall-receipt-key.json has it (default: this installation's)")
	rest, err := f.parse(args, 2, 2)
	if err != nil {
		return err
	}
	if rest[0] != "verify" {
		return usagef("write receipt verify FILE [--key FILE]")
	}
	c, err := f.load()
	if err != nil {
		return err
	}
	file, err := readSmall(rest[1])
	if err != nil {
		return err
	}
	var keys []byte
	if *keyFile != "" {
		keys, err = readSmall(*keyFile)
	} else if keys, err = policy.PublishedKeys(c.Data); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no key of receipts: give it with --data, or a published key with --key", c.Data)
	}
	if err != nil {
		return err
	}
	r, err := policy.Verify(file, keys)
	if err != nil {
		return err
	}
	at, known, err := policy.Known(c.Data, r.Hash)
	return printReceipt(s.out, r, sayKnown(at, known, err))
}

// readSmall reads no more of a stranger's file than a receipt can have.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

func sayKnown(at time.Time, known bool, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not looked up: this data directory has given no receipts"
	case err != nil:
		return "not looked up: " + err.Error()
	case known:
		return "yes, given " + at.Format(time.DateTime) + " UTC"
	}
	return "no: given elsewhere, or before what the log holds"
}

// printReceipt prints what was signed. Whoever signed it need not be us (--key), so a text of it is one line
// and holds only what can be printed.
func printReceipt(w io.Writer, r *policy.Verified, known string) error {
	sites := make([]string, len(r.Sites))
	for i, s := range r.Sites {
		sites[i] = fmt.Sprintf("%s, version %d", s.Site, s.Version)
	}
	controller := r.Controller.Name
	if controller == "" {
		controller = "(no name given)"
	}
	if contact := r.Controller.Contact(); contact != "" {
		controller += ", " + contact
	}
	for _, line := range [][2]string{
		{"act", string(r.Act)},
		{"time", r.Time.UTC().Format(time.DateTime) + " UTC"},
		{"meaning", r.Meaning},
		{"controller", controller},
		{"notice", strings.Join(sites, "; ")},
		{"", r.NoticeVersion},
		{"undo", r.Undo.How},
		{"", r.Undo.URL},
		{"signature", "good, key " + r.KeyID},
		{"known here", known},
	} {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-12s %s\n", line[0], strings.Map(printable, line[1])); err != nil {
			return err
		}
	}
	return nil
}

func printable(c rune) rune {
	if !unicode.IsPrint(c) {
		return unicode.ReplacementChar
	}
	return c
}
