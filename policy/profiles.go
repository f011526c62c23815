package policy

import (
	"maps"
	"slices"
)

// ruleProfile is the part of a regulator's conditions that a configuration alone can break.
type ruleProfile struct {
	Rules
	mustReview bool
	title      string
	conditions []string // ids of those that [Assess] looks at; none: all
}

// profiles are conditions for audience measurement without consent, as far as they are rules about settings. What has
// to be measured of a running installation is looked at by `footfall check --profile`.
//
// cnil: CNIL, guidelines 2020-091, paragraphs 50 to 52, recommendation 2020-092 and the self-assessment
// of July 2025. uk: Data (Use and Access) Act 2025, in force since 2026-02-05. That groups
// have at least five visitors, and that periods are reviewed within 12 months, are thresholds of ours.
func profiles() map[string]ruleProfile {
	no := false
	return map[string]ruleProfile{
		"cnil": {Rules: Rules{
			Retention: "25mo", Prefix: &PrefixRule{IPv4: 16, IPv6: 48}, MinVisitors: 5,
			DNT: []string{"unlinked", "drop"}, Forbidden: []Feature{RawTexts},
		}, mustReview: true, title: "France: CNIL, audience measurement without consent"},
		"uk": {Rules: Rules{DNT: []string{"unlinked", "drop"}, Forbidden: []Feature{RawTexts}},
			title: "United Kingdom: Data (Use and Access) Act 2025, statistics to improve the service",
			// The sole purpose is statistics, the information is clear, objecting is simple.
			conditions: []string{"B1", "B2", "B3", "D4", "E1", "E2", "E3", "H1", "R1"}},
		"strict": {Rules: Rules{Retention: "13mo", Prefix: &PrefixRule{IPv4: 16, IPv6: 32}, IP: []string{"hash", "drop"}, DNT: []string{"unlinked", "drop"}, Cookies: &no, MinVisitors: 5, Forbidden: []Feature{LongIDs, Cities, Networks, QueryParams, RawTexts}}, mustReview: true,
			title: "Strict: the least that Footfall can do with (own)"},
	}
}

// ProfileNames are the names of all profiles.
func ProfileNames() []string { return slices.Sorted(maps.Keys(profiles())) }

// ProfileRules are the rules of a profile, and whether there is one of that name.
func ProfileRules(name string) (ruleProfile, bool) {
	p, ok := profiles()[name]
	return p, ok
}
