package landlock

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
)

var (
	errStarted   = errors.New("exec: already started") // as os/exec
	errNoCommand = errors.New("landlock: start a child: nil command")
)

// checkCmd returns why cmd cannot be started in the sandbox, as far as that can be known
// before anything is done for it. A cmd that can be is started as it is where the
// Sandbox is unrestricted, and else by a stub.
func (s *Sandbox) checkCmd(cmd *exec.Cmd) error {
	if err := s.usable(); err != nil {
		return err
	}
	if cmd.Process != nil {
		return errStarted
	}
	if cmd.Err != nil {
		return cmd.Err
	}
	if err := wrongAttributes(cmd); err != nil || s.unrestricted {
		return err
	}
	return wrongProgram(cmd)
}

// wrongProgram returns what os/exec answers where cmd.Path can be no program's.
func wrongProgram(cmd *exec.Cmd) error {
	switch {
	case cmd.Path == "":
		return errors.New("exec: no command")
	case strings.ContainsRune(cmd.Path, 0):
		return startError(cmd, syscall.EINVAL)
	}
	return nil
}
