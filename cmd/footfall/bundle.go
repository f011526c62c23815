package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/kantarainitiative/footfall/policy"
)

// bundle is the signed file of an assessment. No secret can be in it: it holds the notice, which is
// public, and settings as they are printed.
func (a *app) bundle(x *policy.Assessment) ([]byte, error) {
	cfg := a.config()
	a.mu.RLock()
	facts := cfg.facts(a.publicURLOf(cfg), a.geo)
	a.mu.RUnlock()
	pages, err := cfg.noticePages(facts)
	if err != nil {
		return nil, err
	}
	var docs []*policy.Document
	for _, f := range facts {
		if n, ok := a.notices.Current(f.Site); ok {
			docs = append(docs, policy.NewDocument(n))
		}
	}
	var text, page bytes.Buffer
	if err := policy.JSON(&text, docs...); err != nil {
		return nil, err
	}
	if err := pages.Write(&page, docs...); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text.Bytes()); err != nil {
		return nil, err
	}
	report, bad := policy.VerifyAudit(cfg.Data, policy.AuditHead{}, nil)
	head := report.Head.String()
	if bad != nil {
		head = bad.Error()
	}
	return a.receipts.SignBundle(&policy.Bundle{
		Note: policy.SelfAssessment, Versions: map[string]string{"footfall": programVersion(), "go": runtime.Version()},
		Assessment: *x, Notices: compact.Bytes(), Page: page.String(), Settings: settingsOf(cfg), AuditHead: head,
	})
}

// writeBundle writes a bundle that this installation's key has signed.
func writeBundle(c *Config, path string, file []byte) (*policy.Bundle, error) {
	keys, err := policy.PublishedKeys(c.Data)
	if err != nil {
		return nil, err
	}
	b, err := policy.VerifyBundle(file, keys)
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(path, file, 0o600)
}

// verifyBundle is `footfall check --verify-bundle`.
func verifyBundle(s streams, c *Config, path, keyFile string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := io.ReadAll(io.LimitReader(in, 32<<20))
	if err != nil {
		return err
	}
	var keys []byte
	if keyFile != "" {
		keys, err = readSmall(keyFile)
	} else {
		keys, err = policy.PublishedKeys(c.Data)
	}
	if err != nil {
		return err
	}
	b, err := policy.VerifyBundle(file, keys)
	if err != nil {
		return err
	}
	if err := printAssessment(s.out, &b.Assessment); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, "\nThe signature is good: this is what was signed.")
	return err
}
