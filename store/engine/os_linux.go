package engine

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ebitengine/purego"
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

// noCoreDumps keeps a crash from writing the process's memory, and with it data, to disk.
func noCoreDumps() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

// dupFile returns another descriptor of the same open file.
func dupFile(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// setUmask sets the mask for files that the process creates, and returns the one before.
func setUmask(mask int) int { return unix.Umask(mask) }

// totalMemory is the memory in bytes that the process may use: the machine's, or less if one of its
// control groups has a limit. 0 if it is not known.
func totalMemory() int64 {
	var total int64
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		total = int64(si.Totalram) * int64(si.Unit)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return total
	}
	for line := range strings.Lines(string(own)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::") // version 2
		if !ok {
			continue
		}
		for ; ; group = filepath.Dir(group) {
			b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", group, "memory.max"))
			if err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && (total == 0 || n < total) {
					total = n
				}
			}
			if group == "/" || group == "." {
				break
			}
		}
	}
	return total
}

// openLibrary maps a shared library and returns a function that finds its symbols.
func openLibrary(path string) (symbol func(name string) (uintptr, error), err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	return func(name string) (uintptr, error) { return purego.Dlsym(handle, name) }, nil
}

// supported is nil where the library runs.
func supported() error { return nil }
