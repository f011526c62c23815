package collector

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// connSet knows the open connections, so that they can be cut.
type connSet struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
}

// listen returns ln with its connections kept in the set.
func (s *connSet) listen(ln net.Listener) *listener { return &listener{Listener: ln, set: s} }

func (s *connSet) closeAll() {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

type listener struct {
	net.Listener
	set      *connSet
	closing  sync.Once
	closeErr error
}

// Close may be called more than once.
func (l *listener) Close() error {
	l.closing.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, set: l.set}
	l.set.mu.Lock()
	if l.set.conns == nil {
		l.set.conns = make(map[*conn]struct{})
	}
	l.set.conns[c] = struct{}{}
	l.set.mu.Unlock()
	return c, nil
}

type conn struct {
	net.Conn
	set    *connSet
	linger atomic.Bool
	spoke  atomic.Bool // something came
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err
}

// Close closes the connection. Where the client may still be sending what nobody will
// read, it waits for that a little first: the kernel would answer it with a reset, and the
// client might never see why it was refused.
func (c *conn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() {
		if half.CloseWrite() == nil && c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}

// serverLog drops what fasthttp would log of a connection: the peer's address, parts of
// the request. The format alone says what happened.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Printf(format string, _ ...any) {
	l.log.Debug("http server", "event", format)
}
