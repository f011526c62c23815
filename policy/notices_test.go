package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, s string) func() time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return func() time.Time { return v }
}

// update puts facts in force and returns the versions it was told.
func update(t *testing.T, n *Notices, facts ...Facts) map[string]uint32 {
	t.Helper()
	var got map[string]uint32
	if err := n.Update(facts, func(v map[string]uint32) error { got = v; return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAChangeOfMeaningMakesAVersion(t *testing.T) {
	dir := t.TempDir()
	n, err := OpenNotices(dir, at(t, "2026-11-01T10:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := someFacts(), someFacts()
	b.Site = "example.net"
	if v := update(t, n, a, b); v["example.org"] != 1 || v["example.net"] != 1 {
		t.Errorf("first versions %v", v)
	}
	a.Controller.Phone, a.URL = "+49 30 1111111", "https://footfall.example.org"
	if v := update(t, n, a, b); v["example.org"] != 1 {
		t.Errorf("wording made version %d", v["example.org"])
	}
	if c, _ := n.Current("example.org"); c.Facts.Controller.Phone != "+49 30 1111111" || c.Version != 1 {
		t.Errorf("the wording in force is %+v", c)
	}

	// A later process knows all of it.
	n, err = OpenNotices(dir, at(t, "2026-11-24T10:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	if v := update(t, n, a, b); v["example.org"] != 1 {
		t.Errorf("a start made version %d", v["example.org"])
	}
	narrow := a
	narrow.DNT = "drop"
	if v := update(t, n, narrow, b); v["example.org"] != 2 || v["example.net"] != 1 {
		t.Errorf("a change at one site made %v", v)
	}
	if v := update(t, n, a, b); v["example.org"] != 3 {
		t.Errorf("going back made version %d: numbers are never given again", v["example.org"])
	}
	if v := update(t, n, b); len(v) != 1 {
		t.Errorf("versions of sites that are gone: %v", v)
	}
	if got := n.Sites(); len(got) != 1 || got[0] != "example.net" {
		t.Errorf("sites %v", got)
	}
	h := n.History("example.org")
	if len(h) != 3 || h[0].Since.Format(time.DateOnly) != "2026-11-01" || h[1].Since.Format(time.DateOnly) != "2026-11-24" ||
		h[1].Facts.DNT != "drop" || h[2].Facts.DNT != "unlinked" {
		t.Errorf("history %+v", h)
	}
	fi, err := os.Stat(filepath.Join(dir, NoticesFile))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new-*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// What could not be put in force leaves no version behind.
func TestARefusedConfigurationMakesNoVersion(t *testing.T) {
	dir := t.TempDir()
	n, err := OpenNotices(dir, at(t, "2026-11-01T10:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	f := someFacts()
	update(t, n, f)
	before, err := os.ReadFile(filepath.Join(dir, NoticesFile))
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	f.DNT = "drop"
	if err := n.Update([]Facts{f}, func(v map[string]uint32) error {
		if on, _ := OpenNotices(dir, n.now); len(on.History("example.org")) != 2 || v["example.org"] != 2 {
			t.Error("a version is applied that is not on disk")
		}
		return refused
	}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, NoticesFile))
	if err != nil || string(after) != string(before) {
		t.Errorf("the file is now (%v)\n%s", err, after)
	}
	if c, _ := n.Current("example.org"); c.Version != 1 || c.Facts.DNT != "unlinked" {
		t.Errorf("in force is %+v", c)
	}
	// Nor what could not be written down.
	os.Chmod(dir, 0o500)
	defer os.Chmod(dir, 0o700)
	if os.Geteuid() != 0 {
		if err := n.Update([]Facts{f}, nil); err == nil {
			t.Error("a version that is not on disk")
		}
	}
}

func TestDamagedHistoryIsNotReplaced(t *testing.T) {
	for text, want := range map[string]string{
		"{": "cannot be read", `{"format":2}`: "format is 2",
		`{"format":1,"sites":{"a":[{"version":2,"facts":{"site":"a"}}]}}`: "not in order",
		`{"format":1,"sites":{"a":[{"version":1,"facts":{"site":"b"}}]}}`: "not in order",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, NoticesFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenNotices(dir, time.Now); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func at2026() time.Time { return time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC) }
