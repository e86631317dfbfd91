package testenv

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Refuse makes one system call fail with errno from now on, on every thread, as
// the seccomp filter of a container does. It leaves no_new_privs unset.
func Refuse(t *testing.T, number int, errno syscall.Errno) {
	t.Helper()
	RefuseBy(t, unix.SECCOMP_FILTER_FLAG_TSYNC, number, errno)
}

// RefuseBy is Refuse with flags of seccomp: 0 is for the calling thread alone.
func RefuseBy(t *testing.T, flags uintptr, number int, errno syscall.Errno) {
	t.Helper()
	FilterAnswers(t, flags, number, unix.SECCOMP_RET_ERRNO|uint32(errno))
}

// RefuseAll is Refuse for any user, who gives up privileges for it.
func RefuseAll(t *testing.T, errno syscall.Errno, numbers ...int) {
	t.Helper()
	runtime.LockOSThread() // which both calls are for
	defer runtime.UnlockOSThread()
	noNewPrivs(t)
	for _, number := range numbers {
		Refuse(t, number, errno)
	}
}

// AllowAll installs a filter that refuses nothing.
func AllowAll(t *testing.T, flags uintptr) {
	t.Helper()
	runtime.LockOSThread() // which both calls are for
	defer runtime.UnlockOSThread()
	noNewPrivs(t)
	if errno := InstallFilter([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}, flags); errno != 0 {
		t.Fatalf("seccomp: %v", errno)
	}
}

func noNewPrivs(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// FilterAnswers makes a filter's action the answer to one system call.
func FilterAnswers(t *testing.T, flags uintptr, number int, action uint32) {
	t.Helper()
	errno := InstallFilter([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: action},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, flags)
	if errno != 0 {
		t.Fatalf("seccomp: %v", errno)
	}
}

// InstallFilter installs a seccomp filter.
func InstallFilter(filter []unix.SockFilter, flags uintptr) unix.Errno {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	return errno
}
