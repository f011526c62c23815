package auth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

func TestRolesAndScopes(t *testing.T) {
	all := []Right{Stats, Metrics, Privacy, Staff}
	for _, c := range []struct {
		id   Identity
		want string // of all, + or -
	}{
		{Identity{}, "++--"}, // of a file older than roles
		{Identity{Role: Viewer}, "++--"},
		{Identity{Role: Officer}, "+++-"},
		{Identity{Role: Admin}, "++++"},
		{Identity{Role: "root"}, "++--"},
		{Identity{Token: true}, "++--"},
		{Identity{Token: true, Role: Admin}, "++--"},
		{Identity{Token: true, Scopes: []string{"stats"}}, "+---"},
		{Identity{Token: true, Scopes: []string{"metrics"}}, "-+--"},
		{Identity{Token: true, Sites: []string{"a"}}, "+---"},
	} {
		for i, right := range all {
			if got := c.id.May(right); got != (c.want[i] == '+') {
				t.Errorf("%+v may %d: %v", c.id, right, got)
			}
		}
	}
}

func TestGrantActsAtOnce(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "correct horse", Viewer, []string{"example.org"}); err != nil {
		t.Fatal(err)
	}
	f.mux.Handle("/staff", f.guard.Require(Staff, http.NotFoundHandler()))
	c := sessionOf(t, f.login("ada", "correct horse"))
	wantStatus(t, f.get("/staff", c), http.StatusForbidden)
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	if id, _ := f.guard.identify(r); !id.MaySee("example.org") || id.MaySee("example.net") {
		t.Errorf("%+v", id)
	}
	if err := f.files.Grant("ada", Admin, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.get("/staff", c), http.StatusNotFound) // let through
	if id, _ := f.guard.identify(r); !id.MaySee("example.net") {
		t.Errorf("%+v", id)
	}
}

func TestTokensExpire(t *testing.T) {
	f := setup(t)
	token, err := f.files.AddToken("grafana", nil, nil, f.now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var noted int
	f.guard.Note = func(actor, action, _ string, _ ...string) {
		if actor == "token grafana" && action == "token used" {
			noted++
		}
	}
	ask := func() int {
		r := httptest.NewRequest("GET", "/api/x", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return f.do(r).StatusCode
	}
	for range 3 {
		if got := ask(); got != http.StatusOK {
			t.Fatalf("status %d", got)
		}
	}
	if noted != 1 {
		t.Errorf("noted %d times in an hour", noted)
	}
	f.now = f.now.Add(time.Hour)
	if got := ask(); got != http.StatusUnauthorized {
		t.Errorf("after its time: %d", got)
	}
}

func TestSigningOut(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "correct horse", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	out := func(c *http.Cookie, form string) {
		t.Helper()
		r := httptest.NewRequest("POST", "/logout", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(c)
		wantStatus(t, f.do(r), http.StatusSeeOther)
	}
	one, two := sessionOf(t, f.login("ada", "correct horse")), sessionOf(t, f.login("ada", "correct horse"))
	out(one, "")
	wantStatus(t, f.get("/", one), http.StatusSeeOther) // a kept cookie is no use
	wantStatus(t, f.get("/", two), http.StatusOK)
	three := sessionOf(t, f.login("ada", "correct horse"))
	out(two, "everywhere=1")
	wantStatus(t, f.get("/", three), http.StatusSeeOther)
	four := sessionOf(t, f.login("ada", "correct horse")) // within the same second
	wantStatus(t, f.get("/", four), http.StatusOK)

	secret, err := f.files.NewLink()
	if err != nil {
		t.Fatal(err)
	}
	link := sessionOf(t, f.get("/login?token="+secret, nil))
	if err := f.files.Revoke(""); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.get("/", link), http.StatusSeeOther)
	wantStatus(t, f.get("/", four), http.StatusOK)

	// What is kept of ended sessions does not grow for ever.
	f.now = f.now.Add(sessionLife)
	out(sessionOf(t, f.login("ada", "correct horse")), "")
	b, err := os.ReadFile(filepath.Join(f.dir, "staff.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil || len(s.Ended) != 1 {
		t.Errorf("%d ended sessions are kept (%v)", len(s.Ended), err)
	}
}

func TestSecondFactor(t *testing.T) {
	f := setup(t)
	var page LoginView
	f.guard.LoginPage = func(w http.ResponseWriter, _ *http.Request, status int, v LoginView) {
		page = v
		w.WriteHeader(status)
	}
	if err := f.files.AddUser("ada", "correct horse", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	key, err := NewSecond("ada")
	if err != nil {
		t.Fatal(err)
	}
	code := func() string {
		c, err := totp.GenerateCode(key.Secret(), f.now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := f.files.SetSecond("ada", key.Secret(), "000000x"); err == nil {
		t.Error("a second factor that the app has not")
	}
	if err := f.files.SetSecond("ada", key.Secret(), code()); err != nil {
		t.Fatal(err)
	}
	answer := func(pending, code string) *http.Response {
		r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"pending": {pending}, "code": {code}, "next": {"/"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return f.do(r)
	}
	begin := func() string {
		t.Helper()
		f.now = f.now.Add(time.Minute)
		r := f.login("ada", "correct horse")
		wantStatus(t, r, http.StatusOK)
		if len(r.Cookies()) != 0 || page.Pending == "" {
			t.Fatal("the password alone gives a session")
		}
		return page.Pending
	}
	p := begin()
	wantStatus(t, answer(p, "123"), http.StatusUnauthorized)
	wantStatus(t, answer(p+"x", code()), http.StatusUnauthorized)
	used := code()
	r := answer(p, " "+used[:3]+" "+used[3:])
	wantStatus(t, r, http.StatusSeeOther)
	wantStatus(t, f.get("/", sessionOf(t, r)), http.StatusOK)
	wantStatus(t, answer(p, used), http.StatusUnauthorized) // no code is good twice

	p = begin()
	f.now = f.now.Add(pendingLife)
	wantStatus(t, answer(p, code()), http.StatusUnauthorized)

	// A million codes cannot be tried, from however many addresses.
	p = begin()
	for i := range accountBurst + 1 {
		f.now = f.now.Add(loginEvery) // the client's own budget
		answer(p, "12345"+string(rune('a'+i)))
	}
	wantStatus(t, answer(p, code()), http.StatusTooManyRequests)
	f.now = f.now.Add(time.Hour)
	p = begin()
	wantStatus(t, answer(p, code()), http.StatusSeeOther)

	if err := f.files.SetSecond("ada", "", ""); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.login("ada", "correct horse"), http.StatusSeeOther)
	users, err := f.files.Users()
	if err != nil || len(users) != 1 || users[0].TOTP != nil || users[0].Hash != "" {
		t.Errorf("%+v, %v", users, err)
	}
}

func TestLoginByProxy(t *testing.T) {
	f := setup(t)
	f.guard.Proxy = func() *ProxyLogin {
		return &ProxyLogin{Header: "X-Remote-User", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Role: Officer, Sites: []string{"example.org"}}
	}
	for _, c := range []struct {
		remote string
		header []string
		want   int
	}{
		{"127.0.0.1:9", []string{"ada"}, http.StatusOK},
		{"[::ffff:127.0.0.1]:9", []string{"ada"}, http.StatusOK},
		{"127.0.0.1:9", nil, http.StatusUnauthorized},
		{"127.0.0.1:9", []string{""}, http.StatusUnauthorized},
		{"127.0.0.1:9", []string{"a\x00b"}, http.StatusUnauthorized},
		{"127.0.0.1:9", []string{"eve", "ada"}, http.StatusUnauthorized},
		{"203.0.113.5:9", []string{"ada"}, http.StatusUnauthorized},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, h := range c.header {
			r.Header.Add("X-Remote-User", h)
		}
		id, status := f.guard.identify(r)
		if status != c.want {
			t.Errorf("from %s as %q: %d, want %d", c.remote, c.header, status, c.want)
		}
		if status == http.StatusOK && (id.Name != "ada" || id.Role != Officer || id.MaySee("example.net")) {
			t.Errorf("%+v", id)
		}
	}
}
