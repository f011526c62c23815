package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bridge serves the part of ClickHouse's HTTP interface that clickhouse-go uses.
type bridge struct {
	pool      *pool
	maxInsert int64         // bytes of one insert's body
	stall     time.Duration // how long a client may neither send nor take anything that it has to

	marks   marks
	mu      sync.Mutex
	running map[string]string // query id: mark
}

func newBridge(p *pool, maxInsert int64, stall time.Duration) *bridge {
	return &bridge{pool: p, maxInsert: maxInsert, stall: stall, running: map[string]string{}}
}

// connKey is the key of a request's net.Conn in its context.
type connKey struct{}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/ping":
		// The supervisor asks this: it is the engine that has to answer.
		if v, err := b.pool.ask("SELECT 'Ok.'"); err != nil || v != "Ok." {
			http.Error(w, "the engine does not answer", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case r.URL.Path != "/":
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	out := &answer{w: w, rc: http.NewResponseController(w), stall: b.stall}
	defer out.extend() // for what the server itself writes afterwards
	if err := b.serve(r, out); err != nil {
		// A client that is still sending would see its connection break, and not the answer.
		_, _ = io.CopyN(io.Discard, &patientReader{r: r.Body, rc: out.rc, stall: b.stall}, b.maxInsert)
		out.fail(asException(err))
	}
}

func asException(err error) *exception {
	var e *exception
	if errors.As(err, &e) {
		return e
	}
	return raise(codeUnknown, "UNKNOWN_EXCEPTION", strings.TrimSuffix(err.Error(), "."))
}

func (b *bridge) serve(r *http.Request, out *answer) error {
	req, err := parseRequest(r)
	if err != nil {
		return err
	}
	mark, done, err := b.enter(req.queryID)
	if err != nil {
		return err
	}
	defer done()
	n := laneReads
	switch {
	case req.insert:
		n = laneInserts
	case asksProcesses(req.sql):
		n = laneAsks
		if req.sql, err = b.engineIDs(req.sql); err != nil {
			return err
		}
	}
	l, err := b.pool.acquire(r.Context(), n)
	if err != nil {
		return err
	}
	defer b.pool.release(l)
	return b.run(r, req, l, mark, out)
}

// enter notes that a statement runs. No two may have one id at the same time.
func (b *bridge) enter(queryID string) (mark string, done func(), err error) {
	mark = b.marks.next()
	if queryID == "" {
		return mark, func() {}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.running[queryID]; ok {
		return "", nil, raise(codeSameID, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "A statement with this query_id is running")
	}
	b.running[queryID] = mark
	return mark, func() {
		b.mu.Lock()
		delete(b.running, queryID)
		b.mu.Unlock()
	}, nil
}

// asksProcesses tells statements that ask which statements run, or stop them.
func asksProcesses(sql []byte) bool {
	low := bytes.ToLower(bytes.TrimSpace(sql))
	return bytes.HasPrefix(low, []byte("kill ")) ||
		bytes.Contains(low, []byte("system.processes")) && (bytes.HasPrefix(low, []byte("select")) || bytes.HasPrefix(low, []byte("with")))
}

// engineIDs puts the engine's own query ids in the place of those that clients chose, so that
// `SELECT ... FROM system.processes WHERE query_id = 'x'` and `KILL QUERY WHERE query_id = 'x'` find
// what runs. An id that is not running stays as it is and finds nothing. A statement that has not
// begun counts as not running; it will not begin either once its client has gone away (see rows).
func (b *bridge) engineIDs(sql []byte) ([]byte, error) {
	b.mu.Lock()
	found := map[string]string{}
	for id, mark := range b.running {
		if bytes.Contains(sql, []byte(quote(id))) {
			found[id] = mark
		}
	}
	b.mu.Unlock()
	for id, mark := range found {
		engineID, err := b.pool.engineID(mark)
		if err != nil {
			return nil, err
		}
		if engineID != "" {
			sql = bytes.ReplaceAll(sql, []byte(quote(id)), []byte(quote(engineID)))
		}
	}
	return sql, nil
}

// run runs one statement on a session.
func (b *bridge) run(r *http.Request, req *request, l *lease, mark string, out *answer) error {
	n, c, err := l.classify(req.sql)
	if err != nil {
		return err
	}
	if n > 1 {
		return raise(codeSyntax, "SYNTAX_ERROR", "More than one statement in a request")
	}
	if err := l.apply(req.settings, req.database, mark); err != nil {
		return err
	}
	if c == classControl && l.lane != laneAsks {
		l.spoiled = true // SET, USE, temporary tables: their effect must not outlive the request
	}
	stop := b.watch(r.Context(), mark)
	switch {
	case req.insert:
		err = b.rows(r, req, l, out)
	case c == classRead:
		err = b.read(req, l, out)
	default:
		err = b.whole(req, l, out)
	}
	stop()
	if err == nil {
		return nil
	}
	l.clear()
	if r.Context().Err() != nil {
		return raise(codeCancelled, "QUERY_WAS_CANCELLED", "The client went away")
	}
	return err
}

// watch stops the statement marked with mark when ctx ends. The returned function ends the watch,
// and waits for it, so that a late stop cannot hit the session's next statement.
func (b *bridge) watch(ctx context.Context, mark string) (stop func()) {
	done := make(chan struct{})
	var over sync.WaitGroup
	over.Add(1)
	cancel := context.AfterFunc(ctx, func() {
		defer over.Done()
		// Again and again: a statement that the engine has not registered yet cannot be stopped.
		for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			b.pool.kill(mark)
			select {
			case <-done:
				return
			case <-time.After(wait):
			}
		}
	})
	return func() {
		close(done)
		if !cancel() {
			over.Wait()
		}
	}
}

// read runs a statement that returns rows, and passes them on as they come.
func (b *bridge) read(req *request, l *lease, out *answer) error {
	st, err := l.stream(req.sql, req.params)
	if err != nil {
		var e *exception
		// Only SELECT can be streamed; SHOW, DESCRIBE and EXPLAIN cannot. The library says so
		// before it runs anything, so that running the statement again does no harm.
		if errors.As(err, &e) && e.code == codeBadArguments && strings.Contains(e.text, "Streaming query is not supported") {
			return b.whole(req, l, out)
		}
		return err
	}
	defer st.close()
	for {
		res, err := st.next()
		if err != nil {
			return err
		}
		if res == nil {
			return out.finish()
		}
		err = out.blocks(res.bytes(), req.revision)
		res.close()
		if err != nil {
			return err
		}
	}
}

// whole runs a statement whose result is small or none.
func (b *bridge) whole(req *request, l *lease, out *answer) error {
	res, err := l.query(req.sql, req.params)
	if err != nil {
		return err
	}
	defer res.close()
	if err := out.blocks(res.bytes(), req.revision); err != nil {
		return err
	}
	return out.finish()
}

// rows runs an insert. All of its rows are stored or none (per partition): the engine is told to
// keep everything it is sent as one block, and it is not told that the data has ended before the
// HTTP body has, and before it is seen that the client is still there.
func (b *bridge) rows(r *http.Request, req *request, l *lease, out *answer) error {
	body := bufio.NewReaderSize(http.MaxBytesReader(nil, &patientReader{r: r.Body, rc: out.rc, stall: b.stall}, b.maxInsert), 1<<20)
	if _, err := body.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			// clickhouse-go sends an empty body when it could not encode a batch, and would take
			// success for an answer.
			return raise(codeNoData, "NO_DATA_TO_INSERT", "The insert has no rows")
		}
		return bodyError(err, b.maxInsert)
	}
	in, err := l.insert(req.sql)
	if err != nil {
		return err
	}
	defer in.abort()
	buf := make([]byte, 1<<20)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := in.write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bodyError(err, b.maxInsert)
		}
	}
	if gone(r) {
		return raise(codeCancelled, "QUERY_WAS_CANCELLED", "The client went away")
	}
	return in.finish()
}

// patientReader reads a body whose sender may pause, but not for longer than stall.
type patientReader struct {
	r     io.ReadCloser
	rc    *http.ResponseController
	stall time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.r.Read(b)
	// From the body's end on the server reads to notice when the client goes, however late that is.
	_ = p.rc.SetReadDeadline(time.Time{})
	return n, err
}

func (p *patientReader) Close() error { return p.r.Close() }

func bodyError(err error, limit int64) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return raise(codeTooManyBytes, "TOO_MANY_BYTES", fmt.Sprintf("The insert has more than %d bytes", limit))
	}
	return cutBody(err)
}

// gone looks whether the request's client has closed its connection. The context tells the same,
// but a little later, when the server's own reader has seen it.
func gone(r *http.Request) bool {
	if r.Context().Err() != nil {
		return true
	}
	c, ok := r.Context().Value(connKey{}).(net.Conn)
	return ok && peerClosed(c)
}

// answer writes a result in Native format. Until its first bytes are written, an error can still be
// told by the status; afterwards it follows the blocks in the way that clients look for.
type answer struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	stall   time.Duration
	buf     *bufio.Writer
	tag     string
	started bool
}

// extend gives the client time to take what is written next.
func (a *answer) extend() { _ = a.rc.SetWriteDeadline(time.Now().Add(a.stall)) }

func (a *answer) blocks(p []byte, revision int) error {
	if len(p) == 0 {
		return nil
	}
	if !a.started {
		a.started = true
		a.tag = strings.ToLower(rand.Text()[:16])
		a.w.Header().Set("Content-Type", "application/octet-stream")
		a.w.Header().Set("X-ClickHouse-Format", native)
		a.w.Header().Set("X-ClickHouse-Exception-Tag", a.tag)
		a.buf = bufio.NewWriterSize(a.w, 64<<10)
	}
	a.extend()
	return reframe(a.buf, p, revision)
}

func (a *answer) finish() error {
	if !a.started {
		return nil
	}
	a.extend()
	return a.buf.Flush()
}

// maxExceptionText bounds the text of an exception within a result; clients look for it in the last
// 16 KiB.
const maxExceptionText = 8 << 10

func (a *answer) fail(e *exception) {
	text := strings.ToValidUTF8(e.text, "\uFFFD")
	if len(text) > maxExceptionText {
		text = strings.ToValidUTF8(text[:maxExceptionText], "")
	}
	a.extend()
	if a.started {
		if a.buf.Flush() == nil {
			_, _ = fmt.Fprintf(a.w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, text, len(text), a.tag)
		}
		return
	}
	a.w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	a.w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.code))
	a.w.WriteHeader(e.status())
	_, _ = io.WriteString(a.w, text+"\n")
}
