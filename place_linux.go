package landlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is where a path leads to. Its files are opened with O_PATH, which
// Landlock leaves alone, changes nothing and works on any kind of file.
type place struct {
	parent int    // the directory that the last element was looked up in; -1 where the path has none
	file   int    // what is there; -1 where nothing is
	name   string // the last element
	path   string // all of it, for people
	id     fileID // of file, as all below
	kind   uint32 // S_IFREG and so on; 0 where nothing is
	inside bool   // a file of the kernel's own, such as a pipe, which no rule is about
}

// fileID is what a rule belongs to, and the mount by which it was found.
type fileID struct {
	device, inode uint64
	mount         uint64
}

func (id fileID) onAnyMount() fileID { id.mount = 0; return id }

// identify returns which file is open.
func identify(fd int) (id fileID, kind uint32, err error) {
	var stat unix.Statx_t
	return identifyAs(fd, &stat)
}

func identifyAs(fd int, stat *unix.Statx_t) (id fileID, kind uint32, err error) {
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_MNT_ID, stat)
	return fileID{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Ino, stat.Mnt_id}, uint32(stat.Mode) & unix.S_IFMT, err
}

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// findPlace looks a path up as the kernel does. With follow it goes on where the
// last element is a symbolic link. The caller closes the place.
func findPlace(path string, follow bool) (p *place, err error) {
	p = &place{parent: -1, file: -1}
	defer func() {
		if err != nil {
			p.close()
			err = &fs.PathError{Op: "look up", Path: path, Err: err}
		}
	}()
	if err := wrongPath(path); err != nil {
		return p, err
	}
	rest := path
	for range maxLinks + 1 {
		target, err := p.step(rest, follow)
		if err != nil {
			return p, err
		}
		if target == "" {
			p.path = p.describe(path)
			return p, nil
		}
		rest = target
	}
	return p, unix.ELOOP
}

// step looks up a path that begins at p.parent, and returns where the link at
// its end leads to, which begins there too.
func (p *place) step(path string, follow bool) (target string, err error) {
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
		p.close()
		p.parent, p.file, p.name = -1, fd, ""
		p.id, p.kind, err = identify(fd)
		return "", err
	}
	if dir == "" {
		dir = "."
	}
	parent, err := unix.Openat(at, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	p.close()
	p.parent, p.name, p.kind = parent, name, 0
	p.file, err = unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		p.file = -1
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if p.id, p.kind, err = identify(p.file); err != nil {
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

// readLink returns the target of the link that the place is. A link of /proc
// that leads straight to a file it follows itself, since its text need not be a
// path to that.
func (p *place) readLink(mustBeDir bool) (string, error) {
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
	if err := p.jump(target); err != nil || !mustBeDir || p.isDirectory() {
		return "", err
	}
	return "", unix.ENOTDIR
}

// jump makes p the place of what a link of /proc leads to, of which its text
// tells the path where there is one.
func (p *place) jump(text string) error {
	fd, err := unix.Openat(p.parent, p.name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.close()
	p.parent, p.file, p.name = -1, fd, text
	if p.id, p.kind, err = identify(fd); err != nil {
		return err
	}
	if !filepath.IsAbs(text) {
		p.inside = true
		return nil
	}
	if p.kind == unix.S_IFDIR {
		return nil
	}
	named, err := findPlace(text, false)
	if err == nil && named.id != p.id {
		named.close()
		err = errNoName
	}
	if err != nil {
		return errNoName
	}
	p.close()
	*p = *named
	return nil
}

var errNoName = errors.New("the file that this link leads to has no name by which its directory could be found")

// describe returns the path of the place; given is how it was asked for.
func (p *place) describe(given string) string {
	if p.inside {
		return p.name
	}
	fd, name := p.parent, p.name
	if p.kind == unix.S_IFDIR || fd < 0 {
		fd, name = p.file, ""
	}
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || !filepath.IsAbs(dir) {
		if absolute, err := filepath.Abs(given); err == nil {
			return absolute
		}
		return given
	}
	return filepath.Join(dir, name)
}

func (p *place) close() {
	for _, fd := range []int{p.parent, p.file} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.parent, p.file = -1, -1
}

func (p *place) exists() bool      { return p.kind != 0 }
func (p *place) isDirectory() bool { return p.kind == unix.S_IFDIR }
func (p *place) isRegular() bool   { return p.kind == unix.S_IFREG }
func (p *place) isSocket() bool    { return p.kind == unix.S_IFSOCK }
func (p *place) isDevice() bool    { return p.kind == unix.S_IFCHR || p.kind == unix.S_IFBLK }

// makeRight returns the right that making a file of this kind takes.
func (p *place) makeRight() AccessFS {
	switch p.kind {
	case unix.S_IFLNK:
		return FSMakeSym
	case unix.S_IFDIR:
		return FSMakeDir
	case unix.S_IFCHR:
		return FSMakeChar
	case unix.S_IFBLK:
		return FSMakeBlock
	case unix.S_IFIFO:
		return FSMakeFifo
	case unix.S_IFSOCK:
		return FSMakeSock
	}
	return FSMakeReg
}

// upwards calls visit for the file itself and for each directory above it, to
// the root of this process: that is the way on which the kernel looks for rules.
// It leads across mount points.
func (p *place) upwards(visit func(fileID)) error {
	if p.exists() && !p.isDirectory() {
		visit(p.id.onAnyMount())
	}
	if p.isDirectory() {
		return upwardsFrom(p.file, visit)
	}
	if p.parent < 0 {
		return unix.ENOENT
	}
	return upwardsFrom(p.parent, visit)
}

func upwardsFrom(start int, visit func(fileID)) error {
	var below fileID
	mountRoot := true // whether what is below is the root of its mount
	for dir := start; ; {
		var stat unix.Statx_t
		id, _, err := identifyAs(dir, &stat)
		top := err == nil && id == below // above "/" is "/"
		above := -1
		switch {
		case err != nil || top:
		case id.mount != below.mount && !mountRoot:
			err = errCovered
		default:
			visit(id.onAnyMount())
			above, err = unix.Openat(dir, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		if dir != start {
			unix.Close(dir)
		}
		if err != nil || top {
			return err
		}
		mountRoot = stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
		below, dir = id, above
	}
}

// The kernel goes on beneath a mount that covers a directory on the way; a path
// cannot.
var errCovered = errors.New("a directory above is covered by a mount")

// above returns the directory that a place is in.
func (p *place) above() (*place, error) {
	if p.parent < 0 {
		return nil, errNothingAbove // "/", or a path that ends in a dot: it cannot be removed, made or moved
	}
	fd, err := unix.FcntlInt(uintptr(p.parent), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	above := &place{parent: -1, file: fd}
	above.id, above.kind, err = identify(fd)
	if err != nil {
		above.close()
		return nil, err
	}
	above.path = filepath.Dir(p.path)
	return above, nil
}

// modesAllow reports whether a file's mode, and what else is not Landlock's,
// lets this process use it: by reading (4), writing (2) and executing (1).
func modesAllow(path string, mode uint32) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil
}

// mayExecute reports whether a file's mode and its mount let this process execute
// it.
func mayExecute(path string) bool {
	var stat unix.Statfs_t
	return modesAllow(path, modeExecute) && unix.Statfs(path, &stat) == nil && stat.Flags&unix.ST_NOEXEC == 0
}

// leadsNowhere reports whether an error of findPlace says that its path leads
// nowhere: so whatever is tried there fails, with Landlock or without.
func leadsNowhere(err error) bool {
	for _, errno := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
