package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// maxSocketPath is the longest path that fits into a sockaddr_un together with its final zero: 108
// bytes on Linux.
const maxSocketPath = 107

// reachable calls f with a name for path that is short enough for bind and connect. A long path is
// named through an open descriptor of its folder, which works without changing the working
// directory, that is, also in a program with many threads.
func reachable(path string, f func(short string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	if len(short) > maxSocketPath {
		return fmt.Errorf("the name of the socket %q is too long", filepath.Base(path))
	}
	return f(short)
}

// DialSocket connects to a Unix socket at a path of any length.
func DialSocket(ctx context.Context, path string) (net.Conn, error) {
	var conn net.Conn
	err := reachable(path, func(short string) error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// ListenSocket binds a Unix socket that only its owner can use, at a path of any length. The caller
// must hold the lock that says nobody else listens there: a socket left behind by a killed process is
// removed. It changes the process's umask for the moment.
func ListenSocket(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	// By the umask, so that there is no moment at which others get in. It leaves owners all rights: a
	// folder that another thread makes meanwhile must be usable.
	defer setUmask(setUmask(0o077))
	var ln *net.UnixListener
	err := reachable(path, func(short string) error {
		var err error
		ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // the name it was bound by may not exist any more, or be another's
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}
