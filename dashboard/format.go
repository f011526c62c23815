package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/period"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// count is a whole number with thousands apart: 128,940.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is a number in few characters: 940, 21.4k, 1.29M.
func short(x float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "k"}} {
		// 999,950 would round to "1000k".
		if x >= u.size*0.99995 {
			y := x / u.size
			return strconv.FormatFloat(y, 'f', digits(y), 64) + u.name
		}
	}
	if x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', digits(x), 64)
}

func digits(y float64) int {
	switch {
	case y < 10:
		return 2
	case y < 100:
		return 1
	}
	return 0
}

// duration says seconds as people do: 48s, 2m 31s, 1h 05m.
func duration(sec float64) string {
	s := int64(math.Round(sec))
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh %02dm", s/3600, s%3600/60)
}

// clockTime says a round number of seconds in little room: 45s, 2m, 2:30, 1h, 1.5h.
func clockTime(sec float64) string {
	s := int64(math.Round(sec))
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s%3600 == 0:
		return fmt.Sprintf("%dh", s/3600)
	case s > 3600 && s%1800 == 0:
		return fmt.Sprintf("%d.5h", s/3600)
	case s%60 == 0:
		return fmt.Sprintf("%dm", s/60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// share is part of whole in percent, "<1%" for what would round to nothing.
func share(part, whole uint64) string {
	if whole == 0 {
		return "–"
	}
	p := float64(part) / float64(whole) * 100
	if part > 0 && p < 0.5 {
		return "<1%"
	}
	return strconv.Itoa(int(math.Round(p))) + "%"
}

// stepLabel names a step of a series in English; the script writes it the reader's way.
func stepLabel(t time.Time, step string, long bool) string {
	switch {
	case step == period.Hourly && long:
		return t.Format("Mon 2 Jan, 15:04")
	case step == period.Hourly:
		return t.Format("15:04")
	case step == period.Monthly && long:
		return t.Format("January 2006")
	case step == period.Monthly:
		return t.Format("Jan 2006")
	case step == period.Weekly && long:
		return "Week of " + t.Format("2 Jan 2006")
	case long:
		return t.Format("Mon 2 Jan 2006")
	}
	return t.Format("2 Jan")
}

// dates says a period: "26 Oct – 24 Nov 2026", to the minute where it is cut inside a day.
func dates(r period.Range) string {
	last := r.To.Add(-time.Nanosecond)
	if r.Name == period.Last24h {
		return r.From.Format("2 Jan 15:04") + " – " + r.To.Format("2 Jan 15:04")
	}
	s := last.Format("2 Jan 2006")
	switch {
	case last.Sub(r.From) < 26*time.Hour && last.Day() == r.From.Day():
	case r.From.Year() == last.Year():
		s = r.From.Format("2 Jan") + " – " + s
	default:
		s = r.From.Format("2 Jan 2006") + " – " + s
	}
	if !r.To.Equal(period.Start(r.To)) {
		s += ", until " + r.To.Format("15:04")
	}
	return s
}

// valueLabel is what people read for a value of a dimension. label is the store's own, if any.
func valueLabel(dim, value, label string) string {
	if dim == "visit:country" {
		if n := countryName(value); n != "" {
			return n
		}
	}
	if label != "" {
		return label
	}
	if value == "" {
		switch dim {
		case "visit:country", "visit:region", "visit:city", "visit:browser", "visit:os", "visit:device",
			"visit:browser_version", "visit:os_version":
			return "(unknown)"
		}
		return "(none)"
	}
	return value
}

// countryName is the English name of an ISO 3166-1 code, "" if it is none.
func countryName(code string) string {
	if len(code) != 2 {
		return ""
	}
	r, err := language.ParseRegion(code)
	if err != nil || !r.IsCountry() {
		return ""
	}
	return display.English.Regions().Name(r)
}

// isCode reports whether value is a country code that the script may name in the reader's
// language.
func isCode(dim, value string) bool { return dim == "visit:country" && countryName(value) != "" }

// csvCell guards a cell of text against being run as a formula by a spreadsheet: one that
// begins like a formula gets an apostrophe before it, which spreadsheets read as "text".
func csvCell(s string) string {
	trimmed := strings.TrimLeft(s, " \u00a0\u3000\ufeff")
	if trimmed == "" {
		return s
	}
	switch r := []rune(trimmed)[0]; r {
	case '=', '+', '-', '@', '\t', '\r', '\n', '|', '＝', '＋', '－', '＠':
		return "'" + s
	}
	return s
}
