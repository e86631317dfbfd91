//go:build linux && (386 || amd64 || arm64)

package stub

import (
	"encoding/binary"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// Supported reports whether this architecture has a stub.
const Supported = true

// Where in the image the table lies.
const (
	tableOffset  = 0x100
	tableAddress = base + tableOffset
	dataAddress  = tableAddress + unsafe.Sizeof(head{})
)

// writableOffset is how far above everything its writable copy is.
const writableOffset = 0x1000000

// head is the head of the table. The assembly takes its offsets from here, and
// those of Call.
type head struct {
	status uintptr // the address of the descriptor to report to
	first  uintptr // the address of the first call
}

func newHead(status, first uintptr) []byte {
	h := head{status, first}
	return word(word(nil, h.status), h.first)
}

// allWords is what words returns, made when it is first asked for. Not by
// sync.OnceValue, which would link all of it into programs that start nothing.
var allWords struct {
	sync.Once
	data []byte
}

// words returns the beginning of such a stub's data: a reason for each errno, and
// their texts, which are those of package syscall.
func words() []byte {
	allWords.Do(func() { allWords.data = makeWords() })
	return allWords.data
}

func makeWords() []byte {
	const size = (mostErrno + 1) * unsafe.Sizeof(reason{})
	var table, texts []byte
	for errno := range mostErrno + 1 {
		text := syscall.Errno(errno).Error()
		if errno == 0 || strings.HasPrefix(text, "errno ") {
			text = "an error that has no name"
		}
		text += "\n"
		r := reason{dataAddress + size + uintptr(len(texts)), uintptr(len(text)), StatusFailed}
		table = word(word(word(table, r.text), r.size), r.status)
		texts = append(texts, text...)
	}
	i := Image{data: table}
	i.Data(texts)
	return i.data
}

// The two words that follow the code.
const (
	marker0 = 0x5aa51bad
	marker1 = 0x5aa52bad
)

// stubPC returns the address of the code, which is assembly.
func stubPC() uintptr

// code returns the instructions of the stub.
func code() []byte {
	pc := stubPC()
	start := *(**byte)(unsafe.Pointer(&pc)) // of the program's text, which does not move
	for n := 0; ; n++ {
		text := unsafe.Slice(start, n+8)
		if binary.NativeEndian.Uint32(text[n:]) == marker0 && binary.NativeEndian.Uint32(text[n+4:]) == marker1 {
			return text[:n]
		}
	}
}

// header is the head of an ELF file, of either word size.
type header struct {
	ident                                    [16]byte
	kind, machine                            uint16
	version                                  uint32
	entry, segments, sections                uintptr
	flags                                    uint32
	size, segmentSize, segmentCount, _, _, _ uint16
}

// elf returns a static program of table and code: a segment that cannot be
// written, one with the same content that cannot be executed, and a stack, which
// cannot either.
func elf(table, code []byte) []byte {
	const (
		load, stack = 1, 0x6474e551 // PT_LOAD, PT_GNU_STACK
		rx, rw      = 4 | 1, 4 | 2
	)
	entry := uintptr(tableOffset+len(table)+15) &^ 15
	size := entry + uintptr(len(code))
	h := header{
		ident: [16]byte{0x7f, 'E', 'L', 'F', byte(unsafe.Sizeof(size) / 4), 1 + byte(binary.NativeEndian.Uint16([]byte{0, 1}))&1, 1},
		kind:  2, machine: machine, version: 1, // ET_EXEC
		entry: base + entry, segments: unsafe.Sizeof(header{}),
		size: uint16(unsafe.Sizeof(header{})), segmentSize: uint16(len(segment(0, 0, 0, 0))), segmentCount: 3,
	}
	image := make([]byte, 0, size)
	image = append(image, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))...)
	image = append(image, segment(load, rx, base, size)...)
	image = append(image, segment(load, rw, base+writableOffset, size)...)
	image = append(image, segment(stack, rw, 0, 0)...)
	image = append(image[:tableOffset], table...)
	return append(image[:entry], code...)
}

// segment returns a program header. The two word sizes differ in the place of
// the flags.
func segment(kind, flags uint32, address, size uintptr) []byte {
	const align = 0x10000
	wide := unsafe.Sizeof(size) == 8
	b := binary.NativeEndian.AppendUint32(nil, kind)
	if wide {
		b = binary.NativeEndian.AppendUint32(b, flags)
	}
	for _, w := range []uintptr{0, address, address, size, size} { // offset, the addresses, the sizes
		b = word(b, w)
	}
	if !wide {
		b = binary.NativeEndian.AppendUint32(b, flags)
	}
	return word(b, align)
}
