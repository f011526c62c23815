package anonymize

import "strings"

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isWord(c byte) bool  { return isAlnum(c) || c == '-' || c == '_' }

// scan finds what there is in t: e-mail addresses first, since what is before their @ may look like
// any other kind, then the rest between them.
func (m *masker) scan(t string) {
	lo := 0
	for from := 0; ; {
		i := strings.IndexByte(t[from:], '@')
		if i < 0 {
			break
		}
		i += from
		from = i + 1
		if a, b, ok := emailAt(t, i, lo); ok {
			m.rest(t[lo:a], lo)
			m.add(a, b, FoundEmail)
			lo, from = b, b
		}
	}
	m.rest(t[lo:], lo)
}

// rest finds everything but e-mail addresses in t, which begins at off of the text. Each step looks
// at a bounded number of bytes, or at a run of them that is then done with.
func (m *masker) rest(t string, off int) {
	for i := 0; i < len(t); {
		c := t[i]
		switch {
		case c == '+' && i+1 < len(t) && isDigit(t[i+1]) && (i == 0 || !isAlnum(t[i-1])):
			if end := phoneEnd(t, i); end > 0 {
				m.add(off+i, off+end, FoundPhone)
				i = end
				continue
			}
			i++
		case c == ':' && i+1 < len(t) && t[i+1] == ':' && (i == 0 || !isAlnum(t[i-1]) && t[i-1] != ':'):
			if end := ipv6End(t, i); end > 0 {
				m.add(off+i, off+end, FoundIP)
				i = end
				continue
			}
			i += 2
		case isAlnum(c):
			i = m.word(t, i, off)
		default:
			i++
		}
	}
}

// word looks at what begins at the letter or digit t[i], before which there is none, and
// returns where to go on.
func (m *masker) word(t string, i, off int) int {
	end := i + 1
	digits := isDigit(t[i])
	for end < len(t) && isAlnum(t[end]) {
		digits = digits || isDigit(t[end])
		end++
	}
	found := func(from, to int, kind Found) int {
		m.add(off+from, off+to, kind)
		return to
	}
	if end-i <= 4 && end < len(t) && t[end] == ':' {
		if to := ipv6End(t, i); to > 0 {
			return found(i, to, FoundIP)
		}
	}
	if end-i >= 3 && t[i:i+3] == "eyJ" {
		if to := jwtEnd(t, i); to > 0 {
			return found(i, to, FoundToken)
		}
	}
	if isDigit(t[i]) {
		if to := ipv4End(t, i); to > 0 {
			return found(i, to, FoundIP)
		}
		if to := cardEnd(t, i); to > 0 {
			return found(i, to, FoundCard)
		}
		if to := phoneEnd(t, i); to > 0 {
			if i > 0 && t[i-1] == '(' && strings.IndexByte(t[i:to], ')') >= 0 && off+i-1 >= m.end {
				i-- // (030) 1234567
			}
			return found(i, to, FoundPhone)
		}
	} else if digits {
		if to := ibanEnd(t, i); to > 0 {
			return found(i, to, FoundIBAN)
		}
		if from, to := ipv4InWord(t, i, end); to > 0 {
			return found(from, to, FoundIP)
		}
	}
	// A run of letters, digits, - and _ may be a token as a whole, and so may its parts.
	if m.run <= off+i {
		m.run = off + end
		for m.run < off+len(t) && isWord(t[m.run-off]) {
			m.run++
		}
	}
	run := m.run - off
	if run < len(t) && t[run] == '=' {
		if from, to := sessionValue(t, i, run); to > 0 {
			return found(from, to, FoundToken)
		}
	}
	if from, to := tokenAt(t, i, end, run, m.end-off); to > 0 {
		return found(from, to, FoundToken)
	}
	return end
}
