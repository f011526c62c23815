package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/policy"
)

// assessTime bounds the measuring of an installation.
const assessTime = 5 * time.Minute

// assess holds this installation against a profile, one at a time. The last result of each is kept for
// the dashboard.
func (a *app) assess(ctx context.Context, actor, profile string) (*policy.Assessment, error) {
	a.assessing.Lock()
	defer a.assessing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, assessTime)
	defer cancel()
	m, err := a.measure(ctx, profile)
	if err != nil {
		return nil, err
	}
	x, ok := policy.Assess(profile, m)
	if !ok {
		return nil, fmt.Errorf("%q is no profile", profile)
	}
	a.mu.Lock()
	if a.assessed == nil {
		a.assessed = map[string]*policy.Assessment{}
	}
	a.assessed[profile] = x
	a.mu.Unlock()
	a.note(actor, policy.AuditAssessment, profile, "result", map[bool]string{true: "nothing fails", false: "fails"}[x.Passed])
	return x, nil
}

func (a *app) serveProfile(w http.ResponseWriter, r *http.Request) {
	x, err := a.assess(r.Context(), "command line", r.URL.Query().Get("name"))
	if err != nil {
		auth.JSONError(w, http.StatusInternalServerError, err.Error())
		return
	}
	b, err := json.Marshal(x)
	if err == nil && r.URL.Query().Has("bundle") {
		b, err = a.bundle(x)
	}
	if err != nil {
		auth.JSONError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Write(b)
}

// checkProfile is `footfall check --profile`.
func checkProfile(ctx context.Context, s streams, c *Config, profile, bundle string, asJSON bool) error {
	if !slices.Contains(policy.ProfileNames(), profile) {
		return usagef("--profile: %q is none of %s", profile, strings.Join(policy.ProfileNames(), ", "))
	}
	q := url.Values{"name": {profile}}
	if bundle != "" {
		q.Set("bundle", "1")
	}
	b, status, err := askServe(ctx, c, http.MethodPost, "/profile?"+q.Encode(), nil)
	if err != nil {
		return fmt.Errorf("a profile is measured on a running installation, and no footfall serve runs on %s: start it, and check again beside it", c.Data)
	}
	if status != http.StatusOK {
		return errors.New(errorText(b))
	}
	var x policy.Assessment
	if bundle == "" {
		err = json.Unmarshal(b, &x)
	} else {
		var signed *policy.Bundle
		if signed, err = writeBundle(c, bundle, b); err == nil {
			x = signed.Assessment
		}
	}
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(&x)
	} else {
		err = printAssessment(s.out, &x)
	}
	if err == nil && !x.Passed {
		err = fmt.Errorf("the installation does not meet the profile %s", profile)
	}
	return err
}

func printAssessment(out io.Writer, x *policy.Assessment) error {
	fmt.Fprintf(out, "%s\n%s; sites: %s\n%s\n\n", x.Title, x.At.Format(time.RFC3339), strings.Join(x.Sites, ", "), x.Note)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\tcondition\trequired\tmeasured\tresult\tmend it by")
	for _, r := range x.Rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Condition, r.Required, r.Measured, r.Status, cmp.Or(r.Setting, "-"))
	}
	return w.Flush()
}
