package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptSignals are those the library installs or resets handlers for.
var keptSignals = [...]unix.Signal{unix.SIGABRT, unix.SIGSEGV, unix.SIGILL, unix.SIGBUS, unix.SIGSYS, unix.SIGFPE, unix.SIGTSTP, unix.SIGTRAP}

// sigaction holds the kernel's struct of that name unopened; 64 bytes are more than it has on any
// architecture.
type sigaction [8]uint64

// keepSignals runs f and puts the signal handlers back that f changed. They are read and written
// by the system call itself, because libc would not give back the Go runtime's as they were.
func keepSignals(f func()) {
	var saved [len(keptSignals)]sigaction
	for i, s := range keptSignals {
		rtSigaction(s, nil, &saved[i])
	}
	f()
	for i, s := range keptSignals {
		rtSigaction(s, &saved[i], nil)
	}
}

func rtSigaction(s unix.Signal, set, get *sigaction) {
	// The only errors are a wrong number or address, and there is none here.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 8, 0, 0)
}
