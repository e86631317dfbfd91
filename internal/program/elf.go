package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// (debug/elf would add half a megabyte to every importer. It also reads what a
// loader does not, and as much as the file says.)

// Machine is what a program, its loader and its libraries must have in common.
type Machine struct {
	Class, Order byte   // EI_CLASS, EI_DATA
	Number       uint16 // e_machine
}

// What e_type says of what can be started or loaded. A core file and one for the
// linker cannot.
const (
	Fixed  uint16 = 2 // ET_EXEC
	Shared uint16 = 3 // ET_DYN: a library, a loader, a program that can be anywhere
)

// Object is what the kernel and the loader read of an ELF file.
type Object struct {
	Machine
	Type        uint16
	Interpreter string // the loader, of a program that has one
	Dynamic     bool   // it tells the loader something, as each library does
	// What it tells.
	Needed                 []string
	Soname, Rpath, Runpath string
}

// isELF reports whether a file begins as an ELF file does.
func isELF(head []byte) bool { return bytes.HasPrefix(head, []byte("\x7fELF")) }

// ReadObject reads an ELF file, of which nothing is believed: what is broken, or asks
// for more than any real file, is an error.
func ReadObject(file io.ReaderAt) (*Object, error) { return readObject(file, nil) }

// ReadLibrary is ReadObject for a library of a machine. Of what its first bytes say to
// be something else, nothing more is read.
func ReadLibrary(file io.ReaderAt, machine Machine) (*Object, error) {
	o, err := readObject(file, &machine)
	if err == nil && !o.Dynamic {
		err = errNoLibrary
	}
	return o, err
}

func readObject(file io.ReaderAt, libraryFor *Machine) (*Object, error) {
	head, err := readHead(file)
	if err != nil {
		return nil, err
	}
	if !isELF(head) {
		return nil, errors.New("not an ELF file")
	}
	e, err := newELF(head)
	if err != nil {
		return nil, err
	}
	if libraryFor != nil && (e.kind != Shared || e.Machine != *libraryFor) {
		return nil, errNoLibrary
	}
	if err := e.readSegments(file, head); err != nil {
		return nil, err
	}
	o := &Object{Machine: e.Machine, Type: e.kind}
	if o.Interpreter, err = e.interpreter(); err != nil {
		return nil, err
	}
	return o, e.dynamic(o)
}

var (
	errBroken    = errors.New("broken ELF file")
	errNoLibrary = errors.New("not a library for this machine")
	errTooMuch   = errors.New("an ELF file that asks for more than any real one")
)

// What real files have is far below.
const (
	maxHeaders = 1 << 16 // what the kernel takes
	maxDynamic = 1 << 16 // 4096 entries
	maxText    = 1 << 16 // of names and search paths, in all
	maxRead    = 1 << 20 // to get at them: they may lie far from each other
	maxPath    = 4096    // what the kernel takes
)

// elfFile is an ELF file, as far as it has been read.
type elfFile struct {
	io.ReaderAt
	Machine
	kind     uint16
	order    binary.ByteOrder
	segments []segment
}

// segment is a program header.
type segment struct {
	kind                  uint32
	offset, address, size uint64
}

const (
	segmentLoad    = 1
	segmentDynamic = 2
	segmentInterp  = 3
)

// newELF reads what an ELF file is, which begins with head.
func newELF(head []byte) (*elfFile, error) {
	if len(head) < 64 {
		return nil, errBroken
	}
	e := &elfFile{order: binary.LittleEndian, Machine: Machine{Class: head[4], Order: head[5]}}
	if e.Order == 2 { // ELFDATA2MSB
		e.order = binary.BigEndian
	}
	e.kind, e.Number = e.order.Uint16(head[16:]), e.order.Uint16(head[18:])
	if e.kind != Fixed && e.kind != Shared {
		return nil, errors.New("an ELF file that is neither a program nor a library")
	}
	return e, nil
}

// readSegments reads the program headers of the file, which begins with head.
func (e *elfFile) readSegments(file io.ReaderAt, head []byte) error {
	e.ReaderAt = file
	table, size, count, want := e.word(head, 28), e.order.Uint16(head[42:]), e.order.Uint16(head[44:]), 32
	if e.wide() {
		table, size, count, want = e.word(head, 32), e.order.Uint16(head[54:]), e.order.Uint16(head[56:]), 56
	}
	if int(size) != want || int(count)*want > maxHeaders {
		return errBroken
	}
	headers, err := readAt(file, table, uint64(count)*uint64(want))
	if err != nil {
		return err
	}
	for ; len(headers) > 0; headers = headers[want:] {
		s := segment{kind: e.order.Uint32(headers)}
		if e.wide() {
			s.offset, s.address, s.size = e.word(headers, 8), e.word(headers, 16), e.word(headers, 32)
		} else {
			s.offset, s.address, s.size = e.word(headers, 4), e.word(headers, 8), e.word(headers, 16)
		}
		e.segments = append(e.segments, s)
	}
	return nil
}

// wide reports whether numbers have 64 bits, and not 32.
func (e *elfFile) wide() bool { return e.Class == 2 } // ELFCLASS64

func (e *elfFile) word(text []byte, at int) uint64 {
	if e.wide() {
		return e.order.Uint64(text[at:])
	}
	return uint64(e.order.Uint32(text[at:]))
}

// interpreter returns the path in the first PT_INTERP, as the kernel has it.
func (e *elfFile) interpreter() (string, error) {
	for _, s := range e.segments {
		if s.kind != segmentInterp {
			continue
		}
		if s.size > maxPath {
			return "", errBroken
		}
		text, err := readAt(e, s.offset, s.size)
		if err != nil {
			return "", err
		}
		path, _, _ := bytes.Cut(text, []byte{0})
		return string(path), nil
	}
	return "", nil
}

// dynamic reads the last PT_DYNAMIC, as the loader has it.
func (e *elfFile) dynamic(o *Object) error {
	last := segment{}
	for _, s := range e.segments {
		if s.kind == segmentDynamic {
			last, o.Dynamic = s, true
		}
	}
	if last.size > maxDynamic {
		return fmt.Errorf("%w: a dynamic segment of %d bytes, more than %d", errTooMuch, last.size, maxDynamic)
	}
	table, err := readAt(e, last.offset, last.size)
	if err != nil {
		return err
	}
	return e.readDynamic(o, table)
}

// readDynamic reads the entries of a dynamic segment.
func (e *elfFile) readDynamic(o *Object, table []byte) error {
	const null, needed, strtab, strsz, soname, rpath, runpath = 0, 1, 5, 10, 14, 15, 29
	size := 8
	if e.wide() {
		size = 16
	}
	values := map[uint64]uint64{}
	var names []uint64
	for ; len(table) >= size && e.word(table, 0) != null; table = table[size:] {
		tag, value := e.word(table, 0), e.word(table, size/2)
		switch tag {
		case needed:
			names = append(names, value)
		case strtab, strsz, soname, rpath, runpath:
			values[tag] = value
		}
	}
	strings := &stringTable{e: e, size: values[strsz]}
	if len(names) == 0 && values[soname]|values[rpath]|values[runpath] == 0 {
		return nil
	}
	var err error
	if strings.offset, err = e.offset(values[strtab]); err != nil {
		return err
	}
	for _, at := range names {
		o.Needed = append(o.Needed, strings.at(at, maxPath))
	}
	for tag, text := range map[uint64]*string{soname: &o.Soname, rpath: &o.Rpath, runpath: &o.Runpath} {
		if at, ok := values[tag]; ok {
			*text = strings.at(at, maxText)
		}
	}
	return strings.err
}

// offset returns where in the file is what is loaded to an address.
func (e *elfFile) offset(address uint64) (uint64, error) {
	for _, s := range e.segments {
		if s.kind == segmentLoad && address >= s.address && address-s.address < s.size && s.offset < math.MaxInt64 {
			return s.offset + (address - s.address), nil
		}
	}
	return 0, errBroken
}

// stringTable is where an ELF file has its strings. It may be large, so it is read
// where they are, and those beside each other at once.
type stringTable struct {
	e            *elfFile
	offset, size uint64
	block        []byte // what was read last,
	from         uint64 // and from where on
	text         int    // bytes of all strings
	read         uint64 // of the file
	err          error
}

// at returns a string, or keeps the error.
func (t *stringTable) at(index uint64, limit int) string {
	if t.err == nil && index >= t.size {
		t.err = errBroken
	}
	if t.err != nil {
		return ""
	}
	if index >= t.from && index-t.from < uint64(len(t.block)) {
		if s, ok := untilNUL(t.block[index-t.from:]); ok {
			return t.count(s, limit)
		}
	}
	for n := uint64(4096); ; n *= 4 {
		n = min(n, uint64(limit)+1, t.size-index)
		if t.read += n; t.read > maxRead {
			t.err = fmt.Errorf("%w: names and search paths in more than %d bytes", errTooMuch, maxRead)
			return ""
		}
		if t.block, t.err = readAt(t.e, t.offset+index, n); t.err != nil {
			return ""
		}
		t.from = index
		if s, ok := untilNUL(t.block); ok {
			return t.count(s, limit)
		}
		if n > uint64(limit) {
			return t.count(string(t.block), limit)
		}
		if n == t.size-index {
			t.err = errBroken
			return ""
		}
	}
}

// count keeps the error for what is too long, by itself or with all others.
func (t *stringTable) count(s string, limit int) string {
	t.text += len(s)
	if len(s) > limit {
		t.err = fmt.Errorf("%w: a name or search path of more than %d bytes", errTooMuch, limit)
	} else if t.text > maxText {
		t.err = fmt.Errorf("%w: more than %d bytes of names and search paths", errTooMuch, maxText)
	}
	return s
}

func untilNUL(text []byte) (string, bool) {
	end := bytes.IndexByte(text, 0)
	return string(text[:max(end, 0)]), end >= 0
}

func readAt(file io.ReaderAt, at, n uint64) ([]byte, error) {
	if at > math.MaxInt64 || n > math.MaxInt64-at {
		return nil, errBroken
	}
	text := make([]byte, n) // of which no caller asks for much
	if got, err := file.ReadAt(text, int64(at)); uint64(got) < n {
		if err == io.EOF {
			err = errBroken
		}
		return nil, err
	}
	return text, nil
}
