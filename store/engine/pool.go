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

// lane is a kind of statement that has sessions of its own.
type lane int

const (
	laneReads   lane = iota // reports, DDL, all else
	laneInserts             // so that no number of slow reports keeps events from being stored
	laneAsks                // what runs, and stopping it: that must work when all other sessions are busy
	lanes
)

// askSessions is the number of sessions of laneAsks. KILL ... SYNC keeps one for as long as it waits.
const askSessions = 2

// pool holds the sessions statements run on.
type pool struct {
	open    func() (*session, error)
	base    []setting // what every session starts with
	forRows []setting // what those for inserts start with besides
	free    [lanes]chan *lease
	waiting atomic.Int64

	mu     sync.Mutex // held while the bridge's own session is used
	killer *lease
}

// maxWaiting bounds the requests that wait for a session.
const maxWaiting = 256

// lease is one session and what is set on it.
type lease struct {
	*session
	lane     lane
	base     []setting
	set      map[string]string // settings that differ from the base
	database string
	spoiled  bool // its state is not known: not to be used again
}

// newPool opens all sessions.
func newPool(open func() (*session, error), reads, inserts int, base, forRows []setting) (*pool, error) {
	p := &pool{open: open, base: base, forRows: forRows}
	for i, n := range [lanes]int{laneReads: reads, laneInserts: inserts, laneAsks: askSessions} {
		p.free[i] = make(chan *lease, n)
		for range n {
			l, err := p.fresh(lane(i))
			if err != nil {
				p.close()
				return nil, err
			}
			p.free[i] <- l
		}
	}
	var err error
	if p.killer, err = p.fresh(laneAsks); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pool) fresh(n lane) (*lease, error) {
	s, err := p.open()
	if err != nil {
		return nil, err
	}
	base := p.base
	if n == laneInserts {
		base = append(slices.Clone(base), p.forRows...)
	}
	if len(base) > 0 {
		if err := s.exec(setStatement(base)); err != nil {
			s.close()
			return nil, fmt.Errorf("engine settings: %w", err)
		}
	}
	return &lease{session: s, lane: n, base: base, set: map[string]string{}, database: "default"}, nil
}

// acquire waits for a session until ctx ends. Errors are of type *exception.
func (p *pool) acquire(ctx context.Context, n lane) (*lease, error) {
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return nil, raise(codeTooMany, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many statements wait for the engine")
	}
	defer p.waiting.Add(-1)
	select {
	case l := <-p.free[n]:
		if l.session != nil {
			return l, nil
		}
		// It was spoiled and could not be opened again.
		again, err := p.fresh(n)
		if err != nil {
			p.free[n] <- l
			return nil, err
		}
		return again, nil
	case <-ctx.Done():
		return nil, raise(codeCancelled, "QUERY_WAS_CANCELLED", "The client went away before the statement began")
	}
}

// release gives a session back. A spoiled one is replaced.
func (p *pool) release(l *lease) { p.free[l.lane] <- p.renewed(l) }

func (p *pool) renewed(l *lease) *lease {
	if !l.spoiled {
		return l
	}
	l.close()
	again, err := p.fresh(l.lane)
	if err != nil {
		return &lease{lane: l.lane} // tried once more when it is wanted
	}
	return again
}

// close closes every session. All must have been released.
func (p *pool) close() {
	for _, free := range p.free {
		for len(free) > 0 {
			if l := <-free; l.session != nil {
				l.close()
			}
		}
	}
	if p.killer != nil && p.killer.session != nil {
		p.killer.close()
	}
}

// ask runs sql, one of the bridge's own statements, and returns the single text it answers with.
func (p *pool) ask(sql string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killer.session == nil {
		again, err := p.fresh(laneAsks)
		if err != nil {
			return "", err
		}
		p.killer = again
	}
	r, err := p.killer.query([]byte(sql), nil)
	if err != nil {
		p.killer.spoiled = true
		p.killer = p.renewed(p.killer)
		return "", err
	}
	defer r.close()
	return oneText(r.bytes())
}

// kill asks the engine to stop the statement marked with mark, and does not wait until it has.
func (p *pool) kill(mark string) {
	// If it fails the caller tries again.
	_, _ = p.ask("KILL QUERY WHERE Settings['log_comment'] = " + quote(mark) + " ASYNC")
}

// engineID returns the id under which the engine runs the statement marked with mark, or "".
func (p *pool) engineID(mark string) (string, error) {
	return p.ask("SELECT query_id FROM system.processes WHERE Settings['log_comment'] = " + quote(mark))
}

// oneText reads the first value of a Native block whose first column is of type String.
func oneText(block []byte) (string, error) {
	if len(block) == 0 {
		return "", nil
	}
	s := scanner{b: block}
	columns, rows := s.uvarint(), s.uvarint()
	s.text()
	typ := string(s.text())
	if s.failed || columns == 0 || typ != "String" {
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

// clear makes the library forget a statement that failed. It would keep its memory, and its place
// in system.processes, for which KILL ... SYNC waits, until the session's next statement.
func (l *lease) clear() {
	if l.exec("SET log_comment = ''") != nil {
		l.spoiled = true
	}
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
