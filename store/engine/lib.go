package engine

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// lib is the loaded library: the few of its functions that we use, by their C names. Pointers to C
// objects are uintptr, so that the garbage collector never looks at them; what they point at
// belongs to the library until the matching destroy function is called.
type lib struct {
	connect   func(argc int32, argv unsafe.Pointer) uintptr
	closeConn func(conn uintptr)
	shutdown  func() int32

	classify func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, db unsafe.Pointer, dbLen uintptr, out unsafe.Pointer) int32

	query       func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	streamQuery func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) uintptr
	fetch       func(conn, stream uintptr) uintptr
	cancelQuery func(conn, stream uintptr)

	resultBuffer func(res uintptr) uintptr
	resultLength func(res uintptr) uintptr
	resultError  func(res uintptr) uintptr
	destroy      func(res uintptr)

	insert        func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) uintptr
	appendInsert  func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	doneInsert    func(stream uintptr) uintptr
	cancelInsert  func(stream uintptr)
	insertError   func(stream uintptr) uintptr
	destroyInsert func(stream uintptr)

	setSignals func(enabled int32)

	signals sync.Mutex // held while signal handlers are not as they should be
}

// loadLibrary maps the library into the process, where it stays: it cannot be unloaded.
func loadLibrary(path string) (*lib, error) {
	if err := checkCPU(requiredCPU()); err != nil {
		return nil, err
	}
	symbol, err := openLibrary(path)
	if err != nil {
		return nil, fmt.Errorf("cannot load the engine's library: %w", err)
	}
	l := new(lib)
	for _, f := range []struct {
		fn   any
		name string
	}{
		{&l.connect, "chdb_connect"},
		{&l.closeConn, "chdb_close_conn"},
		{&l.shutdown, "chdb_shutdown"},
		{&l.classify, "chdb_classify_query_n"},
		{&l.query, "chdb_query_with_params_n"},
		{&l.streamQuery, "chdb_stream_query_with_params_n"},
		{&l.fetch, "chdb_stream_fetch_result"},
		{&l.cancelQuery, "chdb_stream_cancel_query"},
		{&l.resultBuffer, "chdb_result_buffer"},
		{&l.resultLength, "chdb_result_length"},
		{&l.resultError, "chdb_result_error"},
		{&l.destroy, "chdb_destroy_query_result"},
		{&l.insert, "chdb_stream_insert_n"},
		{&l.appendInsert, "chdb_stream_append"},
		{&l.doneInsert, "chdb_stream_done"},
		{&l.cancelInsert, "chdb_stream_cancel_insert"},
		{&l.insertError, "chdb_stream_insert_error"},
		{&l.destroyInsert, "chdb_destroy_insert_stream"},
		{&l.setSignals, "chdb_set_signal_handlers_enabled"},
	} {
		sym, err := symbol(f.name)
		if err != nil {
			return nil, fmt.Errorf("the engine's library is too old: it lacks %s; run `make parts`", f.name)
		}
		purego.RegisterFunc(f.fn, sym)
	}
	// The library would replace the Go runtime's handlers for SIGSEGV and others; told not to, it
	// resets them to the default action instead. So they are saved and put back.
	l.keepSignals(func() { l.setSignals(0) })
	return l, nil
}

// keepSignals runs f, which changes signal handlers, and puts them back, one caller at a time: a second
// one would otherwise save what the first is about to undo. For the microseconds between, a fault in
// this process's own code ends it instead of becoming a panic.
func (l *lib) keepSignals(f func()) {
	l.signals.Lock()
	defer l.signals.Unlock()
	keepSignals(f)
}

// session is one connection of the library. One statement at a time runs on it, and only one
// goroutine may use it at a time; kill goes through another session.
type session struct {
	l      *lib
	handle uintptr // what chdb_connect returned: a pointer to the connection
	conn   uintptr
}

// open connects to the database in dir, which the first call also starts. Every further argument is
// a server option, "name=value".
func (l *lib) open(dir string, options ...string) (*session, error) {
	argv := make([]*byte, 0, len(options)+3)
	keep := make([][]byte, 0, len(options)+2)
	for _, arg := range append([]string{"clickhouse", "--path=" + dir}, options...) {
		if strings.IndexByte(arg, 0) >= 0 {
			return nil, errors.New("a zero byte in an engine option")
		}
		b := append([]byte(arg), 0)
		keep = append(keep, b)
		argv = append(argv, &b[0])
	}
	argv = append(argv, nil)
	var handle uintptr
	l.keepSignals(func() { handle = l.connect(int32(len(argv)-1), unsafe.Pointer(&argv[0])) })
	runtime.KeepAlive(keep)
	if handle == 0 {
		return nil, errors.New("the engine could not open its directory: it is full, not writable, damaged, or written by a newer version")
	}
	conn := *(*uintptr)(pointer(handle))
	if conn == 0 {
		return nil, errors.New("the engine returned no connection")
	}
	return &session{l: l, handle: handle, conn: conn}, nil
}

func (s *session) close() {
	if s.handle != 0 {
		s.l.closeConn(s.handle)
		s.handle, s.conn = 0, 0
	}
}

// native is the only format results and inserts use.
const native = "Native"

// class is what a statement does, in the library's own numbers.
type class uint32

const (
	classRead    class = 0
	classControl class = 3 // SET, USE and their like: they change the session
)

// classify parses sql with the engine's own parser and returns how many statements it holds and
// what they do. What cannot be parsed has no statements.
func (s *session) classify(sql []byte) (statements int, c class, err error) {
	out := struct{ size, statements, flags, class uint32 }{size: 16}
	if s.l.classify(s.conn, first(sql), uintptr(len(sql)), nil, 0, unsafe.Pointer(&out)) != 0 {
		return 0, 0, errors.New("the engine could not look at the statement")
	}
	return int(out.statements), class(out.class), nil
}

// param is the value of one {name:Type} of a query, as escaped text.
type param struct{ name, value string }

// paramArrays lays parameters out as the library takes them. keep must stay alive during the call.
type paramArrays struct {
	names, values       []unsafe.Pointer
	nameLens, valueLens []uintptr
	keep                [][]byte
	np, nlp, vp, vlp    unsafe.Pointer
	count               uintptr
}

func newParamArrays(params []param) *paramArrays {
	a := &paramArrays{count: uintptr(len(params))}
	if len(params) == 0 {
		return a
	}
	for _, p := range params {
		// A trailing zero keeps the pointer of an empty text valid.
		n, v := append([]byte(p.name), 0), append([]byte(p.value), 0)
		a.keep = append(a.keep, n, v)
		a.names, a.nameLens = append(a.names, unsafe.Pointer(&n[0])), append(a.nameLens, uintptr(len(p.name)))
		a.values, a.valueLens = append(a.values, unsafe.Pointer(&v[0])), append(a.valueLens, uintptr(len(p.value)))
	}
	a.np, a.nlp = unsafe.Pointer(&a.names[0]), unsafe.Pointer(&a.nameLens[0])
	a.vp, a.vlp = unsafe.Pointer(&a.values[0]), unsafe.Pointer(&a.valueLens[0])
	return a
}

// query runs sql and returns its whole result as Native blocks of revision 0.
func (s *session) query(sql []byte, params []param) (*result, error) {
	f, a := []byte(native), newParamArrays(params)
	r := &result{l: s.l, p: s.l.query(s.conn, first(sql), uintptr(len(sql)), first(f), uintptr(len(f)), a.np, a.nlp, a.vp, a.vlp, a.count)}
	runtime.KeepAlive(a)
	if err := r.err(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// exec runs sql and throws its result away.
func (s *session) exec(sql string) error {
	r, err := s.query([]byte(sql), nil)
	if err != nil {
		return err
	}
	r.close()
	return nil
}

// stream runs a SELECT whose result is fetched piece by piece.
func (s *session) stream(sql []byte, params []param) (*stream, error) {
	f, a := []byte(native), newParamArrays(params)
	r := &result{l: s.l, p: s.l.streamQuery(s.conn, first(sql), uintptr(len(sql)), first(f), uintptr(len(f)), a.np, a.nlp, a.vp, a.vlp, a.count)}
	runtime.KeepAlive(a)
	if err := r.err(); err != nil {
		r.close()
		return nil, err
	}
	return &stream{s: s, r: r}, nil
}

// result is one buffer of the library's.
type result struct {
	l *lib
	p uintptr
}

// bytes is the result's data. It belongs to the library and is gone after close.
func (r *result) bytes() []byte {
	n := r.l.resultLength(r.p)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(r.l.resultBuffer(r.p))), n)
}

func (r *result) err() error {
	if r.p == 0 {
		return errors.New("the engine returned no result")
	}
	return exceptionAt(r.l.resultError(r.p))
}

func (r *result) close() {
	if r.p != 0 {
		r.l.destroy(r.p)
		r.p = 0
	}
}

// stream is a running SELECT.
type stream struct {
	s    *session
	r    *result
	done bool
}

// next returns the following piece of the result, to be closed by the caller, or nil at its end.
func (st *stream) next() (*result, error) {
	if st.done {
		return nil, nil
	}
	r := &result{l: st.s.l, p: st.s.l.fetch(st.s.conn, st.r.p)}
	if err := r.err(); err != nil {
		st.done = true
		r.close()
		return nil, err
	}
	if r.l.resultLength(r.p) == 0 {
		st.done = true
		r.close()
		return nil, nil
	}
	return r, nil
}

// close ends the query, whether or not its result was read to the end.
func (st *stream) close() {
	if !st.done {
		st.done = true
		st.s.l.cancelQuery(st.s.conn, st.r.p)
	}
	st.r.close()
}

// insert is a running INSERT that is fed Native blocks of revision 0.
type insert struct {
	l *lib
	p uintptr
}

// insert starts sql, an INSERT without data and without FORMAT clause.
func (s *session) insert(sql []byte) (*insert, error) {
	f := []byte(native)
	in := &insert{l: s.l, p: s.l.insert(s.conn, first(sql), uintptr(len(sql)), first(f), uintptr(len(f)))}
	if in.p == 0 {
		return nil, errors.New("the engine returned no insert stream")
	}
	if err := exceptionAt(s.l.insertError(in.p)); err != nil {
		in.abort()
		return nil, err
	}
	return in, nil
}

// write hands over bytes, which the library copies. It waits while the library is busy.
func (in *insert) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if in.l.appendInsert(in.p, first(p), uintptr(len(p))) == 0 {
		return nil
	}
	if err := exceptionAt(in.l.insertError(in.p)); err != nil {
		return err
	}
	return errors.New("the engine refused the insert's data")
}

// finish ends the data and returns once the rows are stored. The insert is gone afterwards.
func (in *insert) finish() error {
	r := &result{l: in.l, p: in.l.doneInsert(in.p)}
	err := r.err()
	r.close()
	in.l.destroyInsert(in.p)
	in.p = 0
	return err
}

// abort ends an insert that is not to be stored. It may be called after finish.
func (in *insert) abort() {
	if in.p != 0 {
		in.l.destroyInsert(in.p) // cancels what was not finished
		in.p = 0
	}
}

// first is the address of b's first byte, or nil.
func first(b []byte) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(b))
}

// pointer turns an address of the library's memory into a pointer. Going through the variable's
// address keeps `go vet` from taking it for arithmetic on Go memory, which it is not.
func pointer(addr uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&addr))
}

// text copies a C string.
func text(addr uintptr) string {
	if addr == 0 {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(pointer(addr), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(addr)), n))
}
