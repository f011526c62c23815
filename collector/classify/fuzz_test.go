package classify

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kantarainitiative/footfall/event"
)

// bounded reports whether s may be stored: valid UTF-8, without control characters, and
// within max bytes.
func bounded(s string, max int) bool { return event.Clean(s, max) == s && utf8.ValidString(s) }

// FuzzAgent: whatever the agent, the answer's names are from the tables, its versions are
// short numbers, it is the same from the cache, and nothing of the agent is in it but digits.
func FuzzAgent(f *testing.F) {
	for _, r := range rows(f, "current.tsv", 7) {
		f.Add([]byte(r[6]))
	}
	for i, r := range rows(f, "uap.tsv", 5) {
		if i%40 == 0 {
			f.Add([]byte(r[4]))
		}
	}
	f.Add([]byte("Mozilla/5.0 (Linux; Android 10; "))
	f.Add([]byte("/ // /// (;;) Android/ rv: Version/"))
	f.Add([]byte("\xff\xfe\x00Opera Mini/att/v1_2"))
	f.Add(bytes.Repeat([]byte("Chrome/1 "), 500))
	a := newAgents(f)
	devices := []string{"", Desktop, Mobile, Tablet, TV, Console}
	more := []string{"Mobile App", "Android Browser"}
	f.Fuzz(func(t *testing.T, ua []byte) {
		keep := bytes.Clone(ua)
		got := a.Lookup(ua)
		if !bytes.Equal(ua, keep) {
			t.Error("the agent was changed")
		}
		if again := a.Lookup(ua); again != got {
			t.Errorf("%+v, then %+v", got, again)
		}
		if !slices.Contains(a.table.names[inBrowsers], got.Browser) && !slices.Contains(more, got.Browser) {
			t.Errorf("browser %q is not in the table", got.Browser)
		}
		if !slices.Contains(a.table.names[inSystems], got.OS) {
			t.Errorf("system %q is not in the table", got.OS)
		}
		if !slices.Contains(devices, got.Device) {
			t.Errorf("device %q", got.Device)
		}
		for _, v := range []string{got.BrowserVersion, got.OSVersion} {
			if strings.Trim(v, "0123456789.") != "" && !slices.Contains([]string{"XP", "Vista", "ME", "NT"}, v) ||
				len(v) > 2*maxNumber+1 || strings.Count(v, ".") > 1 {
				t.Errorf("version %q", v)
			}
		}
		if len(bytes.TrimSpace(ua[:min(len(ua), maxAgent)])) == 0 != (got.Bot == BotEmpty) {
			t.Errorf("Bot = %q for %q", got.Bot, ua)
		}
		if got.MailProxy != (got.Bot == BotMail) {
			t.Errorf("MailProxy with the kind %q", got.Bot)
		}
		for _, width := range []int{0, 400, 820, 1920} {
			if d := got.WithScreen(width).Device; !slices.Contains(devices, d) {
				t.Errorf("device %q on %d", d, width)
			}
		}
	})
}

// FuzzReferrer: what is kept of a referrer is a host and a path, never an address, a user's
// name, a query or a fragment; and reading what was kept gives the same again.
func FuzzReferrer(f *testing.F) {
	for _, s := range []string{"", "https://www.google.co.uk/search?q=x#y", "https://user:pass@example.net:8080/a;b=c?d",
		"http://192.0.2.1/x", "http://[2001:db8::1]:80/", "http://0x7f.1/", "android-app://com.google.android.gm/", "https://bücher.example/ü",
		"https://example.net/\xff", `https:\\example.net\x`, "https://example.net\\@192.0.2.1/", "HTTP://EXAMPLE.NET.:/", "https://a.b.c.d.e.f.example.co.uk/",
		"https://www.www.192.0.2.1/", "https://％31.example/", "https://１９２.0.2.1/", "android-app://0.0.0.0", "http://www.www.0A", "https://a/\\b", "https://example.net//x//"} {
		f.Add(s)
	}
	s := newSources(f)
	f.Fuzz(func(t *testing.T, referrer string) {
		got := s.Classify(referrer, "example.org", Campaign{})
		if !bounded(got.Referrer, event.MaxReferrer) || !bounded(got.Source, maxHost+len("android-app://")) {
			t.Errorf("unbounded: %+v", got)
		}
		if strings.ContainsAny(got.Referrer, "?#;") {
			t.Errorf("kept %q", got.Referrer)
		}
		if got.Referrer == "" {
			if got.Source != "" && got.Source != IPSource {
				t.Errorf("the source %q without a referrer", got.Source)
			}
			return
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(got.Referrer, "android-app://"), "ios-app://")
		host, _, _ := strings.Cut(rest, "/")
		if i := strings.IndexByte(host, '\\'); i >= 0 {
			host = host[:i]
		}
		if !isName(host) || host != strings.ToLower(host) {
			t.Errorf("kept the host %q", host)
		}
		if _, err := netip.ParseAddr(host); err == nil {
			t.Errorf("kept the address %q", host)
		}
		again := got.Referrer
		if rest == again {
			again = "https://" + again
		}
		if second := s.Classify(again, "example.net.invalid", Campaign{}); second.Source != got.Source || second.Channel != got.Channel {
			t.Errorf("%q gives %+v, and %q %+v", referrer, got, again, second)
		}
	})
}

// FuzzClassify: whatever a page's address says, the channel is one of the list, the source is
// bounded and holds no address, and the click parameter is one of the table.
func FuzzClassify(f *testing.F) {
	f.Add("https://www.google.com/", "example.org", "google", "cpc", "spring", "gclid")
	f.Add("", "", "", "", "", "")
	f.Add("https://example.org/", "www.example.org:8080", "newsletter", "email", "x", "fbclid")
	f.Add("https://t.co/x", "[::1]:80", "WWW.Google.COM", " PPC ", "cross-network", "GCLID")
	f.Add("https://semalt.com/", "192.0.2.1", "192.0.2.1", "shop", "eshop", "li_fat_id")
	f.Add("\xff", "\xff", "\xff\x00", "\xff", "\xff", "\xff")
	f.Add("https://github.io/", "a.github.io", "2001:db8::1", "paid", "workshop-shopping", "x")
	s := newSources(f)
	channels := []string{Direct, OrganicSearch, PaidSearch, OrganicSocial, PaidSocial, OrganicVideo, PaidVideo, OrganicShopping,
		PaidShopping, PaidOther, Display, CrossNetwork, Email, Affiliates, Audio, SMS, MobilePushNotifications, AIAssistants, Referral}
	f.Fuzz(func(t *testing.T, referrer, host, source, medium, campaign, click string) {
		got := s.Classify(referrer, host, Campaign{Source: source, Medium: medium, Campaign: campaign, ClickID: click})
		if !slices.Contains(channels, got.Channel) {
			t.Errorf("channel %q", got.Channel)
		}
		if !bounded(got.Source, max(event.MaxUTM, maxHost+len("android-app://"))) || !bounded(got.Referrer, event.MaxReferrer) {
			t.Errorf("unbounded: %+v", got)
		}
		if _, err := netip.ParseAddr(got.Source); err == nil {
			t.Errorf("the source is the address %q", got.Source)
		}
		if got.ClickID != "" && s.clicks[got.ClickID].name != got.ClickID {
			t.Errorf("click parameter %q", got.ClickID)
		}
		if got.Source == "" && got.Channel == Referral && medium == "" {
			t.Errorf("a referral from nowhere: %+v", got)
		}
	})
}
