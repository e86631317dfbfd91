package landlock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
)

// Start starts cmd inside the sandbox and does not wait for it. It does what
// [exec.Cmd.Start] does and leaves cmd as that would, so Wait, the pipes,
// Cancel and everything else work as usual. This process is not restricted, and
// can signal the child whatever the scopes are.
//
// The child needs to be allowed what any program needs: FSReadExecute on its
// file and, if it is dynamically linked, on its loader, and FSReadFile on its
// libraries. Where the first is why it cannot be started, the error says which
// path to allow; it still is the one of os/exec.
//
// The thread that starts the child is its parent to the kernel, and is kept
// until the child has ended: SysProcAttr.Pdeathsig, and what a program asks for
// itself with PR_SET_PDEATHSIG, mean the end of this process. So each running
// child holds a thread, of which the Go runtime allows 10,000
// ([runtime/debug.SetMaxThreads]).
//
// Some of SysProcAttr does not go with a thread that is restricted already.
// Ptrace is an error. User namespace mappings need a rule that allows
// FSReadFile and FSWriteFile on /proc. CLONE_NEWNS works among the Cloneflags
// and not among the Unshareflags, since no domain with filesystem rights may
// mount.
func (s *Sandbox) Start(cmd *exec.Cmd) error {
	if s.free && !s.closed.Load() {
		return cmd.Start()
	}
	if err := s.startable(cmd); err != nil {
		return failStart(cmd, err)
	}
	warmUp()
	restore := openNullDevice(cmd)
	defer restore()
	result := make(chan error, 1)
	takeThread(func() (reusable bool) {
		pid, err := s.startHere(cmd)
		result <- err
		if err == nil {
			// The program may ask for a signal at its parent's
			// death, and the kernel takes this thread for the
			// parent.
			awaitEnd(pid)
		}
		return false
	})
	if err := <-result; err != nil {
		err = s.explain(err, programPath(cmd))
		if errors.Is(err, errDenied) && writesIDs(cmd.SysProcAttr) {
			err = fmt.Errorf("%w: user namespace mappings need FSReadFile and FSWriteFile on /proc", err)
		}
		return err
	}
	return nil
}

// startHere restricts this thread and starts cmd on it. The process id is for
// the caller, since cmd belongs to others once it has started.
func (s *Sandbox) startHere(cmd *exec.Cmd) (int, error) {
	enforcing.RLock()
	defer enforcing.RUnlock()
	if err := s.restrict(); err != nil {
		return 0, failStart(cmd, err)
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// startable returns why cmd cannot be started from a thread of its own.
func (s *Sandbox) startable(cmd *exec.Cmd) error {
	if insideDo() {
		return errInsideDo
	}
	if isTraced(cmd.SysProcAttr) {
		return errors.New("landlock: start: SysProcAttr.Ptrace: the tracer would be the thread that starts the child, on which nothing else can run")
	}
	return nil
}

// failStart makes cmd.Start fail with err, so that it cleans up after itself.
func failStart(cmd *exec.Cmd, err error) error {
	if cmd.Err != nil {
		return cmd.Start()
	}
	cmd.Err = err
	defer func() { cmd.Err = nil }()
	return cmd.Start()
}

// openNullDevice opens what os/exec would open by path, for the streams that
// are nil, while nothing is restricted. The function that it returns closes it
// and makes the streams nil again; the others are in use by then. Where the
// device cannot be opened os/exec will say so.
func openNullDevice(cmd *exec.Cmd) (restore func()) {
	var undo []func()
	open := func(flag int) *os.File {
		null, err := os.OpenFile(os.DevNull, flag, 0)
		if err != nil {
			return nil
		}
		undo = append(undo, func() { null.Close() })
		return null
	}
	if cmd.Stdin == nil {
		if null := open(os.O_RDONLY); null != nil {
			cmd.Stdin = null
			undo = append(undo, func() { cmd.Stdin = nil })
		}
	}
	for _, stream := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		if *stream != nil {
			continue
		}
		if null := open(os.O_WRONLY); null != nil {
			*stream = null
			undo = append(undo, func() { *stream = nil })
		}
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// Run starts cmd inside the sandbox as Start does, and waits for it to end as
// [exec.Cmd.Run] does.
func (s *Sandbox) Run(cmd *exec.Cmd) error {
	if err := s.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Exec replaces this process with a program inside the sandbox, as
// [syscall.Exec] does: on success it does not return. The program keeps the
// process id and whatever descriptors are not close-on-exec. On an error this
// process goes on as it was, unrestricted; where the ruleset is why, the error
// says which path to allow.
func (s *Sandbox) Exec(argv0 string, argv, envv []string) error {
	if s.free && !s.closed.Load() {
		return execError(argv0, execve(argv0, argv, envv))
	}
	if insideDo() {
		return errInsideDo
	}
	result := make(chan error, 1)
	takeThread(func() (reusable bool) {
		enforcing.RLock()
		defer enforcing.RUnlock()
		err := s.restrict()
		if err == nil {
			err = execError(argv0, execve(argv0, argv, envv))
		}
		result <- err
		return false
	})
	return s.explain(<-result, argv0)
}

func execError(path string, err error) error { return &fs.PathError{Op: "exec", Path: path, Err: err} }

// Do is not a boundary against code execution: f shares its memory with the
// rest of the process, so an attacker who takes over f is free. It is a net
// under bugs, such as a path that leads out of a directory.
//
// Do runs f on a thread that is restricted, and returns its error. A panic and
// a [runtime.Goexit] in f are carried over to the caller. The thread ends with
// f.
//
// Only what f itself does is restricted, and children that it starts with
// os/exec. Goroutines that it starts are not, nor is what it passes to others,
// and packages start some unseen: an http.Client dials in one. What a package
// loads when it is first used (MIME types, the local time zone, root
// certificates) it loads restricted in f, and keeps for everybody: use it once
// before. f must not call [runtime.UnlockOSThread] more often than it locks,
// nor resume an [iter.Pull] that was begun outside.
//
// From inside f every Sandbox and Apply are errors, and Apply is one everywhere
// while a Do is running.
func (s *Sandbox) Do(f func() error) error {
	if f == nil {
		return errors.New("landlock: Do of a nil function")
	}
	if s.free && !s.closed.Load() {
		return f()
	}
	if insideDo() {
		return errInsideDo
	}
	result := make(chan outcome, 1)
	takeThread(func() (reusable bool) {
		o := outcome{goexit: true} // unless it comes back
		defer func() { result <- o }()
		if err := s.beginWork(); err != nil {
			o = outcome{err: err}
			return false
		}
		defer endWork()
		o.call(f)
		return false
	})
	return (<-result).pass()
}

// beginWork restricts this thread for a Do.
func (s *Sandbox) beginWork() error {
	enforcing.RLock()
	defer enforcing.RUnlock()
	if err := s.restrict(); err != nil {
		return err
	}
	working.Add(1)
	workPlace.Store(threadID(), nil)
	return nil
}

func endWork() {
	workPlace.Delete(threadID())
	working.Add(-1)
}

// insideDo reports whether the caller is the f of a Do: nothing else runs on
// its thread. The caller keeps its thread meanwhile: one that it has just left
// may be a Do's by the time it is looked up.
func insideDo() bool {
	if working.Load() == 0 {
		return false
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, inside := workPlace.Load(threadID())
	return inside
}

// outcome is how a function ended.
type outcome struct {
	err      error
	panicked bool
	value    any // of the panic
	goexit   bool
}

func (o *outcome) call(f func() error) {
	defer func() {
		if value := recover(); value != nil {
			*o = outcome{panicked: true, value: value}
		}
	}()
	*o = outcome{err: f()}
}

// pass ends the caller in the same way.
func (o outcome) pass() error {
	switch {
	case o.panicked:
		panic(o.value)
	case o.goexit:
		runtime.Goexit()
	}
	return o.err
}

// restrict restricts this thread, for good.
func (s *Sandbox) restrict() error {
	if s.file == nil {
		return errClosed
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return errClosed
	}
	layered.Store(true)
	// Not by Fd: the descriptor must not be closed, and opened as something
	// else, in between.
	if conn.Control(func(fd uintptr) { err = restrictThread(int(fd), s.flags, s.noNewPrivs) }) != nil {
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

// Output runs cmd inside the sandbox and returns what it writes to its standard
// output, as [exec.Cmd.Output] does. Where cmd.Stderr is nil, the error of a
// program that fails is an [exec.ExitError] with the end of what it wrote there.
func (s *Sandbox) Output(cmd *exec.Cmd) ([]byte, error) {
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
	if cmd.Stdout != nil || cmd.Stderr != nil {
		return nil, errors.New("landlock: CombinedOutput: Stdout or Stderr already set")
	}
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := s.Run(cmd)
	return both.Bytes(), err
}
