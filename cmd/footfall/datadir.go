package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeData makes the data directory, for its owner alone.
func (c *Config) makeData() error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

// checkData tells whether files can be made in the data directory, or it itself where it is
// missing. It changes nothing.
func (c *Config) checkData() error {
	dir := c.Data
	fi, err := os.Stat(dir)
	if os.IsNotExist(err) {
		dir = filepath.Dir(dir)
		if fi, err = os.Stat(dir); err != nil {
			return fmt.Errorf("data: %s cannot be made: %w", c.Data, err)
		}
	} else if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("data: %s is no directory", dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("data: cannot write to %s: %w", dir, err)
	}
	return nil
}

// dirLock is the claim of one process on a data directory.
type dirLock struct{ f *os.File }

// lockData makes the data directory and claims it. The kernel gives the claim up with
// the process, however that ends.
func (c *Config) lockData() (*dirLock, error) {
	if err := c.makeData(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data: another footfall uses %s; stop it, or give this one a directory of its own with --data", c.Data)
		}
		return nil, fmt.Errorf("data: %w", err)
	}
	return &dirLock{f}, nil
}

func (l *dirLock) unlock() { l.f.Close() }
