package program

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Open opens a regular file for reading, and nothing else: to open a device can have
// an effect of its own (a watchdog starts), and a FIFO may wait for ever. So the file
// is first opened without the right to use it, and that very one is opened again.
// One without a size is the kernel's own (as /proc/kmsg, which loses what is read),
// or of no interest.
//
// Where there is no descriptor left, those are closed first that nobody uses any more.
func Open(path string) (*os.File, error) {
	fd, err := open(path)
	for wait := time.Millisecond; (err == unix.EMFILE || err == unix.ENFILE) && wait < 50*time.Millisecond; wait *= 2 {
		runtime.GC() // which only begins to close them
		time.Sleep(wait)
		fd, err = open(path)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Reopen opens for reading what is open without the right to (O_PATH), if it is a
// regular file.
func Reopen(file *os.File) (*os.File, error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if closed := conn.Control(func(found uintptr) { fd, err = reopen(int(found), file.Name()) }); closed != nil {
		return nil, closed
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: file.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// NotThere reports whether an error says that there is no such file, or none that is to
// be read. Any other error leaves that open.
func NotThere(err error) bool {
	return slices.ContainsFunc([]error{
		unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG, errNotRegular, errEmpty, errKernels,
	}, func(one error) bool { return errors.Is(err, one) })
}

func open(path string) (int, error) {
	found, err := retry(path, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(found)
	return reopen(found, path)
}

func reopen(found int, path string) (int, error) {
	want, err := regular(found)
	if err != nil {
		return -1, err
	}
	const flags = unix.O_RDONLY | unix.O_NOCTTY | unix.O_NONBLOCK // which waits for no lease either
	fd, err := retry("/proc/self/fd/"+strconv.Itoa(found), flags)
	switch err {
	case nil:
		return blocking(fd)
	case unix.ENOENT: // there is no /proc
	default:
		return -1, err
	}
	fd, err = retry(path, flags)
	if err != nil {
		return -1, err
	}
	got, err := regular(fd)
	if err == nil && (got.Dev != want.Dev || got.Ino != want.Ino) {
		err = errReplaced
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return blocking(fd)
}

// blocking makes a descriptor one that os.NewFile does not poll: where the Go runtime
// finds no descriptor for its poller, it ends the program.
func blocking(fd int) (int, error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func retry(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR { // which a network filesystem may answer
			return fd, err
		}
	}
}

// regular returns what a file is, or why it is not to be read.
func regular(fd int) (stat unix.Stat_t, err error) {
	err = unix.Fstat(fd, &stat)
	switch {
	case err != nil:
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errNotRegular
	case stat.Size == 0:
		err = errEmpty
	default:
		err = ordinary(fd)
	}
	return stat, err
}

// ordinary returns an error for a file system whose files the kernel makes up: to
// open or read one can have an effect.
func ordinary(fd int) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return err
	}
	switch uint32(stat.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, configfs, unix.SECURITYFS_MAGIC,
		unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.EFIVARFS_MAGIC,
		unix.PSTOREFS_MAGIC, unix.BPF_FS_MAGIC, unix.BINFMTFS_MAGIC, unix.NSFS_MAGIC:
		return errKernels
	}
	return nil
}

const configfs = 0x62656570 // CONFIGFS_MAGIC of fs/configfs/mount.c
