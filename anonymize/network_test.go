package anonymize

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		in         string
		bits4, bit int
		want       string
	}{
		{"203.0.113.77", 24, 48, "203.0.113.0/24"},
		{"203.0.113.77", 16, 48, "203.0.0.0/16"},
		{"203.0.113.77", 32, 128, "203.0.113.0/24"}, // more than that is never kept
		{"203.0.113.77", -1, -1, "0.0.0.0/0"},
		{"::ffff:203.0.113.77", 24, 48, "203.0.113.0/24"},
		{"::ffff:203.0.113.77%eth0", 24, 48, "203.0.113.0/24"},
		{"2001:db8:1:2:3:4:5:6", 24, 48, "2001:db8:1::/48"},
		{"2001:db8:1:2:3:4:5:6", 24, 32, "2001:db8::/32"},
		{"2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1::/48"},
		{"fe80::1%eth0", 24, 48, "fe80::/48"},
		{"2002:cb00:714d::1", 24, 48, "2002:cb00:7100::/40"}, // 6to4 of 203.0.113.77
		{"2002:cb00:714d::1%eth0", 16, 48, "2002:cb00::/32"},
	} {
		n := Truncate(netip.MustParseAddr(c.in), c.bits4, c.bit)
		if n.String() != c.want {
			t.Errorf("%s with %d, %d is %s, want %s", c.in, c.bits4, c.bit, n, c.want)
		}
		if p := netip.MustParsePrefix(c.want); n.Addr() != p.Addr() {
			t.Errorf("%s: the address is %s", c.in, n.Addr())
		}
	}
	var none Network
	if n := Truncate(netip.Addr{}, Bits4, Bits6); n != none || !n.IsZero() || n.String() != "" || n.Addr().IsValid() {
		t.Errorf("no address gives %v", n)
	}
	if Truncate(visitor, Bits4, Bits6).IsZero() {
		t.Error("an address gives no network")
	}
}

func FuzzTruncate(f *testing.F) {
	for _, s := range []string{"203.0.113.77", "::ffff:203.0.113.77", "2001:db8:1:2:3:4:5:6", "2002:cb00:714d::1", "fe80::1", "::"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice(), 24, 48, true)
		f.Add(a.AsSlice(), 8, 128, false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, bits4, bits6 int, zone bool) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		if zone && a.Is6() {
			a = a.WithZone("eth0")
		}
		n := Truncate(a, bits4, bits6)
		// All addresses that share the kept bits give the same network: it can hold
		// nothing of the others.
		v4 := a.Unmap().Is4()
		keep := min(max(bits6, 0), 48)
		if v4 {
			keep = min(max(bits4, 0), 24)
		}
		b := a.Unmap().WithZone("").AsSlice()
		if !v4 && b[0] == 0x20 && b[1] == 0x02 { // 6to4
			keep = min(keep, 16+min(max(bits4, 0), 24))
		}
		for i := keep; i < len(b)*8; i++ {
			b[i/8] ^= 0x80 >> (i % 8)
		}
		flipped, _ := netip.AddrFromSlice(b)
		if v4 == flipped.Unmap().Is4() && Truncate(flipped, bits4, bits6) != n {
			t.Errorf("a cut-off bit of an address changed %s", n)
		}
		for i, x := range n.Addr().AsSlice() {
			for bit := range 8 {
				if i*8+bit >= keep && x&(0x80>>bit) != 0 {
					t.Fatalf("bit %d is set in %s", i*8+bit, n)
				}
			}
		}
		if again := Truncate(n.Addr(), bits4, bits6); again != n && !n.Addr().Is4In6() {
			t.Errorf("%s truncated again is %s", n, again)
		}
	})
}

func TestModesAndWindows(t *testing.T) {
	if Mode(0) != ModeTruncate || Window(0) != Day {
		t.Error("the zero values are not the defaults")
	}
	for _, m := range []Mode{ModeTruncate, ModeHash, ModeDrop} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%s is read as %v (%v)", m, got, err)
		}
	}
	for _, w := range []Window{Day, Week, Month} {
		if got, err := ParseWindow(w.String()); err != nil || got != w {
			t.Errorf("%s is read as %v (%v)", w, got, err)
		}
	}
	if _, err := ParseMode("Truncate"); err == nil || !strings.Contains(err.Error(), "truncate, hash, drop") {
		t.Errorf("the error is %v", err)
	}
	if _, err := ParseWindow(""); err == nil || !strings.Contains(err.Error(), "day, week, month") {
		t.Errorf("the error is %v", err)
	}
}

// Whatever the package gives out is printed with every verb; the address, the agent and the keys
// must not show.
func TestNothingPrintsAnAddress(t *testing.T) {
	n := newNode(t, noon, testSeed)
	id := n.id(Day, today)
	values := []any{Truncate(visitor, Bits4, Bits6), n.Ratchet, id, ModeHash, Week,
		struct{ N Network }{Truncate(visitor, 32, 128)}, []Network{Truncate(visitor, 24, 48)}}
	_, err := Open(n.path+"/x", n.options(nil))
	values = append(values, err)
	n.set(noon.AddDate(1, 0, 0))
	n.id(Day, today+365)
	values = append(values, n.Advance(), n.logs.String())

	key := n.state.chains[Day].key
	secrets := []string{visitor.String(), "cb00714d", "cb:00:71:4d", "[203 0 113 77]", "203, 0, 113, 77", string(agent),
		fmt.Sprintf("%x", key), fmt.Sprint(key), string(testSeed)}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out := fmt.Sprintf(verb, v)
			for _, s := range secrets {
				if strings.Contains(strings.ToLower(out), strings.ToLower(s)) {
					t.Errorf("%T with %s prints %s", v, verb, s)
				}
			}
		}
	}
	if got := fmt.Sprintf("%v %+v %#v", n.Ratchet, n.Ratchet, n.Ratchet); got != strings.Repeat("anonymize.Ratchet ", 3)[:len(got)] {
		t.Errorf("a ratchet prints %q", got)
	}
}

// No statement of the package passes an address, an agent or a key to anything that formats
// or logs.
func TestNoCodeFormatsAnAddress(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	private := map[string]bool{"addr": true, "ip": true, "userAgent": true, "key": true, "k0": true, "k1": true,
		"seed": true, "Seed": true, "root": true, "prk": true, "again": true, "chains": true, "siteKeys": true, "b": true, "line": true}
	printers := map[string]bool{"fmt": true, "log": true, "slog": true, "errors": true}
	methods := map[string]bool{"Debug": true, "Info": true, "Warn": true, "Error": true, "Log": true, "String": true}
	calls := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if !(pkg != nil && printers[pkg.Name]) && !methods[sel.Sel.Name] {
				return true
			}
			calls++
			parts := append([]ast.Expr{}, call.Args...)
			if sel.Sel.Name == "String" {
				parts = append(parts, sel.X)
			}
			for _, part := range parts {
				ast.Inspect(part, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok {
						if f, ok := c.Fun.(*ast.Ident); ok && f.Name == "len" {
							return false // a length tells nothing
						}
					}
					if id, ok := n.(*ast.Ident); ok && private[id.Name] {
						t.Errorf("%s: %s is passed to %s", fset.Position(id.Pos()), id.Name, sel.Sel.Name)
					}
					return true
				})
			}
			return true
		})
	}
	if calls < 10 {
		t.Errorf("only %d calls were looked at", calls)
	}
}
