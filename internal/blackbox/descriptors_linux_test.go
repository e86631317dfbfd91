package blackbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// What the ruleset opens is closed, and close-on-exec as long as it is open.
func TestNoDescriptorLeaks(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		before := testenv.OpenFiles()
		sandbox, err := landlock.New(landlock.V1).AllowRead("/", dir).AllowOptional(landlock.FSRead, "/nonexistent").Prepare()
		if err != nil {
			t.Fatal(err)
		}
		fd := sandbox.Fd()
		for open, link := range testenv.LeftOpen(before) {
			if open != int(fd) {
				t.Errorf("descriptor %d is left open: %s", open, link)
			}
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("ruleset descriptor has flags %#x, %v, want close-on-exec", flags, err)
		}
		if err := errors.Join(sandbox.Close(), sandbox.Close()); err != nil || sandbox.Fd() != ^uintptr(0) {
			t.Errorf("Close: %v, then Fd %d", err, int(sandbox.Fd()))
		}
		testenv.MustApply(t, landlock.New(landlock.V1).AllowRead("/"))
		for open, link := range leftByApply(before) {
			t.Errorf("descriptor %d is left open by Apply: %s", open, link)
		}
	})
}

// leftByApply returns what is open that was not before, but for the one descriptor of
// /proc that is kept below ABI 8 for the next time.
func leftByApply(before map[int]bool) map[int]string {
	left := testenv.LeftOpen(before)
	maps.DeleteFunc(left, func(_ int, link string) bool { return link == fmt.Sprintf("/proc/%d/task", os.Getpid()) })
	return left
}

func TestForgottenSandbox(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	sandbox, err := landlock.New(landlock.V1).Prepare()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(sandbox.Fd())
	sandbox = nil
	for range 1000 {
		runtime.GC()
		if testenv.ReadLink(fd) != "anon_inode:[landlock-ruleset]" {
			return
		}
		runtime.Gosched()
	}
	t.Error("the garbage collector does not close it")
}

// limitFiles leaves room for just so many more descriptors.
func limitFiles(t *testing.T, more int) (undo func()) {
	t.Helper()
	free := 0
	for open := testenv.OpenFiles(); open[free] || more > 0; free++ {
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
