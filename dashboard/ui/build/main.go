// Command build makes dashboard/ui/dist from dashboard/ui/src: it bundles the script with
// uPlot (from node_modules) and minifies script and style sheet. Run it from anywhere inside
// the repository: go run ./dashboard/ui/build
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	files, err := Build(root)
	if err != nil {
		return err
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(root, "dashboard/ui/dist", name), body, 0o644); err != nil {
			return err
		}
		fmt.Printf("dist/%s\t%d bytes\n", name, len(body))
	}
	return nil
}

// findRoot is the folder of go.mod, from the working directory upward.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}
