package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kantarainitiative/footfall/event"
)

// orderBook keeps orders to erase as files of a folder, so that a crash takes none. A file has the
// ids of its subjects until their rows are gone, then no more than that rollups are to be tidied, and
// is removed after that.
type orderBook struct{ dir string }

const orderSuffix = ".json"

// orderFile is the form of a file.
type orderFile struct {
	ID       uint64        `json:"id,string"`
	At       int64         `json:"at"`
	Subjects []subjectFile `json:"subjects,omitempty"` // none: the rows are gone
}

type subjectFile struct {
	Site    string    `json:"site"`
	Visitor uint64    `json:"visitor,string"`
	First   event.Day `json:"first"`
	Last    event.Day `json:"last"`
}

func filesOf(of []event.Subject) (out []subjectFile) {
	for _, s := range of {
		out = append(out, subjectFile{s.Site, s.Visitor, s.First, s.Last})
	}
	return out
}

func subjectsOf(files []subjectFile) (out []event.Subject) {
	for _, s := range files {
		out = append(out, event.Subject{Site: s.Site, Visitor: s.Visitor, First: s.First, Last: s.Last})
	}
	return out
}

func (b orderBook) path(id uint64) string {
	return filepath.Join(b.dir, fmt.Sprintf("%016x%s", id, orderSuffix))
}

// put writes an order, without its subjects where they are gone, and returns when it is on the disk.
func (b orderBook) put(o *event.Order) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	f := orderFile{ID: o.ID, At: o.At}
	f.Subjects = filesOf(o.Subjects)
	text, err := json.Marshal(&f)
	if err != nil {
		return err
	}
	return b.replace(b.path(o.ID), text)
}

// replace puts text in the place of the file at path: after a crash the one or the other is there. The
// bytes of the file before it are overwritten, since a disk keeps what is merely unlinked.
func (b orderBook) replace(path string, text []byte) error {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != nil {
		defer old.Close()
	}
	next, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err = errors.Join(err, next.Sync(), next.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	if err := b.sync(); err != nil || old == nil {
		return err
	}
	return blank(old)
}

func blank(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, fi.Size()), 0)
	return errors.Join(err, f.Sync())
}

// remove ends an order.
func (b orderBook) remove(id uint64) error {
	if err := os.Remove(b.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.sync()
}

func (b orderBook) sync() error {
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read returns the orders that are not done, the oldest first as far as their times tell.
func (b orderBook) read() ([]event.Order, error) {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []event.Order
	for _, e := range entries {
		path := filepath.Join(b.dir, e.Name())
		if strings.HasSuffix(e.Name(), ".new") { // of an order that nobody was told of
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				err = errors.Join(blank(f), f.Close())
				if err != nil {
					return nil, err
				}
			}
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		if !strings.HasSuffix(e.Name(), orderSuffix) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var f orderFile
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: it is damaged, and somebody's order to erase is in it", path)
		}
		out = append(out, event.Order{ID: f.ID, At: f.At, Subjects: subjectsOf(f.Subjects)})
	}
	return out, nil
}
