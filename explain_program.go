package landlock

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"example.com/landlock/internal/place"
	"example.com/landlock/internal/program"
)

// executing returns why a program may not be executed: itself, its interpreter or
// its loader. A rule for the first of them alone leads to the next refusal.
func (c *checker) executing(program string) []error {
	var all []error
	var denials []*DeniedError
	files := programFiles(program)
	if cannotRun(files) {
		return nil
	}
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			continue // a script may be its own interpreter
		}
		for _, reason := range c.using(file, FSExecute|FSReadFile, place.ModeExecute) {
			all = append(all, reason)
			if denied, ok := reason.(*DeniedError); ok {
				denials = append(denials, denied)
			}
		}
	}
	if len(all) == 0 && len(files) > 0 {
		return c.failing(program, FSExecute|FSReadFile, place.ModeExecute)
	}
	single := c.needsNoMore(files)
	for i, denied := range denials {
		switch {
		case single:
			denied.suggest(Rule{Path: denied.Path, Port: -1, FS: FSReadExecute})
		case i == 0:
			denied.suggestText(fmt.Sprintf("Use(preset.Programs(%q))", programName(files[0])))
		default:
			denied.suggestText("") // it is said already
		}
	}
	return all
}

// starting returns why a program may not have been started by os/exec, whose error is the
// same where the directory that it was to start in may not be searched.
func (c *checker) starting(path string) []error {
	reasons := c.executing(path)
	if !filepath.IsAbs(path) {
		guess(reasons, "if the path is relative to the working directory, and not to Dir of an exec.Cmd")
	}
	if len(reasons) > 0 {
		uncertain(reasons[:1], "or Dir of the exec.Cmd, if it has one, may not be searched")
	}
	return reasons
}

// needsNoMore reports whether it can be seen that a program takes no other files to
// start than these, or may read the libraries of the loader, which is the last of them.
func (c *checker) needsNoMore(files []string) bool {
	if len(files) == 0 {
		return true
	}
	last := files[len(files)-1]
	if !canRead(last) {
		return false
	}
	return !isLoaderOf(files) || len(c.using(filepath.Dir(last), FSReadFile, place.ModeExists)) == 0
}

// programName returns the name by which a program is found in PATH, or else its path.
func programName(path string) string {
	name := filepath.Base(path)
	if found, err := exec.LookPath(name); err == nil && isSameFile(found, path) {
		return name
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

func isSameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, otherErr := os.Stat(b)
	return err == nil && otherErr == nil && os.SameFile(one, other)
}

func canRead(path string) bool {
	file, err := os.Open(path)
	if err == nil {
		file.Close()
	}
	return err == nil
}

// programPath returns the path of what cmd runs, as this process sees it.
func programPath(cmd *exec.Cmd) string {
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	return path
}

// startError is an error as os/exec has it for a program that cannot be started.
func startError(cmd *exec.Cmd, err error) error {
	return &fs.PathError{Op: "fork/exec", Path: cmd.Path, Err: err}
}

// mostFiles is how many the kernel opens to run a program, but for a loader: it follows five
// interpreters.
const mostFiles = 6

// programFiles returns the files that the kernel opens to run path: itself, the
// interpreter of a script, the loader of a dynamically linked program. They are what
// the paths lead to now, which is good for advice and not for rules.
func programFiles(path string) []string {
	var files []string
	for loader := false; len(files) < mostFiles && path != ""; {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || !place.MayExecute(path) {
			break // cannot be run without the sandbox either
		}
		files = append(files, path)
		if loader {
			break // the kernel does not open what a loader names in turn
		}
		start, _ := program.Read(path)
		path, loader = start.Interpreter, start.ELF
	}
	return files
}

// isLoaderOf reports whether the last of a program's files is the loader of the one before.
func isLoaderOf(files []string) bool {
	if len(files) < 2 {
		return false
	}
	start, err := program.Read(files[len(files)-2])
	return err != nil || start.ELF
}

// cannotRun reports whether the last of a program's files names one that there is, and
// that cannot be executed without the sandbox either, such as a directory.
func cannotRun(files []string) bool {
	if len(files) == 0 || len(files) == mostFiles || isLoaderOf(files) {
		return false
	}
	start, err := program.Read(files[len(files)-1])
	if err != nil || start.Interpreter == "" {
		return false
	}
	_, err = os.Stat(start.Interpreter)
	return err == nil
}
