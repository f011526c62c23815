package engine

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"time"
)

// watchHealth kills a child that does not get ready, or whose engine no longer answers.
func (s *Supervisor) watchHealth(p *os.Process, ready, exited <-chan struct{}) {
	t := time.NewTimer(startPatience)
	defer t.Stop()
	select {
	case <-ready:
	case <-exited:
		return
	case <-t.C:
		s.o.Log.Error("the embedded engine did not get ready and is killed", "after", startPatience)
		_ = p.Kill()
		return
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return DialSocket(ctx, s.socket) },
	}}
	for {
		t.Reset(s.probeEvery)
		select {
		case <-exited:
			return
		case <-t.C:
		}
		if s.probe(client, exited) {
			continue
		}
		select {
		case <-exited:
		default:
			s.o.Log.Error("the embedded engine does not answer and is killed", "after", s.probePatience)
			_ = p.Kill()
		}
		return
	}
}

// probe asks the engine for a sign of life. It fails only after a long time, because a busy machine is
// no reason to kill: what is stuck in the library stays stuck.
func (s *Supervisor) probe(client *http.Client, exited <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.probePatience)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-exited:
			cancel()
		case <-stop:
		}
	}()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/ping", nil)
		if err != nil {
			return false
		}
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(s.probePatience / 10):
		}
	}
}

// lineWriter calls line for each line written to it, and forgets lines that are too long.
type lineWriter struct {
	line func(string)
	buf  []byte
	skip bool
}

const maxLine = 4 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		head, tail, ended := bytes.Cut(rest, []byte("\n"))
		rest = tail
		if w.skip = w.skip || len(w.buf)+len(head) > maxLine; !w.skip {
			w.buf = append(w.buf, head...)
		}
		if ended {
			if !w.skip {
				w.line(string(w.buf))
			}
			w.buf, w.skip = w.buf[:0], false
		}
	}
	return len(p), nil
}
