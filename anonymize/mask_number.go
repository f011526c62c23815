package anonymize

import "strings"

// numbers is a chain of groups of digits with separators between them.
type numbers struct {
	n      int
	from   [maxGroups]int
	to     [maxGroups]int
	digits int  // of all groups
	slash  bool // a separator has a slash
}

const (
	maxGroups = 9
	maxDigits = 24
	minPhone  = 7 // digits
)

// readNumbers reads the chain that begins at t[i], a digit. Separators are up to three of space - . ( )
// and, behind an area code, one slash.
func readNumbers(t string, i int) (c numbers) {
	for c.n < maxGroups {
		start := i
		for i < len(t) && isDigit(t[i]) {
			i++
		}
		if i == start || c.digits+i-start > maxDigits {
			break
		}
		if i < len(t) && isAlpha(t[i]) {
			break // 12ab is no group of a number
		}
		c.from[c.n], c.to[c.n] = start, i
		c.digits += i - start
		c.n++
		sep := i
		for i < len(t) && i-sep < 3 && strings.IndexByte(" -.()", t[i]) >= 0 {
			i++
		}
		if i == sep && c.n == 1 && i < len(t) && t[i] == '/' && t[start] == '0' && (start == 0 || t[start-1] != '/') {
			c.slash = true
			i++
		}
		if i == sep {
			break
		}
	}
	return c
}

func (c *numbers) size(i int) int { return c.to[i] - c.from[i] }

// sizes reports whether the groups from i on have these sizes and are the last.
func (c *numbers) sizes(i int, want ...int) bool {
	if c.n-i != len(want) {
		return false
	}
	for k, w := range want {
		if c.size(i+k) != w {
			return false
		}
	}
	return true
}

// goesOn reports whether t[i] is part of a longer number: of a date, a version, a decimal.
func goesOn(t string, i int) bool {
	return i > 1 && strings.IndexByte("-./_,:", t[i-1]) >= 0 && isDigit(t[i-2])
}

// phoneEnd returns the end of the telephone number that begins at t[i], a digit or a +.
//
// International: + or 00 and 8 to 15 digits (E.164). National: a trunk 0 and 9 to 12 digits in all, in
// groups or in one piece; three, three and four digits as in North America, in groups. Other
// runs of digits are numbers of things, unless their parameter says what they are (tel=).
func phoneEnd(t string, i int) int {
	if t[i] == '+' {
		c := readNumbers(t, i+1)
		if c.n == 0 || t[i+1] == '0' {
			return 0
		}
		return c.international(t, 0)
	}
	if goesOn(t, i) {
		return 0
	}
	c := readNumbers(t, i)
	if c.n == 0 {
		return 0
	}
	first := t[c.from[0]:c.to[0]]
	switch {
	case saysPhone(t[:i]):
		if c.digits >= minPhone && c.digits <= 15 {
			return c.to[c.n-1]
		}
	case strings.HasPrefix(first, "00") && len(first) > 2 && first[2] != '0' || first == "00" && c.n > 1:
		if c.n == 1 && len(first) < 13 {
			return 0 // a number with leading zeros
		}
		return c.international(t, 2)
	case len(first) > 1 && first[0] == '0' && first[1] != '0':
		return c.national(t)
	}
	return c.northAmerican(t)
}

// international returns the end of the number whose digits, but for the first skip, are a
// country's code and so on.
func (c *numbers) international(t string, skip int) int {
	n, digits := 0, 0
	for n < c.n && digits+c.size(n) <= 15+skip {
		digits += c.size(n)
		n++
	}
	if digits -= skip; digits < 8 {
		return 0
	}
	// +52.5200066 is a latitude.
	if n == 2 && t[c.to[0]] == '.' && c.from[1] == c.to[0]+1 && digits < 10 {
		return 0
	}
	return c.to[n-1]
}

// national returns the end of a number with a trunk 0.
func (c *numbers) national(t string) int {
	if c.n == 1 {
		s := t[c.from[0]:c.to[0]]
		if len(s) != 11 && (len(s) != 10 || isISBN(t, c.from[0], c.to[0])) || !standsAlone(t, c.from[0], c.to[0]) {
			return 0
		}
		return c.to[0]
	}
	n, digits := 0, 0
	for n < c.n && digits+c.size(n) <= 12 {
		digits += c.size(n)
		n++
	}
	switch {
	case digits < 9, n == 1, c.size(0) > 5, c.size(n-1) < 2, c.slash && c.size(1) < 4:
		return 0
	case c.size(0) == 2 && c.size(1) == 2 && n > 2 && (isYear(t, c.from[n-1], c.to[n-1]) || isYear(t, c.from[2], c.to[2])):
		return 0 // 09-12-06-2016
	}
	return c.to[n-1]
}

// isYear reports whether t[from:to] is a year of these times.
func isYear(t string, from, to int) bool {
	return to-from == 4 && (t[from:from+2] == "19" || t[from:from+2] == "20")
}

// northAmerican returns the end of a number of the North American plan: (212) 555-0123.
func (c *numbers) northAmerican(t string) int {
	i := 0
	if c.n == 4 && c.size(0) == 1 && t[c.from[0]] == '1' {
		i = 1
	}
	if !c.sizes(i, 3, 3, 4) || t[c.from[i]] < '2' || t[c.from[i+1]] < '2' {
		return 0
	}
	return c.to[c.n-1]
}

// isISBN reports whether t[from:to] are the ten digits of a book's number, with their check digit.
func isISBN(t string, from, to int) bool {
	sum := 0
	for i := from; i < to; i++ {
		sum += (10 - (i - from)) * int(t[i]-'0')
	}
	return sum%11 == 0
}

// standsAlone reports whether t[from:to] is a whole path segment, value or word.
func standsAlone(t string, from, to int) bool {
	return (from == 0 || strings.IndexByte("/ =&:,;(\"'#?|", t[from-1]) >= 0) &&
		(to == len(t) || strings.IndexByte("/ &:,;)\"'#?|", t[to]) >= 0 || t[to] == '.' && (to+1 == len(t) || t[to+1] == ' '))
}

// saysPhone reports whether s ends in a name for a telephone number, and = or : after it.
func saysPhone(s string) bool {
	s = strings.TrimRight(s[max(len(s)-16, 0):], " (")
	if s == "" || s[len(s)-1] != '=' && s[len(s)-1] != ':' {
		return false
	}
	s = s[:len(s)-1]
	start := len(s)
	for start > 0 && len(s)-start < 12 && isAlpha(s[start-1]) {
		start--
	}
	switch strings.ToLower(s[start:]) {
	case "tel", "phone", "telephone", "telefon", "telefono", "mobile", "mobil", "cell", "handy", "fax", "msisdn", "callto", "sms", "whatsapp", "phonenumber":
		return true
	}
	return false
}

// cardEnd returns the end of the number of a payment card that begins at t[i]: the prefixes and lengths
// that are given out (ISO/IEC 7812), the groups in which they are written, and Luhn's check digit.
func cardEnd(t string, i int) int {
	if goesOn(t, i) {
		return 0
	}
	var digits [19]byte
	var groups [5]int
	n, end := 0, i
	for g := range groups {
		for end < len(t) && isDigit(t[end]) && n < len(digits) {
			digits[n] = t[end] - '0'
			n++
			groups[g]++
			end++
		}
		if end < len(t) && isAlnum(t[end]) {
			return 0
		}
		if isGrouped(groups) && isIssued(digits[:n]) && luhn(digits[:n]) {
			return end
		}
		if end+1 >= len(t) || t[end] != ' ' && t[end] != '-' && t[end] != '+' || !isDigit(t[end+1]) {
			return 0
		}
		end++
	}
	return 0
}

// isGrouped reports whether the digits of a card are written in groups of these sizes.
func isGrouped(groups [5]int) bool {
	switch groups {
	case [5]int{4, 4, 4, 4}, [5]int{4, 6, 5}, [5]int{4, 6, 4}, [5]int{4, 4, 4, 4, 3}:
		return true
	}
	return groups[0] >= 12 && groups[1] == 0
}

// luhn reports whether the last digit is right for the ones before it (ISO/IEC 7812-1, annex B).
func luhn(digits []byte) bool {
	sum := 0
	for k := range digits {
		d := int(digits[len(digits)-1-k])
		if k%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isIssued reports whether a network issues cards with these first digits and this many in all.
func isIssued(d []byte) bool {
	p := 0
	for _, c := range d[:4] {
		p = p*10 + int(c)
	}
	in := func(from, to int) bool { return from <= p && p <= to }
	switch n := len(d); {
	case in(4000, 4999): // Visa
		return n == 16 || n == 19
	case in(5100, 5599), in(2221, 2720): // Mastercard
		return n == 16
	case in(3400, 3499), in(3700, 3799): // American Express
		return n == 15
	case in(3000, 3059), in(3095, 3095), in(3600, 3699), in(3800, 3999): // Diners Club
		return n == 14 || n == 16
	case in(6011, 6011), in(6440, 6599), in(3528, 3589), in(6200, 6299), in(2200, 2204), in(8100, 8199): // Discover, JCB, UnionPay, Mir, RuPay
		return n >= 16
	case p == 5018, p == 5020, p == 5038, p == 5893, p == 6304, p == 6759, in(6761, 6763): // Maestro
		return true
	}
	return false
}

// ibanLengths are the lengths of account numbers by country (ISO 13616, the SWIFT registry).
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27" +
	"GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27" +
	"MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

// ibanEnd returns the end of the account number that begins at t[i], by its country's length and
// its check digits (ISO 7064, mod 97-10).
func ibanEnd(t string, i int) int {
	if len(t)-i < 15 || !isAlpha(t[i]) || !isAlpha(t[i+1]) || !isDigit(t[i+2]) || !isDigit(t[i+3]) {
		return 0
	}
	want := 0
	for k := 0; k < len(ibanLengths); k += 4 {
		if ibanLengths[k] == t[i]&^0x20 && ibanLengths[k+1] == t[i+1]&^0x20 {
			want = int(ibanLengths[k+2]-'0')*10 + int(ibanLengths[k+3]-'0')
			break
		}
	}
	if want == 0 {
		return 0
	}
	var c [34]byte
	n, end := 0, i
	for n < want && end < len(t) {
		switch {
		case isAlnum(t[end]):
			c[n] = t[end]
			n++
			end++
		case (t[end] == ' ' || t[end] == '-' || t[end] == '+' || t[end] == '.') && end+1 < len(t) && isAlnum(t[end+1]):
			end++
		default:
			return 0
		}
	}
	if n < want || end < len(t) && isAlnum(t[end]) {
		return 0
	}
	mod := 0
	for k := range n {
		b := c[(k+4)%n]
		if isDigit(b) {
			mod = (mod*10 + int(b-'0')) % 97
		} else {
			mod = (mod*100 + int(b|0x20-'a') + 10) % 97
		}
	}
	if mod != 1 {
		return 0
	}
	return end
}
