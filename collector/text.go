package collector

import (
	"bytes"
	"unsafe"
)

// view returns b as a string without copying it. The string is good for as long as nobody
// writes to b: here, until the hit it belongs to is released.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// lower returns the lower-case form of an ASCII letter, and any other byte as it is.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// equalFold reports whether b is word, which is lower-case ASCII, in any case.
func equalFold[T string | []byte](b T, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(b) {
		if lower(b[i]) != word[i] {
			return false
		}
	}
	return true
}

// trim returns b without the spaces and control characters at its ends.
func trim(s string) string {
	for s != "" && s[0] <= ' ' {
		s = s[1:]
	}
	for s != "" && s[len(s)-1] <= ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// hexValue returns the value of a hexadecimal digit.
func hexValue(c byte) (v byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= lower(c) && lower(c) <= 'f':
		return lower(c) - 'a' + 10, true
	}
	return 0, false
}

// escape returns the byte that the percent-escape at the front of s stands for.
func escape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, ok1 := hexValue(s[1])
	lo, ok2 := hexValue(s[2])
	return hi<<4 | lo, ok1 && ok2
}

// nextToken cuts the next element off a comma-separated header value.
func nextToken(list []byte) (token, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		token, rest = list[:i], list[i+1:]
	} else {
		token, rest = list, nil
	}
	return bytes.TrimSpace(token), rest
}
