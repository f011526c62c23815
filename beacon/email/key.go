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
	"sync/atomic"
	"syscall"
	"time"
)

// Key is the ring of keys of one installation. It reads its file again when that was replaced: see
// [Rotate]. It is safe for concurrent use.
type Key struct {
	path string
	now  func() time.Time

	keys   atomic.Pointer[ring]
	looked atomic.Int64 // when the file was last looked at, Unix seconds
}

// ring is the content of a key file, oldest key first. It never changes.
type ring struct {
	keys []ringKey
	file os.FileInfo // as it was just before it was read
}

type ringKey struct {
	id      uint16
	created int64 // days since 1970-01-01
	aead    cipher.AEAD
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
	_, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = locked(path, func() error {
			if _, err := readFile(path); !errors.Is(err, fs.ErrNotExist) {
				return err // another process was first
			}
			return writeFile(path, keyFile{Format: fileFormat, Keys: []storedKey{newKey(now())}})
		})
	}
	if err != nil {
		return nil, err
	}
	r, err := loadRing(path)
	if err != nil {
		return nil, err
	}
	k := &Key{path: path, now: now}
	k.keys.Store(r)
	return k, nil
}

// Rotate adds a key to the file at path, which is there already. It seals from the next day (UTC) on:
// until then there is time to bring the file to other nodes. Keys whose tokens have all expired are
// removed. It returns the first day on which the new key seals.
func Rotate(path string, now time.Time) (from time.Time, err error) {
	err = locked(path, func() error {
		f, err := readFile(path)
		if err != nil {
			return err
		}
		if _, err := f.ring(path); err != nil {
			return err
		}
		f.Keys = append(f.Keys, newKey(now))
		// A key seals up to the day its successor was made, and its tokens last from then on.
		for len(f.Keys) > 1 {
			superseded, err := time.Parse(time.DateOnly, f.Keys[1].Created)
			if err != nil || dayOf(now)-dayOf(superseded) <= int64(MaxLifetime/day)+1 {
				break
			}
			f.Keys = f.Keys[1:]
		}
		if len(f.Keys) > maxKeys {
			return fmt.Errorf("email: the key file has %d keys, of which tokens can still be good: no more fit", maxKeys)
		}
		return writeFile(path, f)
	})
	return timeOf(dayOf(now) + 1), err
}

// sealing is the key that seals today: the newest that was there yesterday, else the first.
func (k *Key) sealing() *ringKey {
	k.refresh()
	keys, today := k.keys.Load().keys, dayOf(k.now())
	for i := len(keys) - 1; i > 0; i-- {
		if keys[i].created < today {
			return &keys[i]
		}
	}
	return &keys[0]
}

// find returns the key of an id, nil for none. One that is not known may have come into the file since it was read.
func (k *Key) find(id uint16) *ringKey {
	for range 2 {
		keys := k.keys.Load().keys
		for i := range keys {
			if keys[i].id == id {
				return &keys[i]
			}
		}
		if !k.refresh() {
			break
		}
	}
	return nil
}

// refresh reads the file again if it was replaced, and reports whether it did. It looks once a second
// at most: strangers can ask for ids that are not there. A file that cannot be read changes nothing.
func (k *Key) refresh() bool {
	now, was := k.now().Unix(), k.looked.Load()
	if now == was || !k.looked.CompareAndSwap(was, now) {
		return false
	}
	st, err := os.Stat(k.path)
	if err != nil {
		return false
	}
	if old := k.keys.Load().file; os.SameFile(old, st) && old.ModTime().Equal(st.ModTime()) {
		return false
	}
	r, err := loadRing(k.path)
	if err != nil {
		return false
	}
	k.keys.Store(r)
	return true
}

// loadRing reads the file at path.
func loadRing(path string) (*ring, error) {
	st, err := os.Stat(path) // before it is read: one that is replaced in between is read again
	if err != nil {
		return nil, fmt.Errorf("email: key file: %w", err)
	}
	f, err := readFile(path)
	if err != nil {
		return nil, err
	}
	r, err := f.ring(path)
	if err == nil {
		r.file = st
	}
	return r, err
}

// String tells the number of keys and nothing of them.
func (k *Key) String() string { return fmt.Sprintf("email.Key(%d keys)", len(k.keys.Load().keys)) }

// GoString is String: %#v must not print a key either.
func (k *Key) GoString() string { return k.String() }

// newKey returns a random key with a random id.
func newKey(now time.Time) storedKey {
	var b [2 + keySize]byte
	rand.Read(b[:]) // never fails
	return storedKey{ID: binary.BigEndian.Uint16(b[:]), Created: now.UTC().Format(time.DateOnly), Key: b[2:]}
}

// ring checks f and prepares its keys. Errors name the file, never what is in it.
func (f keyFile) ring(path string) (*ring, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("email: key file %s: %s; restore it from a backup (a new key makes the pixels of mails already sent useless)", path, fmt.Sprintf(format, args...))
	}
	if f.Format != fileFormat {
		return nil, bad("its format is %d, this program knows %d", f.Format, fileFormat)
	}
	if len(f.Keys) == 0 || len(f.Keys) > maxKeys {
		return nil, bad("it holds %d keys, want 1 to %d", len(f.Keys), maxKeys)
	}
	r := new(ring)
	taken := map[uint16]bool{}
	for i, s := range f.Keys {
		if len(s.Key) != keySize {
			return nil, bad("key %d has %d bytes, want %d", i+1, len(s.Key), keySize)
		}
		if taken[s.ID] {
			return nil, bad("two keys have one id")
		}
		taken[s.ID] = true
		created, err := time.Parse(time.DateOnly, s.Created)
		if err != nil {
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
		r.keys = append(r.keys, ringKey{id: s.ID, created: dayOf(created), aead: aead})
	}
	return r, nil
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
