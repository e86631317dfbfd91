package landlock

import "errors"

// fileID is what a rule belongs to, and the mount by which it was found.
type fileID struct {
	device, inode uint64
	mount         uint64
}

func (id fileID) onAnyMount() fileID { id.mount = 0; return id }

// What file modes have to allow.
const (
	modeExists  uint32 = 0
	modeExecute uint32 = 1
	modeWrite   uint32 = 2
	modeRead    uint32 = 4
)

// Why the kernel may have lost the rule for a file, or have it for another one.
var (
	errMayBeLost = errors.New("it depends on a rule that the kernel loses once memory gets short, as it does for all that is beneath /proc: have the rule for /proc itself")
	errLinkLost  = errors.New("it depends on a rule for a file with several names on such a file system, which the kernel loses once memory gets short: have the rule for its directory")
	errTerminal  = errors.New("it depends on a rule for a terminal, whose number another one gets once that is gone")
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// errNothingAbove is the error for a path that names no file in a directory.
var errNothingAbove = errors.New("it has no directory above")
