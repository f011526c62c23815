// Command build writes beacon/dist from beacon/src: `go generate ./beacon`, or
// `go run ./beacon/build` in the folder of go.mod. The files are committed; a test
// builds them again and compares.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kantarainitiative/footfall/beacon/internal/bundle"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "beacon/build:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for { // go generate runs in beacon/, go run where its caller is
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(root) == root {
			return fmt.Errorf("no go.mod in this folder or above it")
		}
		root = filepath.Dir(root)
	}
	files, err := bundle.Build(root)
	if err != nil {
		return err
	}
	dist := filepath.Join(root, "beacon", "dist")
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dist, name), body, 0o644); err != nil {
			return err
		}
		fmt.Printf("beacon/dist/%s %d bytes\n", name, len(body))
	}
	return nil
}
