// Package libraries finds what a program needs to start: interpreters, the
// loader, and the libraries that it will load, where it will find them.
package libraries

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"example.com/landlock/internal/program"
)

// Needs are the files that the kernel and the loader open to start a program,
// besides its own.
type Needs struct {
	Run       []string // interpreters, loaders, and programs that env starts
	Libraries []string
	Config    []string // what the loader reads, if it is there
	Missing   []error
}

// Of finds what a program needs. libraryPath is the LD_LIBRARY_PATH that it will
// have. A program names these files itself, so only what is a script, a loader or
// a library indeed is among them.
func Of(path, libraryPath string) (*Needs, error) {
	n := &Needs{}
	return n, n.add(path, libraryPath)
}

func (n *Needs) add(path, libraryPath string) error {
	files, last, err := program.Chain(path)
	if len(files) > 1 && errors.Is(err, fs.ErrNotExist) {
		n.Run = append(n.Run, files[1:len(files)-1]...)
		n.Missing = append(n.Missing, err)
		return nil
	}
	if err != nil {
		return err
	}
	n.Run = append(n.Run, files[1:]...)
	if err := n.addLibraries(files[len(files)-1], last, libraryPath); err != nil || len(files) < 2 {
		return err
	}
	return n.addNamed(files[len(files)-2], libraryPath)
}

// addNamed adds the program that a script names as the argument of env.
func (n *Needs) addNamed(script, libraryPath string) error {
	start, err := program.Read(script)
	name := envProgram(start)
	if err != nil || name == "" {
		return err
	}
	path, err := exec.LookPath(name)
	if err != nil {
		n.Missing = append(n.Missing, fmt.Errorf("program of the script %q: %w", script, err))
		return nil
	}
	if slices.Contains(n.Run, path) {
		return nil
	}
	n.Run = append(n.Run, path)
	return n.add(path, libraryPath)
}

// envProgram returns what a script has env start: "python3" of
// "/usr/bin/env -S python3 -u".
func envProgram(start program.Start) string {
	if filepath.Base(start.Interpreter) != "env" {
		return ""
	}
	words := []string{start.Argument} // one, whatever blanks it has
	if options, split, ok := strings.Cut(start.Argument, "S"); ok && strings.HasPrefix(options, "-") {
		words = strings.Fields(split)
	}
	for ; len(words) > 0; words = words[1:] {
		switch word := words[0]; {
		case word == "-u" || word == "-C":
			words = words[min(1, len(words)-1):] // its value follows
		case !strings.HasPrefix(word, "-") && !strings.Contains(word, "="):
			return word
		}
	}
	return ""
}

// addLibraries adds the loader of an ELF file, and the libraries that it will load.
func (n *Needs) addLibraries(path string, start program.Start, libraryPath string) error {
	if !start.ELF {
		return fmt.Errorf("%q is neither an ELF file nor a script with #! at its beginning", path)
	}
	if start.Interpreter == "" {
		return nil // statically linked
	}
	path, err := filepath.EvalSymlinks(path) // as $ORIGIN has it
	if err != nil {
		return err
	}
	main, err := readObject(path)
	if err != nil {
		return fmt.Errorf("%q: broken ELF file: %w", path, err)
	}
	main.loader = start.Interpreter
	itself, err := readObject(main.loader)
	if err != nil {
		n.Missing = append(n.Missing, fmt.Errorf("loader %q of %q: %w", main.loader, path, err))
		return nil
	}
	n.Run = append(n.Run, main.loader)
	l := newLoader(main, libraryPath)
	l.known[itself.soname] = true
	n.Config = append(n.Config, l.config)
	n.load(l, main)
	return nil
}

// load adds the libraries of main, and theirs, in the order of the loader: by
// a name that is known already nothing more is loaded.
func (n *Needs) load(l *loader, main *object) {
	for queue := []*object{main}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, name := range from.needed {
			key := l.expand(name, from)[0] // $ORIGIN/name is another file elsewhere
			if l.known[key] || l.builtIn(key) {
				continue
			}
			l.known[key] = true
			found := l.find(name, from)
			if len(found) == 0 {
				n.Missing = append(n.Missing, fmt.Errorf("library %q of %q not found", name, from.path))
			}
			for _, library := range found {
				l.known[library.soname] = true
				n.Libraries = append(n.Libraries, library.path)
			}
			queue = append(queue, found...)
		}
	}
}

// kind is what a program and its libraries must have in common.
type kind struct {
	class   elf.Class
	data    elf.Data
	machine elf.Machine
}

// object is an ELF file: a program, or a library that another object needs.
type object struct {
	kind
	path           string
	parent         *object
	loader         string // of the program alone
	soname         string
	needed         []string
	rpath, runpath string
}

func readObject(path string) (*object, error) {
	opened, err := program.Open(path)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	file, err := elf.NewFile(opened)
	if err != nil {
		return nil, err
	}
	o := &object{kind: kind{file.Class, file.Data, file.Machine}, path: path}
	var errs [4]error
	o.needed, errs[0] = file.DynString(elf.DT_NEEDED)
	o.soname, errs[1] = dynamicString(file, elf.DT_SONAME)
	o.rpath, errs[2] = dynamicString(file, elf.DT_RPATH)
	o.runpath, errs[3] = dynamicString(file, elf.DT_RUNPATH)
	return o, errors.Join(errs[:]...)
}

func dynamicString(file *elf.File, tag elf.DynTag) (string, error) {
	values, err := file.DynString(tag)
	if err != nil || len(values) == 0 {
		return "", err
	}
	return values[0], nil
}

// loader finds libraries by the rules of glibc or musl.
type loader struct {
	musl        bool
	main        *object
	libraryPath string
	config      string // the file that tells this loader where to look
	cache       map[string][]candidate
	system      []string        // directories
	libs        []string        // what $LIB may stand for
	known       map[string]bool // names of libraries that are loaded, or missing
}

func newLoader(main *object, libraryPath string) *loader {
	l := &loader{main: main, libraryPath: libraryPath, known: make(map[string]bool)}
	arch, isMusl := strings.CutPrefix(filepath.Base(main.loader), "ld-musl-")
	if isMusl {
		l.useMusl(strings.TrimSuffix(arch, ".so.1"))
	} else {
		l.useGlibc()
	}
	return l
}

// useGlibc sets where glibc looks by default. That was decided when it was
// built, and differs: here are the directories of all distributions. What
// is in one of them for another machine is passed over.
func (l *loader) useGlibc() {
	l.libraryPath = strings.ReplaceAll(l.libraryPath, ";", ":")
	l.config = "/etc/ld.so.cache"
	data, err := readUpTo(l.config, 64<<20)
	if err == nil {
		l.cache, err = parseCache(data)
	}
	if err != nil {
		l.system = readConf("/etc/ld.so.conf", 0)
	}
	multiarch, _ := filepath.Glob("/usr/lib/*-linux-gnu*")
	for _, dir := range multiarch {
		l.libs = append(l.libs, "lib/"+filepath.Base(dir))
	}
	l.libs = append(l.libs, "lib64", "lib")
	for _, lib := range l.libs {
		l.system = append(l.system, "/"+lib, "/usr/"+lib)
	}
}

// useMusl sets where musl looks by default. It takes no denial for an answer:
// where it may not read its file it looks nowhere.
func (l *loader) useMusl(arch string) {
	l.musl = true
	l.libs = []string{"lib"}
	prefix := filepath.Dir(filepath.Dir(l.main.loader))
	l.config = filepath.Join(prefix, "etc", "ld-musl-"+arch+".path")
	text, err := readUpTo(l.config, 1<<20)
	if err != nil {
		text = []byte("/lib:/usr/local/lib:/usr/lib")
	}
	l.system = strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
}

// builtIn reports whether the loader itself is the library: that of musl is
// all of its libraries.
func (l *loader) builtIn(name string) bool {
	stem, ok := strings.CutPrefix(name, "lib")
	stem, _, dot := strings.Cut(stem, ".")
	return l.musl && ok && dot && slices.Contains([]string{"c", "pthread", "rt", "m", "dl", "util", "xnet"}, stem)
}

// find returns the library of that name which is loaded for from. It is more
// than one where the processor decides: then each that may be taken.
func (l *loader) find(name string, from *object) []*object {
	var found []*object
	for _, c := range l.candidates(name, from) {
		library, err := readObject(c.path)
		if err != nil || library.kind != l.main.kind {
			continue
		}
		library.parent = from
		found = append(found, library)
		if !c.byCPU {
			break
		}
	}
	return found
}

// candidates returns where a library may be, in the order of the loader.
func (l *loader) candidates(name string, from *object) []candidate {
	var all []candidate
	if strings.Contains(name, "/") {
		for _, path := range l.expand(name, from) {
			all = append(all, candidate{path: path})
		}
		return all
	}
	for _, dir := range l.directories(from) {
		all = append(all, l.inDirectory(dir, name)...)
	}
	all = append(all, l.cache[name]...)
	for _, dir := range l.system {
		all = append(all, l.inDirectory(dir, name)...)
	}
	return all
}

// inDirectory returns the candidates in a directory. For glibc there may be
// some that are for newer processors, in directories of their own.
func (l *loader) inDirectory(dir, name string) []candidate {
	var all []candidate
	if !l.musl {
		const special = "glibc-hwcaps"
		levels, _ := os.ReadDir(filepath.Join(dir, special))
		for _, level := range levels {
			all = append(all, candidate{filepath.Join(dir, special, level.Name(), name), true})
		}
	}
	return append(all, candidate{filepath.Join(dir, name), false})
}

// directories returns where to look for what from needs before the system's
// directories. An object's RPATH is for all that is loaded because of it, a
// RUNPATH for its own needs, and with it there is no RPATH. To musl both are the first.
func (l *loader) directories(from *object) []string {
	environment := l.searchPath(l.libraryPath, l.main)
	var inherited []string
	for o := from; o != nil; o = o.parent {
		switch {
		case l.musl && o.runpath != "":
			inherited = append(inherited, l.searchPath(o.runpath, o)...)
		case o.runpath == "":
			inherited = append(inherited, l.searchPath(o.rpath, o)...)
		}
	}
	switch {
	case l.musl:
		return append(environment, inherited...)
	case from.runpath != "":
		return append(environment, l.searchPath(from.runpath, from)...)
	}
	return append(inherited, environment...)
}

// searchPath splits a list of directories of an object. An empty one is the
// working directory, to glibc; an empty list is none.
func (l *loader) searchPath(list string, of *object) []string {
	if list == "" {
		return nil
	}
	var dirs []string
	for _, dir := range strings.Split(list, ":") {
		if dir != "" || !l.musl {
			dirs = append(dirs, l.expand(dir, of)...)
		}
	}
	return dirs
}

// expand replaces $ORIGIN, $LIB and $PLATFORM in what an object says. $LIB
// was decided when the loader was built: the result is what it may be.
func (l *loader) expand(text string, of *object) []string {
	if !strings.Contains(text, "$") {
		return []string{text}
	}
	var all []string
	for _, lib := range l.libs {
		all = append(all, os.Expand(text, func(name string) string {
			switch name {
			case "ORIGIN":
				dir, err := filepath.Abs(filepath.Dir(of.path))
				if err != nil {
					return "."
				}
				return dir
			case "LIB":
				return lib
			case "PLATFORM":
				return platform(of.machine)
			}
			return "$" + name
		}))
	}
	return slices.Compact(all)
}

// platform returns the kernel's word for a machine.
func platform(machine elf.Machine) string {
	if machine == elf.EM_386 {
		return "i686"
	}
	return strings.ToLower(strings.TrimPrefix(machine.String(), "EM_"))
}

// readConf returns the directories of a file such as /etc/ld.so.conf, from
// which the cache is made, and of the files that it includes.
func readConf(path string, depth int) []string {
	text, err := readUpTo(path, 1<<20)
	if err != nil || depth > 8 {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "hwcap":
		case fields[0] == "include":
			for _, pattern := range fields[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(filepath.Dir(path), pattern)
				}
				files, _ := filepath.Glob(pattern)
				for _, file := range files {
					dirs = append(dirs, readConf(file, depth+1)...)
				}
			}
		default:
			dirs = append(dirs, fields...)
		}
	}
	return dirs
}

// readUpTo reads the first limit bytes of a file.
func readUpTo(path string, limit int64) ([]byte, error) {
	file, err := program.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}
