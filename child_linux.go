package landlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// start is Start for a cmd that can be started. This is the one place that
// starts a child, and it keeps one rule:
//
//	No thread of this process is ever in the domain of a child, nor in one
//	beneath it.
//
// Landlock lets a child trace, signal and take descriptors from whatever shares
// its domain, and a thread shares memory, descriptors and fate with its
// process. So the restriction happens in the child, between clone and execve:
// os/exec starts a stub, just as it would start the program, and the stub
// restricts itself and executes the program. What fails it writes to a pipe;
// when it has become the program, the pipe is closed.
func (s *Sandbox) start(cmd *exec.Cmd) error {
	if !stub.Supported {
		return failStart(cmd, errNoStub)
	}
	c, err := s.newChild(cmd)
	if err != nil {
		return failStart(cmd, err)
	}
	c.disguise()
	err = cmd.Start()
	c.undisguise(err == nil)
	if err != nil {
		c.release()
		return c.explainStart(err)
	}
	failure, failed, err := stub.ReadFailure(c.status)
	c.letGo(!failed)
	if !failed {
		return nil
	}
	c.bury()
	if err != nil {
		return fmt.Errorf("landlock: start: read what the child says: %w", err)
	}
	return c.failure(failure)
}

// child is a child that is being started.
type child struct {
	sandbox *Sandbox
	cmd     *exec.Cmd
	was     exec.Cmd      // cmd as its owner left it
	calls   []stub.Call   // what the stub does before it executes the program
	files   []*os.File    // to follow cmd's ExtraFiles; the last is the stub
	stub    string        // its path in the child
	status  *os.File      // the end of the status pipe to read
	started chan struct{} // closed when cmd is as before
	input   *heldInput    // nil where nobody copies to the child
}

func (s *Sandbox) newChild(cmd *exec.Cmd) (c *child, err error) {
	c = &child{sandbox: s, cmd: cmd, was: *cmd, started: make(chan struct{})}
	defer func() {
		if err != nil {
			c.release()
		}
	}()
	// A copy: the Sandbox may be closed meanwhile.
	copied := -1
	err = s.withFd(func(fd int) (err error) {
		copied, err = duplicate(fd)
		return err
	})
	if err != nil {
		return c, err
	}
	ruleset := c.place(os.NewFile(uintptr(copied), "landlock-ruleset"))
	var pipe [2]int // and not os.Pipe, to keep the Go runtime's poller out of a wait that is so short
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return c, fmt.Errorf("landlock: start: %w", os.NewSyscallError("pipe2", err))
	}
	c.status = os.NewFile(uintptr(pipe[0]), "landlock-status")
	status := c.place(os.NewFile(uintptr(pipe[1]), "landlock-status"))
	path := cmd.Path
	if program, ok := c.parentsFile(); ok {
		path = descriptorPath(c.place(program))
	}
	image := c.next()
	c.stub = descriptorPath(image)
	c.hide(image)
	c.restrict(ruleset)
	file, err := memoryFile(stub.Image(status, c.calls, path))
	if err != nil {
		return c, err
	}
	c.files = append(c.files, file)
	return c, nil
}

// place gives the stub a file that the program does not get, and returns its
// descriptor in the child.
func (c *child) place(file *os.File) int {
	fd := c.next()
	c.files = append(c.files, file)
	c.hide(fd)
	return fd
}

// next returns the descriptor in the child of the file that comes next. What
// the child inherits under such a number, since this process has it open and
// not close-on-exec, keeps it.
func (c *child) next() int {
	for {
		fd := 3 + len(c.was.ExtraFiles) + len(c.files)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fd
		}
		copied, err := duplicate(fd)
		if err != nil {
			return fd
		}
		c.files = append(c.files, os.NewFile(uintptr(copied), "inherited"))
	}
}

func duplicate(fd int) (int, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return copied, os.NewSyscallError("fcntl", err)
}

func descriptorPath(fd int) string { return fmt.Sprint("/proc/self/fd/", fd) }

// hide has the stub close a descriptor when it executes the program.
func (c *child) hide(fd int) { c.call(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) }

// restrict has the stub restrict itself.
func (c *child) restrict(ruleset int) {
	if c.traced() {
		// Not by os/exec: the tracer would have to see the stub through.
		c.call(unix.SYS_PTRACE, unix.PTRACE_TRACEME)
	}
	if c.sandbox.noNewPrivs {
		c.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	c.call(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), uintptr(c.sandbox.flags))
}

func (c *child) call(number uintptr, args ...uintptr) {
	call := stub.Call{Number: number}
	copy(call.Args[:], args)
	c.calls = append(c.calls, call)
}

func (c *child) traced() bool { return c.was.SysProcAttr != nil && c.was.SysProcAttr.Ptrace }

// parentsFile returns the program where its path is by way of what this process
// has open and the stub has not: its own executable, or a descriptor that the
// child does not inherit.
func (c *child) parentsFile() (*os.File, bool) {
	for _, proc := range []string{"/proc/self/", "/proc/thread-self/", fmt.Sprintf("/proc/%d/", os.Getpid()), "/dev/"} {
		name, ok := strings.CutPrefix(c.was.Path, proc)
		number, isFd := strings.CutPrefix(name, "fd/")
		number, _, _ = strings.Cut(number, "/")
		fd, err := strconv.Atoi(number)
		executable := name == "exe" && proc != "/dev/"
		if !ok || !executable && (!isFd || err != nil || fd < 3+len(c.was.ExtraFiles)) {
			continue
		}
		file, err := unix.Open(c.was.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		return os.NewFile(uintptr(file), c.was.Path), err == nil
	}
	return nil, false
}

// disguise makes cmd start the stub.
func (c *child) disguise() {
	cmd := c.cmd
	cmd.ExtraFiles = append(slices.Clip(cmd.ExtraFiles), c.files...)
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = c.stub
	if c.traced() {
		attr := *cmd.SysProcAttr
		attr.Ptrace = false
		cmd.SysProcAttr = &attr
	}
	if cancel := cmd.Cancel; cancel != nil {
		// It runs on a goroutine of os/exec, and may look at cmd.
		cmd.Cancel = func() error {
			<-c.started
			return cancel()
		}
	}
	if _, direct := cmd.Stdin.(*os.File); cmd.Stdin != nil && !direct {
		c.input = &heldInput{cmd.Stdin, make(chan struct{}), make(chan bool, 1)}
		cmd.Stdin = c.input
	}
}

// undisguise makes cmd what it was, but for what os/exec's goroutines look at
// once it has started.
func (c *child) undisguise(started bool) {
	cmd := c.cmd
	cmd.Path, cmd.Args, cmd.ExtraFiles, cmd.SysProcAttr = c.was.Path, c.was.Args, c.was.ExtraFiles, c.was.SysProcAttr
	if !started {
		cmd.Cancel, cmd.Stdin = c.was.Cancel, c.was.Stdin
	}
	close(c.started)
	for _, file := range c.files {
		file.Close()
	}
	c.files = nil
}

// letGo lets the goroutine that copies standard input go on, or end.
func (c *child) letGo(running bool) {
	c.status.Close()
	if c.input == nil {
		return
	}
	c.input.running <- running
	<-c.input.reached
	c.cmd.Stdin = c.was.Stdin // which that goroutine has looked at by now
}

// heldInput keeps os/exec from reading what is meant for the child before it is
// clear that there is one.
type heldInput struct {
	io.Reader
	reached chan struct{}
	running chan bool
}

func (h *heldInput) WriteTo(w io.Writer) (int64, error) {
	close(h.reached)
	if !<-h.running {
		return 0, nil
	}
	return io.Copy(w, h.Reader)
}

// bury cleans up after a stub that failed, as os/exec does after its own child.
func (c *child) bury() {
	cmd := c.cmd
	cmd.Process.Kill() // which has exited, or is of no use
	cmd.Wait()
	if attr := cmd.SysProcAttr; attr != nil && attr.PidFD != nil && *attr.PidFD >= 0 {
		unix.Close(*attr.PidFD)
		*attr.PidFD = -1
	}
	cmd.Process, cmd.ProcessState, cmd.Cancel = nil, nil, c.was.Cancel
}

// release closes what is open.
func (c *child) release() {
	for _, file := range append(c.files, c.status) {
		file.Close()
	}
}

// failure returns the error for a call of the stub that failed.
func (c *child) failure(f stub.Failure) error {
	errno := syscall.Errno(f.Errno)
	if f.Call < len(c.calls) {
		switch c.calls[f.Call].Number {
		case unix.SYS_LANDLOCK_RESTRICT_SELF:
			return restrictError(errno)
		case unix.SYS_PRCTL:
			return noNewPrivsError(errno)
		}
	}
	err := &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: errno} // as os/exec
	if c.chroot() != "" {
		return err // the path means something else here
	}
	return c.sandbox.explain(err, programPath(c.cmd))
}

func (c *child) chroot() string {
	if c.was.SysProcAttr == nil {
		return ""
	}
	return c.was.SysProcAttr.Chroot
}

// explainStart returns os/exec's error for the stub as one for the program, and
// says where there can be no stub.
func (c *child) explainStart(err error) error {
	failure, ok := errors.AsType[*fs.PathError](err)
	if !ok || failure.Op != "fork/exec" {
		return err
	}
	failure.Path = c.was.Path
	fds := filepath.Join("/", c.chroot(), "/proc/self/fd")
	if _, statErr := os.Stat(filepath.Join("/", c.chroot())); statErr == nil {
		if _, statErr := os.Stat(fds); statErr != nil {
			return fmt.Errorf("%w: a sandboxed child is started by way of %s, which is not there: mount proc", err, fds)
		}
	}
	return err
}

// memoryFile returns an executable file with text, which nobody can change any
// more.
func memoryFile(text []byte) (*os.File, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && limit.Cur < uint64(len(text)) {
		// To write more is a signal, and the end of this process.
		return nil, fmt.Errorf("landlock: start: RLIMIT_FSIZE of %d bytes: the child's stub takes %d: %w", limit.Cur, len(text), unix.EFBIG)
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("landlock-stub", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3, where all of them may be executed
		fd, err = unix.MemfdCreate("landlock-stub", flags)
	}
	if err == unix.EACCES {
		return nil, fmt.Errorf("landlock: start: %w: memory files that may be executed are forbidden: set the sysctl vm.memfd_noexec to 0 or 1", os.NewSyscallError("memfd_create", err))
	}
	if err != nil {
		return nil, fmt.Errorf("landlock: start: %w", os.NewSyscallError("memfd_create", err))
	}
	file := os.NewFile(uintptr(fd), "landlock-stub")
	if _, err = file.Write(text); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("landlock: start: make the stub: %w", err)
	}
	return file, nil
}
