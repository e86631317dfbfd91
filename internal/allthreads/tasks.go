//go:build linux && (amd64 || arm64)

package allthreads

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// taskList is /proc/self/task, opened before a domain hides it and kept: what
// is open stays readable in any domain.
type taskList struct {
	fd     int  // -1 where there is none: its link count tells how many threads there are
	own    bool // its names are the ids that this process knows itself by
	listed bool // and they can be read
	stat   unix.Stat_t
}

// open opens the directory, unless it is open still: some programs close all
// that is open. Where it cannot be listed, because of a domain that was there
// before, it can still be counted.
func (t *taskList) open() {
	var stat unix.Stat_t
	if t.fd >= 0 && unix.Fstat(t.fd, &stat) == nil && stat.Dev == t.stat.Dev && stat.Ino == t.stat.Ino {
		return
	}
	*t = taskList{fd: -1} // not closed: it is someone else's
	const path, flags = "/proc/self/task", unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open(path, unix.O_RDONLY|flags, 0)
	readable := err == nil
	if !readable {
		fd, err = unix.Open(path, unix.O_PATH|flags, 0)
	}
	if err != nil {
		return
	}
	if !isProc(fd) || unix.Fstat(fd, &t.stat) != nil {
		unix.Close(fd)
		return
	}
	t.fd, t.own = fd, ownThreads(fd)
	t.listed = readable && t.own
}

func isProc(fd int) bool {
	var stat unix.Statfs_t
	return unix.Fstatfs(fd, &stat) == nil && stat.Type == unix.PROC_SUPER_MAGIC
}

// ownThreads reports whether a task directory lists the thread ids that this
// process knows itself by. A /proc of another pid namespace lists others: there
// this process has more than one id.
func ownThreads(fd int) bool {
	_, rest, _ := bytes.Cut(readAt(fd, "../status"), []byte("\nNStgid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(bytes.TrimSpace(line)) == strconv.Itoa(unix.Getpid())
}

// readAt returns the start of a file beneath a directory, or nothing.
func readAt(dir int, name string) []byte {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	text := make([]byte, 8<<10)
	n, _ := unix.Read(fd, text)
	return text[:max(n, 0)]
}
