package landlock

import (
	"bytes"
	"errors"
	"os/exec"
	"sync"
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
	return alone(cmd, func() error { return s.startAlone(cmd) })
}

func (s *Sandbox) startAlone(cmd *exec.Cmd) error {
	if err := s.checkCmd(cmd); err != nil {
		return failStart(cmd, err)
	}
	if s.unrestricted {
		return cmd.Start()
	}
	if err := noStubFor(cmd); err != nil {
		return failStart(cmd, err)
	}
	child, err := s.build(cmd)
	if err != nil {
		return failStart(cmd, err)
	}
	started, err := child.start(cmd)
	if err != nil {
		return err
	}
	return s.settle(started)
}

// beingStarted holds each cmd that may look otherwise than its owner left it.
var beingStarted sync.Map

// alone calls start unless cmd is being started already: to start it meanwhile, or to have
// os/exec say why it cannot be, might be to start it without a sandbox.
func alone(cmd *exec.Cmd, start func() error) error {
	if cmd == nil {
		return errNoCommand
	}
	if _, twice := beingStarted.LoadOrStore(cmd, nil); twice {
		return errStarted
	}
	defer beingStarted.Delete(cmd)
	return start()
}

// failStart makes cmd.Start fail with err, so that it cleans up after itself.
// os/exec starts nothing where Err is set. A cmd that is started keeps what it has.
func failStart(cmd *exec.Cmd, err error) error {
	if err == errStarted {
		return err
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

// Start is Prepare and [Sandbox.Start] in one, for a single child. See there.
func (r *Ruleset) Start(cmd *exec.Cmd) error {
	return alone(cmd, func() error {
		s, err := r.Prepare()
		if err != nil {
			return failStart(cmd, err)
		}
		defer s.Close()
		return s.startAlone(cmd)
	})
}

// Run is Prepare and [Sandbox.Run] in one, for a single child. See there.
func (r *Ruleset) Run(cmd *exec.Cmd) error {
	if err := r.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}
