// Package browsertest drives a real browser from Go tests: Debian's Chromium through
// npm's playwright-core, in a node process that lives as long as the test.
//
//	func TestPage(t *testing.T) {
//		b := browsertest.Start(t)              // one browser; ended by t.Cleanup
//		var got struct{ Title string }
//		b.Run(t, browsertest.Script{           // each Run has a fresh profile ("context")
//			JS: `await page.goto(args.url);
//			     return {title: await page.title()};`,
//			Args: map[string]any{"url": srv.URL},
//		}, &got)
//	}
//
// A script is the body of an async JavaScript function. It has these names:
//
//   - page, context, browser: Playwright's objects; page is empty and new.
//   - newContext(options): a further profile, closed at the end of the Run.
//   - args: what Script.Args became as JSON.
//   - axe(page, {include, exclude, tags, disable}): the accessibility violations,
//     as [{id, impact, help, nodes: [{target, html, why}]}]; empty is good.
//   - shot(page, name, options): a screenshot artifacts/NAME.png; returns the path.
//   - shots(page, name, {schemes, widths, fullPage}): light and dark, 1280 and
//     390 wide unless told otherwise; returns the paths.
//   - sleep(ms); until(fn, ms): waits until fn() returns something true.
//
// What it returns is decoded into Run's out. console.log goes to the test's log.
//
// Rules it keeps:
//   - A missing node, npm package or browser fails the test with the command that
//     installs it. Nothing is skipped.
//   - An error or warning on the console, an uncaught exception, a violation of the
//     content security policy or a failed request fails the test, unless
//     [Script.Allow] names it.
//   - No page reaches a machine but this one: names that end in ".test" are
//     127.0.0.1, every other name but localhost resolves to nothing.
//   - The user agent is that of a plain Chrome, because HeadlessChrome is a robot.
//     Client hints still tell the truth, and navigator.webdriver is true.
//   - Back/forward cache is on (Playwright turns it off): pages really go into it.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Script is one thing to do in the browser.
type Script struct {
	JS      string         // body of an async function; see the package comment
	Args    any            // becomes `args`, through JSON
	Context map[string]any // Playwright's newContext options: viewport, colorScheme, javaScriptEnabled, …
	Allow   []string       // problems that contain one of these do not fail the test
	Timeout time.Duration  // of the whole script; 0 is a minute
}

// Browser is a running Chromium. Its methods may be called from several goroutines;
// scripts run one after the other.
type Browser struct {
	Version   string // "156.0.8078.79"
	UserAgent string // what pages and servers see

	mu    sync.Mutex
	id    int
	in    io.WriteCloser
	lines chan []byte
}

type answer struct {
	ID       int
	Ready    bool
	Version  string
	Value    json.RawMessage
	Error    string
	Problems []string
}

// startTimeout and graceTimeout are wide: the machine may be building something else.
const (
	startTimeout = 90 * time.Second
	graceTimeout = 20 * time.Second
)

// Start starts a browser that ends with t. A missing part fails t at once.
func Start(t testing.TB) *Browser {
	t.Helper()
	root := Root(t)
	chromium := Chromium(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is missing: apt-get install -y nodejs npm")
	}
	for _, p := range []string{"playwright-core", "@axe-core/playwright", "axe-core"} {
		if _, err := os.Stat(filepath.Join(root, "node_modules", filepath.FromSlash(p), "package.json")); err != nil {
			t.Fatalf("npm package %s is missing: run `npm ci` in the folder of go.mod", p)
		}
	}
	agent := userAgent(t, chromium)
	config, err := json.Marshal(map[string]any{
		"chromium":  chromium,
		"userAgent": agent,
		"artifacts": filepath.Join(root, "artifacts"),
		// As a switch, too: what a page sends while it closes is past what Playwright overrides.
		"args": append(Flags(), "--user-agent="+agent),
		// Playwright turns the back/forward cache off by default.
		"ignoreArgs": []string{"--disable-back-forward-cache"},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, filepath.Join(root, "beacon", "browsertest", "driver.mjs"), string(config))
	cmd.Dir = root
	var diagnostics logWriter
	cmd.Stderr = &diagnostics
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", node, err)
	}
	b := &Browser{in: in, lines: make(chan []byte)}
	done := make(chan struct{})
	go func() {
		defer close(b.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case b.lines <- line:
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		in.Close() // the driver ends the browser when its input ends
		timer := time.AfterFunc(graceTimeout, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err != nil {
			t.Errorf("the browser's driver: %v", err)
		}
		if s := diagnostics.String(); s != "" {
			t.Logf("the browser's driver said:\n%s", s)
		}
	})
	ready, err := b.receive(startTimeout)
	if err != nil {
		t.Fatalf("starting the browser: %v\n%s", err, diagnostics.String())
	}
	b.Version, b.UserAgent = ready.Version, agent
	return b
}

// Run runs s in a fresh profile and decodes what it returns into out, unless out is
// nil. An exception, a timeout or a problem that s does not allow fails t.
func (b *Browser) Run(t testing.TB, s Script, out any) {
	t.Helper()
	value, problems, err := b.Try(s, t.Name())
	for _, p := range problems {
		t.Errorf("the browser reports: %s", p)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(value, out); err != nil {
		t.Fatalf("decoding what the script returned, %s: %v", value, err)
	}
}

// Try is [Browser.Run] for a caller that judges by itself: it returns what the script
// returned, the problems that s does not allow, and the script's exception.
// name stands in the exception's stack.
func (b *Browser) Try(s Script, name string) (json.RawMessage, []string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	b.id++
	line, err := json.Marshal(map[string]any{
		"id": b.id, "name": strings.ReplaceAll(name, " ", "_"), "script": s.JS, "args": s.Args,
		"context": s.Context, "timeout": s.Timeout.Milliseconds(),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the script's arguments: %w", err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		return nil, nil, fmt.Errorf("the browser's driver is gone: %w", err)
	}
	a, err := b.receive(s.Timeout + graceTimeout)
	if err != nil {
		return nil, nil, err
	}
	if a.ID != b.id {
		return nil, nil, fmt.Errorf("the driver answered request %d, not %d", a.ID, b.id)
	}
	var problems []string
next:
	for _, p := range a.Problems {
		for _, allowed := range s.Allow {
			if strings.Contains(p, allowed) {
				continue next
			}
		}
		problems = append(problems, p)
	}
	if a.Error != "" {
		return nil, problems, fmt.Errorf("the script threw: %s", a.Error)
	}
	return a.Value, problems, nil
}

func (b *Browser) receive(timeout time.Duration) (answer, error) {
	var a answer
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case line, ok := <-b.lines:
		if !ok {
			return a, errors.New("the browser's driver ended")
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return a, fmt.Errorf("the driver wrote %q: %w", line, err)
		}
		return a, nil
	case <-timer.C:
		return a, fmt.Errorf("no answer from the browser's driver within %s", timeout)
	}
}

// Flags returns the switches Chromium is started with, for tests that start it without
// Playwright: headless, quiet, and cut off from every machine but this one.
func Flags() []string {
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
	}
}

// Chromium returns the path of the browser: the variable FOOTFALL_CHROMIUM or Debian's.
// A missing browser fails t with the command that installs it.
func Chromium(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("FOOTFALL_CHROMIUM"); p != "" {
		if _, err := os.Stat(p); err != nil {
			t.Fatalf("FOOTFALL_CHROMIUM: %v", err)
		}
		return p
	}
	const debian = "/usr/bin/chromium"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Fatal("Chromium is missing: apt-get install -y chromium (or set FOOTFALL_CHROMIUM)")
	return ""
}

// userAgent returns what a plain desktop Chrome of the browser's version says: HeadlessChrome
// is a robot to every bot list.
func userAgent(t testing.TB, chromium string) string {
	t.Helper()
	out, err := exec.Command(chromium, "--version").Output()
	major := regexp.MustCompile(`\d+`).Find(out)
	if err != nil || major == nil {
		t.Fatalf("%s --version: %q, %v", chromium, out, err)
	}
	return "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + string(major) + ".0.0.0 Safari/537.36"
}

// Root returns the folder of the module's go.mod, looked for upwards from where the
// test runs.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod in this folder or above it")
		}
		dir = parent
	}
}

// logWriter collects what the driver writes to standard error.
type logWriter struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *logWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
