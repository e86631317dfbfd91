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
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/program"
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
// restricts itself and executes the program. What fails it writes to a socket;
// when it has become the program, its end of that is closed.
//
// From Go 1.28 on os/exec can restrict a child itself: SysProcAttr has UseLandlock,
// LandlockFD, LandlockFlags and NoNewPrivs. With that, what needs special care here
// is its own affair: Chroot, Ptrace and a thread's own descriptors (CLONE_FILES), and
// there is no need of /proc, of a memory file, of RLIMIT_FSIZE, nor of assembly for
// each architecture. The stub stays for what it cannot do: FilterSockets; to tell
// ErrTooManyLayers from a list of arguments that is too long, since both are E2BIG; to
// watch what a child asks for; and Wrap, since others replace a SysProcAttr, and the
// sandbox would go with it.
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
	failure, failed, err := c.awaitProgram()
	if !failed {
		c.restoreInput()
		c.settle(true)
		return nil
	}
	c.settle(false)
	c.bury()
	if err != nil {
		return fmt.Errorf("landlock: start a child: read what the child says: %w", err)
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
	*handover
	image   stub.Image // the stub
	taking  int        // how many of its calls are there to get its files
	file    *os.File   // it is in
	program right      // the program, where the stub cannot go by its path
	alone   bool       // it is started by others: what the stub gets is among ExtraFiles

	capabilities *[2]unix.CapUserData // to give up all others: nil where there is nothing to give up

	restored chan struct{} // closed when cmd is as before
	settled  chan struct{} // closed when it is clear whether the program runs
	running  bool          // whether it does, then
	input    *heldInput    // nil where nobody copies to the child
}

// newChild makes the stub for cmd. First it opens and sends what the stub gets, and
// then it writes down the calls.
func (s *Sandbox) newChild(cmd *exec.Cmd) (c *child, err error) {
	c = &child{sandbox: s, cmd: cmd, was: *cmd, attr: cmd.SysProcAttr, restored: make(chan struct{}), settled: make(chan struct{})}
	if err := c.longPaths(); err != nil {
		return c, err
	}
	if err := procIsThere(); err != nil {
		return c, err
	}
	if c.handover, err = newHandover(); err != nil {
		return c, err
	}
	defer func() {
		if err != nil {
			c.settle(false)
		}
	}()
	ruleset, err := c.openRuleset()
	if err != nil {
		return c, err
	}
	if c.program, err = c.openProgram(); err != nil {
		return c, err
	}
	root, err := c.openRoot()
	if err != nil {
		return c, err
	}
	if err := c.chooseSlot(); err != nil {
		return c, err
	}
	if err := c.handOver(); err != nil {
		return c, err
	}
	if err := c.takeOver(); err != nil {
		return c, err
	}
	c.changeRoot(root)
	c.restrict(ruleset)
	c.giveUp()
	c.restoreLimit()
	c.execute()
	return c, c.makeFile()
}

// longPaths returns the kernel's answer to paths that are too long: the stub has no room
// for all of them.
func (c *child) longPaths() error {
	const longest = 4096 // PATH_MAX, with the NUL
	if len(c.was.Path) >= longest || c.changesRoot() && max(len(c.attr.Chroot), len(c.was.Dir)) >= longest {
		return c.startError(unix.ENAMETOOLONG)
	}
	return nil
}

// makeFile makes the file of the stub. os/exec finds it by its number here, in the
// child, which must not be another file's by then: os/exec puts files under
// numbers up to the last that it passes, and above the highest that one of them has
// here. So the number of the stub is between them. It is left, like all that is
// close-on-exec, when the stub is executed.
func (c *child) makeFile() error {
	file, err := memoryFile(c.image.Bytes(c.socket))
	if err != nil {
		return err
	}
	if c.file, err = above(file, 4+len(c.was.ExtraFiles)); err != nil {
		return err
	}
	return c.keepClear(int(c.file.Fd()))
}

// execute has the stub execute the program.
func (c *child) execute() {
	if c.program == noRight {
		c.image.Execute(c.was.Path)
	} else {
		c.image.ExecuteOpen(c.number(c.program))
	}
}

// openRuleset sends the ruleset, or nothing where there is none. It is a copy: the
// Sandbox may be closed meanwhile.
func (c *child) openRuleset() (ruleset right, err error) {
	ruleset = noRight
	err = c.sandbox.withFd(func(fd int) error {
		if fd == noRuleset {
			return nil
		}
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			ruleset = c.sendOwn(copied)
		}
		return os.NewSyscallError("fcntl", err)
	})
	if err != nil && err != errClosed {
		err = fmt.Errorf("landlock: start a child: %w", err)
	}
	return ruleset, err
}

// wrongAttributes returns what cannot be had of cmd.SysProcAttr: what os/exec does
// not survive, and what would have the child share with this process, or with its
// parent, what a sandbox is to keep from it.
func wrongAttributes(cmd *exec.Cmd) error {
	attr := cmd.SysProcAttr
	if attr == nil {
		return nil
	}
	for _, flag := range wrongCloneflags {
		if attr.Cloneflags&flag.bit != 0 {
			return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.Cloneflags %#x has %s: %s", attr.Cloneflags, flag.name, flag.why)}
		}
	}
	if rest := attr.Cloneflags &^ (namespaceFlags | uintptr(unix.SIGCHLD)); rest != 0 { // os/exec adds SIGCHLD itself
		return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.Cloneflags %#x has %#x, which is no namespace", attr.Cloneflags, rest)}
	}
	for _, capability := range attr.AmbientCaps {
		if capability >= 64 { // at which the Go runtime would end this process
			return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.AmbientCaps has %d: capabilities are numbers below 64: %w", capability, errInvalid)}
		}
	}
	if attr.Setctty && attr.Ctty >= 3+len(cmd.ExtraFiles) { // where the stub has files
		//lint:ignore ST1005 as os/exec
		return &fs.PathError{Op: "fork/exec", Path: cmd.Path, Err: errors.New("Setctty set but Ctty not valid in child")}
	}
	return nil
}

const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// wrongCloneflags are those of clone(2) that make no namespace.
var wrongCloneflags = []struct {
	bit       uintptr
	name, why string
}{
	{unix.CLONE_VM, "CLONE_VM", "the child's memory would be this process's"},
	{unix.CLONE_FS, "CLONE_FS", "the child's root, working directory and umask would be this process's"},
	{unix.CLONE_FILES, "CLONE_FILES", "the child's descriptors would be this process's"},
	{unix.CLONE_SIGHAND, "CLONE_SIGHAND", "the child's signal handlers would be this process's"},
	{unix.CLONE_PIDFD, "CLONE_PIDFD", "os/exec says where to put the descriptor: set SysProcAttr.PidFD"},
	{unix.CLONE_PTRACE, "CLONE_PTRACE", "whoever traces this process would trace the child, and the child's tracer is for its parent to choose: set SysProcAttr.Ptrace"},
	{unix.CLONE_VFORK, "CLONE_VFORK", "os/exec decides it, and a child with a user namespace would wait for this process, and this process for it"},
	{unix.CLONE_PARENT, "CLONE_PARENT", "the child would be one of this process's parent, and Wait would not find it"},
	{unix.CLONE_THREAD, "CLONE_THREAD", "the child would be a thread of this process"},
	{unix.CLONE_SYSVSEM, "CLONE_SYSVSEM", "what this process is to undo to System V semaphores would be the child's to undo, too"},
	{unix.CLONE_SETTLS, "CLONE_SETTLS", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_DETACHED, "CLONE_DETACHED", "it has no meaning any more"},
	{unix.CLONE_UNTRACED, "CLONE_UNTRACED", "the child would escape whoever traces this process"},
	{unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_IO, "CLONE_IO", "the child's queue of input and output would be this process's"},
}

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

// restrict has the stub restrict itself.
func (c *child) restrict(ruleset right) {
	if c.attr != nil && c.attr.Ptrace {
		// Not by os/exec: the tracer would have to see the stub through.
		c.image.Add(unix.SYS_PTRACE, unix.PTRACE_TRACEME)
	}
	if c.sandbox.noNewPrivs {
		c.image.Add(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	if ruleset != noRight {
		c.image.Add(unix.SYS_LANDLOCK_RESTRICT_SELF|stub.Indirect, c.number(ruleset), uintptr(c.sandbox.flags))
	}
	if filter := c.sandbox.filter; filter != nil {
		c.image.Add(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, c.filterProgram(filter.Instructions()))
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
	return c.image.Data(bytesOf(&program))
}

// openRoot looks at the SysProcAttr.Chroot that cmd asks for, and sends it, but
// where its path may lead elsewhere for the child. The stub changes its root, and
// not os/exec, since there may be no /proc in the new one, or what somebody else
// has put there. It needs CAP_SYS_CHROOT for that. A child that becomes root has it,
// and another is left it by os/exec as an ambient capability; the stub then gives it
// up.
func (c *child) openRoot() (right, error) {
	if !c.changesRoot() {
		return noRight, nil
	}
	if strings.ContainsRune(c.attr.Chroot, 0) || strings.ContainsRune(c.cmd.Dir, 0) {
		return noRight, c.startError(unix.EINVAL)
	}
	if err := c.keepChroot(); err != nil {
		return noRight, err
	}
	if c.namespaces()&unix.CLONE_NEWNS != 0 {
		return noRight, nil
	}
	root, err := unix.Open(c.attr.Chroot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil { // before the child has another user, who may have no way there
		return noRight, c.startError(err)
	}
	return c.sendOwn(root), nil
}

func (c *child) changesRoot() bool { return c.attr != nil && c.attr.Chroot != "" }

// namespaces returns the flags of those that the child has for itself.
func (c *child) namespaces() uintptr { return c.attr.Cloneflags | c.attr.Unshareflags }

// startError is an error as os/exec has it for a program that cannot be started.
func (c *child) startError(err error) error {
	return &fs.PathError{Op: "fork/exec", Path: c.was.Path, Err: err}
}

// changeRoot has the stub change its root, and then its directory.
func (c *child) changeRoot(root right) {
	if !c.changesRoot() {
		return
	}
	if root != noRight {
		c.image.Add(unix.SYS_FCHDIR|stub.Indirect, c.number(root))
	} else {
		c.image.Add(unix.SYS_CHDIR, c.image.Path(c.attr.Chroot))
	}
	c.image.Add(unix.SYS_CHROOT, c.image.Path("."))
	if c.was.Dir != "" {
		c.image.Add(unix.SYS_CHDIR, c.image.Path(c.was.Dir))
	}
}

// keepChroot has os/exec leave the stub CAP_SYS_CHROOT, where it would have lost
// it.
func (c *child) keepChroot() error {
	if c.becomesRoot() || slices.Contains(c.attr.AmbientCaps, unix.CAP_SYS_CHROOT) {
		return nil
	}
	var sets [2]unix.CapUserData
	if c.namespaces()&unix.CLONE_NEWUSER == 0 { // which begins without inheritable ones
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capget(&header, &sets[0]); err != nil {
			return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("capget", err))
		}
	}
	for i := range sets {
		sets[i].Effective, sets[i].Permitted = 0, 0
	}
	for _, capability := range c.attr.AmbientCaps {
		sets[capability/32].Permitted |= 1 << (capability % 32)
		sets[capability/32].Inheritable |= 1 << (capability % 32)
	}
	attr := *c.attr
	attr.AmbientCaps = append(slices.Clip(attr.AmbientCaps), unix.CAP_SYS_CHROOT)
	c.attr, c.capabilities = &attr, &sets
	return nil
}

// becomesRoot reports whether the child is user 0 of its user namespace, so that
// it has all capabilities of that when it is executed.
func (c *child) becomesRoot() bool {
	const noRoot = 1 // SECBIT_NOROOT
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil || bits&noRoot != 0 && c.namespaces()&unix.CLONE_NEWUSER == 0 {
		return false
	}
	user := os.Geteuid()
	switch {
	case c.attr.Credential != nil:
		return c.attr.Credential.Uid == 0
	case c.namespaces()&unix.CLONE_NEWUSER == 0:
		return user == 0
	}
	for _, m := range c.attr.UidMappings {
		if user >= m.HostID && user-m.HostID < m.Size {
			return m.ContainerID+user-m.HostID == 0
		}
	}
	return false
}

// giveUp has the stub give up CAP_SYS_CHROOT: what matters of a program's
// capabilities before it is executed are the ambient and the inheritable ones.
func (c *child) giveUp() {
	if c.capabilities == nil {
		return
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	c.image.Add(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, unix.CAP_SYS_CHROOT)
	c.image.Add(unix.SYS_CAPSET, c.image.Data(bytesOf(&header)), c.image.Data(bytesOf(c.capabilities)))
}

// openProgram sends the program where its path leads by way of what this process
// has open and the stub has not: its own executable, or a descriptor that the
// child does not inherit.
func (c *child) openProgram() (right, error) {
	path := c.was.Path
	if c.changesRoot() && path != "/proc/self/exe" {
		return noRight, nil
	}
	if number, ok := strings.CutPrefix(path, fmt.Sprintf("/proc/%d/fd/", os.Getpid())); ok { // which the stub may not look at
		if _, err := strconv.Atoi(number); err == nil {
			return c.byDescriptor()
		}
	}
	for _, proc := range []string{"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"} {
		name, ok := strings.CutPrefix(path, proc)
		number, _, _ := strings.Cut(name, "/")
		fd, err := strconv.Atoi(number)
		if !ok || err != nil || fd < 3+len(c.was.ExtraFiles) {
			continue
		}
		if inherits(fd) && !(c.alone && fd < 5+len(c.was.ExtraFiles)) { // where the stub finds it, too
			return noRight, nil
		}
		return c.byDescriptor()
	}
	own, err := ownExecutable(programPath(c.cmd))
	if err != nil {
		return noRight, fmt.Errorf("landlock: start a child: whether %q is this process's own executable, as which the stub would execute itself: %w", path, err)
	}
	if own {
		return c.byDescriptor()
	}
	return noRight, nil
}

// byDescriptor opens and sends the program.
func (c *child) byDescriptor() (right, error) {
	if c.alone {
		return c.byPosition()
	}
	fd, err := unix.Open(programPath(c.cmd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return noRight, c.startError(err)
	}
	return c.sendOwn(fd), nil
}

// byPosition is byDescriptor with one that has a position, by which the stub knows it.
func (c *child) byPosition() (right, error) {
	file, err := program.Open(programPath(c.cmd))
	if err != nil {
		return noRight, c.startError(err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return noRight, c.startError(err)
	}
	return c.sendOwn(fd), nil
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

// disguise makes cmd start the stub.
func (c *child) disguise() {
	cmd := c.cmd
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = fmt.Sprint("/proc/self/fd/", c.file.Fd())
	if c.attr != nil {
		attr := *c.attr
		if c.changesRoot() {
			if !slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.ContainsRune(v, 0) }) {
				cmd.Env = cmd.Environ() // with the directory
			}
			cmd.Dir, attr.Chroot = "", ""
		}
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
		c.input = &heldInput{in, c, make(chan struct{}), sync.Once{}}
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
	switch c.slot {
	case 0:
		cmd.Stdin = c.there
	case 1:
		cmd.Stdout = c.there
	case 2:
		cmd.Stderr = c.there
	default:
		files := slices.Clone(cmd.ExtraFiles)
		cmd.ExtraFiles = append(append(files[:c.slot-3:c.slot-3], c.there), files[min(c.slot-2, len(files)):]...)
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
	if c.input == nil {
		cmd.Stdin = was.Stdin
	}
	close(c.restored)
	c.close()
}

func (c *child) close() {
	c.handover.close()
	c.file.Close()
}

// settle says whether the program runs, and lets go on who waits for that.
func (c *child) settle(running bool) {
	c.close()
	c.here.Close()
	c.running = running
	close(c.settled)
}

// restoreInput gives cmd its Stdin back, once the goroutine of os/exec that copies
// from it has looked at that field. It does so when it starts, and there is no
// other way to know than that it uses what it has found. Where it takes its time,
// cmd keeps a Stdin that reads from its own.
func (c *child) restoreInput() {
	if c.input == nil {
		return
	}
	select {
	case <-c.input.used:
		c.cmd.Stdin = c.was.Stdin
	case <-time.After(time.Second):
	}
}

// heldInput keeps os/exec from reading what is meant for the program before it
// is clear that there is one. os/exec may read by either method.
type heldInput struct {
	from  io.Reader
	child *child
	used  chan struct{} // closed when it is first read from
	once  sync.Once
}

// ready reports whether there is a program to read for.
func (h *heldInput) ready() bool {
	h.once.Do(func() { close(h.used) })
	<-h.child.settled
	return h.child.running
}

func (h *heldInput) Read(text []byte) (int, error) {
	if !h.ready() {
		return 0, io.EOF
	}
	return h.from.Read(text)
}

func (h *heldInput) WriteTo(w io.Writer) (int64, error) {
	if !h.ready() {
		return 0, nil
	}
	return io.Copy(w, h.from)
}

// heldOutput keeps os/exec from writing to a writer that may look at cmd before
// that is as it was. os/exec may write by either method.
type heldOutput struct {
	to    io.Writer
	child *child
}

func (h *heldOutput) Write(text []byte) (int, error) {
	<-h.child.restored
	return h.to.Write(text)
}

func (h *heldOutput) ReadFrom(r io.Reader) (int64, error) {
	<-h.child.restored
	return io.Copy(h.to, r)
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
	cmd.Process, cmd.ProcessState, cmd.Cancel, cmd.Stdin = nil, nil, c.was.Cancel, c.was.Stdin
}

// failure returns the error for a call of the stub that failed.
func (c *child) failure(f stub.Failure) error {
	errno := syscall.Errno(f.Errno)
	calls := c.image.Calls()
	program := len(calls) - 1 // the last is for it
	if f.Call < program {
		switch call := calls[f.Call]; {
		case call.Number == unix.SYS_LANDLOCK_RESTRICT_SELF|stub.Indirect:
			return restrictError(errno, c.sandbox.setsNoNewPrivs())
		case call.Number == unix.SYS_PRCTL && call.Args[0] == unix.PR_SET_NO_NEW_PRIVS:
			return noNewPrivsError(errno)
		case call.Number == unix.SYS_SECCOMP:
			return filterError(os.NewSyscallError("seccomp", errno))
		case f.Call < c.taking:
			if errno == unix.EBADF { // of a number that it has not received
				errno = unix.EMFILE
			}
			return fmt.Errorf("landlock: start a child: take over the child's descriptors: %w", errno)
		}
	}
	err := c.startError(errno)
	if f.Call < program || c.changesRoot() {
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
	file, err := newMemoryFile()
	if err != nil {
		return nil, err
	}
	if err := fillMemoryFile(file, text); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func newMemoryFile() (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("landlock-stub", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3, where all of them may be executed
		fd, err = unix.MemfdCreate("landlock-stub", flags)
	}
	if err == unix.EACCES {
		return nil, fmt.Errorf("landlock: start a child: %w: memory files that may be executed are forbidden: set the sysctl vm.memfd_noexec to 0 or 1", os.NewSyscallError("memfd_create", err))
	}
	if err != nil {
		return nil, fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("memfd_create", err))
	}
	return os.NewFile(uintptr(fd), "landlock-stub"), nil
}

func fillMemoryFile(file *os.File, text []byte) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("getrlimit", err))
	} else if limit.Cur < uint64(len(text)) {
		// To write more is a signal, and the end of this process.
		return fmt.Errorf("landlock: start a child: RLIMIT_FSIZE of %d bytes: the child's stub takes %d: %w", limit.Cur, len(text), unix.EFBIG)
	}
	_, err := file.Write(text)
	if err == nil {
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return fmt.Errorf("landlock: start a child: make the stub: %w", err)
	}
	return nil
}
