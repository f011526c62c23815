package policy

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed notice.md
var noticeMD string

// MarkdownTemplate is the name of the template of the notice in Markdown that an organisation may put
// into its directory of templates.
const MarkdownTemplate = "notice.md"

// Markdown writes documents as Markdown, one after another. It uses the template in dir where there is
// one; such a template that leaves out a fact is an error that names it.
func Markdown(w io.Writer, dir string, docs ...*Document) error {
	source, own := noticeMD, false
	if dir != "" {
		b, err := os.ReadFile(filepath.Join(dir, MarkdownTemplate))
		if err == nil {
			source, own = string(b), true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("templates: %w", err)
		}
	}
	t, err := template.New(MarkdownTemplate).Funcs(template.FuncMap{"md": markdown}).Parse(source)
	if err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	for i, d := range docs {
		var b strings.Builder
		if err := t.Execute(&b, d); err != nil {
			return fmt.Errorf("templates: %w", err)
		}
		if own {
			if missing := d.Missing(unmark(b.String())); len(missing) > 0 {
				return LeftOut(MarkdownTemplate, d.Facts.Site, missing)
			}
		}
		if i > 0 {
			b.WriteString("\n")
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// LeftOut is the error of a template that does not give out every fact.
func LeftOut(name, site string, missing []string) error {
	return fmt.Errorf("templates: %s leaves out, for %s: %q: words can be changed, facts cannot", name, site, missing)
}

// marked are the characters that mean something to Markdown, within a line and in tables.
const marked = "\\`*_[]<>|#"

// markdown writes a text so that it is read as it stands.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		if strings.ContainsRune(marked, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unmark undoes markdown.
func unmark(s string) string {
	var b strings.Builder
	escaped := false
	for _, r := range s {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		escaped = false
		b.WriteRune(r)
	}
	return b.String()
}

// JSON writes documents as JSON.
func JSON(w io.Writer, docs ...*Document) error {
	return writeJSON(w, struct {
		Format  int         `json:"format"`
		Notices []*Document `json:"notices"`
	}{1, docs})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
