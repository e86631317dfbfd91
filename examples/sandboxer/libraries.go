package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// needs are the files that the kernel and the loader open to start a program,
// besides its own.
type needs struct {
	run     []string // interpreters, loaders and libraries
	read    []string // what the loader reads, if it is there
	missing []error
}

// programNeeds finds what --ldd allows. libraryPath is the LD_LIBRARY_PATH that
// the program will have. A program names these files itself, so only what is a
// script, a loader or a library indeed is among them.
func programNeeds(program, libraryPath string) (*needs, error) {
	files, err := interpreters(program)
	if missing := len(files) > 1 && errors.Is(err, fs.ErrNotExist); missing {
		return &needs{run: files[1 : len(files)-1], missing: []error{err}}, nil
	}
	if err != nil {
		return nil, err
	}
	n := &needs{run: files[1:]}
	return n, n.addLibraries(files[len(files)-1], libraryPath)
}

// programFiles returns the files that the kernel opens to run a program, as far
// as they can be found.
func programFiles(program string) []string {
	files, _ := interpreters(program)
	if last, err := readObject(files[len(files)-1]); err == nil && last.loader != "" {
		files = append(files, last.loader)
	}
	return files
}

// interpreters returns the program, its interpreter if it is a script, that
// one's, and so on, to one that is no script or with which there is an error.
func interpreters(program string) ([]string, error) {
	files := []string{program}
	for range 6 { // the kernel follows five
		last := files[len(files)-1]
		script, err := interpreter(last)
		if open, ok := errors.AsType[*fs.PathError](err); ok && len(files) > 1 {
			err = fmt.Errorf("interpreter %q of %q: %w", last, files[len(files)-2], open.Err)
		}
		if err != nil || script == "" {
			return files, err
		}
		files = append(files, script)
	}
	return files, fmt.Errorf("%q: too many interpreters", program)
}

// interpreter returns what a script names after #!, or "" for another file.
func interpreter(path string) (string, error) {
	head, err := readUpTo(path, 256) // the kernel looks no further
	if err != nil {
		return "", err
	}
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return "", nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	fields := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 {
		return "", fmt.Errorf("%q: #! names no interpreter", path)
	}
	return fields[0], nil
}

// addLibraries adds the loader of an ELF file, and the libraries that it will load.
func (n *needs) addLibraries(program, libraryPath string) error {
	program, err := filepath.EvalSymlinks(program) // as $ORIGIN has it
	if err != nil {
		return err
	}
	if head, err := readUpTo(program, int64(len(elf.ELFMAG))); err != nil {
		return err
	} else if string(head) != elf.ELFMAG {
		return fmt.Errorf("%q is neither an ELF file nor a script with #! at its beginning", program)
	}
	main, err := readObject(program)
	if err != nil {
		return fmt.Errorf("%q: broken ELF file: %w", program, err)
	}
	if main.loader == "" {
		return nil // statically linked
	}
	itself, err := readObject(main.loader)
	if err != nil {
		n.missing = append(n.missing, fmt.Errorf("loader %q of %q: %w", main.loader, program, err))
		return nil
	}
	n.run = append(n.run, main.loader)
	l := newLoader(main, libraryPath)
	l.known[itself.soname] = true
	n.read = append(n.read, l.config)
	n.load(l, main)
	return nil
}

// load adds the libraries of main, and theirs, in the order of the loader: by
// a name that is known already nothing more is loaded.
func (n *needs) load(l *loader, main *object) {
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
				n.missing = append(n.missing, fmt.Errorf("library %q of %q not found", name, from.path))
			}
			for _, library := range found {
				l.known[library.soname] = true
				n.run = append(n.run, library.path)
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
	loader         string
	soname         string
	needed         []string
	rpath, runpath string
}

func readObject(path string) (*object, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	o := &object{kind: kind{file.Class, file.Data, file.Machine}, path: path}
	var errs [4]error
	o.needed, errs[0] = file.DynString(elf.DT_NEEDED)
	o.soname, errs[1] = dynamicString(file, elf.DT_SONAME)
	o.rpath, errs[2] = dynamicString(file, elf.DT_RPATH)
	o.runpath, errs[3] = dynamicString(file, elf.DT_RUNPATH)
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(segment.Open(), 4096))
			if err != nil {
				return nil, err
			}
			o.loader = string(bytes.TrimRight(text, "\x00"))
		}
	}
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
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}
