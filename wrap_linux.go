package landlock

import (
	"encoding/binary"
	"errors"
	"fmt"
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
// to it. So what the stub gets waits for it in a socket, which is among cmd's
// ExtraFiles, and what fails it says itself.
//
// What is in ExtraFiles must have no say in what is executed. So the stub is executed
// by the number that this process has it under, and has no place among them. os/exec
// puts files under the numbers that they have in ExtraFiles, and under those above the
// highest that one of them has here. The stub's is between them: the socket has a
// higher one.
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
	c := &child{sandbox: s, cmd: cmd, was: *cmd, attr: cmd.SysProcAttr, image: stub.Talking()}
	number, err := c.makeWrapper()
	if err != nil {
		return err
	}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = wrapperPath(number)
	cmd.ExtraFiles = append(slices.Clip(cmd.ExtraFiles), c.there, c.there)
	return nil
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

// makeWrapper makes the socket of a wrapped cmd, with what the stub gets, and the
// stub, and returns its descriptor.
func (c *child) makeWrapper() (number int, err error) {
	if err := procIsThere(); err != nil {
		return 0, err
	}
	if c.handover, err = newHandover(); err != nil {
		return 0, err
	}
	defer func() {
		c.here.Close()
		c.closeOwned()
		if err != nil {
			c.there.Close()
		}
	}()
	ruleset, err := c.openRuleset()
	if err != nil {
		return 0, err
	}
	if c.program, err = c.openProgram(); err != nil {
		return 0, err
	}
	c.text = make([]byte, 8)
	if _, err := unix.Getrandom(c.text, 0); err != nil {
		return 0, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrandom", err))
	}
	if err := c.sendNow(); err != nil {
		return 0, err
	}
	c.wrapperCalls(ruleset)
	return c.makeWrapperFile()
}

// wrapperCalls writes down what the stub does, and what it says.
func (c *child) wrapperCalls(ruleset right) {
	failed := "landlock: exec " + printable(c.was.Path) + ": "
	// Both numbers must be the socket's, or ExtraFiles has been changed.
	for c.slot = 3 + len(c.was.ExtraFiles); c.slot < 5+len(c.was.ExtraFiles); c.slot++ {
		c.takeMessage()
	}
	c.image.Say(failed + "cmd.ExtraFiles is not what Wrap has left there: append to it: ")
	c.receivedAll()
	c.image.Say(failed + "take over the sandbox: ")
	c.restrict(ruleset)
	c.image.Say(failed, c.restrictReasons()...)
	c.execute()
	c.image.Say(failed,
		stub.Reason{Errno: unix.ENOENT, Text: unix.ENOENT.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: unix.ENOTDIR, Text: unix.ENOTDIR.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: unix.EACCES, Text: c.sandbox.refusal(programPath(c.cmd)), Status: stub.StatusFailed})
}

// restrictReasons returns what Start would say of a restriction that fails.
func (c *child) restrictReasons() []stub.Reason {
	var reasons []stub.Reason
	add := func(errno syscall.Errno, err error) {
		text := strings.TrimPrefix(err.Error(), "landlock: ")
		reasons = append(reasons, stub.Reason{Errno: errno, Text: text, Status: stub.StatusFailed})
	}
	for _, errno := range []syscall.Errno{unix.E2BIG, unix.EPERM} {
		add(errno, restrictError(errno, c.sandbox.setsNoNewPrivs()))
	}
	if c.sandbox.filter != nil {
		add(unix.EACCES, filterError(os.NewSyscallError("seccomp", unix.EACCES)))
	}
	return reasons
}

// takeMessage has the stub receive what waits in the socket, close that, and fail where
// it is another. The message stays there, for copies of cmd.
func (c *child) takeMessage() {
	text := c.receive(unix.MSG_PEEK | unix.MSG_DONTWAIT)
	for i := 0; i < len(c.text); i += 4 {
		c.image.Add(stub.Same|stub.Indirect, text+uintptr(i), uintptr(binary.NativeEndian.Uint32(c.text[i:])), uintptr(unix.EBADF))
	}
	c.image.Add(unix.SYS_CLOSE, uintptr(c.slot))
}

// refusal says in one line what it is that a program is denied to run, and what would
// allow it, where that is the ruleset's doing. It looks at each program once, as long
// as it is the same again and again.
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

// makeWrapperFile makes the stub's file, under a number that os/exec puts no file
// under, and moves the socket above it.
func (c *child) makeWrapperFile() (number int, err error) {
	file, err := memoryFile(c.image.Bytes(0))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrlimit", err))
	}
	const ofExec = 16                            // numbers above the socket's that os/exec moves files to
	for _, more := range []int{1000, 500, 250} { // so many files can be appended, at least
		if number, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, c.slot+more); err != nil {
			continue
		}
		if c.there, err = above(c.there, number+1); err == nil && uint64(c.there.Fd())+ofExec < limit.Cur {
			return number, nil
		}
		unix.Close(number)
	}
	return 0, fmt.Errorf("landlock: wrap: RLIMIT_NOFILE of %d: two descriptors from %d on are needed, and some above: %w", limit.Cur, c.slot+250, unix.EMFILE)
}
