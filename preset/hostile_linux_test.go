package preset

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/elftest"
	"example.com/landlock/internal/testenv"
	"example.com/landlock/landlocktest"
)

// Whoever writes a program file has it allowed what it is, and nothing else: not by
// what the file says, nor by what is put in the place of what it names.

// hostile is a directory with programs that somebody else has written, and files that
// those are to be kept from.
type hostile struct {
	dir, secret, script string
}

func newHostile(t *testing.T) hostile {
	t.Helper()
	h := hostile{dir: t.TempDir()}
	h.secret = h.write(t, "secret/text", "secret", 0o755)
	h.script = h.write(t, "secret/script", "#!/bin/sh\n# secret", 0o644)
	return h
}

func (h hostile) write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func (h hostile) elf(t *testing.T, name string, file elftest.File) string {
	t.Helper()
	return h.write(t, name, string(file.Bytes()), 0o755)
}

// file is a program, and one that it leads to.
type leads struct{ program, to string }

// programs makes a program for each way to lead to another file, which is there.
func (h hostile) programs(t *testing.T) map[string]leads {
	loader := h.elf(t, "loader", elftest.File{})
	all := map[string]leads{}
	for name, file := range map[string]elftest.File{
		"library, by RUNPATH": {Runpath: h.dir + "/1"},
		"library, by RPATH":   {Rpath: "$ORIGIN/2"},
		"library, by a path":  {Needed: []string{h.dir + "/3/lib.so"}},
		"library, by ORIGIN":  {Needed: []string{"$ORIGIN/secret/../4/lib.so"}},
	} {
		file.Loader = loader
		if file.Needed == nil {
			file.Needed = []string{"lib.so"}
		}
		dir := map[string]string{"library, by RUNPATH": "1", "library, by RPATH": "2", "library, by a path": "3", "library, by ORIGIN": "4"}[name]
		all[name] = leads{h.elf(t, "program "+dir, file), h.elf(t, dir+"/lib.so", elftest.File{})}
	}
	own := h.elf(t, "5", elftest.File{})
	all["loader"] = leads{h.elf(t, "program 5", elftest.File{Loader: own}), own}
	interpreter := h.elf(t, "6", elftest.File{})
	all["interpreter"] = leads{h.write(t, "program 6", "#!"+interpreter+"\n", 0o755), interpreter}
	second := h.elf(t, "7", elftest.File{})
	all["second interpreter"] = leads{h.write(t, "program 7", "#!"+h.write(t, "first", "#!"+second+"\n", 0o755)+"\n", 0o755), second}
	if env, err := exec.LookPath("env"); err == nil {
		named := h.elf(t, "8", elftest.File{})
		all["what env starts"] = leads{h.write(t, "program 8", "#!"+env+" "+named+"\n", 0o755), named}
	}
	itself := h.elf(t, "9", elftest.File{})
	all["the program"] = leads{itself, itself}
	return all
}

// others makes what may be put in the place of a file that is looked for.
func (h hostile) others(t *testing.T) map[string]string {
	fifo, socket := filepath.Join(h.dir, "fifo"), filepath.Join(h.dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	if err := unix.Mkfifo(fifo, 0o777); err != nil {
		t.Fatal(err)
	}
	sparse := h.elf(t, "secret/sparse", elftest.File{Type: 4})
	if err := os.Truncate(sparse, 1<<40); err != nil {
		t.Log(err)
	}
	return map[string]string{
		"the root directory": "/",
		"a directory":        filepath.Dir(h.secret),
		"text":               h.secret,
		"a plain script":     h.script,
		"a core file":        h.elf(t, "secret/core", elftest.File{Type: 4}),
		"a large core file":  sparse,
		"for a linker":       h.elf(t, "secret/object.o", elftest.File{Type: 1}),
		"a FIFO":             fifo,
		"a socket":           socket,
		"a device":           "/dev/zero",
		"nothing":            filepath.Join(h.dir, "missing"),
	}
}

// secrets are what nothing may make readable.
func (h hostile) secrets() []string {
	all := []string{"/etc/shadow", "/etc/passwd", "/dev/zero", filepath.Join(h.dir, "fifo")}
	for _, name := range []string{"text", "script", "core", "sparse", "object.o"} {
		all = append(all, filepath.Join(h.dir, "secret", name))
	}
	return all
}

func allowing(program string) *landlock.Ruleset {
	return landlock.New(landlock.V1).Use(Programs(program))
}

func TestProgramsLeadElsewhere(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	others := h.others(t)
	for name, leads := range h.programs(t) {
		if err := allowing(leads.program).Check(landlock.FSReadFile, leads.to); err != nil {
			t.Errorf("%s: %v, want it allowed", name, err)
		}
		for what, other := range others {
			if err := errors.Join(os.Remove(leads.to), os.Symlink(other, leads.to)); err != nil {
				t.Fatal(err)
			}
			r := allowing(leads.program)
			for _, secret := range h.secrets() {
				if r.Check(landlock.FSReadFile, secret) == nil {
					t.Errorf("%s is a link to %s: %s may be read", name, what, secret)
				}
			}
			if _, err := r.DryRun(); err == nil {
				t.Errorf("%s is a link to %s, and it is no mistake", name, what)
			}
		}
	}
}

// What the file beside the loader of musl says is not believed, nor may it be read, if
// the loader lies where others can put it.
func TestProgramsLoaderSettings(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	loader := h.elf(t, "lib/ld-musl-x.so.1", elftest.File{})
	program := h.elf(t, "program", elftest.File{Loader: loader})
	config := filepath.Join(h.dir, "etc/ld-musl-x.path")
	if err := os.Mkdir(filepath.Dir(config), 0o755); err != nil {
		t.Fatal(err)
	}
	cat, catErr := exec.LookPath("cat")
	for what, target := range map[string]string{"the root directory": "/", "text": h.secret, "a directory": filepath.Dir(h.secret)} {
		if err := os.Symlink(target, config); err != nil {
			t.Fatal(err)
		}
		r := allowing(program)
		if err := r.Check(landlock.FSReadFile, loader); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{h.secret, config, "/etc/shadow"} {
			if err := r.Check(landlock.FSReadFile, secret); err == nil {
				t.Errorf("beside the loader is a link to %s: %s may be read", what, secret)
			}
		}
		if catErr == nil {
			out, err := outputOf(r.Use(Programs(cat)), exec.Command(cat, h.secret))
			if err == nil || strings.HasPrefix(out, "secret") {
				t.Errorf("beside the loader is a link to %s: %q, %v", what, out, err)
			}
		}
		if err := os.Remove(config); err != nil {
			t.Fatal(err)
		}
	}
	// By a name that leads there from a directory of the system's.
	up := "/lib/" + strings.Repeat("../", 30) + h.dir + "/lib/ld-musl-x.so.1"
	program = h.elf(t, "program", elftest.File{Loader: up})
	h.write(t, "etc/ld-musl-x.path", "/\n", 0o644)
	if err := allowing(program).Check(landlock.FSReadFile, config); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%s as the loader: %v", up, err)
	}
}

// What was looked at is allowed, and not what is there afterwards.
func TestProgramsExchanged(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	rounds := 40
	if testenv.LongTests() {
		rounds = 3000
	}
	for name, leads := range h.programs(t) {
		for what, other := range map[string]string{"the root directory": "/", "text": h.secret} {
			made := 0
			h.exchanging(t, leads.to, other, func() {
				for i := 0; i < rounds || made == 0 && i < 1000*rounds; i++ {
					r := allowing(leads.program)
					if _, err := r.DryRun(); err == nil {
						made++
					}
					if r.Check(landlock.FSReadFile, h.secret) == nil {
						t.Errorf("%s exchanged for a link to %s: the secret may be read", name, what)
						return
					}
				}
			})
			if made == 0 {
				t.Errorf("%s exchanged for a link to %s: it was never found", name, what)
			}
		}
	}
}

func TestTempExchanged(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	noVariables(t)
	rounds := 300
	if testenv.LongTests() {
		rounds = 3000
	}
	temp := filepath.Join(h.dir, "temp")
	for what, other := range map[string]string{"the root directory": "/", "a directory": filepath.Dir(h.secret)} {
		if err := os.MkdirAll(temp, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", temp)
		r := landlock.New(landlock.V1).Use(Temp)
		if err := r.Check(landlock.FSWriteFile, filepath.Join(temp, "new")); err != nil {
			t.Error(err)
		}
		h.exchanging(t, temp, other, func() {
			for range rounds {
				if r.Check(landlock.FSWriteFile, h.secret) == nil || landlock.New(landlock.V1).Use(Temp).Clone().Check(landlock.FSReadFile, "/etc/passwd") == nil {
					t.Errorf("exchanged for a link to %s: others may be written or read", what)
					return
				}
			}
		})
	}
}

// exchanging does f while a file and a link to another one change places.
func (h hostile) exchanging(t *testing.T, file, other string, f func()) {
	t.Helper()
	link := filepath.Join(h.dir, "link")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
		t.Skip("needs a file system that exchanges files: ", err)
	}
	stop := make(chan struct{})
	var exchanger sync.WaitGroup
	exchanger.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	})
	f()
	close(stop)
	exchanger.Wait()
	info, err := os.Lstat(link)
	if err == nil && info.Mode().Type() != fs.ModeSymlink {
		err = unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
	}
	if err := errors.Join(err, os.Remove(link)); err != nil {
		t.Fatal(err)
	}
}

// What a program asks for is bounded.
func TestProgramsAskForTooMuch(t *testing.T) {
	h := newHostile(t)
	loader := h.elf(t, "loader", elftest.File{})
	many := func(n int, format string) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	for i := range 501 {
		h.elf(t, fmt.Sprint("many/", i), elftest.File{})
	}
	for i := range 1000 {
		h.elf(t, fmt.Sprint("chain/", i), elftest.File{Needed: []string{fmt.Sprint(i + 1)}, Rpath: h.dir + "/chain"})
	}
	env, err := exec.LookPath("env")
	if err != nil {
		t.Skip("needs the program env: ", err)
	}
	for i := range 20 {
		h.write(t, fmt.Sprint("by env ", i), fmt.Sprintf("#!%s -S \"%s/by env %d\"\n", env, h.dir, i+1), 0o755)
		h.write(t, fmt.Sprint("by-env-", i), fmt.Sprintf("#!%s %s/by-env-%d\n", env, h.dir, i+1), 0o755)
	}
	deep := h.dir + strings.Repeat("/directory", 200)
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file elftest.File
		want string
	}{
		"110 KB":      {elftest.File{Needed: many(5000, "lib%d.so"), Runpath: strings.Join(many(5000, "/d%d"), ":")}, "more than"},
		"60 KB":       {elftest.File{Needed: many(3000, "l%d"), Runpath: strings.Join(many(5000, "/d%d"), ":")}, "more than"},
		"directories": {elftest.File{Needed: many(3000, "l%d"), Runpath: strings.Repeat("/usr:", 8000)}, "more than"},
		"missing":     {elftest.File{Needed: many(500, "l%d")}, "more than 100 files are missing"},
		"files":       {elftest.File{Needed: many(501, "%d"), Rpath: h.dir + "/many"}, "500 files"},
		"a chain":     {elftest.File{Needed: []string{"0"}, Rpath: h.dir + "/chain"}, "more than"},
		"ORIGIN":      {elftest.File{Needed: []string{"lib.so"}, Runpath: strings.Repeat(strings.Repeat("$ORIGIN", 500)+":", 18)}, "not found"},
		"a long path": {elftest.File{Needed: []string{strings.Repeat("$ORIGIN", 500)}}, "not found"},
	} {
		test.file.Loader = loader
		program := h.elf(t, "program", test.file)
		if name == "ORIGIN" {
			program = filepath.Join(deep, "program")
			if err := os.WriteFile(program, test.file.Bytes(), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := mistakes(Programs(program))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %.300v, want %q", name, err, test.want)
		}
	}
	if err := mistakes(Programs(h.dir + "/by-env-0")); err == nil || !strings.Contains(err.Error(), "has env start a script") {
		t.Errorf("scripts that have env start another: %v", err)
	}
}

// The files are open as long as a ruleset refers to them, and once for all of them.
func TestProgramsDescriptors(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	h.elf(t, "lib/liba.so", elftest.File{Needed: []string{"libb.so"}})
	h.elf(t, "lib/libb.so", elftest.File{})
	program := h.elf(t, "program", elftest.File{Loader: h.elf(t, "loader", elftest.File{}), Needed: []string{"liba.so"}, Rpath: "$ORIGIN/lib"})
	runtime.GC() // what other tests have forgotten
	before := descriptors(t)
	var alive []*landlock.Ruleset
	for range 1000 {
		alive = append(alive, allowing(program))
	}
	want := len(paths(alive[0]))
	if got := descriptors(t) - before; want < 4 || got > want {
		t.Errorf("%d descriptors for 1000 rulesets of %d files", got, want)
	}
	if err := alive[999].Check(landlock.FSReadFile, filepath.Join(h.dir, "lib/libb.so")); err != nil {
		t.Error(err)
	}
	alive = nil
	forgotten, different := 1000, 200
	if testenv.LongTests() {
		forgotten, different = 10000, 500
	}
	var makers sync.WaitGroup
	for range 4 {
		makers.Go(func() {
			for range forgotten / 4 {
				allowing(program)
			}
		})
	}
	makers.Wait()
	if !closeForgotten(before) {
		t.Errorf("%d descriptors, %d before, and no ruleset is left", descriptors(t), before)
	}
	// Programs that are all different.
	for i := range different {
		allowing(h.elf(t, fmt.Sprint("programs/", i), elftest.File{}))
	}
	if !closeForgotten(before) {
		t.Errorf("%d descriptors, %d before, and no ruleset is left", descriptors(t), before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	return len(all)
}

// closeForgotten waits until the garbage collector has closed what nobody uses.
func closeForgotten(want int) bool {
	for range 200 {
		runtime.GC()
		if all, err := os.ReadDir("/proc/self/fd"); err == nil && len(all) <= want {
			return true
		}
	}
	return false
}

// A ruleset keeps its files through all that is done with it, and whatever becomes of
// their names.
func TestProgramsKept(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	h := newHostile(t)
	library := h.elf(t, "lib/liba.so", elftest.File{})
	program := h.elf(t, "program", elftest.File{Loader: h.elf(t, "loader", elftest.File{}), Needed: []string{"liba.so"}, Rpath: "$ORIGIN/lib"})
	r := allowing(program).Clone() // and the first is forgotten
	runtime.GC()
	runtime.GC()
	checks := func(want error, path string) {
		t.Helper()
		if err := r.Check(landlock.FSReadFile, path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	checks(nil, library)
	if want := []string{program, filepath.Join(h.dir, "loader"), library}; !slices.Equal(paths(r)[:3], want) {
		t.Errorf("%q, want %q at first", paths(r), want)
	}
	if text := r.String(); !strings.Contains(text, fmt.Sprintf("%q (open)", library)) {
		t.Error(text)
	}
	for range 2 {
		sandbox, err := r.Prepare()
		if err != nil {
			t.Fatal(err)
		}
		if err := sandbox.Close(); err != nil {
			t.Error(err)
		}
	}
	denied := &fs.PathError{Op: "open", Path: h.secret, Err: unix.EACCES}
	if _, ok := errors.AsType[*landlock.DeniedError](r.Explain(denied)); !ok {
		t.Errorf("Explain: %v", r.Explain(denied))
	}
	if err := errors.Join(os.Rename(library, library+" old"), os.WriteFile(library, elftest.File{}.Bytes(), 0o755)); err != nil {
		t.Fatal(err)
	}
	checks(nil, library+" old")
	checks(fs.ErrPermission, library)
	r = allowing(program)
	checks(fs.ErrPermission, library+" old")
	checks(nil, library)
}
