package policy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var auditNow = func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

func auditOf(t testing.TB, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	a := NewAudit(dir, auditNow)
	for i := range n {
		if err := a.Append("ada", AuditExport, "example.org", "rows", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func auditBytes(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, auditFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setAudit(t testing.TB, dir string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, auditFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuditTellsWhatHappened(t *testing.T) {
	dir := t.TempDir()
	if r, err := VerifyAudit(dir, AuditHead{}, nil); err != nil || r.Entries != 0 {
		t.Fatalf("no log yet: %+v, %v", r, err)
	}
	a := NewAudit(dir, auditNow)
	long := strings.Repeat("é", maxAuditText)
	for _, err := range []error{
		a.Append("ada", AuditLogin, ""),
		a.Append("footfall", AuditDisposal, "events", "rows", "12", "before", "2026-01-01"),
		a.Append("a\nb\x00", AuditStaff, "\xff"+long),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []AuditEntry
	r, err := VerifyAudit(dir, AuditHead{}, func(e AuditEntry) bool { got = append(got, e); return true })
	if err != nil || r.Entries != 3 || len(got) != 3 || r.Head.Seq != 3 || r.Head.Hash != got[2].Hash {
		t.Fatalf("%+v, %v, %d entries", r, err, len(got))
	}
	if e := got[1]; e.Actor != "footfall" || e.Action != AuditDisposal || e.Object != "events" || e.Detail["rows"] != "12" || !e.Time.Equal(auditNow()) {
		t.Errorf("the second line is %+v", e)
	}
	if e := got[2]; e.Actor != "a b " || len(e.Object) > maxAuditText || !strings.HasPrefix(e.Object, "\uFFFDéé") {
		t.Errorf("the third line is %+v", e)
	}
	if fi, _ := os.Stat(filepath.Join(dir, auditFile)); fi.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", fi.Mode())
	}
}

func TestAuditFindsEveryChange(t *testing.T) {
	const n = 5
	dir := auditOf(t, n)
	whole := auditBytes(t, dir)
	bad := func(what string, b []byte) {
		t.Helper()
		setAudit(t, dir, b)
		if _, err := VerifyAudit(dir, AuditHead{}, nil); !errors.Is(err, ErrAudit) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		bad(fmt.Sprintf("byte %d of %d changed", i, len(whole)), b)
	}
	for i := range whole { // every length that it can be cut to
		bad(fmt.Sprintf("cut after %d bytes", i), whole[:i])
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))[:n]
	for i := range lines {
		without := append(append([][]byte{}, lines[:i]...), lines[i+1:]...)
		bad(fmt.Sprintf("line %d removed", i+1), bytes.Join(without, nil))
		twice := append(append([][]byte{}, lines[:i+1]...), lines[i:]...)
		bad(fmt.Sprintf("line %d twice", i+1), bytes.Join(twice, nil))
	}
	lines[1], lines[2] = lines[2], lines[1]
	bad("two lines exchanged", bytes.Join(lines, nil))
	bad("a line without end", append(bytes.Clone(whole), bytes.Repeat([]byte("x"), 2*maxAuditLine)...))
	if err := os.Remove(filepath.Join(dir, auditFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyAudit(dir, AuditHead{}, nil); !errors.Is(err, ErrAudit) {
		t.Errorf("removed: %v", err)
	}
}

// Whoever owns the machine can write all of it anew. A head that was noted elsewhere tells.
func TestAuditWrittenAnew(t *testing.T) {
	dir := auditOf(t, 4)
	r, err := VerifyAudit(dir, AuditHead{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	noted, err := ParseAuditHead(r.Head.String())
	if err != nil || noted != r.Head {
		t.Fatalf("%v, %v", noted, err)
	}
	if err := NewAudit(dir, auditNow).Append("ada", AuditLogin, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyAudit(dir, noted, nil); err != nil {
		t.Errorf("grown since: %v", err)
	}
	forged := t.TempDir()
	a := NewAudit(forged, auditNow)
	for range 5 {
		if err := a.Append("nobody", AuditLogin, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := VerifyAudit(forged, AuditHead{}, nil); err != nil {
		t.Fatalf("in itself it is whole: %v", err)
	}
	if _, err := VerifyAudit(forged, noted, nil); !errors.Is(err, ErrAudit) {
		t.Errorf("another log: %v", err)
	}
	for _, s := range []string{"", "1", "1:", "x:" + noted.Hash, "1:abcd", "-1:" + noted.Hash} {
		if _, err := ParseAuditHead(s); err == nil {
			t.Errorf("%q is a head", s)
		}
	}
}

// A damaged log still takes what happens, and stays known for damaged.
func TestAuditGoesOnAfterDamage(t *testing.T) {
	dir := auditOf(t, 3)
	whole := auditBytes(t, dir)
	for what, b := range map[string][]byte{
		"cut": whole[:len(whole)/2], "emptied": nil,
		"changed": bytes.Replace(whole, []byte(`"rows":"2"`), []byte(`"rows":"9"`), 1),
		"garbage": append(bytes.Clone(whole), "{\n"...),
	} {
		setAudit(t, dir, b)
		if err := writeHead(dir, mustHead(t, whole)); err != nil {
			t.Fatal(err)
		}
		if err := NewAudit(dir, auditNow).Append("ada", AuditLogin, ""); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Contains(auditBytes(t, dir), []byte(`"login"`)) {
			t.Errorf("%s: the line is not there", what)
		}
		if _, err := VerifyAudit(dir, AuditHead{}, nil); !errors.Is(err, ErrAudit) {
			t.Errorf("%s, then appended to: %v", what, err)
		}
	}
}

func mustHead(t testing.TB, log []byte) AuditHead {
	t.Helper()
	dir := t.TempDir()
	setAudit(t, dir, log)
	r, err := VerifyAudit(dir, AuditHead{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Head
}

// What a kill leaves of a line whose Append did not return is no damage.
func TestAuditTornLine(t *testing.T) {
	dir := auditOf(t, 3)
	before, _ := readHead(dir)
	whole := auditBytes(t, dir)
	if err := NewAudit(dir, auditNow).Append("ada", AuditLogin, ""); err != nil {
		t.Fatal(err)
	}
	grown := auditBytes(t, dir)
	for n := len(whole); n <= len(grown); n++ {
		setAudit(t, dir, grown[:n])
		if err := writeHead(dir, before); err != nil { // the head is written after the line
			t.Fatal(err)
		}
		want := uint64(3)
		if n == len(grown) {
			want = 4
		}
		if r, err := VerifyAudit(dir, AuditHead{}, nil); err != nil || r.Entries != want {
			t.Fatalf("%d bytes of the line: %+v, %v", n-len(whole), r, err)
		}
		if err := NewAudit(dir, auditNow).Append("bob", AuditLogin, ""); err != nil {
			t.Fatal(err)
		}
		if r, err := VerifyAudit(dir, AuditHead{}, nil); err != nil || r.Entries != want+1 {
			t.Fatalf("%d bytes of the line, then another: %+v, %v", n-len(whole), r, err)
		}
	}
}

const auditChild = "FOOTFALL_TEST_AUDIT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(auditChild); dir != "" {
		a := NewAudit(dir, time.Now)
		for i := 0; ; i++ {
			if err := a.Append(fmt.Sprint(os.Getpid()), AuditExport, "", "n", fmt.Sprint(i)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(i)
		}
	}
	os.Exit(m.Run())
}

// Two processes append at once and are killed: what an Append returned for is there, and the
// log is whole.
func TestAuditSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	said := make([]int, 2)
	pids := make([]string, 2)
	for i := range said {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), auditChild+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		pids[i] = fmt.Sprint(c.Process.Pid)
		wg.Go(func() {
			r := newLineReader(out, 100)
			for {
				line, err := r.next()
				if err != nil {
					break
				}
				if string(line) != fmt.Sprint(said[i]) {
					t.Errorf("it said %q", line)
				}
				if said[i]++; said[i] == 20+7*i {
					c.Process.Kill()
				}
			}
			c.Wait()
		})
	}
	wg.Wait()
	noted := map[string]int{}
	if _, err := VerifyAudit(dir, AuditHead{}, func(e AuditEntry) bool { noted[e.Actor]++; return true }); err != nil {
		t.Error(err)
	}
	for i, pid := range pids {
		if noted[pid] < said[i] || noted[pid] > said[i]+1 {
			t.Errorf("%d lines of a process that had %d acknowledged", noted[pid], said[i])
		}
	}
}
