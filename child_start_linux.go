package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// started is a child that os/exec has started: a stub, or the program by now.
type started struct {
	*child
	*progress
	cmd   *exec.Cmd
	was   exec.Cmd   // cmd as its owner left it
	input *heldInput // nil where nobody copies to the child
}

// start has os/exec start the stub. This is the one place that starts a child, and it
// keeps one rule:
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
func (c *child) start(cmd *exec.Cmd) (*started, error) {
	s := &started{child: c, progress: newProgress(), cmd: cmd, was: *cmd}
	s.input = s.hold(cmd)
	c.disguise(cmd)
	err := cmd.Start()
	s.undisguise()
	c.close()
	if err != nil {
		c.here.Close()
		s.decide(false)
		cmd.Cancel, cmd.Stdin = s.was.Cancel, s.was.Stdin
		return nil, explainStart(cmd, err)
	}
	return s, nil
}

// disguise makes cmd start the stub.
func (c *child) disguise(cmd *exec.Cmd) {
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = fmt.Sprint("/proc/self/fd/", c.stub.Fd())
	if changesRoot(cmd) {
		if !slices.ContainsFunc(cmd.Env, func(v string) bool { return strings.ContainsRune(v, 0) }) {
			cmd.Env = cmd.Environ() // with the directory
		}
		cmd.Dir = ""
	}
	cmd.SysProcAttr = c.attr
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

// undisguise makes cmd what it was, but for what os/exec's goroutines may still
// look at.
func (s *started) undisguise() {
	cmd, was := s.cmd, &s.was
	cmd.Path, cmd.Args, cmd.Env, cmd.Dir, cmd.ExtraFiles, cmd.SysProcAttr = was.Path, was.Args, was.Env, was.Dir, was.ExtraFiles, was.SysProcAttr
	cmd.Stdout, cmd.Stderr = was.Stdout, was.Stderr
	if s.input == nil {
		cmd.Stdin = was.Stdin
	}
	close(s.restored)
}

// explainStart returns os/exec's error for the stub as one for the program.
func explainStart(cmd *exec.Cmd, err error) error {
	failure, ok := errors.AsType[*fs.PathError](err)
	if !ok || failure.Op != "fork/exec" {
		return err
	}
	failure.Path = cmd.Path
	if errors.Is(err, syscall.EACCES) && cmd.Dir == "" && cmd.SysProcAttr == nil { // so it was the stub that was to be executed
		return fmt.Errorf("%w: a security module or seccomp filter forbids to execute a file in memory, by which a sandboxed child is started", err)
	}
	return err
}
