package landlock

import "os/exec"

// Wrap changes cmd so that whoever starts it starts its program inside the sandbox.
// It is for packages that take a cmd and call its Start themselves. Where you start
// it, [Sandbox.Start] does more, and tells what goes wrong by an error.
//
// What is started then is a small program, at cmd.Path in /proc/self/fd, which
// restricts itself and executes yours. So there are changes that have a program run
// without the sandbox, or in a weaker one, and that nothing can stop. Make none of
// them between Wrap and the start:
//
//   - Another Path. It is started instead.
//   - Other ExtraFiles than Wrap leaves there, followed by up to 200 more files. With
//     others it does not run as a rule; but with another cmd's ruleset as the first
//     of the two that Wrap has appended it runs in that one's sandbox, and os/exec may
//     come to put one of many where the small program is looked for. Those two are for
//     this cmd alone and once: a program that had them could add rules, for all that
//     the Sandbox restricts afterwards.
//   - Another /proc/self/fd for the child: by a SysProcAttr.Chroot or a chroot of this
//     process to where somebody has put a program there, by a mount over /proc, on a
//     thread that has descriptors of its own (unshare with CLONE_FILES), or by closing
//     descriptors whose owner one does not know (close_range).
//   - Cloneflags with more than namespaces, such as CLONE_FS: the child shares with
//     this process what the sandbox is to keep from it.
//
// All else can be set before Wrap and afterwards:
//
//	Args, Env, Dir, Stdin, Stdout,  as they are when cmd is started. Where there are no
//	Stderr, Cancel, WaitDelay,      Args yet, Wrap makes the program's path Args[0];
//	pipes, the context              where they are emptied afterwards it is cmd.Path
//	Path                            the program, as it is when Wrap is called. Without
//	                                a slash in front, it is looked up in Dir
//	ExtraFiles                      before: as usual. Afterwards append: two numbers
//	                                come in between, which the program finds closed
//	SysProcAttr                     as it is when cmd is started, before the sandbox is
//	                                entered. A Ctty counts the two numbers, too. Before,
//	                                Chroot, Ptrace and such Cloneflags are errors of
//	                                Wrap. With Ptrace set afterwards the tracer meets
//	                                the small program first
//	Err                             before: it is the error of Wrap
//	a copy of cmd                   is wrapped too
//
// What fails once cmd is started ends it with one line on its standard error, which
// says what and why, and status 126; or 127, where there is no program at Path.
// So it is with a program that the ruleset does not let run. [Sandbox.Start] of a
// wrapped cmd adds a layer; a second Wrap is an error.
//
// A cmd for which Wrap fails cannot be started any more: its Err is that error then,
// unless it had one, and its Path is empty. The errors are those of Start. Wrap needs
// what Start needs, there and when cmd is started, but for sockets. Where the program
// is this process's own executable (/proc/self/exe) or descriptor, it must be readable.
// Where BestEffort(0) left nothing to enforce, cmd stays as it is.
//
// The Sandbox may be closed afterwards. Each cmd holds three descriptors, of which two
// are above 1000, or above 250 where RLIMIT_NOFILE is small; below some 480 it is too
// small. They are closed by the garbage collector, once nothing has the cmd any more, nor
// its Path (this very string), whether it was started or not.
func (s *Sandbox) Wrap(cmd *exec.Cmd) error {
	if cmd == nil {
		return errNoCommand
	}
	err := s.checkCmd(cmd)
	if err == nil && !s.unrestricted {
		err = s.wrap(cmd)
	}
	if err != nil && err != errStarted {
		disable(cmd, err)
	}
	return err
}

// disable keeps cmd from being started without a sandbox by who ignores an error of
// Wrap, or takes the cmd's own for one that can be passed over, such as exec.ErrDot.
func disable(cmd *exec.Cmd, err error) {
	if cmd.Err == nil {
		cmd.Err = err
	}
	cmd.Path = ""
}

// Wrap is Prepare and [Sandbox.Wrap] in one, for a single child. See there.
func (r *Ruleset) Wrap(cmd *exec.Cmd) error {
	s, err := r.Prepare()
	if err != nil {
		if cmd != nil {
			disable(cmd, err)
		}
		return err
	}
	defer s.Close()
	return s.Wrap(cmd)
}
