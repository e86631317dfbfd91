package preset

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"example.com/landlock"
	"example.com/landlock/internal/libraries"
	"example.com/landlock/internal/program"
)

// Programs returns a preset that allows to start these programs, and no more: to
// execute, and all else to read,
//
//   - the file of each, found as [os/exec.LookPath] finds it, and not in the working
//     directory unless the name says so;
//   - of a script, its interpreter, which may be a script again, and the program
//     that it has env start;
//   - the loader that an ELF file names;
//   - all libraries that the loader will load before the program starts, where it
//     will find them itself: by RPATH, RUNPATH and $ORIGIN, LD_LIBRARY_PATH of this
//     process, the loader's cache and its default directories, for glibc and for
//     musl;
//   - the loader's cache (/etc/ld.so.cache) or configuration (/etc/ld-musl-ARCH.path,
//     for a loader in /lib).
//
// Files are looked for and opened when the preset is used, and the rules are for the
// very files that were looked at, whatever their paths lead to afterwards. After an
// upgrade of the program or of a library, make the ruleset anew: it has the old files,
// and the program does not start. The files stay open until the ruleset, its clones
// and what was prepared from them are forgotten and the garbage collector has
// run; rulesets share them, so that a thousand for one program have no more open than
// one has (git: 6). For many programs at once, mind RLIMIT_NOFILE: each has its own file
// open, and whatever it does not share with the others. Where there is no descriptor left, the
// garbage collector is run for those of rulesets that are forgotten, before it is an
// error (EMFILE, ENFILE).
//
// What a program opens once it runs is
// not among them: its data, settings, plug-ins and modules (Python starts with
// [System] alone), and the programs that it starts in turn, which are to be named
// as well: "tar", "gzip". Nor are libraries that LD_PRELOAD and /etc/ld.so.preload
// name: glibc's loader goes on without them.
//
// The program need not be trusted, nor who can write where it lies: what the files say
// decides which others are found, wherever they are, and never what they may be.
// Only regular files get a rule: programs and interpreters that are ELF programs or
// scripts (#!), and executable by their mode, a script that another file names also
// readable by everybody (mode 0444), or else it is an error; a loader that is an ELF program for the
// same machine and needs no loader itself; libraries that are shared ELF objects for
// that machine; and no file that the kernel makes up, such as those of /proc and /sys. So
// a hostile program can have other ELF programs and libraries that this process may read
// among its own, and scripts that everybody may read, and no other text, key, core file,
// directory or device. To find that out takes some 0.1 s of work at most, but the
// files are opened and read: a file system that does not answer (FUSE, NFS) blocks this
// call, and no other. What such a file system answers with an error other than that
// there is no such file, or that this process may not open it, is an error here.
//
// A program that is not found is a mistake that names it. So are one that cannot be
// read, one that is neither ELF nor a script, a library that is missing, since it
// would not start, and one that asks for more than any real program: 500 files, 100
// that are missing, 10 scripts that have env start another, 64 KiB of names and search
// paths in one file, 8 MiB of paths and reads to find them all. Elsewhere than on Linux it is
// the program's file alone.
func Programs(names ...string) func(*landlock.Ruleset) error {
	return func(r *landlock.Ruleset) error {
		n := needed{access: make(map[*os.File]landlock.AccessFS)}
		var errs []error
		for _, name := range names {
			if err := n.addProgram(r, name); err != nil {
				errs = append(errs, fmt.Errorf("program %q: %w", name, err))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, file := range n.files {
			if access := n.access[file] & handled(r); access != 0 {
				r.AllowFile(access, file)
			}
		}
		return nil
	}
}

// needed collects what several programs need, each file once.
type needed struct {
	files  []*os.File
	access map[*os.File]landlock.AccessFS
}

func (n *needed) add(access landlock.AccessFS, files ...*os.File) {
	for _, file := range files {
		if n.access[file] == 0 {
			n.files = append(n.files, file)
		}
		n.access[file] |= access
	}
}

func (n *needed) addProgram(r *landlock.Ruleset, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		if path, err = program.Absolute(path); err != nil {
			return err
		}
		if access := programFile & handled(r); access != 0 {
			r.Allow(access, path)
		}
		return nil
	}
	needs, err := libraries.Of(path, os.Getenv("LD_LIBRARY_PATH"))
	if err == nil {
		err = errors.Join(needs.Missing...)
	}
	if err != nil {
		return err
	}
	n.add(programFile, needs.Program)
	n.add(programFile, needs.Run...)
	n.add(file, needs.Libraries...)
	n.add(file, needs.Config...)
	return nil
}
