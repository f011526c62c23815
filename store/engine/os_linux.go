package engine

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerClosed looks, without waiting and without taking anything from it, whether the other end of a
// connection was closed.
func peerClosed(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			closed = fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
		}
	})
	return closed || err != nil
}

// childAttr makes the kernel end a child when the thread that started it ends: the thread must
// therefore stay for as long as the child may live. SIGTERM, so that the child closes its files in
// order; it gives itself little time for that.
func childAttr() *syscall.SysProcAttr {
	// A process group of its own, so that an interrupt typed at the terminal reaches the parent
	// alone, which then stops the child after what still has to be written.
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}

// lockDir takes the lock on a directory that is open, or returns errLocked.
func lockDir(dir *os.File) error {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// muteStdio points the process's standard output and error at nothing. What the library prints may
// quote statements.
func muteStdio() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// setUmask sets the mask for files that the process creates.
func setUmask(mask int) { unix.Umask(mask) }

// totalMemory is the machine's memory in bytes, or 0 if it is not known.
func totalMemory() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}
