package store

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed queries/*.sql
var queryFiles embed.FS

// fragment is a piece of SQL and the values of its placeholders, in order. The text
// comes from this package alone; whatever a caller gave is a value.
type fragment struct {
	sql  string
	args []any
}

func frag(sql string, args ...any) fragment { return fragment{sql, args} }

// joined puts fragments one after the other with sep between them.
func joined(sep string, fs ...fragment) fragment {
	var out fragment
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(f.sql)
		out.args = append(out.args, f.args...)
	}
	out.sql = b.String()
	return out
}

// allOf and anyOf join conditions; allOf of nothing is true.
func allOf(fs ...fragment) fragment {
	switch len(fs) {
	case 0:
		return frag("1")
	case 1:
		return fs[0]
	}
	f := joined(" AND ", fs...)
	f.sql = "(" + f.sql + ")"
	return f
}

func anyOf(fs ...fragment) fragment {
	switch len(fs) {
	case 0:
		return frag("0")
	case 1:
		return fs[0]
	}
	f := joined(" OR ", fs...)
	f.sql = "(" + f.sql + ")"
	return f
}

func negated(f fragment) fragment { return fragment{"(NOT " + f.sql + ")", f.args} }

// around is before, f, after.
func around(before string, f fragment, after string) fragment {
	return fragment{before + f.sql + after, f.args}
}

// listOf is a parenthesised list of placeholders.
func listOf[T any](values []T) fragment {
	f := fragment{sql: "(" + strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ") + ")"}
	for _, v := range values {
		f.args = append(f.args, v)
	}
	return f
}

// statement fills the embedded file queries/NAME.sql. Inside, {{put F}} writes a fragment
// and collects its values, {{arg V}} writes one placeholder. The file's name is the
// statement's name in errors.
func statement(name string, data any) (fragment, error) {
	var out fragment
	text, err := queryFiles.ReadFile("queries/" + name + ".sql")
	if err != nil {
		return out, err
	}
	t, err := template.New(name).Funcs(template.FuncMap{
		"put": func(f fragment) string {
			out.args = append(out.args, f.args...)
			return f.sql
		},
		"arg": func(v any) string {
			out.args = append(out.args, v)
			return "?"
		},
	}).Parse(string(text))
	if err != nil {
		return out, fmt.Errorf("%s.sql: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return out, fmt.Errorf("%s.sql: %w", name, err)
	}
	out.sql = b.String()
	return out, nil
}
