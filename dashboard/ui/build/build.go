package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// Build returns the files of dist by name, made from the sources under root.
func Build(root string) (map[string][]byte, error) {
	src := filepath.Join(root, "dashboard/ui/src")
	uplot := filepath.Join(root, "node_modules/uplot")
	if _, err := os.Stat(uplot); err != nil {
		return nil, fmt.Errorf("uPlot is not there; run npm ci first: %w", err)
	}
	res := api.Build(api.BuildOptions{
		EntryPoints:       []string{filepath.Join(src, "app.ts"), filepath.Join(src, "app.css")},
		Bundle:            true,
		Outdir:            filepath.Join(root, "dashboard/ui/dist"),
		AbsWorkingDir:     root,
		Format:            api.FormatIIFE,
		Target:            api.ES2020,
		Charset:           api.CharsetUTF8,
		MinifyWhitespace:  true,
		MinifySyntax:      true,
		MinifyIdentifiers: true,
		LegalComments:     api.LegalCommentsInline,
		LogLevel:          api.LogLevelSilent,
	})
	if len(res.Errors) > 0 {
		var errs []error
		for _, m := range res.Errors {
			at := ""
			if m.Location != nil {
				at = fmt.Sprintf("%s:%d: ", m.Location.File, m.Location.Line)
			}
			errs = append(errs, errors.New(at+m.Text))
		}
		return nil, errors.Join(errs...)
	}
	files := map[string][]byte{}
	for _, f := range res.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	for from, to := range map[string]string{
		filepath.Join(src, "mark.svg"):  "mark.svg",
		filepath.Join(uplot, "LICENSE"): "LICENSE-uplot.txt",
	} {
		body, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		files[to] = body
	}
	return files, nil
}
