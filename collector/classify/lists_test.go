package classify

import (
	"bytes"
	"os"
	"testing"

	"github.com/kantarainitiative/footfall/collector/classify/internal/lists"
)

// TestListsAreThoseOfThePackages makes the committed lists anew from the pinned npm packages.
func TestListsAreThoseOfThePackages(t *testing.T) {
	files, err := lists.Files(modules)
	if err != nil {
		t.Fatalf("%v (`npm ci` installs the packages)", err)
	}
	for name, want := range files {
		got, err := os.ReadFile("data/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("data/%s differs from the installed package: go run ./collector/classify/internal/lists/refresh", name)
		}
	}
}
