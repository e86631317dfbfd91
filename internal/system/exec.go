//go:build !wasm

package system

import "syscall"

// Exec is [syscall.Exec].
func Exec(argv0 string, argv, envv []string) error { return syscall.Exec(argv0, argv, envv) }
