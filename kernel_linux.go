package landlock

import "golang.org/x/sys/unix"

// What system calls answer.
const (
	errTooBig       = unix.E2BIG
	errInvalid      = unix.EINVAL
	errDenied       = unix.EACCES
	errNotPermitted = unix.EPERM
	errCrossDevice  = unix.EXDEV
	errNotDirectory = unix.ENOTDIR
	errNoCall       = unix.ENOSYS
	errNotSupported = unix.EOPNOTSUPP
)

// askKernel returns what the kernel says of its ABI and errata, or the errno that it
// answers in their place.
func askKernel() (abi, errata uintptr, err error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, 0, errno
	}
	// A kernel without this query answers EINVAL: it has fixed nothing that
	// it can tell of.
	errata, _, errno = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	if errno != 0 {
		errata = 0
	}
	return abi, errata, nil
}
