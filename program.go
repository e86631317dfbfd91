package landlock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// explain adds to the error of an execve which files the ruleset has to allow:
// the kernel says EACCES and not whether it means the program or its loader.
func (s *Sandbox) explain(err error, program string) error {
	if !errors.Is(err, errDenied) {
		return err
	}
	c, checkErr := s.rules.newChecker()
	if checkErr != nil {
		return fmt.Errorf("%w (whether the ruleset denies it cannot be told any more: %w)", err, checkErr)
	}
	defer c.close()
	return explain(err, c.executing(program))
}

// programPath returns the path of what cmd runs, as this process sees it.
func programPath(cmd *exec.Cmd) string {
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	return path
}

// programFiles returns the files that the kernel opens to run path: itself, the
// interpreter of a script, the loader of a dynamically linked program.
func programFiles(path string) []string {
	var files []string
	for len(files) < 6 && path != "" { // the kernel follows five interpreters
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || !modesAllow(path, modeExecute) || onNoexecMount(path) {
			break // cannot be run without the sandbox either
		}
		files = append(files, path)
		path = interpreter(path)
	}
	return files
}

// interpreter returns what runs the file at path: the program in the first line
// of a script, the loader that an ELF file names, or "".
func interpreter(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	head := make([]byte, 4096)
	n, _ := io.ReadFull(file, head)
	head = head[:n]
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if fields := strings.Fields(string(line)); len(fields) > 0 {
			return fields[0]
		}
		return ""
	}
	return elfInterpreter(head)
}

// elfInterpreter returns the path in the PT_INTERP segment, which linkers put
// in the first page. (debug/elf would add half a megabyte to every importer.)
func elfInterpreter(head []byte) string {
	if len(head) < 64 || string(head[:4]) != "\x7fELF" {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 { // EI_DATA: ELFDATA2MSB
		order = binary.BigEndian
	}
	word := func(at uint64) uint64 { return uint64(order.Uint32(head[at:])) }
	table, size, count := word(28), uint64(order.Uint16(head[42:])), uint64(order.Uint16(head[44:]))
	offset, length := uint64(4), uint64(16) // of p_offset and p_filesz
	if head[4] == 2 {                       // EI_CLASS: ELFCLASS64
		word = func(at uint64) uint64 { return order.Uint64(head[at:]) }
		table, size, count = word(32), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
		offset, length = 8, 32
	}
	end := uint64(len(head))
	for i := range count {
		header := table + i*size
		if table > end || header+56 > end || size < 32 {
			return ""
		}
		const ptInterp = 3
		if order.Uint32(head[header:]) != ptInterp {
			continue
		}
		start, n := word(header+offset), word(header+length)
		if start > end || n > end || start+n > end {
			return ""
		}
		return string(bytes.TrimRight(head[start:start+n], "\x00"))
	}
	return ""
}
