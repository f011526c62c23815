package classify

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is something to find in a User-Agent.
type pattern struct {
	literal string         // lower case, at least 3 bytes: it must occur
	exact   string         // the literal in its own case, where case matters
	re      *regexp.Regexp // and this must match; nil: the literal suffices
	fold    bool           // re is for the lower-case text
	kind    string
	weak    bool // other patterns know the kind better
}

// filter finds patterns in a text in one pass over it: three bytes lead to the patterns whose
// literal begins so, and nearly always there are none.
type filter struct {
	bits    [1 << 10]uint64 // hashes of the first three bytes of each literal
	buckets map[uint32][]pattern
	size    int
}

func newFilter() *filter { return &filter{buckets: make(map[uint32][]pattern)} }

func trigram(b string) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func slot(t uint32) uint32 { return t * 2654435761 >> 16 }

func (f *filter) add(p pattern) error {
	if len(p.literal) < 3 {
		return fmt.Errorf("literal %q is too short to find", p.literal)
	}
	t := trigram(p.literal)
	f.bits[slot(t)>>6] |= 1 << (slot(t) & 63)
	f.buckets[t] = append(f.buckets[t], p)
	f.size++
	return nil
}

// find returns the kind of the first pattern found in the text, given as it came and in
// lower case, and "" for none. A weak pattern counts only if no other is found.
func (f *filter) find(raw, low []byte) string {
	weak := ""
	for i := 0; i+3 <= len(low); i++ {
		t := uint32(low[i]) | uint32(low[i+1])<<8 | uint32(low[i+2])<<16
		if f.bits[slot(t)>>6]&(1<<(slot(t)&63)) == 0 {
			continue
		}
		for j := range f.buckets[t] {
			p := &f.buckets[t][j]
			if weak != "" && p.weak || len(low)-i < len(p.literal) || string(low[i:i+len(p.literal)]) != p.literal {
				continue
			}
			if p.exact != "" && string(raw[i:i+len(p.exact)]) != p.exact {
				continue
			}
			if p.re != nil {
				text := raw
				if p.fold {
					text = low
				}
				if !p.re.Match(text) {
					continue
				}
			}
			if !p.weak {
				return p.kind
			}
			weak = p.kind
		}
	}
	return weak
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
	lit, whole := literal(tree)
	p.literal = strings.ToLower(lit)
	if whole {
		if !fold && p.literal != lit {
			p.exact = lit
		}
		return p, nil
	}
	p.re, err = regexp.Compile(expr)
	return p, err
}

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

// literal returns the longest text that every match of the expression holds, and whether
// the expression is nothing else.
func literal(re *syntax.Regexp) (lit string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune), re.Flags&syntax.FoldCase == 0
	case syntax.OpCapture:
		lit, _ = literal(re.Sub[0])
	case syntax.OpPlus:
		lit, _ = literal(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if l, _ := literal(sub); len(l) > len(lit) {
				lit = l
			}
		}
	}
	return lit, false
}
