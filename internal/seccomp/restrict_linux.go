package seccomp

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/osthread"
)

// Available returns nil, or why this kernel or container takes no filters. The
// error Is errors.ErrUnsupported. It changes nothing.
func Available() error {
	// The kernel looks at the flags first, and then for the program, which is
	// not there.
	_, errno := setFilter(unix.SECCOMP_FILTER_FLAG_TSYNC, nil)
	var reason string
	switch errno {
	case unix.EFAULT:
		return nil
	case unix.EINVAL:
		reason = "this kernel is built without seccomp filters, or is older than Linux 4.17"
	case unix.ENOSYS:
		reason = "this kernel is built without seccomp, or a filter that is there already refuses it"
	default:
		reason = "a filter that is there already, of a container, refuses it"
	}
	return fmt.Errorf("seccomp: no filter can be installed: %s: %w: %w", reason, os.NewSyscallError("seccomp", errno), errors.ErrUnsupported)
}

// CanRestrictProcess returns why RestrictProcess would fail, as far as that can be
// told in advance. noNewPrivs says that no_new_privs is going to be set first;
// otherwise CAP_SYS_ADMIN is needed. It installs the program on a thread that has
// ended when it returns, and changes nothing else.
func (p Program) CanRestrictProcess(noNewPrivs bool) error {
	if err := Available(); err != nil {
		return err
	}
	if err := sameFilters(); err != nil {
		return err
	}
	thread, err := osthread.Spend(func() error {
		if noNewPrivs {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return fmt.Errorf("seccomp: set no_new_privs: %w", os.NewSyscallError("prctl", err))
			}
		}
		return p.RestrictThread()
	})
	if err != nil {
		return err
	}
	if err := osthread.AwaitEnd(thread); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}

// RestrictThread installs the program on the calling thread, which the caller has
// locked, and which has no_new_privs set or CAP_SYS_ADMIN. Nothing but what the
// thread was restricted for may run on it afterwards.
func (p Program) RestrictThread() error {
	_, err := install(0, p)
	return err
}

// RestrictProcess installs the program on all threads of this process, or on
// none. The calling thread, which the caller has locked, has no_new_privs set or
// CAP_SYS_ADMIN; where it is set, it is set for all threads.
func (p Program) RestrictProcess() error {
	thread, err := install(unix.SECCOMP_FILTER_FLAG_TSYNC, p)
	if err == nil && thread != 0 {
		err = fmt.Errorf("seccomp: no thread was restricted, since thread %d has a filter that this one has not: "+
			"install filters on all threads, or end that thread first", thread)
	}
	return err
}

// install returns a thread that prevents it, if there is one.
func install(flags uintptr, program Program) (thread int, err error) {
	if len(program) > unix.BPF_MAXINSNS {
		return 0, fmt.Errorf("seccomp: a filter of %d instructions: at most %d are possible: %w", len(program), unix.BPF_MAXINSNS, unix.EINVAL)
	}
	thread, errno := setFilter(flags, &unix.SockFprog{
		Len:    uint16(len(program)),
		Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(program))),
	})
	err = os.NewSyscallError("seccomp", errno)
	switch errno {
	case 0:
		return thread, nil
	case unix.EACCES:
		return 0, fmt.Errorf("seccomp: install a filter: it needs no_new_privs or CAP_SYS_ADMIN: %w", err)
	case unix.ENOMEM:
		return 0, fmt.Errorf("seccomp: install a filter: too many are there already, or memory is short: "+
			"those of a thread have room for 32768 instructions in all: %w", err)
	}
	return 0, fmt.Errorf("seccomp: install a filter: %w", err)
}

// setFilter makes the system call. Without SPEC_ALLOW kernels before 5.16 would
// slow the process down.
func setFilter(flags uintptr, program *unix.SockFprog) (int, syscall.Errno) {
	result, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(program)))
	return int(result), errno
}

// sameFilters returns an error where one thread has other filters than another.
// Those that are about to end get a second for it.
func sameFilters() error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		err := compareFilters()
		if err == nil || time.Since(start) > time.Second {
			return err
		}
	}
}

// compareFilters passes over what /proc does not show, where it is not there or
// hidden: the kernel itself compares the filters before it restricts any thread.
// That something is short for the moment is an error.
func compareFilters() error {
	const tasks = "/proc/self/task/"
	threads, err := os.ReadDir(tasks)
	if err != nil && !hidden(err) {
		return cannotCompare(err)
	}
	first, firstFilters := "", ""
	for _, thread := range threads {
		status, err := osthread.ReadProc(tasks + thread.Name() + "/status")
		if err != nil && !hidden(err) {
			return cannotCompare(err)
		}
		state, _ := osthread.Field(status, "State")
		if state == "" || state[0] == 'Z' || state[0] == 'X' {
			continue // it has ended
		}
		mode, _ := osthread.Field(status, "Seccomp")
		number, _ := osthread.Field(status, "Seccomp_filters")
		filters := mode + ", " + number
		if first == "" {
			first, firstFilters = thread.Name(), filters
		}
		if filters != firstFilters {
			return fmt.Errorf("seccomp: not all threads can be restricted: thread %s has other filters than thread %s "+
				"(mode and number are %s and %s): install filters on all threads, or end those that differ first",
				thread.Name(), first, filters, firstFilters)
		}
	}
	return nil
}

// hidden reports whether a file of a thread is not to be seen. One that is gone
// is the file of a thread that has ended.
func hidden(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EACCES)
}

func cannotCompare(err error) error {
	return fmt.Errorf("seccomp: whether all threads have the same filters cannot be told: %w", err)
}
