package landlocktest

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock"
)

// byErrno reports whether an error can come of a refusal by Landlock, and, where
// it is known what is enforced, by that.
func byErrno(err error) bool {
	enforced := sandbox.report.Enforced
	known := sandbox.rules != nil
	can := func(answers answers) bool { call := callOf(err); return call == "" || slices.Contains(answers, call) }
	switch {
	case errors.Is(err, syscall.EACCES):
		return can(withEACCES) && (!known || enforced.FS != 0 || enforced.Net != 0)
	case errors.Is(err, syscall.EXDEV):
		return can(withEXDEV) && (!known || enforced.FS != 0)
	case errors.Is(err, syscall.EPERM):
		return can(withEPERM) && (!known || enforced.Scope&scopeOf(callOf(err)) != 0)
	}
	return false
}

// answers are the calls that Landlock, or the socket filter, denies with one errno, in
// the words of os, net and the kernel, without "at" at their ends.
type answers []string

var (
	withEACCES = answers{"open", "openfd", "creat", "truncate", "ftruncate", "mkdir", "mkfifo", "mknod", "symlink", "remove", "unlink", "rmdir",
		"link", "rename", "exchange", "fork/exec", "exec", "execve", "ioctl", "socket", "socketpair", "bind", "connect", "sendto", "sendmsg", "sendmmsg"}
	withEXDEV = answers{"link", "rename", "exchange"}
	withEPERM = answers{"kill", "tgkill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "connect", "sendto", "sendmsg", "sendmmsg"}
)

// scopeOf returns the scopes that may be why a call fails; all where it is not known.
func scopeOf(call string) landlock.Scope {
	switch call {
	case "":
		return landlock.ScopeAbstractUnixSocket | landlock.ScopeSignal
	case "connect", "sendto", "sendmsg", "sendmmsg":
		return landlock.ScopeAbstractUnixSocket
	}
	return landlock.ScopeSignal
}

// modeAllowsAll reports whether a file's mode lets this process read and write it, and
// search it if it is a directory.
func modeAllowsAll(path string, directory bool) bool {
	mode := uint32(unix.R_OK | unix.W_OK)
	if directory {
		mode |= unix.X_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil
}
