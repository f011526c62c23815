package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/policy"
)

func runNotice(_ context.Context, s streams, args []string) error {
	f := newFlags("notice", s)
	format := f.String("format", "markdown", "`form`: html, markdown, json, dpv (JSON-LD in the W3C Data Privacy Vocabulary), or register (the entry for the records of processing, GDPR Art. 30)")
	site := f.String("site", "", "one `site` only")
	if _, err := f.parse(args, 0, 0); err != nil {
		return err
	}
	c, err := f.load()
	if err != nil {
		return err
	}
	if *site != "" && c.site(*site) == nil {
		return usagef("--site: %q is not configured", *site)
	}
	geo, err := openGeo(c)
	if err != nil {
		return usageError{err}
	}
	defer geo.Close()
	facts := c.facts(c.publicURL(), geo)
	notices, err := policy.OpenNotices(c.Data, time.Now)
	if err != nil {
		return err
	}
	var docs []*policy.Document
	for _, fact := range facts {
		if *site != "" && fact.Site != *site {
			continue
		}
		n, fresh := notices.Preview(fact)
		if fresh {
			fmt.Fprintf(s.err, "footfall notice: %s: this is not in force yet; it becomes version %d when serve reads this configuration\n", fact.Site, n.Version)
		}
		docs = append(docs, policy.NewDocument(n))
	}
	write, ok := map[string]func(io.Writer, ...*policy.Document) error{
		"html": func(w io.Writer, docs ...*policy.Document) error {
			pages, err := c.noticePages(facts)
			if err != nil {
				return err
			}
			return pages.Write(w, docs...)
		},
		"markdown": func(w io.Writer, docs ...*policy.Document) error { return policy.Markdown(w, c.Templates, docs...) },
		"json":     policy.JSON, "dpv": policy.DPV, "register": policy.Register,
	}[*format]
	if !ok {
		return usagef("--format: %q is none of html, markdown, json, dpv, register", *format)
	}
	var b bytes.Buffer
	if err := write(&b, docs...); err != nil {
		return err
	}
	_, err = s.out.Write(b.Bytes())
	return err
}

// noticePages reads the organisation's templates, and makes sure that they leave out no fact of any site.
func (c *Config) noticePages(facts []policy.Facts) (*privacy.NoticePages, error) {
	pages, err := privacy.NewNoticePages(c.Templates)
	if err != nil {
		return nil, err
	}
	for _, f := range facts {
		d := policy.NewDocument(policy.Notice{Version: 1, Since: time.Unix(0, 0).UTC(), Facts: f})
		if err := pages.Check(d); err != nil {
			return nil, err
		}
		if err := policy.Markdown(io.Discard, c.Templates, d); err != nil {
			return nil, err
		}
	}
	return pages, nil
}
