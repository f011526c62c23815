package policy

import (
	"reflect"
	"strings"
	"testing"
)

func someFacts() Facts {
	return Facts{
		Controller: Controller{Name: "Example e.V.", Address: "Musterweg 1, Berlin", Email: "privacy@example.org", Phone: "+49 30 0000000", Jurisdiction: "DE"},
		URL:        "https://stats.example.org", Site: "example.org",
		Means: []Means{Script, Pixel, Email}, Columns: ColumnNames("events"), QueryParams: []string{"page"},
		Timezone: "Europe/Berlin", Window: "day", Address: "truncate", Bits4: 24, Bits6: 48, DNT: "unlinked",
		Cookie: "none", OptOutName: "footfall_optout", OptOutDays: 400, Place: "country", PII: "mask", Retention: "400d",
	}
}

// otherValue changes a field to something else.
func otherValue(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		otherValue(t, v.Index(v.Len()-1))
	default:
		t.Fatalf("a fact of kind %s", v.Kind())
	}
}

// Every fact is either part of the meaning or named here: a new one cannot be forgotten.
func TestEveryFactHasAMeaning(t *testing.T) {
	wording := map[string]bool{"URL": true, "Address": true, "Email": true, "Phone": true, "Jurisdiction": true}
	check := func(name string, f Facts, meaning bool) {
		before := someFacts()
		if changed := Fingerprint(f) != Fingerprint(before); changed != meaning {
			t.Errorf("%s: the fingerprint changes: %v", name, changed)
		}
		if n := len(Changes(before, f)); (n > 0) != meaning {
			t.Errorf("%s: %d changes in words", name, n)
		}
	}
	typ := reflect.TypeFor[Facts]()
	for i := range typ.NumField() {
		f := someFacts()
		field := reflect.ValueOf(&f).Elem().Field(i)
		if name := typ.Field(i).Name; name != "Controller" {
			otherValue(t, field)
			check(name, f, name == "Address" || !wording[name])
			continue
		}
		for j := range field.NumField() {
			f := someFacts()
			otherValue(t, reflect.ValueOf(&f).Elem().Field(i).Field(j))
			name := field.Type().Field(j).Name
			check("Controller."+name, f, !wording[name])
		}
	}
}

func TestFingerprintIsStable(t *testing.T) {
	f := Facts{Site: "example.org"}
	if got, want := Fingerprint(f), Fingerprint(f); got != want || len(got) != 64 {
		t.Errorf("%s, %s", got, want)
	}
	a, b := someFacts(), someFacts()
	b.Means = []Means{Email, Script, Pixel}
	if Fingerprint(a) != Fingerprint(b) {
		t.Error("the order of a list has a meaning")
	}
	// Values cannot run into each other.
	a.QueryParams, b.QueryParams = []string{"a", "b"}, []string{"ab"}
	b.Means = a.Means
	if Fingerprint(a) == Fingerprint(b) {
		t.Error("two lists have one fingerprint")
	}
}

func TestChangesAreReadable(t *testing.T) {
	old, new := someFacts(), someFacts()
	new.DNT, new.Retention, new.Cookie, new.CookieName, new.CookieDays = "drop", "25mo", "consented", "footfall_id", 390
	var got []string
	for _, c := range Changes(old, new) {
		got = append(got, c.What+": "+c.From+" -> "+c.To)
	}
	want := []string{
		"Do-Not-Track and Global Privacy Control: the page view is counted without any number: it cannot be joined to another one -> the visit is not counted at all",
		"Cookie: none -> only with consent: a random number, for 390 days from then, which later visits do not extend",
		"Name of the cookie: none -> footfall_id",
		"Kept for: 400 days; deleting is the organisation's task, the program does not do it by itself -> 25 months; deleting is the organisation's task, the program does not do it by itself",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
