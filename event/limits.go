package event

import (
	"unicode/utf8"
)

// Limits of an event's fields, in bytes.
const (
	MaxSite      = 253
	MaxName      = 120
	MaxPage      = 2000
	MaxTitle     = 300
	MaxReferrer  = 2000
	MaxUTM       = 255
	MaxPropKey   = 300
	MaxPropValue = 2000
	MaxProps     = 30
	MaxShort     = 100 // names of browsers, systems, places, sources
	MaxScroll    = 100
	MaxEngagedMS = 24 * 60 * 60 * 1000 // a day
)

// Clean returns s as valid UTF-8 of at most max bytes: invalid bytes become U+FFFD,
// control characters (C0, DEL, C1) and the line and paragraph separators become a space,
// and the cut never splits a character. It returns s itself where nothing changes.
func Clean(s string, max int) string {
	if len(s) <= max && isClean(s) {
		return s
	}
	b := make([]byte, 0, min(len(s), max))
	for _, r := range s {
		if isControl(r) {
			r = ' '
		}
		if len(b)+utf8.RuneLen(r) > max {
			break
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

func isClean(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return isCleanUnicode(s[i:])
		}
	}
	return true
}

func isCleanUnicode(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if isControl(r) {
			return false
		}
	}
	return true
}

func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
}

// Normalize brings every field within its limit. It is the last step before an event
// is written, whatever its source.
func (e *Event) Normalize() {
	e.Site = Clean(e.Site, MaxSite)
	e.Name = Clean(e.Name, MaxName)
	e.Hostname = Clean(e.Hostname, MaxSite)
	e.Page = Clean(e.Page, MaxPage)
	e.Title = Clean(e.Title, MaxTitle)
	e.Currency = Clean(e.Currency, 3)
	e.Network = Clean(e.Network, MaxShort)
	e.EngagedMS = min(e.EngagedMS, MaxEngagedMS)
	e.Scroll = min(e.Scroll, MaxScroll)
	if len(e.Props) > MaxProps {
		e.Props = e.Props[:MaxProps]
	}
	for i := range e.Props {
		p := &e.Props[i]
		p.Key, p.Value = Clean(p.Key, MaxPropKey), Clean(p.Value, MaxPropValue)
	}
	v := &e.Visit
	v.EntryPage = Clean(v.EntryPage, MaxPage)
	v.Referrer = Clean(v.Referrer, MaxReferrer)
	for _, p := range []*string{&v.UTMSource, &v.UTMMedium, &v.UTMCampaign, &v.UTMContent, &v.UTMTerm, &v.Source} {
		*p = Clean(*p, MaxUTM)
	}
	for _, p := range []*string{&v.Channel, &v.ClickID, &v.Device, &v.Browser, &v.BrowserVersion,
		&v.OS, &v.OSVersion, &v.Country, &v.Region, &v.RegionName, &v.City} {
		*p = Clean(*p, MaxShort)
	}
}
