package storetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A small disk is small and gone at its test's end; one whose test was killed goes with the next.
func TestSmallDisk(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left := t.TempDir()
	if err := syscall.Mount(diskPrefix+strconv.Itoa(gone.Process.Pid), left, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("disks cannot be mounted here: %v", err)
		return
	}
	var dir string
	t.Run("test", func(t *testing.T) {
		var err error
		if dir, err = SmallDisk(t, 1<<20); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, "open"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.Write(make([]byte, 2<<20)); err == nil {
			t.Error("2 MiB fit on a disk of one")
		}
	})
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, left} {
		if strings.Contains(string(mounts), d) {
			t.Errorf("%s is still mounted", d)
		}
	}
}
