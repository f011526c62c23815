package collector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

func TestSlowAndBrokenClients(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Limits = Limits{ReadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond, Connections: 50}
	})
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		return nc
	}
	ends := func(why string, nc net.Conn, status int) {
		t.Helper()
		b, err := io.ReadAll(nc)
		if err != nil {
			t.Errorf("%s: %v", why, err)
		}
		if want := fmt.Sprintf("HTTP/1.1 %d ", status); status != 0 && !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: answered %.60q", why, b)
		}
	}
	slowHeader := dial()
	go func() {
		for range 20 { // a byte now and then does not win time
			if _, err := io.WriteString(slowHeader, "G"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	slowBody, silent, idle := dial(), dial(), dial()
	fmt.Fprintf(slowBody, "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	fmt.Fprintf(idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	start := time.Now()
	ends("slow body", slowBody, 408)
	ends("silent", silent, 0)
	ends("idle", idle, 200)
	if d := time.Since(start); d > 8*time.Second { // without the limits of this test it takes 10
		t.Errorf("it took %s", d)
	}
	if _, err := io.Copy(io.Discard, slowHeader); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("slow header: %v", err)
	}

	huge := dial()
	fmt.Fprintf(huge, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", maxHeader))
	ends("huge header", huge, 431)
	longPath := dial()
	fmt.Fprintf(longPath, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", maxHeader))
	ends("long path", longPath, 431)
	for _, bad := range []string{"\x16\x03\x01\x02\x00\x01\x00", "GET\r\n\r\n", "GET / HTTP/1.1\r\nBad Header\r\n\r\n",
		"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		nc := dial()
		_, _ = io.WriteString(nc, bad+"\r\n\r\n")
		ends(fmt.Sprintf("%q", bad), nc, 400)
	}
	if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
	if r.metric(t, "footfall_bad_requests_total") < 7 {
		t.Errorf("%v bad requests counted", r.metric(t, "footfall_bad_requests_total"))
	}
}

func TestConnectionLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.Connections = 3 })
	var held []net.Conn
	for range 3 {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
	}
	if a := r.do(t, "GET", "/healthz", ""); a.StatusCode != 503 {
		t.Errorf("the fourth connection answered %d", a.StatusCode)
	}
	held[0].Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if a := r.do(t, "GET", "/healthz", ""); a.StatusCode == 200 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("a closed connection makes no room")
		}
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t)
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", chrome, len(okBody))
	br := bufio.NewReader(nc)
	if line, err := br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(nc, okBody)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 202 {
		t.Fatalf("%v %v", resp, err)
	}
}

// gate is a spool whose Append waits.
type gate struct {
	memory
	entered, open chan struct{}
}

func (g *gate) Append(e *event.Event) error {
	g.entered <- struct{}{}
	<-g.open
	return g.memory.Append(e)
}

func TestShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		t.Run(fmt.Sprintf("patient=%v", patient), func(t *testing.T) {
			var o Options
			o, _, _, _, _ = options(t, &clock{t: noon})
			g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
			o.Spool = g
			c, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- c.Serve(ln) }()
			r := &rig{c: c, addr: ln.Addr().String()}
			idle, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			fmt.Fprintf(idle, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
				t.Fatal(err)
			}

			nc, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			fmt.Fprintf(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nContent-Length: %d\r\n\r\n%s", chrome, len(okBody), okBody)
			<-g.entered
			timeout := 30 * time.Second
			if !patient {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- c.Shutdown(ctx) }()
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
			if _, err := net.Dial("tcp", r.addr); err == nil {
				t.Error("a connection was taken after the intake closed")
			}
			if patient {
				close(g.open)
			}
			err = <-done
			if !patient {
				close(g.open)
			}
			if patient != (err == nil) {
				t.Errorf("shutdown: %v", err)
			}
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			b, _ := io.ReadAll(nc)
			if patient != strings.HasPrefix(string(b), "HTTP/1.1 202 ") || patient && !strings.Contains(string(b), "Connection: close") {
				t.Errorf("answered %q", b)
			}
			// Cut off or not, what the spool was given it keeps.
			n := 0
			for deadline := time.Now().Add(30 * time.Second); n == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				n = len(g.take(t))
			}
			if n != 1 {
				t.Errorf("%d events of the hit in flight", n)
			}
		})
	}
}

// TestShutdownDuringStart: a stop that comes while the program starts ends Serve too, whichever of
// the two is called first.
func TestShutdownDuringStart(t *testing.T) {
	for i := range 50 {
		o, _, _, _, _ := options(t, &clock{t: noon})
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		serve := func() { served <- c.Serve(ln) }
		if i > 0 {
			go serve()
			time.Sleep(time.Duration(i%10) * 10 * time.Microsecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err = c.Shutdown(ctx)
		cancel()
		if err != nil {
			t.Fatalf("shutdown: %v", err)
		}
		if i == 0 {
			go serve()
		}
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("Serve goes on after Shutdown")
		}
		if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			t.Error("a connection was taken after the intake closed")
		}
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Limits.ConnectionsPerIP = 2 })
	for range 2 {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := io.ReadFull(nc, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if b, _ := io.ReadAll(nc); !strings.HasPrefix(string(b), "HTTP/1.1 429 ") {
		t.Errorf("answered %.40q", b)
	}
	if strings.Contains(r.log.String(), "127.0.0.1") {
		t.Errorf("log: %s", r.log)
	}
}
