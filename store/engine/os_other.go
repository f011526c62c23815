//go:build !linux

package engine

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// The program builds on other systems, where it needs a ClickHouse server.

func supported() error {
	return errors.New("the embedded engine runs on Linux only; use a ClickHouse server instead (store: clickhouse://...)")
}

func peerClosed(net.Conn) bool           { return false }
func childAttr() *syscall.SysProcAttr    { return nil }
func lockDir(*os.File) error             { return supported() }
func muteStdio() error                   { return supported() }
func setUmask(int) int                   { return 0 }
func totalMemory() int64                 { return 0 }
func keepSignals(f func())               { f() }
func dupFile(*os.File) (*os.File, error) { return nil, supported() }

func openLibrary(string) (func(string) (uintptr, error), error) { return nil, supported() }

func noCoreDumps() {}
