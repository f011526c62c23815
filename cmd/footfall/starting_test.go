package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// starting runs footfall serve on a database that takes connections and never answers, so
// that its start lasts for as long as a start may, and returns once it has begun.
func starting(t *testing.T) (cmd *exec.Cmd, out *syncBuffer, exited chan error) {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	data := filepath.Join(t.TempDir(), "data")
	cmd = exec.Command(binary(t), "serve", "--data", data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0",
		"--store", "clickhouse://"+silent.Addr().String()+"/silent")
	cmd.Dir = "../.." // where make puts the parts
	out = &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited = make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		if t.Failed() {
			t.Logf("output of the program:\n%s", out.String())
		}
	})
	eventually(t, "the start", func() (string, bool) {
		_, err := os.Stat(filepath.Join(data, "keys"))
		return "no keys", err == nil
	})
	return cmd, out, exited
}

// A reload that is asked for while the program starts is done once it has started.
func TestReloadWhileStarting(t *testing.T) {
	cmd, out, exited := starting(t)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload", func() (string, bool) {
		select {
		case err := <-exited:
			t.Fatalf("the program ended: %v", err)
		default:
		}
		return out.String(), strings.Contains(out.String(), "in force")
	})
}

// A stop that is asked for while the program starts does not wait for the start.
func TestStopWhileStarting(t *testing.T) {
	cmd, out, exited := starting(t)
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if took := time.Since(begin); err != nil || took > restoreTimeout-time.Second {
			t.Errorf("ended after %s with %v", took, err)
		}
	case <-time.After(time.Minute):
		t.Error("the program does not stop")
	}
	if !strings.Contains(out.String(), "stopped") {
		t.Error("the stop was not clean")
	}
}
