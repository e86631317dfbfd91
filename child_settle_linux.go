package landlock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// settle returns once the stub has become the program, or has failed: then cmd is as if
// nothing had been started.
func (s *Sandbox) settle(c *started) error {
	failure, failed, err := awaitProgram(c.here)
	c.here.Close()
	if !failed {
		c.restoreInput()
		c.decide(true)
		return nil
	}
	c.decide(false)
	c.bury()
	if err != nil {
		return fmt.Errorf("landlock: start a child: read what the child says: %w", err)
	}
	return s.explainFailure(c, failure)
}

// awaitProgram returns once the stub has become the program, or failed.
func awaitProgram(says io.Reader) (failure stub.Failure, failed bool, err error) {
	failure, failed, err = stub.ReadFailure(says)
	if errors.Is(err, unix.ECONNRESET) { // it was killed before it received anything
		return stub.Failure{}, false, nil
	}
	return failure, failed, err
}

// restoreInput gives cmd its Stdin back, once the goroutine of os/exec that copies
// from it has looked at that field. It does so when it starts, and there is no
// other way to know than that it uses what it has found. Where it takes its time,
// cmd keeps a Stdin that reads from its own.
func (c *started) restoreInput() {
	if c.input == nil {
		return
	}
	select {
	case <-c.input.used:
		c.cmd.Stdin = c.was.Stdin
	case <-time.After(time.Second):
	}
}

// bury cleans up after a stub that failed, as os/exec does after its own child.
func (c *started) bury() {
	cmd := c.cmd
	cmd.Process.Kill() // which has exited, or is of no use
	cmd.Wait()
	if attr := cmd.SysProcAttr; attr != nil && attr.PidFD != nil && *attr.PidFD >= 0 {
		unix.Close(*attr.PidFD)
		*attr.PidFD = -1
	}
	cmd.Process, cmd.ProcessState, cmd.Cancel, cmd.Stdin = nil, nil, c.was.Cancel, c.was.Stdin
}

// explainFailure returns the error for a call of the stub that failed.
func (s *Sandbox) explainFailure(c *started, f stub.Failure) error {
	errno := syscall.Errno(f.Errno)
	program := len(c.calls) - 1 // the last is for it
	if f.Call < program {
		switch call := c.calls[f.Call]; {
		case call.Number == unix.SYS_LANDLOCK_RESTRICT_SELF|stub.Indirect:
			return restrictError(errno, s.setsNoNewPrivs())
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
	err := startError(c.cmd, errno)
	if f.Call < program || changesRoot(c.cmd) {
		return err // not the program's, or in another root, where the path means something else
	}
	return s.explain(err, programPath(c.cmd))
}
