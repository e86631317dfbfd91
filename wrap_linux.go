package landlock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// wrap is Wrap for a cmd that can be started.
//
// os/exec starts a stub here as well, with nobody there to prepare it and to listen
// to it. So what it gets is among cmd's ExtraFiles, and what fails it says itself.
// (By a socket, as for Start, files would be on their way until cmd is garbage, and of
// those a user may have as many as RLIMIT_NOFILE in all processes.)
//
// What is in ExtraFiles must have no say in what is executed. So the stub is executed
// by a number that this process alone has it under. os/exec puts files under the
// numbers that they have in ExtraFiles, and under those above the highest that one of
// them has here. The stub's is between them, since another of its numbers, which is
// among ExtraFiles, is higher.
func (s *Sandbox) wrap(cmd *exec.Cmd) error {
	if !stub.Supported {
		return errNoStub
	}
	if attr := cmd.SysProcAttr; attr != nil && (attr.Chroot != "" || attr.Ptrace) {
		return errors.New("landlock: wrap: SysProcAttr has Chroot or Ptrace, which a cmd that others start cannot have: use Sandbox.Start")
	}
	if _, twice := wrapped.Load(cmd.Path); twice {
		return errors.New("landlock: wrap: the cmd is wrapped already")
	}
	c := &child{sandbox: s, cmd: cmd, was: *cmd, attr: cmd.SysProcAttr, image: stub.Talking(), handover: &handover{}, alone: true}
	w, err := c.makeWrapper()
	c.closeOwned()
	if err != nil {
		return err
	}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = wrapperPath(w.number)
	cmd.ExtraFiles = slices.Concat(cmd.ExtraFiles, w.files[:])
	return nil
}

// wrapper is what a wrapped cmd has in place of its program.
type wrapper struct {
	number int         // of the stub
	files  [2]*os.File // what it gets: the ruleset, if there is one, and what it knows its own by
}

// wrapped has the Path of each wrapped cmd.
var wrapped sync.Map

// wrapperPath returns the path of a stub's descriptor, which stays open for as long as
// anybody has that path, copies of cmd among them: nothing else must ever be executed
// by it. Nor can it be closed with the ExtraFiles.
func wrapperPath(number int) string {
	text := fmt.Append(make([]byte, 0, 64), "/proc/self/fd/", number) // in memory that it does not share
	path := unsafe.String(&text[0], len(text))
	key := strings.Clone(path)
	wrapped.Store(key, nil)
	runtime.AddCleanup(&text[0], func(number int) {
		wrapped.Delete(key)
		unix.Close(number)
	}, number)
	return path
}

// makeWrapper opens what the stub gets, and makes the stub.
//
// The second file is the program, where the stub cannot go by its path, or else the
// stub.
func (c *child) makeWrapper() (w wrapper, err error) {
	if err := c.longPaths(); err != nil {
		return w, err
	}
	if err := procIsThere(); err != nil {
		return w, err
	}
	file, err := stub.NewFile()
	if err != nil {
		return w, fmt.Errorf("landlock: start a child: %w", err)
	}
	defer file.Close()
	if err := sharesDescriptors(file); err != nil {
		return w, err
	}
	ruleset, err := c.openRuleset()
	if err != nil {
		return w, err
	}
	if c.program, err = c.openProgram(); err != nil {
		return w, err
	}
	var mark [4]byte
	if _, err := unix.Getrandom(mark[:], 0); err != nil {
		return w, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrandom", err))
	}
	position := binary.NativeEndian.Uint32(mark[:]) >> 1 // as many bits as a position has everywhere
	c.wrapperCalls(ruleset, position)
	if err := stub.WriteFile(file, c.image.Bytes(0)); err != nil {
		return w, fmt.Errorf("landlock: start a child: %w", err)
	}
	second := int(file.Fd())
	if c.program != noRight {
		second = c.rights[c.program]
	}
	if _, err := unix.Seek(second, int64(position), io.SeekStart); err != nil {
		return w, fmt.Errorf("landlock: wrap: mark the program: %w", os.NewSyscallError("lseek", err))
	}
	return c.numberWrapper(file, ruleset, second)
}

// wrapperCalls writes down what the stub does, and what it says.
func (c *child) wrapperCalls(ruleset right, position uint32) {
	failed := "landlock: exec " + printable(c.was.Path) + ": "
	c.takeFiles(position)
	const changed = "cmd.ExtraFiles is not what Wrap has left there: append to it, and change nothing else of it"
	c.image.Say(failed+"take over the sandbox: ",
		stub.Reason{Errno: int(unix.EBADF), Text: changed, Status: stub.StatusFailed},
		stub.Reason{Errno: int(unix.ESPIPE), Text: changed, Status: stub.StatusFailed})
	c.restrict(ruleset)
	c.image.Say(failed, c.restrictReasons()...)
	c.execute()
	c.image.Say(failed,
		stub.Reason{Errno: int(unix.ENOENT), Text: unix.ENOENT.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: int(unix.ENOTDIR), Text: unix.ENOTDIR.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: int(unix.EACCES), Text: c.sandbox.refusal(programPath(c.cmd)), Status: stub.StatusFailed})
}

// takeFiles has the stub close its files once it executes the program, and fail where
// the second is not this one: then they have other numbers, or are another cmd's. It
// knows its own by its position, to which nobody else has put a file.
func (c *child) takeFiles(position uint32) {
	first := uint32(3 + len(c.was.ExtraFiles))
	c.received = c.image.Writable(bytesOf(&[2]uint32{first, first + 1}))
	found := c.image.Writable(bytesOf(new(uint32)))
	c.image.Add(unix.SYS_LSEEK|stub.Store, uintptr(first+1), 0, io.SeekCurrent, 0, found)
	c.image.Add(stub.Same|stub.Indirect, found, uintptr(position), uintptr(unix.EBADF))
	c.image.Add(unix.SYS_FCNTL, uintptr(first), unix.F_SETFD, unix.FD_CLOEXEC)
	c.image.Add(unix.SYS_FCNTL, uintptr(first+1), unix.F_SETFD, unix.FD_CLOEXEC)
}

// restrictReasons returns what Start would say of a restriction that fails.
func (c *child) restrictReasons() []stub.Reason {
	var reasons []stub.Reason
	add := func(errno syscall.Errno, err error) {
		text := strings.TrimPrefix(err.Error(), "landlock: ")
		reasons = append(reasons, stub.Reason{Errno: int(errno), Text: text, Status: stub.StatusFailed})
	}
	for _, errno := range []syscall.Errno{unix.E2BIG, unix.EPERM} {
		add(errno, restrictError(errno, c.sandbox.setsNoNewPrivs()))
	}
	if c.sandbox.filter != nil {
		add(unix.EACCES, filterError(os.NewSyscallError("seccomp", unix.EACCES)))
	}
	return reasons
}

// refusal says in one line what it is that a program is denied to run, and what would
// allow it, where that is the ruleset's doing. It looks once at a program that is wrapped
// many times.
func (s *Sandbox) refusal(program string) string {
	var err error = unix.EACCES
	if last := s.allowed.Load(); last != nil && *last == program {
		return err.Error()
	}
	for _, file := range programFiles(program) {
		if s.Check(FSExecute|FSReadFile, file) != nil {
			return strings.ReplaceAll(s.explain(err, program).Error(), "\n", "; ")
		}
	}
	s.allowed.Store(&program)
	return err.Error()
}

// numberWrapper gives the stub a number that os/exec puts no file under, and the second
// file one above that.
func (c *child) numberWrapper(file *os.File, ruleset right, second int) (w wrapper, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return w, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrlimit", err))
	}
	least := 5 + len(c.was.ExtraFiles)
	// Above all others are those that os/exec needs itself, or moves files to whose
	// numbers are in its way.
	const appended = 200
	ofExec := uint64(16 + len(c.was.ExtraFiles) + appended)
	for _, more := range []int{1000, 500, appended + 50} {
		if w.number, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, least+more); err != nil {
			continue
		}
		above, err := unix.FcntlInt(uintptr(second), unix.F_DUPFD_CLOEXEC, w.number+1)
		if err == nil && uint64(above)+ofExec >= limit.Cur {
			unix.Close(above)
			err = unix.EMFILE
		}
		if err != nil {
			unix.Close(w.number)
			continue
		}
		w.files[1] = os.NewFile(uintptr(above), "landlock-stub")
		w.files[0] = w.files[1]
		if ruleset != noRight {
			w.files[0] = os.NewFile(uintptr(c.rights[ruleset]), "landlock-ruleset")
			c.owned = slices.DeleteFunc(c.owned, func(fd int) bool { return fd == c.rights[ruleset] })
		}
		return w, nil
	}
	return w, fmt.Errorf("landlock: wrap: RLIMIT_NOFILE is %d, and must be above %d for this cmd: raise it (ulimit -n): %w",
		limit.Cur, uint64(least+appended+50)+ofExec, unix.EMFILE)
}
