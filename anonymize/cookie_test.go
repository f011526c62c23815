package anonymize

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestCookieKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cookie.key")
	var keys [8]*CookieKey
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = OpenCookieKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	value := []byte("0123456789abcdef")
	id := keys[0].ID("example.org", value)
	for i, k := range keys {
		if got := k.ID("example.org", value); got != id {
			t.Errorf("process %d of those that made the key at once gives %d, the first %d", i, got, id)
		}
	}
	if id == 0 || id == keys[0].ID("example.net", value) || id == keys[0].ID("example.org", value[1:]) {
		t.Error("two sites or two cookies have one id")
	}
	if keys[0].ID("ab", []byte("c")) == keys[0].ID("a", []byte("bc")) {
		t.Error("site and value run into each other")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("files: %v, %v", entries, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", fi, err)
	}
	other, err := OpenCookieKey(filepath.Join(t.TempDir(), "cookie.key"))
	if err != nil || other.ID("example.org", value) == id {
		t.Errorf("another installation gives the same id (%v)", err)
	}
	if n := testing.AllocsPerRun(100, func() { id = keys[0].ID("example.org", value) }); n != 0 {
		t.Errorf("an id costs %v allocations", n)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(strings.TrimPrefix(string(b), cookieHead))
	for _, said := range []string{fmt.Sprint(keys[0]), fmt.Sprintf("%+v %#v %x", keys[0], keys[0], keys[0]), keys[0].LogValue().String()} {
		if strings.Contains(said, secret) || !strings.HasPrefix(said, "anonymize.CookieKey") {
			t.Errorf("printed as %q", said)
		}
	}
}

func TestCookieKeyDamaged(t *testing.T) {
	for _, content := range []string{"", cookieHead, cookieHead + strings.Repeat("a", 32), cookieHead + strings.Repeat("x", 32) + "\n",
		"footfall cookie key 2 " + strings.Repeat("a", 32) + "\n", strings.Repeat("a", 4096)} {
		path := filepath.Join(t.TempDir(), "cookie.key")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCookieKey(path); !errors.Is(err, ErrState) {
			t.Errorf("%.40q: %v", content, err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != content {
			t.Errorf("%.40q was changed to %q (%v)", content, b, err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("others may still read it: %v, %v", fi, err)
		}
	}
}

func TestWindowFirst(t *testing.T) {
	// 2026-11-24 is a Tuesday, day 20781.
	for w, want := range map[Window]int{Day: 20781, Week: 20780, Month: 20758} {
		if got := w.First(20781); got != want {
			t.Errorf("%s: %d, want %d", w, got, want)
		}
		if got := w.First(want); got != want {
			t.Errorf("%s: the first date of the period of its own first date is %d", w, got)
		}
		if w.period(want-1) == w.period(want) {
			t.Errorf("%s: %d does not begin the period", w, want)
		}
	}
	if Week.First(1) != 0 {
		t.Error("before 1970 there are no dates")
	}
}
