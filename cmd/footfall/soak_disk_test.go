package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// soakDiskSize is room for a run's data, and little enough to be filled in a moment.
const soakDiskSize = 160 << 20

// soakDisk is a small disk that is filled and emptied again. The zero value is none.
type soakDisk struct {
	dir     string
	filling bool
	full    bool // filling has come to its end
}

func newSoakDisk(t *testing.T) soakDisk {
	dir, err := storetest.SmallDisk(t, soakDiskSize)
	if err != nil {
		t.Logf("a disk is not filled: %v", err)
	}
	return soakDisk{dir: dir}
}

func (d *soakDisk) filler() string { return filepath.Join(d.dir, "filler") }

// fillUp returns when the disk is full, from when on it is to be kept so by fill. It is false where
// that is under way already.
func (d *soakDisk) fillUp(t *testing.T) bool {
	if d.filling {
		return false
	}
	d.filling = true
	for !d.full {
		d.fill(t)
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// fill takes more and more of the room on the disk, 4 MiB at a time: with a call each 10 ms that is
// faster than most disks are written.
func (d *soakDisk) fill(t *testing.T) {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if errors.Is(err, syscall.ENOSPC) {
		d.full = true
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(4 << 20); n >= 4096; n /= 2 {
		if syscall.Fallocate(int(f.Fd()), 0, fi.Size(), n) == nil {
			return
		}
	}
	d.full = true
}

// empty makes room again.
func (d *soakDisk) empty(t *testing.T) {
	d.filling, d.full = false, false
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
