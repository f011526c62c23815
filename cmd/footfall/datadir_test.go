package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestLockWaitsForCommands: a command that is done soon is waited for, another serve is not, and
// what a killed one has written into the lock misleads nobody.
func TestLockWaitsForCommands(t *testing.T) {
	c := defaultConfig()
	c.Data = t.TempDir()
	lock := func(as owner) *dirLock {
		t.Helper()
		l, err := c.lockData(t.Context(), as)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	lock(ownerServe).unlock()
	command := lock(ownerCommand)
	time.AfterFunc(100*time.Millisecond, command.unlock)
	serve := lock(ownerServe)
	if _, err := c.lockData(t.Context(), ownerServe); err == nil || !strings.Contains(err.Error(), "another footfall") {
		t.Errorf("two of them: %v", err)
	}
	serve.unlock()

	command = lock(ownerCommand)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.lockData(ctx, ownerServe); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped while it waits: %v", err)
	}
	command.unlock()
}
