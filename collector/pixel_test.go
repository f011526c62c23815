package collector

import (
	"strings"
	"testing"

	"github.com/kantarainitiative/footfall/beacon/email"
	"github.com/kantarainitiative/footfall/event"
)

func TestPixel(t *testing.T) {
	for _, c := range []struct {
		why, query string
		headers    []string
		reason     string // "": counted
		site, page string
		name       string
	}{
		{"all", "?d=example.org&u=https%3A%2F%2Fexample.org%2Fa%3Fb&r=https%3A%2F%2Fwww.google.com%2F&n=pageview&t=A+B", nil, "", "example.org", "/a", "pageview"},
		{"referer", "?d=example.org", []string{"Referer: https://example.org/from/?x=1"}, "", "example.org", "/from", "pageview"},
		{"referer alone", "", []string{"Referer: https://example.org/"}, "", "example.org", "/", "pageview"},
		{"custom", "?d=localhost&u=http://localhost/&n=Seen", nil, "", "localhost", "/", "Seen"},
		{"first value", "?d=localhost&u=http://localhost/a&u=http://localhost/b", nil, "", "localhost", "/a", "pageview"},
		{"nothing", "", nil, "malformed", "", "", ""},
		{"broken", "?d=%zz&u=%", nil, "malformed", "", "", ""},
		{"unknown site", "?d=nobody.example&u=https://nobody.example/", nil, "site", "", "", ""},
		{"robot", "?d=example.org&u=https://example.org/", []string{"User-Agent: " + google}, "bot", "", "", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			a := r.do(t, "GET", "/ff.gif"+c.query, "", c.headers...)
			isPixel(t, a)
			if got := a.Header.Get("X-Footfall-Dropped"); got != c.reason {
				t.Errorf("dropped %q, want %q", got, c.reason)
			}
			es := r.spool.take(t)
			if c.reason != "" {
				if len(es) != 0 {
					t.Errorf("%d events", len(es))
				}
				if got := r.metric(t, "footfall_hits_total", "source", "pixel", "outcome", "dropped", "reason", c.reason); got != 1 {
					t.Errorf("%v counted as dropped", got)
				}
				return
			}
			if len(es) != 1 || es[0].Site != c.site || es[0].Page != c.page || es[0].Name != c.name || es[0].Visit.ID == 0 {
				t.Fatalf("%+v", es)
			}
			if got := r.metric(t, "footfall_hits_total", "source", "pixel", "outcome", "counted"); got != 1 {
				t.Errorf("%v counted", got)
			}
		})
	}
	r := newRig(t)
	r.do(t, "GET", "/ff.gif?d=example.org&u=https://example.org/&t=A+B%C3%BC&r=https://www.google.com/", "")
	if e := r.spool.take(t)[0]; e.Title != "A Bü" || e.Visit.Source != "Google" {
		t.Errorf("title %q, source %q", e.Title, e.Visit.Source)
	}
}

func isPixel(t *testing.T, a answer) {
	t.Helper()
	if a.StatusCode != 200 || len(a.body) != 43 || !strings.HasPrefix(a.body, "GIF89a") || a.ContentLength != 43 ||
		a.Header.Get("Content-Type") != "image/gif" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %d, %d bytes, %v", a.StatusCode, len(a.body), a.Header)
	}
}

func TestEmailOpen(t *testing.T) {
	r := newRig(t)
	token, err := r.key.SealOpen(email.Open{Site: "example.org", Campaign: "autumn", Message: "two"})
	if err != nil {
		t.Fatal(err)
	}
	open := func(token string, headers ...string) answer {
		t.Helper()
		a := r.do(t, "GET", "/o/"+token+".gif", "", headers...)
		isPixel(t, a)
		return a
	}
	for _, agent := range []string{chrome, gmail, "Mozilla/5.0"} {
		if a := open(token, "User-Agent: "+agent); a.Header.Get("X-Footfall-Dropped") != "" {
			t.Fatalf("%s: dropped %q", agent, a.Header.Get("X-Footfall-Dropped"))
		}
		e := r.spool.take(t)[0]
		if e.Kind != event.EmailOpen || e.Name != "open" || e.Site != "example.org" || e.Visit.UTMCampaign != "autumn" || e.Visit.UTMContent != "two" ||
			e.Visit.Source != "Email" || e.Visit.Channel != "Email" || e.VisitorID == 0 || e.Visit.ID != 0 || e.Page != "" || e.Hostname != "" {
			t.Errorf("%s: %+v", agent, e)
		}
		if place := e.Visit.Country; (place == "") != (agent != chrome) {
			t.Errorf("%s: country %q", agent, place)
		}
	}
	// It makes no visit that a page view would continue.
	if e := r.hit(t, `{"n":"pageview","u":"https://example.org/","d":"example.org"}`); e.Visit.Source != "" {
		t.Errorf("source %q", e.Visit.Source)
	}
	if a := open(token, "User-Agent: "+google); a.Header.Get("X-Footfall-Dropped") != "bot" {
		t.Error("a robot opened it")
	}
	for _, bad := range []string{"x", token[1:], token + "A", strings.Repeat("A", 500)} {
		if a := open(bad); a.Header.Get("X-Footfall-Dropped") != "malformed" {
			t.Errorf("%s: dropped %q", bad, a.Header.Get("X-Footfall-Dropped"))
		}
	}
	other, err := r.key.SealOpen(email.Open{Site: "gone.example", Campaign: "autumn"})
	if err != nil {
		t.Fatal(err)
	}
	if a := open(other); a.Header.Get("X-Footfall-Dropped") != "site" {
		t.Errorf("dropped %q", a.Header.Get("X-Footfall-Dropped"))
	}
	if es := r.spool.take(t); len(es) != 0 {
		t.Errorf("%d events of bad tokens", len(es))
	}
	if got := r.metric(t, "footfall_hits_total", "source", "email", "outcome", "dropped", "reason", "malformed"); got != 4 {
		t.Errorf("%v malformed", got)
	}
}
