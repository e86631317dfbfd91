package osthread

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ID returns the number of the calling thread.
func ID() int { return unix.Gettid() }

// IsMain reports whether the calling thread is the one that the process began with.
func IsMain() bool { return unix.Gettid() == unix.Getpid() }

// Ended reports whether no thread of this process has that number any more.
func Ended(id int) bool { return unix.Tgkill(unix.Getpid(), id, 0) == unix.ESRCH }

// AwaitEnd returns when a thread that is about to end has done so.
func AwaitEnd(id int) error {
	for range 100_000 {
		if unix.Tgkill(unix.Getpid(), id, 0) != nil {
			return nil
		}
		time.Sleep(time.Millisecond / 10)
	}
	return fmt.Errorf("thread %d does not end: %w", id, unix.ETIMEDOUT)
}
