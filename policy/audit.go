package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The audit log is a file of lines, each a JSON object that holds the SHA-256 of itself and
// of the line before it. Whoever changes, removes or inserts a line has to write every
// line after it anew; whoever cuts the end off is betrayed by the head, a small
// file beside the log with the number and hash of the last line. What an owner of the machine
// writes anew as a whole, head included, can be found only by somebody who has noted a head
// elsewhere: [AuditReport.Head] is for that, and [VerifyAudit] takes it back.
//
// A line is on the disk before [Audit.Append] returns. Several processes may append: a lock on
// the file orders them.

// Audit appends to the audit log of a data directory. It holds no file open and is safe for
// concurrent use, also by several processes.
type Audit struct {
	dir string
	now func() time.Time
}

// AuditEntry is a line of the audit log. It holds names of staff and of sites, and never
// anything of the people who are counted.
type AuditEntry struct {
	Seq    uint64            `json:"seq"` // from 1, without gaps
	Time   time.Time         `json:"time"`
	Actor  string            `json:"actor"`            // "ada", "token grafana", "command line", "footfall" itself, "visitor"
	Action string            `json:"action"`           // one of the Audit constants
	Object string            `json:"object,omitempty"` // what it was done to: a site, a user, a table
	Detail map[string]string `json:"detail,omitempty"`
	Prev   string            `json:"prev"` // hash of the line before; of the first 64 zeros
	Hash   string            `json:"hash"` // SHA-256 of this line without its hash, in hex
}

// What is noted in the audit log.
const (
	AuditDisposal   = "disposal"         // rows older than the policy keeps were removed, or could not be
	AuditKeyErased  = "key erased"       // the key of past visitor ids
	AuditErasure    = "erasure"          // somebody's rows were removed at their request
	AuditSubject    = "subject export"   // somebody's rows were given out at their request
	AuditConfig     = "configuration"    // another configuration is in force
	AuditNotice     = "notice"           // another version of the notice is in force, or was accepted
	AuditLogin      = "login"            // of staff
	AuditRefused    = "login refused"    // to somebody who is staff by name
	AuditStaff      = "staff changed"    // a user, token or grant was added, changed or removed
	AuditExport     = "export"           // figures left the dashboard as a file
	AuditToken      = "token used"       // the first time in an hour
	AuditSmall      = "small group seen" // a look at fewer visitors than min_visitors
	AuditProof      = "proof"            // marked visitors were looked for in all that is written
	AuditAssessment = "self-assessment"  // the installation was held against a profile
)

// AuditActions are all of them.
var AuditActions = []string{AuditDisposal, AuditKeyErased, AuditErasure, AuditSubject, AuditConfig, AuditNotice,
	AuditLogin, AuditRefused, AuditStaff, AuditExport, AuditToken, AuditSmall, AuditProof, AuditAssessment}

const (
	auditFile     = "audit.log"
	auditHeadFile = "audit.head"
	auditStart    = "0000000000000000000000000000000000000000000000000000000000000000"

	maxAuditText = 200 // bytes of one text of an entry
	maxAuditLine = 16 << 10
)

// ErrAudit is wrapped by the error of an audit log that is not whole.
var ErrAudit = errors.New("the audit log is not whole")

// NewAudit returns the audit log of a data directory. Nothing is opened or made before the
// first [Audit.Append].
func NewAudit(dir string, now func() time.Time) *Audit { return &Audit{dir: dir, now: now} }

// Append notes that actor did action to object, with pairs of names and values beside it. It
// returns once the line is on the disk. It does not check the lines before: a log that
// somebody has damaged still takes what happens, and [VerifyAudit] finds the damage.
func (a *Audit) Append(actor, action, object string, pairs ...string) error {
	if err := a.append(actor, action, object, pairs); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

func (a *Audit) append(actor, action, object string, pairs []string) error {
	f, err := os.OpenFile(filepath.Join(a.dir, auditFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	head, end, err := a.last(f)
	if err != nil {
		return err
	}
	e := AuditEntry{
		Seq: head.Seq + 1, Time: a.now().UTC().Truncate(time.Millisecond), Prev: head.Hash,
		Actor: auditText(actor), Action: auditText(action), Object: auditText(object),
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		e.Detail[auditText(pairs[i])] = auditText(pairs[i+1])
	}
	e.Hash = e.hash()
	line := append(mustJSON(e), '\n')
	if len(line) > maxAuditLine {
		return fmt.Errorf("a line of %d bytes: at most %d", len(line), maxAuditLine)
	}
	if _, err := f.WriteAt(line, end); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	if err := f.Truncate(end + int64(len(line))); err != nil { // what a crash left behind the last line
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return writeHead(a.dir, AuditHead{e.Seq, e.Hash})
}

// last finds the last whole line of f and where it ends. What stands behind it is the beginning of a line whose
// Append did not return: the process was killed.
func (a *Audit) last(f *os.File) (AuditHead, int64, error) {
	head, err := readHead(a.dir)
	if err != nil {
		return head, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return head, 0, err
	}
	from := max(0, fi.Size()-2*maxAuditLine)
	b := make([]byte, fi.Size()-from)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return head, 0, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	end := from + int64(whole)
	if whole == 0 {
		return head, end, nil // an empty log: after the head, if it was cut
	}
	line := b[:whole-1]
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	var e AuditEntry
	// A damaged line cannot be gone on from; the head can.
	if json.Unmarshal(line, &e) == nil && e.Seq >= head.Seq {
		head = AuditHead{e.Seq, e.Hash}
	}
	return head, end, nil
}

// AuditHead names the last line of an audit log, and with it all lines before.
type AuditHead struct {
	Seq  uint64
	Hash string
}

// String returns the head as "12:ab34…", as [ParseAuditHead] reads it.
func (h AuditHead) String() string { return strconv.FormatUint(h.Seq, 10) + ":" + h.Hash }

// ParseAuditHead reads what [AuditHead.String] writes.
func ParseAuditHead(s string) (AuditHead, error) {
	n, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	seq, err := strconv.ParseUint(n, 10, 64)
	if b, herr := hex.DecodeString(hash); !ok || err != nil || herr != nil || len(b) != sha256.Size {
		return AuditHead{}, fmt.Errorf("%q is no head of an audit log: want NUMBER:HASH", s)
	}
	return AuditHead{seq, hash}, nil
}

func readHead(dir string) (AuditHead, error) {
	b, err := os.ReadFile(filepath.Join(dir, auditHeadFile))
	if errors.Is(err, os.ErrNotExist) {
		return AuditHead{Hash: auditStart}, nil
	}
	if err != nil {
		return AuditHead{}, err
	}
	h, err := ParseAuditHead(string(b))
	if err != nil {
		return h, fmt.Errorf("%s: %w", auditHeadFile, err)
	}
	return h, nil
}

func writeHead(dir string, h AuditHead) error {
	t, err := os.CreateTemp(dir, ".audit-head-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	_, err = t.WriteString(h.String() + "\n")
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), filepath.Join(dir, auditHeadFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// AuditReport is what a look at a whole audit log found.
type AuditReport struct {
	Entries uint64
	Head    AuditHead // to note elsewhere
	First   time.Time // of the first and last line; zero if there is none
	Last    time.Time
}

// VerifyAudit reads the audit log of a data directory from its first line, and calls each, if
// not nil, for every line until it returns false. The error wraps [ErrAudit] where a line was
// changed, removed, inserted or cut off, and names the first such line. noted is a head that
// was noted elsewhere earlier, or zero: the line that it names must still be there.
func VerifyAudit(dir string, noted AuditHead, each func(AuditEntry) bool) (AuditReport, error) {
	var r AuditReport
	r.Head.Hash = auditStart
	// The head first: lines appended meanwhile are then not taken for missing.
	head, err := readHead(dir)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrAudit, err)
	}
	f, err := os.Open(filepath.Join(dir, auditFile))
	if errors.Is(err, os.ErrNotExist) {
		if head.Seq > 0 || noted.Seq > 0 {
			return r, fmt.Errorf("%w: there is no log, and there were %d lines", ErrAudit, max(head.Seq, noted.Seq))
		}
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	lines := newLineReader(f, maxAuditLine)
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r, fmt.Errorf("%w: line %d: %w", ErrAudit, r.Entries+1, err)
		}
		e, err := checkAuditLine(line, r.Head)
		if err != nil {
			return r, fmt.Errorf("%w: line %d: %w", ErrAudit, r.Entries+1, err)
		}
		r.Entries, r.Head, r.Last = e.Seq, AuditHead{e.Seq, e.Hash}, e.Time
		if r.First.IsZero() {
			r.First = e.Time
		}
		for _, h := range []AuditHead{head, noted} {
			if h.Seq == e.Seq && h.Hash != e.Hash {
				return r, fmt.Errorf("%w: line %d is another one than was noted", ErrAudit, e.Seq)
			}
		}
		if each != nil && !each(e) {
			each = nil
		}
	}
	if want := max(head.Seq, noted.Seq); r.Entries < want {
		return r, fmt.Errorf("%w: it ends with line %d, and there were %d", ErrAudit, r.Entries, want)
	}
	return r, nil
}

// checkAuditLine reads the line after the one that prev names.
func checkAuditLine(line []byte, prev AuditHead) (AuditEntry, error) {
	var e AuditEntry
	if err := json.Unmarshal(line, &e); err != nil {
		return e, errors.New("it cannot be read")
	}
	switch {
	case !bytes.Equal(mustJSON(e), line): // other spellings of the same entry
		return e, errors.New("it was not written by Footfall")
	case e.Hash != e.hash():
		return e, errors.New("it was changed")
	case e.Seq != prev.Seq+1 || e.Prev != prev.Hash:
		return e, errors.New("it does not follow the line before: lines were removed, inserted or moved")
	}
	return e, nil
}

// hash is what Hash should be.
func (e AuditEntry) hash() string {
	e.Hash = ""
	sum := sha256.Sum256(mustJSON(e))
	return hex.EncodeToString(sum[:])
}

// mustJSON writes an entry; its fields cannot fail, and names of Detail are in order.
func mustJSON(e AuditEntry) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

// auditText bounds a text and leaves no control character in it.
func auditText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= maxAuditText {
		return s
	}
	n := maxAuditText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// lineReader reads whole lines; what stands behind the last newline is left out.
type lineReader struct {
	r   io.Reader
	buf []byte
	max int
	err error
}

func newLineReader(r io.Reader, max int) *lineReader { return &lineReader{r: r, max: max} }

// next returns a line without its newline, valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf, '\n'); i >= 0 {
			line := l.buf[:i]
			l.buf = l.buf[i+1:]
			return line, nil
		}
		switch {
		case l.err != nil:
			return nil, l.err
		case len(l.buf) > l.max:
			return nil, errors.New("it has no end")
		}
		chunk := make([]byte, 64<<10)
		n, err := l.r.Read(chunk)
		l.buf, l.err = append(l.buf[:len(l.buf):len(l.buf)], chunk[:n]...), err
	}
}
