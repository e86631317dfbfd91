package program

import (
	"bytes"
	stdelf "debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// elf makes an ELF file of a type, for x86-64: it needs the first of texts, has the
// second as its RUNPATH, and the third as its loader.
func elf(kind uint16, texts ...string) []byte {
	order := binary.LittleEndian
	const headers, dynamic, names = 64, 64 + 3*56, 64 + 3*56 + 5*16
	all := []byte{0}
	at := []uint64{0, 0, 0}
	for i, text := range texts {
		at[i] = uint64(len(all))
		all = append(append(all, text...), 0)
	}
	data := make([]byte, names)
	copy(data, "\x7fELF\x02\x01\x01")
	order.PutUint16(data[16:], kind)
	order.PutUint16(data[18:], 62)
	order.PutUint64(data[32:], headers)
	order.PutUint16(data[54:], 56)
	order.PutUint16(data[56:], 3)
	size := uint64(len(data) + len(all))
	for i, s := range []segment{{segmentLoad, 0, 0, size}, {segmentDynamic, dynamic, dynamic, 5 * 16}, {segmentInterp, names + at[2], 0, 0}} {
		if i == 2 && len(texts) < 3 {
			break
		}
		if i == 2 {
			s.size = uint64(len(texts[2]) + 1)
		}
		header := data[headers+i*56:]
		order.PutUint32(header, s.kind)
		order.PutUint64(header[8:], s.offset)
		order.PutUint64(header[16:], s.address)
		order.PutUint64(header[32:], s.size)
	}
	for i, entry := range [][2]uint64{{5, names}, {10, uint64(len(all))}, {1, at[0]}, {29, at[1]}} {
		if len(texts) < 2 && i > 1 {
			break
		}
		order.PutUint64(data[dynamic+i*16:], entry[0])
		order.PutUint64(data[dynamic+i*16+8:], entry[1])
	}
	return append(data, all...)
}

func TestReadObject(t *testing.T) {
	got, err := ReadObject(bytes.NewReader(elf(3, "liba.so", "/lib:$ORIGIN", "/loader")))
	if err != nil || got.Machine != (Machine{2, 1, 62}) || got.Type != Shared || !got.Dynamic || got.Interpreter != "/loader" ||
		!slices.Equal(got.Needed, []string{"liba.so"}) || got.Runpath != "/lib:$ORIGIN" || got.Soname+got.Rpath != "" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"empty":        {nil, "not an ELF file"},
		"a script":     {[]byte("#!/bin/sh\n" + strings.Repeat(" ", 100)), "not an ELF file"},
		"a head alone": {[]byte("\x7fELF"), "broken"},
		"for a linker": {elf(1), "neither a program nor a library"},
		"a core file":  {elf(4), "neither a program nor a library"},
		"a long name":  {elf(3, strings.Repeat("a", maxPath+1), "/lib"), "more than 4096 bytes"},
		"a long path":  {elf(3, "liba.so", strings.Repeat("a:", maxText)), "more than 65536 bytes"},
		"both":         {elf(3, strings.Repeat("a", maxPath), strings.Repeat("a:", maxText/2)), "more than 65536 bytes"},
	} {
		if got, err := ReadObject(bytes.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", name, got, err, test.want)
		}
	}
	// What is cut off or changed anywhere is an error, or something else, and no panic.
	whole := elf(3, "liba.so", "/lib:$ORIGIN", "/loader")
	for n := range whole {
		if got, err := ReadObject(bytes.NewReader(whole[:n])); err == nil && n < len(whole)-len("/loader\x00") && got.Runpath != "" {
			t.Errorf("%d bytes: %+v", n, got)
		}
		for _, value := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			changed := slices.Clone(whole)
			changed[n] = value
			ReadObject(bytes.NewReader(changed))
		}
	}
	// One table of a size that nobody has the memory for.
	huge := slices.Clone(whole)
	binary.LittleEndian.PutUint64(huge[64+56+32:], 1<<40)
	if _, err := ReadObject(bytes.NewReader(huge)); !errors.Is(err, errTooMuch) {
		t.Errorf("a dynamic segment of 1 TiB: %v", err)
	}
}

// It reads what debug/elf reads.
func TestReadObjectOfTheSystem(t *testing.T) {
	for _, name := range []string{"sh", "git", "perl", "gcc", "curl"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		want, err := stdelf.NewFile(file)
		if err != nil {
			continue // a script
		}
		got, err := ReadObject(file)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if needed, err := want.ImportedLibraries(); err != nil || !slices.Equal(got.Needed, needed) {
			t.Errorf("%s: %q, want %q, %v", path, got.Needed, needed, err)
		}
		if got.Type != uint16(want.Type) || got.Number != uint16(want.Machine) || got.Class != byte(want.Class) || got.Order != byte(want.Data) {
			t.Errorf("%s: %+v, want %+v", path, got.Machine, want.FileHeader)
		}
	}
}
