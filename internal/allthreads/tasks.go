//go:build linux && (amd64 || arm64)

package allthreads

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// taskList is /proc/self/task, opened before a domain hides it and kept: what
// is open stays readable in any domain.
type taskList struct {
	fd     int  // -1 where there is none: its link count tells how many threads there are
	listed bool // its names can be read
	asked  bool // whether they are the ids that this process knows itself by
	own    bool // and they are
	stat   unix.Stat_t
}

// open opens the directory, unless it is open still: some programs close all
// that is open. Where it cannot be listed, because of a domain that was there
// before, it can still be counted. What is short for the moment is an error, and
// not taken for a /proc that is not there.
func (t *taskList) open() syscall.Errno {
	var stat unix.Stat_t
	if t.fd >= 0 && unix.Fstat(t.fd, &stat) == nil && stat.Dev == t.stat.Dev && stat.Ino == t.stat.Ino {
		return 0
	}
	*t = taskList{fd: -1, asked: true} // not closed: it is someone else's
	const path, flags = "/proc/self/task", unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open(path, unix.O_RDONLY|flags, 0)
	readable := err == nil
	if !readable && shortage(err) == 0 {
		fd, err = unix.Open(path, unix.O_PATH|flags, 0)
	}
	if err != nil {
		return shortage(err)
	}
	if !isProc(fd) || unix.Fstat(fd, &t.stat) != nil {
		unix.Close(fd)
		return 0
	}
	t.fd, t.listed, t.asked = fd, readable, false
	return 0
}

// ask finds out whether the directory lists the thread ids that this process knows
// itself by. Mostly nobody has to ask: an id is only a guess, which the kernel takes
// for a thread of this process or for none, and the count shows that none is missing.
func (t *taskList) ask() syscall.Errno {
	own, err := ownThreads(t.fd)
	if errno := shortage(err); errno != 0 {
		return errno
	}
	t.asked, t.own = true, own
	t.listed = t.listed && (own || err != nil) // an earlier domain may hide whose it is
	return 0
}

// shortage returns an error that may be gone the next time, or 0.
func shortage(err error) syscall.Errno {
	switch err {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return err.(syscall.Errno)
	}
	return 0
}

func isProc(fd int) bool {
	var stat unix.Statfs_t
	return unix.Fstatfs(fd, &stat) == nil && stat.Type == unix.PROC_SUPER_MAGIC
}

// ownThreads reports whether a task directory lists the thread ids that this
// process knows itself by. A /proc of another pid namespace lists others: there
// this process has more than one id.
func ownThreads(fd int) (bool, error) {
	status, err := readAt(fd, "../status")
	return strings.Contains(string(status), "\nNStgid:\t"+strconv.Itoa(unix.Getpid())+"\n"), err
}

// readAt returns the start of a file beneath a directory.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := make([]byte, 8<<10)
	n, err := unix.Read(fd, text)
	return text[:max(n, 0)], err
}
