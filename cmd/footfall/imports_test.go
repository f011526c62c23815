package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kantarainitiative/footfall"

// mayImport is the layout: which of our packages each top-level folder may use. A folder
// may always use what lies below it, except where below says otherwise.
var mayImport = map[string][]string{
	"cmd":       {"event", "anonymize", "beacon", "policy", "collector", "store", "dashboard"},
	"event":     {},
	"anonymize": {},
	"beacon":    {},
	"policy":    {"event"},
	"collector": {"event", "anonymize", "beacon", "policy"},
	"store":     {"event"},
	"dashboard": {"event", "beacon", "policy", "store"},
}

func TestImportsFollowTheLayout(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		folder, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module+"/"), "/")
		allowed, ok := mayImport[folder]
		if !ok {
			t.Errorf("%s: the layout has no folder %q", p.ImportPath, folder)
		}
		seen[folder] = true
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) && strings.HasSuffix(imp, "test") {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imp)
			}
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			rel, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			to, _, _ := strings.Cut(rel, "/")
			if to != folder && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s may not use %s", p.ImportPath, rel, folder, to)
			}
			// The pages know what a store answers, never how it is asked.
			if folder == "dashboard" && to == "store" && rel != "store" {
				t.Errorf("%s imports %s", p.ImportPath, rel)
			}
		}
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("folder %s has no package", folder)
		}
	}
}
