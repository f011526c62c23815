package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func dirOf(path string) string { return filepath.Dir(path) }

// dirLock is the claim of one process on a data directory.
type dirLock struct{ f *os.File }

// lockDir makes the data directory and claims it. The kernel gives the claim up with
// the process, however that ends.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data: another footfall uses %s; stop it, or give this one a directory of its own with --data", dir)
		}
		return nil, fmt.Errorf("data: %w", err)
	}
	return &dirLock{f}, nil
}

func (l *dirLock) unlock() { l.f.Close() }

// listenUnix listens on a socket that only its owner may open. Whoever calls it holds the
// directory's lock, so a socket that is there already is a dead one's.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	short, done, err := shortPath(path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer done()
	ln, err := net.Listen("unix", short)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // by the short name it could be another's
	return ln, nil
}

// dialUnix connects to a socket at a path of any length.
func dialUnix(path string) (net.Conn, error) {
	short, done, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return net.Dial("unix", short)
}

// shortPath returns another name for path that fits into a socket's address, which holds
// 107 bytes: the way through an open descriptor of its directory. The name is good until done.
func shortPath(path string) (short string, done func(), err error) {
	if len(path) < 100 {
		return path, func() {}, nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path)), func() { d.Close() }, nil
}
