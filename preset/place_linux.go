package preset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// way is where a path leads, one component after the other. What is on it is open, and
// stays what it is whatever becomes of its name.
type way struct {
	files []*os.File // from / to the last that was reached
	names []string   // those of files, without that of /
	rest  []string   // what was not reached
}

// The kernel follows no more links than that.
const maxLinks = 40

// follow returns where a path leads, by the links of root and of this user alone: one
// that somebody else has made, or can exchange, is an error that errUnsafe is. With
// strict, so are directories that somebody else can exchange. With an error the way
// ends where it is.
func follow(to string, strict bool) (*way, error) {
	w := &way{rest: strings.Split(to, "/")}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return w, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w.files = []*os.File{os.NewFile(uintptr(fd), "/")}
	for links := 0; len(w.rest) > 0; {
		target, err := w.step(strict)
		if err != nil {
			return w, err
		}
		if target == "" {
			continue
		}
		if links++; links > maxLinks {
			return w, &fs.PathError{Op: "open", Path: to, Err: unix.ELOOP}
		}
		if path.IsAbs(target) {
			w.back(len(w.names))
		}
		w.rest = append(strings.Split(target, "/"), w.rest[1:]...)
	}
	return w, nil
}

// step goes to the next component. It stays where that is a link, and returns its target.
func (w *way) step(strict bool) (target string, err error) {
	switch w.rest[0] {
	case "", ".":
	case "..":
		w.back(min(1, len(w.names)))
	default:
		if target, err = w.enter(w.rest[0], strict); target != "" || err != nil {
			return target, err
		}
	}
	w.rest = w.rest[1:]
	return "", nil
}

func (w *way) enter(name string, strict bool) (target string, err error) {
	at := path.Join(w.reached(), name)
	fd, err := unix.Openat(int(w.last().Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: at, Err: err}
	}
	next := os.NewFile(uintptr(fd), at)
	info, err := next.Stat()
	link := err == nil && info.Mode().Type() == fs.ModeSymlink
	if err == nil && (strict || link) {
		err = w.keeps(next)
	}
	if err != nil || link {
		defer next.Close()
	}
	switch {
	case err != nil:
		return "", err
	case link:
		return readLink(next)
	}
	w.files, w.names = append(w.files, next), append(w.names, name)
	return "", nil
}

// readLink reads a link that is open.
func readLink(link *os.File) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", text)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: link.Name(), Err: err}
	}
	return string(text[:n]), nil
}

// keeps returns an error where somebody else can exchange what is in the last
// directory, or has made it, where everybody may.
func (w *way) keeps(file *os.File) error {
	var root, dir, made unix.Stat_t
	err := errors.Join(unix.Fstat(int(w.files[0].Fd()), &root), unix.Fstat(int(w.last().Fd()), &dir), unix.Fstat(int(file.Fd()), &made))
	if err != nil {
		return err
	}
	// The owner of / has all. In a user namespace it may be nobody: root outside.
	trusted := func(uid uint32) bool { return uid == 0 || uid == root.Uid || uid == uint32(os.Geteuid()) }
	others := dir.Mode&unix.S_IWOTH != 0 || dir.Mode&unix.S_IWGRP != 0 && !ownGroup(w.last(), &dir)
	link := made.Mode&unix.S_IFMT == unix.S_IFLNK
	switch {
	case !trusted(dir.Uid):
		return fmt.Errorf("%w: %s belongs to user %d", errUnsafe, w.last().Name(), dir.Uid)
	case others && dir.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("%w: %s may be written by others, and is not sticky", errUnsafe, w.last().Name())
	case (others || link) && !trusted(made.Uid):
		return fmt.Errorf("%w: %s belongs to user %d", errUnsafe, file.Name(), made.Uid)
	}
	return nil
}

// ownGroup reports whether the group of a directory is root's or this user's own, whose
// number by convention is that of the user, and no list (ACL) names others.
func ownGroup(dir *os.File, stat *unix.Stat_t) bool {
	if stat.Gid != 0 && (stat.Gid != stat.Uid || stat.Uid != uint32(os.Geteuid())) {
		return false
	}
	_, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), "system.posix_acl_access", nil)
	return err == unix.ENODATA || err == unix.EOPNOTSUPP
}

func (w *way) last() *os.File { return w.files[len(w.files)-1] }

// reached returns the path of the last file, without links.
func (w *way) reached() string { return "/" + strings.Join(w.names, "/") }

// place returns the path without links. What does not exist yet may be made later.
func (w *way) place() string { return path.Join("/", w.reached(), path.Join(w.rest...)) }

// back goes back by some components.
func (w *way) back(n int) {
	for range n {
		w.last().Close()
		w.files, w.names = w.files[:len(w.files)-1], w.names[:len(w.names)-1]
	}
}

// close closes all but the last file if that is to be kept.
func (w *way) close(keep *os.File) {
	for _, file := range w.files {
		if file != keep {
			file.Close()
		}
	}
}

// has reports whether a file is on the way.
func (w *way) has(info os.FileInfo) bool {
	return slices.ContainsFunc(w.files, func(file *os.File) bool {
		other, err := file.Stat()
		return err == nil && os.SameFile(other, info)
	})
}

// endsAt reports whether a file is where the way leads to.
func (w *way) endsAt(info os.FileInfo) bool {
	if len(w.rest) > 0 || len(w.files) == 0 {
		return false
	}
	last, err := w.last().Stat()
	return err == nil && os.SameFile(last, info)
}
