package store

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// proxy stands between a store and its database. It can do something, once, when a
// number of bytes has passed in one direction: cut the connection, or hurt the database.
type proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu       sync.Mutex
	passed   [2]int64 // by direction, since arm
	limit    int64
	armed    bool
	armedFor direction
	action   func() (cut bool)
	conns    map[net.Conn]struct{}
	closed   bool
	running  sync.WaitGroup
}

type direction int

const (
	upward   direction = iota // to the database
	downward                  // from it
)

func newProxy(t testing.TB, dial func() (net.Conn, error)) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, dial: dial, conns: map[net.Conn]struct{}{}}
	p.running.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// arm runs action, once, when limit bytes have passed in a direction from now on and the next
// one comes. If it returns true the connection whose bytes these are is cut.
func (p *proxy) arm(d direction, limit int64, action func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed = [2]int64{}
	p.armed, p.armedFor, p.limit, p.action = true, d, limit, action
}

// disarm tells whether the action has run.
func (p *proxy) disarm() (ran bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ran = !p.armed
	p.armed = false
	return ran
}

func (p *proxy) bytes() [2]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

func (p *proxy) accept() {
	defer p.running.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := p.dial()
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		stop := p.closed
		p.running.Add(2)
		p.mu.Unlock()
		if stop {
			client.Close()
			server.Close()
		}
		go p.copy(server, client, upward)
		go p.copy(client, server, downward)
	}
}

func (p *proxy) copy(to, from net.Conn, d direction) {
	defer p.running.Done()
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
		pass, action := p.count(d, n)
		if _, err := to.Write(buf[:pass]); err != nil {
			return
		}
		if action != nil && action() {
			for _, c := range []net.Conn{to, from} {
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.SetLinger(0) // a reset, as a cut is
				}
			}
			return
		}
		if _, err := to.Write(buf[pass:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// count adds n bytes and returns how many of them pass before the action, if it is due.
func (p *proxy) count(d direction, n int) (pass int, action func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.passed[d]
	p.passed[d] += int64(n)
	if p.armed && p.armedFor == d && p.passed[d] > p.limit {
		p.armed = false
		return int(p.limit - before), p.action
	}
	return n, nil
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// throughProxy returns the options of the same database behind a proxy.
func throughProxy(t testing.TB, o Options) (Options, *proxy) {
	t.Helper()
	if o.Engine != nil {
		opt := o.Engine.ClickhouseOptions()
		p := newProxy(t, func() (net.Conn, error) { return opt.DialContext(context.Background(), "") })
		direct := o.Engine
		o.Engine = engineFunc(func() *clickhouse.Options {
			opt := direct.ClickhouseOptions()
			opt.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", p.addr())
			}
			return opt
		})
		return o, p
	}
	opt, err := parseAddress(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, func() (net.Conn, error) { return net.Dial("tcp", opt.Addr[0]) })
	o.URL = "clickhouse://default@" + p.addr() + "/" + opt.Auth.Database
	return o, p
}

type engineFunc func() *clickhouse.Options

func (f engineFunc) ClickhouseOptions() *clickhouse.Options { return f() }
