package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Limits of one request.
const (
	maxStatement = 16 << 20 // bytes of SQL, INSERT ... VALUES with its values included
	maxQueryID   = 256
	maxSettings  = 128
)

// request is one statement as clickhouse-go sends it, before anything is run.
type request struct {
	sql      []byte
	insert   bool // sql is an INSERT whose rows are the HTTP body, in Native blocks of revision 0
	queryID  string
	database string
	revision int
	settings []setting // sorted by name, no name twice
	params   []param
}

// setting is one of ClickHouse's settings for the length of a request.
type setting struct{ name, value string }

// nativeInsertRe finds the format clause that ends an INSERT whose rows follow outside the statement.
var nativeInsertRe = regexp.MustCompile(`(?i)^\s*INSERT\s[\s\S]*?(\s+FORMAT\s+Native\s*;?\s*)$`)

// settingNameRe is what the name of a setting looks like; it is put into a SET statement as it is.
var settingNameRe = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,127}$`)

// parseRequest reads a request. The body is read only if it holds SQL; the rows of an insert stay in
// it. Errors are of type *exception.
func parseRequest(r *http.Request) (*request, error) {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, raise(codeNotSupported, "NOT_IMPLEMENTED", "Compressed bodies are of no use on a Unix socket and not read")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, raise(codeBadArguments, "BAD_ARGUMENTS", "The URL's parameters cannot be read")
	}
	req := &request{queryID: q.Get("query_id"), database: q.Get("database")}
	if len(req.queryID) > maxQueryID {
		return nil, raise(codeBadArguments, "BAD_ARGUMENTS", fmt.Sprintf("query_id is longer than %d bytes", maxQueryID))
	}
	if err := req.readParams(q); err != nil {
		return nil, err
	}
	if err := req.readSQL(q.Get("query"), r); err != nil {
		return nil, err
	}
	return req, nil
}

// readParams sorts URL parameters into what the interface itself uses and what are settings.
func (req *request) readParams(q url.Values) error {
	for name := range q {
		value := q.Get(name)
		if p, ok := strings.CutPrefix(name, "param_"); ok {
			req.params = append(req.params, param{p, value})
			continue
		}
		switch name {
		case "query", "query_id", "database", "quota_key", "user", "password", "role", "buffer_size",
			"network_compression_method", "network_zstd_compression_level", "enable_http_compression":
			// Used above, or without a meaning here: access to the socket is the only right there is.
		case "wait_end_of_query", "log_comment":
			// The first would hold a result back in memory; the second carries the request's own mark.
		case "default_format":
			if value != native {
				return raise(codeUnknownFormat, "UNKNOWN_FORMAT", "Results are only given in Native format")
			}
		case "client_protocol_version":
			v, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return raise(codeBadArguments, "BAD_ARGUMENTS", "client_protocol_version is no number")
			}
			req.revision = int(v)
		case "compress", "decompress":
			if value != "0" && value != "false" && value != "" {
				return raise(codeNotSupported, "NOT_IMPLEMENTED", "Compression is of no use on a Unix socket and not done")
			}
		case "session_id", "session_timeout", "session_check", "close_session":
			return raise(codeNotSupported, "NOT_IMPLEMENTED", "There are no sessions: settings last for one request")
		default:
			if !settingNameRe.MatchString(name) {
				return raise(codeBadArguments, "BAD_ARGUMENTS", "A setting's name is no word")
			}
			req.settings = append(req.settings, setting{name, value})
		}
	}
	if len(req.settings)+len(req.params) > maxSettings {
		return raise(codeBadArguments, "BAD_ARGUMENTS", fmt.Sprintf("More than %d settings and parameters", maxSettings))
	}
	sort.Slice(req.settings, func(i, j int) bool { return req.settings[i].name < req.settings[j].name })
	sort.Slice(req.params, func(i, j int) bool { return req.params[i].name < req.params[j].name })
	return nil
}

// readSQL finds the statement: in the URL for an insert, in the body otherwise; or in both, which
// are then put together, as ClickHouse does.
func (req *request) readSQL(query string, r *http.Request) error {
	if m := nativeInsertRe.FindStringSubmatchIndex(query); m != nil {
		req.insert = true
		req.sql = []byte(query[:m[2]]) // the library adds the format itself
		return nil
	}
	if mt := r.Header.Get("Content-Type"); strings.HasPrefix(mt, "multipart/") {
		return raise(codeNotSupported, "NOT_IMPLEMENTED", "External tables are not supported")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxStatement+1))
	if err != nil {
		return cutBody(err)
	}
	if len(query)+len(body) > maxStatement {
		return raise(codeSyntax, "SYNTAX_ERROR", fmt.Sprintf("The statement is longer than %d bytes", maxStatement))
	}
	req.sql = append([]byte(query), body...)
	if len(bytes.TrimSpace(req.sql)) == 0 {
		return raise(codeSyntax, "SYNTAX_ERROR", "There is no statement")
	}
	if m := nativeInsertRe.FindSubmatchIndex(req.sql); m != nil {
		return raise(codeNoData, "NO_DATA_TO_INSERT", "The insert's rows do not follow its statement; name the statement in the URL")
	}
	return nil
}

// cutBody is the error of a body that could not be read to its end.
func cutBody(err error) *exception {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return raise(codeCannotRead, "CANNOT_READ_ALL_DATA", "The body ends too early")
	}
	return raise(codeNetwork, "NETWORK_ERROR", "The body cannot be read")
}

// quote writes s as a literal of ClickHouse's SQL.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\', '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
