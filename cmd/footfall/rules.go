package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/policy"
)

// rules is the organisation's policy; the zero one, which forbids nothing, where none is configured.
func (c *Config) rules() (*policy.Rules, error) {
	if c.Policy == "" {
		return &policy.Rules{}, nil
	}
	b, err := os.ReadFile(c.Policy)
	if err != nil {
		return nil, usageError{fmt.Errorf("policy: %w", err)}
	}
	r, err := policy.ParseRules(b)
	if err != nil {
		return nil, usageError{fmt.Errorf("policy: %s: %w", c.Policy, err)}
	}
	return r, nil
}

// enforce refuses a configuration that breaks the organisation's policy: it names every clause
// that is broken, and its setting.
func (c *Config) enforce(geo *classify.Geo, now time.Time) error {
	r, err := c.rules()
	if err != nil {
		return err
	}
	breaches := r.Breaches(c.facts(c.publicURL(), geo), now)
	if len(breaches) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration breaks the policy %s:", c.Policy)
	for _, x := range breaches {
		b.WriteString("\n  " + x.String())
	}
	return usageError{errors.New(b.String())}
}
