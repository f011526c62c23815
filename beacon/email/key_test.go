package email

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "email.key")
	k1, err := LoadOrCreateKey(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", st.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	k2, err := LoadOrCreateKey(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("loading changed the file")
	}
	if _, err := k2.OpenToken(seal(t, k1, Open{Site: "s.example", Campaign: "c"}), "s.example"); err != nil {
		t.Errorf("the key loaded again: %v", err)
	}
	if left, _ := filepath.Glob(path + ".new-*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "email.key")
	k, err := LoadOrCreateKey(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := base64.StdEncoding.EncodeToString(f.Keys[0].Key)
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "key", k)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", k)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v", k, k, k), logged.String()} {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprint(f.Keys[0].Key)) || strings.Contains(s, "aead") {
			t.Errorf("printed: %s", s)
		}
	}
}

func TestBadKeyFiles(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct{ body, want string }{
		"empty":      {"", "is damaged: restore it from a backup"},
		"cut":        {`{"format":1,"keys":[{"id":1,"cre`, "is damaged"},
		"other kind": {`[]`, "is damaged"},
		"newer":      {`{"format":2,"keys":[]}`, "its format is 2, this program knows 1"},
		"no keys":    {`{"format":1,"keys":[]}`, "holds 0 keys"},
		"short key":  {`{"format":1,"keys":[{"id":1,"created":"2026-01-01","key":"AAAA"}]}`, "key 1 has 3 bytes, want 32"},
		"no date":    {`{"format":1,"keys":[{"id":1,"key":"` + key + `"}]}`, "key 1 has no date"},
		"same ids": {`{"format":1,"keys":[{"id":1,"created":"2026-01-01","key":"` + key + `"},{"id":1,"created":"2026-01-01","key":"` + key + `"}]}`,
			"two keys have one id"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "email.key")
			if err := os.WriteFile(path, []byte(c.body), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreateKey(path, time.Now)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; want %q and the path", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("the error quotes the key: %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != c.body {
				t.Error("a damaged file was replaced")
			}
		})
	}
	t.Run("readable by others", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "email.key")
		if _, err := LoadOrCreateKey(path, time.Now); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path, time.Now); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%v; want the command that mends it", err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		if _, err := LoadOrCreateKey(filepath.Join(t.TempDir(), "none", "email.key"), time.Now); err == nil {
			t.Error("no error")
		}
	})
}

const createEnv = "FOOTFALL_TEST_CREATE_KEY"

// TestMain lets the test binary be the process that creates a key.
func TestMain(m *testing.M) {
	if path := os.Getenv(createEnv); path != "" {
		k, err := LoadOrCreateKey(path, time.Now)
		if err == nil {
			var token string
			token, err = k.SealOpen(Open{Site: "s.example", Campaign: "c"})
			fmt.Print(token)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Processes and goroutines that create the key together all get the same one.
func TestConcurrentCreators(t *testing.T) {
	path := filepath.Join(t.TempDir(), "email.key")
	tokens := make([]string, 16)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			if i%2 == 0 {
				k, err := LoadOrCreateKey(path, time.Now)
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i], err = k.SealOpen(Open{Site: "s.example", Campaign: "c"})
				if err != nil {
					t.Error(err)
				}
				return
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), createEnv+"="+path)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("creating process: %v", err)
			}
			tokens[i] = string(out)
		})
	}
	wg.Wait()
	k, err := LoadOrCreateKey(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range tokens {
		if _, err := k.OpenToken(token, "s.example"); err != nil {
			t.Errorf("creator %d: %v", i, err)
		}
	}
	if len(k.keys.Load().keys) != 1 {
		t.Errorf("%d keys, want 1", len(k.keys.Load().keys))
	}
}
