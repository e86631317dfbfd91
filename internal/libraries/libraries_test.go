package libraries

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/landlock/internal/program"
)

func TestReadConf(t *testing.T) {
	dir := t.TempDir()
	conf := write(t, filepath.Join(dir, "ld.so.conf"), `# a comment
/first # another
include conf.d/*.conf
hwcap 1 nosegneg
	/last
include `+filepath.Join(dir, "ld.so.conf")+`
`)
	write(t, filepath.Join(dir, "conf.d", "b.conf"), "/b\n")
	write(t, filepath.Join(dir, "conf.d", "a.conf"), "/a\n/a2")
	write(t, filepath.Join(dir, "conf.d", "other"), "/other\n")
	got := readConf(conf, 0)
	if want := []string{"/first", "/a", "/a2", "/b", "/last"}; len(got) < 5 || !slices.Equal(got[:5], want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := readConf(filepath.Join(dir, "missing"), 0); got != nil {
		t.Errorf("missing file: %q", got)
	}
}

func TestExpand(t *testing.T) {
	l := &loader{Needs: &Needs{work: maxWork}, libs: []string{"lib/some-linux-gnu", "lib64"}}
	of := &object{path: "/opt/bin/program", Object: &program.Object{Machine: program.Machine{Number: uint16(elf.EM_X86_64)}}}
	for text, want := range map[string][]string{
		"/lib":                 {"/lib"},
		"":                     {""},
		"$ORIGIN/../lib":       {"/opt/bin/../lib"},
		"${ORIGIN}":            {"/opt/bin"},
		"/usr/$LIB/x":          {"/usr/lib/some-linux-gnu/x", "/usr/lib64/x"},
		"/a/${PLATFORM}/$LIB/": {"/a/x86_64/lib/some-linux-gnu/", "/a/x86_64/lib64/"},
		"/$ORIGINAL/$OTHER":    {"/$ORIGINAL/$OTHER"},
	} {
		if got, err := l.expand(text, of); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for machine, want := range map[elf.Machine]string{elf.EM_386: "i686", elf.EM_AARCH64: "aarch64", elf.EM_RISCV: "riscv"} {
		if got := platforms[uint16(machine)]; got != want {
			t.Errorf("%v: %q, want %q", machine, got, want)
		}
	}
}

// The order in which glibc and musl look, for a library that another one needs.
func TestDirectories(t *testing.T) {
	says := func(path string, parent *object, rpath, runpath string) *object {
		return &object{path: path, parent: parent, Object: &program.Object{Rpath: rpath, Runpath: runpath}}
	}
	main := says("/opt/program", nil, "/main:", "")
	plain := says("/opt/liba.so", main, "/a", "")
	modern := says("/opt/libb.so", main, "/hidden", "/b")
	below := says("/opt/libc.so", modern, "/c", "")
	for _, test := range []struct {
		from        *object
		glibc, musl []string
	}{
		{main, []string{"/main", "", "/env"}, []string{"/env", "/main"}},
		{plain, []string{"/a", "/main", "", "/env"}, []string{"/env", "/a", "/main"}},
		{modern, []string{"/env", "/b"}, []string{"/env", "/b", "/main"}},
		{below, []string{"/c", "/main", "", "/env"}, []string{"/env", "/c", "/b", "/main"}},
	} {
		for musl, want := range map[bool][]string{false: test.glibc, true: test.musl} {
			l := &loader{Needs: &Needs{work: maxWork}, musl: musl, main: main, libraryPath: "/env", libs: []string{"lib"}}
			if got, err := l.searchFor(test.from); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, musl %v: %q, %v, want %q", test.from.path, musl, got, err, want)
			}
		}
	}
}

func TestBuiltIn(t *testing.T) {
	for name, want := range map[string]bool{
		"libc.so": true, "libc.musl-x86_64.so.1": true, "libpthread.so.0": true, "libm.so": true,
		"libcurl.so.4": false, "libz.so.1": false, "c.so": false, "libc": false,
	} {
		if got := (&loader{musl: true}).builtIn(name); got != want {
			t.Errorf("musl, %s: %v", name, got)
		}
		if (&loader{}).builtIn(name) {
			t.Errorf("glibc, %s: true", name)
		}
	}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
