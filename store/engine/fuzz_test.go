package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

// requestSeeds are requests as clickhouse-go sends them, and some that nobody should.
func requestSeeds() []string {
	post := func(query, body string) string {
		return fmt.Sprintf("POST /?%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", query, len(body), body)
	}
	const usual = "client_protocol_version=54460&database=default&default_format=Native"
	return []string{
		post(usual, "SELECT displayName(), version(), revision(), timezone()"),
		post(usual+"&query_id=a%27b&max_execution_time=35&max_memory_usage=100000000", "SELECT count() FROM events WHERE batch_id = 7"),
		post(usual+"&param_x=it%27s&param_y=%5CN", "SELECT {x:String}, {y:Nullable(UInt8)}"),
		post(usual+"&query=INSERT+INTO+events+%28site%2C+day%29+FORMAT+Native&insert_deduplication_token=5", string(numbersBlock(3))),
		post(usual, "INSERT INTO t FORMAT Native"),
		post("query=INSERT+INTO+t+SELECT+1", ""),
		post("query=insert+into+t%0Aformat%0Anative%3B", "x"),
		post("compress=1&decompress=1&session_id=s&client_protocol_version=-1&default_format=TSV", "SELECT 1"),
		post("a%3Db=1&;&%zz", "SELECT 1"),
		"POST /?query=INSERT+INTO+t+FORMAT+Native HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nSELECT 1",
		"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
	}
}

// FuzzRequest: whatever is sent, what comes out of it can be put into a SET statement, and errors
// have a code.
func FuzzRequest(f *testing.F) {
	seeds := requestSeeds()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		req, err := parseRequest(r)
		if err != nil {
			var e *exception
			if !errors.As(err, &e) || e.code <= 0 || e.status() < 400 || !strings.HasPrefix(e.text, "Code: ") {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if len(bytes.TrimSpace(req.sql)) == 0 || len(req.sql) > maxStatement || len(req.queryID) > maxQueryID || req.revision < 0 {
			t.Fatalf("request %+v", req)
		}
		if req.insert && !bytes.HasPrefix(bytes.ToUpper(bytes.TrimSpace(req.sql)), []byte("INSERT")) {
			t.Fatalf("not an insert: %q", req.sql)
		}
		last := ""
		for _, s := range req.settings {
			if s.name <= last || !settingNameRe.MatchString(s.name) {
				t.Fatalf("settings %v", req.settings)
			}
			last = s.name
		}
		stmt := setStatement(append(req.settings, setting{"log_comment", "mark"}))
		got, ok := readSet(stmt)
		if !ok || !slices.Equal(got, append(req.settings, setting{"log_comment", "mark"})) {
			t.Fatalf("%q says %v, not %v", stmt, got, req.settings)
		}
	})
}

// readSet reads "SET a = 'x', b = 'y'" as ClickHouse does.
func readSet(stmt string) (out []setting, ok bool) {
	rest, ok := strings.CutPrefix(stmt, "SET ")
	for ok {
		var name string
		if name, rest, ok = strings.Cut(rest, " = '"); !ok {
			return nil, false
		}
		var value strings.Builder
		for {
			if rest == "" {
				return nil, false
			}
			c := rest[0]
			rest = rest[1:]
			if c == '\'' {
				break
			}
			if c == '\\' {
				if rest == "" {
					return nil, false
				}
				if c = rest[0]; c == '0' {
					c = 0
				}
				rest = rest[1:]
			}
			value.WriteByte(c)
		}
		out = append(out, setting{name, value.String()})
		if rest == "" {
			return out, true
		}
		rest, ok = strings.CutPrefix(rest, ", ")
	}
	return nil, false
}

// FuzzReframe: bytes that are passed on say the same to a client of the newer revision as they
// said in revision 0, by the judgement of another decoder.
func FuzzReframe(f *testing.F) {
	f.Add(numbersBlock(3))
	f.Add(numbersBlock(0))
	f.Add(append(numbersBlock(1), numbersBlock(2)...))
	var b proto.Buffer
	str, low, null := new(proto.ColStr), new(proto.ColStr).LowCardinality(), new(proto.ColUInt8).Nullable()
	arr := proto.NewArray(new(proto.ColStr).LowCardinality())
	m := proto.NewMap[string, uint64](new(proto.ColStr), new(proto.ColUInt64))
	for i := range 3 {
		str.Append(strings.Repeat("x", i))
		low.Append("a")
		null.Append(proto.NewNullable(uint8(i)))
		arr.Append([]string{"p", "q"}[:i%3])
		m.Append(map[string]uint64{"k": uint64(i)})
	}
	if err := (proto.Block{Columns: 5, Rows: 3}).EncodeRawBlock(&b, 0, []proto.InputColumn{
		{Name: "s", Data: str}, {Name: "l", Data: low}, {Name: "n", Data: null}, {Name: "a", Data: arr}, {Name: "m", Data: m}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Buf)
	f.Fuzz(func(t *testing.T, block []byte) {
		var plain, newer bytes.Buffer
		if err := reframe(&plain, block, 0); err != nil || !bytes.Equal(plain.Bytes(), block) {
			t.Fatalf("revision 0 is not passed on as it is: %v", err)
		}
		if err := reframe(&newer, block, 54460); err != nil {
			return
		}
		want, err := recode(block, 0)
		if err != nil {
			return // the other decoder knows fewer types, and looks at the values
		}
		got, err := recode(newer.Bytes(), 54460)
		if err != nil {
			t.Fatalf("reframed from %q: %v", block, err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("reframed says %q, not %q", got, want)
		}
	})
}

// recode decodes blocks of a revision and encodes them as revision 0.
func recode(p []byte, revision int) ([]byte, error) {
	r := proto.NewReader(bytes.NewReader(p))
	var out proto.Buffer
	for {
		var (
			b   proto.Block
			res proto.Results
		)
		if err := b.DecodeBlock(r, revision, res.Auto()); err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return out.Buf, nil
			}
			return nil, err
		}
		var in []proto.InputColumn
		for _, c := range res {
			data, ok := c.Data.(proto.ColInput)
			if !ok {
				return nil, fmt.Errorf("%T cannot be encoded", c.Data)
			}
			in = append(in, proto.InputColumn{Name: c.Name, Data: data})
		}
		if err := b.EncodeRawBlock(&out, 0, in); err != nil {
			return nil, err
		}
	}
}

func TestRequestTable(t *testing.T) {
	for name, tc := range map[string]struct {
		query, body string
		check       func(*request) bool
		code        int
	}{
		"select": {"max_threads=2&query_id=q", "SELECT 1", func(r *request) bool {
			return !r.insert && string(r.sql) == "SELECT 1" && r.queryID == "q" && len(r.settings) == 1
		}, 0},
		"insert":                      {"query=INSERT+INTO+t+(a)+FORMAT+Native", "rows", func(r *request) bool { return r.insert && string(r.sql) == "INSERT INTO t (a)" }, 0},
		"insert settings":             {"query=" + url.QueryEscape("INSERT INTO t (a) SETTINGS async_insert=0 FORMAT Native"), "rows", func(r *request) bool { return r.insert && strings.HasSuffix(string(r.sql), "async_insert=0") }, 0},
		"text of a format in a value": {"", "INSERT INTO t VALUES (' FORMAT Native')", func(r *request) bool { return !r.insert }, 0},
		"split":                       {"query=SELECT", " 1", func(r *request) bool { return string(r.sql) == "SELECT 1" }, 0},
		"revision":                    {"client_protocol_version=54460", "SELECT 1", func(r *request) bool { return r.revision == 54460 && len(r.settings) == 0 }, 0},
		"params":                      {"param_b=2&param_a=1", "SELECT 1", func(r *request) bool { return slices.Equal(r.params, []param{{"a", "1"}, {"b", "2"}}) }, 0},
		"nothing":                     {"", "  ", nil, codeSyntax},
		"bad setting":                 {url.QueryEscape("a=1, b") + "=1", "SELECT 1", nil, codeBadArguments},
		"bad revision":                {"client_protocol_version=new", "SELECT 1", nil, codeBadArguments},
		"other format":                {"default_format=TSV", "SELECT 1", nil, codeUnknownFormat},
		"compressed":                  {"compress=1", "SELECT 1", nil, codeNotSupported},
		"session":                     {"session_id=1", "SELECT 1", nil, codeNotSupported},
		"long id":                     {"query_id=" + strings.Repeat("x", maxQueryID+1), "SELECT 1", nil, codeBadArguments},
		"huge":                        {"", strings.Repeat(" ", maxStatement+1), nil, codeSyntax},
	} {
		r, err := http.NewRequest(http.MethodPost, "http://localhost/?"+tc.query, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req, err := parseRequest(r)
		var e *exception
		switch {
		case tc.code != 0 && (!errors.As(err, &e) || e.code != tc.code):
			t.Errorf("%s: %v, want code %d", name, err, tc.code)
		case tc.code == 0 && (err != nil || !tc.check(req)):
			t.Errorf("%s: %+v, %v", name, req, err)
		}
	}
}
