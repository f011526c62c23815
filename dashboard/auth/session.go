package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How somebody came to a session.
const (
	byPassword = "password"
	byLink     = "link"
	byOIDC     = "oidc"
)

// session is what the cookie of somebody signed in says. It is signed, so that nothing of it has
// to be kept here and it survives a restart; what ends it early is in the staff file.
type session struct {
	ID      string   `json:"i"` // random
	By      string   `json:"b"`
	Name    string   `json:"n"`
	Role    Role     `json:"r,omitempty"` // not of users with a password: theirs is in the file
	Sites   []string `json:"s,omitempty"`
	Begun   int64    `json:"t"` // Unix seconds
	Expires int64    `json:"e"`
}

// ended is a session that somebody signed out of, kept until it would have expired.
type ended struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// maxEnded bounds the ended sessions kept. Whoever ends more of their own within two weeks
// finds the oldest alive again.
const maxEnded = 10_000

// sign returns the MAC of text for a purpose, under the staff file's key and, for what stands and falls
// with a user's password, that password's hash.
func (s *state) sign(purpose, text, secret string) []byte {
	m := hmac.New(sha256.New, s.Key)
	for _, part := range []string{purpose, text, secret} {
		m.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return m.Sum(nil)
}

// seal makes v a text that [state.open] gives back, and nobody without the key can make or change.
func (s *state) seal(purpose, secret string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // types of this package
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + base64.RawURLEncoding.EncodeToString(s.sign(purpose, text, secret))
}

// peek reads v without looking at the signature: whose secret it was signed with is in there.
func peek(sealed string, v any) bool {
	text, _, ok := strings.Cut(sealed, ".")
	b, err := base64.RawURLEncoding.DecodeString(text)
	return ok && err == nil && json.Unmarshal(b, v) == nil
}

// genuine tells whether seal made the text.
func (s *state) genuine(purpose, secret, sealed string) bool {
	text, mac, ok := strings.Cut(sealed, ".")
	got, err := base64.RawURLEncoding.DecodeString(mac)
	return ok && err == nil && hmac.Equal(got, s.sign(purpose, text, secret))
}

func (s *state) user(name string) *User {
	if i := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name }); i >= 0 && name != "" {
		return &s.Users[i]
	}
	return nil
}

// secretOf is what a session of name is signed with beside the key: it ends with the password.
func (s *state) secretOf(v *session) string {
	if u := s.user(v.Name); v.By == byPassword && u != nil {
		return u.Hash
	}
	return ""
}

func (s *state) newSession(v session) string { return s.seal("session", s.secretOf(&v), v) }

// session returns the session that a cookie stands for, and who has it.
func (s *state) session(cookie string, now time.Time) (v session, id Identity, ok bool) {
	if !peek(cookie, &v) || !s.genuine("session", s.secretOf(&v), cookie) || now.Unix() >= v.Expires {
		return v, id, false
	}
	if slices.ContainsFunc(s.Ended, func(e ended) bool { return e.ID == v.ID }) {
		return v, id, false
	}
	if at, ok := s.Revoked[v.By+" "+v.Name]; ok && v.Begun <= at.Unix() {
		return v, id, false
	}
	id = Identity{Name: v.Name, Role: v.Role, Sites: v.Sites}
	switch v.By {
	case byPassword:
		u := s.user(v.Name)
		if u == nil {
			return v, id, false
		}
		id.Role, id.Sites, id.Password = u.Role, u.Sites, true
	case byLink:
		id.Role = Admin // whoever makes links owns the data directory
	case byOIDC:
	default:
		return v, id, false
	}
	return v, id, true
}

// end ends one session.
func (f *Files) end(v session) error {
	return f.update(func(s *state) error {
		now := f.now()
		s.Ended = slices.DeleteFunc(s.Ended, func(e ended) bool { return !now.Before(e.Expires) })
		if len(s.Ended) >= maxEnded {
			s.Ended = s.Ended[1:]
		}
		s.Ended = append(s.Ended, ended{v.ID, time.Unix(v.Expires, 0).UTC()})
		return nil
	})
}

// Revoke ends every session of a user, or of a person of that name who comes by OpenID
// Connect, or with an empty name of everybody who came by a login link.
func (f *Files) Revoke(name string) error {
	return f.update(func(s *state) error {
		now := f.now().UTC().Truncate(time.Second)
		revoked := map[string]time.Time{}
		for k, at := range s.Revoked {
			if now.Sub(at) < sessionLife {
				revoked[k] = at
			}
		}
		if name == "" {
			revoked[byLink+" "] = now
		} else {
			revoked[byPassword+" "+name], revoked[byOIDC+" "+name] = now, now
		}
		s.Revoked = revoked
		return nil
	})
}
