package landlock

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"example.com/landlock/internal/program"
)

// explain adds to the error of an execve which files the ruleset has to allow:
// the kernel says EACCES and not whether it means the program or its loader.
func (s *Sandbox) explain(err error, path string) error {
	if !errors.Is(err, errDenied) {
		return err
	}
	return explain(err, s.checker.executing(path))
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
		if err != nil || !info.Mode().IsRegular() || !mayExecute(path) {
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
