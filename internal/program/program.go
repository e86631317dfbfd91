// Package program reads how the kernel starts a program: the first line of a
// script, and the loader that an ELF file names.
package program

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Start is how the kernel starts a file. One that is neither a script nor ELF
// it does not start by itself.
type Start struct {
	Script bool // the file begins with #!
	ELF    bool
	// Interpreter is what the kernel opens besides the file: the program that
	// runs a script, the loader of an ELF file. A static one has none.
	Interpreter string
	// Argument is what a script has after its interpreter. It is one argument,
	// with all its spaces.
	Argument string
}

// Read reads how the kernel starts the file at path.
func Read(path string) (Start, error) {
	file, err := Open(path)
	if err != nil {
		return Start{}, err
	}
	defer file.Close()
	start, err := ReadFrom(file)
	if err != nil {
		err = fmt.Errorf("%q: %w", path, err)
	}
	return start, err
}

// What Open refuses.
var (
	errNotRegular = errors.New("not a regular file")
	errEmpty      = errors.New("empty, or a file of the kernel's own")
	errKernels    = errors.New("a file of the kernel's own")
	errReplaced   = errors.New("replaced while it was opened")
)

const headSize = 256 // what the kernel reads to find out what a file is

// ReadFrom is Read for an open file.
func ReadFrom(file io.ReaderAt) (Start, error) {
	head, err := readHead(file)
	if err != nil {
		return Start{}, err
	}
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		return script(line)
	}
	if !isELF(head) {
		return Start{}, nil
	}
	start := Start{ELF: true}
	e, err := newELF(head)
	if err == nil {
		err = e.readSegments(file, head)
	}
	if err == nil {
		start.Interpreter, err = e.interpreter()
	}
	return start, err
}

func readHead(file io.ReaderAt) ([]byte, error) {
	head := make([]byte, headSize)
	n, err := file.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}

// script reads the line after #!. A NUL ends it too, as the kernel has it.
func script(text []byte) (Start, error) {
	cut := len(text) == headSize-len("#!")
	if end := bytes.IndexAny(text, "\n\x00"); end >= 0 {
		text, cut = text[:end], false
	}
	const blanks = " \t"
	line := strings.TrimLeft(string(text), blanks)
	end := strings.IndexAny(line, blanks)
	if end < 0 {
		if cut && line != "" { // the kernel refuses it too; an argument it cuts off
			return Start{Script: true}, errors.New("#! names an interpreter that is longer than the kernel reads")
		}
		end = len(line)
	}
	if end == 0 {
		return Start{Script: true}, errors.New("#! names no interpreter")
	}
	return Start{Script: true, Interpreter: line[:end], Argument: strings.Trim(line[end:], blanks)}, nil
}

// File is an open file, and how the kernel starts it.
type File struct {
	*os.File
	Start
}

// Chain opens a program, its interpreter if it is a script, that one's, and so on, to
// one that is no script. Where there is an error, they are those before the one that it
// is about.
func Chain(path string) ([]File, error) {
	var files []File
	for range 6 { // the kernel follows five
		file, err := Executable(path)
		if open, ok := errors.AsType[*fs.PathError](err); ok && len(files) > 0 {
			err = fmt.Errorf("interpreter %q of %q: %w", path, files[len(files)-1].Name(), open.Err)
		}
		if err != nil {
			return files, err
		}
		files = append(files, file)
		if !file.Script {
			return files, nil
		}
		path = file.Interpreter
	}
	return files, fmt.Errorf("%q: too many interpreters", files[0].Name())
}

// Absolute returns a path that stays the same file in another working directory.
func Absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	return dir + string(filepath.Separator) + strings.TrimPrefix(path, "./"), err // what is before .. may be a link
}

// Executable opens a file that the kernel would execute: a regular one whose mode says
// so, and that begins as a script or an ELF file does. Its name is an absolute path.
func Executable(path string) (File, error) {
	path, err := Absolute(path)
	if err != nil {
		return File{}, err
	}
	file, err := Open(path)
	if err != nil {
		return File{}, err
	}
	start, err := startOf(file)
	if err != nil {
		file.Close()
	}
	return File{file, start}, err
}

// startOf returns how the kernel starts an open file that it would execute.
func startOf(file *os.File) (Start, error) {
	info, err := file.Stat()
	if err != nil {
		return Start{}, err
	}
	if info.Mode()&0o111 == 0 {
		return Start{}, &fs.PathError{Op: "execute", Path: file.Name(), Err: fs.ErrPermission}
	}
	start, err := ReadFrom(file)
	switch {
	case err != nil:
		err = fmt.Errorf("%q: %w", file.Name(), err)
	case !start.Script && !start.ELF:
		err = fmt.Errorf("%q is neither an ELF file nor a script with #! at its beginning", file.Name())
	}
	return start, err
}
