package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// pool holds the sessions statements run on. Inserts have some of their own, so that no number of
// slow reports keeps events from being stored; and one is set aside for asking what runs and for
// stopping it, which must work when all others are busy.
type pool struct {
	open    func() (*session, error)
	base    []setting // what every session starts with
	forRows []setting // what sessions for inserts start with besides
	reads   chan *lease
	inserts chan *lease
	waiting atomic.Int64

	mu      sync.Mutex // held while the control session is used
	control *lease
}

// maxWaiting bounds the requests that wait for a session.
const maxWaiting = 256

// lease is one session and what is set on it.
type lease struct {
	*session
	base     []setting
	set      map[string]string // settings that differ from the base
	database string
	spoiled  bool // its state is not known: not to be used again
}

// newPool opens all sessions. open is called with nothing running but the pool's own sessions.
func newPool(open func() (*session, error), reads, inserts int, base, forRows []setting) (*pool, error) {
	p := &pool{open: open, base: base, forRows: forRows, reads: make(chan *lease, reads), inserts: make(chan *lease, inserts)}
	var err error
	if p.control, err = p.fresh(false); err != nil {
		return nil, err
	}
	for _, c := range []chan *lease{p.reads, p.inserts} {
		for range cap(c) {
			l, err := p.fresh(c == p.inserts)
			if err != nil {
				p.close()
				return nil, err
			}
			c <- l
		}
	}
	return p, nil
}

func (p *pool) fresh(insert bool) (*lease, error) {
	s, err := p.open()
	if err != nil {
		return nil, err
	}
	base := p.base
	if insert {
		base = append(slices.Clone(base), p.forRows...)
	}
	if len(base) > 0 {
		if err := s.exec(setStatement(base)); err != nil {
			s.close()
			return nil, fmt.Errorf("engine settings: %w", err)
		}
	}
	return &lease{session: s, base: base, set: map[string]string{}, database: "default"}, nil
}

// acquire waits for a session until ctx ends.
func (p *pool) acquire(ctx context.Context, insert bool) (*lease, error) {
	from := p.reads
	if insert {
		from = p.inserts
	}
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return nil, raise(codeTooMany, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many statements wait for the engine")
	}
	defer p.waiting.Add(-1)
	select {
	case l := <-from:
		if l.session == nil { // could not be opened again when it was spoiled
			n, err := p.fresh(insert)
			if err != nil {
				from <- l
				return nil, err
			}
			l = n
		}
		return l, nil
	case <-ctx.Done():
		return nil, raise(codeCancelled, "QUERY_WAS_CANCELLED", "The client went away before the statement began")
	}
}

// release gives a session back. A spoiled one is replaced.
func (p *pool) release(l *lease, insert bool) {
	to := p.reads
	if insert {
		to = p.inserts
	}
	to <- p.renewed(l, insert)
}

func (p *pool) renewed(l *lease, insert bool) *lease {
	if !l.spoiled {
		return l
	}
	l.close()
	n, err := p.fresh(insert)
	if err != nil {
		return &lease{} // acquire tries again
	}
	return n
}

// close closes every session. All must have been released.
func (p *pool) close() {
	for _, c := range []chan *lease{p.reads, p.inserts} {
		for {
			select {
			case l := <-c:
				if l.session != nil {
					l.close()
				}
				continue
			default:
			}
			break
		}
	}
	if p.control != nil && p.control.session != nil {
		p.control.close()
	}
}

// withControl runs f with the control session, one caller at a time.
func (p *pool) withControl(f func(l *lease) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control.session == nil {
		n, err := p.fresh(false)
		if err != nil {
			return err
		}
		p.control = n
	}
	err := f(p.control)
	p.control = p.renewed(p.control, false)
	return err
}

// kill asks the engine to stop the statement marked with mark, and does not wait until it has.
func (p *pool) kill(mark string) error {
	return p.withControl(func(l *lease) error {
		return l.exec("KILL QUERY WHERE Settings['log_comment'] = " + quote(mark) + " ASYNC")
	})
}

// engineID returns the id under which the engine runs the statement marked with mark, or "".
func (p *pool) engineID(mark string) (id string, err error) {
	err = p.withControl(func(l *lease) error {
		r, err := l.query([]byte("SELECT query_id FROM system.processes WHERE Settings['log_comment'] = "+quote(mark)), nil)
		if err != nil {
			return err
		}
		defer r.close()
		id, err = oneText(r.bytes())
		return err
	})
	return id, err
}

// oneText reads the first value of a Native block of one String column.
func oneText(block []byte) (string, error) {
	if len(block) == 0 {
		return "", nil
	}
	s := scanner{b: block}
	columns, rows := s.uvarint(), s.uvarint()
	s.text()
	typ := string(s.text())
	if s.failed || columns != 1 || typ != "String" {
		return "", errors.New("the engine gave an unexpected answer")
	}
	if rows == 0 {
		return "", nil
	}
	v := string(s.text())
	if s.failed {
		return "", errNative
	}
	return v, nil
}

// apply puts the session's settings, database and mark as the statement to come wants them. What an
// earlier one had set and this one does not is set back. The mark is how the engine's own list of
// processes is searched for the statement: the library lets nobody choose query ids.
func (l *lease) apply(want []setting, database, mark string) error {
	stmt := make([]setting, 0, len(want)+1)
	next := make(map[string]string, len(want))
	for _, s := range want {
		next[s.name] = s.value
		if old, ok := l.set[s.name]; !ok || old != s.value {
			stmt = append(stmt, s)
		}
	}
	var b strings.Builder
	b.WriteString(setStatement(append(stmt, setting{"log_comment", mark})))
	for name := range l.set {
		if _, ok := next[name]; ok {
			continue
		}
		b.WriteString(", " + name + " = ")
		b.WriteString(baseValue(l.base, name))
	}
	if err := l.exec(b.String()); err != nil {
		l.spoiled = true
		return err
	}
	l.set = next
	if database == "" {
		database = "default"
	}
	if database != l.database {
		if err := l.exec("USE `" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(database) + "`"); err != nil {
			return err
		}
		l.database = database
	}
	return nil
}

func baseValue(base []setting, name string) string {
	for _, s := range slices.Backward(base) {
		if s.name == name {
			return quote(s.value)
		}
	}
	return "DEFAULT"
}

func setStatement(settings []setting) string {
	var b strings.Builder
	b.WriteString("SET ")
	for i, s := range settings {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.name)
		b.WriteString(" = ")
		b.WriteString(quote(s.value))
	}
	return b.String()
}

// marks hands out marks, each used once in the life of the process.
type marks struct{ n atomic.Uint64 }

func (m *marks) next() string { return "footfall-" + strconv.FormatUint(m.n.Add(1), 10) }
