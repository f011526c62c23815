package anonymize

import "strings"

// quad reads four numbers of at most 255 with dots between them, without leading zeros, after
// which comes no further number. large counts those above 30, which versions seldom have.
func quad(t string) (end, large int, special bool) {
	var first, all int
	for n := range 4 {
		if n > 0 {
			if end >= len(t) || t[end] != '.' {
				return 0, 0, false
			}
			end++
		}
		start, v := end, 0
		for end < len(t) && isDigit(t[end]) && end-start < 4 {
			v = v*10 + int(t[end]-'0')
			end++
		}
		if end == start || v > 255 || end-start > 1 && t[start] == '0' {
			return 0, 0, false
		}
		if v > 30 {
			large++
		}
		if n == 0 {
			first = v
		}
		all |= v
	}
	if end < len(t) && (isAlnum(t[end]) || t[end] == '.' && end+1 < len(t) && isDigit(t[end+1])) {
		return 0, 0, false
	}
	return end, large, first == 127 || all == 0
}

// ipv4End returns the end of the IPv4 address that begins at t[i].
//
// Four numbers up to 30 are the version of a program (a random address is like that once in 4,000), and
// so are those behind a v, a word or a hyphen with fewer than two numbers above 30, and those of
// a file. The machine itself (127.0.0.0/8, 0.0.0.0) is nobody's address.
func ipv4End(t string, i int) int {
	if i > 1 && t[i-1] == '.' && isAlnum(t[i-2]) {
		return 0
	}
	n, large, special := quad(t[i:])
	if n == 0 || special {
		return 0
	}
	end := i + n
	if afterName(t, i, "ip") || afterName(t, i, "addr") {
		return end
	}
	need := 1
	if i > 0 && (t[i-1] == '-' || t[i-1] == '_') || end < len(t) && (t[end] == '-' || t[end] == '_') {
		need = 2
	}
	if large < need || isAfterVersion(t[:i]) {
		return 0
	}
	return end
}

// ipv4InWord finds an IPv4 address right behind the letters of the word t[i:end].
func ipv4InWord(t string, i, end int) (from, to int) {
	if end == len(t) || t[end] != '.' {
		return 0, 0
	}
	for from = end; from > i && isDigit(t[from-1]); from-- {
	}
	if from == end || from == i+1 && t[i]|0x20 == 'v' {
		return 0, 0
	}
	n, large, special := quad(t[from:])
	if n == 0 || special || large < 2 {
		return 0, 0
	}
	return from, from + n
}

// afterName reports whether what begins at t[i] is the value of a parameter, or what
// follows the path segment, whose name ends in name.
func afterName(t string, i int, name string) bool {
	if i == 0 || t[i-1] != '=' && t[i-1] != '/' && t[i-1] != ':' {
		return false
	}
	j := i - 1 - len(name)
	return j >= 0 && strings.EqualFold(t[j:i-1], name)
}

// isAfterVersion reports whether s ends in a word for version and what separates it.
func isAfterVersion(s string) bool {
	s = strings.TrimRight(s[max(len(s)-16, 0):], " -_/=")
	for _, w := range [...]string{"version", "release", "ver"} {
		if len(s) >= len(w) && strings.EqualFold(s[len(s)-len(w):], w) {
			return true
		}
	}
	return false
}

// ipv6End returns the end of the IPv6 address (RFC 4291, section 2.2) that begins at t[i]. Times of day
// have no eight groups and no double colon; names such as a::b have no digit, or fewer than four.
func ipv6End(t string, i int) int {
	if i > 0 && (isAlnum(t[i-1]) || t[i-1] == ':' || t[i-1] == '.' || t[i-1] == '_') {
		return 0
	}
	end, groups, gap, digit, hex, ones := i, 0, false, false, 0, 0
	if strings.HasPrefix(t[i:], "::") {
		gap, end = true, i+2
	}
	for groups < 8 {
		start := end
		for end < len(t) && end-start < 5 && unhex(t[end]) < 16 {
			digit = digit || isDigit(t[end])
			if t[end] != '0' {
				ones++
			}
			end++
		}
		if end == start {
			break
		}
		if end < len(t) && t[end] == '.' && groups <= 6 { // the last four bytes as IPv4
			if n, _, _ := quad(t[start:]); n > 0 {
				end, groups, hex = start+n, groups+2, hex+8
				break
			}
		}
		if end-start > 4 || end < len(t) && isAlnum(t[end]) {
			return 0
		}
		groups++
		hex += end - start
		if end+1 >= len(t) || t[end] != ':' {
			break
		}
		if t[end+1] == ':' {
			if gap {
				break
			}
			gap = true
			end++
		} else if unhex(t[end+1]) > 15 {
			break
		}
		end++
	}
	switch {
	case gap && groups > 7, !gap && groups != 8, end < len(t) && isAlnum(t[end]):
		return 0
	case !digit, hex < 4, ones < 2: // ::1 and :: are the machine itself
		return 0
	}
	return end
}
