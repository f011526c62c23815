// Command refresh writes the robot lists of the installed npm packages into the classifier's
// data folder. Run it from the repository's root after `npm ci`:
//
//	go run ./collector/classify/internal/lists/refresh
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kantarainitiative/footfall/collector/classify/internal/lists"
)

func main() {
	if err := run("node_modules", "collector/classify/data"); err != nil {
		fmt.Fprintln(os.Stderr, "refresh:", err)
		os.Exit(1)
	}
}

func run(modules, dir string) error {
	files, err := lists.Files(modules)
	if err != nil {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
