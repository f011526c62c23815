package main

import (
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestStaffServerLog: net/http would print the peer's address and the panic's value.
func TestStaffServerLog(t *testing.T) {
	var out syncBuffer
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("canary") }))
	s.Config.ErrorLog = log.New(serverLog{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}, "", 0)
	s.Start()
	defer s.Close()
	if res, err := http.Get(s.URL); err == nil {
		res.Body.Close()
		t.Errorf("a panic was answered %d", res.StatusCode)
	}
	host, _, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.Close() // the line is written by then
	if said := out.String(); !strings.Contains(said, "programming error") || strings.Contains(said, "canary") || strings.Contains(said, host) {
		t.Errorf("logged: %s", said)
	}
}
