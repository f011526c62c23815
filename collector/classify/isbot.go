package classify

// isNoisy tells the patterns of isbot that are not used. They guess from the shape of an agent
// and take people's apps and old telephones for robots; an agent of such a shape in which
// neither a browser nor a system is known is a robot here anyway.
func isNoisy(expr string) bool {
	switch expr {
	case `;\s\w+;$`,
		`@[a-z][\w-]+\.`,
		`\(\)`,
		`\.com\b`,
		`\b\w+/1\.0;`,
		`\|`,
		`^[<\(;]`,
		`^[^ ]{50,}$`,
		`^\d+\b`,
		`^\w*search\b`,
		`^[\w\-]+/[\w]+$`,
		`^\w+/[\w\(\)]*$`,
		`^\w+/\d\.\d\s\([\w@]+\)$`,
		`^mozilla/\d\.\d\s[\w\.-]+$`,
		`^mozilla/\d\.\d\s\((?:compatible;)?(?:\s?[\w\d-.]+[\s/]\d+\.\d+)?\)$`,
		`^[\w \.\-\(?:\):%]+(?:/v?\d+(?:\.\d+)?(?:\.\d{1,10})*?)?(?:,|$)`:
		return true
	}
	return false
}

// byHand translates the patterns of isbot that look ahead or behind, which Go's expressions
// cannot; nil for all others.
func byHand(expr string) []pattern {
	switch expr {
	case `(?:^|[^g])news(?!sapphire)`:
		return []pattern{{literal: "news", notBefore: []string{"g"}, notAfter: []string{"sapphire"}}}
	case `(?<! channel/|google/)google(?!(?:wv|app|/google| pixel))`:
		return []pattern{{literal: "google", notBefore: []string{" channel/", "google/"},
			notAfter: []string{"wv", "app", "/google", " pixel"}}}
	case `(?<! cu)bots?(?:\b|_)`:
		return []pattern{
			{literal: "bot", notBefore: []string{" cu"}, after: true},
			{literal: "bot_", notBefore: []string{" cu"}},
			{literal: "bots", notBefore: []string{" cu"}, after: true},
			{literal: "bots_", notBefore: []string{" cu"}},
		}
	case `(?<!cam)scan`:
		return []pattern{{literal: "scan", notBefore: []string{"cam"}}}
	case `(?<!lib)http`:
		return []pattern{{literal: "http", notBefore: []string{"lib"}}}
	case `java(?!;)`:
		return []pattern{{literal: "java", notAfter: []string{";"}}}
	}
	return nil
}

// isSure tells the patterns of isbot that no app's name is likely to match.
func isSure(literal string) bool {
	switch literal {
	case "bot", "bot_", "bots", "bots_", "crawl", "spider", "http", "scrape", "headless", "selenium", "playwright", "archive", "library":
		return true
	}
	return false
}
