// Package system has what package syscall has for most systems and not for all.
package system

import "errors"

// What no call answers here.
var (
	E2BIG = errors.New("argument list too long")
	EXDEV = errors.New("invalid cross-device link")
)
