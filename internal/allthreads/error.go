//go:build linux

package allthreads

import (
	"fmt"
	"syscall"
)

// Error says at what Restrict failed, and how far it had come. Where Restricted
// is 0, nothing has changed, but that no_new_privs is set on all threads where the
// kernel refused the ruleset after it; Failed are those then whose own seccomp filter
// refuses that.
type Error struct {
	Op         string        // the system call, or what was attempted
	Errno      syscall.Errno // ETIMEDOUT: threads did not answer
	Restricted int           // threads that are restricted
	Failed     int           // threads that failed, or did not answer
	Thread     int           // the thread that Op is about, where it is one
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", e.Op, e.Errno)
	if e.Thread > 0 {
		text = fmt.Sprintf("thread %d: %s", e.Thread, text)
	}
	if e.Failed > 0 {
		text += fmt.Sprintf(" (%d threads)", e.Failed)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Errno }
