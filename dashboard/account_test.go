package dashboard

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/policy"
)

// staffed is a dashboard with real users, over a fake store.
type staffed struct {
	*testing.T
	files *auth.Files
	audit *policy.Audit
	dir   string
	srv   *httptest.Server
}

func (s *staffed) Audit(_ context.Context, action string, skip, limit int) (out []policy.AuditEntry, all int, head policy.AuditHead, err error) {
	r, err := policy.VerifyAudit(s.dir, head, func(e policy.AuditEntry) bool {
		if action == "" || e.Action == action {
			out = append([]policy.AuditEntry{e}, out...)
		}
		return true
	})
	all = len(out)
	out = out[min(skip, all):]
	return out[:min(limit, len(out))], all, r.Head, err
}

func newStaffed(t *testing.T) *staffed {
	t.Helper()
	s := &staffed{T: t, dir: t.TempDir()}
	var err error
	if s.files, err = auth.Open(s.dir, time.Now); err != nil {
		t.Fatal(err)
	}
	s.audit = policy.NewAudit(s.dir, time.Now)
	note := func(actor, action, object string, pairs ...string) {
		if err := s.audit.Append(actor, action, object, pairs...); err != nil {
			t.Error(err)
		}
	}
	loginPage, err := LoginPage()
	if err != nil {
		t.Fatal(err)
	}
	refused, err := RefusedPage()
	if err != nil {
		t.Fatal(err)
	}
	guard, err := auth.NewGuard(auth.Options{Files: s.files, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		LoginPage: loginPage, RefusedPage: refused, Note: note})
	if err != nil {
		t.Fatal(err)
	}
	login := http.NewServeMux()
	login.HandleFunc("/login", guard.Login)
	login.HandleFunc("/logout", guard.Logout)
	h, err := New(Options{
		Reader: &fake.Store{Here: 3}, Auth: guard, Login: login, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Sites: func() []Site { return []Site{{Domain: "example.org"}, {Domain: "public.example"}} },
		Staff: s.files, CheckPassword: guard.Check, Audit: s, Note: note,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.srv = httptest.NewServer(h)
	t.Cleanup(s.srv.Close)
	for name, role := range map[string]auth.Role{"ada": auth.Admin, "dora": auth.Officer, "vera <b>": auth.Viewer} {
		if err := s.files.AddUser("x", "correct horse", role, nil); err == nil {
			s.files.RemoveUser("x")
		}
		if err := s.files.AddUser(strings.TrimSuffix(name, " <b>"), "correct horse", role, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// as is a client that is signed in.
func (s *staffed) as(name string) *http.Client {
	s.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	if code, body := s.post(c, "/login", "name", name, "password", "correct horse"); code != http.StatusOK || strings.Contains(body, "Wrong") {
		s.Fatalf("%s is not let in: %d %s", name, code, body)
	}
	return c
}

func (s *staffed) post(c *http.Client, path string, pairs ...string) (int, string) {
	s.Helper()
	f := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	res, err := c.PostForm(s.srv.URL+path, f)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (s *staffed) get(c *http.Client, path string) (int, string) {
	s.Helper()
	res, err := c.Get(s.srv.URL + path)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestAccount(t *testing.T) {
	s := newStaffed(t)
	vera := s.as("vera")
	says := func(want int, text string, pairs ...string) string {
		t.Helper()
		code, body := s.post(vera, "/-/account", pairs...)
		if code != want || !strings.Contains(body, text) {
			t.Errorf("%v: %d, want %d and %q in %s", pairs, code, want, text, body)
		}
		return body
	}
	says(400, "not your password", "do", "password", "current", "wrong", "new", "another horse", "again", "another horse")
	says(400, "two ways", "do", "password", "current", "correct horse", "new", "another horse", "again", "an other horse")
	says(400, "at least 8", "do", "password", "current", "correct horse", "new", "x", "again", "x")
	says(400, "no such form", "do", "nonsense", "current", "correct horse")

	body := says(200, "authenticator app", "do", "setup")
	_, rest, _ := strings.Cut(body, `name="secret" value="`)
	secret, _, ok := strings.Cut(rest, `"`)
	if !ok || !strings.Contains(body, `<svg class="qr"`) {
		t.Fatalf("no secret in %s", body)
	}
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	says(400, "not the app", "do", "second", "secret", secret, "code", "abcdef", "current", "correct horse")
	says(200, "a code of your app", "do", "second", "secret", secret, "code", code, "current", "correct horse")
	says(400, "not your password", "do", "nosecond", "current", "")
	says(200, "Your password alone", "do", "nosecond", "current", "correct horse")
	says(200, "is changed", "do", "password", "current", "correct horse", "new", "another horse", "again", "another horse")
	if _, body := s.get(vera, "/-/account"); !strings.Contains(body, "Sign in") {
		t.Error("the old session outlives the password")
	}
}

func TestStaffPage(t *testing.T) {
	s := newStaffed(t)
	ada, dora, vera := s.as("ada"), s.as("dora"), s.as("vera")
	for _, c := range []*http.Client{dora, vera} {
		if code, body := s.get(c, "/-/staff"); code != http.StatusForbidden || !strings.Contains(body, "Your role does not") {
			t.Errorf("the page: %d %s", code, body)
		}
		if code, _ := s.post(c, "/-/staff", "do", "role", "name", "vera", "role", "admin"); code != http.StatusForbidden {
			t.Errorf("the form: %d", code)
		}
	}
	if code, _ := s.get(vera, "/-/audit"); code != http.StatusForbidden {
		t.Errorf("the audit log for a viewer: %d", code)
	}
	if _, err := s.files.AddToken("grafana", nil, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want int
		text string
		form []string
	}{
		{200, "vera is privacy officer now", []string{"do", "role", "name", "vera", "role", "privacy"}},
		{400, "no role", []string{"do", "role", "name", "vera", "role", "root"}},
		{400, "your own role", []string{"do", "role", "name", "ada", "role", "viewer"}},
		{400, "nobody", []string{"do", "role", "name", "zoe", "role", "viewer"}},
		{400, "remove yourself", []string{"do", "remove", "name", "ada"}},
		{200, "dora is signed out everywhere", []string{"do", "revoke", "name", "dora"}},
		{200, "The token grafana is void", []string{"do", "untoken", "name", "grafana"}},
		{400, "nobody", []string{"do", "untoken", "name", "grafana"}},
		{200, "dora is removed", []string{"do", "remove", "name", "dora"}},
		{200, "by a login link is signed out", []string{"do", "revoke", "name", ""}},
	} {
		if code, body := s.post(ada, "/-/staff", c.form...); code != c.want || !strings.Contains(body, c.text) {
			t.Errorf("%v: %d, want %d and %q", c.form, code, c.want, c.text)
		}
	}
	if code, body := s.get(vera, "/-/audit"); code != http.StatusOK || !strings.Contains(body, "The log is whole") || !strings.Contains(body, "granted") {
		t.Errorf("the audit log for an officer: %d", code)
	}
	if _, body := s.get(dora, "/"); !strings.Contains(body, "Sign in") {
		t.Error("who was removed still sees figures")
	}
	// A form that another site's page sends is refused, whoever's browser it is.
	r, err := http.NewRequest("POST", s.srv.URL+"/-/staff", strings.NewReader("do=remove&name=vera"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := ada.Do(r)
	if err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %v, %v", res, err)
	}
	res.Body.Close()
	var did []string
	if _, err := policy.VerifyAudit(s.dir, policy.AuditHead{}, func(e policy.AuditEntry) bool {
		if e.Action == policy.AuditStaff {
			did = append(did, e.Actor+": "+e.Object+" "+e.Detail["what"])
		}
		return true
	}); err != nil {
		t.Error(err)
	}
	want := "ada: user vera granted|ada: user dora sessions ended|ada: token grafana removed|ada: user dora removed|ada: login link sessions ended"
	if got := strings.Join(did, "|"); got != want {
		t.Errorf("noted: %s", got)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "audit.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if code, body := s.get(vera, "/-/audit"); code != http.StatusOK || !strings.Contains(body, "The log is not whole") || !strings.Contains(body, "granted") {
		t.Errorf("an edited log: %d %s", code, body)
	}
}

// An export leaves a line, and so does who asked for it.
func TestExportIsNoted(t *testing.T) {
	s := newStaffed(t)
	vera := s.as("vera")
	if code, _ := s.get(vera, "/example.org/export.csv?by=visit:source&period=7d"); code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	out, _, _, err := s.Audit(t.Context(), policy.AuditExport, 0, 10)
	if err != nil || len(out) != 1 || out[0].Actor != "vera" || out[0].Object != "example.org" || out[0].Detail["what"] != "visit-source" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestStaffPagesInABrowser(t *testing.T) {
	s := newStaffed(t)
	for i := range 60 {
		if err := s.audit.Append("ada", policy.AuditExport, "example.org <script>", "what", strings.Repeat("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.files.AddToken("grafana", []string{"example.org"}, []string{"stats"}, time.Now().AddDate(0, 3, 0)); err != nil {
		t.Fatal(err)
	}
	b := browsertest.Start(t)
	for name, path := range map[string]string{"account": "/-/account", "staff": "/-/staff", "audit": "/-/audit", "refused": "/nowhere/x"} {
		t.Run(name, func(t *testing.T) {
			var got map[string][]any
			b.Run(t, browsertest.Script{Timeout: time.Minute, JS: `
				const found = {};
				await page.goto(args.url + '/login?next=' + args.path);
				await page.fill('[name=name]', 'ada');
				await page.fill('[name=password]', 'correct horse');
				await page.click('button.go');
				await page.waitForSelector('main h1');
				await shots(page, 'staff-' + args.name, {fullPage: true});
				for (const scheme of ['light', 'dark']) {
					await page.emulateMedia({colorScheme: scheme});
					found[scheme] = await axe(page);
				}
				await page.setViewportSize({width: 320, height: 700});
				found.narrow = await axe(page);
				const wide = await page.evaluate(() => document.documentElement.scrollWidth);
				if (wide > 320) found.width = [wide];
				if (args.name == 'audit') {
					await page.click('a[rel=next]');
					await page.waitForURL(/page=2/);
				}
				if (args.name == 'account') {
					await page.click('text=Set one up');
					await page.waitForSelector('svg.qr');
					found.qr = await axe(page);
					await shots(page, 'staff-qr', {widths: [1280]});
				}
				return found;`, Args: map[string]any{"url": s.srv.URL, "path": path, "name": name}, Allow: []string{"404"}}, &got)
			for what, violations := range got {
				if len(violations) > 0 {
					t.Errorf("%s: %v", what, violations)
				}
			}
		})
	}
}
