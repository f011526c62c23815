// Package bundle makes the tracker's shipped forms from its TypeScript source. Only
// the generator and the tests import it, so that esbuild is no part of the program.
//
// The result depends on the source and on the module versions in go.mod alone: the
// same input gives the same bytes on every machine.
package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
	"github.com/klauspost/compress/gzip"
)

// Build bundles and minifies beacon/src below root, the folder of go.mod, and returns
// each file of beacon/dist by its name: the script, and its brotli (quality 11) and gzip
// (level 9) forms.
func Build(root string) (map[string][]byte, error) {
	r := api.Build(api.BuildOptions{
		AbsWorkingDir:     root,
		EntryPoints:       []string{filepath.Join("beacon", "src", "tracker.ts")},
		Bundle:            true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Format:            api.FormatIIFE,
		Target:            api.ES2019,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelSilent,
	})
	var errs []error
	for _, m := range append(r.Errors, r.Warnings...) {
		where := ""
		if m.Location != nil {
			where = fmt.Sprintf("%s:%d: ", m.Location.File, m.Location.Line)
		}
		errs = append(errs, fmt.Errorf("bundling the tracker: %s%s", where, m.Text))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	script := bytes.TrimSpace(r.OutputFiles[0].Contents)

	var br bytes.Buffer
	bw := brotli.NewWriterOptions(&br, brotli.WriterOptions{Quality: 11})
	if _, err := bw.Write(script); err != nil {
		return nil, err
	}
	if err := bw.Close(); err != nil {
		return nil, err
	}
	var gz bytes.Buffer
	gw, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := gw.Write(script); err != nil {
		return nil, err
	}
	if err := gw.Close(); err != nil {
		return nil, err
	}
	return map[string][]byte{"ff.js": script, "ff.js.br": br.Bytes(), "ff.js.gz": gz.Bytes()}, nil
}
