package place

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// memoryDevices is the number of /dev/null and its kin, on which nobody calls ioctl.
const memoryDevices = 1

// HasDevices reports whether an open file is a device, but for /dev/null and its kin,
// or a directory of devices: /dev or /dev/pts with what is mounted there, whatever they
// are called.
func HasDevices(fd int) (bool, error) {
	var file unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	switch file.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return true, nil
	case unix.S_IFCHR:
		return unix.Major(uint64(file.Rdev)) != memoryDevices, nil
	case unix.S_IFDIR:
		return isDirectoryOfDevices(&file)
	}
	return false, nil
}

func isDirectoryOfDevices(dir *unix.Stat_t) (bool, error) {
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return false, fmt.Errorf("stat /: %w", err)
	}
	for _, path := range []string{"/dev", "/dev/pts"} {
		var stat unix.Stat_t
		if unix.Stat(path, &stat) != nil {
			continue // then it has no devices
		}
		// All of a file system that is mounted for devices is theirs.
		if stat.Dev == dir.Dev && (stat.Ino == dir.Ino || stat.Dev != root.Dev) {
			return true, nil
		}
	}
	return false, nil
}

// IsStream reports whether a file is what this process has as a standard stream.
func IsStream(path string) bool {
	var file, stream unix.Stat_t
	if unix.Stat(path, &file) != nil {
		return false
	}
	for fd := range 3 {
		if unix.Fstat(fd, &stream) == nil && stream.Dev == file.Dev && stream.Ino == file.Ino {
			return true
		}
	}
	return false
}
