package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is what became of a condition.
type Status string

// The states, the worst first.
const (
	Fail        Status = "fail"
	NotMeasured Status = "not measured" // why is said in its place
	Doubtful    Status = "doubtful"     // measured, but whether it is allowed is not settled
	Declared    Status = "declared"     // said by the organisation; no program can measure it
	Pass        Status = "pass"
)

var statuses = []Status{Fail, NotMeasured, Doubtful, Declared, Pass}

// Verdict is one condition of a profile, as an installation was found.
type Verdict struct {
	ID        string `json:"id"`
	Condition string `json:"condition"`
	Required  string `json:"required"`
	Measured  string `json:"measured"`
	Status    Status `json:"status"`
	Setting   string `json:"setting,omitempty"` // what mends it
}

// Assessment is an installation held against a profile.
type Assessment struct {
	Profile string    `json:"profile"`
	Title   string    `json:"title"`
	At      time.Time `json:"at"`
	Sites   []string  `json:"sites"`
	Passed  bool      `json:"passed"` // nothing fails
	Note    string    `json:"note"`
	Rows    []Verdict `json:"conditions"`
}

// SelfAssessment is said with each assessment.
const SelfAssessment = "This is a self-assessment by the operator's own program. It is no certificate, no regulator has checked it, and it is no legal advice."

// condition is one of a profile's. Where each is from is told at [profiles].
type condition struct {
	id, text, required string
	setting            string
	judge              func(l limits, m *Measured) []finding
}

// finding is one answer: of a site, or of all.
type finding struct {
	site     string
	status   Status
	measured string
}

// limits are the numbers of a profile.
type limits struct {
	keep    int // days
	keepAs  string
	bits4   int
	k       int
	reviews bool
}

const (
	cookieDays = 395 // 13 months
	clicks     = 2   // ours
)

// eachSite judges each site by itself.
func eachSite(m *Measured, judge func(s *MeasuredSite) (Status, string)) (out []finding) {
	for i := range m.Sites {
		status, text := judge(&m.Sites[i])
		out = append(out, finding{m.Sites[i].Facts.Site, status, text})
	}
	return out
}

func passIf(ok bool) Status {
	if ok {
		return Pass
	}
	return Fail
}

// conditions are all there are; profiles name those that are theirs.
func conditions(l limits) []condition {
	return []condition{
		{"A1", "Life of the tracker", fmt.Sprintf("at most 13 months (%d days)", cookieDays), "cookie: none", judgeLife},
		{"A2", "Not extended by later visits", "a second visit sets no cookie", "cookie: none", judgeExtended},
		{"A3", "How long data is kept", fmt.Sprintf("at most %s (%d days), in every table and in the spool", l.keepAs, l.keep), "retention", judgeKept},
		{"A4", "The periods are reviewed", "[own] within the last 12 months", "retention_reviewed in the policy", judgeReviewed},
		{"B1", "Purposes: audience, navigation faults, tuning, sizing, content", "no profiles, no replay of sessions, no user ids, no revenue", "leave `revenue`, and properties that name people, out of the events that pages send", judgePurposes},
		{"B2", "For the publisher alone", "nothing is sent to others", "remove what sends records on", judgeSinks},
		{"B3", "No joining with other processing", "no recipient, user or other id beside a visit", "remove columns that are not Footfall's", judgeJoined},
		{"C1", "One site only", "first-party; the same person has another id on another site", "url: an address below the site's own domain", judgeSite},
		{"D1", "Output is anonymous", fmt.Sprintf("[own] no row of fewer than %d visitors", l.k), "min_visitors", judgeSmallest},
		{"D2", "Address masked before its place is looked up", fmt.Sprintf("at most %d bits of IPv4 are used or kept", l.bits4), "prefix: {ipv4: 16}", judgeAddress},
		{"D3", "Place", "no finer than a city", "geo", judgePlace},
		{"D4", "No personal data in addresses, titles and events", "none is stored", "pii: mask, or drop", judgePersonal},
		{"E1", "People are informed", "the notice names who is responsible, the tracker, its purpose and life", "organisation: {name, email}, and url", judgeInformed},
		{"E2", "Objecting is easy", fmt.Sprintf("without JavaScript, in at most %d clicks ([own])", clicks), "url: an address below the site's own domain", judgeObjection},
		{"E3", "Nothing is kept after an objection", "0 rows", "", judgeAfter},
		{"F1", "Grain of the reports", "page views hourly; sources, devices, places and engagement no finer than a day", "grain: day", judgeGrain},
		{"G1", "Campaign tags", "CNIL is reported to have said that they fall outside", "publish no links with utm_ parameters", judgeCampaigns},
		{"H1", "Controller, transfers and processors declared", "name, contact and jurisdiction are in the notice", "organisation: {name, email, jurisdiction}", judgeDeclared},
		{"R1", "Settings that the profile asks for", "as `policy.yaml: profile` enforces them", "", judgeRules},
	}
}

func judgeLife(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		switch {
		case s.HitCookie != "":
			return Fail, "a hit is answered with the cookie " + s.HitCookie
		case s.CookieSet:
			return passIf(s.CookieDays <= cookieDays), fmt.Sprintf("%s lives %d days, after consent; the cookie of those who object (exempt) %d days", s.Facts.CookieName, s.CookieDays, s.OptOutDays)
		}
		return Pass, fmt.Sprintf("no cookie is set; ids last one %s; the cookie of those who object (exempt) %d days", s.Facts.Window, s.OptOutDays)
	})
}

func judgeExtended(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		switch {
		case s.Extended:
			return Fail, "a later visit sets the cookie again"
		case s.CookieSet:
			return Pass, "a second consent and a visit set no cookie"
		}
		return Pass, "there is no cookie to extend"
	})
}

func judgeKept(l limits, m *Measured) (out []finding) {
	age := func(t time.Time) int { return int(m.At.Sub(t) / (24 * time.Hour)) }
	oldest := Age{Oldest: m.At}
	for _, a := range m.Oldest {
		if a.Oldest.Before(oldest.Oldest) {
			oldest = a
		}
	}
	text := fmt.Sprintf("nothing stored yet, in %d tables and the spool", len(m.Oldest))
	if oldest.What != "" {
		of := ""
		if oldest.Site != "" {
			of = " of " + oldest.Site
		}
		text = fmt.Sprintf("oldest: %s%s, %d days old", oldest.What, of, age(oldest.Oldest))
	}
	out = append(out, finding{"", passIf(l.keep == 0 || age(oldest.Oldest) <= l.keep), text})
	for i := range m.Sites {
		f := &m.Sites[i].Facts
		for _, kind := range sortedKeys(f.Kept()) {
			if period := f.Kept()[kind]; l.keep > 0 && (Period(period).Days() > l.keep || Period(period).Days() == 0) {
				out = append(out, finding{f.Site, Fail, "kept of " + kind + ": " + cmp.Or(period, "no limit")})
			}
		}
		if !f.Disposal {
			out = append(out, finding{f.Site, Pass, "nothing deletes by itself what gets older"})
		}
	}
	return out
}

func sortedKeys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func judgeReviewed(_ limits, m *Measured) []finding {
	switch {
	case m.Reviewed.IsZero():
		return []finding{{"", Fail, "no date is given"}}
	case m.At.Sub(m.Reviewed) > 366*24*time.Hour:
		return []finding{{"", Fail, "last on " + m.Reviewed.Format(time.DateOnly)}}
	}
	return []finding{{"", Declared, "on " + m.Reviewed.Format(time.DateOnly)}}
}

func judgePurposes(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		switch {
		case s.Revenue > 0:
			return Fail, fmt.Sprintf("%d events with revenue in 90 days", s.Revenue)
		case len(s.UserProps) > 0:
			return Fail, "properties in 90 days that name people: " + strings.Join(s.UserProps, ", ")
		}
		return Pass, "no revenue and no property that names people in 90 days; profiles, replay and user ids are not built in"
	})
}

func judgeSinks(_ limits, m *Measured) []finding {
	if len(m.Sinks) > 0 {
		return []finding{{"", Fail, "sent to " + strings.Join(m.Sinks, ", ")}}
	}
	return []finding{{"", Pass, "no sink is configured; exports hold figures, no visits"}}
}

func judgeJoined(_ limits, m *Measured) []finding {
	own := ColumnNames("events")
	var others []string
	for _, c := range m.Columns {
		if !slices.Contains(own, c) {
			others = append(others, c)
		}
	}
	if len(others) > 0 {
		return []finding{{"", Fail, "columns that the notice does not tell of: " + strings.Join(others, ", ")}}
	}
	return []finding{{"", Pass, fmt.Sprintf("the %d columns of events are those of the notice; none holds a recipient or a user", len(m.Columns))}}
}

func judgeSite(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		switch {
		case len(s.Same) > 0:
			return Fail, "the same person has the same id at " + strings.Join(s.Same, ", ")
		case !s.URLSet:
			return Doubtful, "ids differ; url is not set, so where browsers fetch the tracker is not known"
		case !s.FirstParty:
			return Fail, "ids differ; to a browser the public address is another site"
		}
		return Pass, "first-party; the same test person has two ids at two sites"
	})
}

func judgeSmallest(l limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		shown := "reports of 30 days show no row"
		if s.Smallest > 0 {
			shown = fmt.Sprintf("the smallest row of 30 days has %d visitors", s.Smallest)
		}
		ok := s.Facts.MinVisitors >= l.k && (s.Smallest == 0 || s.Smallest >= uint64(l.k))
		return passIf(ok), fmt.Sprintf("min_visitors is %d; %s", s.Facts.MinVisitors, shown)
	})
}

func judgeAddress(l limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		stored := "no network is stored"
		if s.Network > 0 {
			stored = fmt.Sprintf("stored networks have up to %d", s.Network)
		}
		used := s.TruncatedV
		if s.Facts.Place == "none" && s.Facts.Address != "truncate" {
			used = 0 // only the number of a visitor is made of it
		}
		return passIf(max(used, s.Network) <= l.bits4), fmt.Sprintf("%d bits of a test address are used; %s", used, stored)
	})
}

func judgePlace(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		return passIf(slices.Contains([]string{"none", "country", "city"}, s.Facts.Place)), map[string]string{"none": "no place is looked up"}[s.Facts.Place] +
			map[bool]string{true: "finest: " + s.Facts.Place}[s.Facts.Place != "none"]
	})
}

func judgePersonal(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		text := fmt.Sprintf("pii is %s; masked or dropped in 30 days: %d; found in %d of %d addresses and titles of 30 days", s.Facts.PII, s.Masked, s.Personal, s.Texts)
		return passIf(s.Facts.PII != "off" && s.Personal == 0), text
	})
}

func judgeInformed(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		c := s.Facts.Controller
		switch {
		case len(s.LeftOut) > 0:
			return Fail, "the page does not say: " + strings.Join(s.LeftOut, "; ")
		case c.Name == "" || c.Contact() == "":
			return Fail, "the notice does not say who is responsible and how to reach them"
		}
		return Pass, "the page was fetched and says every fact"
	})
}

func judgeObjection(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		switch {
		case !s.FirstParty:
			return Fail, "to a browser the page of the objection is another site, so that its cookie does not reach the pages"
		case s.Clicks == 0 || s.OptOutDays == 0:
			return Fail, "the form of the page does not set the cookie"
		case s.Scripts:
			return Fail, "the page needs a script"
		case !s.NoticeLinks:
			return Fail, "the notice does not lead there"
		}
		return passIf(s.Clicks <= clicks), fmt.Sprintf("%d clicks from the notice, a plain form, no script", s.Clicks)
	})
}

func judgeAfter(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		if !s.Dropped {
			return Fail, "a test hit with the cookie of the objection was counted"
		}
		return passIf(s.Held == 0), fmt.Sprintf("a test hit was answered as dropped, and %d rows are held of it", s.Held)
	})
}

func judgeGrain(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		if len(s.Finer) > 0 {
			return Fail, "answered by the hour: " + strings.Join(s.Finer, ", ")
		}
		return Pass, "by the hour page views alone are told"
	})
}

func judgeCampaigns(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		if s.Campaigns > 0 {
			return Doubtful, fmt.Sprintf("%d rows with campaign tags in 90 days", s.Campaigns)
		}
		return Pass, "no row with campaign tags in 90 days"
	})
}

func judgeDeclared(_ limits, m *Measured) []finding {
	return eachSite(m, func(s *MeasuredSite) (Status, string) {
		c := s.Facts.Controller
		var missing []string
		for _, x := range [][2]string{{"name", c.Name}, {"email, phone or address", c.Contact()}, {"jurisdiction", c.Jurisdiction}} {
			if x[1] == "" {
				missing = append(missing, x[0])
			}
		}
		switch {
		case len(missing) > 0:
			return Fail, "organisation lacks " + strings.Join(missing, ", ")
		case m.Remote != "":
			return Doubtful, "the database is on another machine (" + m.Remote + "): who runs it, and where, is not declared"
		}
		return Declared, "all three; no transfers and no processors, the database is on this machine"
	})
}

func judgeRules(_ limits, m *Measured) (out []finding) {
	for _, b := range m.Breaches {
		out = append(out, finding{b.Site, Fail, fmt.Sprintf("%s is %s (wanted: %s)", b.Setting, b.Is, b.Allowed)})
	}
	if len(out) == 0 {
		out = []finding{{"", Pass, "all of them hold"}}
	}
	return out
}

// Assess holds what was measured against a profile's conditions. ok is false where there is no such
// profile. m.Breaches have to be those of [ProfileBreaches].
func Assess(profile string, m *Measured) (a *Assessment, ok bool) {
	p, ok := profiles()[profile]
	if !ok {
		return nil, false
	}
	l := limits{keep: p.Retention.Days(), keepAs: string(p.Retention), k: p.MinVisitors, bits4: 32, reviews: p.mustReview}
	if p.Prefix != nil {
		l.bits4 = p.Prefix.IPv4
	}
	a = &Assessment{Profile: profile, Title: p.title, At: m.At.UTC().Truncate(time.Second), Passed: true, Note: SelfAssessment}
	for i := range m.Sites {
		a.Sites = append(a.Sites, m.Sites[i].Facts.Site)
	}
	for _, c := range conditions(l) {
		if len(p.conditions) > 0 && !slices.Contains(p.conditions, c.id) {
			continue
		}
		r := Verdict{ID: c.id, Condition: c.text, Required: c.required, Setting: c.setting}
		if why, missed := m.Missed[c.id]; missed {
			r.Status, r.Measured = NotMeasured, why
		} else {
			r.Status, r.Measured = sum(c.judge(l, m), len(m.Sites))
		}
		if r.Status == Pass || r.Status == Declared || r.Status == NotMeasured {
			r.Setting = ""
		}
		a.Passed = a.Passed && r.Status != Fail
		a.Rows = append(a.Rows, r)
	}
	return a, true
}

// sum puts the findings of all sites into one: the worst status, and each text with the sites it is of.
func sum(fs []finding, sites int) (Status, string) {
	worst := Pass
	var texts []string
	of := map[string][]string{}
	slices.SortStableFunc(fs, func(a, b finding) int {
		return cmp.Compare(slices.Index(statuses, a.status), slices.Index(statuses, b.status))
	})
	for _, f := range fs {
		if slices.Index(statuses, f.status) < slices.Index(statuses, worst) {
			worst = f.status
		}
		if _, known := of[f.measured]; !known {
			texts = append(texts, f.measured)
			of[f.measured] = nil
		}
		if f.site != "" {
			of[f.measured] = append(of[f.measured], f.site)
		}
	}
	for i, t := range texts {
		if n := len(of[t]); n > 0 && n < sites {
			texts[i] = strings.Join(of[t], ", ") + ": " + t
		}
	}
	return worst, strings.Join(texts, "; ")
}

// ProfileBreaches are the settings of sites that break the rules of a profile, the review of the
// periods left out: that is a condition of its own.
func ProfileBreaches(profile string, sites []Facts) []Breach {
	p, ok := profiles()[profile]
	if !ok {
		return nil
	}
	return p.own(sites)
}
