package dashboard

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
	"github.com/kantarainitiative/footfall/policy"
)

var update = flag.Bool("update", false, "write routes.md anew")

type noAudit struct{}

func (noAudit) Audit(context.Context, string, int, int) ([]policy.AuditEntry, int, policy.AuditHead, error) {
	return nil, 0, policy.AuditHead{}, nil
}

// TestRoutesByRole asks every address of the staff listener as everybody who can ask, and
// compares what they get with routes.md.
func TestRoutesByRole(t *testing.T) {
	dir := t.TempDir()
	files, err := auth.Open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := auth.NewGuard(auth.Options{
		Files: files, Now: clock, Log: slog.New(slog.DiscardHandler),
		LoginPage: func(w http.ResponseWriter, _ *http.Request, status int, _ auth.LoginView) { w.WriteHeader(status) },
		// The roles are those of people whom a proxy vouches for: a password's hash takes its time.
		Proxy: func() *auth.ProxyLogin { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	who := []string{"stranger", "viewer", "viewer of another site", "privacy officer", "admin"}
	roles := map[string]auth.ProxyLogin{
		"viewer": {Role: auth.Viewer}, "viewer of another site": {Role: auth.Viewer, Sites: []string{"public.example"}},
		"privacy officer": {Role: auth.Officer}, "admin": {Role: auth.Admin},
	}
	tokens := map[string]string{}
	for _, x := range []struct {
		name   string
		sites  []string
		scopes []string
	}{
		{"token", nil, nil}, {"token for stats", nil, []string{"stats"}}, {"token for metrics", nil, []string{"metrics"}},
		{"token of another site", []string{"public.example"}, nil},
	} {
		if tokens[x.name], err = files.AddToken(x.name, x.sites, x.scopes, time.Time{}); err != nil {
			t.Fatal(err)
		}
		who = append(who, x.name)
	}
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("served")) })
	site := Site{Domain: "example.org", Location: time.UTC}
	o := Options{
		Reader: &fake.Store{Here: 1}, Sites: func() []Site { return []Site{site, {Domain: "public.example", Location: time.UTC}} },
		Auth: guard, Ledger: &fake.Books{Now: clock}, Login: served, Staff: files, Audit: noAudit{}, Stats: served, Metrics: served, Now: clock, Log: slog.New(slog.DiscardHandler),
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	table, err := newHandler(o)
	if err != nil {
		t.Fatal(err)
	}

	ask := func(name, method, path string) int {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr = "203.0.113.5:9"
		role, isPerson := roles[name]
		guard.Proxy = func() *auth.ProxyLogin {
			if !isPerson {
				return nil
			}
			role.Header, role.From = "X-User", []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			return &role
		}
		if isPerson {
			r.Header.Set("X-User", "somebody")
		}
		if token := tokens[name]; token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	word := func(status int, right auth.Right) string {
		switch {
		case status == http.StatusSeeOther && right != 0, status == http.StatusUnauthorized:
			return "log in"
		case status == http.StatusForbidden:
			return "no"
		case status == http.StatusNotFound:
			return "not there"
		case status < 400, status == http.StatusBadRequest && right == auth.Staff: // an empty form
			return "**yes**"
		}
		return fmt.Sprint(status)
	}

	var b strings.Builder
	b.WriteString("Who gets what on the staff listener. `go test ./dashboard -run TestRoutesByRole -update` writes this table;\nwithout the flag the test compares it with what the listener answers.\n\n")
	b.WriteString("| address | " + strings.Join(who, " | ") + " |\n|---" + strings.Repeat("|---", len(who)) + "|\n")
	for _, x := range table.table() {
		method, path, ok := strings.Cut(x.pattern, " ")
		if !ok {
			method, path = "GET", x.pattern
		}
		paths := []string{path}
		switch path {
		case "/{site}/{page}":
			paths = nil
			for _, page := range slices.Sorted(maps.Keys(table.sitePages())) {
				paths = append(paths, "/{site}/"+page)
			}
		case "/":
			paths = []string{"/any/other/address"}
		}
		for _, p := range paths {
			real := strings.NewReplacer("{$}", "", "{site}", site.Domain, "/assets/{file}", table.assets.URL("app.css")).Replace(p)
			switch real {
			case "/api/v2/":
				real += "query"
			case "/example.org/details", "/example.org/export.csv", "/example.org/values":
				real += "?by=visit:source"
			}
			b.WriteString("| `" + method + " " + p + "`")
			for _, name := range who {
				b.WriteString(" | " + word(ask(name, method, real), x.right))
			}
			b.WriteString(" |\n")
		}
	}
	if *update {
		if err := os.WriteFile("routes.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("routes.md")
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("routes.md is out of date; it should be:\n%s", b.String())
	}
}
