//go:build !plan9

// Package system has what package syscall has for most systems and not for all.
package system

import "syscall"

const (
	E2BIG = syscall.E2BIG
	EXDEV = syscall.EXDEV
)
