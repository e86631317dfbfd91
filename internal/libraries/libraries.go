// Package libraries finds what a program needs to start: interpreters, the
// loader, and the libraries that it will load, where it will find them.
//
// What the files say is not trusted, and what a path leads to may change at any time.
// So each is opened once, judged by what is open, and handed on open: a regular file
// that is what it is needed for, wherever it lies, or an error. The work that they can
// make is bounded.
package libraries

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"example.com/landlock/internal/program"
)

// Needs are the files that the kernel and the loader open to start a program. They
// are open for as long as somebody refers to them, and shared: nobody closes them.
type Needs struct {
	Program   *os.File
	Run       []*os.File // interpreters, loaders, and programs that env starts
	Libraries []*os.File
	Config    []*os.File // what the loader reads, if it is there
	Missing   []error

	started []*os.File // programs that are among them, with what they need
	files   int        // of all kinds, each time that one is found
	work    int        // what is left of maxWork
}

// What a program can ask for is far above what any real one does: those have some
// hundred files, and look for each in a few directories.
const (
	maxFiles   = 500
	maxNamed   = 10      // programs that env starts
	maxMissing = 100     // libraries
	maxWork    = 8 << 20 // bytes of names, paths and what is read: about 0.1 s
	perName    = 64      // which a name or directory counts besides its length
	perPath    = 512     // the same, of a path that is looked up
	perOpen    = 4096    // the same, of one that is there
	perRead    = 1024    // the same, of a read
	maxPath    = 4096    // what the kernel takes
)

var errTooMuch = errors.New("it needs more than any real program")

// metered is a file of which every read is paid for. It keeps the error of one that
// failed: that says nothing of what the file is.
type metered struct {
	*os.File
	n   *Needs
	err error
}

func (m *metered) ReadAt(p []byte, at int64) (got int, err error) {
	if err = m.n.spend(perRead + len(p)); err == nil {
		got, err = m.File.ReadAt(p, at)
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return got, err
}

// Of finds what a program needs. libraryPath is the LD_LIBRARY_PATH that it will
// have.
func Of(path, libraryPath string) (*Needs, error) {
	n := &Needs{work: maxWork}
	for range maxNamed {
		named, err := n.add(path, libraryPath)
		if err != nil || named == "" {
			return n, err
		}
		path = named
	}
	return n, fmt.Errorf("%w: a script has env start a script, %d times", errTooMuch, maxNamed)
}

// add adds a program and what it needs. It returns the path of one that a script has
// env start, if that is still to be added.
func (n *Needs) add(path, libraryPath string) (named string, err error) {
	files, chainErr := program.Chain(path)
	kept := 0
	defer func() {
		for _, file := range files[kept:] {
			file.Close()
		}
	}()
	if chainErr != nil && !errors.Is(chainErr, fs.ErrNotExist) {
		return "", chainErr
	}
	for i := range files {
		file := &files[i]
		if file.Script && (i > 0 || n.Program != nil) {
			if err := forEverybody(file.File); err != nil {
				return "", err
			}
		}
		if file.File, err = n.keep(file.File); err != nil {
			return "", err
		}
		kept++
		if i == 0 && slices.Contains(n.started, file.File) {
			return "", nil
		}
		switch {
		case n.Program == nil:
			n.Program = file.File
		case !slices.Contains(n.Run, file.File):
			n.Run = append(n.Run, file.File)
		}
	}
	if len(files) == 0 {
		return "", chainErr
	}
	n.started = append(n.started, files[0].File)
	if chainErr != nil {
		return "", n.miss(chainErr)
	}
	last := len(files) - 1
	if err := n.addLibraries(files[last], libraryPath); err != nil || last == 0 {
		return "", err
	}
	return n.named(files[last-1])
}

// forEverybody returns an error for a script that not everybody may read. It is text,
// and another file chose it: the untrusted program would read what was kept from it.
func forEverybody(script *os.File) error {
	info, err := script.Stat()
	if err == nil && info.Mode()&0o444 != 0o444 {
		err = fmt.Errorf("script %q, which another file names: %w: not everybody may read it (mode %#o)", script.Name(), fs.ErrPermission, info.Mode().Perm())
	}
	return err
}

// named returns the path of the program that a script names as the argument of env.
func (n *Needs) named(script program.File) (string, error) {
	name := envProgram(script.Start)
	if name == "" {
		return "", nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", n.miss(fmt.Errorf("program of the script %q: %w", script.Name(), err))
	}
	return path, nil
}

// keep returns the file to be handed on for one that was found to be needed, or closes
// it where there is an error.
func (n *Needs) keep(file *os.File) (*os.File, error) {
	if n.files++; n.files > maxFiles {
		file.Close()
		return nil, fmt.Errorf("%w: %d files", errTooMuch, maxFiles)
	}
	return share(file)
}

// miss notes what is not found.
func (n *Needs) miss(err error) error {
	if n.Missing = append(n.Missing, err); len(n.Missing) > maxMissing {
		return fmt.Errorf("more than %d files are missing, the first of them: %w", maxMissing, n.Missing[0])
	}
	return nil
}

// spend takes from what is left to be done.
func (n *Needs) spend(work int) error {
	if n.work -= work; n.work < 0 {
		return fmt.Errorf("%w: libraries that take more than %d MiB of paths and reads to find", errTooMuch, maxWork>>20)
	}
	return nil
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
func (n *Needs) addLibraries(file program.File, libraryPath string) error {
	if file.Interpreter == "" {
		return nil // statically linked
	}
	path, err := filepath.EvalSymlinks(file.Name()) // as $ORIGIN has it
	if err != nil {
		return err
	}
	main, err := n.readObject(file.File, path)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	itself, err := n.openLoader(main)
	if err != nil {
		return n.miss(fmt.Errorf("loader %q of %q: %w", main.Interpreter, path, err))
	}
	if itself.file, err = n.keep(itself.file); err != nil {
		return err
	}
	if !slices.Contains(n.Run, itself.file) {
		n.Run = append(n.Run, itself.file)
	}
	l := newLoader(n, main, libraryPath)
	if l.config != nil {
		if l.config, err = n.keep(l.config); err != nil {
			return err
		}
		if !slices.Contains(n.Config, l.config) {
			n.Config = append(n.Config, l.config)
		}
	}
	l.known[itself.Soname] = true
	return l.load()
}

// object is an ELF file: a program, its loader, or a library that another object
// needs.
type object struct {
	*program.Object
	file   *os.File
	path   string
	parent *object
}

func (n *Needs) readObject(file *os.File, path string) (*object, error) {
	read, err := program.ReadObject(&metered{File: file, n: n})
	return &object{Object: read, file: file, path: path}, err
}

// openLoader opens the loader of a program. It is a program, for the same machine,
// that needs no loader itself: another one the kernel starts all the same, but to run
// it nobody has allowed.
func (n *Needs) openLoader(main *object) (*object, error) {
	file, err := program.Executable(main.Interpreter)
	if err != nil {
		return nil, err
	}
	loader, err := n.readObject(file.File, file.Name())
	switch {
	case err != nil:
	case loader.Machine != main.Machine:
		err = errors.New("for another machine")
	case loader.Interpreter != "":
		err = errors.New("not a loader: it needs one itself")
	}
	if err != nil {
		file.Close()
	}
	return loader, err
}

// openLibrary opens a library that a program may load, or returns nil where there is
// none.
func (n *Needs) openLibrary(path string, machine program.Machine) (*object, error) {
	path, err := program.Absolute(path)
	if err != nil {
		return nil, err
	}
	file, err := program.Open(path)
	if program.NotThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	read := &metered{File: file, n: n, err: n.spend(perOpen)}
	if read.err == nil {
		var library *program.Object
		if library, err = program.ReadLibrary(read, machine); err == nil {
			return &object{Object: library, file: file, path: path}, nil
		}
	}
	file.Close()
	return nil, read.err
}

// loader finds libraries by the rules of glibc or musl.
type loader struct {
	*Needs
	musl        bool
	main        *object
	libraryPath string
	config      *os.File // the file that tells this loader where to look
	cache       map[string][]candidate
	system      []string             // directories
	libs        []string             // what $LIB may stand for
	levels      []string             // directories for newer processors, in glibc-hwcaps
	directories map[string]directory // that were looked at
	known       map[string]bool      // names of libraries that are loaded, or missing
}

// directory is what is there of a directory for libraries.
type directory struct{ exists, levels bool }

func newLoader(n *Needs, main *object, libraryPath string) *loader {
	l := &loader{Needs: n, main: main, libraryPath: libraryPath, directories: make(map[string]directory), known: make(map[string]bool)}
	if strings.HasPrefix(filepath.Base(main.Interpreter), "ld-musl-") {
		l.useMusl()
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
	file, err := program.Open("/etc/ld.so.cache")
	if err == nil {
		if l.cache, err = readCache(file); err != nil {
			file.Close()
		}
	}
	if err == nil {
		l.config = file
	} else {
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
	l.levels = levels[l.main.Machine.Number]
}

// levels are the newer processors for which glibc looks in directories of their own,
// by e_machine. It goes on where it may not open one that is not among them.
var levels = map[uint16][]string{
	21: {"power11", "power10", "power9"},
	22: {"z17", "z16", "z15", "z14", "z13"},
	62: {"x86-64-v4", "x86-64-v3", "x86-64-v2"},
}

// useMusl sets where musl looks by default. It takes no denial for an answer:
// where it may not read its file it looks nowhere. That is what happens to a loader
// that is not the system's: the file beside it is whatever those want to be read who
// have made the program.
func (l *loader) useMusl() {
	l.musl = true
	l.libs = []string{"lib"}
	dir, name := filepath.Split(l.main.Interpreter)
	config := filepath.Join(dir, "../etc", strings.TrimSuffix(name, ".so.1")+".path")
	_, err := os.Stat(config)
	text := []byte("/lib:/usr/local/lib:/usr/lib")
	if !errors.Is(err, fs.ErrNotExist) {
		text = nil
		if dir == "/lib/" || dir == "/usr/lib/" {
			text, l.config = readSettings(config)
		}
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

// load adds the libraries of the program, and theirs, in the order of the loader: by
// a name that is known already nothing more is loaded.
func (l *loader) load() error {
	for queue := []*object{l.main}; len(queue) > 0; queue = queue[1:] {
		found, err := l.loadFor(queue[0])
		if err != nil {
			return err
		}
		queue = append(queue, found...)
	}
	return nil
}

// loadFor adds the libraries that from needs, and returns them.
func (l *loader) loadFor(from *object) (added []*object, err error) {
	if len(from.Needed) == 0 {
		return nil, nil
	}
	search, err := l.searchFor(from)
	if err != nil {
		return nil, err
	}
	for _, name := range from.Needed {
		key := name
		paths, err := l.expand(name, from)
		if err != nil {
			return nil, err
		}
		if len(paths) > 0 {
			key = paths[0] // $ORIGIN/name is another file elsewhere
		}
		if l.known[key] || l.builtIn(key) {
			continue
		}
		l.known[key] = true
		found, err := l.find(l.candidates(name, paths, search))
		if err == nil && len(found) == 0 {
			err = l.miss(fmt.Errorf("library %q of %q not found", name, from.path))
		}
		if err != nil {
			return nil, err
		}
		for i, library := range found {
			if library.file, err = l.keep(library.file); err != nil {
				closeAll(found[i+1:])
				return nil, err
			}
			library.parent = from
			l.known[library.Soname] = true
			l.Libraries = append(l.Libraries, library.file)
		}
		added = append(added, found...)
	}
	return added, nil
}

// find returns the first candidate that is a library. It is more than one where the
// processor decides: then each that may be taken.
func (l *loader) find(candidates iter.Seq[candidate]) (found []*object, err error) {
	defer func() {
		if err != nil {
			closeAll(found)
			found = nil
		}
	}()
	for c := range candidates {
		if err := l.spend(perPath + len(c.path)); err != nil {
			return found, err
		}
		if c.absent || len(c.path) > maxPath {
			continue
		}
		library, err := l.openLibrary(c.path, l.main.Machine)
		if err != nil {
			return found, err
		}
		if library == nil {
			continue
		}
		found = append(found, library)
		if !c.byCPU {
			break
		}
	}
	return found, nil
}

func closeAll(objects []*object) {
	for _, o := range objects {
		o.file.Close()
	}
}

// candidates yields where a library may be, in the order of the loader: at the paths
// that its name stands for, if that is one, or else in directories.
func (l *loader) candidates(name string, paths, search []string) iter.Seq[candidate] {
	return func(yield func(candidate) bool) {
		if strings.Contains(name, "/") {
			for _, path := range paths {
				if !yield(candidate{path: path}) {
					return
				}
			}
			return
		}
		for _, dir := range search {
			if !l.inDirectory(dir, name, yield) {
				return
			}
		}
		for _, c := range l.cache[name] {
			if !yield(c) {
				return
			}
		}
		for _, dir := range l.system {
			if !l.inDirectory(dir, name, yield) {
				return
			}
		}
	}
}

// inDirectory yields the candidates in a directory. For glibc there may be
// some that are for newer processors, in directories of their own.
func (l *loader) inDirectory(dir, name string, yield func(candidate) bool) bool {
	d, known := l.directories[dir]
	if !known {
		d.exists = dir == "" || mayBeDirectory(dir) // "" is the working directory
		d.levels = d.exists && len(l.levels) > 0 && mayBeDirectory(filepath.Join(dir, "glibc-hwcaps"))
		l.directories[dir] = d
	}
	if d.levels {
		for _, level := range l.levels {
			if !yield(candidate{path: filepath.Join(dir, "glibc-hwcaps", level, name), byCPU: true}) {
				return false
			}
		}
	}
	return yield(candidate{path: filepath.Join(dir, name), absent: !d.exists})
}

// mayBeDirectory reports whether it is worth it to look into a directory. Where that
// cannot be told, what is in it cannot be opened for the same cause.
func mayBeDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() || err != nil && !program.NotThere(err)
}

// searchFor returns where to look for what from needs before the system's
// directories. An object's RPATH is for all that is loaded because of it, a
// RUNPATH for its own needs, and with it there is no RPATH. To musl both are the first.
func (l *loader) searchFor(from *object) ([]string, error) {
	var list []string
	var err error
	seen := make(map[string]bool)
	add := func(path string, of *object) {
		if err != nil {
			return
		}
		var dirs []string
		dirs, err = l.searchPath(path, of)
		for _, dir := range dirs {
			if !seen[dir] {
				seen[dir] = true
				list = append(list, dir)
			}
		}
	}
	if l.musl {
		add(l.libraryPath, l.main)
	}
	for o := from; o != nil; o = o.parent {
		switch {
		case l.musl && o.Runpath != "":
			add(o.Runpath, o)
		case o.Runpath == "" && (l.musl || from.Runpath == ""):
			add(o.Rpath, o)
		}
	}
	if !l.musl {
		add(l.libraryPath, l.main)
		add(from.Runpath, from)
	}
	return list, err
}

// searchPath splits a list of directories of an object. An empty one is the
// working directory, to glibc; an empty list is none.
func (l *loader) searchPath(list string, of *object) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var dirs []string
	for dir := range strings.SplitSeq(list, ":") {
		if dir == "" && l.musl {
			continue
		}
		expanded, err := l.expand(dir, of)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, expanded...)
	}
	return dirs, nil
}

// expand replaces $ORIGIN, $LIB and $PLATFORM in what an object says. $LIB
// was decided when the loader was built: the result is what it may be, and nothing
// where that is no path any more.
func (l *loader) expand(text string, of *object) ([]string, error) {
	if err := l.spend(perName + len(text)); err != nil {
		return nil, err
	}
	if !strings.Contains(text, "$") {
		return []string{text}, nil
	}
	origin := of.path[:strings.LastIndexByte(of.path, '/')+1]
	if len(text)+strings.Count(text, "$")*len(origin) > maxPath {
		return nil, nil
	}
	var all []string
	for _, lib := range l.libs {
		path := os.Expand(text, func(name string) string {
			switch name {
			case "ORIGIN":
				return cmp.Or(strings.TrimSuffix(origin, "/"), "/")
			case "LIB":
				return lib
			case "PLATFORM":
				return platforms[of.Machine.Number]
			}
			return "$" + name
		})
		if err := l.spend(perName + len(path)); err != nil {
			return nil, err
		}
		all = append(all, path)
	}
	return slices.Compact(all), nil
}

// platforms are the kernel's words for machines, by e_machine.
var platforms = map[uint16]string{3: "i686", 8: "mips", 21: "ppc64", 22: "s390", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv", 258: "loongarch"}

// readConf returns the directories of a file such as /etc/ld.so.conf, from
// which the cache is made, and of the files that it includes.
func readConf(path string, depth int) []string {
	if depth > 8 {
		return nil
	}
	text, file := readSettings(path)
	if file == nil {
		return nil
	}
	file.Close()
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

// readSettings opens a file that tells a loader where to look, and reads it.
func readSettings(path string) ([]byte, *os.File) {
	file, err := program.Open(path)
	if err != nil {
		return nil, nil
	}
	text, err := readUpTo(file, 1<<20)
	if err != nil {
		file.Close()
		return nil, nil
	}
	return text, file
}

// readUpTo reads the first limit bytes of a file.
func readUpTo(file *os.File, limit int64) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(file, 0, limit))
}
