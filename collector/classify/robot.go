package classify

import (
	"fmt"
	"strings"
)

// Kinds of robots, as in [Agent.Bot].
const (
	BotEmpty    = "empty"    // no User-Agent
	BotUnknown  = "unknown"  // neither browser nor system is known
	BotMail     = "mail"     // a mail provider's proxy
	BotCrawler  = "crawler"  // search engines, archives, SEO
	BotAI       = "ai"       // gathers or answers for a language model
	BotPreview  = "preview"  // makes the preview of a link
	BotFeed     = "feed"     // feed readers
	BotMonitor  = "monitor"  // uptime and performance checks
	BotScanner  = "scanner"  // looks for holes
	BotHeadless = "headless" // an automated browser
	BotLibrary  = "library"  // an HTTP library or command
)

// robots tells robots from people. The order is what measured best: mail proxies first, since
// every list takes them for robots; then what browsers fully explain is a person; then, with
// the device's model blanked ("CUBOT"), the lists.
type robots struct {
	mail   *filter
	whole  map[string]bool
	filter *filter
	left   []string // patterns of the lists that are not used, for the tests
}

// tagKinds gives the kind of robot for a tag of crawlers.txt; the rest are crawlers.
var tagKinds = [...]struct{ tag, kind string }{
	{"ai-crawler", BotAI},
	{"browser-automation", BotHeadless},
	{"http-library", BotLibrary},
	{"social-preview", BotPreview},
	{"monitoring", BotMonitor},
	{"scanner", BotScanner},
	{"feed-reader", BotFeed},
}

func loadRobots(t *agentTable) (*robots, error) {
	r := &robots{mail: newFilter(), whole: make(map[string]bool), filter: newFilter()}
	lines, err := readTable("mail.txt", 1)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if whole, ok := strings.CutPrefix(l[0], "="); ok {
			r.whole[whole] = true
		} else if err := r.mail.add(pattern{literal: l[0], kind: BotMail}); err != nil {
			return nil, fmt.Errorf("classify: mail.txt: %w", err)
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
		p, err := newPattern(l[0], false)
		if err != nil {
			return nil, fmt.Errorf("classify: crawlers.txt: %w", err)
		}
		p.kind = BotCrawler
		for _, k := range tagKinds {
			if strings.Contains(","+l[1]+",", ","+k.tag+",") {
				p.kind = k.kind
				break
			}
		}
		if r.filter.add(p) != nil {
			r.left = append(r.left, l[0])
		}
	}
	if lines, err = readTable("isbot.txt", 1); err != nil {
		return nil, err
	}
	for _, l := range lines {
		if noisy[l[0]] {
			r.left = append(r.left, l[0])
			continue
		}
		expr := l[0]
		if e, ok := byHand[expr]; ok {
			expr = e
		}
		p, err := newPattern(expr, true)
		if err != nil {
			return nil, fmt.Errorf("classify: isbot.txt: %q: %w", expr, err)
		}
		p.kind, p.weak = BotCrawler, true
		if r.filter.add(p) != nil {
			r.left = append(r.left, l[0])
		}
	}
	return r, nil
}

// kind returns the kind of robot, "" for a person, and whether it is a mail proxy.
func (r *robots) kind(s *scan, a *Agent) (kind string, mail bool) {
	low := s.low[:s.n]
	for len(low) > 0 && low[0] == ' ' {
		low = low[1:]
	}
	for len(low) > 0 && low[len(low)-1] == ' ' {
		low = low[:len(low)-1]
	}
	if len(low) == 0 {
		return BotEmpty, false
	}
	if r.whole[string(low)] || r.mail.find(s.raw, s.low[:s.n]) != "" {
		return BotMail, true
	}
	known := a.Browser != "" || a.OS != ""
	if s.explained && known {
		return "", false
	}
	raw := s.raw
	if !s.model.empty() {
		var blank [maxAgent]byte
		raw = blank[:copy(blank[:], s.raw)]
		for i := s.model.from; i < s.model.to; i++ {
			raw[i], s.low[i] = ' ', ' '
		}
	}
	if kind = r.filter.find(raw, s.low[:s.n]); kind == "" && !known {
		kind = BotUnknown
	}
	return kind, false
}
