package classify

import (
	"net/netip"
	"strings"
	"testing"
)

func newSources(t testing.TB) *Sources {
	t.Helper()
	s, err := NewSources()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// page is where the visitors of the tests arrive.
const page = "www.example.org"

func TestSourceOfReferrer(t *testing.T) {
	s := newSources(t)
	for _, c := range []struct{ referrer, source, channel, kept string }{
		{"", "", Direct, ""},
		{"https://www.google.com/", "Google", OrganicSearch, "google.com"},
		{"https://www.google.co.uk/search?q=secret", "Google", OrganicSearch, "google.co.uk/search"},
		{"https://google.de", "Google", OrganicSearch, "google.de"},
		{"https://images.google.com.au/imgres?x=1#y", "Google", OrganicSearch, "images.google.com.au/imgres"},
		{"android-app://com.google.android.googlequicksearchbox/", "Google", OrganicSearch, "android-app://com.google.android.googlequicksearchbox"},
		{"https://mail.google.com/mail/u/0/", "Gmail", Email, "mail.google.com/mail/u/0"},
		{"android-app://com.google.android.gm/", "Gmail", Email, "android-app://com.google.android.gm"},
		{"https://docs.google.com/document/d/x", "Google Docs", Referral, "docs.google.com/document/d/x"},
		{"https://unknown.google.com/", "unknown.google.com", Referral, "unknown.google.com"},
		{"https://google.example.net/", "google.example.net", Referral, "google.example.net"},
		{"https://notgoogle.com/", "notgoogle.com", Referral, "notgoogle.com"},
		{"https://www.bing.com/search?q=x", "Bing", OrganicSearch, "bing.com/search"},
		{"https://duckduckgo.com/", "DuckDuckGo", OrganicSearch, "duckduckgo.com"},
		{"https://search.brave.com/search?q=x", "Brave", OrganicSearch, "search.brave.com/search"},
		{"https://r.search.yahoo.com/_ylt=x", "Yahoo!", OrganicSearch, "r.search.yahoo.com/_ylt=x"},
		{"https://yandex.com.tr/search/?text=x", "Yandex", OrganicSearch, "yandex.com.tr/search"},
		{"https://ya.ru/", "Yandex", OrganicSearch, "ya.ru"},
		{"https://www.ecosia.org/search", "Ecosia", OrganicSearch, "ecosia.org/search"},
		{"https://chatgpt.com/", "ChatGPT", AIAssistants, "chatgpt.com"},
		{"https://chat.openai.com/c/1", "ChatGPT", AIAssistants, "chat.openai.com/c/1"},
		{"https://www.perplexity.ai/search/x", "Perplexity", AIAssistants, "perplexity.ai/search/x"},
		{"https://claude.ai/chat/x", "Claude", AIAssistants, "claude.ai/chat/x"},
		{"https://gemini.google.com/app", "Gemini", AIAssistants, "gemini.google.com/app"},
		{"https://copilot.microsoft.com/", "Microsoft Copilot", AIAssistants, "copilot.microsoft.com"},
		{"https://l.facebook.com/l.php?u=x&h=y", "Facebook", OrganicSocial, "l.facebook.com/l.php"},
		{"https://m.facebook.com/", "Facebook", OrganicSocial, "m.facebook.com"},
		{"https://l.instagram.com/", "Instagram", OrganicSocial, "l.instagram.com"},
		{"https://t.co/AbC", "Twitter", OrganicSocial, "t.co/AbC"},
		{"https://x.com/someone", "Twitter", OrganicSocial, "x.com/someone"},
		{"https://box.com/", "box.com", Referral, "box.com"},
		{"https://www.linkedin.com/feed/", "LinkedIn", OrganicSocial, "linkedin.com/feed"},
		{"android-app://com.linkedin.android/", "LinkedIn", OrganicSocial, "android-app://com.linkedin.android"},
		{"https://out.reddit.com/t3_1", "Reddit", OrganicSocial, "out.reddit.com/t3_1"},
		{"https://de.pinterest.com/pin/1/", "Pinterest", OrganicSocial, "de.pinterest.com/pin/1"},
		{"https://news.ycombinator.com/item?id=1", "Hacker News", OrganicSocial, "news.ycombinator.com/item"},
		{"https://bsky.app/profile/x", "Bluesky", OrganicSocial, "bsky.app/profile/x"},
		{"https://www.youtube.com/watch?v=x", "YouTube", OrganicVideo, "youtube.com/watch"},
		{"https://youtu.be/x", "YouTube", OrganicVideo, "youtu.be/x"},
		{"https://www.amazon.de/dp/1", "Amazon", OrganicShopping, "amazon.de/dp/1"},
		{"https://aws.amazon.com/", "aws.amazon.com", Referral, "aws.amazon.com"},
		{"https://github.com/a/b", "GitHub", Referral, "github.com/a/b"},
		{"https://de.wikipedia.org/wiki/X", "Wikipedia", Referral, "de.wikipedia.org/wiki/X"},
		{"https://blog.example.net/a/b/?q=1#f", "blog.example.net", Referral, "blog.example.net/a/b"},
		{"https://www.example.net/", "example.net", Referral, "example.net"},
		{"HTTPS://WWW.Example.NET/Path", "example.net", Referral, "example.net/Path"},
		{"http://example.net:8080/x", "example.net", Referral, "example.net/x"},
		{"https://user:password@example.net/x", "example.net", Referral, "example.net/x"},
		{"https://google.com@example.net/", "example.net", Referral, "example.net"},
		{"https://example.net./x", "example.net", Referral, "example.net/x"},
		{"https://example.net/x;jsessionid=123?a=b", "example.net", Referral, "example.net/x"},
		{"https://example.net?q=1", "example.net", Referral, "example.net"},
		{"https://example.net#f", "example.net", Referral, "example.net"},
		{"https://bücher.example/x", "xn--bcher-kva.example", Referral, "xn--bcher-kva.example/x"},
		{"https://xn--bcher-kva.example/x", "xn--bcher-kva.example", Referral, "xn--bcher-kva.example/x"},
		{"https://BÜCHER.example/", "xn--bcher-kva.example", Referral, "xn--bcher-kva.example"},
		{"https://example.net/%C3%BC", "example.net", Referral, "example.net/%C3%BC"},
		{"https://example.net/\xff\x00", "example.net", Referral, "example.net/\uFFFD "},
		{"http://intranet/wiki", "intranet", Referral, "intranet/wiki"},
		{"android-app://org.example.app/x", "android-app://org.example.app", Referral, "android-app://org.example.app"},
		// Addresses are kept nowhere.
		{"http://192.0.2.1/admin", IPSource, Referral, ""},
		{"http://192.0.2.1:8080/admin", IPSource, Referral, ""},
		{"http://www.192.0.2.1/", IPSource, Referral, ""},
		{"http://0xc0000201/", IPSource, Referral, ""},
		{"http://3221225985/", IPSource, Referral, ""},
		{"http://[2001:db8::1]:8080/x", IPSource, Referral, ""},
		// Own pages.
		{"https://example.org/", "", Direct, ""},
		{"https://www.example.org/a", "", Direct, ""},
		{"https://blog.example.org/a", "", Direct, ""},
		{"http://www.example.org:8080/a", "", Direct, ""},
		{"https://badexample.org/a", "badexample.org", Referral, "badexample.org/a"},
		// What cannot be read counts as none.
		{"about:blank", "", Direct, ""},
		{"not a url", "", Direct, ""},
		{"example.net/x", "", Direct, ""},
		{"//example.net/x", "", Direct, ""},
		{"javascript:alert(1)", "", Direct, ""},
		{"ftp://example.net/", "", Direct, ""},
		{"file:///etc/passwd", "", Direct, ""},
		{"https://", "", Direct, ""},
		{"https:///x", "", Direct, ""},
		{"https://a..b/", "", Direct, ""},
		{"https://.example.net/", "", Direct, ""},
		{"https://exa mple.net/", "", Direct, ""},
		{"https://<script>/", "", Direct, ""},
		{"https://example.net:port/", "", Direct, ""},
		{"https://[::1/", "", Direct, ""},
		{"https://[nonsense]/", "", Direct, ""},
		{"https://" + strings.Repeat("a", 64) + ".net/", "", Direct, ""},
		{"https://" + strings.Repeat("a.", 200) + "net/", "", Direct, ""},
		{"https://\xff\xfe/", "", Direct, ""},
	} {
		got := s.Classify(c.referrer, page, Campaign{})
		if want := (Source{Source: c.source, Channel: c.channel, Referrer: c.kept}); got != want {
			t.Errorf("%q\n got %+v\nwant %+v", c.referrer, got, want)
		}
	}
}

func TestOwnReferrer(t *testing.T) {
	s := newSources(t)
	for _, c := range []struct {
		referrer, page string
		own            bool
	}{
		{"https://example.org/", "example.org", true},
		{"https://www.example.org/", "example.org", true},
		{"https://example.org/", "www.example.org", true},
		{"https://shop.example.org/", "example.org", true},
		{"https://example.org/", "shop.example.org", true},
		{"https://a.shop.example.org/", "shop.example.org", true},
		{"https://blog.example.org/", "shop.example.org", false}, // unless the site's domain is given
		{"https://example.org/", "example.net", false},
		{"https://example.org/", "", false},
		{"https://github.io/", "someone.github.io", false},
		{"https://other.github.io/", "someone.github.io", false},
		{"https://someone.github.io/", "someone.github.io", true},
		{"https://co.uk/", "example.co.uk", false},
		{"http://localhost:3000/", "localhost", true},
		{"http://localhost:3000/", "localhost:8080", true},
		{"http://192.0.2.1/", "192.0.2.1", true},
		{"http://192.0.2.1:81/", "192.0.2.1:80", true},
		{"http://192.0.2.2/", "192.0.2.1", false},
		{"http://[::1]:3000/", "[::1]:8080", true},
		{"https://xn--bcher-kva.example/", "bücher.example", true},
		{"https://EXAMPLE.org/", "Example.ORG", true},
		{"android-app://example.org/", "example.org", false},
	} {
		got := s.Classify(c.referrer, c.page, Campaign{})
		if own := got == (Source{Channel: Direct}); own != c.own {
			t.Errorf("%s on %s: %+v, own = %v", c.referrer, c.page, got, c.own)
		}
	}
}

func TestSourceOfCampaign(t *testing.T) {
	s := newSources(t)
	for _, c := range []struct {
		referrer string
		c        Campaign
		source   string
		channel  string
	}{
		{"", Campaign{Source: "google", Medium: "cpc"}, "Google", PaidSearch},
		{"", Campaign{Source: "Google", Medium: "CPC", Campaign: "spring"}, "Google", PaidSearch},
		{"https://www.google.com/", Campaign{Medium: "ppc"}, "Google", PaidSearch},
		{"", Campaign{Source: "adwords"}, "Google", PaidSearch},
		{"", Campaign{Source: "google", Medium: "organic"}, "Google", OrganicSearch},
		{"", Campaign{Source: "www.google.com"}, "Google", OrganicSearch},
		{"", Campaign{Source: "fb"}, "Facebook", OrganicSocial},
		{"", Campaign{Source: "ig", Medium: "paid_social"}, "Instagram", PaidSocial},
		{"", Campaign{Source: "facebook", Medium: "cpm"}, "Facebook", PaidSocial},
		{"", Campaign{Source: "linkedin.com", Medium: "retargeting"}, "LinkedIn", PaidSocial},
		{"", Campaign{Source: "youtube", Medium: "cpv"}, "YouTube", PaidVideo},
		{"", Campaign{Source: "youtube", Medium: "social"}, "YouTube", OrganicSocial},
		{"", Campaign{Source: "youtube", Medium: "paid-video"}, "YouTube", PaidVideo},
		{"", Campaign{Source: "somewhere", Medium: "video"}, "somewhere", OrganicVideo},
		{"", Campaign{Source: "shopify", Medium: "cpc"}, "Shopify", PaidShopping},
		{"", Campaign{Source: "google", Medium: "cpc", Campaign: "summer_shopping"}, "Google", PaidShopping},
		{"", Campaign{Source: "partner", Campaign: "shop"}, "partner", OrganicShopping},
		{"", Campaign{Source: "partner", Campaign: "workshop"}, "partner", Referral},
		{"", Campaign{Source: "google", Medium: "cpc", Campaign: "Cross-Network 1"}, "Google", CrossNetwork},
		{"", Campaign{Source: "adnet", Medium: "banner"}, "adnet", Display},
		{"", Campaign{Source: "adnet", Medium: "cpm"}, "adnet", Display},
		{"", Campaign{Source: "adnet", Medium: "cpc"}, "adnet", PaidOther},
		{"", Campaign{Source: "newsletter", Medium: "email"}, "newsletter", Email},
		{"", Campaign{Source: "newsletter"}, "newsletter", Email},
		{"", Campaign{Source: "mailing", Medium: "e-mail"}, "mailing", Email},
		{"https://mail.google.com/", Campaign{Campaign: "x"}, "Gmail", Email},
		{"", Campaign{Source: "acme", Medium: "affiliate"}, "acme", Affiliates},
		{"", Campaign{Source: "acme", Medium: "audio"}, "acme", Audio},
		{"", Campaign{Source: "sms"}, "sms", SMS},
		{"", Campaign{Source: "acme", Medium: "sms"}, "acme", SMS},
		{"", Campaign{Source: "acme", Medium: "web_push"}, "acme", MobilePushNotifications},
		{"", Campaign{Source: "firebase"}, "firebase", MobilePushNotifications},
		{"", Campaign{Source: "acme", Medium: "referral"}, "acme", Referral},
		{"", Campaign{Source: "acme"}, "acme", Referral},
		{"", Campaign{Medium: "social"}, "", OrganicSocial},
		{"", Campaign{Campaign: "x"}, "", Direct},
		{"", Campaign{Source: "  "}, "", Direct},
		{"https://example.net/", Campaign{Source: "  "}, "example.net", Referral},
		{"", Campaign{Source: "chatgpt.com"}, "ChatGPT", AIAssistants},
		{"https://chatgpt.com/", Campaign{Source: "chatgpt.com"}, "ChatGPT", AIAssistants},
		{"https://chatgpt.com/", Campaign{Source: "openai", Medium: "cpc"}, "ChatGPT", PaidOther},
		{"https://www.google.com/", Campaign{Source: "newsletter", Medium: "email"}, "newsletter", Email},
		{"", Campaign{Source: "192.0.2.7"}, IPSource, Referral},
		{"", Campaign{Source: "2024"}, "2024", Referral},
		{"", Campaign{Source: "Ümlaut\x00"}, "Ümlaut ", Referral},
		// Click identifiers.
		{"https://www.google.com/", Campaign{ClickID: "gclid"}, "Google", PaidSearch},
		{"", Campaign{ClickID: "GCLID"}, "Google", PaidSearch},
		{"", Campaign{ClickID: "wbraid"}, "Google", PaidSearch},
		{"", Campaign{ClickID: "msclkid"}, "Bing", PaidSearch},
		{"", Campaign{ClickID: "yclid"}, "Yandex", PaidSearch},
		{"", Campaign{ClickID: "dclid"}, "Google", Display},
		{"", Campaign{ClickID: "fbclid"}, "Facebook", OrganicSocial},
		{"https://l.instagram.com/", Campaign{ClickID: "fbclid"}, "Instagram", OrganicSocial},
		{"", Campaign{ClickID: "fbclid", Source: "ig", Medium: "paid"}, "Instagram", PaidSocial},
		{"", Campaign{ClickID: "fbclid", Source: "newsletter"}, "newsletter", Email},
		{"", Campaign{ClickID: "ttclid"}, "TikTok", PaidSocial},
		{"", Campaign{ClickID: "twclid"}, "Twitter", PaidSocial},
		{"", Campaign{ClickID: "li_fat_id"}, "LinkedIn", PaidSocial},
		{"", Campaign{ClickID: "gclid", Source: "google", Medium: "cpc"}, "Google", PaidSearch},
		{"", Campaign{ClickID: "gclid", Source: "x", Medium: "email"}, "Twitter", OrganicSocial},
		{"", Campaign{ClickID: "nonsense"}, "", Direct},
	} {
		got := s.Classify(c.referrer, page, c.c)
		if got.Source != c.source || got.Channel != c.channel {
			t.Errorf("%q %+v\n got %q, %q\nwant %q, %q", c.referrer, c.c, got.Source, got.Channel, c.source, c.channel)
		}
		if want := s.ClickID(c.c.ClickID); got.ClickID != want {
			t.Errorf("%+v: ClickID = %q, want %q", c.c, got.ClickID, want)
		}
	}
}

func TestClickID(t *testing.T) {
	s := newSources(t)
	for param, want := range map[string]string{"gclid": "gclid", "ScCid": "sccid", "li_fat_id": "li_fat_id",
		"": "", "utm_source": "", "gclid_": "", strings.Repeat("g", 1000): ""} {
		if got := s.ClickID(param); got != want {
			t.Errorf("ClickID(%q) = %q, want %q", param, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.ClickID("GCLID") }); n != 0 {
		t.Errorf("ClickID allocates %v times", n)
	}
}

func TestSpam(t *testing.T) {
	s := newSources(t)
	for referrer, want := range map[string]bool{
		"https://semalt.com/":             true,
		"http://www.semalt.com/project":   true,
		"http://seo.semalt.com:80/":       true,
		"https://notsemalt.com/":          false,
		"https://example.net/semalt.com":  false,
		"https://example.net/?semalt.com": false,
	} {
		if got := s.Classify(referrer, page, Campaign{}).Spam; got != want {
			t.Errorf("%s: Spam = %v", referrer, got)
		}
	}
	if s.Classify("https://semalt.com/", "semalt.com", Campaign{}).Spam {
		t.Error("a site's own referrer is spam")
	}
}

// TestTablesOfSources reads what NewSources cannot know to be wrong.
func TestTablesOfSources(t *testing.T) {
	s := newSources(t)
	if n := len(s.hosts) + len(s.labels); n < 300 {
		t.Errorf("only %d hosts", n)
	}
	for host := range s.hosts {
		name := host
		if i := strings.Index(host, "://"); i >= 0 {
			name = host[i+3:]
		}
		clean, ip, ok := cleanHost(name)
		if !ok || ip || clean != name {
			t.Errorf("sources.txt: %q can never be met: it is written %q", host, clean)
		}
		if s.spam[host] {
			t.Errorf("%q is a source and spam", host)
		}
	}
	for host := range s.spam {
		if clean, ip, ok := cleanHost(host); !ok || ip || clean != host || !strings.Contains(host, ".") {
			t.Errorf("spam.txt: %q can never be met", host)
		}
	}
	channels := " " + strings.Join([]string{PaidSearch, OrganicSearch, PaidSocial, OrganicSocial, Display, Email, Affiliates}, " | ") + " "
	for _, c := range s.clicks {
		if !strings.Contains(channels, " "+c.channel+" ") {
			t.Errorf("clickids.txt: %s has the channel %q", c.name, c.channel)
		}
		if len(c.name) > maxClick || c.name != strings.ToLower(c.name) {
			t.Errorf("clickids.txt: %q can never be met", c.name)
		}
	}
	for alias := range s.names {
		if alias != strings.ToLower(alias) {
			t.Errorf("aliases.txt: %q is not lower case", alias)
		}
		if _, err := netip.ParseAddr(alias); err == nil {
			t.Errorf("aliases.txt: %q is an address", alias)
		}
	}
}

func TestClassifyHardlyAllocates(t *testing.T) {
	s := newSources(t)
	for referrer, most := range map[string]float64{"": 0, "https://www.google.com/search?q=x": 1, "https://blog.example.net/": 1,
		"https://" + page + "/": 0} {
		if n := testing.AllocsPerRun(100, func() { s.Classify(referrer, page, Campaign{}) }); n > most {
			t.Errorf("%q: %v allocations, want at most %v", referrer, n, most)
		}
	}
}
