package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerLives(t *testing.T) {
	s := StartServer(t)
	version := func(timeout time.Duration) (v string, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		opt, err := clickhouse.ParseDSN(s.URL("default"))
		if err != nil {
			t.Fatal(err)
		}
		opt.DialTimeout = timeout // the handshake knows no context
		c, err := clickhouse.Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.QueryRow(ctx, "SELECT version()").Scan(&v)
		return v, err
	}
	if v, err := version(30 * time.Second); err != nil || v == "" {
		t.Fatalf("version %q, error %v", v, err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := version(300 * time.Millisecond); err == nil {
		t.Error("a paused server answered")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := version(30 * time.Second); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	s.Kill()
	s.Kill() // again is harmless
	if _, err := version(time.Second); err == nil {
		t.Error("a killed server answered")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := version(30 * time.Second); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	s.Stop()
	if err := s.Pause(); err == nil {
		t.Error("a stopped server could be paused")
	}
}

func TestNewURLsDiffer(t *testing.T) {
	s := &Server{tcp: 1}
	if a, b := s.NewURL(), s.NewURL(); a == b {
		t.Errorf("%s twice", a)
	}
}
