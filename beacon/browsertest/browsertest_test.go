package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>Small page</title><main><h1>A page</h1><p>Text</main>`)
	})
	mux.HandleFunc("GET /bad", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html><img src="/favicon.ico"><input><script>var x = 1</script>`)
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func TestRun(t *testing.T) {
	srv := serve(t)
	b := Start(t)

	t.Run("value, axe and pictures", func(t *testing.T) {
		var got struct {
			Title, Agent string
			Violations   []struct{ ID string }
			Files        []string
		}
		b.Run(t, Script{
			JS: `await page.goto(args.url);
			     return {title: await page.title(), agent: await page.evaluate(() => navigator.userAgent),
			       violations: await axe(page), files: await shots(page, 'browsertest')};`,
			Args: map[string]any{"url": srv.URL},
		}, &got)
		if got.Title != "Small page" || got.Agent != b.UserAgent || strings.Contains(got.Agent, "Headless") {
			t.Errorf("title %q, agent %q; want Small page, %q", got.Title, got.Agent, b.UserAgent)
		}
		if len(got.Violations) != 0 {
			t.Errorf("axe found %v in a page that has none", got.Violations)
		}
		if len(got.Files) != 4 {
			t.Fatalf("%d screenshots, want 4", len(got.Files))
		}
		for _, f := range got.Files {
			if st, err := os.Stat(f); err != nil || st.Size() == 0 {
				t.Errorf("screenshot %s: %v", f, err)
			}
		}
	})

	t.Run("problems are seen", func(t *testing.T) {
		script := Script{
			JS:   `await page.goto(args.url + '/bad'); return (await axe(page)).map(v => v.id);`,
			Args: map[string]any{"url": srv.URL},
		}
		value, problems, err := b.Try(script, t.Name())
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) == 0 || !strings.Contains(problems[0], "Content Security Policy") {
			t.Errorf("problems %q, want a violation of the policy", problems)
		}
		for _, want := range []string{"image-alt", "label", "html-has-lang"} {
			if !strings.Contains(string(value), want) {
				t.Errorf("axe returned %s, want %s among them", value, want)
			}
		}
		script.Allow = []string{"Content Security Policy"}
		if _, problems, err = b.Try(script, t.Name()); err != nil || len(problems) != 0 {
			t.Errorf("problems %q, %v; want none when allowed", problems, err)
		}
	})

	t.Run("exceptions and timeouts", func(t *testing.T) {
		if _, _, err := b.Try(Script{JS: `throw new Error('on purpose')`}, "x"); err == nil || !strings.Contains(err.Error(), "on purpose") {
			t.Errorf("error %v, want the script's own", err)
		}
		if _, _, err := b.Try(Script{JS: `await sleep(60000)`, Timeout: 200 * time.Millisecond}, "x"); err == nil || !strings.Contains(err.Error(), "within 200 ms") {
			t.Errorf("error %v, want a timeout", err)
		}
		if _, _, err := b.Try(Script{JS: `return 1`}, "x"); err != nil {
			t.Errorf("after a timeout: %v", err)
		}
	})

	t.Run("profiles are separate and names stay here", func(t *testing.T) {
		js := `await page.goto(args.url);
		       const had = await page.evaluate(() => { const v = localStorage.x; localStorage.x = '1'; return v ?? ''; });
		       const other = await fetch('http://127.0.0.1:' + new URL(args.url).port).then(r => r.status);
		       await page.goto(args.url.replace('127.0.0.1', 'shop.test'));
		       let outside = ''; try { await page.goto('http://example.org/'); } catch (e) { outside = e.message }
		       return {had, outside, other}`
		for range 2 {
			var got struct {
				Had, Outside string
				Other        int
			}
			b.Run(t, Script{JS: js, Args: map[string]any{"url": srv.URL}, Allow: []string{"example.org"}}, &got)
			if got.Had != "" || got.Other != 200 || !strings.Contains(got.Outside, "ERR_NAME_NOT_RESOLVED") {
				t.Errorf("got %+v, want an empty profile and no way out", got)
			}
		}
	})
}
