package osthread

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testenv"
)

// The filter of a thread is seen also where the status of another thread is mounted on
// its own.
func TestFilterThatProcHides(t *testing.T) {
	testenv.NeedRoot(t, "to mount on /proc")
	if filters, err := threadFilters(); err != nil || filters != "0 0" {
		t.Skipf("needs a process without seccomp filters: %q, %v", filters, err)
	}
	Spend(func() error {
		other := fmt.Sprintf("/proc/self/task/%d/status", os.Getpid())
		testenv.AllowAll(t, 0)
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS),
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
