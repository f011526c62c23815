package dashboard

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kantarainitiative/footfall/store"
)

// Limits of what an address may ask for.
const (
	maxFilters     = 20
	maxFilterValue = 2048
)

// dimension is a dimension of the Stats API as people meet it.
type dimension struct {
	Name    string // "visit:source"
	Label   string // "Source"
	Plural  string // "Sources"
	Subject string // how a filter's sentence begins, where "Label is" reads badly
	Noun    string // "any NOUN but …", with Subject only
	Group   string
}

// propPrefix begins the dimensions of custom properties: "event:props:plan".
const propPrefix = "event:props:"

// dimensions lists those people can filter and break down by, in the order offered.
func dimensions() []dimension {
	return []dimension{
		{Name: "visit:channel", Label: "Channel", Plural: "Channels", Group: "Sources"},
		{Name: "visit:source", Label: "Source", Plural: "Sources", Group: "Sources"},
		{Name: "visit:referrer", Label: "Referrer", Plural: "Referrers", Group: "Sources"},
		{Name: "visit:utm_campaign", Label: "Campaign", Plural: "Campaigns", Group: "Campaigns"},
		{Name: "visit:utm_source", Label: "UTM source", Plural: "UTM sources", Group: "Campaigns"},
		{Name: "visit:utm_medium", Label: "UTM medium", Plural: "UTM mediums", Group: "Campaigns"},
		{Name: "visit:utm_content", Label: "UTM content", Plural: "UTM contents", Group: "Campaigns"},
		{Name: "visit:utm_term", Label: "UTM term", Plural: "UTM terms", Group: "Campaigns"},
		{Name: "event:page", Label: "Page", Plural: "Pages", Subject: "Saw", Noun: "page", Group: "Pages"},
		{Name: "visit:entry_page", Label: "Entry page", Plural: "Entry pages", Subject: "Visit began on", Noun: "page", Group: "Pages"},
		{Name: "visit:exit_page", Label: "Exit page", Plural: "Exit pages", Subject: "Visit ended on", Noun: "page", Group: "Pages"},
		{Name: "event:hostname", Label: "Hostname", Plural: "Hostnames", Group: "Pages"},
		{Name: "visit:country", Label: "Country", Plural: "Countries", Group: "Places"},
		{Name: "visit:region", Label: "Region", Plural: "Regions", Group: "Places"},
		{Name: "visit:city", Label: "City", Plural: "Cities", Group: "Places"},
		{Name: "visit:browser", Label: "Browser", Plural: "Browsers", Group: "Devices"},
		{Name: "visit:browser_version", Label: "Browser version", Plural: "Browser versions", Group: "Devices"},
		{Name: "visit:os", Label: "System", Plural: "Systems", Group: "Devices"},
		{Name: "visit:os_version", Label: "System version", Plural: "System versions", Group: "Devices"},
		{Name: "visit:device", Label: "Device", Plural: "Devices", Group: "Devices"},
		{Name: "event:name", Label: "Event", Plural: "Events", Subject: "Event is", Noun: "event", Group: "Events"},
	}
}

// findDimension returns the dimension called name; custom properties are made up on the way.
func findDimension(name string) (dimension, bool) {
	if key, ok := strings.CutPrefix(name, propPrefix); ok && key != "" && len(key) <= 300 {
		return dimension{Name: name, Label: key, Plural: "Property " + key, Group: "Events"}, true
	}
	for _, d := range dimensions() {
		if d.Name == name {
			return d, true
		}
	}
	return dimension{}, false
}

// operator is a way to compare, as written in addresses and as said.
type operator struct{ Name, Says string }

func operators() []operator {
	return []operator{
		{"is", "is"}, {"is_not", "is not"},
		{"contains", "contains"}, {"contains_not", "does not contain"},
		{"matches", "matches"}, {"matches_not", "does not match"},
	}
}

// filter is one comparison of the view. In addresses it is written
// "is,visit:source,Google,Bing", commas and backslashes in values preceded by a backslash.
type filter struct {
	Op, Dim string
	Values  []string
}

func parseFilter(s string) (filter, error) {
	if len(s) > maxFilterValue {
		return filter{}, errors.New("a filter is too long")
	}
	parts := splitEscaped(s)
	if len(parts) < 3 {
		return filter{}, fmt.Errorf("the filter %q is not of the form is,visit:source,Google", s)
	}
	f := filter{Op: parts[0], Dim: parts[1], Values: parts[2:]}
	if !slices.ContainsFunc(operators(), func(o operator) bool { return o.Name == f.Op }) {
		return filter{}, fmt.Errorf("%q is no way to filter; there are is, is_not, contains, contains_not, matches and matches_not", f.Op)
	}
	if _, ok := findDimension(f.Dim); !ok {
		return filter{}, fmt.Errorf("there is nothing called %q to filter by", f.Dim)
	}
	return f, nil
}

// splitEscaped splits at commas that no backslash precedes.
func splitEscaped(s string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == ',':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(parts, b.String())
}

// String is the filter as in addresses.
func (f filter) String() string {
	esc := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	var b strings.Builder
	b.WriteString(f.Op + "," + esc.Replace(f.Dim))
	for _, v := range f.Values {
		b.WriteString("," + esc.Replace(v))
	}
	return b.String()
}

// store is the filter as the store takes it. Parts of words are found whatever their case.
func (f filter) store() store.Filter {
	return store.Filter{Op: f.Op, Dimension: f.Dim, Values: f.Values, IgnoreCase: strings.HasPrefix(f.Op, "contains")}
}

// words says the filter: what is compared, and with what.
func (f filter) words() (subject, object string) {
	d, _ := findDimension(f.Dim)
	var vs []string
	for _, v := range f.Values {
		vs = append(vs, valueLabel(f.Dim, v, ""))
	}
	object = strings.Join(vs, " or ")
	if d.Subject != "" {
		switch f.Op {
		case "is":
			return d.Subject, object
		case "is_not":
			if f.Dim == "event:page" {
				return "Saw", "no " + object
			}
			return d.Subject, "any " + d.Noun + " but " + object
		}
	}
	for _, o := range operators() {
		if o.Name == f.Op {
			return d.Label + " " + o.Says, object
		}
	}
	return d.Label, object
}
