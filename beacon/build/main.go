// Command build writes beacon/dist from beacon/src: `go generate ./beacon`, or
// `go run ./beacon/build` in the folder of go.mod. The files are committed; a test
// builds them again and compares.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

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
	for _, name := range []string{bundle.Script, bundle.Brotli, bundle.Gzip} {
		if err := os.WriteFile(filepath.Join(dist, name), files[name], 0o644); err != nil {
			return err
		}
		fmt.Printf("beacon/dist/%s %d bytes\n", name, len(files[name]))
	}
	for _, old := range leftovers(dist, files) {
		fmt.Fprintf(os.Stderr, "beacon/build: %s is not of this build: remove it\n", old)
	}
	return nil
}

// leftovers lists the files in dist that the build does not make.
func leftovers(dist string, files map[string][]byte) []string {
	entries, err := os.ReadDir(dist)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if _, ok := files[e.Name()]; !ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}
