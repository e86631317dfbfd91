package osthread

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ID returns the number of the calling thread.
func ID() int { return unix.Gettid() }

// IsMain reports whether the calling thread is the one that the process began with.
func IsMain() bool { return unix.Gettid() == unix.Getpid() }

// Ended reports whether no thread of this process has that number any more.
func Ended(id int) bool { return unix.Tgkill(unix.Getpid(), id, 0) == unix.ESRCH }

// Sleep is time.Sleep, but for what that may open for the Go runtime: without
// descriptors it would end the program.
func Sleep(d time.Duration) {
	pause := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&pause, nil)
}

// AwaitEnd returns when threads that are about to end have done so, or an error after ten
// seconds.
func AwaitEnd(ids ...int) error {
	limit := time.Now().Add(10 * time.Second)
	for _, id := range ids {
		for {
			err := unix.Tgkill(unix.Getpid(), id, 0)
			if err == unix.ESRCH {
				break
			}
			if err != nil {
				return fmt.Errorf("whether thread %d has ended cannot be told: %w", id, os.NewSyscallError("tgkill", err))
			}
			if time.Now().After(limit) {
				return fmt.Errorf("thread %d does not end: %w", id, unix.ETIMEDOUT)
			}
			Sleep(time.Millisecond / 10)
		}
	}
	return nil
}

// ReadProc reads a file of /proc, and none that somebody has put in its place. Not
// by os.ReadFile: where descriptors are scarce, the Go runtime's poller may find
// none left, and end the program.
func ReadProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if stat.Type != unix.PROC_SUPER_MAGIC {
		return nil, &fs.PathError{Op: "statfs", Path: path, Err: unix.ENOTSUP}
	}
	var text []byte
	for {
		text = slices.Grow(text, 4<<10)
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return text, nil
		}
		text = text[:len(text)+n]
	}
}

// Field returns a field of a status file of /proc, and whether it has one.
func Field(status []byte, name string) (value string, ok bool) {
	_, rest, ok := strings.Cut(string(status), "\n"+name+":")
	value, _, _ = strings.Cut(rest, "\n")
	return strings.TrimSpace(value), ok
}
