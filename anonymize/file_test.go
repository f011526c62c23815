package anonymize

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDamagedFileIsAnErrorAndStays(t *testing.T) {
	n := newNode(t, noon, testSeed)
	whole := n.file(t)
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(n.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(n.path, n.options(testSeed))
		if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(n.file(t), b) {
			t.Fatalf("%s: the file was changed", what)
		}
		for i := 0; i+16 < len(whole); i++ { // no piece of a key in the message
			if piece := whole[i : i+16]; err != nil && !bytes.ContainsAny(piece, " \n") && strings.Contains(err.Error(), string(piece)) {
				t.Fatalf("%s: the error quotes the file", what)
			}
		}
	}
	for i := range whole {
		check("cut", whole[:i])
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		check("a bit changed", b)
	}
	check("a line too many", append(bytes.Clone(whole), "more\n"...))
	check("too long", append(bytes.Clone(whole), make([]byte, 5000)...))
	if err := os.WriteFile(n.path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(n.path, n.options(nil)); err != nil {
		t.Error(err)
	}
}

func TestFileIsForTheOwnerOnly(t *testing.T) {
	n := newNode(t, noon, nil)
	mode := func() os.FileMode {
		fi, err := os.Stat(n.path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Mode()
	}
	if mode() != 0o600 {
		t.Errorf("made with %v", mode())
	}
	n.advance(t, noon.AddDate(0, 0, 1))
	if mode() != 0o600 {
		t.Errorf("replaced with %v", mode())
	}
	if err := os.Chmod(n.path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(n.path, n.options(nil)); err != nil || mode() != 0o600 {
		t.Errorf("opened with %v (%v)", mode(), err)
	}
}

// A crash can leave a whole or partial new file beside the old one.
func TestWhatACrashLeavesIsRemoved(t *testing.T) {
	n := newNode(t, noon, testSeed)
	id := n.id(Day, today)
	for _, left := range [][]byte{nil, []byte("footfall ke"), n.file(t)} {
		if err := os.WriteFile(tempPath(n.path), left, 0o600); err != nil {
			t.Fatal(err)
		}
		held, err := os.Open(tempPath(n.path))
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		r, err := Open(n.path, n.options(nil))
		if err != nil {
			t.Fatal(err)
		}
		if r.ID("example.org", Day, today, visitor, agent) != id {
			t.Error("the id changed")
		}
		if _, err := os.Stat(tempPath(n.path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the new file is still there: %v", err)
		}
		b := make([]byte, len(left))
		held.ReadAt(b, 0)
		if len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%q is left on the disk", b)
		}
	}
}

func TestFailedWriteKeepsIdsRightAndIsReported(t *testing.T) {
	n := newNode(t, noon, testSeed)
	file := n.file(t)
	block := filepath.Join(tempPath(n.path), "x") // a folder where the new file should be
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	for day := 1; day <= 12; day++ { // longer than a clock may leap
		n.set(noon.AddDate(0, 0, day))
		want := indID(indKey(testSeed, Day, today+day), Day, "example.org", visitor, string(agent))
		if n.id(Day, today+day) != want {
			t.Errorf("day %d: the wrong id", day)
		}
		if err := n.Advance(); err == nil || errors.Is(err, ErrClock) {
			t.Errorf("day %d: the error is %v", day, err)
		}
	}
	if !bytes.Equal(n.file(t), file) {
		t.Error("the file changed")
	}
	if err := os.RemoveAll(tempPath(n.path)); err != nil {
		t.Fatal(err)
	}
	if err := n.Advance(); err != nil {
		t.Fatal(err)
	}
	if from, _ := n.Live(); from != today+12 || bytes.Equal(n.file(t), file) {
		t.Errorf("the oldest live date is %d, want %d", from, today+12)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "no", "folder"), n.options(nil)); err == nil {
		t.Error("a missing folder is no error")
	}
}

func FuzzState(f *testing.F) {
	cs, err := startChains(testSeed, today)
	if err != nil {
		f.Fatal(err)
	}
	good := (&state{seen: today, chains: cs}).encode()
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(append(bytes.Clone(good), '\n'))
	f.Add([]byte(stateHead))
	f.Add((&state{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrState) || s != nil {
				t.Errorf("state %v, error %v", s, err)
			}
			return
		}
		if !bytes.Equal(s.encode(), b) {
			t.Errorf("%q was read, and is written otherwise", b)
		}
		if s.seen < 0 || dayTime(s.seen).Year() > 9999 {
			t.Errorf("seen on day %d", s.seen)
		}
	})
}

func BenchmarkID(b *testing.B) {
	n := newNode(b, time.Now(), nil)
	o := n.options(nil)
	o.Now = time.Now
	r, err := Open(n.path, o)
	if err != nil {
		b.Fatal(err)
	}
	_, day := r.Live()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ID("example.org", Day, day, visitor, agent)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.ID("example.org", Day, day, visitor, agent)
			}
		})
	})
}
