package classify

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is something to find in a User-Agent: a literal, where it may stand, and for the
// few expressions that are more than that, the expression.
type pattern struct {
	literal string // lower case, at least 3 bytes: it must occur
	exact   string // the literal in its own case, where case matters
	start   bool   // only at the start of the text
	before  bool   // no letter, digit or _ before it
	after   bool   // none after it
	// Texts of which none may stand right before or after the literal.
	notBefore, notAfter []string

	re   *regexp.Regexp
	fold bool // re is for the lower-case text
	kind string
	weak bool // other patterns know the kind better
	sure bool // tells robots from apps too
}

// matchAt reports whether the pattern, whose literal's first three bytes are at i, matches.
func (p *pattern) matchAt(raw, low []byte, i int) bool {
	end := i + len(p.literal)
	switch {
	case end > len(low) || string(low[i:end]) != p.literal:
		return false
	case p.exact != "" && string(raw[i:end]) != p.exact:
		return false
	case p.start && i > 0, p.before && i > 0 && isWord(low[i-1]), p.after && end < len(low) && isWord(low[end]):
		return false
	}
	for _, t := range p.notBefore {
		if i >= len(t) && string(low[i-len(t):i]) == t {
			return false
		}
	}
	for _, t := range p.notAfter {
		if len(low)-end >= len(t) && string(low[end:end+len(t)]) == t {
			return false
		}
	}
	switch {
	case p.re == nil:
		return true
	case p.fold:
		return p.re.Match(low)
	}
	return p.re.Match(raw)
}

// isWord is what \b parts from the rest.
func isWord(c byte) bool { return c-'0' < 10 || c-'a' < 26 || c-'A' < 26 || c == '_' }

// filter finds patterns in a text in one pass over it: three bytes lead to the patterns whose
// literal begins so, and nearly always there are none.
type filter struct {
	bits     [1 << 11]uint64 // hashes of the first three bytes of each literal
	patterns map[uint32][]pattern
	size     int
}

func newFilter() *filter { return &filter{patterns: make(map[uint32][]pattern)} }

func trigram(a, b, c byte) uint32 { return uint32(a) | uint32(b)<<8 | uint32(c)<<16 }

// slot is a multiplicative hash of 17 bits.
func slot(t uint32) uint32 { return t * 2654435761 >> 15 }

func (f *filter) add(p pattern) error {
	if len(p.literal) < 3 {
		return fmt.Errorf("literal %q is too short to find", p.literal)
	}
	t := trigram(p.literal[0], p.literal[1], p.literal[2])
	f.bits[slot(t)>>6] |= 1 << (slot(t) & 63)
	f.patterns[t] = append(f.patterns[t], p)
	f.size++
	return nil
}

// find returns the kind of the first pattern found in the text, given as it came and in
// lower case, and "" for none. A weak pattern counts only if no other is found, and with app
// only if it is sure.
func (f *filter) find(raw, low []byte, app bool) string {
	weak := ""
	for i := 0; i+3 <= len(low); i++ {
		t := trigram(low[i], low[i+1], low[i+2])
		if f.bits[slot(t)>>6]&(1<<(slot(t)&63)) == 0 {
			continue
		}
		list := f.patterns[t]
		for j := range list {
			if p := &list[j]; p.weak && (weak != "" || app && !p.sure) || !p.matchAt(raw, low, i) {
				continue
			} else if !p.weak {
				return p.kind
			} else {
				weak = p.kind
			}
		}
	}
	return weak
}

// newPatterns compiles an expression, each of its alternatives apart.
func newPatterns(expr string, fold bool) ([]pattern, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	alternatives := []string{expr}
	if tree.Op == syntax.OpAlternate {
		alternatives = nil
		for _, sub := range tree.Sub {
			alternatives = append(alternatives, sub.String())
		}
	}
	var out []pattern
	for _, a := range alternatives {
		p, err := newPattern(a, fold)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// newPattern compiles an expression. With fold it is matched without regard to case.
func newPattern(expr string, fold bool) (pattern, error) {
	p := pattern{fold: fold}
	if fold {
		expr = lowerExpr(expr)
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return p, err
	}
	tree = tree.Simplify()
	if p.simple(tree) {
		return p, nil
	}
	p.literal = strings.ToLower(literal(tree))
	if sub := tree.Sub; tree.Op == syntax.OpConcat && sub[0].Op == syntax.OpBeginText && sub[1].Op == syntax.OpLiteral &&
		len(sub[1].Rune) >= 3 {
		p.start, p.literal = true, strings.ToLower(string(sub[1].Rune)) // rarer than a longer one anywhere
	}
	p.re, err = regexp.Compile(expr)
	return p, err
}

// simple takes an expression that is a literal with at most an anchor or word boundary at
// its ends.
func (p *pattern) simple(tree *syntax.Regexp) bool {
	subs := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		subs = tree.Sub
	}
	var q pattern
	for i, sub := range subs {
		switch {
		case sub.Op == syntax.OpLiteral && sub.Flags&syntax.FoldCase == 0 && q.literal == "":
			q.exact = string(sub.Rune)
			q.literal = strings.ToLower(q.exact)
		case sub.Op == syntax.OpBeginText && i == 0:
			q.start = true
		case sub.Op == syntax.OpWordBoundary && q.literal == "" && i == 0:
			q.before = true
		case sub.Op == syntax.OpWordBoundary && q.literal != "" && i == len(subs)-1:
			q.after = true
		default:
			return false
		}
	}
	n := len(q.literal)
	if n == 0 || q.before && !isWord(q.literal[0]) || q.after && !isWord(q.literal[n-1]) {
		return false // \b beside what is no word means the opposite
	}
	if p.fold || q.exact == q.literal && !hasLetter(q.literal) {
		q.exact = ""
	}
	p.literal, p.exact, p.start, p.before, p.after = q.literal, q.exact, q.start, q.before, q.after
	return true
}

func hasLetter(s string) bool { return strings.ToUpper(s) != s }

// lowerExpr lower-cases what an expression matches and leaves classes such as \S alone.
func lowerExpr(expr string) string {
	b := []byte(expr)
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
			continue
		}
		b[i] = bytes.ToLower(b[i : i+1])[0]
	}
	return string(b)
}

// literal returns the longest text that every match of the expression holds.
func literal(re *syntax.Regexp) (longest string) {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return literal(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if l := literal(sub); len(l) > len(longest) {
				longest = l
			}
		}
	}
	return longest
}
