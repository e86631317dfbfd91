package landlock

import (
	"path/filepath"
	"slices"
	"strings"

	"example.com/landlock/internal/place"
)

// opensDevices reports whether devices are opened by a rule, that refuse ioctl then
// where no rule has FSIoctlDev: the kernel decides that when they are opened. Files
// that are no devices by their names are not looked at, so that they cost nothing.
func (p *plan) opensDevices(rule *wantedRule, fd int, allowed AccessFS) (bool, error) {
	if allowed&(FSReadFile|FSWriteFile) == 0 || p.handled.FS&FSIoctlDev == 0 || !namesDevices(rule.Path) {
		return false, nil
	}
	return place.HasDevices(fd)
}

// namesDevices reports whether a path may, by its text, be one of devices.
func namesDevices(name string) bool {
	for strings.HasPrefix(name, "//") {
		name = name[1:]
	}
	return strings.HasPrefix(name, "/dev")
}

// noIoctl returns the paths of rules by which devices are opened that refuse ioctl.
func noIoctl(files []fileRule) (paths []string) {
	for _, f := range files {
		if f.devices && !slices.Contains(paths, f.rule.Path) && !slices.ContainsFunc(files, f.controlledBy) {
			paths = append(paths, f.rule.Path)
		}
	}
	return paths
}

// controlledBy reports whether a rule, f itself or another, has FSIoctlDev for the
// same file, for one above it by its name, or for the terminals beneath.
func (f fileRule) controlledBy(other fileRule) bool {
	if other.allowed&FSIoctlDev == 0 {
		return false
	}
	own, others := filepath.Clean(f.rule.Path), filepath.Clean(other.rule.Path)
	terminals := f.directory && (others == "/dev/tty" || others == "/dev/pts")
	return other.id == f.id || isBeneath(own, others) || terminals && isBeneath(others, own)
}

// isBeneath reports whether a path lies beneath another, or is the same, both from the root
// and as [filepath.Clean] returns them.
func isBeneath(name, dir string) bool {
	return filepath.IsAbs(name) && (name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/"))
}
