package landlock

import (
	"slices"
	"strings"
)

// noteNoIoctl notes in the report a rule by which devices are opened that refuse
// ioctl then: the kernel decides that when they are opened. It costs other rules no
// system call.
func (p *plan) noteNoIoctl(rule *pathRule, fd int, allowed AccessFS) error {
	opens := allowed&(FSReadFile|FSWriteFile) != 0 && allowed&FSIoctlDev == 0
	if !opens || p.handled.FS&FSIoctlDev == 0 || !namesDevices(rule.path) || slices.Contains(p.report.NoIoctl, rule.path) || p.allowsIoctl(rule.path) {
		return nil
	}
	controlled, err := hasDevices(fd)
	if controlled {
		p.report.NoIoctl = append(p.report.NoIoctl, rule.path)
	}
	return err
}

// namesDevices reports whether a path may, by its text, be one of devices.
func namesDevices(path string) bool {
	names := strings.TrimLeft(path, "/")
	return names != path && (names == "" || strings.HasPrefix(names, "dev"))
}

// allowsIoctl reports whether a rule for a path, or for one above it, has FSIoctlDev.
func (p *plan) allowsIoctl(path string) bool {
	return slices.ContainsFunc(p.paths, func(rule pathRule) bool {
		above := strings.TrimRight(rule.path, "/")
		return rule.access&FSIoctlDev != 0 && !rule.quiet && strings.HasPrefix(rule.path, "/") &&
			(path == above || strings.HasPrefix(path, above+"/"))
	})
}
