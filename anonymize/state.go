package anonymize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrState is wrapped by the errors of [Open] about a state file that is not whole. Such a
// file is never replaced: that would give the visitors of the day second ids unasked.
var ErrState = errors.New("the key file is damaged")

// state is what the file holds. As text, so that anybody with the right to read it can see
// which periods it has keys for:
//
//	footfall keys 1
//	seen 2026-11-24
//	day 20781 <64 hexadecimal digits>
//	week 2969 <…>
//	month 682 <…>
//	sum <the first 16 bytes of SHA-256 over all before this line>
//
// The number is the period's; "seen" is the last UTC date at which the program ran.
type state struct {
	seen   int
	chains [windows]chain
}

const (
	stateHead    = "footfall keys 1\n"
	maxStateSize = 1024
)

func (s *state) encode() []byte {
	b := make([]byte, 0, maxStateSize) // never grows, so clearing it clears the only copy
	b = append(b, stateHead...)
	b = append(b, "seen "...)
	b = dayTime(s.seen).AppendFormat(b, time.DateOnly)
	b = append(b, '\n')
	for w := Day; w < windows; w++ {
		c := &s.chains[w]
		b = append(b, w.String()...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(c.period), 10)
		b = append(b, ' ')
		b = hex.AppendEncode(b, c.key[:])
		b = append(b, '\n')
	}
	sum := sha256.Sum256(b)
	b = append(b, "sum "...)
	b = hex.AppendEncode(b, sum[:16])
	return append(b, '\n')
}

// decodeState reads what encode writes, and only that: any other spelling is an error.
// No error holds a part of a key.
func decodeState(b []byte) (*state, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrState)
	}
	if len(b) > maxStateSize {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrState, maxStateSize)
	}
	if !bytes.HasPrefix(b, []byte(stateHead)) {
		return nil, fmt.Errorf("%w, or of another version: its first line is not %q", ErrState, stateHead[:len(stateHead)-1])
	}
	lines := bytes.Split(b, []byte("\n"))
	if len(lines) != 1+1+windows+1+1 {
		return nil, fmt.Errorf("%w: it is not whole", ErrState)
	}
	var s state
	date, ok := bytes.CutPrefix(lines[1], []byte("seen "))
	t, err := time.Parse(time.DateOnly, string(date))
	if !ok || err != nil || t.Unix() < 0 {
		return nil, fmt.Errorf("%w: line 2 is not a date", ErrState)
	}
	s.seen = dayOf(t)
	for w := Day; w < windows; w++ {
		if err := s.chains[w].decode(w, lines[2+w]); err != nil {
			return nil, fmt.Errorf("%w: line %d is not the %s key", ErrState, 3+w, w)
		}
	}
	again := s.encode()
	defer clear(again)
	if !bytes.Equal(again, b) {
		s = state{}
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrState)
	}
	return &s, nil
}

func (c *chain) decode(w Window, line []byte) error {
	f := bytes.Split(line, []byte(" "))
	if len(f) != 3 || string(f[0]) != w.String() || len(f[2]) != 2*len(c.key) {
		return ErrState
	}
	n, err := strconv.ParseUint(string(f[1]), 10, 24)
	if err != nil {
		return err
	}
	c.period = int(n)
	_, err = hex.Decode(c.key[:], f[2])
	return err
}
