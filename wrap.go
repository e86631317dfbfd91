package landlock

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
)

// Wrap changes cmd so that whoever starts it starts its program inside the sandbox.
// It is for packages that take a cmd and call its Start themselves. Where you start
// it, [Sandbox.Start] does more, and tells what goes wrong by an error.
//
// Two changes to cmd afterwards have a program run without the sandbox, and nothing
// can stop them, so make none of them. A new Path is what is started, in place of the
// sandbox. And a SysProcAttr.Chroot to a root where somebody has put a program at
// /proc/self/fd/N, in place of the kernel's proc, starts that program.
//
// What else is set, before Wrap and afterwards:
//
//	Args, Env, Dir, Stdin, Stdout,  as they are when cmd is started. Args[0], where
//	Stderr, Cancel, WaitDelay,      there are none, is the program's path.
//	pipes, the context
//	Path                            the program, as it is when Wrap is called
//	ExtraFiles                      before: as usual. Afterwards append only: two
//	                                numbers come in between, which the program finds
//	                                closed. Whatever else is done to it, the program
//	                                does not run (126), but for files of one's own
//	                                replaced in their place. Some hundred are the most.
//	SysProcAttr                     as when cmd is started, and unrestricted, before the
//	                                sandbox is entered
//	SysProcAttr.Chroot, Ptrace      before: an error of Wrap. Afterwards: Chroot see
//	                                above; with Ptrace the tracer meets first what
//	                                enters the sandbox
//	SysProcAttr.Cloneflags with     before: an error of Wrap. Afterwards the child shares
//	more than namespaces            with this process what the sandbox is to keep from it
//	Err                             before: it is the error of Wrap
//	a copy of cmd                   is wrapped too
//
// What fails once cmd is started ends it with one line on its standard error, which
// says what and why, and status 126; or 127, where there is no program at Path.
// So it is with a program that the ruleset does not let run. A second Wrap is an
// error. [Sandbox.Start] of a wrapped cmd adds a layer.
//
// A cmd for which Wrap fails cannot be started any more: the error is its Err then,
// unless it had one. The errors are those of Start, and it needs what Start needs,
// there and when cmd is started. Where BestEffort(0) left nothing to enforce, cmd stays
// as it is.
//
// The Sandbox may be closed afterwards. Wrap takes two descriptors, above 1000 where
// RLIMIT_NOFILE lets it. They are closed by the garbage collector, once nothing has
// the cmd, or its Path, any more, whether it was started or not.
func (s *Sandbox) Wrap(cmd *exec.Cmd) error {
	if cmd == nil {
		return errNoCommand
	}
	err := s.wrapOrFail(cmd)
	if err != nil && cmd.Err == nil {
		cmd.Err = err // or it would be started without a sandbox
	}
	return err
}

func (s *Sandbox) wrapOrFail(cmd *exec.Cmd) error {
	wrong := wrongAttributes(cmd)
	switch {
	case s == nil || s.closed.Load():
		return errClosed
	case cmd.Process != nil:
		return errStarted
	case cmd.Err != nil:
		return cmd.Err
	case wrong != nil:
		return wrong
	case s.unrestricted:
		return nil
	case cmd.Path == "":
		return errors.New("exec: no command") // as os/exec
	case strings.ContainsRune(cmd.Path, 0):
		return &fs.PathError{Op: "fork/exec", Path: cmd.Path, Err: errInvalid} // as os/exec
	}
	return s.wrap(cmd)
}

// Wrap is Prepare and [Sandbox.Wrap] in one, for a single child. See there.
func (r *Ruleset) Wrap(cmd *exec.Cmd) error {
	s, err := r.Prepare()
	if err != nil {
		if cmd != nil && cmd.Err == nil {
			cmd.Err = err
		}
		return err
	}
	defer s.Close()
	return s.Wrap(cmd)
}
