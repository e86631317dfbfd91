//go:build !linux

package landlock

import (
	"errors"
	"syscall"
)

// What the system calls would answer; no kernel does here.
var (
	errTooBig       = errors.New("argument list too long")
	errDenied       = errors.New("permission denied")
	errInvalid      = errors.New("invalid argument")
	errNotDirectory = errors.New("not a directory")
)

func probe() (Kernel, error) { return Kernel{}, ErrNotBuilt }

// Without an ABI nothing below is ever called.

func createRuleset(handled, quiet Rights, size uintptr) (int, error)         { return -1, ErrNotBuilt }
func addPath(ruleset, parent int, access AccessFS, flags uint32) error       { return ErrNotBuilt }
func addPort(ruleset int, port uint16, access AccessNet, flags uint32) error { return ErrNotBuilt }
func openPath(path string, buffer *[]byte) (int, error)                      { return -1, ErrNotBuilt }
func closeFd(fd int)                                                         {}
func isMainThread() bool                                                     { return false }
func restrictThread(ruleset int, flags uint32, noNewPrivs bool) error        { return ErrNotBuilt }
func restrictEachThread(ruleset int, flags uint32, noNewPrivs bool) error    { return ErrNotBuilt }
func threadID() int                                                          { return 0 }
func warmUp()                                                                {}
func isTraced(attr *syscall.SysProcAttr) bool                                { return false }
func awaitThreadEnd(thread int) error                                        { return ErrNotBuilt }
func writesIDs(attr *syscall.SysProcAttr) bool                               { return false }
func awaitEnd(pid int)                                                       {}
func mayExecute(path string) error                                           { return ErrNotBuilt }
