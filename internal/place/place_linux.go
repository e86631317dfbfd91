package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported says that there are system calls here to look paths up with.
const Supported = true

// identify returns which file is open. Whatever the mount, it is only known by statx.
func identify(fd int) (id ID, kind uint32, err error) {
	var stat unix.Statx_t
	err = statx(fd, "", unix.AT_EMPTY_PATH, &stat)
	return idOf(&stat), uint32(stat.Mode) & unix.S_IFMT, err
}

// A mount's unique number, from Linux 6.8 on, is given to no other mount later.
const statxMask = unix.STATX_TYPE | unix.STATX_INO | unix.STATX_NLINK | unix.STATX_SIZE | unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE

func statx(at int, path string, flags int, stat *unix.Statx_t) error {
	for {
		err := unix.Statx(at, path, flags|unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, statxMask, stat)
		if err != unix.EINTR {
			return err
		}
	}
}

func idOf(stat *unix.Statx_t) ID {
	return ID{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Ino, stat.Mnt_id}
}

// Opened returns which file is open, and whether it is a directory, and was removed. It
// allocates nothing, and asks no server of a network file system once more.
func Opened(fd int) (id ID, directory, removed bool, err error) {
	var stat unix.Statx_t
	var noPath byte
	errno := unix.EINTR
	for errno == unix.EINTR {
		_, _, errno = unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&noPath)), unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC,
			statxMask, uintptr(unsafe.Pointer(&stat)), 0)
	}
	if errno != 0 {
		return ID{}, false, false, os.NewSyscallError("statx", errno)
	}
	return idOf(&stat), stat.Mode&unix.S_IFMT == unix.S_IFDIR, stat.Nlink == 0, nil
}

// MayBeUnmounted reports whether a mount may be gone. here is one that is there. Before
// Linux 6.8 numbers of mounts are not unique, and tell nothing.
func MayBeUnmounted(mount, here uint64) bool {
	const firstUnique = 1 << 31
	if mount == here || mount <= firstUnique {
		return false
	}
	err := statmount(mount)
	// A mount that is out of sight is EPERM, and so is a seccomp filter's refusal.
	return err != nil && !(err == unix.EPERM && statmount(here) == nil)
}

func statmount(mount uint64) error {
	request := struct {
		size, _     uint32
		mount, what uint64
	}{24, 0, mount, 1 /* STATMOUNT_SB_BASIC */}
	var buffer [512]byte
	_, _, errno := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(&request)), uintptr(unsafe.Pointer(&buffer)), unsafe.Sizeof(buffer), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// IsNowhere reports whether an open file is none that a rule can be for: one of a file
// system of the kernel's own, which no path leads to.
func IsNowhere(fd int) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(fd, &stat) != nil {
		return false
	}
	switch stat.Type {
	case unix.PIPEFS_MAGIC, unix.SOCKFS_MAGIC, unix.ANON_INODE_FS_MAGIC, unix.NSFS_MAGIC, unix.PID_FS_MAGIC:
		return true
	}
	p := Place{file: fd}
	return p.identify() == nil && p.isMemory()
}

// WorkingDirectoryReachable reports whether the working directory is beneath the root of
// this process. Then so is all that is looked up from there.
func WorkingDirectoryReachable() bool {
	fd, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	id, _, err := identify(fd)
	return err == nil && Reachable(fd, id, "")
}

// Root returns which directory "/" is, for this process.
func Root() (ID, error) {
	var stat unix.Statx_t
	err := statx(unix.AT_FDCWD, "/", 0, &stat)
	return idOf(&stat), err
}

// Reachable reports whether a path leads to an open directory, which is then beneath
// the root of this process: the one that it was opened by, or that it has now.
func Reachable(fd int, id ID, openedBy string) bool {
	if filepath.IsAbs(openedBy) && !strings.Contains(openedBy, "/proc/") && leadsTo(openedBy, id) {
		return true
	}
	path, err := pathOf(fd)
	return err == nil && filepath.IsAbs(path) && leadsTo(path, id)
}

// leadsTo reports whether a path leads to a file, by whatever mount.
func leadsTo(path string, id ID) bool {
	var stat unix.Statx_t
	return statx(unix.AT_FDCWD, path, 0, &stat) == nil && idOf(&stat).OnAnyMount() == id.OnAnyMount()
}

// pathOf returns the path of an open file, as far as /proc knows it.
func pathOf(fd int) (string, error) { return os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)) }

// Find looks a path up as the kernel does. With follow it goes on where the
// last element is a symbolic link. The caller closes the place.
func Find(path string, follow bool) (p *Place, err error) {
	p = &Place{parent: -1, file: -1}
	defer func() {
		if err != nil {
			p.Close()
			err = NeedsDescriptors(&fs.PathError{Op: "look up", Path: path, Err: err})
		}
	}()
	if len(path) >= unix.PathMax {
		return p, unix.ENAMETOOLONG
	}
	rest := path
	for links := range MaxLinks + 1 {
		target, err := p.step(rest, follow)
		if err != nil {
			return p, err
		}
		if target == "" {
			if links > 0 {
				err = p.isFoundBy(path)
			}
			p.Path = p.describe(path)
			return p, err
		}
		rest = target
	}
	return p, unix.ELOOP
}

// errChanged is for a path that led to one file, and then to another.
var errChanged = errors.New("it was changed meanwhile")

// isFoundBy returns why the kernel does not find the place by a path in which links were
// followed here: it counts those of the directories too, and a mount may forbid them.
func (p *Place) isFoundBy(path string) error {
	var stat unix.Statx_t
	err := statx(unix.AT_FDCWD, path, 0, &stat)
	switch {
	case err == unix.ENOENT && !p.Exists():
		return nil
	case err == nil && (!p.Exists() || idOf(&stat) != p.ID):
		return errChanged
	}
	return err
}

// step looks up a path that begins at p.parent, and returns where the link at
// its end leads to, which begins there too.
func (p *Place) step(path string, follow bool) (target string, err error) {
	at := p.parent
	if at < 0 {
		at = unix.AT_FDCWD
	}
	trimmed := strings.TrimRight(path, "/")
	slash := strings.LastIndexByte(trimmed, '/')
	dir, name := trimmed[:slash+1], trimmed[slash+1:]
	if name == "" || name == "." || name == ".." {
		fd, err := unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		p.Close()
		p.parent, p.file, p.name = -1, fd, ""
		return "", p.identify()
	}
	if dir == "" {
		dir = "."
	}
	parent, err := unix.Openat(at, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	p.Close()
	p.parent, p.name, p.kind = parent, name, 0
	p.file, err = unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		p.file = -1
		return "", p.parentIsThere()
	}
	if err != nil {
		return "", err
	}
	if err := p.identify(); err != nil {
		return "", err
	}
	mustBeDir := len(trimmed) < len(path)
	if p.kind == unix.S_IFLNK && (follow || mustBeDir) {
		return p.readLink(mustBeDir)
	}
	if mustBeDir && p.kind != unix.S_IFDIR {
		return "", unix.ENOTDIR
	}
	return "", nil
}

// parentIsThere returns an error where the directory was removed: nothing can be made in
// it any more.
func (p *Place) parentIsThere() error {
	var stat unix.Stat_t
	err := unix.Fstat(p.parent, &stat)
	if err == nil && stat.Nlink == 0 {
		err = unix.ENOENT
	}
	return err
}

// readLink returns the target of the link that the place is. A link of /proc
// that leads straight to a file it follows itself, since its text need not be a
// path to that.
func (p *Place) readLink(mustBeDir bool) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(p.file, "", buffer)
	if err != nil {
		return "", err
	}
	target := string(buffer[:n])
	if target == "" {
		return "", unix.ENOENT
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(p.parent, p.name, &how)
	if err == nil {
		unix.Close(fd)
	}
	var stat unix.Statfs_t
	if err != unix.ELOOP || unix.Fstatfs(p.file, &stat) != nil || stat.Type != unix.PROC_SUPER_MAGIC {
		if mustBeDir {
			target += "/"
		}
		return target, nil
	}
	if err := p.jump(target); err != nil || !mustBeDir || p.IsDirectory() {
		return "", err
	}
	return "", unix.ENOTDIR
}

// jump makes p the place of what a link of /proc leads to, of which its text
// tells the path where there is one.
func (p *Place) jump(text string) error {
	fd, err := unix.Openat(p.parent, p.name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.Close()
	p.parent, p.file, p.name = -1, fd, text
	if err := p.identify(); err != nil {
		return err
	}
	if !filepath.IsAbs(text) || p.isMemory() {
		p.Inside = true
		return nil
	}
	if p.kind == unix.S_IFDIR {
		return nil
	}
	named, err := Find(text, false)
	if err == nil && (named.ID != p.ID || p.names != 1) { // a file with several names may be another one's
		named.Close()
		err = errNoName
	}
	if err != nil {
		return errNoName
	}
	p.Close()
	*p = *named
	return nil
}

// isMemory reports whether a file is on the mount of the kernel's own where memfd_create
// makes files: the name of such a file could be anybody's.
func (p *Place) isMemory() bool {
	if p.kind != unix.S_IFREG || unix.Major(p.ID.Device) != 0 {
		return false
	}
	other, err := unix.MemfdCreate("landlock", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(other)
	id, _, err := identify(other)
	return err == nil && id.Device == p.ID.Device && id.Mount == p.ID.Mount
}

// identify finds out what was opened.
func (p *Place) identify() error {
	var stat unix.Statx_t
	if err := statx(p.file, "", unix.AT_EMPTY_PATH, &stat); err != nil {
		return err
	}
	if stat.Attributes&unix.STATX_ATTR_AUTOMOUNT != 0 {
		return errAutomount
	}
	p.ID, p.kind, p.names = idOf(&stat), uint32(stat.Mode)&unix.S_IFMT, stat.Nlink
	p.number, p.Empty = unix.Mkdev(stat.Rdev_major, stat.Rdev_minor), stat.Size == 0
	return nil
}

var errAutomount = errors.New("something else is mounted there once it is used")

var errNoName = errors.New("the file that this link leads to has no name by which its directory could be found")

// describe returns the path of the place; given is how it was asked for.
func (p *Place) describe(given string) string {
	if p.Inside {
		return p.name
	}
	fd, name := p.parent, p.name
	if p.kind == unix.S_IFDIR || fd < 0 {
		fd, name = p.file, ""
	}
	dir, err := pathOf(fd)
	if err != nil || !filepath.IsAbs(dir) {
		if absolute, err := filepath.Abs(given); err == nil {
			return absolute
		}
		return given
	}
	return filepath.Join(dir, name)
}

// IsAtPath reports whether its path leads to the place: not beneath what covers it, or
// from another root.
func (p *Place) IsAtPath() bool {
	var stat unix.Statx_t
	if p.Exists() {
		return statx(unix.AT_FDCWD, p.Path, unix.AT_SYMLINK_NOFOLLOW, &stat) == nil && idOf(&stat) == p.ID
	}
	id, _, err := identify(p.parent)
	return err == nil && statx(unix.AT_FDCWD, filepath.Dir(p.Path), unix.AT_SYMLINK_NOFOLLOW, &stat) == nil && idOf(&stat) == id
}

func (p *Place) Close() {
	for _, fd := range []int{p.parent, p.file} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.parent, p.file = -1, -1
}

func (p *Place) Exists() bool      { return p.kind != 0 }
func (p *Place) IsDirectory() bool { return p.kind == unix.S_IFDIR }
func (p *Place) IsRegular() bool   { return p.kind == unix.S_IFREG }
func (p *Place) IsLink() bool      { return p.kind == unix.S_IFLNK }
func (p *Place) IsSocket() bool    { return p.kind == unix.S_IFSOCK }
func (p *Place) IsDevice() bool    { return p.kind == unix.S_IFCHR || p.kind == unix.S_IFBLK }

// IsWhiteout reports whether it is what overlayfs marks with what was removed.
func (p *Place) IsWhiteout() bool { return p.kind == unix.S_IFCHR && p.number == 0 }

// Type returns what kind of file is there: 0 for a regular one, and where nothing is.
func (p *Place) Type() fs.FileMode {
	switch p.kind {
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		return fs.ModeDevice
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	}
	return 0
}

// Level is the first.
func (p *Place) Level() Level {
	l := Level{ID: p.ID, dir: p.file}
	if !p.IsDirectory() {
		l.names = p.names
	}
	return l
}

// MayBeLost returns why the kernel may have lost a rule for this, or given its number to
// another file: some file systems give all files but the root (number 1) other inodes
// when memory is short.
func (l Level) MayBeLost() error {
	if unix.Major(l.ID.Device) != 0 || l.ID.Inode == 1 {
		return nil
	}
	fd, err := l.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return err
	}
	switch {
	case stat.Type == unix.PROC_SUPER_MAGIC, stat.Type == unix.TRACEFS_MAGIC, stat.Type == unix.V9FS_MAGIC:
		return errMayBeLost
	case stat.Type == unix.OVERLAYFS_SUPER_MAGIC && l.back == "" && l.names > 1:
		return errLinkLost
	case stat.Type == unix.DEVPTS_SUPER_MAGIC && l.back == "" && l.names > 0:
		return errTerminal
	}
	return nil
}

// open opens it once more.
func (l Level) open() (fd int, err error) {
	if l.back == "" {
		fd, err = unix.FcntlInt(uintptr(l.dir), unix.F_DUPFD_CLOEXEC, 3)
	} else {
		fd, err = unix.Openat(l.dir, l.back, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	return fd, NeedsDescriptors(err)
}

// Upwards calls visit for the file itself and for each directory above it, to
// the root of this process, as long as it wants more: that is the way on which the
// kernel looks for rules. It leads across mount points.
func (p *Place) Upwards(visit func(Level) (more bool)) error {
	root, err := Root()
	if err != nil {
		return err
	}
	p.Root = root
	if p.parent < 0 && p.IsDirectory() {
		return upwardsFrom(p.file, root, visit)
	}
	if p.Exists() && !visit(p.Level()) {
		return nil
	}
	if p.parent < 0 {
		return unix.ENOENT
	}
	return upwardsFrom(p.parent, root, visit) // and not by "..", for which a directory has to be searched
}

// maxBack is how long a way back may be before it begins anew.
const maxBack = 192

func upwardsFrom(start int, root ID, visit func(Level) (more bool)) error {
	here := Level{dir: start}
	defer func() {
		if here.dir != start {
			unix.Close(here.dir)
		}
	}()
	if err := here.look(); err != nil {
		return err
	}
	for {
		if !visit(here) || here.ID == root {
			return nil
		}
		above, err := here.above(root)
		if err != nil || above.ID == here.ID { // above the top is the top
			return err
		}
		if here = above; len(here.back) > maxBack {
			fd, err := here.open()
			if err != nil {
				return NeedsDescriptors(err)
			}
			if here.dir != start {
				unix.Close(here.dir)
			}
			here.dir, here.back = fd, ""
		}
	}
}

// look finds out what is there.
func (l *Level) look() error {
	flags := 0
	if l.back == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var stat unix.Statx_t
	err := statx(l.dir, l.back, flags, &stat)
	l.ID, l.mountRoot = idOf(&stat), stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	return err
}

// The kernel goes on beneath a mount that covers a directory on the way; a path
// cannot.
var errCovered = errors.New("a directory above is covered by a mount")

// above returns the directory above one. Where a mount covers that, ".." leads to the
// mount, and the kernel looks at what is beneath.
func (l Level) above(root ID) (Level, error) {
	above := Level{dir: l.dir, back: ".."}
	if l.back != "" {
		above.back = l.back + "/.."
	}
	if err := above.look(); err != nil || above.ID.Mount == l.ID.Mount || above.ID == l.ID {
		return above, err
	}
	fd, err := l.open()
	if err != nil {
		return Level{}, err
	}
	defer unix.Close(fd)
	path, err := pathOf(fd)
	if err != nil {
		return Level{}, err
	}
	name := filepath.Base(path)
	if l.mountRoot && l.isAt(above.dir, above.back+"/"+name) {
		return above, nil
	}
	if l.isAt(unix.AT_FDCWD, "/"+name) { // a path that begins at the root begins beneath what covers it
		above.ID = root
		return above, nil
	}
	return Level{}, errCovered
}

// isAt reports whether a path leads to this very directory, by this very mount.
func (l Level) isAt(dir int, path string) bool {
	var stat unix.Statx_t
	return statx(dir, path, unix.AT_SYMLINK_NOFOLLOW, &stat) == nil && idOf(&stat) == l.ID
}

// Above returns the directory that a place is in.
func (p *Place) Above() (*Place, error) {
	if p.parent < 0 {
		return nil, ErrNothingAbove // "/", or a path that ends in a dot: it cannot be removed, made or moved
	}
	fd, err := unix.FcntlInt(uintptr(p.parent), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, NeedsDescriptors(err)
	}
	above := &Place{parent: -1, file: fd}
	above.ID, above.kind, err = identify(fd)
	if err != nil {
		above.Close()
		return nil, err
	}
	above.Path = filepath.Dir(p.Path)
	return above, nil
}

// ModesAllow reports whether a file's mode, and what else is not Landlock's,
// lets this process use it: by reading (4), writing (2) and executing (1).
func ModesAllow(path string, mode uint32) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil
}

// MayExecute reports whether a file's mode and its mount let this process execute
// it.
func MayExecute(path string) bool {
	var stat unix.Statfs_t
	return ModesAllow(path, ModeExecute) && unix.Statfs(path, &stat) == nil && stat.Flags&unix.ST_NOEXEC == 0
}

// LeadsNowhere reports whether an error of Find says that its path leads
// nowhere: so whatever is tried there fails, with Landlock or without.
func LeadsNowhere(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// MayChange reports whether the mode of the directory that a place is in lets this
// process make and remove files there.
func (p *Place) MayChange() bool {
	return p.parent >= 0 && unix.Faccessat(p.parent, ".", ModeWrite|ModeExecute, unix.AT_EACCESS) == nil
}

// NeedsDescriptors adds to an error what to do where there are no descriptors left.
func NeedsDescriptors(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w: raise RLIMIT_NOFILE", err)
	case errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w: raise sysctl fs.file-max", err)
	}
	return err
}
