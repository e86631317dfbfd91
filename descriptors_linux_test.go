package landlock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// What the ruleset opens is closed, and close-on-exec as long as it is open.
func TestNoDescriptorLeaks(t *testing.T) {
	needABI(t, V1)
	inChild(t, nil, func(t *testing.T, dir string) {
		before := openFiles()
		sandbox, err := New(V1).AllowRead("/", dir).AllowOptional(FSRead, "/nonexistent").Prepare()
		if err != nil {
			t.Fatal(err)
		}
		fd := sandbox.Fd()
		for open := range openFiles() {
			if !before[open] && open != int(fd) {
				t.Errorf("descriptor %d is left open", open)
			}
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("ruleset descriptor has flags %#x, %v, want close-on-exec", flags, err)
		}
		if err := errors.Join(sandbox.Close(), sandbox.Close()); err != nil || sandbox.Fd() != ^uintptr(0) {
			t.Errorf("Close: %v, then Fd %d", err, int(sandbox.Fd()))
		}
		mustApply(t, New(V1).AllowRead("/"))
		for open := range openFiles() {
			if !before[open] && readLink(open) != fmt.Sprintf("/proc/%d/task", os.Getpid()) {
				t.Errorf("descriptor %d is left open by Apply", open)
			}
		}
	})
}

// A path is open for a moment only, but another goroutine may start a child then.
func TestPathsAreCloseOnExec(t *testing.T) {
	fd, err := new(opener).path("/")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFd(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v, want close-on-exec", flags, err)
	}
}

func TestForgottenSandbox(t *testing.T) {
	needABI(t, V1)
	sandbox, err := New(V1).Prepare()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(sandbox.Fd())
	sandbox = nil
	for range 1000 {
		runtime.GC()
		if readLink(fd) != "anon_inode:[landlock-ruleset]" {
			return
		}
		runtime.Gosched()
	}
	t.Error("the garbage collector does not close it")
}

// openFiles returns the open descriptors, asking for each so that it works in
// any sandbox.
func openFiles() map[int]bool {
	open := map[int]bool{}
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}

func readLink(fd int) string {
	link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	return link
}

// limitFiles leaves room for just so many more descriptors.
func limitFiles(t *testing.T, more int) (undo func()) {
	t.Helper()
	free := 0
	for open := openFiles(); open[free] || more > 0; free++ {
		if !open[free] {
			more--
		}
	}
	return limitFilesTo(t, uint64(free))
}

// limitFilesTo leaves this process the numbers below limit.
func limitFilesTo(t *testing.T, limit uint64) (undo func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
}
