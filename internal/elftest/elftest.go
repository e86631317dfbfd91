// Package elftest makes ELF files that no linker would, for tests of what reads them.
package elftest

import "encoding/binary"

// File is an ELF file for x86-64, without any code. Its type is ET_DYN unless it says
// another.
type File struct {
	Type    uint16
	Loader  string
	Needed  []string
	Soname  string
	Rpath   string
	Runpath string
}

// Where in the file all is.
const (
	headers = 64
	dynamic = headers + 3*56
)

// Bytes returns the file.
func (f File) Bytes() []byte {
	order := binary.LittleEndian
	texts := []byte{0}
	var entries []byte
	entry := func(tag, value uint64) { entries = order.AppendUint64(order.AppendUint64(entries, tag), value) }
	text := func(tag uint64, text string) {
		if text != "" {
			entry(tag, uint64(len(texts)))
			texts = append(append(texts, text...), 0)
		}
	}
	for _, name := range f.Needed {
		text(1, name)
	}
	text(14, f.Soname)
	text(15, f.Rpath)
	text(29, f.Runpath)
	loader := uint64(len(texts))
	texts = append(append(texts, f.Loader...), 0)
	names := uint64(dynamic + len(entries) + 3*16)
	entry(5, names)
	entry(10, uint64(len(texts)))
	entry(0, 0)
	data := make([]byte, dynamic)
	copy(data, "\x7fELF\x02\x01\x01")
	order.PutUint16(data[16:], 3)
	if f.Type != 0 {
		order.PutUint16(data[16:], f.Type)
	}
	order.PutUint16(data[18:], 62)
	order.PutUint64(data[32:], headers)
	order.PutUint16(data[54:], 56)
	order.PutUint16(data[56:], 3)
	segment := func(i int, kind uint32, offset, size uint64) {
		header := data[headers+i*56:]
		order.PutUint32(header, kind)
		order.PutUint64(header[8:], offset)
		order.PutUint64(header[16:], offset)
		order.PutUint64(header[32:], size)
	}
	segment(0, 1, 0, names+uint64(len(texts)))
	segment(1, 2, dynamic, uint64(len(entries)))
	if f.Loader != "" {
		segment(2, 3, names+loader, uint64(len(f.Loader))+1)
	}
	return append(append(data, entries...), texts...)
}
