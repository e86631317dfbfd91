package landlock

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/seccomp"
	"example.com/landlock/internal/stub"
)

// What each stub needs, gets and does, that of Start and that of Wrap.

// procIsThere returns an error where the stub could not be executed by its path
// there. It must be the kernel's own that is found, and not what somebody has
// put in its place.
func procIsThere() error {
	var stat unix.Statfs_t
	err := unix.Statfs("/proc/self/fd", &stat)
	if err == nil && stat.Type != unix.PROC_SUPER_MAGIC {
		err = unix.ENOENT
	}
	if err != nil {
		return fmt.Errorf("landlock: start a child: a sandboxed child is started by way of /proc/self/fd, which is not there: mount proc: %w", err)
	}
	return nil
}

// copyRuleset returns a descriptor of the ruleset for a stub, or noFile where there is none.
// It is a copy: the Sandbox may be closed meanwhile.
func (s *Sandbox) copyRuleset() (ruleset int, err error) {
	ruleset = noFile
	err = s.withFd(func(fd int) (err error) {
		if fd != noRuleset {
			ruleset, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		}
		return os.NewSyscallError("fcntl", err)
	})
	if err != nil && err != errClosed {
		err = fmt.Errorf("landlock: start a child: %w", err)
	}
	return ruleset, err
}

// foundHere reports whether the program's path leads by way of what this process has
// open and the stub has not: its own executable, or a descriptor that the child does not
// inherit. Those that follow cmd's files are the stub's own, as many as own says.
func foundHere(cmd *exec.Cmd, own int) (bool, error) {
	path := cmd.Path
	if changesRoot(cmd) && path != "/proc/self/exe" {
		return false, nil
	}
	if number, ok := strings.CutPrefix(path, fmt.Sprintf("/proc/%d/fd/", os.Getpid())); ok { // which the stub may not look at
		if _, err := strconv.Atoi(number); err == nil {
			return true, nil
		}
	}
	for _, proc := range []string{"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"} {
		name, ok := strings.CutPrefix(path, proc)
		number, _, _ := strings.Cut(name, "/")
		fd, err := strconv.Atoi(number)
		if first := 3 + len(cmd.ExtraFiles); ok && err == nil && fd >= first {
			return fd < first+own || !inherits(fd), nil
		}
	}
	found, err := ownExecutable(programPath(cmd))
	if err != nil {
		err = fmt.Errorf("landlock: start a child: whether %q is this process's own executable, as which the stub would execute itself: %w", path, err)
	}
	return found, err
}

// ownExecutable reports whether path leads to the executable of the process
// that opens it, as /proc/self/exe does.
func ownExecutable(path string) (bool, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	switch err {
	case nil:
		unix.Close(fd)
		return false, nil
	case unix.ELOOP, unix.ENOSYS, unix.EPERM: // by a link of /proc, or it cannot be told so
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return false, err
	default:
		return false, nil // the stub finds no more there
	}
	found, err := os.Stat(path)
	if err != nil {
		return false, nil
	}
	own, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(found, own), err
}

// restrictStub has a stub restrict itself. If there is a ruleset, it has its descriptor at
// an address.
func (s *Sandbox) restrictStub(image *stub.Image, ruleset uintptr) {
	if s.noNewPrivs {
		image.Add(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	if s.file != nil {
		image.Add(unix.SYS_LANDLOCK_RESTRICT_SELF|stub.Indirect, ruleset, uintptr(s.flags))
	}
	if filter := s.filter; filter != nil {
		image.Add(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, filterProgram(image, filter.Instructions()))
	}
}

// filterProgram gives a stub a struct sock_fprog, and returns its address there.
func filterProgram(image *stub.Image, filter []seccomp.Instruction) uintptr {
	text := unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), len(filter)*int(unsafe.Sizeof(filter[0])))
	program := struct {
		length       uint16
		instructions uintptr
	}{uint16(len(filter)), image.Data(text)}
	return image.Data(bytesOf(&program))
}

// executeProgram has a stub execute cmd's program: by its path, where it has no
// descriptor of it.
func executeProgram(image *stub.Image, cmd *exec.Cmd, program uintptr) {
	if program == 0 {
		image.Execute(cmd.Path)
	} else {
		image.ExecuteOpen(program)
	}
}
