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
	fd   int // -1 where there is none to be trusted
	stat unix.Stat_t
}

// open opens the list, unless it is open still: some programs close all that is
// open. Where there is no /proc, or one that speaks of other ids than this
// process's own, fd is -1.
func (t *taskList) open() {
	var stat unix.Stat_t
	if t.fd >= 0 && unix.Fstat(t.fd, &stat) == nil && stat.Dev == t.stat.Dev && stat.Ino == t.stat.Ino {
		return
	}
	t.fd = -1 // not closed: it is someone else's
	fd, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if unix.Fstat(fd, &t.stat) != nil || !ownThreads(fd) {
		unix.Close(fd)
		return
	}
	t.fd = fd
}

// mainEnded reports whether the main thread has ended before the others, which
// a C program's may. It is listed until the process ends, and answers no
// signal.
func (t *taskList) mainEnded() bool {
	stat := readAt(t.fd, strconv.Itoa(unix.Getpid())+"/stat")
	name := bytes.LastIndexByte(stat, ')') // the name before it may hold anything
	return name >= 0 && bytes.HasPrefix(stat[name:], []byte(") Z"))
}

// ownThreads reports whether a task directory lists the thread ids that this
// process knows itself by. A /proc of another pid namespace lists others: there
// this process has more than one id.
func ownThreads(fd int) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(fd, &stat) != nil || stat.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
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
