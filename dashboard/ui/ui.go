// Package ui holds what the dashboard's pages are drawn with: templates, style sheet, script
// and marks, embedded in the program. The script and the style sheet in dist are built from
// src by "go run ./dashboard/ui/build"; a test rebuilds them and compares.
//
// dist holds uPlot (MIT), whose notice is in dist/LICENSE-uplot.txt and is served beside it.
package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
)

//go:generate go run ./build

//go:embed templates/*.html
var templates embed.FS

//go:embed dist
var dist embed.FS

// Templates returns the pages' templates.
func Templates() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil { // the folder is embedded above
		panic(err)
	}
	return sub
}

// asset is one file in the forms in which it is served. Its compressed forms are made when
// they are first asked for.
type asset struct {
	kind    string
	body    []byte
	squeeze func() (gz, br []byte)
}

// Assets serves the built files under names that hold their hash, so that browsers keep
// them for good.
type Assets struct {
	byURL map[string]asset  // "app.1a2b3c4d5e6f.js"
	urls  map[string]string // "app.js" -> "/assets/app.1a2b3c4d5e6f.js"
}

// Load reads the embedded assets.
func Load() (*Assets, error) {
	a := &Assets{byURL: map[string]asset{}, urls: map[string]string{}}
	files, err := dist.ReadDir("dist")
	if err != nil {
		return nil, fmt.Errorf("ui: %w", err)
	}
	for _, f := range files {
		body, err := dist.ReadFile("dist/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("ui: %w", err)
		}
		ext := path.Ext(f.Name())
		kind := map[string]string{
			".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
			".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
		}[ext]
		if kind == "" {
			return nil, fmt.Errorf("ui: no content type for %s", f.Name())
		}
		sum := sha256.Sum256(body)
		name := strings.TrimSuffix(f.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.byURL[name] = asset{kind, body, sync.OnceValues(func() (gz, br []byte) { return squeeze(body) })}
		a.urls[f.Name()] = "/assets/" + name
	}
	return a, nil
}

// squeeze compresses body. Writing to memory cannot fail.
func squeeze(body []byte) (gz, br []byte) {
	var g, b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&g, gzip.BestCompression)
	if err != nil { // the level is one of the package's own
		panic(err)
	}
	zw.Write(body)
	zw.Close()
	bw := brotli.NewWriterLevel(&b, 9) // 11 gains 3 % and takes a second
	bw.Write(body)
	bw.Close()
	return g.Bytes(), b.Bytes()
}

// URL is the address of the asset called name, "" if there is none.
func (a *Assets) URL(name string) string { return a.urls[name] }

// ServeHTTP serves GET /assets/{file}.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	as, ok := a.byURL[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", as.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := as.body
	switch enc := r.Header.Get("Accept-Encoding"); {
	case Accepts(enc, "br"):
		_, body = as.squeeze()
		h.Set("Content-Encoding", "br")
	case Accepts(enc, "gzip"):
		body, _ = as.squeeze()
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// Accepts reports whether an Accept-Encoding header allows coding.
func Accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q = strings.ReplaceAll(q, " ", "")
			return q == "" || strings.Trim(strings.TrimPrefix(q, "q="), "0.") != ""
		}
	}
	return false
}
