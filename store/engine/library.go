package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryEnv names the environment variable that says where the engine's library is:
// the file itself, or the folder that holds it.
const LibraryEnv = "CHDB_LIB_PATH"

// ErrNoLibrary is wrapped by what FindLibrary returns when there is no library to be found.
var ErrNoLibrary = errors.New("the embedded engine's library is not installed")

// libraryName is the file to look for.
const libraryName = "libchdb.so"

// FindLibrary returns the path of ClickHouse's embedded library. It looks at $CHDB_LIB_PATH, then
// where `make parts` puts it (below the working directory, the program's directory and that one's
// parent), then beside the program, then in the usual library folders. A path that was asked for
// by the variable and is not a library is an error rather than a reason to look elsewhere.
func FindLibrary() (string, error) {
	return findLibrary(os.Getenv(LibraryEnv), libraryRoots(), systemLibraryDirs())
}

func libraryRoots() []string {
	roots := []string{"."}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		roots = append(roots, dir, filepath.Dir(dir))
	}
	return roots
}

func systemLibraryDirs() []string {
	return []string{"/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/" + gnuArch() + "-linux-gnu"}
}

func gnuArch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

func findLibrary(asked string, roots, system []string) (string, error) {
	if asked != "" {
		path, err := libraryAt(asked)
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w", LibraryEnv, asked, err)
		}
		return path, nil
	}
	// Each platform's package is installed only on that platform, so any match fits.
	pattern := filepath.Join(".parts", "node_modules", "@chdb", "lib-*", libraryName)
	for _, root := range roots {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue // a root with a glob character in its name
		}
		for _, m := range matches {
			if checkLibraryFile(m) == nil {
				return filepath.Abs(m)
			}
		}
	}
	for _, root := range roots[1:] { // the working directory itself is no place to load code from
		if p := filepath.Join(root, libraryName); checkLibraryFile(p) == nil {
			return filepath.Abs(p)
		}
	}
	for _, dir := range system {
		if p := filepath.Join(dir, libraryName); checkLibraryFile(p) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w: run `make parts`, or set %s to the path of %s", ErrNoLibrary, LibraryEnv, libraryName)
}

// libraryAt accepts the library's file or the folder that holds it.
func libraryAt(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%w: there is nothing at that path; unset it and run `make parts`", ErrNoLibrary)
		}
		return "", err
	}
	if fi.IsDir() {
		path = filepath.Join(path, libraryName)
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%w: the folder holds no %s; run `make parts`", ErrNoLibrary, libraryName)
		}
	}
	if err := checkLibraryFile(path); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// minLibrarySize tells the library (some 500 MB) from a wrong file or one whose download was cut.
const minLibrarySize = 64 << 20

// checkLibraryFile looks at the file's first bytes and size, because the dynamic loader's own
// complaint about a wrong file does not say what to do.
func checkLibraryFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil || string(magic) != "\x7fELF" {
		return fmt.Errorf("%s is not a shared library; run `make parts`", path)
	}
	if fi.Size() < minLibrarySize {
		return fmt.Errorf("%s has only %d bytes and cannot be the engine's library; run `make parts`", path, fi.Size())
	}
	return nil
}
