package landlock

import (
	"io/fs"
	"path/filepath"
	"strings"
)

// Landlock lets nobody trace a process outside the sandbox, whatever its rules are, and
// the kernel asks whether one may trace a process before it shows much of what is
// in /proc of it.

// guardedFiles are those files of a process in /proc.
var guardedFiles = map[string]bool{
	"auxv": true, "cwd": true, "environ": true, "exe": true, "fd": true, "fdinfo": true, "io": true, "map_files": true, "maps": true, "mem": true,
	"ns": true, "numa_maps": true, "pagemap": true, "personality": true, "root": true, "smaps": true, "smaps_rollup": true, "stack": true,
	"syscall": true, "timerslack_ns": true,
}

// sight says what the kernel lets this thread see of a process.
type sight int

const (
	sightUnknown sight = iota // it is gone, another user's, or one of this process's threads
	sightGranted
	sightDoubted // refused, which it may be without a sandbox too
	sightRefused // though this user may
)

// guardedProcess returns the directory in /proc of the process that a path goes through, if
// it is one of its guarded files that it goes through. Links are not followed at
// first: what comes after one that is refused cannot be.
func guardedProcess(path string) (dir string, ok bool) {
	if absolute, err := absolute(path); err == nil {
		path = absolute
	}
	if dir, ok = guardedBy(path); ok {
		return dir, true
	}
	p, err := findPlace(path, true)
	if err != nil {
		return "", false
	}
	defer p.close()
	return guardedBy(p.path)
}

// absolute returns a path from the root, and cleans nothing: what is before ".." may
// be a link.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	here, err := filepath.Abs(".")
	return here + "/" + path, err
}

func guardedBy(path string) (dir string, ok bool) {
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(names) < 3 || names[0] != "proc" || !isNumber(names[1]) {
		return "", false
	}
	dir, names = "/proc/"+names[1], names[2:]
	if len(names) > 2 && names[0] == "task" && isNumber(names[1]) {
		dir, names = dir+"/task/"+names[1], names[2:]
	}
	return dir, guardedFiles[names[0]]
}

func isNumber(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }

// lookingInto returns why a file of a process may not be looked into: the process is
// outside the sandbox, or whatever else it is.
func lookingInto(e *fs.PathError, process string, otherwise operation) operation {
	return func(c *checker) []error {
		outside := []error{&DeniedError{Path: e.Path, Port: -1, what: processOutside}}
		seen := sightUnknown
		if c.hasDomain() {
			seen = seeProcess(process)
		}
		switch seen {
		case sightRefused:
			if c.kernel.ABI < V8 {
				uncertain(outside, "below ABI 8 a child that another thread has started is outside too")
			}
			return outside
		case sightDoubted:
			return guess(outside, "or it may not be looked into without a sandbox either")
		}
		var reasons []error
		if otherwise != nil {
			reasons = otherwise(c)
		}
		const unseen = "if it is outside the sandbox in which this was tried: it is not for this thread"
		switch {
		case seen == sightUnknown, e.Op == "open" && !modesAllow(e.Path, modeRead):
			return reasons
		case certain(reasons):
			return uncertain(reasons, "and the process must not be outside the sandbox")
		}
		return append(guess(outside, unseen), reasons...)
	}
}

const processOutside = "the process is outside the sandbox, and no rule can allow to look into it"

// certain reports whether one of the reasons is more than a guess.
func certain(reasons []error) bool {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok && !denied.Guess {
			return true
		}
	}
	return false
}

// tracing returns why a system call may not have been let into another process.
func (c *checker) tracing() []error {
	if !c.hasDomain() {
		return nil
	}
	return guess([]error{&DeniedError{Port: -1, what: processOutside}},
		"or it is another user's, or may not be traced without a sandbox either")
}

// hasDomain reports whether Landlock enforces anything, and so keeps processes apart.
func (c *checker) hasDomain() bool {
	return c.denied.FS != 0 || c.denied.Scope != 0 || c.denied.Net&^c.refused.Net != 0
}
