// Package auth decides who may see the staff listener: people by name and password
// (or a one-time login link), programs by bearer token.
//
// Rules it keeps:
//   - Everything is one file in the data directory, mode 0600, replaced atomically under
//     a lock, and read again when it changed: a token that the command line adds is
//     valid at once in a running server.
//   - Only hashes are kept: passwords as Argon2id (RFC 9106), tokens and links, which are random, as SHA-256.
//   - A session is a signed cookie, so it survives a restart; it ends with the user's removal
//     or change of password, by signing out, and by [Files.Revoke]. A user's role and sites are read
//     anew on each request.
//   - Whoever has no right to a route gets nothing of it: the rights of roles and tokens are
//     in role.go, those that routes ask for in the dashboard's table of routes.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart.
var (
	ErrExists   = errors.New("that name is taken")
	ErrNotFound = errors.New("there is nobody and nothing of that name")
)

// Lifetimes.
const (
	linkLife        = time.Hour
	linkSessionLife = 24 * time.Hour // of somebody who came by a link
	sessionLife     = 14 * 24 * time.Hour
)

// User is somebody who logs in with a password.
type User struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"` // Argon2id in PHC form
	Created time.Time `json:"created"`
	Role    Role      `json:"role,omitempty"`  // "": viewer
	Sites   []string  `json:"sites,omitempty"` // empty: every site
	TOTP    *Second   `json:"totp,omitempty"`  // nil: the password is enough
}

// Token lets a program read the Stats API.
type Token struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`             // SHA-256 of the token, base64
	Sites   []string  `json:"sites,omitempty"`  // empty: every site
	Scopes  []string  `json:"scopes,omitempty"` // of [Scopes]; empty: all of them
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

type link struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

// state is the file's whole content.
type state struct {
	Key    []byte  `json:"key"` // signs sessions
	Users  []User  `json:"users"`
	Tokens []Token `json:"tokens"`
	Links  []link  `json:"links"`

	Ended   []ended              `json:"ended,omitempty"`   // sessions
	Revoked map[string]time.Time `json:"revoked,omitempty"` // by how and whom: sessions begun by then are over
}

// Files is the file of users, tokens and links. It may be used by many goroutines, and
// by several processes at once.
type Files struct {
	path string
	now  func() time.Time

	mu    sync.Mutex
	state state
	seen  fs.FileInfo // the file that state was read from
}

// Open reads the file staff.json in dir, and makes it where there is none. It writes nothing
// else: a start must not need room on the disk.
func Open(dir string, now func() time.Time) (*Files, error) {
	f := &Files{path: filepath.Join(dir, "staff.json"), now: now}
	if s, err := f.current(); err != nil || len(s.Key) > 0 {
		return f, err
	}
	if err := f.update(func(s *state) error {
		if len(s.Key) == 0 {
			s.Key = randomBytes(32)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return f, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// current returns the state as it is on disk now.
func (f *Files) current() (state, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return state{}, err
	}
	return f.state, nil
}

// load reads the file if it changed. Since it is always replaced and never written
// in place, the same file (inode) with the same time is the same content.
func (f *Files) load() error {
	fi, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) && f.seen == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	if f.seen != nil && os.SameFile(fi, f.seen) && fi.ModTime().Equal(f.seen.ModTime()) && fi.Size() == f.seen.Size() {
		return nil
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("staff file %s is damaged; put back a copy, or remove it to begin with no users and tokens: %w", f.path, err)
	}
	f.state, f.seen = s, fi
	return nil
}

// update changes the state under the lock that all processes share.
func (f *Files) update(change func(*state) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	if err := f.load(); err != nil {
		return err
	}
	s := state{
		Key: f.state.Key, Users: slices.Clone(f.state.Users),
		Tokens: slices.Clone(f.state.Tokens), Links: slices.Clone(f.state.Links),
		Ended: slices.Clone(f.state.Ended), Revoked: f.state.Revoked, // replaced, never changed
	}
	if err := change(&s); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	if err := replaceFile(f.path, b); err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	f.seen = nil
	f.state = s
	if f.seen, err = os.Stat(f.path); err != nil {
		return fmt.Errorf("staff file: %w", err)
	}
	return nil
}

// replaceFile puts b in place of path so that a reader sees the old or the new whole, and
// that a power failure does not bring back a token that was removed. A copy on purpose:
// anonymize and beacon/email replace their files alike, and may import nothing of ours.
func replaceFile(path string, b []byte) error {
	t, err := os.CreateTemp(filepath.Dir(path), ".staff-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	if _, err = t.Write(b); err == nil {
		err = t.Sync()
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

var namePattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._@+-]{0,63}$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%q is no name: 1 to 64 letters, digits and . _ @ + -", name)
	}
	return nil
}

// AddUser makes a user, who may see the figures of the given sites (none: every site).
// ErrExists if the name is taken.
func (f *Files) AddUser(name, password string, role Role, sites []string) error {
	if err := checkName(name); err != nil {
		return err
	}
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return f.update(func(s *state) error {
		if slices.ContainsFunc(s.Users, func(u User) bool { return u.Name == name }) {
			return fmt.Errorf("user %q: %w", name, ErrExists)
		}
		s.Users = append(s.Users, User{Name: name, Hash: hash, Role: role, Sites: sites, Created: f.now().UTC().Truncate(time.Second)})
		return nil
	})
}

// SetPassword changes a user's password, which ends the user's sessions.
func (f *Files) SetPassword(name, password string) error {
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return f.update(func(s *state) error {
		i := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name })
		if i < 0 {
			return fmt.Errorf("user %q: %w", name, ErrNotFound)
		}
		s.Users[i].Hash = hash
		return nil
	})
}

// SetRole changes what a user may do, at once.
func (f *Files) SetRole(name string, role Role) error {
	return f.update(func(s *state) error {
		u := s.user(name)
		if u == nil {
			return fmt.Errorf("user %q: %w", name, ErrNotFound)
		}
		u.Role = role
		return nil
	})
}

// Grant changes what a user may do and see, at once.
func (f *Files) Grant(name string, role Role, sites []string) error {
	return f.update(func(s *state) error {
		u := s.user(name)
		if u == nil {
			return fmt.Errorf("user %q: %w", name, ErrNotFound)
		}
		u.Role, u.Sites = role, sites
		return nil
	})
}

// RemoveUser removes a user and ends the user's sessions.
func (f *Files) RemoveUser(name string) error {
	return f.update(func(s *state) error {
		n := len(s.Users)
		if s.Users = slices.DeleteFunc(s.Users, func(u User) bool { return u.Name == name }); len(s.Users) == n {
			return fmt.Errorf("user %q: %w", name, ErrNotFound)
		}
		return nil
	})
}

// Users lists the users, oldest first, without their hashes.
func (f *Files) Users() ([]User, error) {
	s, err := f.current()
	out := slices.Clone(s.Users)
	for i := range out {
		out[i].Hash = ""
		if out[i].Role == "" {
			out[i].Role = Viewer
		}
		if out[i].TOTP != nil {
			out[i].TOTP = &Second{}
		}
	}
	return out, err
}

// AddToken makes a token for the given sites and scopes (none: all) until expires (zero: for
// ever) and returns it. It cannot be shown again.
func (f *Files) AddToken(name string, sites, scopes []string, expires time.Time) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	token := "ff_" + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	return token, f.update(func(s *state) error {
		if slices.ContainsFunc(s.Tokens, func(t Token) bool { return t.Name == name }) {
			return fmt.Errorf("token %q: %w", name, ErrExists)
		}
		s.Tokens = append(s.Tokens, Token{Name: name, Hash: digest(token), Sites: sites, Scopes: scopes, Expires: expires, Created: f.now().UTC().Truncate(time.Second)})
		return nil
	})
}

// RemoveToken ends a token.
func (f *Files) RemoveToken(name string) error {
	return f.update(func(s *state) error {
		n := len(s.Tokens)
		if s.Tokens = slices.DeleteFunc(s.Tokens, func(t Token) bool { return t.Name == name }); len(s.Tokens) == n {
			return fmt.Errorf("token %q: %w", name, ErrNotFound)
		}
		return nil
	})
}

// Tokens lists the tokens, oldest first, without their hashes.
func (f *Files) Tokens() ([]Token, error) {
	s, err := f.current()
	out := slices.Clone(s.Tokens)
	for i := range out {
		out[i].Hash = ""
	}
	return out, err
}

// NewLink makes the secret of a one-time login link, good for linkLife.
func (f *Files) NewLink() (string, error) {
	secret := base64.RawURLEncoding.EncodeToString(randomBytes(24))
	return secret, f.update(func(s *state) error {
		now := f.now()
		s.Links = slices.DeleteFunc(s.Links, func(l link) bool { return now.After(l.Expires) })
		s.Links = append(s.Links, link{Hash: digest(secret), Expires: now.Add(linkLife).UTC()})
		return nil
	})
}

// takeLink uses a link up and tells whether it was good.
func (f *Files) takeLink(secret string) (bool, error) {
	if s, err := f.current(); err != nil || len(s.Links) == 0 { // no write for a guess when there is none
		return false, err
	}
	ok := false
	err := f.update(func(s *state) error {
		now := f.now()
		s.Links = slices.DeleteFunc(s.Links, func(l link) bool {
			if l.Hash == digest(secret) { // of hashes: timing tells nothing about a random secret
				ok = !now.After(l.Expires)
				return true
			}
			return now.After(l.Expires)
		})
		return nil
	})
	return ok, err
}

func digest(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return base64.RawStdEncoding.EncodeToString(h[:])
}
