package classify

import "testing"

func newAgents(t testing.TB) *Agents {
	t.Helper()
	a, err := NewAgents(0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestHeadlessChromeIsARobot(t *testing.T) {
	ua := "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36"
	if got := newAgents(t).Lookup([]byte(ua)); got.Bot != BotHeadless {
		t.Errorf("Bot = %q, want %q", got.Bot, BotHeadless)
	}
}
