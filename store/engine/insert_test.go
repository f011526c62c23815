package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// rawConn is a connection to an engine's socket without an HTTP client between.
func rawConn(t testing.TB, s *Supervisor) net.Conn {
	t.Helper()
	c, err := s.DialContext(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// numbersBlock is a Native block of one column n UInt64 with rows rows.
func numbersBlock(rows int) []byte {
	col := make(proto.ColUInt64, rows)
	for i := range col {
		col[i] = uint64(i)
	}
	var b proto.Buffer
	if err := (proto.Block{Columns: 1, Rows: rows}).EncodeRawBlock(&b, 0, []proto.InputColumn{{Name: "n", Data: &col}}); err != nil {
		panic(err)
	}
	return b.Buf
}

const insertTarget = "/?query_id=cut&query=INSERT+INTO+n+(n)+FORMAT+Native"

func TestCutInsertStoresNothing(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	run(t, c, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS min_bytes_for_wide_part = 0")
	small := numbersBlock(1000)
	// Two blocks of more rows than the engine usually puts into one part.
	big := append(numbersBlock(1_200_000), numbersBlock(1_300_000)...)
	for name, tc := range map[string]struct {
		body []byte
		send int
	}{
		"in the block's header":          {small, 3},
		"in the data":                    {small, len(small) / 2},
		"one byte missing":               {small, len(small) - 1},
		"block whole, body not ended":    {small, len(small)},
		"in the second of two big":       {big, len(big) - 100_000},
		"two big whole, body not ended":  {big, len(big)},
		"first of two whole, not second": {big, len(numbersBlock(1_200_000))},
	} {
		for _, how := range []string{"chunked", "length"} {
			t.Run(name+", "+how, func(t *testing.T) {
				conn := rawConn(t, s)
				w := bufio.NewWriter(conn)
				fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: x\r\n", insertTarget)
				if how == "chunked" {
					fmt.Fprintf(w, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", tc.send)
				} else {
					fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", len(tc.body)+1)
				}
				w.Write(tc.body[:tc.send])
				if how == "chunked" {
					w.WriteString("\r\n") // and no final chunk
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond) // let the engine take what there is
				conn.Close()
				eventually(t, 30*time.Second, "the insert is over", func() bool { return statements(t, c) == 0 })
				if n := number(t, c, "SELECT count() FROM n"); n != 0 {
					t.Errorf("%d rows were stored", n)
					run(t, c, "TRUNCATE TABLE n")
				}
			})
		}
	}
	t.Run("cut, but ended in order", func(t *testing.T) {
		for _, n := range []int{0, 3, len(small) / 2, len(small) - 1} {
			res := post(t, s, insertTarget, bytes.NewReader(small[:n]))
			if res.StatusCode == http.StatusOK {
				t.Errorf("%d bytes of %d were accepted", n, len(small))
			}
			res.Body.Close()
		}
		if n := number(t, c, "SELECT count() FROM n"); n != 0 {
			t.Errorf("%d rows were stored", n)
		}
	})
	// And whole bodies are stored, each as one part whatever its size.
	for _, body := range [][]byte{small, big} {
		res := post(t, s, insertTarget, bytes.NewReader(body))
		if res.StatusCode != http.StatusOK {
			b, _ := io.ReadAll(res.Body)
			t.Errorf("status %d: %s", res.StatusCode, b)
		}
		res.Body.Close()
	}
	if n := number(t, c, "SELECT count() FROM n"); n != 2_501_000 {
		t.Errorf("%d rows", n)
	}
	if n := number(t, c, "SELECT toUInt64(max(rows)) FROM system.parts WHERE table = 'n'"); n < 2_500_000 {
		t.Errorf("the largest part has %d rows: an insert was torn", n)
	}
}

// post sends a request with its own connection.
func post(t testing.TB, s *Supervisor, target string, body io.Reader) *http.Response {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return s.DialContext(ctx, addr) }}
	res, err := (&http.Client{Transport: tr}).Post("http://localhost"+target, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestInsertRefused(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxInsert = 1 << 20 })
	c := connect(t, s)
	run(t, c, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n")
	for name, tc := range map[string]struct {
		target string
		body   string
		code   string
	}{
		"unknown table":    {"/?query=INSERT+INTO+nosuch+FORMAT+Native", string(numbersBlock(3)), "60"},
		"unknown column":   {"/?query=INSERT+INTO+n+(m)+FORMAT+Native", string(numbersBlock(3)), "16"},
		"not Native":       {insertTarget, strings.Repeat("garbage ", 1000), ""},
		"too large":        {insertTarget, string(numbersBlock(200_000)), "307"},
		"no rows":          {insertTarget, "", "108"},
		"another format":   {"/?query=INSERT+INTO+n+FORMAT+TSV&compress=1", "1\n", "48"},
		"rows in the body": {"/", "INSERT INTO n FORMAT Native", "108"},
	} {
		res := post(t, s, tc.target, strings.NewReader(tc.body))
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		code := res.Header.Get("X-ClickHouse-Exception-Code")
		if res.StatusCode == http.StatusOK || code == "" || tc.code != "" && code != tc.code {
			t.Errorf("%s: status %d code %q want %q: %.200s", name, res.StatusCode, code, tc.code, body)
		}
	}
	if n := number(t, c, "SELECT count() FROM n"); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
	// Rows within the statement need no stream.
	run(t, c, "INSERT INTO n VALUES (1), (2)")
	run(t, c, "INSERT INTO n SELECT number FROM numbers(3)")
	if n := number(t, c, "SELECT count() FROM n"); n != 5 {
		t.Errorf("%d rows", n)
	}
}

func TestInsertIsSeenAndKilled(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	run(t, c, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n")
	conn := rawConn(t, s)
	block := numbersBlock(100_000)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", insertTarget, len(block))
	if _, err := conn.Write(block[:len(block)/2]); err != nil {
		t.Fatal(err)
	}
	running := func() uint64 { return number(t, c, "SELECT count() FROM system.processes WHERE query_id = 'cut'") }
	eventually(t, 30*time.Second, "the insert is seen by its id", func() bool { return running() == 1 })
	run(t, c, "KILL QUERY WHERE query_id = 'cut' ASYNC")
	if _, err := conn.Write(block[len(block)/2:]); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("the rest of the body: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if code := res.Header.Get("X-ClickHouse-Exception-Code"); res.StatusCode == http.StatusOK || code != "394" {
		b, _ := io.ReadAll(res.Body)
		t.Errorf("status %d, code %s: %s", res.StatusCode, code, b)
	}
	if n := running(); n != 0 {
		t.Errorf("%d inserts run under the id", n)
	}
	if n := number(t, c, "SELECT count() FROM n"); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
}

// TestUnreadInsert has the client gone before the engine could begin: it must not begin later.
func TestUnreadInsert(t *testing.T) {
	s := start(t)
	c := connect(t, s)
	run(t, c, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n")
	// Two inserts that do not end keep both sessions for inserts busy.
	for i := range 2 {
		conn := rawConn(t, s)
		fmt.Fprintf(conn, "POST /?query_id=slow%d&query=INSERT+INTO+n+(n)+FORMAT+Native HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", i)
		conn.Write(numbersBlock(10))
		eventually(t, 30*time.Second, "the slow insert runs", func() bool {
			return number(t, c, "SELECT count() FROM system.processes WHERE query_id = ?", fmt.Sprint("slow", i)) == 1
		})
		if i == 1 {
			third := rawConn(t, s)
			block := numbersBlock(77)
			fmt.Fprintf(third, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", insertTarget, len(block), block)
			third.Close()
			time.Sleep(100 * time.Millisecond)
			conn.Close() // frees one of them
		}
	}
	time.Sleep(300 * time.Millisecond)
	if n := number(t, c, "SELECT count() FROM n"); n != 0 {
		t.Errorf("%d rows of a client that had gone", n)
	}
}

// TestStall: a client that stops in the middle frees its session; one that is merely idle is served.
func TestStall(t *testing.T) {
	s := start(t, func(o *Options) { o.Args = []string{"engine", "--stall", "1s", "--inserts", "1"} })
	c := connect(t, s)
	run(t, c, "CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n")
	conn := rawConn(t, s)
	block := numbersBlock(1000)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", insertTarget, len(block), block[:100])
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	res := post(t, s, "/?query=INSERT+INTO+n+(n)+FORMAT+Native", bytes.NewReader(block)) // waits for the only session
	res.Body.Close()
	if took := time.Since(began); res.StatusCode != http.StatusOK || took > 20*time.Second {
		t.Errorf("status %d after %v", res.StatusCode, took)
	}
	reader := rawConn(t, s)
	const endless = "SELECT number, repeat('y', 1000) FROM numbers(1000000000)"
	fmt.Fprintf(reader, "POST /?query_id=unread HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(endless), endless)
	eventually(t, 30*time.Second, "the query runs", func() bool { return statements(t, c) == 1 })
	eventually(t, 30*time.Second, "the unread query is stopped", func() bool { return statements(t, c) == 0 })
	time.Sleep(1200 * time.Millisecond)
	run(t, c, "CREATE TABLE m (n UInt64) ENGINE = Memory") // has no rows to answer with
	if n := number(t, c, "SELECT toUInt64(sleep(1.5) + 5)"); n != 5 {
		t.Error(n)
	}
	if n := number(t, c, "SELECT count() FROM n"); n != 1000 {
		t.Errorf("%d rows", n)
	}
}

func TestPartitionsMutationsTokens(t *testing.T) {
	c := connect(t, start(t))
	bg := context.Background()
	const ddl = "CREATE TABLE %s (day Date, n UInt64, note String) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
	run(t, c, fmt.Sprintf(ddl, "a"))
	run(t, c, fmt.Sprintf(ddl, "b"))
	run(t, c, "INSERT INTO a (day, n) SELECT toDate('2026-10-05'), number FROM numbers(10)")
	run(t, c, "INSERT INTO a (day, n) SELECT toDate('2026-11-05'), number FROM numbers(20)")
	run(t, c, "INSERT INTO b (day, n) SELECT toDate('2026-11-06'), number FROM numbers(5)")
	run(t, c, "ALTER TABLE a REPLACE PARTITION 202611 FROM b")
	if n := number(t, c, "SELECT count() FROM a"); n != 15 {
		t.Errorf("%d rows after REPLACE PARTITION, want 15", n)
	}
	sync := clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 1}))
	if err := c.Exec(sync, "ALTER TABLE a DELETE WHERE n = 3"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(sync, "ALTER TABLE a UPDATE note = 'seen' WHERE n = 4"); err != nil {
		t.Fatal(err)
	}
	if n := number(t, c, "SELECT count() FROM a"); n != 13 {
		t.Errorf("%d rows after DELETE, want 13", n)
	}
	if n := number(t, c, "SELECT count() FROM a WHERE note = 'seen'"); n != 2 {
		t.Errorf("%d rows updated, want 2", n)
	}
	send := func(token string, rows int) {
		t.Helper()
		ctx := clickhouse.Context(bg, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
		b, err := c.PrepareBatch(ctx, "INSERT INTO b (day, n)")
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if err := b.Append(time.Date(2026, 11, 7, 0, 0, 0, 0, time.UTC), uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Send(); err != nil {
			t.Fatal(err)
		}
	}
	send("batch-1", 100)
	send("batch-1", 100)
	send("batch-2", 100)
	if n := number(t, c, "SELECT count() FROM b"); n != 205 {
		t.Errorf("%d rows, want 205: the token was not heeded", n)
	}
}

// TestProxyEnvironment: clickhouse-go would ask a proxy for the engine if its address had another name.
func TestProxyEnvironment(t *testing.T) {
	for _, addr := range (&Supervisor{}).ClickhouseOptions().Addr {
		req := &http.Request{URL: &url.URL{Scheme: "http", Host: addr}}
		t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
		if p, err := http.ProxyFromEnvironment(req); p != nil || err != nil {
			t.Errorf("%s goes through %v, %v", addr, p, err)
		}
	}
}
