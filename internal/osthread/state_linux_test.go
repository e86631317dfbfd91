package osthread

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowAll installs a seccomp filter that refuses nothing on the calling thread.
func allowAll() error {
	filter := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &filter}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// The filter of a thread is seen also where the status of another thread is mounted on
// its own.
func TestFilterThatProcHides(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount on /proc")
	}
	if filters, err := threadFilters(); err != nil || filters != "0 0" {
		t.Skipf("needs a process without seccomp filters: %q, %v", filters, err)
	}
	Spend(func() error {
		other := fmt.Sprintf("/proc/self/task/%d/status", os.Getpid())
		if err := errors.Join(allowAll(), unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(other, ownProc+"status", "", unix.MS_BIND, "")); err != nil {
			t.Error(err)
			return nil
		}
		if got, err := threadFilters(); err == nil || !strings.Contains(err.Error(), "the seccomp mode is 2 by prctl and 0 by ") {
			t.Errorf("filters: %q, %v", got, err)
		}
		return nil
	})
}
