package anonymize

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// readState returns nil and no error where there is no file. A file that others may read
// is taken from them.
func readState(path string) (*state, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return nil, err
		}
	}
	b := make([]byte, maxStateSize+1)
	defer clear(b)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return decodeState(b[:n])
}

// tempPath is fixed, so that what a crash leaves there is found, and no key outlives its
// period in a forgotten file.
func tempPath(path string) string { return path + ".new" }

// replaceState is not the replacement that other packages have for their files: those leave the
// bytes before on the disk, and this package may import nothing of ours.
//
// It puts s in the place of the file at path in one step: after a crash at any
// point the one or the other is there, whole. The bytes of the file before it are then
// overwritten, since a disk keeps what is merely unlinked. (Where the file system or the
// disk never writes in place, that cannot reach the old blocks; nothing in a program can.)
// It reports whether s is in place, which it can be with an error too.
func replaceState(path string, s *state) (done bool, err error) {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if old != nil {
		defer old.Close()
	}
	if err := removeTemp(path); err != nil {
		return false, err
	}
	b := s.encode()
	defer clear(b)
	if err := writeSynced(tempPath(path), b); err != nil {
		return false, errors.Join(err, removeTemp(path))
	}
	if err := os.Rename(tempPath(path), path); err != nil {
		return false, errors.Join(err, removeTemp(path))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return true, err // the old file may be the one that a crash leaves: keep it readable
	}
	if old == nil {
		return true, nil
	}
	return true, wipe(old)
}

// removeTemp overwrites and removes what a crash left.
func removeTemp(path string) error {
	f, err := os.OpenFile(tempPath(path), os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(wipe(f), f.Close(), os.Remove(tempPath(path)))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func wipe(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, min(fi.Size(), 1<<20)), 0); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
