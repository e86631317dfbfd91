package program

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/landlock/internal/elftest"
)

func TestReadObject(t *testing.T) {
	got, err := ReadObject(bytes.NewReader(elftest.File{Needed: []string{"liba.so"}, Runpath: "/lib:$ORIGIN", Loader: "/loader"}.Bytes()))
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
		"for a linker": {elftest.File{Type: 1}.Bytes(), "neither a program nor a library"},
		"a core file":  {elftest.File{Type: 4}.Bytes(), "neither a program nor a library"},
		"a long name":  {elftest.File{Needed: []string{strings.Repeat("a", maxPath+1)}}.Bytes(), "more than 4096 bytes"},
		"a long path":  {elftest.File{Runpath: strings.Repeat("a:", maxText)}.Bytes(), "more than 65536 bytes"},
		"both":         {elftest.File{Needed: []string{strings.Repeat("a", maxPath)}, Rpath: strings.Repeat("a:", maxText/2)}.Bytes(), "more than 65536 bytes"},
	} {
		if got, err := ReadObject(bytes.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", name, got, err, test.want)
		}
	}
	// What is cut off or changed anywhere is an error, or something else, and no panic.
	whole := elftest.File{Needed: []string{"liba.so"}, Runpath: "/lib:$ORIGIN", Loader: "/loader"}.Bytes()
	for n := range whole {
		if got, err := ReadObject(bytes.NewReader(whole[:n])); err == nil && got.Runpath != "" && got.Runpath != "/lib:$ORIGIN" {
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
		want, err := elf.NewFile(file)
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
