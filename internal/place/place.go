// Package place finds what paths lead to, as the kernel does, and what is above that:
// rules belong to files, and what counts are those of the file found and of all that
// is above it. It tells besides what else keeps this process from a file, such as its
// mode.
package place

import "errors"

// ID is what a rule belongs to, and the mount by which it was found.
type ID struct {
	Device, Inode uint64
	Mount         uint64
}

// OnAnyMount returns the file alone.
func (id ID) OnAnyMount() ID { id.Mount = 0; return id }

// What file modes have to allow.
const (
	ModeExists  uint32 = 0
	ModeExecute uint32 = 1
	ModeWrite   uint32 = 2
	ModeRead    uint32 = 4
)

// Why the kernel may have lost the rule for a file, or have it for another one.
var (
	errMayBeLost = errors.New("it depends on a rule that the kernel loses once memory gets short, as it does for all that is beneath /proc: have the rule for /proc itself")
	errLinkLost  = errors.New("it depends on a rule for a file with several names on such a file system, which the kernel loses once memory gets short: have the rule for its directory")
	errTerminal  = errors.New("it depends on a rule for a terminal, whose number another one gets once that is gone")
)

// MaxLinks is how many symbolic links the kernel follows in one path.
const MaxLinks = 40

// ErrNothingAbove is the error for a path that names no file in a directory.
var ErrNothingAbove = errors.New("it has no directory above")

// Place is where a path leads to. Its files are opened with O_PATH, which
// Landlock leaves alone, changes nothing and works on any kind of file.
type Place struct {
	Path   string // all of it, for people
	ID     ID     // of the file, where there is one
	Root   ID     // of this process, where the way up ends
	Empty  bool   // the file
	Inside bool   // a file of the kernel's own, such as a pipe, which no rule is about

	kind   uint32 // S_IFREG and so on; 0 where nothing is
	names  uint32 // how many it has
	number uint64 // of a device
	parent int    // the directory that the last element was looked up in; -1 where the path has none
	file   int    // what is there; -1 where nothing is
	name   string // the last element
}

// Level is a file or a directory on the way up.
type Level struct {
	ID        ID
	mountRoot bool   // it is the root of its mount
	dir       int    // an open directory, or the file itself,
	back      string // and the way from there: "", "..", "../.." and so on
	names     uint32 // how many a file has that is no directory
}
