package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testenv"
)

// A child shares nothing with this process by request, and what os/exec would not
// survive is an error.
func TestWrongAttributes(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		restricting := testenv.MustPrepare(t, NewHandling(Rights{FS: FSMakeChar}))
		for _, test := range []struct {
			attr syscall.SysProcAttr
			want string // "": it starts
		}{
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_VM}, "CLONE_VM: the child's memory"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_VM | unix.CLONE_VFORK}, "CLONE_VM"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_FS}, "CLONE_FS: the child's root, working directory and umask"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_FS | unix.CLONE_NEWUTS}, "CLONE_FS"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES}, "CLONE_FILES: the child's descriptors"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_SIGHAND}, "CLONE_SIGHAND: the child's signal handlers"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_PIDFD}, "CLONE_PIDFD: os/exec says where"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_PTRACE}, "CLONE_PTRACE: whoever traces"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_VFORK}, "CLONE_VFORK: os/exec decides"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}, "CLONE_PARENT: the child would be one of this process's parent"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_THREAD}, "CLONE_THREAD: the child would be a thread"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_SYSVSEM}, "CLONE_SYSVSEM: what this process is to undo"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_SETTLS}, "CLONE_SETTLS: it takes an address"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT_SETTID}, "CLONE_PARENT_SETTID: it takes an address"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_CHILD_SETTID}, "CLONE_CHILD_SETTID: it takes an address"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_CHILD_CLEARTID}, "CLONE_CHILD_CLEARTID: it takes an address"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_DETACHED}, "CLONE_DETACHED: it has no meaning"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_UNTRACED}, "CLONE_UNTRACED: the child would escape"},
			{syscall.SysProcAttr{Cloneflags: unix.CLONE_IO}, "CLONE_IO: the child's queue"},
			{syscall.SysProcAttr{Cloneflags: uintptr(unix.SIGUSR1)}, "0xa, which is no namespace"},
			{syscall.SysProcAttr{Cloneflags: uintptr(unix.SIGCHLD)}, ""},
			{syscall.SysProcAttr{AmbientCaps: []uintptr{64}}, "AmbientCaps has 64: capabilities are numbers below 64"},
			{syscall.SysProcAttr{AmbientCaps: []uintptr{1, 1 << 20}}, "AmbientCaps has"},
			{syscall.SysProcAttr{AmbientCaps: []uintptr{^uintptr(0)}, Chroot: "/"}, "AmbientCaps has"},
		} {
			cmd := exec.Command(testenv.Self(), "-test.run=^$")
			cmd.SysProcAttr = &test.attr
			err := restricting.Run(cmd)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, fs.ErrInvalid) || cmd.Process != nil) {
				t.Errorf("%#x, %v: %v, want %q", test.attr.Cloneflags, test.attr.AmbientCaps, err, test.want)
			}
			// It is the same without a sandbox.
			cmd = exec.Command(testenv.Self(), "-test.run=^$")
			cmd.SysProcAttr = &test.attr
			if again := (&Sandbox{unrestricted: true}).Run(cmd); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("%v, and without restriction %v", err, again)
			}
		}
		if flags := uint64(1) << 32; uint64(uintptr(flags)) == flags { // CLONE_CLEAR_SIGHAND
			cmd := exec.Command(testenv.Self(), "-test.run=^$")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(flags)}
			if err := restricting.Run(cmd); err == nil || !strings.Contains(err.Error(), "0x100000000, which is no namespace") {
				t.Errorf("a flag that is not known: %v", err)
			}
		}
	})
}
