package program

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/landlock/internal/elftest"
)

func TestScript(t *testing.T) {
	for text, want := range map[string]Start{
		"#!/bin/sh\nexit":                      {Script: true, Interpreter: "/bin/sh"},
		"#! \t/bin/sh -e  -x \nexit":           {Script: true, Interpreter: "/bin/sh", Argument: "-e  -x"},
		"#!/usr/bin/env\tpython3":              {Script: true, Interpreter: "/usr/bin/env", Argument: "python3"},
		"#!/bin/sh\r\n":                        {Script: true, Interpreter: "/bin/sh\r"},
		"#!/bin/sh\x00-e":                      {Script: true, Interpreter: "/bin/sh"},
		"#!" + strings.Repeat("a", 253) + "\n": {Script: true, Interpreter: strings.Repeat("a", 253)},
		"#!a" + strings.Repeat(" ", 300):       {Script: true, Interpreter: "a"},
		"#!a " + strings.Repeat("b", 300):      {Script: true, Interpreter: "a", Argument: strings.Repeat("b", 252)},
		"":                                     {}, "#": {}, "echo": {}, "MZ": {},
	} {
		if got, err := ReadFrom(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"#!", "#! \t \n/bin/sh", "#!\n", "#!" + strings.Repeat(" ", 300) + "/bin/sh", "#!" + strings.Repeat("a", 254) + "\n", "\x7fELF", "\x7fELF" + strings.Repeat("\x02", 60)} {
		if got, err := ReadFrom(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

// A file that is cut off anywhere is an error or has the same loader.
func TestLoader(t *testing.T) {
	const path = "/bin/sh"
	file, err := os.ReadFile(path)
	if err != nil {
		t.Skip("needs sh: ", err)
	}
	whole, err := Read(path)
	if err != nil || !whole.ELF {
		t.Skipf("needs sh that is ELF: %+v, %v", whole, err)
	}
	for n := range min(len(file), 1000) {
		if got, err := ReadFrom(bytes.NewReader(file[:n])); err == nil && got.ELF && got != whole {
			t.Errorf("%d bytes: %+v, want %+v", n, got, whole)
		}
	}
}

func TestChain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh: ", err)
	}
	plain := write("plain", "#!"+sh)
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	round := write("round", "#!"+filepath.Join(dir, "round"))
	other := write("other", "neither")
	core := write("core", string(elftest.File{Type: 4}.Bytes()))
	gone := filepath.Join(dir, "gone")
	one := write("one", "#!"+sh)
	for path, want := range map[string]struct {
		files int
		text  string
	}{
		sh:                            {1, ""},
		one:                           {2, ""},
		write("two", "#!"+one):        {3, ""},
		other:                         {0, "neither an ELF file nor a script"},
		write("to other", "#!"+other): {1, "neither an ELF file nor a script"},
		plain:                         {0, "permission denied"},
		write("to plain", "#!"+plain): {1, "permission denied"},
		core:                          {0, "neither a program nor a library"},
		write("to core", "#!"+core):   {1, "neither a program nor a library"},
		write("to gone", "#!"+gone):   {1, "interpreter"},
		write("to dir", "#!"+dir):     {1, "not a regular file"},
		write("no name", "#!\n"):      {0, "names no interpreter"},
		write("empty", ""):            {0, "empty"},
		gone:                          {0, "gone"},
		dir:                           {0, "not a regular file"},
		round:                         {6, "too many interpreters"},
	} {
		files, err := Chain(path)
		if len(files) != want.files || (err != nil) != (want.text != "") || err != nil && !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %d files, %v, want %d and %q", path, len(files), err, want.files, want.text)
		}
	}
}

// To read a file of the kernel's own may do something.
func TestOpenOfTheKernel(t *testing.T) {
	const path = "/sys/kernel/mm/transparent_hugepage/enabled" // which has a size
	if _, err := os.ReadFile(path); err != nil {
		t.Skip("needs sysfs: ", err)
	}
	if file, err := Open(path); !errors.Is(err, errKernels) || !NotThere(err) {
		t.Errorf("%v, %v", file, err)
	}
	if file, err := Open("/proc/self/exe"); err != nil { // which leads to a real one
		t.Errorf("%v, %v", file, err)
	}
}

func FuzzReadFrom(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	if text, err := os.ReadFile("/bin/sh"); err == nil {
		f.Add(text[:min(len(text), 4096)])
	}
	f.Fuzz(func(t *testing.T, text []byte) { ReadFrom(bytes.NewReader(text)) })
}

func FuzzReadObject(f *testing.F) {
	f.Add(elftest.File{Needed: []string{"libc.so.6"}, Runpath: "/lib:$ORIGIN", Loader: "/lib/ld.so"}.Bytes())
	f.Add(elftest.File{Type: 4}.Bytes())
	if text, err := os.ReadFile("/bin/sh"); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := ReadObject(bytes.NewReader(text))
		if err != nil {
			return
		}
		read := len(o.Soname) + len(o.Rpath) + len(o.Runpath)
		for _, name := range o.Needed {
			read += len(name)
		}
		if o.Type != Fixed && o.Type != Shared || read > maxText || len(o.Needed) > maxDynamic/8 {
			t.Errorf("type %d, %d bytes of text, %d libraries", o.Type, read, len(o.Needed))
		}
	})
}
