package classify

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed data
var data embed.FS

// rank orders the rows of a table: the earlier the row, the higher; 0 is no row.
type rank uint16

// row is what one line of a table says of a token.
type row struct {
	rank rank
	from int8 // where the version is: one of the constants, or an index into scan.refs
}

const (
	versionNone     = 0
	versionNeeded   = -1 // the token's own; without one the row does not fit
	versionOptional = -2
	versionThird    = -3 // the second word after the token
	versionNext     = -4 // the value of the word after it
)

// maxRefs bounds how many different words rows may take their version from.
const maxRefs = 16

// entry is all that the tables say of one token.
type entry struct {
	rows  [kinds]row
	ref   uint8 // where to remember the token's version, 0: nowhere
	flags uint8
}

const (
	beginsPair  = 1 << iota // the token is the first of a two-word token
	beginsValue             // there is a token of this name with a value
	beginsModel             // Android: what follows in the comment names the device
	isMobile
	isWebView
)

// agentTable holds browsers.txt, systems.txt, devices.txt and grammar.txt.
type agentTable struct {
	words    map[string]entry
	prefixes [256][]prefix // by first byte
	names    [kinds][]string
	from     [kinds][]int8
	devices  []string // of systems, by rank
	refs     map[string]uint8
}

type prefix struct {
	text string
	entry
}

// prefixed finds the entry of a prefix of name, and the prefix's length; 0 if there is none.
func (t *agentTable) prefixed(name []byte) (entry, int) {
	for i := range t.prefixes[name[0]] {
		p := &t.prefixes[name[0]][i]
		if len(name) >= len(p.text) && string(name[:len(p.text)]) == p.text {
			return p.entry, len(p.text)
		}
	}
	return entry{}, 0
}

func loadAgentTable() (*agentTable, error) {
	t := &agentTable{words: make(map[string]entry), refs: make(map[string]uint8)}
	files := [kinds]struct {
		name   string
		fields int
	}{{"browsers.txt", 3}, {"systems.txt", 4}, {"devices.txt", 2}}
	for kind, f := range files {
		lines, err := readTable(f.name, f.fields)
		if err != nil {
			return nil, err
		}
		t.names[kind] = make([]string, len(lines)+1)
		t.from[kind] = make([]int8, len(lines)+1)
		if kind == inSystems {
			t.devices = make([]string, len(lines)+1)
		}
		for i, l := range lines {
			r := row{rank: rank(len(lines) - i)}
			t.names[kind][r.rank] = dash(l[len(l)-1])
			if kind == inSystems {
				t.names[kind][r.rank], t.devices[r.rank] = dash(l[2]), dash(l[3])
			}
			if kind != inDevices {
				if r.from, err = t.version(kind, l[1]); err != nil {
					return nil, fmt.Errorf("classify: %s: %q: %w", f.name, l[0], err)
				}
			}
			t.from[kind][r.rank] = r.from
			if err := t.add(l[0], func(e *entry) error {
				if e.rows[kind].rank != 0 {
					return fmt.Errorf("classify: %s: %q twice", f.name, l[0])
				}
				e.rows[kind] = r
				return nil
			}); err != nil {
				return nil, err
			}
		}
	}
	lines, err := readTable("grammar.txt", 1)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		t.add(l[0], func(*entry) error { return nil })
	}
	for _, token := range []string{"version", "trident", "opera", "dalvik", "applewebkit"} { // for name.go
		if _, err := t.version(inBrowsers, token); err != nil {
			return nil, err
		}
	}
	for token, flag := range map[string]uint8{"android": beginsModel, "mobile": isMobile, "wv": isWebView} {
		t.set(token, func(e *entry) { e.flags |= flag })
	}
	for token, i := range t.refs {
		t.set(token, func(e *entry) { e.ref = i })
	}
	return t, nil
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// version reads the version column.
func (t *agentTable) version(kind int, s string) (int8, error) {
	switch s {
	case "-":
		return versionNone, nil
	case "~":
		return versionOptional, nil
	case "=":
		if kind == inSystems {
			return versionOptional, nil
		}
		return versionNeeded, nil
	case "+1":
		return versionNext, nil
	case "+2":
		return versionThird, nil
	}
	i, ok := t.refs[s]
	if !ok {
		i = uint8(len(t.refs) + 1)
		if i >= maxRefs {
			return 0, fmt.Errorf("more than %d words to take versions from", maxRefs-1)
		}
		t.refs[s] = i
	}
	return int8(i), nil
}

func (t *agentTable) set(token string, change func(*entry)) {
	e := t.words[token]
	change(&e)
	t.words[token] = e
}

// add changes the entry of a token, which may be a word, a pair, name/value or prefix*.
func (t *agentTable) add(token string, change func(*entry) error) (err error) {
	if p, ok := strings.CutSuffix(token, "*"); ok {
		list := &t.prefixes[p[0]]
		for i := range *list {
			if (*list)[i].text == p {
				return change(&(*list)[i].entry)
			}
		}
		n := prefix{text: p}
		err = change(&n.entry)
		*list = append(*list, n)
		return err
	}
	t.set(token, func(e *entry) { err = change(e) })
	if first, _, ok := strings.Cut(token, " "); ok {
		t.set(first, func(e *entry) { e.flags |= beginsPair })
	}
	if first, _, ok := strings.Cut(token, "/"); ok {
		t.set(first, func(e *entry) { e.flags |= beginsValue })
	}
	return err
}

// readTable returns the lines of a data file, split at tabs into the given number of
// fields; empty lines and those that begin with # are left out.
func readTable(name string, fields int) ([][]string, error) {
	b, err := data.ReadFile("data/" + name)
	if err != nil {
		return nil, fmt.Errorf("classify: %w", err)
	}
	var lines [][]string
	for i, l := range strings.Split(string(b), "\n") {
		if l == "" || l[0] == '#' {
			continue
		}
		f := strings.Split(l, "\t")
		if len(f) != fields {
			return nil, fmt.Errorf("classify: %s line %d: %d fields, want %d", name, i+1, len(f), fields)
		}
		lines = append(lines, f)
	}
	return lines, nil
}
