// Package program reads how the kernel starts a program: the first line of a
// script, and the loader that an ELF file names.
package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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

// Open opens a regular file for reading. Another one, such as a FIFO, could
// block for ever.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

const headSize = 256 // what the kernel reads to find out what a file is

// ReadFrom is Read for an open file.
func ReadFrom(file io.ReaderAt) (Start, error) {
	head := make([]byte, headSize)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return Start{}, err
	}
	head = head[:n]
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		return script(line)
	}
	if bytes.HasPrefix(head, []byte("\x7fELF")) {
		loader, err := loader(file, head)
		return Start{ELF: true, Interpreter: loader}, err
	}
	return Start{}, nil
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

var errBroken = errors.New("broken ELF file")

// loader returns the path in the PT_INTERP segment. (debug/elf would add half a
// megabyte to every importer.)
func loader(file io.ReaderAt, head []byte) (string, error) {
	if len(head) < 64 {
		return "", errBroken
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 { // EI_DATA: ELFDATA2MSB
		order = binary.BigEndian
	}
	word := func(text []byte, at int) uint64 { return uint64(order.Uint32(text[at:])) }
	table, size, count := word(head, 28), uint64(order.Uint16(head[42:])), uint64(order.Uint16(head[44:]))
	want, offset, length := uint64(32), 4, 16 // the size of a program header; p_offset and p_filesz in it
	if head[4] == 2 {                         // EI_CLASS: ELFCLASS64
		word = func(text []byte, at int) uint64 { return order.Uint64(text[at:]) }
		table, size, count = word(head, 32), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
		want, offset, length = 56, 8, 32
	}
	if size != want || count*size > 1<<16 { // what the kernel takes
		return "", errBroken
	}
	headers, err := readAt(file, table, count*size)
	if err != nil {
		return "", err
	}
	for ; len(headers) > 0; headers = headers[size:] {
		const ptInterp = 3
		if order.Uint32(headers) != ptInterp {
			continue
		}
		n := word(headers, length)
		if n > 4096 {
			return "", errBroken
		}
		text, err := readAt(file, word(headers, offset), n)
		path, _, _ := bytes.Cut(text, []byte{0})
		return string(path), err
	}
	return "", nil
}

func readAt(file io.ReaderAt, at, n uint64) ([]byte, error) {
	if at > 1<<62 {
		return nil, errBroken
	}
	text := make([]byte, n)
	if got, err := file.ReadAt(text, int64(at)); uint64(got) < n {
		if err == io.EOF {
			err = errBroken
		}
		return nil, err
	}
	return text, nil
}

// Chain returns path, its interpreter if it is a script, that one's, and so on,
// to one that is no script, or the one with which there is an error. The Start
// is that of the last one.
func Chain(path string) ([]string, Start, error) {
	files := []string{path}
	for range 6 { // the kernel follows five
		last := files[len(files)-1]
		start, err := Read(last)
		if open, ok := errors.AsType[*fs.PathError](err); ok && len(files) > 1 {
			err = fmt.Errorf("interpreter %q of %q: %w", last, files[len(files)-2], open.Err)
		}
		if err != nil || !start.Script {
			return files, start, err
		}
		files = append(files, start.Interpreter)
	}
	return files, Start{}, fmt.Errorf("%q: too many interpreters", path)
}
