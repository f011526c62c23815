package storetest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// diskPrefix begins the name of each small disk; the number of the process that made it follows.
const diskPrefix = "footfall-test-"

// SmallDisk makes a folder that is a disk of its own, so that it can be filled: a tmpfs of size
// bytes, which is gone at the test's end. Start what uses it afterwards, so that it is ended before.
// An error says why no disk can be made here; it is the machine's permission, not a failure of
// the test.
func SmallDisk(t testing.TB, size int) (dir string, err error) {
	t.Helper()
	if err := removeLeftDisks(); err != nil {
		t.Logf("disks that an earlier test left behind: %v", err)
	}
	dir = t.TempDir()
	name := diskPrefix + strconv.Itoa(os.Getpid())
	if err := syscall.Mount(name, dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		return "", fmt.Errorf("mounting a small disk: %w", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmounting a small disk: %v", err)
		}
	})
	return dir, nil
}

// unmount waits a while for processes that were killed, and then takes the disk away from
// whoever still has a file of it open.
func unmount(dir string) error {
	for range 50 {
		err := syscall.Unmount(dir, 0)
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	const detach = 2 // MNT_DETACH
	return syscall.Unmount(dir, detach)
}

// removeLeftDisks unmounts the disks of test processes that are gone: one that was killed has
// cleaned nothing up.
func removeLeftDisks() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var failed error
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimPrefix(fields[0], diskPrefix))
		if err != nil || !strings.HasPrefix(fields[0], diskPrefix) || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		failed = errors.Join(failed, unmount(fields[1]))
	}
	return failed
}
