package landlock

import (
	"io/fs"
	"path/filepath"

	"example.com/landlock/internal/place"
)

// guardedProcess returns the directory in /proc of the process that a path goes through, if
// it is one of its guarded files that it goes through. Links are not followed at
// first: what comes after one that is refused cannot be.
func guardedProcess(path string) (dir string, ok bool) {
	if absolute, err := absolute(path); err == nil {
		path = absolute
	}
	if dir, ok = place.Guarded(path); ok {
		return dir, true
	}
	p, err := findPlace(path, true)
	if err != nil {
		return "", false
	}
	defer p.Close()
	return place.Guarded(p.Path)
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

// lookingInto returns why a file of a process may not be looked into: the process is
// outside the sandbox, or whatever else it is.
func lookingInto(e *fs.PathError, process string, otherwise operation) operation {
	return func(c *checker) []error {
		outside := []error{&DeniedError{Path: e.Path, Port: -1, what: processOutside}}
		seen := place.SightUnknown
		if c.hasDomain() {
			seen = place.See(process)
		}
		switch seen {
		case place.SightRefused:
			if c.kernel.ABI < V8 {
				uncertain(outside, "below ABI 8 a child that another thread has started is outside too")
			}
			return outside
		case place.SightDoubted:
			return guess(outside, "or it may not be looked into without a sandbox either")
		}
		var reasons []error
		if otherwise != nil {
			reasons = otherwise(c)
		}
		const unseen = "if it is outside the sandbox in which this was tried: it is not for this thread"
		switch {
		case seen == place.SightUnknown, e.Op == "open" && !place.ModesAllow(e.Path, place.ModeRead):
			return reasons
		case certain(reasons):
			return uncertain(reasons, "and the process must not be outside the sandbox")
		}
		return append(guess(outside, unseen), reasons...)
	}
}

const processOutside = "the process is outside the sandbox, and no rule can allow to look into it"

// tracing returns why a system call may not have been let into another process.
func (c *checker) tracing() []error {
	if !c.hasDomain() {
		return nil
	}
	return guess([]error{&DeniedError{Port: -1, what: processOutside}},
		"or it is another user's, or may not be traced without a sandbox either")
}
