package auth

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type fixture struct {
	files *Files
	guard *Guard
	now   time.Time
	dir   string
	mux   *http.ServeMux
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), dir: t.TempDir()}
	clock := func() time.Time { return f.now }
	var err error
	if f.files, err = Open(f.dir, clock); err != nil {
		t.Fatal(err)
	}
	f.guard, err = NewGuard(Options{
		Files: f.files, Now: clock, Log: slog.New(slog.DiscardHandler),
		LoginPage: func(w http.ResponseWriter, r *http.Request, status int, v LoginView) {
			w.WriteHeader(status)
			io.WriteString(w, "login page: "+v.Error+" next="+v.Next)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.mux = http.NewServeMux()
	f.mux.HandleFunc("/login", f.guard.Login)
	f.mux.HandleFunc("/logout", f.guard.Logout)
	f.mux.Handle("/", f.guard.Require(Stats, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := From(r)
		if !ok {
			t.Error("no identity behind Require")
		}
		io.WriteString(w, "hello "+id.Name)
	})))
	return f
}

func (f *fixture) do(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	f.mux.ServeHTTP(w, r)
	return w.Result()
}

func (f *fixture) get(path string, cookie *http.Cookie) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	return f.do(r)
}

func (f *fixture) login(name, password string) *http.Response {
	r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{
		"name": {name}, "password": {password}, "next": {"/example.org?period=7d"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.do(r)
}

func sessionOf(t *testing.T, r *http.Response) *http.Cookie {
	t.Helper()
	for _, c := range r.Cookies() {
		if c.Name == cookieName {
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
				t.Errorf("cookie %+v is not HttpOnly and SameSite=Lax", c)
			}
			return c
		}
	}
	t.Fatalf("no session in answer %d", r.StatusCode)
	return nil
}

func wantStatus(t *testing.T, r *http.Response, status int) {
	t.Helper()
	if r.StatusCode != status {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("status %d, want %d: %s", r.StatusCode, status, b)
	}
}

func TestPasswordLogin(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "correct horse", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.login("ada", "wrong horse"), http.StatusUnauthorized)
	wantStatus(t, f.login("nobody", "correct horse"), http.StatusUnauthorized)
	r := f.login("ada", "correct horse")
	wantStatus(t, r, http.StatusSeeOther)
	if l := r.Header.Get("Location"); l != "/example.org?period=7d" {
		t.Errorf("sent to %q", l)
	}
	c := sessionOf(t, r)
	wantStatus(t, f.get("/", c), http.StatusOK)

	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"password", func() error { return f.files.SetPassword("ada", "another horse") }},
		{"removal", func() error { return f.files.RemoveUser("ada") }},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if r := f.get("/", c); r.StatusCode != http.StatusSeeOther {
			t.Errorf("after a change of %s the session still gives %d", change.name, r.StatusCode)
		}
	}
}

func TestSessionCannotBeForgedOrOutlived(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "correct horse", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	c := sessionOf(t, f.login("ada", "correct horse"))
	for i := range c.Value {
		forged := *c
		flip := byte('A')
		if c.Value[i] == flip {
			flip = 'B'
		}
		forged.Value = c.Value[:i] + string(flip) + c.Value[i+1:]
		// The last character of a base64 part holds spare bits, which decode to the same bytes.
		if s, _ := f.files.current(); i < len(c.Value)-1 {
			if _, _, ok := s.session(forged.Value, f.now); ok {
				t.Fatalf("changed at %d the session is still good", i)
			}
		}
	}
	f.now = f.now.Add(sessionLife)
	wantStatus(t, f.get("/", c), http.StatusSeeOther)
}

func TestOneTimeLink(t *testing.T) {
	f := setup(t)
	secret, err := f.files.NewLink()
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.do(httptest.NewRequest("HEAD", "/login?token="+secret, nil)), http.StatusOK) // does not use it up
	r := f.get("/login?token="+secret, nil)
	wantStatus(t, r, http.StatusSeeOther)
	c := sessionOf(t, r)
	wantStatus(t, f.get("/", c), http.StatusOK)
	wantStatus(t, f.get("/login?token="+secret, nil), http.StatusForbidden)
	f.now = f.now.Add(linkSessionLife)
	wantStatus(t, f.get("/", c), http.StatusSeeOther)

	late, err := f.files.NewLink()
	if err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(linkLife + time.Second)
	wantStatus(t, f.get("/login?token="+late, nil), http.StatusForbidden)
}

func TestToken(t *testing.T) {
	f := setup(t)
	token, err := f.files.AddToken("grafana", []string{"example.org"}, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(header string) *http.Response {
		r := httptest.NewRequest("GET", "/api/x", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		return f.do(r)
	}
	wantStatus(t, ask(""), http.StatusUnauthorized)
	wantStatus(t, ask("Bearer nonsense"), http.StatusUnauthorized)
	wantStatus(t, ask("Basic "+token), http.StatusUnauthorized)
	wantStatus(t, ask("Bearer "+token), http.StatusOK)
	wantStatus(t, ask("bearer "+token), http.StatusOK)
	if _, err := f.files.AddToken("grafana", nil, nil, time.Time{}); !errors.Is(err, ErrExists) {
		t.Errorf("a second token of one name: %v", err)
	}

	// Another process removes the token: it ends at once.
	other, err := Open(f.dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RemoveToken("grafana"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, ask("Bearer "+token), http.StatusUnauthorized)

	b, err := os.ReadFile(filepath.Join(f.dir, "staff.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), token[3:]) {
		t.Error("the file holds a token in clear")
	}
	if fi, _ := os.Stat(filepath.Join(f.dir, "staff.json")); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

func TestGuessesAreLimited(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "correct horse", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	for range loginBurst {
		wantStatus(t, f.login("ada", "wrong horse"), http.StatusUnauthorized)
	}
	wantStatus(t, f.login("ada", "correct horse"), http.StatusTooManyRequests)
	f.now = f.now.Add(loginEvery)
	wantStatus(t, f.login("ada", "correct horse"), http.StatusSeeOther)
}

// Behind a trusted proxy one guesser does not lock out the others; a header of a stranger's
// own, or one more address of the same IPv6 network, is no fresh budget.
func TestGuessesAreCountedByClient(t *testing.T) {
	f := setup(t)
	f.guard.Trusted = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	for _, c := range []struct{ remote, forwarded, want string }{
		{"127.0.0.1:9", "", "127.0.0.1"},
		{"127.0.0.1:9", "203.0.113.5", "203.0.113.5"},
		{"127.0.0.1:9", "198.51.100.1, 203.0.113.5", "203.0.113.5"},
		{"127.0.0.1:9", "203.0.113.5, 127.0.0.2", "203.0.113.5"},
		{"127.0.0.1:9", "203.0.113.5, rubbish", "127.0.0.1"},
		{"203.0.113.9:9", "198.51.100.1", "203.0.113.9"},
		{"[2001:db8::1]:9", "", "2001:db8::/64"},
		{"[::ffff:203.0.113.9]:9", "", "203.0.113.9"},
	} {
		r := httptest.NewRequest("POST", "/login", nil)
		r.RemoteAddr = c.remote
		r.Header.Set("X-Forwarded-For", c.forwarded)
		if got := f.guard.client(r); got != c.want {
			t.Errorf("from %s for %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for in, want := range map[string]string{
		"/example.org?period=7d": "/example.org?period=7d",
		"":                       "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/",
		"javascript:alert(1)": "/", "evil": "/", "/login?next=/": "/", "/\t/evil.example": "/",
	} {
		if got := localPath(in); got != want {
			t.Errorf("localPath(%q) = %q, want %q", in, got, want)
		}
	}
}

// A start on a full disk needs no room for what is there already.
func TestOpenWritesOnlyWhatIsMissing(t *testing.T) {
	f := setup(t)
	path := filepath.Join(f.dir, "staff.json")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f.dir, time.Now); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced (%v)", err)
	}
}

func TestBadInput(t *testing.T) {
	f := setup(t)
	for _, err := range []error{
		f.files.AddUser("", "correct horse", Viewer, nil), f.files.AddUser("a\nb", "correct horse", Viewer, nil),
		f.files.AddUser("bob", "short", Viewer, nil), f.files.AddUser("bob", strings.Repeat("x", 2000), Viewer, nil),
		f.files.SetPassword("nobody", "correct horse"), f.files.RemoveUser("nobody"), f.files.RemoveToken("nothing"),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, "staff.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f.dir, time.Now); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

// Over https, to us or to a proxy in front, the session is never sent in the clear.
func TestCookieIsSecureOverTLS(t *testing.T) {
	f := setup(t)
	if err := f.files.AddUser("ada", "a long password", Viewer, nil); err != nil {
		t.Fatal(err)
	}
	for proto, want := range map[string]bool{"": false, "http": false, "https": true, "HTTPS, http": true} {
		r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"name": {"ada"}, "password": {"a long password"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-Proto", proto)
		res := f.do(r)
		if c := res.Cookies(); len(c) != 1 || c[0].Secure != want || !c[0].HttpOnly {
			t.Errorf("%q: %v, want Secure %v", proto, c, want)
		}
	}
}
