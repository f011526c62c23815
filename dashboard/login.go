package dashboard

import (
	"bytes"
	"log/slog"
	"net/http"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/ui"
)

// RefusedPage returns what tells a person that their role is not enough: auth.Options' RefusedPage.
func RefusedPage() (func(w http.ResponseWriter, r *http.Request), error) {
	assets, err := ui.Load()
	if err != nil {
		return nil, err
	}
	t, err := parseTemplates(assets)
	if err != nil {
		return nil, err
	}
	h := &handler{tmpl: t, o: Options{Log: slog.New(slog.DiscardHandler)}}
	return func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, r, http.StatusForbidden, "Your role does not let you see this",
			"An admin can change your role, on the page Staff or with: footfall user grant NAME --role ROLE")
	}, nil
}

// LoginPage returns what draws the login page: auth.Options' LoginPage. The form posts "name",
// "password" and "next" to /login. It is the only page that is drawn for strangers, so it
// costs them nothing: what can be made ready is made here.
func LoginPage() (func(w http.ResponseWriter, r *http.Request, status int, v auth.LoginView), error) {
	assets, err := ui.Load()
	if err != nil {
		return nil, err
	}
	t, err := parseTemplates(assets)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, _ *http.Request, status int, v auth.LoginView) {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, "login", struct {
			frame
			auth.LoginView
		}{frame{Title: "Sign in"}, v}); err != nil {
			http.Error(w, "The login page could not be drawn.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write(b.Bytes())
	}, nil
}
