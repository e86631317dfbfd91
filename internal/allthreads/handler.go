//go:build linux && (amd64 || arm64)

package allthreads

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct of that name.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	saSiginfo  = 0x4
	saRestorer = 0x4000000
	saOnStack  = 0x8000000
	saRestart  = 0x10000000
)

// previous is the action that our handler took the place of.
var previous sigaction

// installed reports whether our handler is there, or beneath one that has been put on top
// of it since.
var installed bool

// installHandler puts our handler in place, and keeps what was there.
//
// SA_ONSTACK: a thread in Go code has a stack too small for a handler.
// SA_RESTART: system calls that can be carried on are. The mask is full, so
// that no other handler runs in a thread that is held. SA_RESTORER: on amd64
// the kernel brings no code to return to.
//
// It does not go on top of what is on top of ours, such as that of another copy of this
// package: that may pass on to ours, ours would pass on to that, and so for ever.
func installHandler() syscall.Errno {
	ours := sigaction{handler: handlerPC(), flags: saSiginfo | saOnStack | saRestart, restorer: restorerPC(), mask: ^uint64(0)}
	if ours.restorer != 0 {
		ours.flags |= saRestorer
	}
	for {
		var current, replaced sigaction
		if errno := rtSigaction(nil, &current); errno != 0 || current.handler == ours.handler {
			return errno
		}
		if installed {
			return unix.EBUSY
		}
		// The handler needs this from its first moment on.
		previous, shared.previous = current, current.handler
		if errno := rtSigaction(&ours, &replaced); errno != 0 || replaced == current {
			installed = errno == 0
			return errno
		}
		if errno := rtSigaction(&replaced, nil); errno != 0 { // libc changed it in between: once more
			previous, shared.previous = replaced, replaced.handler
			return errno
		}
	}
}

// removeHandler puts back what was there before installHandler, unless libc has
// put something else there since.
func removeHandler() {
	var current sigaction
	if rtSigaction(nil, &current) == 0 && current.handler == handlerPC() {
		rtSigaction(&previous, nil)
		installed = false
	}
}

func rtSigaction(action, old *sigaction) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return errno
}
