// Package lists reads the robot lists of the npm packages isbot and crawler-user-agents
// into the form in which they are kept beside the classifier.
package lists

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files returns the files to keep, by name, made from the packages in the folder modules
// (node_modules).
func Files(modules string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for name, from := range map[string]string{
		"isbot.LICENSE":    "isbot/LICENSE",
		"crawlers.LICENSE": "crawler-user-agents/LICENSE",
	} {
		b, err := os.ReadFile(filepath.Join(modules, from))
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	var err error
	if files["isbot.txt"], err = isbot(filepath.Join(modules, "isbot")); err != nil {
		return nil, fmt.Errorf("isbot: %w", err)
	}
	if files["crawlers.txt"], err = crawlers(filepath.Join(modules, "crawler-user-agents")); err != nil {
		return nil, fmt.Errorf("crawler-user-agents: %w", err)
	}
	return files, nil
}

func version(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return "", err
	}
	var p struct{ Version string }
	err = json.Unmarshal(b, &p)
	return p.Version, err
}

// isbot returns one pattern a line. They are in the package's module as a JSON array.
func isbot(dir string) ([]byte, error) {
	v, err := version(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.mjs"))
	if err != nil {
		return nil, err
	}
	const begin = "var patterns_default = "
	i := bytes.Index(b, []byte(begin))
	if i < 0 {
		return nil, fmt.Errorf("no patterns in index.mjs")
	}
	var patterns []string
	if err := json.NewDecoder(bytes.NewReader(b[i+len(begin):])).Decode(&patterns); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Patterns of the npm package isbot %s, in the public domain: see isbot.LICENSE.\n", v)
	for _, p := range patterns {
		if strings.ContainsAny(p, "\n\t") {
			return nil, fmt.Errorf("pattern %q has a control character", p)
		}
		fmt.Fprintln(&out, p)
	}
	return out.Bytes(), nil
}

// crawlers returns a pattern and its comma-separated tags a line.
func crawlers(dir string) ([]byte, error) {
	v, err := version(dir)
	if err != nil {
		return nil, err
	}
	list, err := Crawlers(dir)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Patterns and tags of the npm package crawler-user-agents %s, MIT: see crawlers.LICENSE.\n", v)
	for _, c := range list {
		if strings.ContainsAny(c.Pattern, "\n\t") {
			return nil, fmt.Errorf("pattern %q has a control character", c.Pattern)
		}
		tags := strings.Join(c.Tags, ",")
		if tags == "" {
			tags = "-"
		}
		fmt.Fprintf(&out, "%s\t%s\n", c.Pattern, tags)
	}
	return out.Bytes(), nil
}

// Crawler is one entry of crawler-user-agents.
type Crawler struct {
	Pattern   string
	Tags      []string
	Instances []string // User-Agents seen
}

// Crawlers reads crawler-user-agents.json in dir, the package's folder.
func Crawlers(dir string) ([]Crawler, error) {
	b, err := os.ReadFile(filepath.Join(dir, "crawler-user-agents.json"))
	if err != nil {
		return nil, err
	}
	var list []Crawler
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	return list, nil
}
