package anonymize

import "strings"

// isLocal reports whether c may be in the part of an e-mail address before the @ (RFC 5322's atoms, and
// other scripts than Latin), without what separates in addresses of pages: / ? # & =.
func isLocal(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte("._%+-'~!$*^|{}`", c) >= 0
}

// emailAt returns the e-mail address whose @ is t[at] and that does not begin before lo.
//
// The domain has a dot, and ends in what can be a top-level domain: @user, package@1.2.3 and
// icon@2x.png are none. user@social.example with an @ before it, as in the Fediverse, is one.
func emailAt(t string, at, lo int) (from, to int, ok bool) {
	from = at
	for from > lo && isLocal(t[from-1]) {
		from--
	}
	for from < at && !isAlnum(t[from]) && t[from] < 0x80 {
		from++
	}
	if from == at {
		return 0, 0, false
	}
	end := at + 1
	for end < len(t) && end-at <= maxDomain && (isAlnum(t[end]) || t[end] >= 0x80 || t[end] == '-' || t[end] == '.') {
		end++
	}
	// The longest part that is a domain: of b@example.org.html it is example.org.
	for domain := t[at+1 : end]; ; {
		dot := strings.LastIndexByte(domain, '.')
		if dot <= 0 {
			return 0, 0, false
		}
		if n := topLevel(domain[dot+1:]); n > 0 && isAlnumOrHigh(domain[dot-1]) && !isFile(domain[:dot], domain[dot+1:dot+1+n]) {
			return from, at + 1 + dot + 1 + n, true
		}
		domain = domain[:dot]
	}
}

// maxDomain is the longest a domain can be (RFC 1035), in bytes.
const maxDomain = 255

func isAlnumOrHigh(c byte) bool { return isAlnum(c) || c >= 0x80 }

// topLevel returns the length of the top-level domain that label is, or begins with before a
// hyphen, and 0 for none.
func topLevel(label string) int {
	n := 0
	for n < len(label) && (isAlpha(label[n]) || label[n] >= 0x80) {
		n++
	}
	switch {
	case len(label) >= 6 && strings.EqualFold(label[:4], "xn--"):
		return len(strings.TrimRight(label, "-"))
	case n < 2, n < len(label) && label[n] != '-', isFileSuffix(label[:n]):
		return 0
	}
	return n
}

// isFileSuffix reports whether s is an ending of file names and no top-level domain.
func isFileSuffix(s string) bool {
	if len(s) > 5 {
		return false
	}
	switch strings.ToLower(s) {
	case "png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "ico", "css", "js", "mjs", "cjs", "ts", "jsx", "tsx",
		"json", "xml", "html", "htm", "php", "asp", "aspx", "jsp", "txt", "pdf", "doc", "docx", "xls", "xlsx",
		"csv", "gz", "tgz", "bz", "xz", "woff", "ttf", "otf", "webm", "wasm", "map", "yml", "yaml", "exe", "dmg",
		"deb", "rpm", "apk", "iso", "jar", "war", "bak", "log":
		return true
	}
	return false
}

// isFile reports whether name.top is a version and more, as behind the @ of a package: 1.2.3.min, 2.0.zip,
// v1.mod. Domains such as 163.com are none.
func isFile(name, top string) bool {
	return (strings.IndexByte(name, '.') >= 0 || isAlsoSuffix(top)) && isVersion(name)
}

// isAlsoSuffix reports whether a top-level domain is also an ending of file names.
func isAlsoSuffix(s string) bool {
	switch strings.ToLower(s) {
	case "zip", "mov", "md", "sh", "py", "rs", "pl", "ps", "so", "info", "mod":
		return true
	}
	return false
}

// isVersion reports whether s is like 1.2.3, v2 or 2x.
func isVersion(s string) bool {
	for more := true; more; {
		var label string
		label, s, more = strings.Cut(s, ".")
		if len(label) > 1 && label[0]|0x20 == 'v' {
			label = label[1:]
		}
		n := 0
		for n < len(label) && isDigit(label[n]) {
			n++
		}
		if n == 0 || n < len(label)-1 {
			return false
		}
	}
	return true
}
