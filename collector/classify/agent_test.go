package classify

import (
	"os"
	"strings"
	"testing"
)

func newAgents(t testing.TB) *Agents {
	t.Helper()
	a, err := NewAgents(0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// rows reads a tab-separated file of testdata.
func rows(t testing.TB, name string, fields int) [][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.SplitN(l, "\t", fields)
		if len(f) != fields {
			t.Fatalf("%s: %d fields in %q", name, len(f), l)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return out
}

// TestCurrentAgents is exact: each of these agents is one that a site meets today.
func TestCurrentAgents(t *testing.T) {
	a := newAgents(t)
	for _, r := range rows(t, "current.tsv", 7) {
		got := a.Lookup([]byte(r[6]))
		for i, have := range []string{got.Browser, got.BrowserVersion, got.OS, got.OSVersion, got.Device, got.Bot} {
			if want := dash(r[i]); r[i] != "*" && have != want {
				t.Errorf("%s\n got %+v\nwant %q", r[6], got, r[:6])
				break
			}
		}
		if want := r[5] == BotMail; got.MailProxy != want {
			t.Errorf("%s: MailProxy = %v", r[6], got.MailProxy)
		}
	}
}
