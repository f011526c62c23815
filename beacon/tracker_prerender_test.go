package beacon

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/beacon/browsertest"
)

// TestPrerender has Chromium prerender two pages by speculation rules and follow a link to
// one of them. It runs Chromium by itself: prerendering ends where DevTools attach.
func TestPrerender(t *testing.T) {
	s := newSite(t)
	s.file["/rules.json"] = `{"prerender": [{"urls": ["/next", "/never"], "eagerness": "immediate"}]}`
	s.file["/note.js"] = `
		const note = (what) => fetch('/api/event', {method: 'POST', body: JSON.stringify({n: 'note ' + what, u: location.href})});
		if (document.prerendering) {
			note('prerendering');
			document.addEventListener('prerenderingchange', () => note('activated'));
			footfall('Early'); // called while nobody sees the page
		} else if (location.pathname == '/start') {
			const wait = async () => {
				const lines = await (await fetch('/_hits')).json();
				const ready = ['/next', '/never'].every((p) => lines.includes('note prerendering ' + p));
				setTimeout(ready ? () => { location.href = '/next' } : wait, ready ? 1500 : 50);
			};
			wait();
		}`
	s.head += `<script defer src="/note.js"></script>`

	profile, err := os.MkdirTemp("", "footfall-prerender-")
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(browsertest.Chromium(t), append(browsertest.Flags(),
		"--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
		"--user-data-dir="+profile, "--disable-dev-shm-usage", "--remote-debugging-port=0", s.URL+"/start")...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(os.Interrupt) // it closes its pages
		timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
	}
	t.Cleanup(func() {
		stop()
		for range 50 { // its last children may still write
			if os.RemoveAll(profile) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	counted := func(line string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Contains(s.lines(), line)
	}
	for deadline := time.Now().Add(60 * time.Second); !counted("Early /next r=/start"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the prerendered page was not counted; hits %q; Chromium said:\n%s", s.lines(), stderr.String())
		}
	}
	time.Sleep(300 * time.Millisecond)
	stop()
	hits := s.all(t, 4)

	at := map[string]time.Time{}
	var lines []string
	for _, h := range hits {
		l := s.line(h)
		if _, again := at[l]; !again {
			at[l] = h.At
		}
		if !strings.HasPrefix(l, "note ") {
			lines = append(lines, l)
		}
	}
	for _, l := range []string{"note prerendering /next", "note prerendering /never", "note activated /next"} {
		if at[l].IsZero() {
			t.Fatalf("no %q: nothing was prerendered; hits %q", l, s.lines())
		}
	}
	equal(t, "hits", lines, []string{
		"Early /next r=/start",
		"engagement /next r=/start",
		"engagement /start",
		"pageview /next r=/start",
		"pageview /start",
	})
	if before := at["note prerendering /next"].Add(time.Second); at["pageview /next r=/start"].Before(before) {
		t.Error("the page was counted when it was prerendered, not when it was shown")
	}
	shown := s.find(t, hits, "engagement /next r=/start").At.Sub(at["note prerendering /next"]) - time.Second
	if e, _ := s.find(t, hits, "engagement /next r=/start").Fields["e"].(float64); e > float64(shown.Milliseconds()) {
		t.Errorf("engaged %v ms, shown for %v: the time before was counted", e, shown)
	}
}
