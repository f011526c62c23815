package privacy

import (
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/policy"
)

// Our own page holds every fact, as we ask it of others' templates.
func TestNoticePageHoldsEveryFact(t *testing.T) {
	pages, err := NewNoticePages("")
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range []string{"none", "consented"} {
		d := policy.NewDocument(policy.Notice{Version: 2, Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Facts: policy.Facts{
			Controller: policy.Controller{Name: "A & B <e.V.>", Address: "Way 1", Email: "a@example.org", Phone: "1"},
			URL:        "https://stats.example.org", Site: "example.org", Means: []policy.Means{policy.Script}, Columns: policy.ColumnNames("events"),
			QueryParams: []string{"page"}, Timezone: "UTC", Window: "week", Address: "truncate", Bits4: 24, Bits6: 48, DNT: "drop",
			Cookie: cookie, CookieName: ConsentName, CookieDays: ConsentDays, OptOutName: OptOutName, OptOutDays: OptOutDays, Place: "city", PII: "off", Retention: "25mo",
		}})
		var b strings.Builder
		if err := pages.Write(&b, d); err != nil {
			t.Fatal(err)
		}
		if missing := d.Missing(TextOf([]byte(b.String()))); len(missing) > 0 {
			t.Errorf("%s: the page lacks %q", cookie, missing)
		}
		if !strings.Contains(b.String(), `href="https://stats.example.org/privacy/me?site=example.org"`) {
			t.Errorf("published elsewhere, its links lead nowhere:\n%.2000s", b.String())
		}
	}
}
