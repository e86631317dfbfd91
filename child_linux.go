package landlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/seccomp"
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
	if _, twice := beingStarted.LoadOrStore(cmd, nil); twice {
		return errStarted // and os/exec must not start it as it is
	}
	defer beingStarted.Delete(cmd)
	c, err := s.newChild(cmd)
	if err != nil {
		return failStart(cmd, err)
	}
	c.disguise()
	err = cmd.Start()
	c.undisguise()
	if err != nil {
		c.settle(false)
		cmd.Cancel, cmd.Stdin = c.was.Cancel, c.was.Stdin
		return c.explainStart(err)
	}
	failure, failed, err := stub.ReadFailure(c.status)
	c.settle(!failed)
	if c.input != nil {
		<-c.input.reached // by the goroutine that has looked at cmd.Stdin then
		cmd.Stdin = c.was.Stdin
	}
	if !failed {
		return nil
	}
	c.bury()
	if err != nil {
		return fmt.Errorf("landlock: start: read what the child says: %w", err)
	}
	return c.failure(failure)
}

// beingStarted holds each cmd that looks otherwise than its owner left it: to
// start it meanwhile would be to start it without a sandbox.
var beingStarted sync.Map

// child is a child that is being started.
type child struct {
	sandbox *Sandbox
	cmd     *exec.Cmd
	was     exec.Cmd // cmd as its owner left it
	attr    *syscall.SysProcAttr
	image   stub.Image // the stub
	files   []*os.File // to follow cmd's ExtraFiles; the last is the stub
	owned   []*os.File // those of them that are closed here
	path    string     // the stub's, in the child
	status  *os.File   // the end of the status pipe to read
	restore []func()   // of what os/exec changes in files that others share

	changesRoot  bool                 // the stub does, and then the directory
	capabilities *[2]unix.CapUserData // to give up all others: nil where there is nothing to give up

	restored chan struct{} // closed when cmd is as before
	settled  chan struct{} // closed when it is clear whether the program runs
	running  bool          // whether it does, then
	input    *heldInput    // nil where nobody copies to the child
}

func (s *Sandbox) newChild(cmd *exec.Cmd) (c *child, err error) {
	c = &child{sandbox: s, cmd: cmd, was: *cmd, attr: cmd.SysProcAttr, restored: make(chan struct{}), settled: make(chan struct{})}
	defer func() {
		if err != nil {
			c.settle(false)
		}
	}()
	if err := c.supported(); err != nil {
		return c, err
	}
	// A copy: the Sandbox may be closed meanwhile.
	ruleset := noRuleset
	err = s.withFd(func(fd int) error {
		if fd == noRuleset {
			return nil
		}
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			ruleset = c.place(os.NewFile(uintptr(copied), "landlock-ruleset"))
		}
		return os.NewSyscallError("fcntl", err)
	})
	if err == errClosed {
		return c, err
	}
	if err != nil {
		return c, fmt.Errorf("landlock: start: %w", err)
	}
	var pipe [2]int // and not os.Pipe, to keep the Go runtime's poller out of a wait that is so short
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return c, fmt.Errorf("landlock: start: %w", os.NewSyscallError("pipe2", err))
	}
	c.status = os.NewFile(uintptr(pipe[0]), "landlock-status")
	status := c.place(os.NewFile(uintptr(pipe[1]), "landlock-status"))
	path, err := c.program()
	if err != nil {
		return c, err
	}
	if err := c.changeRoot(); err != nil {
		return c, err
	}
	image := c.next()
	c.path = descriptorPath(image)
	c.hide(image)
	c.restrict(ruleset)
	if c.capabilities != nil {
		c.giveUp(c.capabilities)
	}
	file, err := memoryFile(c.image.Bytes(status, path))
	if err != nil {
		return c, err
	}
	c.files, c.owned = append(c.files, file), append(c.owned, file)
	return c, nil
}

// supported returns an error for what cannot be done by way of a stub.
func (c *child) supported() error {
	if c.attr != nil && c.attr.Cloneflags&unix.CLONE_FILES != 0 {
		return errors.New("landlock: start: SysProcAttr.Cloneflags has CLONE_FILES: the child's descriptors would be this process's")
	}
	if c.attr != nil && c.attr.Setctty && c.attr.Ctty >= 3+len(c.was.ExtraFiles) {
		//lint:ignore ST1005 as os/exec
		return &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: errors.New("Setctty set but Ctty not valid in child")}
	}
	// The stub is executed by its path there. It must be the kernel's own
	// that is found, and not what somebody has put in its place.
	var stat unix.Statfs_t
	err := unix.Statfs("/proc/self/fd", &stat)
	if err == nil && stat.Type != unix.PROC_SUPER_MAGIC {
		err = unix.ENOENT
	}
	if err != nil {
		return fmt.Errorf("landlock: start: a sandboxed child is started by way of /proc/self/fd, which is not there: mount proc: %w", err)
	}
	return nil
}

// place gives the stub a file that the program does not get, and returns its
// descriptor in the child.
func (c *child) place(file *os.File) int {
	fd := c.next()
	c.files, c.owned = append(c.files, file), append(c.owned, file)
	c.hide(fd)
	return fd
}

// next returns the descriptor in the child of the file that comes next. What
// the child inherits under such a number, since this process has it open and
// not close-on-exec, keeps it.
func (c *child) next() int {
	for {
		fd := 3 + len(c.was.ExtraFiles) + len(c.files)
		file := c.inherited(fd)
		if file == nil {
			return fd
		}
		c.files = append(c.files, file)
	}
}

// inherited returns the file that a child would inherit under this number, or
// nil.
func (c *child) inherited(fd int) *os.File {
	// Whoever opens a file and then makes it close-on-exec holds this.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil
	}
	if status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && status&unix.O_NONBLOCK != 0 {
		// os/exec makes it block, for all who share it.
		c.restore = append(c.restore, func() { unix.SetNonblock(fd, true) })
	}
	file, ok := inheritedFiles[fd]
	if !ok {
		file = os.NewFile(uintptr(fd), "inherited")
		inheritedFiles[fd] = file
	}
	return file
}

// inheritedFiles has a file for each number that was inherited: one that is
// never closed, since the descriptor is somebody else's. (A copy would not do:
// to close any descriptor of a file is to lose the process's locks on it.)
// syscall.ForkLock guards it.
var inheritedFiles = map[int]*os.File{}

func descriptorPath(fd int) string { return fmt.Sprint("/proc/self/fd/", fd) }

// hide has the stub close a descriptor when it executes the program.
func (c *child) hide(fd int) { c.image.Add(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) }

// restrict has the stub restrict itself.
func (c *child) restrict(ruleset int) {
	if c.attr != nil && c.attr.Ptrace {
		// Not by os/exec: the tracer would have to see the stub through.
		c.image.Add(unix.SYS_PTRACE, unix.PTRACE_TRACEME)
	}
	if c.sandbox.noNewPrivs {
		c.image.Add(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	if ruleset != noRuleset {
		c.image.Add(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), uintptr(c.sandbox.flags))
	}
	if filter := c.sandbox.filter; filter != nil {
		c.image.Add(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, c.filterProgram(filter))
	}
}

// filterProgram gives the stub a struct sock_fprog, and returns its address
// there.
func (c *child) filterProgram(filter []seccomp.Instruction) uintptr {
	text := unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), len(filter)*int(unsafe.Sizeof(filter[0])))
	program := struct {
		length       uint16
		instructions uintptr
	}{uint16(len(filter)), c.image.Data(text)}
	return c.image.Data(unsafe.Slice((*byte)(unsafe.Pointer(&program)), unsafe.Sizeof(program)))
}

// changeRoot has the stub change its root, since there may be no /proc in the
// new one, or what somebody else has put there. It needs CAP_SYS_CHROOT for
// that, which root has, and other users are left by os/exec as an ambient
// capability; the stub then gives it up.
func (c *child) changeRoot() error {
	if c.attr == nil || c.attr.Chroot == "" {
		return nil
	}
	if strings.ContainsRune(c.attr.Chroot, 0) || strings.ContainsRune(c.cmd.Dir, 0) {
		return &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: unix.EINVAL} // as os/exec
	}
	attr := *c.attr
	namespaces := attr.Cloneflags | attr.Unshareflags
	if namespaces&unix.CLONE_NEWNS != 0 { // where the path may lead elsewhere
		c.image.Add(unix.SYS_CHDIR, c.image.Path(attr.Chroot))
	} else { // which the child's user may have no way to
		root, err := unix.Open(attr.Chroot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: err} // as os/exec
		}
		c.image.Add(unix.SYS_FCHDIR, uintptr(c.place(os.NewFile(uintptr(root), attr.Chroot))))
	}
	c.image.Add(unix.SYS_CHROOT, c.image.Path("."))
	if c.was.Dir != "" {
		c.image.Add(unix.SYS_CHDIR, c.image.Path(c.was.Dir))
	}
	attr.Chroot, c.changesRoot = "", true
	root := os.Geteuid() == 0 || namespaces&unix.CLONE_NEWUSER != 0
	if attr.Credential != nil {
		root = attr.Credential.Uid == 0
	}
	if !root && !slices.Contains(attr.AmbientCaps, unix.CAP_SYS_CHROOT) {
		var sets [2]unix.CapUserData
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capget(&header, &sets[0]); err != nil {
			return fmt.Errorf("landlock: start: %w", os.NewSyscallError("capget", err))
		}
		if namespaces&unix.CLONE_NEWUSER != 0 {
			sets = [2]unix.CapUserData{} // what a new user namespace begins with
		}
		for i := range sets {
			sets[i].Effective, sets[i].Permitted = 0, 0
		}
		for _, capability := range attr.AmbientCaps {
			if capability >= 64 {
				return &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: unix.EINVAL} // as os/exec
			}
			sets[capability/32].Permitted |= 1 << (capability % 32)
			sets[capability/32].Inheritable |= 1 << (capability % 32)
		}
		attr.AmbientCaps = append(slices.Clip(attr.AmbientCaps), unix.CAP_SYS_CHROOT)
		c.capabilities = &sets
	}
	c.attr = &attr
	return nil
}

// giveUp has the stub give up CAP_SYS_CHROOT: what matters of a program's
// capabilities before it is executed are the ambient and the inheritable ones.
func (c *child) giveUp(sets *[2]unix.CapUserData) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	c.image.Add(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, unix.CAP_SYS_CHROOT)
	c.image.Add(unix.SYS_CAPSET,
		c.image.Data(unsafe.Slice((*byte)(unsafe.Pointer(&header)), unsafe.Sizeof(header))),
		c.image.Data(unsafe.Slice((*byte)(unsafe.Pointer(sets)), unsafe.Sizeof(*sets))))
}

// program returns the path of the program for the stub. Where it is by way of
// what this process has open and the stub has not (its own executable, or a
// descriptor that the child does not inherit) the stub gets the file.
func (c *child) program() (string, error) {
	path := c.was.Path
	if c.attr != nil && c.attr.Chroot != "" && path != "/proc/self/exe" {
		return path, nil
	}
	own := fmt.Sprintf("/proc/%d/fd/", os.Getpid())
	if number, ok := strings.CutPrefix(path, own); ok { // which the stub may not look at
		if _, err := strconv.Atoi(number); err == nil {
			return c.byDescriptor(), nil
		}
	}
	for _, proc := range []string{"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"} {
		name, ok := strings.CutPrefix(path, proc)
		number, _, _ := strings.Cut(name, "/")
		fd, err := strconv.Atoi(number)
		if !ok || err != nil || fd < 3+len(c.was.ExtraFiles) {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			return "", &fs.PathError{Op: "fork/exec", Path: path, Err: unix.ENOENT} // as os/exec
		}
		if flags&unix.FD_CLOEXEC == 0 {
			return path, nil
		}
		return c.byDescriptor(), nil
	}
	if ownExecutable(programPath(c.cmd)) {
		return c.byDescriptor(), nil
	}
	return path, nil
}

// byDescriptor opens the program for the stub, and returns its path there.
// Where that fails the stub will say why.
func (c *child) byDescriptor() string {
	fd, err := unix.Open(programPath(c.cmd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return c.was.Path
	}
	return descriptorPath(c.place(os.NewFile(uintptr(fd), c.was.Path)))
}

// ownExecutable reports whether path leads to the executable of the process
// that opens it, as /proc/self/exe does.
func ownExecutable(path string) bool {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if err == nil {
		unix.Close(fd)
		return false
	}
	found, err1 := os.Stat(path)
	own, err2 := os.Stat("/proc/self/exe")
	return err == unix.ELOOP && err1 == nil && err2 == nil && os.SameFile(found, own)
}

// disguise makes cmd start the stub.
func (c *child) disguise() {
	cmd := c.cmd
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = c.path
	cmd.ExtraFiles = append(slices.Clip(cmd.ExtraFiles), c.files...)
	if c.attr != nil {
		if c.changesRoot {
			if !slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.ContainsRune(v, 0) }) {
				cmd.Env = cmd.Environ() // with the directory
			}
			cmd.Dir = ""
		}
		attr := *c.attr
		attr.Ptrace = false
		cmd.SysProcAttr = &attr
	}
	// Goroutines of os/exec run these. They may look at cmd, and must not
	// take a stub for the program.
	if cancel := cmd.Cancel; cancel != nil {
		cmd.Cancel = func() error {
			if <-c.settled; !c.running {
				return os.ErrProcessDone
			}
			return cancel()
		}
	}
	if in := cmd.Stdin; in != nil && !isFile(in) {
		c.input = &heldInput{in, c, make(chan struct{})}
		cmd.Stdin = c.input
	}
	same := equal(cmd.Stdout, cmd.Stderr)
	if out := cmd.Stdout; out != nil && !isFile(out) {
		cmd.Stdout = &heldOutput{out, c}
	}
	if same {
		cmd.Stderr = cmd.Stdout
	} else if out := cmd.Stderr; out != nil && !isFile(out) {
		cmd.Stderr = &heldOutput{out, c}
	}
}

// equal reports whether two streams are one, as far as they can be compared.
func equal(a, b any) bool {
	defer func() { recover() }()
	return a == b
}

func isFile(stream any) bool {
	_, ok := stream.(*os.File)
	return ok
}

// undisguise makes cmd what it was, but for what os/exec's goroutines may still
// look at, and closes what is the stub's.
func (c *child) undisguise() {
	cmd, was := c.cmd, &c.was
	cmd.Path, cmd.Args, cmd.Env, cmd.Dir, cmd.ExtraFiles, cmd.SysProcAttr = was.Path, was.Args, was.Env, was.Dir, was.ExtraFiles, was.SysProcAttr
	cmd.Stdout, cmd.Stderr = was.Stdout, was.Stderr
	close(c.restored)
	c.close()
}

func (c *child) close() {
	for _, file := range c.owned {
		file.Close()
	}
	c.owned = nil
	for _, restore := range c.restore {
		restore()
	}
	c.restore = nil
}

// settle says whether the program runs, and lets go on who waits for that.
func (c *child) settle(running bool) {
	c.close()
	c.status.Close()
	c.running = running
	close(c.settled)
}

// heldInput keeps os/exec from reading what is meant for the program before it
// is clear that there is one.
type heldInput struct {
	io.Reader
	child   *child
	reached chan struct{}
}

func (h *heldInput) WriteTo(w io.Writer) (int64, error) {
	close(h.reached)
	if <-h.child.settled; !h.child.running {
		return 0, nil
	}
	return io.Copy(w, h.Reader)
}

// heldOutput keeps os/exec from writing to a writer that may look at cmd before
// that is as it was.
type heldOutput struct {
	io.Writer
	child *child
}

func (h *heldOutput) ReadFrom(r io.Reader) (int64, error) {
	<-h.child.restored
	return io.Copy(h.Writer, r)
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

// failure returns the error for a call of the stub that failed.
func (c *child) failure(f stub.Failure) error {
	errno := syscall.Errno(f.Errno)
	calls := c.image.Calls()
	if f.Call < len(calls) {
		switch call := calls[f.Call]; {
		case call.Number == unix.SYS_LANDLOCK_RESTRICT_SELF:
			return restrictError(errno, c.sandbox.setsNoNewPrivs())
		case call.Number == unix.SYS_PRCTL && call.Args[0] == unix.PR_SET_NO_NEW_PRIVS:
			return noNewPrivsError(errno)
		case call.Number == unix.SYS_SECCOMP:
			return filterError(os.NewSyscallError("seccomp", errno))
		}
	}
	err := &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: errno} // as os/exec
	if f.Call < len(calls) || c.changesRoot {
		return err // not the program's, or in another root, where the path means something else
	}
	return c.sandbox.explain(err, programPath(c.cmd))
}

// explainStart returns os/exec's error for the stub as one for the program.
func (c *child) explainStart(err error) error {
	failure, ok := errors.AsType[*fs.PathError](err)
	if !ok || failure.Op != "fork/exec" {
		return err
	}
	failure.Path = c.was.Path
	if errors.Is(err, errDenied) && c.was.Dir == "" && c.was.SysProcAttr == nil { // so it was the stub that was to be executed
		return fmt.Errorf("%w: a security module or seccomp filter forbids to execute a file in memory, by which a sandboxed child is started", err)
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
