package main

import (
	"net"
	"sync"
	"testing"
)

// soakProxy stands between the program and its server, and does something once when a number
// of bytes has passed in one direction.
type soakProxy struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	action func() (cut bool) // nil: not armed
	down   bool
	left   int64

	running sync.WaitGroup
}

func newSoakProxy(t *testing.T, to string) *soakProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &soakProxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *soakProxy) addr() string { return p.listener.Addr().String() }

// arm has action done, instead of what was armed before.
func (p *soakProxy) arm(down bool, bytes int64, action func() (cut bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.left, p.action = down, bytes, action
}

func (p *soakProxy) disarm() { p.arm(false, 0, nil) }

func (p *soakProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		if p.closed {
			client.Close()
			server.Close()
		}
		p.mu.Unlock()
		p.running.Go(func() { p.copy(server, client, false) })
		p.running.Go(func() { p.copy(client, server, true) })
	}
}

func (p *soakProxy) copy(to, from net.Conn, down bool) {
	defer func() {
		to.Close()
		from.Close()
		p.mu.Lock()
		delete(p.conns, to)
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		pass, action := p.count(down, n)
		if _, err := to.Write(buf[:pass]); err != nil {
			return
		}
		if action != nil && action() {
			for _, c := range []net.Conn{to, from} {
				c.(*net.TCPConn).SetLinger(0) // a reset, as a cut is
			}
			return
		}
		if _, werr := to.Write(buf[pass:n]); werr != nil || err != nil {
			return
		}
	}
}

// count returns how many of n bytes pass before the action, if that is due.
func (p *soakProxy) count(down bool, n int) (pass int, action func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.action == nil || p.down != down {
		return n, nil
	}
	if int64(n) <= p.left {
		p.left -= int64(n)
		return n, nil
	}
	action, p.action = p.action, nil
	return int(p.left), action
}

func (p *soakProxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
