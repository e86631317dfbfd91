//go:build !linux

package landlock

import "errors"

// What system calls would answer; but for the one that is missing, none does here.
var (
	errTooBig       = errors.New("argument list too long")
	errInvalid      = errors.New("invalid argument")
	errDenied       = errors.New("permission denied")
	errNotPermitted = errors.New("operation not permitted")
	errCrossDevice  = errors.New("invalid cross-device link")
	errNotDirectory = errors.New("not a directory")
	errNoCall       = errors.New("function not implemented")
	errNotSupported = errors.New("operation not supported")
)

func askKernel() (abi, errata uintptr, err error) { return 0, 0, errNoCall }
