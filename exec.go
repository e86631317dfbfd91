//go:build !wasm

package landlock

import "syscall"

func execve(argv0 string, argv, envv []string) error { return syscall.Exec(argv0, argv, envv) }
