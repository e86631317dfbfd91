package landlocktest

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// byErrno reports whether an error can come of a refusal by Landlock, and, where
// it is known what is enforced, by that.
func byErrno(err error) bool {
	enforced := sandbox.report.Enforced
	known := sandbox.rules != nil
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.Is(err, syscall.EACCES):
		return !known || enforced.FS != 0 || enforced.Net != 0
	case errors.As(err, &path):
		return false
	case errors.Is(err, syscall.EXDEV):
		return !known || enforced.FS != 0
	case errors.As(err, &link):
		return false
	case errors.Is(err, syscall.EPERM):
		return !known || enforced.Scope != 0
	}
	return false
}
