package preset

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isAt reports whether a file is at a path, with no symbolic link on the way.
func isAt(info os.FileInfo, path string) bool {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	at := os.NewFile(uintptr(fd), "/")
	defer func() { at.Close() }()
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		// A link is opened itself, and nothing is beneath it.
		fd, err := unix.Openat(int(at.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		at.Close()
		at = os.NewFile(uintptr(fd), name)
	}
	there, err := at.Stat()
	return err == nil && os.SameFile(there, info)
}
