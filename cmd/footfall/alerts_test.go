package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const alertsDir = "../../deploy/prometheus"

type alertRule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alertRules(t *testing.T) (rules []alertRule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alertRule } }
	readYAML(t, filepath.Join(alertsDir, "alerts.yml"), &file)
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 10 {
		t.Fatalf("only %d rules were found", len(rules))
	}
	return rules
}

func readYAML(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAlertRules has Prometheus's own tool check the rules and run their tests, which fire each
// of them, and holds that they do.
func TestAlertRules(t *testing.T) {
	promtool := func(args ...string) {
		t.Helper()
		cmd := exec.Command("promtool", args...)
		cmd.Dir = alertsDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	promtool("check", "rules", "alerts.yml")
	tests, err := filepath.Glob(filepath.Join(alertsDir, "*_test.yml"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of the rules: %v", err)
	}
	fired, silent := map[string]int{}, 0
	for _, path := range tests {
		promtool("test", "rules", filepath.Base(path))
		var file struct {
			Tests []struct {
				Promql []struct {
					Expr    string
					Samples []struct{ Labels string } `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		readYAML(t, path, &file)
		for _, test := range file.Tests {
			for _, p := range test.Promql {
				if p.Expr != `count by (alertname) (ALERTS{alertstate="firing"})` {
					t.Errorf("%s does not ask for all alerts, but for %s", path, p.Expr)
				}
				if len(p.Samples) == 0 {
					silent++
				}
				for _, s := range p.Samples {
					fired[s.Labels]++
				}
			}
		}
	}
	rules := alertRules(t)
	for _, r := range rules {
		if fired[`{alertname="`+r.Alert+`"}`] == 0 {
			t.Errorf("no test fires %s", r.Alert)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what is wrong and what to do", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
	}
	if silent < len(rules) {
		t.Errorf("only %d moments of silence", silent)
	}
}

var selector = regexp.MustCompile(`\b(up|footfall_\w+)(?:\{([^}]*)\})?`)

// TestAlertedMetricsAreThere: the running program has every metric that a rule or a description
// names, with the labels that are asked for, before anything has happened.
func TestAlertedMetricsAreThere(t *testing.T) {
	lines := strings.Split(start(t, t.TempDir()).scrape(), "\n")
	asked := 0
	check := func(alert, name, labels string) {
		if name == "up" { // Prometheus's own
			return
		}
		asked++
		if !slices.ContainsFunc(lines, func(line string) bool {
			series, ok := strings.CutPrefix(line, name)
			if !ok || !strings.HasPrefix(series, "{") && !strings.HasPrefix(series, " ") && !strings.HasPrefix(series, "_bucket{") {
				return false
			}
			for label := range strings.SplitSeq(labels, ",") {
				if !strings.Contains(series, label) {
					return false
				}
			}
			return true
		}) {
			t.Errorf("%s: the program has no %s{%s}", alert, name, labels)
		}
	}
	for _, r := range alertRules(t) {
		for _, m := range selector.FindAllStringSubmatch(r.Expr, -1) {
			check(r.Alert, m[1], m[2])
		}
		for _, text := range r.Annotations {
			for _, m := range regexp.MustCompile(`\bfootfall_\w+`).FindAllString(text, -1) {
				check(r.Alert, m, "")
			}
		}
		for _, other := range regexp.MustCompile(`\bFootfall[A-Z]\w+`).FindAllString(r.Annotations["description"], -1) {
			if !slices.ContainsFunc(alertRules(t), func(r alertRule) bool { return r.Alert == other }) {
				t.Errorf("%s speaks of %s, which is no alert", r.Alert, other)
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d metrics were looked for", asked)
	}
}
