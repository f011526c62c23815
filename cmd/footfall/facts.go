package main

import (
	"slices"
	"time"

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
		cookie, days := "", 0
		if s.cookie() {
			cookie, days = privacy.ConsentName, privacy.ConsentDays
		}
		mail := ""
		if s.Means.has(policy.Email) {
			mail = "opens clicks"
		}
		out[i] = policy.Facts{
			Controller: policy.Controller(c.Organisation), URL: publicURL, Site: s.Domain,
			Means: slices.Clone(s.Means.all()), Mail: mail,
			Columns: policy.ColumnNames("events"), QueryParams: slices.Clone(s.QueryParams),
			KeyDelay: int(c.keyDelay(s.Timezone.Location) / time.Minute), Replay: c.replay(),
			Timezone: s.Timezone.String(), Window: anonymize.Window(s.VisitorWindow).String(),
			Address: anonymize.Mode(s.IP).String(), Bits4: s.Prefix.IPv4, Bits6: s.Prefix.IPv6,
			DNT: collector.DNT(s.DNT).String(), Cookie: string(s.Cookie), CookieName: cookie, CookieDays: days,
			OptOutName: privacy.OptOutName, OptOutDays: privacy.OptOutDays, Place: place,
			PII: collector.PII(s.PII).String(), MinVisitors: s.MinVisitors, Retention: string(s.Retention.Events), Disposal: true,
			Rollups: string(s.Retention.Rollups), Ledger: string(s.Retention.Ledger),
		}
	}
	return out
}

// keyDelay is how long after a site's midnight the key of the day before is erased, at most: when the date is over
// in the zone of every site. Zones differ by more in one half of the year than in the other; the year that is looked at
// is always the same, so that a new one makes no new version of the notice.
func (c *Config) keyDelay(zone *time.Location) (most time.Duration) {
	for t := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC); t.Year() == 2026; t = t.AddDate(0, 0, 7) {
		_, here := t.In(zone).Zone()
		for _, s := range c.Sites {
			_, there := t.In(s.Timezone.Location).Zone()
			most = max(most, time.Duration(here-there)*time.Second)
		}
	}
	return most
}

// replay is how long stored segments of the spool are kept.
func (c *Config) replay() string {
	if c.Spool.Keep == 0 {
		return ""
	}
	return time.Duration(c.Spool.Keep).String()
}
