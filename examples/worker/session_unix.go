//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
)

// endings are the signals that end this program, less those that whoever started
// it wants ignored.
func endings() []os.Signal {
	return slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
}

// ownSession starts cmd in a session of its own. So it has no terminal, and
// whatever is opened or passed on to it later, it cannot type there in the
// user's name (TIOCSTI), unless it has CAP_SYS_ADMIN. Its signals to a process
// group reach its own alone. But Ctrl-C does not reach it either: to cancel cmd
// kills its process group.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
