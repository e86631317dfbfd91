package libraries

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/elftest"
	"example.com/landlock/internal/program"
)

// realPaths returns the files that paths lead to, each once.
func realPaths(t *testing.T, paths []string) []string {
	t.Helper()
	set := make(map[string]bool)
	for _, path := range paths {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			t.Error(err)
		}
		set[real] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// names returns the names of files.
func names(files ...*os.File) (all []string) {
	for _, file := range files {
		all = append(all, file.Name())
	}
	return all
}

// ldd returns what the system's own tool says about a program.
func ldd(t *testing.T, program, libraryPath string) (paths []string, missing bool) {
	t.Helper()
	cmd := exec.Command("ldd", program)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if libraryPath != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+libraryPath)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("ldd %s: %v: %s", program, err, out)
	}
	for _, found := range regexp.MustCompile(`(?m)^\t(?:.* => )?(\S*/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		paths = append(paths, found[1])
	}
	return paths, strings.Contains(string(out), "not found")
}

// checkLdd compares what Of finds with what ldd says. What is for some
// processors only, ldd names where this one has it.
func checkLdd(t *testing.T, program, libraryPath string) {
	t.Helper()
	want, missing := ldd(t, program, libraryPath)
	needs, err := Of(program, libraryPath)
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	got := slices.DeleteFunc(realPaths(t, names(slices.Concat(needs.Run, needs.Libraries)...)), func(path string) bool {
		return strings.Contains(path, "/glibc-hwcaps/") && !slices.Contains(want, path)
	})
	if want := realPaths(t, want); !slices.Equal(got, want) || missing != (len(needs.Missing) > 0) {
		t.Errorf("%s: %q\nwant %q\nmissing: %v, ldd: %v", program, got, want, needs.Missing, missing)
	}
}

func TestSameAsLdd(t *testing.T) {
	needProgram(t, "ldd")
	for _, name := range []string{"sh", "cat", "ls", "bash", "git", "gcc", "perl", "curl", "gdb", "/usr/bin/python3", "systemctl"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			needProgram(t, name)
			path, _ := exec.LookPath(name)
			if start, err := program.Read(path); err != nil || !start.ELF || start.Interpreter == "" {
				t.Skipf("%s is no dynamically linked program: %v", path, err)
			}
			checkLdd(t, path, "")
		})
	}
}

// compile runs a C compiler in dir.
func compile(t *testing.T, dir, compiler, args string) {
	t.Helper()
	cmd := exec.Command(compiler, strings.Fields(args)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s %s: %v: %s", compiler, args, err, out)
	}
}

// Programs that need liba.so, which needs libb.so, in all the ways to say where.
func TestLddSearch(t *testing.T) {
	needProgram(t, "gcc", "ldd")
	const rpath, runpath = "-Wl,--disable-new-dtags,-rpath,", "-Wl,--enable-new-dtags,-rpath,"
	tests := map[string]struct {
		library, program string // how they are linked
		libraryPath      string
		missing          bool
	}{
		"RPATH, inherited":              {"", rpath + "$ORIGIN/lib", "", false},
		"RPATH, with braces":            {"", rpath + "${ORIGIN}/lib", "", false},
		"RPATH, second":                 {"", rpath + "/nowhere:$ORIGIN/lib", "", false},
		"RPATH, empty":                  {"", rpath + ":/nowhere", "", true},
		"RPATH, before LD_LIBRARY_PATH": {"", rpath + "$ORIGIN/lib", "$ORIGIN/other", false},
		"RPATH, hidden by a RUNPATH":    {runpath + "/nowhere", rpath + "$ORIGIN/lib", "", true},
		"RUNPATH":                       {runpath + "$ORIGIN", runpath + "$ORIGIN/lib", "", false},
		"RUNPATH, not inherited":        {"", runpath + "$ORIGIN/lib", "", true},
		"LD_LIBRARY_PATH":               {"", "", "lib", false},
		"LD_LIBRARY_PATH, list":         {"", "", "/nowhere;$ORIGIN/lib:other", false},
		"LD_LIBRARY_PATH, before":       {"", runpath + "$ORIGIN/lib", "other", false},
		"LD_LIBRARY_PATH, empty":        {"", runpath + "$ORIGIN/lib", ":", true},
		"nowhere":                       {"", "", "", true},
	}
	newDir := t.TempDir                  // that stays for all of them
	libraries := make(map[string]string) // by how they are linked: where they are
	long := os.Getenv("LANDLOCK_LONG_TESTS") != ""
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if !long && strings.Contains(name, ",") {
				t.Skip("builds binaries, which takes long: set LANDLOCK_LONG_TESTS")
			}
			if libraries[test.library] == "" {
				libraries[test.library] = newDir()
				makeLibraries(t, libraries[test.library], test.library)
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(libraries[test.library])); err != nil {
				t.Fatal(err)
			}
			linkProgram(t, dir, test.program)
			t.Chdir(dir)
			checkLdd(t, "./program", test.libraryPath)
			checkRuns(t, dir, "./program", test.libraryPath, test.missing)
		})
	}
}

// makeProgram makes a program, whose exit status is 6, and its libraries.
func makeProgram(t *testing.T, dir, library, program string) {
	t.Helper()
	makeLibraries(t, dir, library)
	linkProgram(t, dir, program)
}

// makeLibraries makes liba.so and libb.so in the directory lib and again in other.
func makeLibraries(t *testing.T, dir, flags string) {
	t.Helper()
	write(t, filepath.Join(dir, "b.c"), "int b(void) { return 5; }")
	write(t, filepath.Join(dir, "a.c"), "int b(void); int a(void) { return b() + 1; }")
	lib := filepath.Join(dir, "lib")
	if err := os.Mkdir(lib, 0o755); err != nil {
		t.Fatal(err)
	}
	compile(t, dir, "gcc", "-shared -fPIC -o lib/libb.so b.c")
	compile(t, dir, "gcc", "-shared -fPIC -Wl,--no-as-needed -o lib/liba.so a.c -lb -Llib "+flags)
	if err := os.CopyFS(filepath.Join(dir, "other"), os.DirFS(lib)); err != nil {
		t.Fatal(err)
	}
}

func linkProgram(t *testing.T, dir, flags string) {
	t.Helper()
	write(t, filepath.Join(dir, "main.c"), "int a(void); int main(void) { return a(); }")
	compile(t, dir, "gcc", "-o program main.c -Llib -la -Wl,--allow-shlib-undefined "+flags)
}

// checkRuns checks that a program in dir runs with its own file and what Of finds,
// and no more.
func checkRuns(t *testing.T, dir, path, libraryPath string, missing bool) {
	t.Helper()
	t.Chdir(dir)
	needs, err := Of(path, libraryPath)
	if err != nil || missing != (len(needs.Missing) > 0) {
		t.Fatalf("%+v, %v, want some missing: %v", needs, err, missing)
	}
	if _, err := landlock.Probe(); err != nil {
		return
	}
	rules := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).
		AllowFile(landlock.FSReadFile|landlock.FSExecute, append(needs.Run, needs.Program)...).
		AllowFile(landlock.FSReadFile, slices.Concat(needs.Libraries, needs.Config)...)
	cmd := exec.Command(path)
	cmd.Env = []string{"LD_LIBRARY_PATH=" + libraryPath}
	want := 6
	if missing {
		want = 127 // it is the loader that gives up
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := rules.Run(cmd); cmd.ProcessState.ExitCode() != want {
		t.Errorf("%s: %v, %q, want status %d", path, err, stderr.String(), want)
	}
}

// A library may be needed by a path, also one with $ORIGIN.
func TestLddPath(t *testing.T) {
	needProgram(t, "gcc", "ldd")
	dir := t.TempDir()
	makeProgram(t, dir, "-Wl,-rpath,$ORIGIN -Wl,-soname,$ORIGIN/lib/liba.so", "")
	t.Chdir(dir)
	checkLdd(t, "./program", "")
	checkRuns(t, dir, "./program", "", false)
}

func TestLddOfMusl(t *testing.T) {
	needProgram(t, "musl-gcc")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.c"), "int b(void) { return 6; }")
	write(t, filepath.Join(dir, "main.c"), "int b(void); int main(void) { return b(); }")
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	compile(t, dir, "musl-gcc", "-shared -fPIC -o lib/libb.so b.c")
	compile(t, dir, "musl-gcc", "-o program main.c -Llib -lb -Wl,-rpath,$ORIGIN/lib")
	checkRuns(t, dir, "./program", "", false)
	compile(t, dir, "musl-gcc", "-o program main.c -Llib -lb")
	checkRuns(t, dir, "./program", "lib", false)
	checkRuns(t, dir, "./program", "", true)
}

func TestLddOfStatic(t *testing.T) {
	needProgram(t, "gcc")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.c"), "int main(void) { return 6; }")
	compile(t, dir, "gcc", "-static -o program main.c")
	checkRuns(t, dir, "./program", "", false)
	needs, err := Of(filepath.Join(dir, "program"), "")
	if err != nil || len(needs.Run)+len(needs.Libraries)+len(needs.Config)+len(needs.Missing) > 0 {
		t.Errorf("%+v, %v, want nothing", needs, err)
	}
}

// $ORIGIN is where a program is, not where a link to it is.
func TestLddOfLink(t *testing.T) {
	needProgram(t, "gcc", "ldd")
	dir := t.TempDir()
	makeProgram(t, dir, "", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib")
	if err := os.Symlink("../program", filepath.Join(dir, "other", "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	checkRuns(t, dir, "other/link", "", false)
}

// A library that is loaded by one name is not looked for by its SONAME.
func TestLddBySoname(t *testing.T) {
	needProgram(t, "gcc", "ldd")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.c"), "int b(void) { return 5; }")
	compile(t, dir, "gcc", "-shared -fPIC -o libq.so b.c")
	makeProgram(t, dir, "", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib -Wl,--no-as-needed libq.so")
	compile(t, dir, "gcc", "-shared -fPIC -Wl,-soname,libb.so -o lib/libq.so b.c")
	if err := os.Remove(filepath.Join(dir, "lib", "libb.so")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	checkLdd(t, "./program", "")
	checkRuns(t, dir, "./program", "", false)
}

// A loader of musl reads a file with directories beside it. Where that is not a place
// of the system's it says what the program wants, and is neither believed nor allowed.
func TestLddOfMuslConfig(t *testing.T) {
	needProgram(t, "musl-gcc")
	loaders, _ := filepath.Glob("/lib/ld-musl-*.so.1")
	if len(loaders) != 1 {
		t.Skipf("needs the loader of musl: %q", loaders)
	}
	content, err := os.ReadFile(loaders[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	loader := write(t, filepath.Join(dir, "lib", filepath.Base(loaders[0])), string(content))
	write(t, filepath.Join(dir, "b.c"), "int b(void) { return 6; }")
	write(t, filepath.Join(dir, "main.c"), "int b(void); int main(void) { return b(); }")
	compile(t, dir, "musl-gcc", "-shared -fPIC -o lib/libb.so b.c")
	compile(t, dir, "musl-gcc", "-o program main.c -Llib -lb -Wl,-dynamic-linker,"+loader)
	checkRuns(t, dir, "./program", "", true)
	checkRuns(t, dir, "./program", "lib", false)
	config := strings.TrimSuffix(filepath.Base(loader), ".so.1") + ".path"
	write(t, filepath.Join(dir, "etc", config), "/nowhere\n"+filepath.Join(dir, "lib")+"\n")
	checkRuns(t, dir, "./program", "", true) // nor may the loader read it
	needs, err := Of("./program", "")
	if err != nil || len(needs.Config) > 0 {
		t.Errorf("%q, %v, want no file that tells the loader where to look", names(needs.Config...), err)
	}
}

// Libraries for newer processors are all allowed, up to the first that is for
// any, and what is for other machines is passed over.
func TestFind(t *testing.T) {
	needProgram(t, "gcc")
	dir := t.TempDir()
	makeProgram(t, dir, "", "-Wl,-rpath,$ORIGIN/lib")
	content, err := os.ReadFile(filepath.Join(dir, "lib", "libb.so"))
	if err != nil {
		t.Fatal(err)
	}
	const one, two, three = "/one/glibc-hwcaps/x86-64-v2/libb.so", "/two/glibc-hwcaps/x86-64-v3/libb.so", "/two/libb.so"
	for _, name := range []string{one, two, three, "/three/libb.so", "/cache/libb.so"} {
		write(t, filepath.Join(dir, name), string(content))
	}
	write(t, filepath.Join(dir, "two", "glibc-hwcaps", "broken", "libb.so"), "no library")
	foreign := slices.Clone(content)
	foreign[18] ^= 0x40 // e_machine
	write(t, filepath.Join(dir, "foreign", "libb.so"), string(foreign))
	file, err := os.Open(filepath.Join(dir, "program"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	main, err := (&Needs{work: maxWork}).readObject(file, file.Name())
	if err != nil {
		t.Fatal(err)
	}
	main.Rpath, main.Runpath = "", ""
	cached := map[string][]candidate{"libb.so": {{path: dir + "/gone/libb.so"}, {path: dir + one, byCPU: true}, {path: dir + "/cache/libb.so"}}}
	tests := map[string]struct {
		libraryPath string
		cache       map[string][]candidate
		system      []string
		want        []string
	}{
		"LD_LIBRARY_PATH": {"$ORIGIN/foreign:$ORIGIN/one:$ORIGIN/two:$ORIGIN/three", cached, nil, []string{one, two, three}},
		"cache":           {"", cached, []string{dir + "/three"}, []string{one, "/cache/libb.so"}},
		"system":          {"/nowhere", nil, []string{"/nowhere", dir + "/foreign", dir + "/three", dir + "/two"}, []string{"/three/libb.so"}},
		"nowhere":         {"", nil, []string{dir + "/foreign"}, nil},
	}
	for name, test := range tests {
		l := &loader{Needs: &Needs{work: maxWork}, main: main, libraryPath: test.libraryPath, cache: test.cache, system: test.system,
			libs: []string{"lib"}, levels: []string{"broken", "x86-64-v3", "x86-64-v2"}, directories: map[string]directory{}}
		search, err := l.searchFor(main)
		if err != nil {
			t.Fatal(err)
		}
		found, err := l.find(l.candidates("libb.so", nil, search))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, library := range found {
			got = append(got, strings.TrimPrefix(library.path, dir))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What a script needs: its interpreter, that one's, and what env starts.
func TestScripts(t *testing.T) {
	needProgram(t, "sh", "env")
	sh, _ := exec.LookPath("sh")
	env, _ := exec.LookPath("env")
	dir := t.TempDir()
	script := func(name, line string) string { return write(t, filepath.Join(dir, name), "#!"+line+"\nexit 6\n") }
	first := script("first", " "+sh+" -e")
	type needing struct {
		path string
		want []string
	}
	tests := []needing{
		{first, []string{sh}},
		{script("second", first), []string{first, sh}},
		{script("by env", env+" sh"), []string{env, sh}},
		{script("by env, a script", env+" "+first), []string{env, first, sh}},
	}
	if exec.Command(env, "-S", "true").Run() == nil { // that of busybox splits nothing
		tests = append(tests, needing{script("by env, split", env+" -iS -u C A=b\tsh -e"), []string{env, sh}})
	}
	for _, test := range tests {
		needs, err := Of(test.path, "")
		if err != nil || len(needs.Missing) > 0 {
			t.Errorf("%s: %+v, %v", test.path, needs, err)
			continue
		}
		var got []string
		for _, path := range names(needs.Run...) {
			if filepath.Dir(path) == dir || path == env || path == sh {
				got = append(got, path)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.path, got, test.want)
		}
		checkRuns(t, dir, test.path, "", false)
	}
	missing := script("missing", env+" there-is-no-such-program")
	if needs, err := Of(missing, ""); err != nil || len(needs.Missing) != 1 || !strings.Contains(needs.Missing[0].Error(), "there-is-no-such-program") {
		t.Errorf("%+v, %v", needs, err)
	}
	round := filepath.Join(dir, "round")
	script("round", env+" "+round)
	if needs, err := Of(round, ""); err != nil || len(needs.Missing) > 0 {
		t.Errorf("a script that has env start itself: %+v, %v", needs, err)
	}
}

// A loader is a program for the same machine that needs no loader itself.
func TestLoaders(t *testing.T) {
	dir := t.TempDir()
	place := func(name string, file elftest.File) string {
		return write(t, filepath.Join(dir, name), string(file.Bytes()))
	}
	good := place("good", elftest.File{})
	plain := place("plain", elftest.File{})
	foreign := elftest.File{}.Bytes()
	foreign[18] ^= 0x40 // e_machine
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	for loader, want := range map[string]string{
		good:                                  "",
		place("fixed", elftest.File{Type: 2}): "",
		plain:                                 "permission denied",
		place("dynamic", elftest.File{Loader: good}):             "needs one itself",
		write(t, filepath.Join(dir, "script"), "#!"+good+"\n"):   "not an ELF file",
		write(t, filepath.Join(dir, "foreign"), string(foreign)): "another machine",
		dir:                        "not a regular file",
		filepath.Join(dir, "none"): "no such file",
		"/proc/self/mem":           "/proc/self/mem",
		"/proc/kmsg":               "/proc/kmsg",
		"/proc/kcore":              "/proc/kcore",
		"/dev/zero":                "not a regular file",
	} {
		needs, err := Of(place("program", elftest.File{Loader: loader}), "")
		if err != nil {
			t.Errorf("%s: %v", loader, err)
			continue
		}
		if missing := fmt.Sprint(needs.Missing); (want == "") != (missing == "[]") || !strings.Contains(missing, want) || (want == "") != slices.Contains(names(needs.Run...), loader) {
			t.Errorf("%s: %q, %s, want %q", loader, names(needs.Run...), missing, want)
		}
	}
}

// What is not found out for want of descriptors is not missing.
func TestNoDescriptors(t *testing.T) {
	dir := t.TempDir()
	loader := write(t, filepath.Join(dir, "loader"), string(elftest.File{}.Bytes()))
	file := elftest.File{Loader: loader, Rpath: dir}
	for i := range 50 {
		file.Needed = append(file.Needed, fmt.Sprint(i))
		write(t, filepath.Join(dir, fmt.Sprint(i)), string(elftest.File{}.Bytes()))
	}
	path := write(t, filepath.Join(dir, "program"), string(file.Bytes()))
	fewDescriptors(t, dir)
	needs, err := Of(path, "")
	if !errors.Is(err, unix.EMFILE) || len(needs.Missing) > 0 {
		t.Errorf("%v, missing %v, want EMFILE", err, needs.Missing)
	}
}

func needProgram(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs the program %s: %v", name, err)
		}
	}
}

// What is read of a file that is no library counts, and what a directory is once
// $ORIGIN is replaced.
func TestWorkIsBounded(t *testing.T) {
	dir := t.TempDir()
	loader := write(t, filepath.Join(dir, "loader"), string(elftest.File{}.Bytes()))
	var dirs []string
	for i := range 1000 { // a thousand names of one directory
		dirs = append(dirs, "$ORIGIN/d"+strings.NewReplacer("0", "/.", "1", "//").Replace(fmt.Sprintf("%010b", i)))
	}
	everywhere := strings.Join(dirs, ":")
	long := strings.Repeat("a", 4096)
	write(t, filepath.Join(dir, "d", "bad"), string(elftest.File{Needed: slices.Repeat([]string{long}, 17)}.Bytes()))
	bad := write(t, filepath.Join(dir, "program"), string(elftest.File{Loader: loader, Runpath: everywhere, Needed: []string{"bad"}}.Bytes()))
	if needs, err := Of(bad, ""); !errors.Is(err, errTooMuch) {
		t.Errorf("1000 files that are read and are none: %v, missing %v", err, needs.Missing)
	}
	deep := dir
	for len(deep) < 3000 {
		deep += "/" + strings.Repeat("x", 200)
	}
	library := elftest.File{Runpath: everywhere, Needed: []string{"none"}}
	program := elftest.File{Loader: loader, Runpath: "$ORIGIN"}
	for i := range 10 {
		program.Needed = append(program.Needed, fmt.Sprint(i))
		write(t, filepath.Join(deep, fmt.Sprint(i)), string(library.Bytes()))
	}
	path := write(t, filepath.Join(deep, "program"), string(program.Bytes()))
	if needs, err := Of(path, ""); !errors.Is(err, errTooMuch) {
		t.Errorf("1000 directories of 3000 bytes for ten libraries each: %v, missing %v", err, needs.Missing)
	}
	if needs, err := Of(write(t, filepath.Join(dir, "good"), string(elftest.File{Loader: loader, Runpath: "$ORIGIN", Needed: []string{"loader"}}.Bytes())), ""); err != nil || len(needs.Missing) > 0 {
		t.Errorf("%v, missing %v", err, needs.Missing)
	}
}

// A script that another file names may be read by everybody.
func TestScriptsOfOthers(t *testing.T) {
	needProgram(t, "sh", "env")
	sh, _ := exec.LookPath("sh")
	env, _ := exec.LookPath("env")
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "deploy.sh"), "#!"+sh+"\ntoken=secret\n")
	for _, line := range []string{secret, env + " " + secret} {
		path := write(t, filepath.Join(dir, "program"), "#!"+line+"\n")
		for _, mode := range []os.FileMode{0o755, 0o700, 0o750} {
			if err := os.Chmod(secret, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := Of(path, ""); (err == nil) != (mode == 0o755) || err != nil && !(errors.Is(err, fs.ErrPermission) && strings.Contains(err.Error(), secret)) {
				t.Errorf("%s of mode %v: %v", line, mode, err)
			}
			if _, err := Of(secret, ""); err != nil {
				t.Errorf("itself, of mode %v: %v", mode, err)
			}
		}
	}
}

// The descriptors of what nobody uses any more are there for what comes next, and what
// is not used at all is closed at once.
func TestDescriptorsComeBack(t *testing.T) {
	needProgram(t, "sh")
	sh, _ := exec.LookPath("sh")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	dir := t.TempDir()
	core := write(t, filepath.Join(dir, "core"), string(elftest.File{Type: 4}.Bytes()))
	bad := write(t, filepath.Join(dir, "bad"), "#!"+core+"\n")
	fewDescriptors(t, dir)
	for range 100 {
		if _, err := Of(bad, ""); err == nil || errors.Is(err, unix.EMFILE) {
			t.Fatalf("a core file as an interpreter: %v", err)
		}
	}
	for i := range 100 {
		if _, err := Of(write(t, filepath.Join(dir, fmt.Sprint(i)), "#!"+sh+"\n"), ""); err != nil {
			t.Fatal(i, err)
		}
	}
}

// What cannot be looked at is not taken for missing.
func TestLibraryThatCannotBeRead(t *testing.T) {
	n := &Needs{work: maxWork}
	file, err := os.OpenFile(write(t, filepath.Join(t.TempDir(), "file"), "text"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read := &metered{File: file, n: n}
	if _, err := program.ReadLibrary(read, program.Machine{}); !errors.Is(read.err, unix.EBADF) {
		t.Errorf("%v, kept %v, want EBADF", err, read.err)
	}
	for err, want := range map[error]bool{unix.ENOENT: true, unix.ENOTDIR: true, unix.EACCES: true, unix.ELOOP: true, unix.ENAMETOOLONG: true,
		unix.EIO: false, unix.EAGAIN: false, unix.ETIMEDOUT: false, unix.EMFILE: false, unix.ESTALE: false} {
		if got := program.NotThere(&fs.PathError{Op: "open", Path: "/x", Err: err}); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// fewDescriptors has this process have some thirty more, until the test ends.
func fewDescriptors(t *testing.T, dir string) {
	t.Helper()
	var limit unix.Rlimit
	highest, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(highest)
		err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	less := limit
	less.Cur = uint64(highest) + 30
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &less)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
}
