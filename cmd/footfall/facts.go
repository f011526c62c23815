package main

import (
	"slices"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/classify"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/policy"
)

// facts is what the notice of each site says. geo is the database that is in use, nil for none.
func (c *Config) facts(publicURL string, geo *classify.Geo) []policy.Facts {
	out := make([]policy.Facts, len(c.Sites))
	for i, s := range c.Sites {
		place := "none"
		switch {
		case s.Geo && geo.Cities():
			place = "city"
		case s.Geo && geo != nil:
			place = "country"
		}
		days := 0
		if s.cookie() {
			days = privacy.ConsentDays
		}
		out[i] = policy.Facts{
			Controller: policy.Controller(c.Organisation), URL: publicURL, Site: s.Domain,
			Means:   []policy.Means{policy.Script, policy.Pixel, policy.Email},
			Columns: policy.ColumnNames("events"), QueryParams: slices.Clone(s.QueryParams),
			Timezone: s.Timezone.String(), Window: anonymize.Window(s.VisitorWindow).String(),
			Address: anonymize.Mode(s.IP).String(), Bits4: s.Prefix.IPv4, Bits6: s.Prefix.IPv6,
			DNT: collector.DNT(s.DNT).String(), Cookie: string(s.Cookie), CookieDays: days, Place: place,
			PII: collector.PII(s.PII).String(), MinVisitors: s.MinVisitors, Retention: string(s.Retention),
		}
	}
	return out
}
