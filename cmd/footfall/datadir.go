package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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

// owner says what a process that claims a data directory is, for those who find it claimed.
type owner string

const (
	ownerServe   owner = "serve"   // stays
	ownerCommand owner = "command" // is done soon
)

const (
	waitForCommand = 5 * time.Minute        // of whoever finds a command there, a long replay perhaps
	waitForServe   = 500 * time.Millisecond // the file may still have the word of the owner before
)

// lockData makes the data directory and claims it. Where a command has it that is done soon it
// is waited for: a start must not fail because somebody looks at the books. The kernel gives the claim up
// with the process, however that ends.
func (c *Config) lockData(ctx context.Context, as owner) (*dirLock, error) {
	if err := c.makeData(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	for begun := time.Now(); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("data: %w", err)
		}
		word := make([]byte, len(ownerCommand))
		n, _ := f.ReadAt(word, 0)
		patience := waitForServe
		if owner(word[:n]) == ownerCommand {
			patience = waitForCommand
		}
		if time.Since(begun) >= patience {
			f.Close()
			return nil, fmt.Errorf("data: another footfall uses %s; stop it, or give this one a directory of its own with --data", c.Data)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	// Not needed to be right: a full disk must not keep a program from starting.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(as), 0)
	}
	return &dirLock{f}, nil
}

func (l *dirLock) unlock() { l.f.Close() }
