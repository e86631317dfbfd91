package preset

import (
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// manyTerminals are devices that lead to another terminal each time they are opened:
// /dev/tty0, /dev/tty, /dev/console and /dev/ptmx.
var manyTerminals = []uint64{unix.Mkdev(4, 0), unix.Mkdev(5, 0), unix.Mkdev(5, 1), unix.Mkdev(5, 2)}

// terminalOf returns what judges the file of a standard stream: it has to be a terminal,
// and to be opened again as the same one.
func terminalOf(stream int) func(*os.File) error {
	return func(found *os.File) error {
		info, err := found.Stat()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode().Type() != isDevice || slices.Contains(manyTerminals, uint64(stat.Rdev)) {
			return fs.ErrNotExist
		}
		var open unix.Stat_t
		if unix.Fstat(stream, &open) != nil || open.Dev != stat.Dev || open.Ino != stat.Ino {
			return fs.ErrNotExist
		}
		if _, err := unix.IoctlGetTermios(stream, unix.TCGETS); err != nil {
			return fs.ErrNotExist
		}
		return nil
	}
}
