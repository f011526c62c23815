package dashboard

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/ui"
)

// RenderLogin writes the login page; it is auth.Options' LoginPage. The form posts "name",
// "password" and "next" to /login. The page is the only one that is drawn for strangers, so
// it keeps no state between calls.
func RenderLogin(w http.ResponseWriter, _ *http.Request, status int, v auth.LoginView) {
	page := struct {
		frame
		auth.LoginView
	}{frame{Title: "Sign in"}, v}
	body, err := drawLogin(page)
	if err != nil {
		http.Error(w, "The login page could not be drawn.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

func drawLogin(page any) ([]byte, error) {
	assets, err := ui.Load()
	if err != nil {
		return nil, err
	}
	t, err := parseTemplates(assets)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "login", page); err != nil {
		return nil, fmt.Errorf("dashboard: login page: %w", err)
	}
	return b.Bytes(), nil
}
