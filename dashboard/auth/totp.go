package auth

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// Second is a user's second factor: time-based one-time passwords (RFC 6238) of six digits, SHA-1 and
// 30 seconds, which is what every authenticator app can do.
type Second struct {
	Secret string `json:"secret"` // base32
	Step   int64  `json:"step"`   // of the newest code that was used: none is good twice
}

const (
	totpPeriod = 30 // seconds
	totpSkew   = 1  // periods that a phone's clock may be off
)

// NewSecond makes a second factor for a user and returns its secret and the otpauth address
// that authenticator apps read, as a QR code too. It is in force once [Files.SetSecond] took it.
func NewSecond(user string) (key *otp.Key, err error) {
	key, err = totp.Generate(totp.GenerateOpts{Issuer: "Footfall", AccountName: user, Period: totpPeriod})
	if err != nil {
		return nil, fmt.Errorf("second factor: %w", err)
	}
	return key, nil
}

// SetSecond puts a second factor in force, once code shows that the user's app has it. With an
// empty secret there is none any more.
func (f *Files) SetSecond(name, secret, code string) error {
	return f.update(func(s *state) error {
		u := s.user(name)
		if u == nil {
			return fmt.Errorf("user %q: %w", name, ErrNotFound)
		}
		if secret == "" {
			u.TOTP = nil
			return nil
		}
		second := &Second{Secret: secret}
		if !second.take(code, f.now()) {
			return fmt.Errorf("that code is not the app's: look at its clock, and try the next one")
		}
		u.TOTP = second
		return nil
	})
}

// takeCode tells whether a code is good now, and uses it up.
func (f *Files) takeCode(name, code string) (ok bool, err error) {
	err = f.update(func(s *state) error {
		u := s.user(name)
		if u == nil || u.TOTP == nil {
			return nil
		}
		second := *u.TOTP
		if ok = second.take(code, f.now()); ok {
			u.TOTP = &second
		}
		return nil
	})
	return ok, err
}

// take tells whether code is good now and newer than the newest one used.
func (s *Second) take(code string, now time.Time) bool {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	step := now.Unix() / totpPeriod
	for d := int64(-totpSkew); d <= totpSkew; d++ {
		if step+d <= s.Step {
			continue
		}
		want, err := totp.GenerateCode(s.Secret, time.Unix((step+d)*totpPeriod, 0))
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			s.Step = step + d
			return true
		}
	}
	return false
}
