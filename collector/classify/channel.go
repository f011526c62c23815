package classify

import "strings"

// Channels, as in [Source.Channel]: the default grouping of Plausible and of Google
// Analytics 4, and one of our own for AI assistants.
const (
	Direct                  = "Direct"
	OrganicSearch           = "Organic Search"
	PaidSearch              = "Paid Search"
	OrganicSocial           = "Organic Social"
	PaidSocial              = "Paid Social"
	OrganicVideo            = "Organic Video"
	PaidVideo               = "Paid Video"
	OrganicShopping         = "Organic Shopping"
	PaidShopping            = "Paid Shopping"
	PaidOther               = "Paid Other"
	Display                 = "Display"
	CrossNetwork            = "Cross-network"
	Email                   = "Email"
	Affiliates              = "Affiliates"
	Audio                   = "Audio"
	SMS                     = "SMS"
	MobilePushNotifications = "Mobile Push Notifications"
	AIAssistants            = "AI Assistants"
	Referral                = "Referral"
)

// channel groups a source. The rules are those that Google publishes for its default
// channel group, in its order.
func channel(from site, c Campaign, clicked click) string {
	if c == (Campaign{}) {
		return organic(from) // most hits
	}
	source, medium := fold(c.Source), fold(c.Medium)
	campaign := fold(c.Campaign)
	paid := isPaid(medium)
	shop := from.category == shopping || isShop(campaign)
	switch {
	case strings.Contains(campaign, "cross-network"):
		return CrossNetwork
	case shop && paid:
		return PaidShopping
	case paid && from.category == search, paid && isAdSource(source):
		return PaidSearch
	case paid && from.category == social:
		return PaidSocial
	case paid && from.category == video:
		return PaidVideo
	case medium == "display", medium == "banner", medium == "expandable", medium == "interstitial", medium == "cpm":
		return Display
	case paid:
		return PaidOther
	case medium == "" && clicked.channel != "" && !(c.Source != "" && isOrganic(clicked.channel)):
		return clicked.channel
	case medium == "" && isAdSource(source):
		return PaidSearch
	case shop:
		return OrganicShopping
	case from.category == assistant:
		return AIAssistants
	case from.category == social, isSocialMedium(medium):
		return OrganicSocial
	case from.category == video, strings.Contains(medium, "video"):
		return OrganicVideo
	case from.category == search, medium == "organic":
		return OrganicSearch
	case from.category == mail, isEmail(source), isEmail(medium), medium == "newsletter", source == "newsletter":
		return Email
	case medium == "affiliate", medium == "affiliates":
		return Affiliates
	case medium == "audio", medium == "podcast":
		return Audio
	case source == "sms", medium == "sms":
		return SMS
	case strings.HasSuffix(medium, "push"), strings.Contains(medium, "mobile"),
		strings.Contains(medium, "notification"), source == "firebase":
		return MobilePushNotifications
	case medium == "referral", medium == "app", medium == "link", from.name != "":
		return Referral
	}
	return Direct
}

// organic is channel where there is no campaign.
func organic(from site) string {
	switch from.category {
	case assistant:
		return AIAssistants
	case mail:
		return Email
	case search:
		return OrganicSearch
	case social:
		return OrganicSocial
	case video:
		return OrganicVideo
	case shopping:
		return OrganicShopping
	}
	if from.name != "" {
		return Referral
	}
	return Direct
}

func isOrganic(channel string) bool { return strings.HasPrefix(channel, "Organic") }

// fold trims and lower-cases a parameter, of which the first 255 bytes count.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s[:min(len(s), 255)])) }

// isPaid is Google's ^(.*cp.*|ppc|retargeting|paid.*)$.
func isPaid(medium string) bool {
	return strings.Contains(medium, "cp") || medium == "ppc" || medium == "retargeting" ||
		strings.HasPrefix(medium, "paid")
}

// isShop is Google's ^(.*(([^a-df-z]|^)shop|shopping).*)$.
func isShop(campaign string) bool {
	for i := 0; ; {
		j := strings.Index(campaign[i:], "shop")
		if j < 0 {
			return false
		}
		i += j
		if i == 0 || campaign[i-1] == 'e' || campaign[i-1]-'a' >= 26 || strings.HasPrefix(campaign[i:], "shopping") {
			return true
		}
		i += len("shop")
	}
}

// isAdSource tells sources that sell advertisements in search results.
func isAdSource(source string) bool {
	switch source {
	case "adwords", "googleads", "google-ads", "google_ads", "google ads", "google_adwords",
		"bingads", "bing-ads", "bing_ads", "microsoftads", "msads", "yandex.direct", "yandex-direct":
		return true
	}
	return false
}

func isSocialMedium(medium string) bool {
	switch medium {
	case "social", "social-network", "social-media", "sm", "social network", "social media", "social_network", "social_media":
		return true
	}
	return false
}

func isEmail(s string) bool {
	switch s {
	case "email", "e-mail", "e_mail", "e mail":
		return true
	}
	return false
}
