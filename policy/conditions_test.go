package policy

import (
	"testing"
	"time"
)

// goodMeasured is what an installation is found to be that meets every condition.
func goodMeasured() *Measured {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f := Facts{Site: "example.org", Controller: Controller{Name: "Example", Email: "a@example.org", Jurisdiction: "FR"}, Columns: ColumnNames("events"),
		Means: AllMeans, Window: "day", Address: "truncate", Bits4: 16, Bits6: 48, DNT: "unlinked", Cookie: "consented", CookieName: "footfall_id", Place: "city", PII: "mask", MinVisitors: 5, Retention: "400d"}
	return &Measured{At: at, Reviewed: at.AddDate(0, -2, 0), Columns: ColumnNames("events"), Missed: map[string]string{},
		Oldest: []Age{{"events", "example.org", at.AddDate(-1, 0, 0)}},
		Sites: []MeasuredSite{{Facts: f, CookieSet: true, CookieDays: 390, OptOutDays: 400, FirstParty: true, URLSet: true, NoticeLinks: true, Clicks: 2,
			Dropped: true, TruncatedV: 16, Network: 16, Texts: 9, Smallest: 5}}}
}

// TestConditions: what meets all conditions passes, and each of them has something that it fails for, alone.
func TestConditions(t *testing.T) {
	good, ok := Assess("cnil", goodMeasured())
	if !ok || !good.Passed || good.Note != SelfAssessment {
		t.Errorf("%+v", good)
	}
	for _, r := range good.Rows {
		if want := map[string]Status{"A4": Declared, "H1": Declared}[r.ID]; r.Status != Pass && r.Status != want {
			t.Errorf("%s: %s: %s", r.ID, r.Status, r.Measured)
		}
	}
	seen := map[string]bool{}
	for _, x := range []struct {
		id    string
		spoil func(m *Measured, s *MeasuredSite)
		want  Status
	}{
		{"A1", func(_ *Measured, s *MeasuredSite) { s.CookieDays = 396 }, Fail},
		{"A1", func(_ *Measured, s *MeasuredSite) { s.HitCookie = "x" }, Fail},
		{"A2", func(_ *Measured, s *MeasuredSite) { s.Extended = true }, Fail},
		{"A3", func(m *Measured, _ *MeasuredSite) { m.Oldest[0].Oldest = m.At.AddDate(0, 0, -763) }, Fail},
		{"A3", func(_ *Measured, s *MeasuredSite) { s.Facts.Retention = "26mo" }, Fail},
		{"A3", func(m *Measured, _ *MeasuredSite) { m.Missed["A3"] = "no database" }, NotMeasured},
		{"A4", func(m *Measured, _ *MeasuredSite) { m.Reviewed = m.At.AddDate(-1, 0, -2) }, Fail},
		{"A4", func(m *Measured, _ *MeasuredSite) { m.Reviewed = time.Time{} }, Fail},
		{"B1", func(_ *Measured, s *MeasuredSite) { s.Revenue = 1 }, Fail},
		{"B1", func(_ *Measured, s *MeasuredSite) { s.UserProps = []string{"user_id"} }, Fail},
		{"B2", func(m *Measured, _ *MeasuredSite) { m.Sinks = []string{"https://example.net"} }, Fail},
		{"B3", func(m *Measured, _ *MeasuredSite) { m.Columns = append(m.Columns, "recipient") }, Fail},
		{"C1", func(_ *Measured, s *MeasuredSite) { s.Same = []string{"example.net"} }, Fail},
		{"C1", func(_ *Measured, s *MeasuredSite) { s.URLSet = false }, Doubtful},
		{"D1", func(_ *Measured, s *MeasuredSite) { s.Smallest = 4 }, Fail},
		{"D1", func(_ *Measured, s *MeasuredSite) { s.Facts.MinVisitors = 4 }, Fail},
		{"D2", func(_ *Measured, s *MeasuredSite) { s.TruncatedV = 17 }, Fail},
		{"D2", func(_ *Measured, s *MeasuredSite) { s.Network = 24 }, Fail},
		{"D3", func(_ *Measured, s *MeasuredSite) { s.Facts.Place = "street" }, Fail},
		{"D4", func(_ *Measured, s *MeasuredSite) { s.Personal = 1 }, Fail},
		{"D4", func(_ *Measured, s *MeasuredSite) { s.Facts.PII = "off" }, Fail},
		{"E1", func(_ *Measured, s *MeasuredSite) { s.LeftOut = []string{"x"} }, Fail},
		{"E1", func(_ *Measured, s *MeasuredSite) { s.Facts.Controller.Name = "" }, Fail},
		{"E2", func(_ *Measured, s *MeasuredSite) { s.Scripts = true }, Fail},
		{"E2", func(_ *Measured, s *MeasuredSite) { s.Clicks = 3 }, Fail},
		{"E2", func(_ *Measured, s *MeasuredSite) { s.NoticeLinks = false }, Fail},
		{"E2", func(_ *Measured, s *MeasuredSite) { s.FirstParty = false }, Fail},
		{"E3", func(_ *Measured, s *MeasuredSite) { s.Held = 1 }, Fail},
		{"E3", func(_ *Measured, s *MeasuredSite) { s.Dropped = false }, Fail},
		{"F1", func(_ *Measured, s *MeasuredSite) { s.Finer = []string{"sources"} }, Fail},
		{"G1", func(_ *Measured, s *MeasuredSite) { s.Campaigns = 1 }, Doubtful},
		{"H1", func(_ *Measured, s *MeasuredSite) { s.Facts.Controller.Jurisdiction = "" }, Fail},
		{"H1", func(m *Measured, _ *MeasuredSite) { m.Remote = "db.example.net" }, Doubtful},
		{"R1", func(m *Measured, s *MeasuredSite) {
			s.Facts.DNT = "ignore"
			m.Breaches = ProfileBreaches("cnil", []Facts{s.Facts})
		}, Fail},
	} {
		m := goodMeasured()
		x.spoil(m, &m.Sites[0])
		a, _ := Assess("cnil", m)
		seen[x.id] = true
		for _, r := range a.Rows {
			if r.ID == x.id && r.Status != x.want {
				t.Errorf("%s: %s, want %s: %s", r.ID, r.Status, x.want, r.Measured)
			}
		}
		if a.Passed != (x.want != Fail) {
			t.Errorf("%s: passed is %v", x.id, a.Passed)
		}
	}
	for _, r := range good.Rows {
		if !seen[r.ID] {
			t.Errorf("%s has nothing here that it fails for", r.ID)
		}
	}
	if _, ok := Assess("nobody's", goodMeasured()); ok {
		t.Error("a profile that there is not")
	}
}
