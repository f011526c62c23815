package engine

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// exception is an error of the engine's, with ClickHouse's code and text.
type exception struct {
	code int
	text string // "Code: 60. DB::Exception: ..."; quotes the statement, so it goes to the client and into no log
}

func (e *exception) Error() string { return e.text }

// ClickHouse's codes for the errors that the bridge raises itself.
const (
	codeBadArguments  = 36
	codeSyntax        = 62
	codeNoData        = 108
	codeCannotRead    = 33
	codeTimeout       = 159
	codeTooManyBytes  = 307
	codeUnknownFormat = 73
	codeNotSupported  = 48
	codeTooMany       = 202
	codeNetwork       = 210
	codeSameID        = 216
	codeCancelled     = 394
	codeUnknown       = 1002
)

func raise(code int, name, msg string) *exception {
	return &exception{code: code, text: "Code: " + strconv.Itoa(code) + ". DB::Exception: " + msg + ". (" + name + ")"}
}

var exceptionRe = regexp.MustCompile(`Code: (\d+)\. `)

// parseException reads the library's error text. The library may put words before the code, and may
// nest one exception's text in another's; the outermost code counts.
func parseException(msg string) *exception {
	if m := exceptionRe.FindStringSubmatchIndex(msg); m != nil {
		if code, err := strconv.ParseInt(msg[m[2]:m[3]], 10, 32); err == nil && code > 0 {
			return &exception{code: int(code), text: strings.TrimSpace(msg[m[0]:])}
		}
	}
	msg = strings.TrimSpace(strings.TrimPrefix(msg, "Error: "))
	return raise(codeUnknown, "UNKNOWN_EXCEPTION", strings.TrimSuffix(msg, "."))
}

// exceptionAt reads the error text at an address of the library's; no text is no error.
func exceptionAt(addr uintptr) error {
	if msg := text(addr); msg != "" {
		return parseException(msg)
	}
	return nil
}

// status is the HTTP status ClickHouse gives an exception of this code.
func (e *exception) status() int {
	switch e.code {
	case codeBadArguments, codeSyntax, codeCannotRead, codeNoData, codeUnknownFormat, 46, 47, 53, 115, 457:
		return http.StatusBadRequest
	case 60, 81:
		return http.StatusNotFound
	case codeNotSupported:
		return http.StatusNotImplemented
	case codeTimeout:
		return http.StatusRequestTimeout
	case codeTooManyBytes:
		return http.StatusRequestEntityTooLarge
	case codeTooMany:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
