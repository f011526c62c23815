package policy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func document(change ...func(*Facts)) *Document {
	f := someFacts()
	f.KeyDelay, f.Disposal = 120, true
	for _, c := range change {
		c(&f)
	}
	return NewDocument(Notice{Version: 3, Since: at2026(), Fingerprint: Fingerprint(f), Facts: f})
}

// text is all that a document says.
func (d *Document) text() string {
	var b strings.Builder
	if err := Markdown(&b, "", d); err != nil {
		panic(err)
	}
	return unmark(b.String())
}

// Each setting shows in the words, under every value it can have.
func TestNoticeFollowsTheConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*Facts)
		says, not []string
	}{
		"default": {func(*Facts) {}, []string{
			"No advertising, no third party, no cookie.", "a network shared by 256 addresses", "changes every midnight", "deleted after 400 days",
			"erased at 02:00 at the latest", "There is no other cookie.", "If your browser sends either, the page view is counted without any number",
			"the country is looked up in a file on this machine", "(email)", "counted by mailing, never by person", "Example e.V.", "privacy@example.org",
			"https://stats.example.org/optout?site=example.org", "https://stats.example.org/privacy/me?site=example.org", "Figures of small groups are shown",
			"No data leaves", "Version 3, in force since 1 November 2026", "of its query only page", "| Country |", "for 400 days",
		}, []string{"Withdraw", "Country, region", "kept for 1 hour"}},
		"ip drop":        {func(f *Facts) { f.Address = "drop" }, []string{"Your address is not kept, in no part."}, []string{"shared by", "| Network your address"}},
		"short prefix":   {func(f *Facts) { f.Bits4 = 16 }, []string{"a network shared by 65,536 addresses", "16 bits of an IPv4"}, []string{"256"}},
		"dnt drop":       {func(f *Facts) { f.DNT = "drop" }, []string{"If your browser sends either, the visit is not counted at all."}, []string{"without any number"}},
		"dnt ignore":     {func(f *Facts) { f.DNT = "ignore" }, []string{"it is not acted on"}, []string{"without any number"}},
		"week":           {func(f *Facts) { f.Window = "week" }, []string{"changes every week", "on Monday at midnight", "Number of the week"}, []string{"every midnight"}},
		"month":          {func(f *Facts) { f.Window = "month" }, []string{"changes every month", "Number of the month"}, []string{"every midnight"}},
		"cookie":         {func(f *Facts) { f.Cookie, f.CookieName, f.CookieDays = "consented", "footfall_id", 390 }, []string{"only if you agree", "footfall_id", "390 days after you agreed", "Withdraw", "Art. 6(1)(a)"}, []string{"no cookie", "There is no other cookie"}},
		"no place":       {func(f *Facts) { f.Place = "none" }, []string{"It is not looked up."}, []string{"| Country |"}},
		"city":           {func(f *Facts) { f.Place = "city" }, []string{"| Country, region and city |"}, nil},
		"pii off":        {func(f *Facts) { f.PII = "off" }, []string{"stored as the site has them"}, []string{"(email)"}},
		"pii drop":       {func(f *Facts) { f.PII = "drop" }, []string{"the page view is not counted"}, []string{"(email)"}},
		"few":            {func(f *Facts) { f.MinVisitors = 5 }, []string{"fewer than 5 visitors"}, []string{"like all others"}},
		"by hand":        {func(f *Facts) { f.Disposal = false }, []string{"the program does not do that by itself"}, []string{"are deleted after"}},
		"replay":         {func(f *Facts) { f.Replay = "1h0m0s" }, []string{"kept for 1 hour longer"}, nil},
		"no delay":       {func(f *Facts) { f.KeyDelay = 0 }, []string{"the one before is erased right then"}, []string{"02:00"}},
		"no controller":  {func(f *Facts) { f.Controller = Controller{} }, []string{"has not entered a name"}, []string{"Example e.V."}},
		"script alone":   {func(f *Facts) { f.Means = []Means{Script} }, []string{"A script in the page"}, []string{"mailing", "invisible"}},
		"no query":       {func(f *Facts) { f.QueryParams = nil }, []string{"Page, without its query"}, []string{"of its query only"}},
		"retention 25mo": {func(f *Facts) { f.Retention = "25mo" }, []string{"25 months"}, []string{"deleted after 400"}},
	} {
		text := document(c.change).text()
		for _, s := range c.says {
			if !strings.Contains(text, s) {
				t.Errorf("%s: it does not say %q:\n%s", name, s, text)
			}
		}
		for _, s := range c.not {
			if strings.Contains(text, s) {
				t.Errorf("%s: it says %q", name, s)
			}
		}
	}
}

// What we give out ourselves holds every fact, in every form, under every setting.
func TestNoFactIsMissing(t *testing.T) {
	for _, d := range []*Document{document(), document(func(f *Facts) { f.Cookie, f.CookieDays, f.Address, f.Place = "consented", 390, "hash", "city" })} {
		if missing := d.Missing(d.text()); len(missing) > 0 {
			t.Errorf("Markdown lacks %q", missing)
		}
		if missing := d.Missing(strings.Replace(d.text(), "400 days", "4 days", -1)); len(missing) == 0 {
			t.Error("a changed fact is not found")
		}
	}
}

func TestMarkdownTemplate(t *testing.T) {
	dir := t.TempDir()
	write := func(s string) error {
		if err := os.WriteFile(filepath.Join(dir, MarkdownTemplate), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err := Markdown(&b, dir, document())
		if err == nil && !strings.Contains(b.String(), "Unsere Worte") {
			t.Errorf("the template is not used: %s", b.String())
		}
		return err
	}
	own := "# Unsere Worte\n\n" + noticeMD
	if err := write(own); err != nil {
		t.Error(err)
	}
	if err := write(strings.Replace(own, "{{range .Settings}}", "{{range slice .Settings 2}}", 1)); err == nil || !strings.Contains(err.Error(), "facts cannot") {
		t.Errorf("a template that leaves out the purposes: %v", err)
	}
	if err := write("{{.Nothing}}"); err == nil {
		t.Error("a template with a mistake")
	}
	if err := Markdown(&bytes.Buffer{}, t.TempDir(), document()); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

// What stands in the configuration cannot draw in the notice.
func TestMarkdownIsQuoted(t *testing.T) {
	d := document(func(f *Facts) { f.Controller.Name = "A|B <script> [x](y) `z`" })
	var b strings.Builder
	if err := Markdown(&b, "", d); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script>") || strings.Contains(b.String(), "A|B") || !strings.Contains(b.String(), `A\|B \<script\>`) {
		t.Error(b.String())
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, document()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Notices []struct {
			Version     uint32
			Fingerprint string
			Facts       Facts
			Sections    []Section
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	n := got.Notices[0]
	if n.Version != 3 || Fingerprint(n.Facts) != n.Fingerprint || len(n.Sections) < 10 {
		t.Errorf("%+v", n)
	}
}

// dpvTerms are the terms of the vocabularies that we may use: DPV 2, with PD and EU-GDPR.
const dpvTerms = `dpv:PersonalDataProcess dpv:hasDataController dpv:DataController dpv:hasName dpv:hasAddress dpv:hasContact
dpv:hasDataSubject dpv:User dpv:hasPurpose dpv:ServiceUsageAnalytics dpv:ServiceOptimisation dpv:TechnicalServiceProvision
dpv:hasProcessing dpv:Collect dpv:Anonymise dpv:Store dpv:Analyse dpv:Erase dpv:hasLegalBasis dpv:LegitimateInterest
dpv:ExplicitlyExpressedConsent dpv:hasStorageCondition dpv:StorageDuration dpv:hasDuration dpv:hasTechnicalOrganisationalMeasure
dpv:Pseudonymisation dpv:Deidentification dpv:AccessControlMethod dpv:hasRight dpv:hasNotice dpv:PrivacyNotice dpv:hasPersonalData
dpv:hasRecipient dpv:hasThirdParty dpv:hasJurisdiction dpv:PseudonymisedData dpv:NonPersonalData
pd:BrowsingBehavior pd:BrowsingReferral pd:DeviceBased pd:DeviceSoftware pd:DeviceOperatingSystem pd:Country pd:City pd:Location pd:IPAddress
eu-gdpr:A6-1-a eu-gdpr:A6-1-f eu-gdpr:A7-3 eu-gdpr:A15 eu-gdpr:A16 eu-gdpr:A17 eu-gdpr:A21 eu-gdpr:A77
dct:title dct:description dct:source dct:hasVersion dct:issued xsd:date xsd:duration`

func TestDPV(t *testing.T) {
	known := map[string]bool{}
	for _, term := range strings.Fields(dpvTerms) {
		known[term] = true
	}
	d := document(func(f *Facts) { f.Cookie, f.CookieDays, f.Place = "consented", 390, "city" })
	var b bytes.Buffer
	if err := DPV(&b, d); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Context map[string]string `json:"@context"`
		Graph   []map[string]any  `json:"@graph"`
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil || len(doc.Graph) != 1 {
		t.Fatalf("%v in %s", err, b.String())
	}
	used := map[string]bool{}
	prefixed := regexp.MustCompile(`^(dpv|pd|eu-gdpr|dct|xsd):[A-Za-z0-9-]+$`)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				if !strings.HasPrefix(k, "@") {
					if !prefixed.MatchString(k) {
						t.Errorf("the key %q is in no vocabulary", k)
					}
					used[k] = true
				}
				if s, ok := x.(string); ok && (k == "@type" || k == "@id") && prefixed.MatchString(s) {
					used[s] = true
				} else if ok && k == "@type" {
					t.Errorf("the type %q is in no vocabulary", s)
				}
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(doc.Graph[0])
	for term := range used {
		if !known[term] {
			t.Errorf("%s is no term of the vocabularies", term)
		}
	}
	for term := range known {
		if !used[term] {
			t.Errorf("%s is not used", term)
		}
	}
	if got := len(doc.Graph[0]["dpv:hasPersonalData"].([]any)); got != len(d.Facts.Columns) {
		t.Errorf("%d of %d columns", got, len(d.Facts.Columns))
	}
	for period, want := range map[string]string{"400d": "P400D", "2w": "P14D", "25mo": "P25M", "2y": "P2Y"} {
		if got := document(func(f *Facts) { f.Retention = period }).duration()["@value"]; got != want {
			t.Errorf("%s is %v", period, got)
		}
	}
}

func TestRegister(t *testing.T) {
	var b strings.Builder
	if err := Register(&b, document()); err != nil {
		t.Fatal(err)
	}
	text := unmark(b.String())
	for _, s := range []string{
		"(a) Controller | Example e.V., Musterweg 1, Berlin", "(d) Recipients | none", "(e) Transfers", "(f) Time limits", "(g) Security",
		"What could at most be handed over or stolen", "| receipts.log", "whether they were here this day",
	} {
		if !strings.Contains(text, s) {
			t.Errorf("it lacks %q:\n%s", s, text)
		}
	}
	for _, table := range Tables() {
		if !strings.Contains(text, "| "+table+" |") || !strings.Contains(text, strings.Join(ColumnNames(table), ", ")) {
			t.Errorf("it lacks the table %s and its columns", table)
		}
	}
}
