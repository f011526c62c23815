package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is committed in dist is what the sources make.
func TestDistIsBuiltFromSource(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Build(root)
	if err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(root, "dashboard/ui/dist")
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("dist/%s is not what src makes: run go generate ./dashboard/ui", name)
		}
	}
	there, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(files) {
		t.Errorf("dist has %d files, src makes %d", len(there), len(files))
	}
}

// The script's types hold; the bundler only strips them.
func TestTypes(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	tsc := filepath.Join(root, "node_modules/typescript/bin/tsc")
	if _, err := os.Stat(tsc); err != nil {
		t.Fatalf("TypeScript is not there; run npm ci first: %v", err)
	}
	out, err := exec.Command("node", tsc, "-p", filepath.Join(root, "dashboard/ui/src")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
