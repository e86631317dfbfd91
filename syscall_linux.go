package landlock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads"
	"example.com/landlock/internal/place"
	"example.com/landlock/internal/seccomp"
)

const ruleNetPort = 2 // LANDLOCK_RULE_NET_PORT, which x/sys/unix lacks

// netPortAttr is struct landlock_net_port_attr, which x/sys/unix lacks.
type netPortAttr struct{ allowedAccess, port uint64 }

// probe asks the kernel for its ABI and errata.
func probe() (abi, errata uintptr, err error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS:
		return 0, 0, ErrNotBuilt
	case unix.EOPNOTSUPP:
		return 0, 0, ErrDisabled
	case unix.EPERM, unix.EACCES:
		return 0, 0, ErrBlocked
	default:
		return 0, 0, fmt.Errorf("landlock: ask for the kernel's ABI: %w", os.NewSyscallError("landlock_create_ruleset", errno))
	}
	// A kernel without this query answers EINVAL: it has fixed nothing that
	// it can tell of.
	errata, _, errno = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	if errno != 0 {
		errata = 0
	}
	return abi, errata, nil
}

func createRuleset(handled, quiet Rights, size uintptr) (int, error) {
	attr := unix.LandlockRulesetAttr{
		Handled_access_fs:  uint64(handled.FS),
		Handled_access_net: uint64(handled.Net),
		Scoped:             uint64(handled.Scope),
		Quiet_access_fs:    uint64(quiet.FS),
		Quiet_access_net:   uint64(quiet.Net),
		Quiet_scoped:       uint64(quiet.Scope),
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, answer("landlock_create_ruleset", errno)
	}
	return int(fd), nil // the kernel made it close-on-exec
}

// answer returns the error of a call that makes or enforces a ruleset. What Landlock is
// not known to answer comes from before it.
func answer(call string, errno syscall.Errno) error {
	err := os.NewSyscallError(call, errno)
	switch errno {
	case unix.EINVAL, unix.E2BIG, unix.EFAULT, unix.ENOMSG, unix.EBADF, unix.EBADFD, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		return place.NeedsDescriptors(err)
	}
	return fmt.Errorf("%w: %w", ErrBlocked, err)
}

func addPath(ruleset, parent int, access AccessFS, flags uint32) error {
	attr := unix.LandlockPathBeneathAttr{Allowed_access: uint64(access), Parent_fd: int32(parent)}
	errno := addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr), flags)
	switch errno {
	case 0:
		return nil
	case unix.EBADFD:
		if inMessageQueues(parent) {
			return fmt.Errorf("a POSIX message queue, which Landlock denies, and takes no rule for: %w", addRuleError(errno))
		}
		return &sentinel{errNoPlace.Error(), errors.Join(errNoPlace, addRuleError(errno))} // EBADFD says no more
	}
	return addRuleError(errno)
}

// inMessageQueues reports whether a file is a POSIX message queue. Of all objects
// that can have no rule the kernel restricts these alone: they lie beneath a root,
// which a pipe or a memfd does not.
func inMessageQueues(fd int) bool {
	const magic = 0x19800202 // MQUEUE_MAGIC, which x/sys/unix lacks
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == magic
}

func addPort(ruleset int, port uint16, access AccessNet, flags uint32) error {
	attr := netPortAttr{uint64(access), uint64(port)}
	errno := addRule(ruleset, ruleNetPort, unsafe.Pointer(&attr), flags)
	if errno == 0 || errno == unix.EAFNOSUPPORT {
		return nil // no TCP/IP in this kernel: there is nothing to allow
	}
	return addRuleError(errno)
}

func addRule(ruleset int, kind uintptr, attr unsafe.Pointer, flags uint32) syscall.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(attr), uintptr(flags), 0, 0)
	return errno
}

// addRuleError returns the error of landlock_add_rule. But for EBADFD, it is none of the
// one rule's: all other answers that Landlock has are to what this package never asks.
func addRuleError(errno syscall.Errno) error {
	err := os.NewSyscallError("landlock_add_rule", errno)
	switch errno {
	case unix.EBADFD:
		return err
	case unix.EBADF, unix.E2BIG, unix.ENOMEM:
		return &commonError{fmt.Errorf("landlock: add the rules: %w", err)}
	}
	return &commonError{fmt.Errorf("%w: %w", ErrBlocked, err)}
}

// openError returns why a path cannot be opened. Where the directory that its lookup
// starts at cannot be opened for the same reason, that is so for all paths.
func openError(path string, errno syscall.Errno) error {
	err := place.NeedsDescriptors(os.NewSyscallError("open", errno))
	relative := path[0] != '/'
	switch {
	case errno != unix.ENOENT && cannotOpen("/.", errno):
		return &commonError{fmt.Errorf("landlock: open the paths of the rules: %w", err)}
	case relative && cannotOpen(".", errno):
		return &commonError{fmt.Errorf("landlock: open relative paths of the rules in the working directory: %w", err)}
	case relative && errno == unix.ENOENT && workingDirectoryRemoved():
		return &commonError{fmt.Errorf("landlock: open relative paths of the rules: the working directory was removed: %w", err)}
	}
	if relative && errno == unix.ENOENT {
		if directory, wrong := syscall.Getwd(); wrong == nil {
			return os.NewSyscallError("open in "+printable(directory), errno)
		}
	}
	return err
}

// cannotOpen reports whether the kernel answers errno to opening a directory.
func cannotOpen(path string, errno syscall.Errno) bool {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		closeFd(fd)
	}
	return err == errno
}

func workingDirectoryRemoved() bool {
	var stat unix.Stat_t
	return unix.Stat(".", &stat) == nil && stat.Nlink == 0
}

// opener opens the paths of rules. It closes them some at a time, which takes one call
// where their numbers follow each other: between numbers that are all its own there are
// none of others.
type opener struct {
	buffer []byte
	open   [32]int
	n      int
}

// path opens a path without a NUL, to make a rule for it.
func (o *opener) path(path string) (int, error) {
	o.buffer = append(append(o.buffer[:0], path...), 0)
	for {
		at := unix.AT_FDCWD
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&o.buffer[0])), unix.O_PATH|unix.O_CLOEXEC, 0, 0, 0)
		switch {
		case errno == 0:
			return int(fd), nil
		case errno == unix.EINTR: // which a network filesystem may answer
		case (errno == unix.EMFILE || errno == unix.ENFILE) && o.n > 0:
			o.close()
		default:
			return -1, openError(path, errno)
		}
	}
}

// closeLater closes one, some time before close returns.
func (o *opener) closeLater(fd int) {
	o.open[o.n] = fd
	if o.n++; o.n == len(o.open) {
		o.close()
	}
}

// close closes all that are to be closed.
func (o *opener) close() {
	all := o.open[:o.n]
	o.n = 0
	for len(all) > 0 {
		run := 1
		for run < len(all) && all[run] == all[0]+run {
			run++
		}
		if run == 1 || unix.CloseRange(uint(all[0]), uint(all[run-1]), 0) != nil {
			run = 1
			closeFd(all[0])
		}
		all = all[run:]
	}
}

func closeFd(fd int) { unix.Close(fd) }

// setNoNewPrivs sets no_new_privs on this thread.
func setNoNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return noNewPrivsError(err)
	}
	return nil
}

// restrictSelf makes one call of landlock_restrict_self, on this thread. That
// no_new_privs is set, or will be by the call, is noNewPrivs.
func restrictSelf(ruleset int, flags uint32, noNewPrivs bool) error {
	if flags&restrictTSYNC != 0 {
		defer interruptWaits()()
	}
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), uintptr(flags), 0)
	return ownRestrictError(errno, noNewPrivs)
}

// canFilter returns why no seccomp filter can be installed, or nil.
func canFilter() error { return seccomp.Available() }

// interruptWaits has the kernel signal this thread after 10 ms, 20 ms and so on,
// until the function that it returns is called.
//
// With TSYNC the kernel waits for every other thread, and from Linux 7.1 it does
// so with the process's exec_update_lock in its hands. A thread that follows
// /proc/self/exe or /proc/self/fd/N just then waits for that lock, where nothing
// but its end can reach it, and the two would wait for ever, with all others:
// so no goroutine can come to the rescue. A signal makes the kernel let go of
// the lock, and then start again by itself, so the signals must become rarer: a
// wait that is only long has to come to its end as well. They have the Go runtime
// do nothing: SIGURG is what it preempts its own threads with.
func interruptWaits() (stop func()) {
	event := struct {
		value                  uintptr
		signal, notify, thread int32
		_                      [12]int32
	}{signal: int32(unix.SIGURG), notify: 4 /* SIGEV_THREAD_ID */, thread: int32(unix.Gettid())}
	const first, last = 10 * time.Millisecond, 5120 * time.Millisecond
	var timers []int32
	for wait := first; wait <= last; wait *= 2 {
		var timer int32
		_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&timer)))
		if errno != 0 {
			break // such as with RLIMIT_SIGPENDING used up: it is only for a rare case
		}
		timers = append(timers, timer)
		when := struct{ interval, value unix.Timespec }{value: unix.NsecToTimespec(int64(wait))}
		if wait == last {
			when.interval = when.value
		}
		unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&when)), 0, 0, 0)
	}
	return func() {
		for _, timer := range timers {
			unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(timer), 0, 0)
		}
	}
}

// restrictEachThread restricts this process on a kernel that restricts one
// thread at a time.
func restrictEachThread(ruleset int, flags uint32, noNewPrivs bool) error {
	if allthreads.Supported {
		return signalEachThread(ruleset, flags, noNewPrivs)
	}
	if noNewPrivs {
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
		if errno == unix.ENOTSUP { // cgo is linked in
			return errNoThreads
		}
		if errno != 0 {
			return noNewPrivsError(errno)
		}
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), uintptr(flags), 0)
	if errno == unix.ENOTSUP {
		return errNoThreads
	}
	return ownRestrictError(errno, noNewPrivs)
}

// signalEachThread is restrictEachThread by means of this module.
func signalEachThread(ruleset int, flags uint32, noNewPrivs bool) error {
	err := allthreads.Restrict(ruleset, flags, noNewPrivs)
	failure, ok := errors.AsType[*allthreads.Error](err)
	switch {
	case !ok:
		return err
	case failure.Restricted > 0:
		return &PartialError{Restricted: failure.Restricted, Failed: failure.Failed, Err: failure}
	case failure.Op == "landlock_restrict_self":
		return ownRestrictError(failure.Errno, noNewPrivs)
	case failure.Op == "prctl":
		return noNewPrivsError(failure.Errno)
	}
	return fmt.Errorf("landlock: reach all threads, none is restricted: %w", failure)
}

// errNoThreads is why Apply cannot work in some binaries on some kernels.
var errNoThreads error = &sentinel{"landlock: cannot restrict all threads of a binary with cgo on this architecture below ABI 8 (Linux 7.0): " +
	"build with CGO_ENABLED=0", errors.ErrUnsupported}

func noNewPrivsError(err error) error {
	return fmt.Errorf("landlock: set no_new_privs: %w", os.NewSyscallError("prctl", err))
}

// restrictError says why the kernel, or something before it, refused to enforce
// a ruleset. One that is entitled has all that Landlock asks for, and can only
// have been refused by a seccomp filter.
func restrictError(errno syscall.Errno, entitled bool) error {
	const call = "landlock_restrict_self"
	switch {
	case errno == 0:
		return nil
	case errno == unix.E2BIG:
		return ErrTooManyLayers
	case errno == unix.EPERM && !entitled:
		return fmt.Errorf("landlock: enforce the ruleset: %w: needs no_new_privs, which AllowNewPrivs leaves unset, or CAP_SYS_ADMIN", os.NewSyscallError(call, errno))
	}
	err := answer(call, errno)
	if errors.Is(err, ErrBlocked) {
		return err
	}
	return fmt.Errorf("landlock: enforce the ruleset: %w", err)
}

// ownRestrictError is restrictError for threads of this process.
func ownRestrictError(errno syscall.Errno, noNewPrivs bool) error {
	return restrictError(errno, noNewPrivs || errno == unix.EPERM && mayRestrict())
}

// mayRestrict reports whether this thread has what Landlock asks of one that
// restricts itself.
func mayRestrict() bool {
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return true
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
