package engine

import (
	"fmt"
	"strings"
)

// cpuFeature is one processor feature that the library's code is compiled for.
type cpuFeature struct {
	name string
	has  bool
}

// checkCPU says in words what would otherwise be an illegal instruction in the middle of dlopen:
// the library's code assumes these features and does not look whether they are there.
func checkCPU(features []cpuFeature) error {
	var missing []string
	for _, f := range features {
		if !f.has {
			missing = append(missing, f.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("this processor lacks %s, which the embedded engine needs (ClickHouse 26.6 and newer); "+
		"use a ClickHouse server instead (store: clickhouse://...)", strings.Join(missing, ", "))
}
