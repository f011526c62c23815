package canary

import (
	"bytes"
	"io"
	"math/rand/v2"
)

// SelfTest is a stream with every form of every canary in it, among random bytes, and how a search did on it.
type SelfTest struct {
	search *Search
	bytes  []byte
}

// SelfTest makes a self-test of the search's canaries. Searching it changes nothing of s.
func (s *Search) SelfTest() *SelfTest {
	var b bytes.Buffer
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	filler := func(n int) {
		for range n {
			b.WriteByte(byte(random.Uint32()))
		}
	}
	for _, c := range s.canaries {
		for _, f := range c.forms {
			filler(1 + int(random.Uint32N(64))) // so that chunks end within forms too
			b.Write(f.sample)
		}
	}
	filler(s.longest)
	return &SelfTest{search: NewSearch(s.canaries...), bytes: b.Bytes()}
}

// Samples are the values that are to be found, one a form.
func (t *SelfTest) Samples() (out [][]byte) {
	for _, c := range t.search.canaries {
		for _, f := range c.forms {
			out = append(out, f.sample)
		}
	}
	return out
}

// WriteTo writes what is to be found.
func (t *SelfTest) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(t.bytes)
	return int64(n), err
}

// Fresh is the same test without what Missed has found so far.
func (t *SelfTest) Fresh() *SelfTest {
	return &SelfTest{search: NewSearch(t.search.canaries...), bytes: t.bytes}
}

// Missed searches r, into which the test was written, and names the forms that it did not find.
func (t *SelfTest) Missed(r io.Reader) (missed []string, err error) {
	if err := t.search.Look("self-test", "self-test", r); err != nil {
		return nil, err
	}
	for i, c := range t.search.canaries {
		for j, f := range c.forms {
			if t.search.hits[hit{place{"self-test", "self-test"}, int32(i), int32(j)}] == 0 {
				missed = append(missed, c.Name+": "+f.name)
			}
		}
	}
	return missed, nil
}
