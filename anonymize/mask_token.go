package anonymize

import "strings"

// A token is told from a word by how often it goes from letters to digits and back, and from lower
// case to upper: in random base64url nearly every second pair of characters does, in names
// and words with a number behind them a few do.
//
// Pages have random names too, and those are no secret: articles, shows and pictures under a UUID, a
// hash or 22 letters and digits. They are of at most 160 bits and are the greater part of what looks random
// in paths. So a short one counts as a token where it is a value, or where the path says that
// it belongs to a person or opens something (secretWords); a long one counts everywhere.
const (
	minToken  = 16 // characters, where the path says that it is one
	anyToken  = 20 // elsewhere
	longToken = 40 // with letters of both cases: more than 160 bits
	longHex   = 48
	minBreaks = 3
)

// jwtEnd returns the end of the JSON web token (RFC 7519) that begins at t[i]: eyJ is {" in base64url.
func jwtEnd(t string, i int) int {
	if i > 0 && isWord(t[i-1]) {
		return 0
	}
	end, dots := i, 0
	for end < len(t) && (isWord(t[end]) || t[end] == '.') {
		if t[end] == '.' {
			if dots == 4 {
				break
			}
			dots++
		}
		end++
	}
	first, rest, _ := strings.Cut(t[i:end], ".")
	if len(first) < 12 || len(rest) < 4 {
		return 0
	}
	for t[end-1] == '.' && end > i+len(first)+5 {
		end--
	}
	return end
}

// sessionValue returns the value after the =, t[eq], where the name t[i:eq] is that of a secret.
func sessionValue(t string, i, eq int) (from, to int) {
	least := secretName(t[i:eq])
	if least == 0 {
		return 0, 0
	}
	from = eq + 1
	to = from
	for to < len(t) && strings.IndexByte("&;?#/ ,()\"'<>", t[to]) < 0 {
		to++
	}
	if to-from < least {
		return 0, 0
	}
	return from, to
}

// secretName returns how long a value of the parameter must be to be one, 0 for any other parameter.
func secretName(name string) int {
	if len(name) > 24 {
		return 0
	}
	switch strings.ToLower(name) {
	case "password", "passwd", "pwd", "passphrase", "secret", "client_secret":
		return 1
	case "jsessionid", "phpsessid", "sessionid", "session_id", "session", "sessid", "sid", "cftoken", "token", "access_token", "accesstoken",
		"id_token", "refresh_token", "auth_token", "authtoken", "auth", "csrf", "csrf_token", "csrftoken", "csrfmiddlewaretoken", "xsrf", "api_key", "apikey",
		"api-key", "reset_token", "magic", "x-amz-signature", "x-amz-security-token", "signature", "sig", "hmac":
		return 6
	}
	if len(name) > 12 && strings.EqualFold(name[:12], "aspsessionid") {
		return 6
	}
	return 0
}

// tokenAt returns the token that begins at t[i], or at a - or _ before it but not before lo: t[i:run] is
// all letters, digits, - and _, t[i:end] its first part without - and _.
func tokenAt(t string, i, end, run, lo int) (from, to int) {
	if run-i < minToken {
		return 0, 0
	}
	if isUUID(t[i:]) && (len(t)-i == 36 || !isAlnum(t[i+36])) && needed(t, i, run) <= shortRandom {
		return i, i + 36
	}
	for from = i; from > max(lo, 0) && (t[from-1] == '-' || t[from-1] == '_'); from-- {
	}
	if from == 0 || from == lo || !isAlnum(t[from-1]) {
		if r := randomness(t[from:run]); r > 0 && r >= needed(t, from, run) {
			for run < len(t) && t[run] == '=' {
				run++
			}
			return from, run
		}
	}
	if end-i >= minToken {
		if r := randomness(t[i:end]); r > 0 && r >= needed(t, i, run) {
			return i, end
		}
	}
	return 0, 0
}

// What randomness finds, and needed asks for.
const (
	briefRandom = 1 + iota
	shortRandom
	longRandom
	never
)

// randomness tells whether s, letters, digits, - and _, looks like a random number, and how long a one.
func randomness(s string) int {
	var digits, upper, lower, breaks, hex, marks int
	before := uint8(clsOther)
	for i := 0; i < len(s); i++ {
		class := tables.class[s[i]]
		switch class {
		case clsOther:
			marks++
		case clsDigit:
			digits++
		case clsLower:
			lower++
		case clsUpper:
			upper++
		}
		if unhex(s[i]) < 16 {
			hex++
		}
		breaks += int(tables.pair[(before<<2|class)&15])
		before = class
	}
	n := len(s) - marks
	random, long := false, false
	switch {
	case digits == 0 || upper+lower == 0 || n < minToken || marks > 2+len(s)/16:
	case hex == n && (upper == 0 || lower == 0):
		random, long = marks == 0 && breaks >= minBreaks, n >= longHex
	case upper > 0 && lower > 0:
		random, long = breaks*4 >= n, len(s) >= longToken
	default:
		random, long = breaks*11 >= n*2, n >= longHex
	}
	switch {
	case !random:
		return 0
	case long:
		return longRandom
	case n >= anyToken:
		return shortRandom
	}
	return briefRandom
}

// maxBefore is how far back the words are looked for that say what a text is.
const maxBefore = 256

// needed tells how long what looks random at t[i:run] must be to be a token.
func needed(t string, i, run int) int {
	if run < len(t) && t[run] == '.' && isAsset(t[run+1:]) {
		return never
	}
	before := t[max(i-maxBefore, 0):i]
	dir := strings.LastIndexByte(before, '/')
	switch {
	case isSecretPath(before):
		return briefRandom
	case dir < 0 || strings.ContainsAny(before[dir:], "=?#& "):
		return shortRandom
	}
	return longRandom
}

// isSecretPath reports whether one of the last words of dir, in up to three path segments,
// says that what follows belongs to a person or opens something.
func isSecretPath(dir string) bool {
	segments := 0
	for end := len(dir); end > 0 && segments <= 3; {
		if !isAlpha(dir[end-1]) {
			if end--; dir[end] == '/' {
				segments++
			}
			continue
		}
		start := end
		for start > 0 && isAlpha(dir[start-1]) {
			start--
		}
		if end-start <= 14 && isSecretWord(strings.ToLower(dir[start:end])) {
			return true
		}
		end = start
	}
	return false
}

func isSecretWord(s string) bool {
	switch s {
	case "reset", "password", "passwort", "recover", "recovery", "token", "tokens", "secret", "session", "sessions", "sid",
		"verify", "verification", "confirm", "confirmation", "activate", "activation", "invite", "invites", "invitation", "invitations",
		"einladung", "unsubscribe", "subscribe", "optin", "optout", "abmelden", "bestaetigen", "bestätigen",
		"auth", "oauth", "login", "signin", "signup", "register", "registration", "magic", "otp", "access", "refresh",
		"account", "accounts", "konto", "user", "users", "profile", "profiles", "profil", "member", "members", "customer", "customers", "kunde", "client", "clients",
		"patient", "patients", "person", "persons", "contact", "contacts", "email", "mail",
		"order", "orders", "bestellung", "invoice", "invoices", "rechnung", "booking", "bookings", "reservation", "reservations", "ticket", "tickets",
		"checkout", "cart", "basket", "warenkorb", "payment", "payments", "receipt", "shared", "share", "private", "preview", "apikey", "key", "keys", "welcome", "personal":
		return true
	}
	return false
}

// isUUID reports whether s begins with the text form of a UUID (RFC 9562).
func isUUID(s string) bool {
	if len(s) < 36 {
		return false
	}
	for i := range 36 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if unhex(s[i]) > 15 {
			return false
		}
	}
	return true
}

// isAsset reports whether a file name that goes on with s is that of a part of a page.
func isAsset(s string) bool {
	end := 0
	for end < len(s) && isAlnum(s[end]) {
		end++
	}
	switch strings.ToLower(s[:end]) {
	case "js", "mjs", "css", "map", "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "ico", "woff", "woff2", "ttf", "wasm", "mp3", "mp4", "webm":
		return true
	case "min", "chunk", "bundle":
		return end < len(s) && s[end] == '.' && isAsset(s[end+1:])
	}
	return false
}
