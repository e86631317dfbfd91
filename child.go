package landlock

import (
	"bytes"
	"errors"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"

	"example.com/landlock/internal/osthread"
)

// Start starts cmd inside the sandbox and does not wait for it. It does what
// [exec.Cmd.Start] does, on the calling thread, and leaves cmd as that would,
// so Wait, the pipes, Cancel, SysProcAttr and everything else work as usual.
// Its errors are those of os/exec for the program, and Apply's for the
// restriction. This process stays as it is, can signal the child whatever the
// scopes are, and has no thread in the child's domain.
//
// A terminal that the child shares is open already, so no ruleset takes it away: the
// child reads what is typed, may be able to type (TIOCSTI), and has the terminal
// send signals to this process and others, which ScopeSignal does not reach. What
// closes that is SysProcAttr.Setsid together with streams that are no terminal, or
// are another one; README has more.
//
// The child needs to be allowed what any program needs: FSReadExecute on its
// file and, if it is dynamically linked, on its loader, and FSReadFile on its
// libraries. Where the first is why it cannot be started, the error says which
// path to allow.
//
// All that SysProcAttr asks for is done before the restriction, unrestricted.
// With Pdeathsig, lock the goroutine to its thread for as long as the child
// runs, as with os/exec: the child dies with the thread that has started it, and
// a Do ends a thread.
// With AllowNewPrivs the child itself needs CAP_SYS_ADMIN, after Credential has
// taken effect.
//
// The child inherits what cmd gives it and, as with os/exec, whatever else this
// process has open without close-on-exec: what C code opens, or what this process
// has inherited. That is decided at the moment of the fork. One number is decided
// shortly before, that of the stub's socket: one of cmd's files, or, where all
// streams are copied and there are no ExtraFiles, descriptor 3.
//
// What is started is a stub, which restricts itself and executes the program.
// It is a memory file, executed by way of /proc, and gets what it needs by a socket.
// Start fails where that cannot be: without /proc, where memory files must not be
// executed (vm.memfd_noexec=2), with an RLIMIT_FSIZE below a few kilobytes, where
// socketpair, sendmsg or recvmsg is refused, where processes of this user have sent
// each other more descriptors than RLIMIT_NOFILE that are not received yet, with an
// io_uring among cmd's files, on a thread that has descriptors of its own
// (unshare with CLONE_FILES), and on other architectures than 386, amd64 and arm64.
// A Cloneflags that has more than namespaces in it is a mistake, which Is
// [fs.ErrInvalid]: CLONE_FS, CLONE_FILES, CLONE_VM and the like would have the child
// share with this process what the sandbox is to keep from it. So are AmbientCaps of
// 64 and above, which os/exec does not survive.
//
// With SysProcAttr.Chroot, Dir is looked up in the new root, and is "/" where it is
// empty. os/exec looks a relative Dir up outside, and leaves the child outside
// where there is none.
//
// Start changes fields of cmd while it runs, so nobody else may look at cmd
// then. Afterwards they are as before, except that Cancel is wrapped, and Stdin,
// should os/exec take more than a second to read from it. A program that is killed
// before it runs has been started, as with os/exec.
func (s *Sandbox) Start(cmd *exec.Cmd) error {
	if cmd == nil {
		return errNoCommand
	}
	wrong, noProgram := wrongAttributes(cmd), wrongProgram(cmd)
	switch {
	case s == nil:
		return failStart(cmd, errClosed)
	case wrong != nil:
		return failStart(cmd, wrong)
	case s.unrestricted && !s.closed.Load():
		return cmd.Start()
	case cmd.Process != nil:
		return errStarted
	case cmd.Err != nil:
		return failStart(cmd, cmd.Err)
	case noProgram != nil:
		return failStart(cmd, noProgram)
	}
	return s.start(cmd)
}

// wrongProgram returns what os/exec answers where cmd.Path can be no program's.
func wrongProgram(cmd *exec.Cmd) error {
	switch {
	case cmd.Path == "":
		return errors.New("exec: no command")
	case strings.ContainsRune(cmd.Path, 0):
		return &fs.PathError{Op: "fork/exec", Path: cmd.Path, Err: errInvalid}
	}
	return nil
}

// failStart makes cmd.Start fail with err, so that it cleans up after itself.
// os/exec starts nothing where Err is set.
func failStart(cmd *exec.Cmd, err error) error {
	if cmd == nil {
		return errNoCommand
	}
	if cmd.Err == nil {
		cmd.Err = err
		defer func() { cmd.Err = nil }()
	}
	return cmd.Start()
}

// Run starts cmd inside the sandbox as Start does, and waits for it to end as
// [exec.Cmd.Run] does.
func (s *Sandbox) Run(cmd *exec.Cmd) error {
	if err := s.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs cmd inside the sandbox and returns what it writes to its standard
// output, as [exec.Cmd.Output] does. Where cmd.Stderr is nil, the error of a
// program that fails is an [exec.ExitError] with the end of what it wrote there.
func (s *Sandbox) Output(cmd *exec.Cmd) ([]byte, error) {
	if cmd == nil {
		return nil, errNoCommand
	}
	if cmd.Stdout != nil {
		return nil, errors.New("landlock: Output: Stdout already set")
	}
	var stdout bytes.Buffer
	var stderr tail
	cmd.Stdout = &stdout
	keep := cmd.Stderr == nil
	if keep {
		cmd.Stderr = &stderr
	}
	err := s.Run(cmd)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && keep {
		exit.Stderr = stderr
	}
	return stdout.Bytes(), err
}

// tail keeps the end of what is written to it: a program that writes for ever
// must not fill the memory of this one.
type tail []byte

func (t *tail) Write(text []byte) (int, error) {
	*t = append(*t, text...)
	if extra := len(*t) - 64<<10; extra > 0 {
		*t = append((*t)[:0], (*t)[extra:]...)
	}
	return len(text), nil
}

// CombinedOutput runs cmd inside the sandbox and returns what it writes to its
// standard output and standard error, as [exec.Cmd.CombinedOutput] does.
func (s *Sandbox) CombinedOutput(cmd *exec.Cmd) ([]byte, error) {
	if cmd == nil {
		return nil, errNoCommand
	}
	if cmd.Stdout != nil || cmd.Stderr != nil {
		return nil, errors.New("landlock: CombinedOutput: Stdout or Stderr already set")
	}
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := s.Run(cmd)
	return both.Bytes(), err
}

// Exec replaces this process with a program inside the sandbox, as
// [syscall.Exec] does: on success it does not return. The program keeps the
// process id and whatever descriptors are not close-on-exec. On an error this
// process goes on as it was, unrestricted; where the ruleset is why, the error
// says which path to allow.
//
// It restricts a thread of its own: what the calling one, if it is locked, has
// given up the program must not get back. So Exec fails where the two differ in
// users, groups, capabilities, securebits, no_new_privs,
// namespaces, number of seccomp filters, label of a security module, personality,
// speculation or time stamp settings, descriptors, umask, root or working
// directory. It fails as well where one of these cannot be told, and says which and
// why. For that it needs /proc, and a descriptor to read it with where there is a
// seccomp filter, before Linux 6.8, and where kcmp is missing or refused, as in many
// containers (then three). Where a filter refuses setfsuid, setfsgid or personality,
// as systemd's do, /proc tells instead. An earlier sandbox has to allow reading /proc there.
//
// Three things no thread can tell of itself, and so Exec cannot see them: a Landlock
// domain that only the calling thread has, which filters it has, where the other
// has as many, and its session keyring, since to ask for one is to get one. The
// program has the keyring of the other thread, which is that of the process unless
// a thread joined one. It does not look at the thread's share of the machine
// (affinity, scheduling, priority, cgroup). Start inherits everything but
// descriptors of the thread's own, with which it fails.
func (s *Sandbox) Exec(argv0 string, argv, envv []string) error {
	if s == nil {
		return errClosed
	}
	if s.unrestricted && !s.closed.Load() {
		return execError(argv0, execve(argv0, argv, envv))
	}
	if insideDo() {
		return errInsideDo
	}
	applyLock.RLock() // or an Apply might come between the two threads that are compared
	caller, release := holdThread()
	defer release()
	result := make(chan error, 1)
	osthread.Take(func() (reusable bool) {
		defer applyLock.RUnlock()
		err := s.likeCaller(caller)
		if err == nil {
			err = caller.keepDeathSignal()
		}
		if err == nil {
			err = s.restrict()
		}
		if err == nil {
			err = execError(argv0, execve(argv0, argv, envv))
		}
		result <- err
		return false
	})
	return s.explain(<-result, argv0)
}

func execError(path string, err error) error { return &fs.PathError{Op: "exec", Path: path, Err: err} }

// Do runs f on a thread of its own that is restricted, and returns its error. It
// is no boundary against code execution: f shares its memory with the rest of
// the process, so an attacker who takes over f is free. It is a net under bugs,
// such as a path that leads out of a directory.
//
// f must not start programs with os/exec, nor by other means: such a program
// shares the domain of f's thread, and can trace it, and with it this process,
// while f runs. [Sandbox.Start] and [Ruleset.Start] are safe there: their child
// has one layer more than f. (Its streams that are nil are /dev/null, which f
// has to be allowed to open.)
//
// A panic and a [runtime.Goexit] in f are carried over to the caller. The thread
// ends with f. Like Exec, Do fails where its thread has other than the calling one,
// and where that cannot be told: see there for what is compared and what that needs.
//
// The filter of FilterSockets is on f's thread too, and ends with it: sockets that
// f could not make, other threads can.
//
// Only what f itself does is restricted. Goroutines that it starts are not, nor
// is what it passes to others, and packages start some unseen: an http.Client
// dials in one. What a package loads when it is first used (MIME types, the
// local time zone, root certificates) it loads restricted in f, and keeps for
// everybody: use it once before. f must not call [runtime.UnlockOSThread] more
// often than it locks, nor resume an [iter.Pull] that was begun outside.
//
// From inside f Exec, another Do and Apply are errors, and Apply fails on every
// goroutine while a Do is running.
func (s *Sandbox) Do(f func() error) error {
	if f == nil {
		return errors.New("landlock: Do of a nil function")
	}
	if s == nil {
		return errClosed
	}
	if s.unrestricted && !s.closed.Load() {
		return f()
	}
	if insideDo() {
		return errInsideDo
	}
	applyLock.RLock() // until beginDo has compared the threads, and restricted its own
	caller, release := holdThread()
	defer release()
	result := make(chan outcome, 1)
	osthread.Take(func() (reusable bool) {
		o := outcome{goexit: true} // unless it comes back
		defer func() { result <- o }()
		if err := s.beginDo(caller); err != nil {
			o = outcome{err: err}
			return false
		}
		defer endDo()
		o.call(f)
		return false
	})
	return (<-result).pass()
}

// beginDo restricts this thread for a Do, and lets go of applyLock, which its
// caller has shared since before it looked at its own thread.
func (s *Sandbox) beginDo(caller threadState) error {
	defer applyLock.RUnlock()
	if err := s.likeCaller(caller); err != nil {
		return err
	}
	if err := s.restrict(); err != nil {
		return err
	}
	doCount.Add(1)
	doThreads.Store(osthread.ID(), nil)
	return nil
}

func endDo() {
	doThreads.Delete(osthread.ID())
	doCount.Add(-1)
}

// insideDo reports whether the caller is the f of a Do: nothing else runs on
// its thread. The caller keeps its thread meanwhile: one that it has just left
// may be a Do's by the time it is looked up.
func insideDo() bool {
	if doCount.Load() == 0 {
		return false
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, inside := doThreads.Load(osthread.ID())
	return inside
}

// outcome is how a function ended.
type outcome struct {
	err      error
	panicked bool
	value    any    // of the panic
	stack    string // of the function when it panicked
	goexit   bool
}

func (o *outcome) call(f func() error) {
	defer func() {
		if value := recover(); value != nil {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			*o = outcome{panicked: true, value: value, stack: string(stack)}
		}
	}()
	*o = outcome{err: f()}
}

// pass ends the caller in the same way.
func (o outcome) pass() error {
	switch {
	case o.panicked:
		// A recover finds the second panic alone. Where there is none,
		// the runtime prints both, and with the first f's own stack.
		defer panic(o.value)
		panic("in the function of a Do, " + o.stack)
	case o.goexit:
		runtime.Goexit()
	}
	return o.err
}

// restrict restricts this thread, for good.
func (s *Sandbox) restrict() error {
	hadMoreLayers.Store(true)
	if s.filter != nil {
		noteOwnFilter()
	}
	return s.withFd(s.restrictThread)
}

// withFd calls f with the ruleset's descriptor, or noRuleset, which is not
// closed, and opened as something else, meanwhile.
func (s *Sandbox) withFd(f func(ruleset int) error) error {
	if s.file == nil && s.filter != nil && !s.closed.Load() {
		return f(noRuleset)
	}
	if s.file == nil {
		return errClosed
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return errClosed
	}
	if conn.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return errClosed
	}
	return err
}

// Start is Prepare and [Sandbox.Start] in one, for a single child. See there.
func (r *Ruleset) Start(cmd *exec.Cmd) error {
	s, err := r.Prepare()
	if err != nil {
		return failStart(cmd, err)
	}
	defer s.Close()
	return s.Start(cmd)
}

// Run is Prepare and [Sandbox.Run] in one, for a single child. See there.
func (r *Ruleset) Run(cmd *exec.Cmd) error {
	if err := r.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Exec is Prepare and [Sandbox.Exec] in one. See there.
func (r *Ruleset) Exec(argv0 string, argv, envv []string) error {
	s, err := r.Prepare()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Exec(argv0, argv, envv)
}
