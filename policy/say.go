package policy

import (
	"fmt"
	"strings"
	"time"
)

// The words of single facts. They may change freely: only values make a version.

// Purposes returns what visits are counted for. No other use is built into the program.
func Purposes() []string {
	return []string{
		"to see how much the site is read, which pages, and from where",
		"to find pages that do not work, and to make the site easier to use",
		"to give the servers the size they need",
	}
}

// purposeKeys stand for [Purposes] in a fingerprint.
func purposeKeys() []string { return []string{"audience", "usability", "capacity"} }

func sayMeans(means []Means) string {
	var out []string
	for _, m := range means {
		switch m {
		case Script:
			out = append(out, "a script in the page")
		case Pixel:
			out = append(out, "an invisible picture in the page, where there is no JavaScript")
		case Email:
			out = append(out, "an invisible picture and counted links in emails")
		default:
			out = append(out, string(m))
		}
	}
	return strings.Join(out, ", ")
}

func (f *Facts) sayMail() string {
	if f.Mail == "" {
		return "not counted"
	}
	return "counted by mailing, never by recipient: that one was opened, which link was followed, and the visit that this began"
}

func (f *Facts) sayAddress() string {
	if f.Address != "truncate" {
		return "not kept, in no part"
	}
	return fmt.Sprintf("cut to a network before anything is stored: %s (IPv4), /%d (IPv6)", shared(32-f.Bits4), f.Bits6)
}

// shared says how many addresses have the same network.
func shared(bits int) string {
	if bits <= 0 {
		return "the whole address"
	}
	return fmt.Sprintf("a network shared by %s addresses", thousands(1<<bits))
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (f *Facts) sayDNT() string {
	switch f.DNT {
	case "drop":
		return "the visit is not counted at all"
	case "unlinked":
		return "the page view is counted without any number: it cannot be joined to another one"
	}
	return "not acted on: the visit is counted as any other"
}

func (f *Facts) sayCookie() string {
	if f.Cookie != "consented" {
		return "none"
	}
	return fmt.Sprintf("only with consent: a random number, for %d days from then, which later visits do not extend", f.CookieDays)
}

func (f *Facts) sayPlace() string {
	switch f.Place {
	case "country":
		return "the country, looked up on this machine from the cut address"
	case "city":
		return "country, region and city, looked up on this machine from the cut address"
	}
	return "not looked up"
}

func (f *Facts) sayPII() string {
	switch f.PII {
	case "mask":
		return "replaced by its kind, as (email), before anything is stored"
	case "drop":
		return "the page view is not counted"
	}
	return "stored as it comes"
}

func (f *Facts) sayMinVisitors() string {
	if f.MinVisitors < 2 {
		return "no limit"
	}
	return fmt.Sprintf("%d visitors", f.MinVisitors)
}

func (f *Facts) sayRetention() string {
	if f.Disposal {
		return sayPeriod(f.Retention) + ", then deleted by the program"
	}
	return sayPeriod(f.Retention) + "; deleting is the organisation's task, the program does not do it by itself"
}

// saySums tells how long sums and the books are kept.
func (f *Facts) saySums() string {
	say := func(p string) string {
		if p == "" {
			return "without limit"
		}
		return "for " + sayPeriod(p)
	}
	if f.Rollups == f.Ledger {
		return say(f.Rollups)
	}
	return "figures by day and month " + say(f.Rollups) + ", the books " + say(f.Ledger)
}

// sayPeriod puts a setting such as 400d into words.
func sayPeriod(p string) string {
	n := strings.TrimRight(p, "dwmoy")
	unit := map[string]string{"d": "day", "w": "week", "mo": "month", "y": "year"}[strings.TrimPrefix(p, n)]
	if n == "" || unit == "" {
		return p
	}
	if n != "1" {
		unit += "s"
	}
	return n + " " + unit
}

func (f *Facts) sayOptOut() string {
	return fmt.Sprintf("%s, which says the same for everybody, for %d days", f.OptOutName, f.OptOutDays)
}

// minutes is "" for none, as the fingerprint wants a fact that says nothing.
func minutes(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (f *Facts) sayKeyDelay() string {
	if f.KeyDelay == 0 {
		return "erased when the " + f.Window + " is over"
	}
	return fmt.Sprintf("erased %d:%02d hours after the %s is over at the latest", f.KeyDelay/60, f.KeyDelay%60, f.Window)
}

func (f *Facts) sayReplay() string {
	if f.Replay == "" {
		return "nothing"
	}
	return "the files that records come in, for " + sayHours(f.Replay)
}

// sayHours puts a duration such as 24h0m0s into words.
func sayHours(d string) string {
	v, err := time.ParseDuration(d)
	switch {
	case err != nil:
		return d
	case v == time.Hour:
		return "1 hour"
	case v%time.Hour == 0:
		return fmt.Sprint(int(v.Hours()), " hours")
	}
	return fmt.Sprint(int(v.Round(time.Minute).Minutes()), " minutes")
}
