// Command preview serves the dashboard with invented figures and no login, on loopback, to
// look at it while it is being drawn: go run ./dashboard/internal/preview [-listen ADDR]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/kantarainitiative/footfall/dashboard"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/internal/fake"
)

type open struct{}

func (open) Require(_ auth.Right, next http.Handler) http.Handler { return next }
func (open) User(*http.Request) string                            { return "ada" }
func (open) Allowed(*http.Request, string) bool                   { return true }

func main() {
	listen := flag.String("listen", "127.0.0.1:8099", "address to serve on")
	state := flag.String("state", "", "empty, quiet, small, down or off")
	flag.Parse()
	reader := &fake.Store{Here: 14, Empty: *state == "empty", Quiet: *state == "quiet"}
	if *state == "small" {
		reader.Least, reader.Small = 5, true
	}
	if *state == "down" {
		reader.Err = errors.New("down")
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
	loginPage, err := dashboard.LoginPage()
	if err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
	h, err := dashboard.New(dashboard.Options{
		Reader: reader,
		Sites: func() []dashboard.Site {
			return []dashboard.Site{{Domain: "example.org", Location: berlin}, {Domain: "docs.example.org", Location: berlin}}
		},
		Login: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			loginPage(w, r, http.StatusUnauthorized, auth.LoginView{Name: r.FormValue("name"), Error: "Wrong name or password."})
		}),
		ScriptTag: func(site string) string {
			return `<script defer src="https://stats.example.org/ff.js" data-domain="` + site + `"></script>`
		},
		PixelTag: func(site string) string {
			return `<noscript><img src="https://stats.example.org/ff.gif?d=` + site + `" alt=""></noscript>`
		},
		Auth: open{}, Log: slog.Default(), Foot: Foot, Ledger: &fake.Books{Now: time.Now, Off: *state == "off"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
	fmt.Println("http://" + *listen)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(*listen, h))
	os.Exit(1)
}

// Foot is a ledger that balances and a notice.
func Foot(context.Context, string, time.Time, time.Time) (dashboard.Foot, error) {
	return dashboard.Foot{
		Books: &dashboard.Books{Received: 131502, Counted: 128940, Dropped: []dashboard.Dropped{
			{Reason: "robots", Hits: 2204}, {Reason: "opted out", Hits: 318}, {Reason: "malformed", Hits: 40}}},
		Notice: &dashboard.Notice{Title: "Notice 3, in force since 1 Nov", URL: "/privacy",
			Text: "No cookies. Addresses cut to /24. Ids change at midnight and yesterday’s key is gone. Raw events kept 400 days."},
	}, nil
}
