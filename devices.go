package landlock

import (
	"slices"
	"strings"
)

// opensDevices reports whether devices are opened by a rule, that refuse ioctl then
// where no rule has FSIoctlDev: the kernel decides that when they are opened. Files
// that are no devices by their names are not looked at, so that they cost nothing.
func (p *plan) opensDevices(rule *pathRule, fd int, allowed AccessFS) (bool, error) {
	if allowed&(FSReadFile|FSWriteFile) == 0 || p.handled.FS&FSIoctlDev == 0 || !namesDevices(rule.path) {
		return false, nil
	}
	return hasDevices(fd)
}

// namesDevices reports whether a path may, by its text, be one of devices.
func namesDevices(path string) bool {
	names := strings.TrimLeft(path, "/")
	return names != path && (names == "" || strings.HasPrefix(names, "dev"))
}

// noIoctl returns the paths of rules by which devices are opened that refuse ioctl.
func (p *plan) noIoctl() (paths []string) {
	for _, f := range p.files {
		if f.devices && !slices.Contains(paths, f.rule.path) && !slices.ContainsFunc(p.files, f.controlledBy) {
			paths = append(paths, f.rule.path)
		}
	}
	return paths
}

// controlledBy reports whether a rule, f itself or another, has FSIoctlDev for the
// same file, or for one above it by its name.
func (f fileRule) controlledBy(other fileRule) bool {
	above := strings.TrimRight(other.rule.path, "/")
	return other.allowed&FSIoctlDev != 0 &&
		(other.id == f.id || strings.HasPrefix(other.rule.path, "/") && strings.HasPrefix(f.rule.path, above+"/"))
}
