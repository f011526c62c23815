package spool

import (
	"errors"
	"os"
	"time"
)

// FileSystem is what a spool needs of one. Its methods are those of package os by the same names;
// SyncDir brings a folder's entries to the disk.
type FileSystem interface {
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]os.DirEntry, error)
	Rename(from, to string) error
	Remove(name string) error
	Chtimes(name string, atime, mtime time.Time) error
	SyncDir(name string) error
}

// File is an open segment file. Close may be called while Sync runs.
type File interface {
	ReadAt(b []byte, offset int64) (int, error)
	WriteAt(b []byte, offset int64) (int, error)
	Truncate(size int64) error
	Size() (int64, error)
	Sync() error
	Close() error
}

// Disk returns the file system of the machine.
func Disk() FileSystem { return diskFS{} }

type diskFS struct{}

func (diskFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (diskFS) ReadFile(name string) ([]byte, error)       { return os.ReadFile(name) }
func (diskFS) ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }
func (diskFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (diskFS) Remove(name string) error                   { return os.Remove(name) }
func (diskFS) Chtimes(name string, atime, mtime time.Time) error {
	return os.Chtimes(name, atime, mtime)
}

func (diskFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
