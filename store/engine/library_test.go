package engine

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	place := func(size int64, magic string, elem ...string) string {
		t.Helper()
		p := filepath.Join(append([]string{dir}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(magic), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p, size); err != nil { // sparse
			t.Fatal(err)
		}
		return p
	}
	const elf, whole = "\x7fELF", minLibrarySize
	parts := place(whole, elf, "repo", ".parts", "node_modules", "@chdb", "lib-linux-x64-gnu", "libchdb.so")
	beside := place(whole, elf, "bin", "libchdb.so")
	system := place(whole, elf, "lib", "libchdb.so")
	text := place(whole, "text", "bad", "libchdb.so")
	cut := place(1000, elf, "cut", "libchdb.so")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, tc := range map[string]struct {
		asked         string
		roots, system []string
		want, message string
	}{
		"parts":                  {"", []string{in("repo"), in("bin")}, []string{in("lib")}, parts, ""},
		"parts of the parent":    {"", []string{in("empty"), in("empty"), in("repo")}, nil, parts, ""},
		"beside the program":     {"", []string{in("empty"), in("bin")}, []string{in("lib")}, beside, ""},
		"not the working dir":    {"", []string{in("bin")}, []string{in("lib")}, system, ""},
		"system":                 {"", []string{in("empty")}, []string{in("empty"), in("lib")}, system, ""},
		"asked for":              {beside, []string{in("repo")}, nil, beside, ""},
		"asked for its folder":   {in("bin"), []string{in("repo")}, nil, beside, ""},
		"nowhere":                {"", []string{in("empty")}, []string{in("empty")}, "", "run `make parts`"},
		"asked, missing":         {in("none"), []string{in("repo")}, nil, "", "there is nothing at that path"},
		"asked, an empty folder": {empty, []string{in("repo")}, nil, "", "the folder holds no libchdb.so"},
		"asked, a text":          {text, []string{in("repo")}, nil, "", "is not a shared library; run `make parts`"},
		"asked, a cut download":  {cut, []string{in("repo")}, nil, "", "has only 1000 bytes"},
		"a bad one is passed by": {"", []string{in("bad"), in("bad"), in("cut")}, []string{in("lib")}, system, ""},
	} {
		got, err := findLibrary(tc.asked, tc.roots, tc.system)
		switch {
		case tc.message == "" && (err != nil || got != tc.want):
			t.Errorf("%s: %q, %v, want %q", name, got, err, tc.want)
		case tc.message != "" && (err == nil || !strings.Contains(err.Error(), tc.message)):
			t.Errorf("%s: %q, %v, want an error with %q", name, got, err, tc.message)
		}
	}
	if _, err := Start(Options{DataDir: t.TempDir(), LibPath: in("none")}); !errors.Is(err, ErrNoLibrary) {
		t.Errorf("Start without library: %v", err)
	}
}

func TestCheckCPU(t *testing.T) {
	if err := checkCPU(requiredCPU()); err != nil {
		t.Errorf("this machine, which runs the other tests: %v", err)
	}
	err := checkCPU([]cpuFeature{{"SSE4.2", true}, {"AVX2", false}, {"BMI2", false}})
	if err == nil || !strings.Contains(err.Error(), "lacks AVX2, BMI2,") || !strings.Contains(err.Error(), "clickhouse://") {
		t.Errorf("an old processor: %v", err)
	}
}

func TestBadLibraryEndsChild(t *testing.T) {
	p := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(p, []byte("\x7fELF and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadLibrary(p); err == nil || !strings.Contains(err.Error(), "cannot load") {
		t.Errorf("%v", err)
	}
}

func TestChildArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		want string
	}{
		"none":     {"", "--path and --socket are needed"},
		"unknown":  {"--nonsense", "flag provided but not defined"},
		"bare":     {"--path a --socket b c", `unexpected argument "c"`},
		"zero":     {"--path a --socket b --sessions 0", "must be at least 1"},
		"set":      {"--path a --socket b --set x", "want NAME=VALUE"},
		"injected": {"--path a --socket b --set a,b=1", "want NAME=VALUE"},
	} {
		var out bytes.Buffer
		if code := Main(strings.Fields(tc.args), &out); code != exitUsage || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: status %d, %q", name, code, out.String())
		}
	}
}

func TestSocketPaths(t *testing.T) {
	for _, n := range []int{1, 20, 60} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("dir/", n))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "engine.sock")
		for range 2 { // a socket that was left behind is replaced
			ln, err := ListenSocket(path)
			if err != nil {
				t.Fatalf("%d bytes: %v", len(path), err)
			}
			fi, err := os.Lstat(path)
			if err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", fi.Mode(), err)
			}
			c, err := DialSocket(context.Background(), path)
			if err != nil {
				t.Fatalf("%d bytes: %v", len(path), err)
			}
			peer, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if peerClosed(peer) {
				t.Error("closed while open")
			}
			c.Close()
			if !peerClosed(peer) {
				t.Error("open while closed")
			}
			peer.Close()
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := DialSocket(context.Background(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a socket that is not there was dialled")
	}
	var op *net.OpError
	if _, err := DialSocket(context.Background(), filepath.Join(t.TempDir(), strings.Repeat("d/", 80), "none")); errors.As(err, &op) {
		t.Errorf("the folder is missing, not the socket: %v", err)
	}
}

func TestExceptions(t *testing.T) {
	for text, want := range map[string]struct {
		code   int
		text   string
		status int
	}{
		"Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)":              {60, "Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)", 404},
		"Error: Code: 241. DB::Exception: Code: 241. DB::Exception: too much.": {241, "Code: 241. DB::Exception: Code: 241. DB::Exception: too much.", 500},
		"Error: something else.":         {codeUnknown, "Code: 1002. DB::Exception: something else. (UNKNOWN_EXCEPTION)", 500},
		"Code: 99999999999. overflowing": {codeUnknown, "Code: 1002. DB::Exception: Code: 99999999999. overflowing. (UNKNOWN_EXCEPTION)", 500},
	} {
		e := parseException(text)
		if e.code != want.code || e.text != want.text || e.status() != want.status {
			t.Errorf("%q: %d %q %d", text, e.code, e.text, e.status())
		}
	}
}
