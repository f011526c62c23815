package policy

import (
	"strings"
	"testing"
	"time"
)

func siteFacts(change ...func(*Facts)) []Facts {
	f := Facts{Site: "example.org", Means: []Means{Script, Pixel}, Window: "day", Address: "truncate", Bits4: 24, Bits6: 48,
		DNT: "unlinked", Cookie: "none", Place: "country", PII: "mask", Retention: "400d"}
	for _, c := range change {
		c(&f)
	}
	return []Facts{f}
}

func TestRulesNameEveryClauseBroken(t *testing.T) {
	rules := `
retention: 13mo
prefix: {ipv4: 16, ipv6: 32}
ip: [hash, drop]
dnt: [drop]
cookies: false
sources: [script]
min_visitors: 5
forbidden: [long_ids, cities, places, networks, query_params, raw_texts]
`
	r, err := ParseRules([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	got := r.Breaches(siteFacts(func(f *Facts) {
		f.Retention, f.Window, f.Cookie, f.Place, f.QueryParams, f.PII = "2y", "week", "consented", "city", []string{"q"}, "off"
	}), auditNow())
	var clauses []string
	for _, b := range got {
		clauses = append(clauses, b.Clause)
		if b.Site != "example.org" || b.Setting == "" || b.Allowed == "" || b.Is == "" {
			t.Errorf("%+v says too little", b)
		}
	}
	want := "retention prefix prefix ip dnt cookies sources min_visitors forbidden long_ids forbidden cities forbidden places forbidden networks forbidden query_params forbidden raw_texts"
	if s := strings.Join(clauses, " "); s != want {
		t.Errorf("broken: %s\nwant    %s", s, want)
	}
	if s := got[0].String(); s != "retention: example.org: retention of events is 2y, and the policy allows at most 13mo" {
		t.Errorf("it reads %q", s)
	}
	if got := r.Breaches(siteFacts(func(f *Facts) {
		f.Retention, f.Address, f.Bits4, f.Bits6, f.DNT, f.Means, f.MinVisitors, f.Place = "13mo", "drop", 16, 32, "drop", []Means{Script}, 5, "none"
	}), auditNow()); len(got) != 0 {
		t.Errorf("nothing is broken, and yet: %v", got)
	}
	if got := (&Rules{}).Breaches(siteFacts(), auditNow()); len(got) != 0 {
		t.Errorf("no rule is broken: %v", got)
	}
	// Where nothing of an address is kept or looked up its length does not matter.
	if got := (&Rules{Prefix: &PrefixRule{16, 32}}).Breaches(siteFacts(func(f *Facts) { f.Address, f.Place = "hash", "none" }), auditNow()); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestProfileIsEnforced(t *testing.T) {
	r, err := ParseRules([]byte("profile: cnil\n"))
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, b := range r.Breaches(siteFacts(), auditNow()) {
		text = append(text, b.String())
	}
	for _, want := range []string{"profile cnil: prefix: example.org: prefix.ipv4 is 24", "profile cnil: min_visitors", "retention_reviewed"} {
		if !strings.Contains(strings.Join(text, "\n"), want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	fit := siteFacts(func(f *Facts) { f.Bits4, f.MinVisitors = 16, 5 })
	r.Reviewed.Time = auditNow().AddDate(-1, 0, 0)
	if got := r.Breaches(fit, auditNow()); len(got) != 0 {
		t.Errorf("reviewed a year ago: %v", got)
	}
	r.Reviewed.Time = auditNow().AddDate(-1, 0, -2)
	if got := r.Breaches(fit, auditNow()); len(got) != 1 {
		t.Errorf("reviewed longer ago: %v", got)
	}
	for _, name := range ProfileNames() {
		p, ok := ProfileRules(name)
		if !ok || p.check() != nil {
			t.Errorf("profile %s: %v", name, p.check())
		}
	}
}

func TestRulesThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"retentoin: 13mo":             `line 1: unknown clause "retentoin"`,
		"retention: soon":             "no period",
		"ip: [keep]":                  `ip: "keep" is none of`,
		"dnt: [no]":                   `dnt: "no" is none of`,
		"sources: [fax]":              `sources: "fax" is none of`,
		"forbidden: [fun]":            `forbidden: "fun" is none of`,
		"prefix: {ipv4: 40}":          "prefix: ipv4 is 0 to 32",
		"min_visitors: -1":            "is negative",
		"profile: moon":               `profile: "moon" is none of cnil`,
		"retention_reviewed: tuesday": "no date such as",
		"a: 1\n---\nb: 2":             "unknown clause",
		"{}\n---\n{}":                 "more than one",
		"[1]":                         "",
	} {
		if _, err := ParseRules([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if r, err := ParseRules(nil); err != nil || len(r.Breaches(siteFacts(), time.Now())) != 0 {
		t.Errorf("an empty policy: %v", err)
	}
}

func TestPeriodDays(t *testing.T) {
	for p, want := range map[Period]int{"": 0, "x": 0, "400d": 400, "2w": 14, "1mo": 31, "13mo": 366 + 31, "25mo": 731 + 31, "1y": 366, "2y": 731, "5y": 1827} {
		if got := p.Days(); got != want {
			t.Errorf("%s is %d days, want %d", p, got, want)
		}
	}
}
