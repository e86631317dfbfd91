package libraries

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"sync"
)

// candidate is a file that may be a library that is looked for. byCPU says
// that the loader takes it only on some processors, absent that its directory does
// not exist.
type candidate struct {
	path          string
	byCPU, absent bool
}

// last is the cache that was read last: it changes when something is installed.
var last struct {
	sync.Mutex
	info      os.FileInfo
	libraries map[string][]candidate
}

// readCache reads an open cache of libraries. What it returns is not to be changed.
func readCache(file *os.File) (map[string][]candidate, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	last.Lock()
	before, libraries := last.info, last.libraries
	last.Unlock()
	if before != nil && os.SameFile(info, before) && info.ModTime().Equal(before.ModTime()) && info.Size() == before.Size() {
		return libraries, nil
	}
	text, err := readUpTo(file, 64<<20)
	if err != nil {
		return nil, err
	}
	libraries, err = parseCache(text)
	if err == nil {
		last.Lock()
		defer last.Unlock()
		last.info, last.libraries = info, libraries
	}
	return libraries, err
}

var errNoCache = errors.New("not a cache of libraries, or a broken one")

// parseCache reads /etc/ld.so.cache, the index of libraries that ldconfig writes
// for the loader of glibc: a header of 48 bytes, entries of 24, and the strings
// that they point to. Numbers are in the machine's own byte order. An index in
// the older format may stand before it.
func parseCache(data []byte) (map[string][]candidate, error) {
	const magic, header, size = "glibc-ld.so.cache1.1", 48, 24
	start := bytes.Index(data, []byte(magic))
	if start < 0 || len(data)-start < header {
		return nil, errNoCache
	}
	data = data[start:] // the strings' offsets count from here
	text := string(data)
	entries := data[header:]
	count := binary.NativeEndian.Uint32(data[len(magic):])
	if uint64(count) > uint64(len(entries)/size) {
		return nil, errNoCache
	}
	libraries := make(map[string][]candidate)
	for ; count > 0; count-- {
		name, ok := stringAt(text, binary.NativeEndian.Uint32(entries[4:]))
		path, found := stringAt(text, binary.NativeEndian.Uint32(entries[8:]))
		if !ok || !found {
			return nil, errNoCache
		}
		// The last number is what the processor must have. Those who want the
		// most come first, and the loader takes the first that it can.
		byCPU := binary.NativeEndian.Uint64(entries[16:]) != 0
		libraries[name] = append(libraries[name], candidate{path: path, byCPU: byCPU})
		entries = entries[size:]
	}
	return libraries, nil
}

// stringAt returns the string at offset, up to its NUL.
func stringAt(text string, offset uint32) (string, bool) {
	const longest = 4096 // what the kernel takes as a path
	if uint64(offset) >= uint64(len(text)) {
		return "", false
	}
	text = text[offset:]
	text, _, ok := strings.Cut(text[:min(len(text), longest)], "\x00")
	return text, ok
}
