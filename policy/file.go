package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// replaceFile puts b in the place of the file at path (mode 0600): after a crash the one or the other
// is there, whole. A copy on purpose: other packages replace their files alike, and this one may
// import nothing of theirs.
func replaceFile(path string, b []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// private is an error where others may read the file.
func private(path string, fi os.FileInfo) error {
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s may be read by others (mode %04o): run `chmod 600 %s`", path, perm, path)
	}
	return nil
}
