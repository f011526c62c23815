package dashboard

import (
	"errors"
	"fmt"
	"image"
	"net/http"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/policy"
)

// accountPage is what somebody may change of their own access.
type accountPage struct {
	frame
	Role   string
	Sites  string
	Known  bool // has a password here; others come by a link, a provider or a proxy
	Second bool // has a second factor
	Said   string
	Error  string
	Setup  string // a secret that is not in force yet
	QR     string // it as a QR code: the path of an SVG of QRSize by QRSize
	QRSize int
}

// roleWords are what the pages call roles.
func roleWords(r auth.Role) string {
	switch r {
	case auth.Officer:
		return "Privacy officer"
	case auth.Admin:
		return "Admin"
	}
	return "Viewer"
}

func siteWords(sites []string) string {
	if len(sites) == 0 {
		return "Every site"
	}
	return strings.Join(sites, ", ")
}

// me is the user who asks, nil for somebody who has no password here.
func (h *handler) me(r *http.Request) (*auth.User, error) {
	id, _ := auth.From(r)
	users, err := h.o.Staff.Users()
	if err != nil {
		return nil, err
	}
	for i := range users {
		if users[i].Name == id.Name && !id.Token && id.Password {
			return &users[i], nil
		}
	}
	return nil, nil
}

// account draws GET /-/account and takes its forms.
func (h *handler) account(w http.ResponseWriter, r *http.Request) {
	user, err := h.me(r)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	id, _ := auth.From(r)
	p := accountPage{frame: h.frame(r, "Your account"), Role: roleWords(id.Role), Sites: siteWords(id.Sites), Known: user != nil}
	status := http.StatusOK
	if r.Method == http.MethodPost && user != nil {
		p.Said, err = h.changeAccount(w, r, user.Name, &p)
		if err != nil {
			p.Error, status = sentence(err.Error()), http.StatusBadRequest
		}
		if user, err = h.me(r); err != nil {
			h.failed(w, r, err)
			return
		}
	}
	p.Second = user != nil && user.TOTP != nil
	h.render(w, r, status, "account", p)
}

// changeAccount does what a form asks and says what was done.
func (h *handler) changeAccount(w http.ResponseWriter, r *http.Request, name string, p *accountPage) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return "", errors.New("the form could not be read")
	}
	f := r.PostForm
	note := func(what string) { h.note(r, policy.AuditStaff, "user "+name, "what", what) }
	// What takes access away needs no password; what somebody at an unlocked screen could use to stay does.
	if what := f.Get("do"); what != "setup" {
		if ok, err := h.o.CheckPassword(name, f.Get("current")); err != nil || !ok {
			p.Setup = ""
			return "", cmpErr(err, "that is not your password")
		}
	}
	switch f.Get("do") {
	case "password":
		if f.Get("new") != f.Get("again") {
			return "", errors.New("the new password was typed in two ways")
		}
		if err := h.o.Staff.SetPassword(name, f.Get("new")); err != nil {
			return "", err
		}
		note("password set")
		return "The password is changed. Sign in again with the new one: every session has ended.", nil
	case "setup":
		key, err := auth.NewSecond(name)
		if err != nil {
			return "", err
		}
		code, err := qr.Encode(key.URL(), qr.M, qr.Auto)
		if err != nil {
			return "", err
		}
		p.Setup, p.QRSize, p.QR = key.Secret(), code.Bounds().Dx()+8, modules(code)
		return "", nil
	case "second":
		if err := h.o.Staff.SetSecond(name, f.Get("secret"), f.Get("code")); err != nil {
			return "", err
		}
		note("second factor set")
		return "From now on signing in takes a code of your app too.", nil
	case "nosecond":
		if err := h.o.Staff.SetSecond(name, "", ""); err != nil {
			return "", err
		}
		note("second factor removed")
		return "Your password alone signs you in again.", nil
	}
	return "", errors.New("there is no such form")
}

// modules draws the dark squares of a QR code, four squares from the border (ISO/IEC 18004's
// quiet zone). It is a drawing in the page, since the pages' policy allows no other picture.
func modules(code image.Image) string {
	var b strings.Builder
	r := code.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if lum, _, _, _ := code.At(x, y).RGBA(); lum < 0x8000 {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x-r.Min.X+4, y-r.Min.Y+4)
			}
		}
	}
	return b.String()
}

func cmpErr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// note writes to the audit log who did something.
func (h *handler) note(r *http.Request, action, object string, pairs ...string) {
	if h.o.Note != nil {
		id, _ := auth.From(r)
		h.o.Note(id.String(), action, object, pairs...)
	}
}

// staffPage is who may see what.
type staffPage struct {
	frame
	Users  []staffUser
	Tokens []staffToken
	Roles  []choice
	Said   string
	Error  string
}

type staffUser struct {
	Name, Role, Sites, Since string
	Roles                    []choice
	Second                   bool
}

type staffToken struct{ Name, Sites, Scopes, Since, Until string }

type choice struct {
	Value, Label string
	Selected     bool
}

func roleChoices(now auth.Role) (out []choice) {
	for _, r := range auth.Roles {
		out = append(out, choice{string(r), roleWords(r), r == now})
	}
	return out
}

// staff draws GET /-/staff and takes its forms.
func (h *handler) staff(w http.ResponseWriter, r *http.Request) {
	p := staffPage{frame: h.frame(r, "Staff")}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		var err error
		if p.Said, err = h.changeStaff(w, r); err != nil {
			p.Error, status = sentence(err.Error()), http.StatusBadRequest
		}
	}
	users, err := h.o.Staff.Users()
	if err != nil {
		h.failed(w, r, err)
		return
	}
	tokens, err := h.o.Staff.Tokens()
	if err != nil {
		h.failed(w, r, err)
		return
	}
	for _, u := range users {
		p.Users = append(p.Users, staffUser{Name: u.Name, Role: roleWords(u.Role), Sites: siteWords(u.Sites),
			Since: u.Created.Format(time.DateOnly), Roles: roleChoices(u.Role), Second: u.TOTP != nil})
	}
	for _, t := range tokens {
		x := staffToken{Name: t.Name, Sites: siteWords(t.Sites), Scopes: "Stats, metrics", Since: t.Created.Format(time.DateOnly), Until: "For ever"}
		if len(t.Scopes) > 0 {
			x.Scopes = strings.Join(t.Scopes, ", ")
		}
		if !t.Expires.IsZero() {
			x.Until = t.Expires.Format(time.DateOnly)
		}
		p.Tokens = append(p.Tokens, x)
	}
	p.Roles = roleChoices(auth.Viewer)
	h.render(w, r, status, "staff", p)
}

// changeStaff does what a form of the staff page asks.
func (h *handler) changeStaff(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return "", errors.New("the form could not be read")
	}
	name := r.PostForm.Get("name")
	id, _ := auth.From(r)
	self := id.Password && id.Name == name
	note := func(object, what string, pairs ...string) {
		h.note(r, policy.AuditStaff, object, append([]string{"what", what}, pairs...)...)
	}
	switch r.PostForm.Get("do") {
	case "role":
		role, err := auth.ParseRole(r.PostForm.Get("role"))
		if err != nil {
			return "", err
		}
		if self && role != auth.Admin {
			return "", errors.New("you cannot take your own role away: another admin can")
		}
		if err := h.o.Staff.SetRole(name, role); err != nil {
			return "", err
		}
		note("user "+name, "granted", "role", string(role))
		return name + " is " + strings.ToLower(roleWords(role)) + " now.", nil
	case "revoke":
		if err := h.o.Staff.Revoke(name); err != nil {
			return "", err
		}
		if name == "" {
			note("login link", "sessions ended")
			return "Everybody who came by a login link is signed out.", nil
		}
		note("user "+name, "sessions ended")
		return name + " is signed out everywhere.", nil
	case "remove":
		if self {
			return "", errors.New("you cannot remove yourself: another admin can")
		}
		if err := h.o.Staff.RemoveUser(name); err != nil {
			return "", err
		}
		note("user "+name, "removed")
		return name + " is removed.", nil
	case "untoken":
		if err := h.o.Staff.RemoveToken(name); err != nil {
			return "", err
		}
		note("token "+name, "removed")
		return "The token " + name + " is void.", nil
	}
	return "", errors.New("there is no such form")
}
