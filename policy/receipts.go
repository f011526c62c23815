package policy

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Files of receipts, in the data directory.
const (
	KeyFile = "receipt.key"  // PKCS #8 in PEM
	LogFile = "receipts.log" // hashes of the receipts given, see [Known]
)

// maxLog bounds the log, in bytes: about 680,000 receipts. The one before is kept beside it, so that
// the newest 680,000 at least are known.
const maxLog = 64 << 20

// ErrNoSite is returned for a site that has no notice.
var ErrNoSite = errors.New("policy: there is no such site")

// Receipts gives receipts. It is safe for concurrent use; one process at a time may have it open.
type Receipts struct {
	key     ed25519.PrivateKey
	keys    []byte
	notices *Notices
	now     func() time.Time

	mu   sync.Mutex
	dir  string
	log  *os.File
	size int64
	max  int64
}

// OpenReceipts opens key and log in dir and makes them at the first start. Close it afterwards.
func OpenReceipts(dir string, notices *Notices, now func() time.Time) (*Receipts, error) {
	key, err := loadKey(filepath.Join(dir, KeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newKey(filepath.Join(dir, KeyFile))
	}
	if err != nil {
		return nil, err
	}
	r := &Receipts{key: key, notices: notices, now: now, dir: dir, max: maxLog}
	if r.keys, err = publish(key.Public().(ed25519.PublicKey)); err != nil {
		return nil, err
	}
	return r, r.openLog()
}

func newKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = replaceFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, fmt.Errorf("policy: the key of receipts cannot be kept: %w", err)
	}
	return key, nil
}

// loadKey never quotes the file in an error.
func loadKey(path string) (ed25519.PrivateKey, error) {
	fi, err := os.Stat(path)
	if err == nil {
		err = private(path, fi)
	}
	if err != nil {
		return nil, fmt.Errorf("policy: the key of receipts: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy: the key of receipts: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil {
		if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := k.(ed25519.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("policy: %s holds no Ed25519 key: restore it from a backup (receipts already given cannot be checked with a new one)", path)
}

// PublishedKeys returns the key set of an installation, read from its data directory.
func PublishedKeys(dir string) ([]byte, error) {
	key, err := loadKey(filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, err
	}
	return publish(key.Public().(ed25519.PublicKey))
}

// Keys returns the key set that receipts are checked against (RFC 7517). The caller must not change it.
func (r *Receipts) Keys() []byte { return r.keys }

// Issue returns the receipt of an act, as a file, once its hash is on disk. site is what the choice
// was made for, "" for all of them; [ErrNoSite] where there is no notice of it. Nothing else of the
// receipt is kept.
func (r *Receipts) Issue(act Act, site string) ([]byte, error) {
	if _, err := ParseAct(string(act)); err != nil {
		return nil, err
	}
	sites := []string{site}
	if site == "" {
		if sites = r.notices.Sites(); len(sites) == 1 {
			site = sites[0]
		}
	}
	var notices []Notice
	for _, s := range sites {
		n, ok := r.notices.Current(s)
		if !ok {
			return nil, ErrNoSite
		}
		notices = append(notices, n)
	}
	if len(notices) == 0 {
		return nil, ErrNoSite
	}
	receipt := newReceipt(act, site, notices, r.now())
	file, hash, err := sign(receipt, r.key)
	if err != nil {
		return nil, fmt.Errorf("policy: a receipt cannot be signed: %w", err)
	}
	if err := r.note(logLine(hash, receipt.Time, act)); err != nil {
		return nil, fmt.Errorf("policy: a receipt cannot be noted: %w", err)
	}
	return file, nil
}

// Close closes the log.
func (r *Receipts) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Close()
}

// logLine is "HASH TIME ACT": at most 97 bytes.
func logLine(hash [sha256.Size]byte, at time.Time, act Act) string {
	return fmt.Sprintf("%s %s %s\n", HashText(hash), at.UTC().Format(time.RFC3339), act)
}

// openLog cuts off a line that a crash tore: nobody got its receipt.
func (r *Receipts) openLog() error {
	path := filepath.Join(r.dir, LogFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("policy: the log of receipts: %w", err)
	}
	fi, err := f.Stat()
	if err == nil {
		err = private(path, fi)
	}
	if err == nil {
		r.size = fi.Size()
		tail := make([]byte, min(r.size, 8<<10))
		_, err = f.ReadAt(tail, r.size-int64(len(tail)))
		if torn := len(tail) - 1 - bytes.LastIndexByte(tail, '\n'); err == nil && torn > 0 {
			r.size -= int64(torn)
			err = f.Truncate(r.size)
		}
	}
	if err == nil {
		err = syncDir(r.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("policy: the log of receipts: %w", err), f.Close())
	}
	r.log = f
	return nil
}

func (r *Receipts) note(line string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size >= r.max {
		path := filepath.Join(r.dir, LogFile)
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
		old := r.log
		if err := r.openLog(); err != nil {
			return err
		}
		if err := old.Close(); err != nil {
			return err
		}
	}
	n, err := r.log.WriteString(line)
	if err == nil {
		err = r.log.Sync()
	}
	if err != nil && n > 0 {
		err = errors.Join(err, r.log.Truncate(r.size)) // half a line would spoil the next one
	}
	if err == nil {
		r.size += int64(n)
	}
	return err
}

// Known looks a receipt up in the log of the data directory dir. It reads only, and works beside a
// running server. found is false for a receipt that was not given there, or before the newest
// 680,000; an error that is [fs.ErrNotExist] means that there is no log.
func Known(dir string, hash [sha256.Size]byte) (at time.Time, found bool, err error) {
	path := filepath.Join(dir, LogFile)
	for i, name := range []string{path, path + ".1"} {
		f, err := os.Open(name)
		if i > 0 && errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return time.Time{}, false, fmt.Errorf("policy: the log of receipts: %w", err)
		}
		at, found, err = lookUp(f, HashText(hash))
		if err = errors.Join(err, f.Close()); err != nil || found {
			return at, found, err
		}
	}
	return time.Time{}, false, nil
}

// lookUp passes over lines that are not of the log's form.
func lookUp(f io.Reader, hash string) (at time.Time, found bool, err error) {
	s := bufio.NewScanner(f)
	for s.Scan() {
		if rest, ok := strings.CutPrefix(s.Text(), hash+" "); ok {
			when, _, _ := strings.Cut(rest, " ")
			if at, err := time.Parse(time.RFC3339, when); err == nil {
				return at, true, nil
			}
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return time.Time{}, false, errors.New("policy: the log of receipts is damaged: a line is too long")
	}
	return time.Time{}, false, s.Err()
}
