package email

import (
	"bytes"
	"encoding/base64"
	"errors"
	"mime"
	"strings"
)

// maxDepth is how deep parts of a message may lie in one another.
const maxDepth = 16

// maxLine is the longest line that may be sent (RFC 5322, section 2.1.1), without its end.
const maxLine = 998

// Rewrite is RewriteHTML for an HTML document, and RewriteMessage for what begins with the header of a message.
func (l *Linker) Rewrite(mail []byte) ([]byte, Rewritten, error) {
	if isMessage(mail) {
		return l.RewriteMessage(mail)
	}
	return l.RewriteHTML(mail)
}

// isMessage reports whether b begins with a header field.
func isMessage(b []byte) bool {
	for i, c := range b {
		if c == ':' {
			return i > 0
		}
		if c <= ' ' || c >= 0x7f || c == '<' {
			return false
		}
	}
	return false
}

// RewriteMessage is RewriteHTML for each HTML part of a message (RFC 5322, MIME), in whatever encoding it is. The header, other parts
// and all of an HTML part but its links stay as they are, byte by byte; where a part is in base64 its lines are broken anew. Signed and
// encrypted parts, and attachments, stay whole. Addresses that List-Unsubscribe names are left alone in the text as well.
func (l *Linker) RewriteMessage(mail []byte) ([]byte, Rewritten, error) {
	r := rewriter{l: l, links: map[string]string{}}
	head, _ := cutHeader(mail)
	for _, part := range strings.Split(headerField(head, "list-unsubscribe"), "<")[1:] {
		address, _, _ := strings.Cut(part, ">")
		r.keep = append(r.keep, strings.Join(strings.Fields(address), ""))
	}
	out, err := r.part(nil, mail, 0)
	if err != nil {
		return nil, Rewritten{}, err
	}
	return out, r.done, nil
}

// cutHeader splits a message or a part after the empty line behind its header.
func cutHeader(b []byte) (head, body []byte) {
	for at := 0; at < len(b); {
		line := lineOf(b[at:])
		at += len(line)
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return b[:at], b[at:]
		}
	}
	return b, nil
}

// lineOf returns the first line of b with its end.
func lineOf(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return b
}

// headerField returns the unfolded value of the first field of a name, in lower case.
func headerField(head []byte, name string) string {
	for len(head) > 0 {
		line := lineOf(head)
		head = head[len(line):]
		field, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || !strings.EqualFold(string(bytes.TrimSpace(field)), name) {
			continue
		}
		whole := string(value)
		for len(head) > 0 && (head[0] == ' ' || head[0] == '\t') {
			line = lineOf(head)
			head = head[len(line):]
			whole += string(line)
		}
		return strings.Join(strings.Fields(whole), " ")
	}
	return ""
}

// part appends a message or a part of one, rewritten.
func (r *rewriter) part(out, b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errors.New("email: the message's parts lie too deep in one another")
	}
	head, body := cutHeader(b)
	kind, params, _ := mime.ParseMediaType(headerField(head, "content-type"))
	disposition, _, _ := strings.Cut(headerField(head, "content-disposition"), ";")
	switch {
	case strings.EqualFold(strings.TrimSpace(disposition), "attachment"):
	case kind == "multipart/signed", kind == "multipart/encrypted":
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		return r.parts(append(out, head...), body, params["boundary"], depth)
	case kind == "text/html" && !strings.HasPrefix(strings.ToLower(params["charset"]), "utf-16") && !strings.HasPrefix(strings.ToLower(params["charset"]), "utf-32"):
		out = append(out, head...)
		switch strings.ToLower(headerField(head, "content-transfer-encoding")) {
		case "", "7bit", "8bit", "binary":
			return r.plain(out, body)
		case "quoted-printable":
			return r.quoted(out, body)
		case "base64":
			return r.base64(out, body)
		}
		return append(out, body...), nil
	}
	return append(out, b...), nil
}

// parts appends the body of a multipart: preamble, parts, epilogue.
func (r *rewriter) parts(out, body []byte, boundary string, depth int) (_ []byte, err error) {
	start, at, inside := 0, 0, false // start: of what has not been appended yet
	flush := func(end int) error {
		if !inside {
			out = append(out, body[start:end]...)
			return nil
		}
		// The line end before a delimiter belongs to the delimiter.
		tail := end
		if tail > start && body[tail-1] == '\n' {
			if tail--; tail > start && body[tail-1] == '\r' {
				tail--
			}
		}
		if out, err = r.part(out, body[start:tail], depth+1); err == nil {
			out = append(out, body[tail:end]...)
		}
		return err
	}
	for at < len(body) {
		line := lineOf(body[at:])
		text := strings.TrimRight(string(line), " \t\r\n")
		last := text == "--"+boundary+"--"
		if !last && text != "--"+boundary {
			at += len(line)
			continue
		}
		if err := flush(at); err != nil {
			return nil, err
		}
		out = append(out, line...)
		at += len(line)
		start, inside = at, !last
		if last {
			return append(out, body[at:]...), nil
		}
	}
	if err := flush(len(body)); err != nil {
		return nil, err
	}
	return out, nil
}

// plain appends an HTML part that is not encoded.
func (r *rewriter) plain(out, body []byte) ([]byte, error) {
	edits, err := r.document(body)
	if err != nil {
		return nil, err
	}
	was, done := longest(body), apply(body, edits)
	if n := longest(done); n > maxLine && n > was {
		return nil, errors.New("email: with the links a line of the HTML part would be longer than mail allows: send it as quoted-printable")
	}
	return append(out, done...), nil
}

func longest(b []byte) (most int) {
	for line := range bytes.Lines(b) {
		most = max(most, len(bytes.TrimRight(line, "\r\n")))
	}
	return most
}

// eol is how the lines of b end.
func eol(b []byte) string {
	if i := bytes.IndexByte(b, '\n'); i == 0 || i > 0 && b[i-1] != '\r' {
		return "\n"
	}
	return "\r\n"
}

// quoted appends an HTML part in quoted-printable (RFC 2045, section 6.7). What is put in stands on lines of its own between
// soft line breaks; every line around it stays.
func (r *rewriter) quoted(out, body []byte) ([]byte, error) {
	text, at := unquote(body)
	edits, err := r.document(text)
	if err != nil {
		return nil, err
	}
	end := eol(body)
	for i := range edits {
		e := &edits[i]
		from, to := at[e.from].from, at[e.from].from
		if e.to > e.from {
			to = at[e.to-1].to
		}
		*e = edit{from, to, quote(e.text, end)}
	}
	return append(out, apply(body, edits)...), nil
}

// span is where a decoded byte stands in what was encoded.
type span struct{ from, to int }

// unquote decodes quoted-printable. at has one more than text: the end.
func unquote(b []byte) (text []byte, at []span) {
	for i := 0; i < len(b); {
		if b[i] == '=' {
			j := i + 1
			for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
				j++
			}
			if j < len(b) && b[j] == '\r' {
				j++
			}
			if j < len(b) && b[j] == '\n' { // a soft line break
				i = j + 1
				continue
			}
			if i+2 < len(b) {
				if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
					text, at = append(text, byte(hi<<4|lo)), append(at, span{i, i + 3})
					i += 3
					continue
				}
			}
		}
		text, at = append(text, b[i]), append(at, span{i, i + 1})
		i++
	}
	return text, append(at, span{len(b), len(b)})
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	}
	return -1
}

// quote encodes a text of ASCII between soft line breaks.
func quote(s, end string) string {
	var b strings.Builder
	b.WriteString("=" + end)
	n := 0
	for i := range len(s) {
		if n >= 72 {
			b.WriteString("=" + end)
			n = 0
		}
		if c := s[i]; c == '=' || c < ' ' || c > '~' {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'=', hex[c>>4], hex[c&15]})
			n += 3
		} else {
			b.WriteByte(c)
			n++
		}
	}
	b.WriteString("=" + end)
	return b.String()
}

// base64 appends an HTML part in base64, with lines as long as they were.
func (r *rewriter) base64(out, body []byte) ([]byte, error) {
	packed := bytes.Join(bytes.Fields(body), nil)
	text, err := base64.StdEncoding.DecodeString(string(packed))
	if err != nil {
		return append(out, body...), nil // no mail program could read it either
	}
	edits, err := r.document(text)
	if err != nil {
		return nil, err
	}
	if len(edits) == 0 {
		return append(out, body...), nil
	}
	end, width := eol(body), 76
	if first := len(bytes.TrimRight(lineOf(body), "\r\n")); first > 0 && first < 76 && first%4 == 0 && len(lineOf(body)) < len(body) {
		width = first
	}
	code := base64.StdEncoding.EncodeToString(apply(text, edits))
	for len(code) > width {
		out = append(append(out, code[:width]...), end...)
		code = code[width:]
	}
	out = append(out, code...)
	return append(out, body[len(bytes.TrimRight(body, "\r\n")):]...), nil
}
