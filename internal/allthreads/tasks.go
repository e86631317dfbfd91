//go:build linux && (amd64 || arm64)

package allthreads

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// taskList is /proc/self/task, opened before a domain hides it and kept: what is
// open stays readable in any domain.
type taskList struct {
	fd int // -1 where there is none to be trusted
}

// open opens the list, unless it is open. Where there is no /proc, or one
// that speaks of other ids than this process's own, fd stays -1.
func (t *taskList) open() {
	if t.fd >= 0 {
		return
	}
	fd, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if !ownThreads(fd) {
		unix.Close(fd)
		return
	}
	t.fd = fd
}

// ownThreads reports whether a task directory lists the thread ids that this
// process knows itself by. A /proc of another pid namespace lists others: there
// this process has more than one id.
func ownThreads(fd int) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(fd, &stat) != nil || stat.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
	status, err := unix.Openat(fd, "../status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(status)
	text := make([]byte, 8<<10)
	n, err := unix.Read(status, text)
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(text[:n], []byte("\nNStgid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(bytes.TrimSpace(line)) == strconv.Itoa(unix.Getpid())
}
