package classify

import "bytes"

// scan is one pass over a User-Agent: its words in lower case, and the best row of each
// table that they name. It lives on the stack of a look-up.
//
// A word ends at a space or one of ()[];, and a slash or colon parts its name from its value.
type scan struct {
	raw []byte // as it came, at most maxAgent bytes; borrowed
	low [maxAgent]byte
	n   int // bytes used of low

	best    [kinds]rank // the strongest row of each table
	version [kinds]span
	refs    [maxRefs]span // versions of the words that rows refer to

	mobile    bool // the word "mobile"
	webview   bool // Android's "wv"
	explained bool // every word is one that people's browsers use
	model     span // the field of the device's model in Android's comment
	tainted   bool // that field holds more than a model
}

// The tables a word can have a row in.
const (
	inBrowsers = iota
	inSystems
	inDevices
	kinds
)

type span struct{ from, to int16 }

func (p span) empty() bool { return p.from >= p.to }

func (s *scan) text(p span) []byte { return s.low[p.from:p.to] }

func isDigit(c byte) bool { return c-'0' < 10 }

func isDelim(c byte) bool {
	switch c {
	case ' ', '\t', '(', ')', '[', ']', ';', ',':
		return true
	}
	return false
}

// word is a part of a scan's text: all of it, the name before the slash and the value after.
type word struct{ all, name, value span }

// next returns the first word at or after i; ok is false at the end.
func (s *scan) next(i int16) (w word, ok bool) {
	n := int16(s.n)
	for i < n && isDelim(s.low[i]) {
		i++
	}
	if i == n {
		return w, false
	}
	start, slash := i, int16(-1)
	for ; i < n && !isDelim(s.low[i]); i++ {
		if c := s.low[i]; slash < 0 && (c == '/' || c == ':') {
			slash = i
		}
	}
	w = word{all: span{start, i}, name: span{start, i}}
	if slash > start {
		w.name.to, w.value = slash, span{slash + 1, i}
	}
	return w, true
}

// versionOf returns the value of w, or its last part ("MiuiBrowser/14.1" of "XiaoMi/MiuiBrowser/14.1"),
// else the following word where that begins with a digit.
func (s *scan) versionOf(w word) span {
	v := w.value
	if v.empty() {
		n, ok := s.next(w.all.to)
		if !ok {
			return span{}
		}
		if v = n.all; string(s.text(v)) == "os" { // Windows Phone OS 7.5
			if n, ok = s.next(v.to); ok {
				v = n.all
			}
		}
	} else if i := bytes.LastIndexByte(s.text(v), '/'); i >= 0 && !isDigit(s.low[v.from]) {
		v.from += int16(i) + 1
	}
	if !v.empty() && (s.low[v.from] == 'v' || s.low[v.from] == '/' || s.low[v.from] == '_') {
		v.from++
	}
	if v.empty() || !isDigit(s.low[v.from]) {
		return span{}
	}
	return v
}

// run reads ua.
func (s *scan) run(ua []byte, t *agentTable) {
	s.raw = ua[:min(len(ua), maxAgent)]
	s.n = len(s.raw)
	for i, c := range s.raw {
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		s.low[i] = c
	}
	s.explained = s.n > 0
	var prev word
	var prevEntry entry
	for w, ok := s.next(0); ok; w, ok = s.next(w.all.to) {
		e, known := t.words[string(s.text(w.name))]
		if !known {
			var n int
			if e, n = t.prefixed(s.text(w.name)); n > 0 {
				known = true
				if w.value.empty() {
					w.value = span{w.name.from + int16(n), w.name.to} // "android4.0"
				}
			}
		}
		s.apply(e, w)
		if e.flags&beginsValue != 0 {
			s.apply(t.words[string(s.text(w.all))], w)
		}
		if prevEntry.flags&beginsPair != 0 && prev.all.to+1 == w.all.from && s.low[prev.all.to] == ' ' {
			if p, ok := t.words[string(s.low[prev.all.from:w.name.to])]; ok {
				s.apply(p, w)
				known = true
			}
		}
		switch {
		case e.flags&isMobile != 0:
			s.mobile = true
		case e.flags&isWebView != 0:
			s.webview = true
		case e.flags&beginsModel != 0 && s.model.empty():
			s.model = s.modelAfter(w)
		}
		if !known && !s.plain(w) {
			s.explained = false
		}
		prev, prevEntry = w, e
	}
}

// apply takes what the entry of a word says.
func (s *scan) apply(e entry, w word) {
	if e.ref != 0 && s.refs[e.ref].empty() {
		s.refs[e.ref] = s.versionOf(w)
	}
	for k, r := range e.rows {
		if r.rank <= s.best[k] {
			continue
		}
		var v span
		switch {
		case r.from == versionNone || r.from > 0:
		case r.from == versionThird:
			if n, ok := s.next(w.all.to); ok {
				v = s.versionOf(word{all: n.all, name: n.all})
			}
		case r.from == versionNext:
			if n, ok := s.next(w.all.to); ok {
				v = n.value
			}
		default:
			v = s.versionOf(w)
			if r.from == versionNeeded && v.empty() {
				continue
			}
		}
		s.best[k], s.version[k] = r.rank, v
	}
}

// modelAfter returns where the rest of the comment after Android's version is, with the
// device's model: words that say nothing of who asks.
func (s *scan) modelAfter(w word) span {
	from := w.all.to
	for i := int(from); i < s.n; i++ {
		if s.low[i] == ')' {
			return span{from, int16(i)}
		}
	}
	return span{}
}

// plain reports whether an unknown word is nothing but a number, a language ("en-us")
// or part of a device's model.
func (s *scan) plain(w word) bool {
	if w.all.from >= s.model.from && w.all.to <= s.model.to {
		bad := s.suspicious(w)
		s.tainted = s.tainted || bad
		return !bad
	}
	b := s.text(w.all)
	if isDigit(b[0]) {
		for _, c := range b {
			if !isDigit(c) && c != '.' && c != '_' {
				return false
			}
		}
		return true
	}
	return len(b) == 2 && isLetters(b) ||
		len(b) == 5 && (b[2] == '-' || b[2] == '_') && isLetters(b[:2]) && isLetters(b[3:])
}

func isLetters(b []byte) bool { return b[0]-'a' < 26 && b[1]-'a' < 26 }

// suspicious reports whether a word in the field of the model has what no model has: an
// address, or a robot's name with a version. Robots put theirs into any comment.
func (s *scan) suspicious(w word) bool {
	b := s.text(w.all)
	for i, c := range b {
		if c == '@' || c == ':' && i+2 < len(b) && b[i+1] == '/' && b[i+2] == '/' {
			return true
		}
	}
	return string(b) == "compatible" || !w.value.empty() && bytes.Contains(s.text(w.name), []byte("bot"))
}
