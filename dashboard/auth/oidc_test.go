package auth

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// provider starts a real OpenID provider (npm's oidc-provider, which is certified).
func provider(t *testing.T, redirect string, groups map[string][]string) (issuer string) {
	t.Helper()
	args, err := json.Marshal(map[string]any{"groups": groups, "redirect": redirect})
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../../package.json")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "testdata/provider.mjs", root, string(args))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the OpenID provider does not start (npm ci installs it): %v\n%s", err, said.String())
	}
	go io.Copy(io.Discard, stdout)
	return strings.TrimSpace(line)
}

// browser is a client with cookies that fills in the provider's forms.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, Timeout: 20 * time.Second}}
}

var formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)

// signIn presses the button of the login page and logs in at the provider as name; it returns where that
// ended.
func (b *browser) signIn(start, name string) (*http.Response, string) {
	b.t.Helper()
	res, err := b.Get(start)
	for range 4 {
		if err != nil {
			b.t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		m := formAction.FindSubmatch(body)
		if m == nil || !strings.Contains(res.Request.URL.Path, "/interaction/") {
			return res, string(body)
		}
		prompt := "consent"
		if strings.Contains(string(body), `name="login"`) {
			prompt = "login"
		}
		res, err = b.PostForm(string(m[1]), url.Values{"prompt": {prompt}, "login": {name}, "password": {"any"}})
	}
	b.t.Fatal("the provider asks without end")
	return nil, ""
}

func TestOpenIDConnect(t *testing.T) {
	f := setup(t)
	f.now = time.Now() // the provider's clock
	f.guard.Now = func() time.Time { return f.now }
	f.files.now = f.guard.Now
	var noted []string
	f.guard.Note = func(actor, action, object string, pairs ...string) {
		noted = append(noted, actor+" "+action+" "+strings.Join(pairs, " "))
	}
	f.mux.HandleFunc("/login/", f.guard.LoginOIDC)
	srv := httptest.NewServer(f.mux)
	defer srv.Close()
	issuer := provider(t, srv.URL+"/login/oidc/back", map[string][]string{
		"ada": {"ops", "staff"}, "dora": {"dpo"}, "vera": {"staff", "shop"}, "nora": {"others"}, "eve": {"*"},
	})
	o := NewOIDC(OIDCConfig{
		Issuer: issuer, ClientID: "footfall", ClientSecret: "a secret",
		Roles: map[Role][]string{Viewer: {"staff"}, Officer: {"dpo"}, Admin: {"ops"}},
		Sites: map[string][]string{"shop": {"shop.example"}, "dpo": {"example.org", "shop.example"}},
	})
	f.guard.OIDC = func() *OIDC { return o }

	for name, want := range map[string]Identity{
		"ada":  {Name: "ada", Role: Admin},
		"dora": {Name: "dora", Role: Officer, Sites: []string{"example.org", "shop.example"}},
		"vera": {Name: "vera", Role: Viewer, Sites: []string{"shop.example"}},
		"nora": {}, "eve": {}, "zoe": {},
	} {
		f.now = f.now.Add(2 * loginEvery) // the client's budget of attempts
		b := newBrowser(t)
		res, body := b.signIn(srv.URL+"/login/oidc?next=/example.org", name)
		if want.Name == "" {
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "groups") {
				t.Errorf("%s: %d %s", name, res.StatusCode, body)
			}
			continue
		}
		if res.StatusCode != http.StatusOK || body != "hello "+name || res.Request.URL.Path != "/example.org" {
			t.Fatalf("%s: %d at %s: %s", name, res.StatusCode, res.Request.URL, body)
		}
		r := httptest.NewRequest("GET", srv.URL, nil)
		for _, c := range b.Jar.Cookies(r.URL) {
			r.AddCookie(c)
		}
		id, status := f.guard.identify(r)
		if status != http.StatusOK || id.Name != want.Name || id.Role != want.Role || !slices.Equal(id.Sites, want.Sites) {
			t.Errorf("%s is %+v, want %+v", name, id, want)
		}
		if !slices.Contains(noted, name+" login by oidc") {
			t.Errorf("%s: noted is %q", name, noted)
		}
		// Ended from here, though the provider would let them in again.
		if err := f.files.Revoke(name); err != nil {
			t.Fatal(err)
		}
		if _, status := f.guard.identify(r); status != http.StatusUnauthorized {
			t.Errorf("%s after the end of the sessions: %d", name, status)
		}
	}

	// A way back that this browser has not begun, or not with this state, gives nothing.
	for _, path := range []string{"/login/oidc/back", "/login/oidc/back?state=x&code=y"} {
		if res := f.get(path, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies()) != 0 {
			t.Errorf("%s: %d, %v", path, res.StatusCode, res.Cookies())
		}
	}
	f.guard.OIDC = func() *OIDC { return nil }
	wantStatus(t, f.get("/login/oidc", nil), http.StatusNotFound)
}

// A provider that is down is said so, and is asked again at the next login.
func TestOpenIDProviderDown(t *testing.T) {
	f := setup(t)
	f.mux.HandleFunc("/login/", f.guard.LoginOIDC)
	o := NewOIDC(OIDCConfig{Issuer: "http://127.0.0.1:1", ClientID: "footfall", Roles: map[Role][]string{Viewer: {"*"}}})
	f.guard.OIDC = func() *OIDC { return o }
	for range 2 {
		r := f.get("/login/oidc", nil)
		wantStatus(t, r, http.StatusForbidden)
		if b, _ := io.ReadAll(r.Body); !strings.Contains(string(b), "OpenID provider") {
			t.Errorf("it says %s", b)
		}
	}
}
