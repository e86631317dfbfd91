//go:build !linux

package program

import (
	"io/fs"
	"os"
)

// Open opens a regular file for reading. Another one, such as a FIFO, could
// block for ever.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err == nil && info.Size() == 0 {
		err = &fs.PathError{Op: "open", Path: path, Err: errEmpty}
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Reopen is for Linux.
func Reopen(file *os.File) (*os.File, error) { return Open(file.Name()) }

// NotThere is for Linux.
func NotThere(err error) bool { return err != nil }
