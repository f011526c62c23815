package auth

import (
	"encoding/base64"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/kantarainitiative/footfall/policy"
)

// LoginView is what the login page shows.
type LoginView struct {
	Next  string // where to go afterwards: a path on this listener
	Name  string // as typed
	Error string // "" at first

	// Pending is not empty once the password was right and the code of a second factor is
	// wanted: the page posts it back with the field "code".
	Pending string

	// SSO is the name of the OpenID provider on the page's button, "" for none.
	SSO string
}

// pending is a login whose password was right and whose code is still wanted.
type pending struct {
	Name    string `json:"n"`
	Expires int64  `json:"e"`
}

const (
	pendingLife = 5 * time.Minute

	// Failures of one account, whoever guesses: a second factor has a million values.
	accountEvery = 30 * time.Second
	accountBurst = 20
)

// Login is the handler of /login: the page, the forms it posts, and one-time links.
func (g *Guard) Login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // a link's secret stays here
	switch r.Method {
	case http.MethodGet:
		if secret := r.URL.Query().Get("token"); secret != "" {
			g.loginByLink(w, r, secret)
			return
		}
		g.page(w, r, http.StatusOK, LoginView{Next: localPath(r.URL.Query().Get("next"))})
	case http.MethodHead:
		w.WriteHeader(http.StatusOK)
	case http.MethodPost:
		g.loginByForm(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// page draws the login page.
func (g *Guard) page(w http.ResponseWriter, r *http.Request, status int, v LoginView) {
	if g.OIDC != nil {
		if o := g.OIDC(); o != nil {
			v.SSO = o.Label
		}
	}
	g.LoginPage(w, r, status, v)
}

func (g *Guard) loginByLink(w http.ResponseWriter, r *http.Request, secret string) {
	v := LoginView{Next: localPath(r.URL.Query().Get("next"))}
	if !g.mayTry(w, r, v) {
		return
	}
	ok, err := g.Files.takeLink(secret)
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	if !ok {
		v.Error = "This login link was used already or is too old. Make a new one with: footfall user link"
		g.page(w, r, http.StatusForbidden, v)
		return
	}
	g.start(w, r, session{By: byLink}, linkSessionLife, v)
}

// mayTry takes one step of the client's budget, or answers.
func (g *Guard) mayTry(w http.ResponseWriter, r *http.Request, v LoginView) bool {
	if g.allow("login", g.client(r), rate.Every(loginEvery), loginBurst) {
		return true
	}
	g.tooMany(w, r, v)
	return false
}

func (g *Guard) tooMany(w http.ResponseWriter, r *http.Request, v LoginView) {
	w.Header().Set("Retry-After", "10")
	v.Error = "Too many attempts. Wait a moment and try again."
	g.page(w, r, http.StatusTooManyRequests, v)
}

func (g *Guard) loginByForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		g.page(w, r, http.StatusBadRequest, LoginView{Next: "/", Error: "The form could not be read."})
		return
	}
	v := LoginView{Next: localPath(r.PostForm.Get("next")), Name: r.PostForm.Get("name")}
	if !g.mayTry(w, r, v) {
		return
	}
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	if sealed := r.PostForm.Get("pending"); sealed != "" {
		g.loginByCode(w, r, &s, sealed, v)
		return
	}
	u, hash := s.user(v.Name), g.decoy // the same work, so that time does not tell who has an account
	if u != nil {
		hash = u.Hash
	}
	// The account's budget is spent by failures only, and asked first: a right guess does not help then.
	locked := u != nil && !g.may("account", v.Name, rate.Every(accountEvery), accountBurst)
	if right := checkPassword(hash, r.PostForm.Get("password")); !right || u == nil || locked {
		g.failed(u, v.Name, "password")
		v.Error = "Wrong name or password."
		g.page(w, r, http.StatusUnauthorized, v)
		return
	}
	if u.TOTP != nil {
		v.Pending = s.seal("pending", u.Hash, pending{u.Name, g.Now().Add(pendingLife).Unix()})
		g.page(w, r, http.StatusOK, v)
		return
	}
	g.start(w, r, session{By: byPassword, Name: u.Name}, sessionLife, v)
}

// Check tells whether a password is the user's, for what takes more than a session. Guesses are
// counted with those of the login.
func (g *Guard) Check(name, password string) (bool, error) {
	s, err := g.Files.current()
	if err != nil {
		return false, err
	}
	u := s.user(name)
	if u == nil || !g.may("account", name, rate.Every(accountEvery), accountBurst) {
		return false, nil
	}
	if checkPassword(u.Hash, password) {
		return true, nil
	}
	g.failed(u, name, "password")
	return false, nil
}

// loginByCode takes the code of somebody whose password was right.
func (g *Guard) loginByCode(w http.ResponseWriter, r *http.Request, s *state, sealed string, v LoginView) {
	var p pending
	ok := peek(sealed, &p)
	u := s.user(p.Name)
	if !ok || u == nil || !s.genuine("pending", u.Hash, sealed) || g.Now().Unix() >= p.Expires {
		v.Error = "That took too long. Begin again."
		g.page(w, r, http.StatusUnauthorized, v)
		return
	}
	v.Name = u.Name
	if !g.may("account", u.Name, rate.Every(accountEvery), accountBurst) {
		g.tooMany(w, r, v)
		return
	}
	ok, err := g.Files.takeCode(u.Name, r.PostForm.Get("code"))
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	if !ok {
		g.failed(u, u.Name, "code")
		v.Pending, v.Error = sealed, "That code is not right, or was used already. Wait for the next one."
		g.page(w, r, http.StatusUnauthorized, v)
		return
	}
	g.start(w, r, session{By: byPassword, Name: u.Name}, sessionLife, v)
}

// failed notes a failure for somebody who is staff; other names are whatever strangers type.
func (g *Guard) failed(u *User, name, what string) {
	if u == nil {
		return
	}
	g.allow("account", name, rate.Every(accountEvery), accountBurst)
	g.note(name, policy.AuditRefused, "", "wrong", what)
}

func (g *Guard) start(w http.ResponseWriter, r *http.Request, v session, life time.Duration, view LoginView) {
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, view, err)
		return
	}
	v.ID = base64.RawURLEncoding.EncodeToString(randomBytes(12))
	v.Begun, v.Expires = g.Now().Unix(), g.Now().Add(life).Unix()
	if at, ok := s.Revoked[v.By+" "+v.Name]; ok && v.Begun <= at.Unix() {
		v.Begun = at.Unix() + 1 // within the second of the revocation
	}
	g.note(Identity{Name: v.Name}.String(), policy.AuditLogin, "", "by", v.By)
	g.setCookie(w, r, s.newSession(v), life)
	http.Redirect(w, r, view.Next, http.StatusSeeOther)
}

func (g *Guard) fail(w http.ResponseWriter, r *http.Request, v LoginView, err error) {
	g.Log.Error("staff file", "error", err)
	v.Error = "The staff file cannot be read or written; the server's log says why."
	g.page(w, r, http.StatusInternalServerError, v)
}

// Logout is the handler of POST /logout. It ends the session, and with the field "everywhere"
// every other one of the same person.
func (g *Guard) Logout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if err := g.endSession(r); err != nil {
		g.fail(w, r, LoginView{Next: "/"}, err)
		return
	}
	g.setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (g *Guard) endSession(r *http.Request) error {
	s, err := g.Files.current()
	if err != nil {
		return err
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	v, _, ok := s.session(c.Value, g.Now())
	if !ok {
		return nil
	}
	if r.PostFormValue("everywhere") != "" {
		return g.Files.Revoke(v.Name)
	}
	return g.Files.end(v)
}
