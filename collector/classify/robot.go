package classify

import (
	"bytes"
	"fmt"
	"strings"
)

// Kinds of robots, as in [Agent.Bot].
const (
	BotEmpty    = "empty"    // no User-Agent
	BotUnknown  = "unknown"  // neither browser nor system is known
	BotMail     = "mail"     // a mail provider's proxy, on behalf of a reader
	BotPrefetch = "prefetch" // a mail provider's machine, before anybody reads
	BotCrawler  = "crawler"  // search engines, archives, SEO
	BotAI       = "ai"       // gathers or answers for a language model
	BotPreview  = "preview"  // makes the preview of a link
	BotFeed     = "feed"     // feed readers
	BotMonitor  = "monitor"  // uptime and performance checks
	BotScanner  = "scanner"  // looks for holes
	BotHeadless = "headless" // an automated browser
	BotLibrary  = "library"  // an HTTP library or command
)

// robots tells robots from people. The order is what measured best: agents that are known
// whole; what known browsers fully explain is a person; mail proxies come before the lists, all of
// which take them for other robots; then, with the device's model blanked ("CUBOT"), the lists.
type robots struct {
	mail   []string          // parts of agents of mail proxies
	whole  map[string]string // kinds of whole agents
	filter *filter
	left   []string // patterns of the lists that are not used, for the tests
}

func loadRobots() (*robots, error) {
	r := &robots{whole: make(map[string]string), filter: newFilter()}
	lines, err := readTable("mail.txt", 1)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if whole, ok := strings.CutPrefix(l[0], "="); ok {
			r.whole[whole] = BotMail
		} else if whole, ok := strings.CutPrefix(l[0], "!"); ok {
			r.whole[whole] = BotPrefetch
		} else {
			r.mail = append(r.mail, l[0])
		}
	}
	if lines, err = readTable("robots.txt", 2); err != nil {
		return nil, err
	}
	for _, l := range lines {
		if err := r.filter.add(pattern{literal: l[0], kind: l[1]}); err != nil {
			return nil, fmt.Errorf("classify: robots.txt: %w", err)
		}
	}
	if lines, err = readTable("crawlers.txt", 2); err != nil {
		return nil, err
	}
	for _, l := range lines {
		if err := r.addExpr(l[0], false, pattern{kind: kindOf(l[1])}); err != nil {
			return nil, fmt.Errorf("classify: crawlers.txt: %q: %w", l[0], err)
		}
	}
	if lines, err = readTable("isbot.txt", 1); err != nil {
		return nil, err
	}
	for _, l := range lines {
		if isNoisy(l[0]) {
			r.left = append(r.left, l[0])
		} else if err := r.addExpr(l[0], true, pattern{kind: BotCrawler, weak: true}); err != nil {
			return nil, fmt.Errorf("classify: isbot.txt: %q: %w", l[0], err)
		}
	}
	return r, nil
}

// kindOf returns the kind of robot for the tags of a line of crawlers.txt: that of the first
// below which it has.
func kindOf(tags string) string {
	for _, k := range [...]struct{ tag, kind string }{
		{"ai-crawler", BotAI},
		{"browser-automation", BotHeadless},
		{"http-library", BotLibrary},
		{"social-preview", BotPreview},
		{"monitoring", BotMonitor},
		{"scanner", BotScanner},
		{"feed-reader", BotFeed},
	} {
		if strings.Contains(","+tags+",", ","+k.tag+",") {
			return k.kind
		}
	}
	return BotCrawler
}

// addExpr adds the patterns of an expression, with the kind and weight of as. One in which there is
// no text to look for is noted and left out.
func (r *robots) addExpr(expr string, fold bool, as pattern) error {
	patterns := byHand(expr)
	if patterns == nil {
		var err error
		if patterns, err = newPatterns(expr, fold); err != nil {
			return err
		}
	}
	for _, p := range patterns {
		p.kind, p.weak, p.sure = as.kind, as.weak, isSure(p.literal)
		if r.filter.add(p) != nil {
			r.left = append(r.left, expr)
			break
		}
	}
	return nil
}

// isMail reports whether an agent names a mail provider's proxy.
func (r *robots) isMail(s *scan) bool {
	low := s.low[:s.n]
	for _, m := range r.mail {
		if bytes.Contains(low, []byte(m)) {
			return true
		}
	}
	return false
}

// kind returns the kind of robot, "" for a person, and whether it is a mail proxy.
func (r *robots) kind(s *scan, a *Agent) (kind string, mail bool) {
	trimmed := bytes.TrimSpace(s.low[:s.n])
	if len(trimmed) == 0 {
		return BotEmpty, false
	}
	if kind, ok := r.whole[string(trimmed)]; ok {
		return kind, kind == BotMail
	}
	known := a.Browser != "" || a.OS != ""
	if s.explained && known {
		return "", false // no mail proxy among them: what names it is a word of its own
	}
	if r.isMail(s) {
		return BotMail, true
	}
	// Off the stack, since expressions let what they read escape.
	buf := append(append(make([]byte, 0, 2*s.n), s.raw...), s.low[:s.n]...)
	raw, low := buf[:s.n], buf[s.n:]
	for i := s.model.from; i < s.model.to && !s.tainted; i++ {
		raw[i], low[i] = ' ', ' '
	}
	// An app that shows a web view has its own name in the agent, and what is in it ("BBCNews",
	// "Insights") says nothing.
	app := a.Browser == "Mobile App"
	if kind = r.filter.find(raw, low, app); kind == "" && !known {
		kind = BotUnknown
	}
	return kind, false
}
