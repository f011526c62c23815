package anonymize

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dchest/siphash"
)

// CookieKey gives ids to visitors who agreed to a cookie. Unlike the [Ratchet]'s keys it stays the same,
// since such an id lasts as long as the consent; what it is given is random and says
// nothing of the person, and never the address or the User-Agent.
//
// From a stored id nobody gets back to the cookie, and without the key nobody can try: who has the
// database alone cannot tell which browser an id is. Its methods may be called at the same time.
type CookieKey struct{ key sipKey }

// The key's file: cookieHead, 32 hexadecimal digits, a line feed.
const (
	cookieHead    = "footfall cookie key 1 "
	cookieKeySize = 16
)

// OpenCookieKey reads the key at path, or makes one where there is none (mode 0600). Of several
// processes that make it at the same time one does, and all have the same key. A damaged file is
// an error, which wraps [ErrState] and says what to do; it is left as it is.
func OpenCookieKey(path string) (*CookieKey, error) {
	b, err := readOwn(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createCookieKey(path); err == nil {
			b, err = readOwn(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("anonymize: the key of cookies: %w", err)
	}
	defer clear(b)
	text, head := strings.CutPrefix(string(b), cookieHead)
	text, end := strings.CutSuffix(text, "\n")
	key, err := hex.DecodeString(text)
	defer clear(key)
	if !head || !end || err != nil || len(key) != cookieKeySize {
		return nil, fmt.Errorf("anonymize: %s: %w. Put back a copy, or remove the file and start again: a new key is made, "+
			"and visitors who agreed to a cookie are new ones", path, ErrState)
	}
	return &CookieKey{sipKey{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}}, nil
}

// readOwn reads a small file, which is taken from others who may read it.
func readOwn(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	if fi.Size() > maxStateSize {
		return nil, ErrState
	}
	return os.ReadFile(path)
}

// createCookieKey puts a new key at path, whole and on the disk, unless another process was first.
func createCookieKey(path string) error {
	var key [cookieKeySize]byte
	rand.Read(key[:]) // never fails
	defer clear(key[:])
	b := append(hex.AppendEncode([]byte(cookieHead), key[:]), '\n')
	defer clear(b)
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// ID returns the id at a site of the visitor whose cookie holds value: SipHash-2-4 over both, each after its
// length in bytes as a 32-bit little-endian number. It is never 0. Ids of one value at two sites
// have nothing in common.
func (k *CookieKey) ID(site string, value []byte) uint64 {
	var room [512]byte
	b := binary.LittleEndian.AppendUint32(room[:0], uint32(len(site)))
	b = append(b, site...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, value...)
	id := siphash.Hash(k.key.k0, k.key.k1, b)
	clear(b)
	return max(id, 1)
}

// Format implements [fmt.Formatter]: it prints the type's name and nothing of the key.
func (k *CookieKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "anonymize.CookieKey") }

// LogValue implements [slog.LogValuer] likewise.
func (k *CookieKey) LogValue() slog.Value { return slog.StringValue("anonymize.CookieKey") }
