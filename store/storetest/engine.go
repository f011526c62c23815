package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/store/engine"
)

// Child turns a test binary that was started as the engine's child into that. A TestMain
// of tests that start an engine calls it first; in the child it does not return.
func Child() {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		os.Exit(engine.Main(os.Args[2:], os.Stderr))
	}
}

// StartEngine starts an embedded engine for one test, with a folder of its own, and
// waits until it answers. It is stopped at the test's end.
func StartEngine(t testing.TB) *engine.Supervisor {
	t.Helper()
	s, err := NewEngine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { StopEngine(s) })
	return s
}

// NewEngine starts an embedded engine on dir, for a TestMain. The caller ends it with
// StopEngine.
func NewEngine(dir string) (*engine.Supervisor, error) {
	library, err := findLibrary()
	if err != nil {
		return nil, err
	}
	s, err := engine.Start(engine.Options{DataDir: dir, LibPath: library})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		StopEngine(s)
		return nil, err
	}
	return s, nil
}

// StopEngine ends an engine; one that takes longer than ten seconds is killed.
func StopEngine(s *engine.Supervisor) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.Stop(ctx) // it only says that the engine had to be killed
}

// findLibrary looks in the repository too, from whatever folder of it a test runs in.
func findLibrary() (string, error) {
	library, err := engine.FindLibrary()
	if err == nil || os.Getenv(engine.LibraryEnv) != "" {
		return library, err
	}
	dir, wdErr := os.Getwd()
	if wdErr != nil {
		return "", errors.Join(err, wdErr)
	}
	for {
		found, _ := filepath.Glob(filepath.Join(dir, ".parts", "node_modules", "@chdb", "lib-*", "libchdb.*"))
		if len(found) > 0 {
			return found[0], nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", err
		}
		dir = parent
	}
}

// Database is a database of its own on an engine that tests share.
type Database struct {
	Engine *engine.Supervisor
	Name   string // created by the store
}

// ClickhouseOptions returns how to reach the database.
func (d Database) ClickhouseOptions() *clickhouse.Options {
	o := d.Engine.ClickhouseOptions()
	o.Auth.Database = d.Name
	return o
}
