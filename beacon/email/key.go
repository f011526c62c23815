package email

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Key is the ring of keys of one installation, oldest first. It does not change once
// loaded and is safe for concurrent use.
type Key struct {
	keys []ringKey
	now  func() time.Time
}

type ringKey struct {
	id   uint16
	aead cipher.AEAD
}

// keyFile is the file's form. Keys stand oldest first, ids are unique in it.
type keyFile struct {
	Format int         `json:"format"`
	Keys   []storedKey `json:"keys"`
}

type storedKey struct {
	ID      uint16 `json:"id"`
	Created string `json:"created"` // date, UTC
	Key     []byte `json:"key"`     // 32 bytes, base64
}

const (
	fileFormat = 1
	keySize    = 32
	maxKeys    = 64
)

// LoadOrCreateKey reads the key file at path, or makes one with a new key (mode 0600).
// Of several processes that create it at the same time one does and all return the same
// key. A file that others may read, or that is damaged, is an error that says
// what to do: it is never replaced, since every mail already sent depends on it. now
// is the clock that gives tokens their day of issue and decides which have expired.
func LoadOrCreateKey(path string, now func() time.Time) (*Key, error) {
	f, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = locked(path, func() error {
			if f, err = readFile(path); !errors.Is(err, fs.ErrNotExist) {
				return err // another process was first
			}
			f = keyFile{Format: fileFormat, Keys: []storedKey{newKey(now())}}
			return writeFile(path, f)
		})
	}
	if err != nil {
		return nil, err
	}
	return f.ring(path, now)
}

// String tells the number of keys and nothing of them.
func (k *Key) String() string { return fmt.Sprintf("email.Key(%d keys)", len(k.keys)) }

// GoString is String: %#v must not print a key either.
func (k *Key) GoString() string { return k.String() }

// newKey returns a random key with a random id.
func newKey(now time.Time) storedKey {
	var b [2 + keySize]byte
	rand.Read(b[:]) // never fails
	return storedKey{ID: binary.BigEndian.Uint16(b[:]), Created: now.UTC().Format(time.DateOnly), Key: b[2:]}
}

// ring checks f and prepares its keys. Errors name the file, never what is in it.
func (f keyFile) ring(path string, now func() time.Time) (*Key, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("email: key file %s: %s; restore it from a backup (a new key makes the pixels of mails already sent useless)", path, fmt.Sprintf(format, args...))
	}
	if f.Format != fileFormat {
		return nil, bad("its format is %d, this program knows %d", f.Format, fileFormat)
	}
	if len(f.Keys) == 0 || len(f.Keys) > maxKeys {
		return nil, bad("it holds %d keys, want 1 to %d", len(f.Keys), maxKeys)
	}
	k := &Key{now: now}
	taken := map[uint16]bool{}
	for i, s := range f.Keys {
		if len(s.Key) != keySize {
			return nil, bad("key %d has %d bytes, want %d", i+1, len(s.Key), keySize)
		}
		if taken[s.ID] {
			return nil, bad("two keys have one id")
		}
		taken[s.ID] = true
		if _, err := time.Parse(time.DateOnly, s.Created); err != nil {
			return nil, bad("key %d has no date of creation", i+1)
		}
		block, err := aes.NewCipher(s.Key)
		if err != nil {
			return nil, bad("key %d: %v", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, bad("key %d: %v", i+1, err)
		}
		k.keys = append(k.keys, ringKey{id: s.ID, aead: aead})
	}
	return k, nil
}

func readFile(path string) (keyFile, error) {
	var f keyFile
	st, err := os.Stat(path)
	if err != nil {
		return f, fmt.Errorf("email: key file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return f, fmt.Errorf("email: key file %s may be read by others (mode %04o): run `chmod 600 %s`", path, st.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("email: key file: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		// The decoder's own error may quote the file.
		return keyFile{}, fmt.Errorf("email: key file %s is damaged: restore it from a backup (a new key makes the pixels of mails already sent useless)", path)
	}
	return f, nil
}

// writeFile replaces the file at path atomically; after a crash it is the old one or
// the new one. A copy on purpose: anonymize and dashboard/auth replace their files alike, and
// this package may import nothing of ours.
func writeFile(path string, f keyFile) (err error) {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("email: key file: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("email: key file: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("email: key file: %w", err)
		}
	}()
	_, err = tmp.Write(append(b, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// locked runs fn while no other process or goroutine does for the same path. The lock
// is a file of its own, because the key file is replaced.
func locked(path string, fn func() error) error {
	l, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("email: key file: %w", err)
	}
	defer l.Close() // lets go of the lock
	for {
		err = syscall.Flock(int(l.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("email: locking %s.lock: %w", path, err)
	}
	return fn()
}
