package testchild

import (
	"os/exec"
	"syscall"
)

// tie has the child end with this process, and keeps what it starts together.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true
}

// endRest ends what the child has started and left behind: what the test around
// Run starts in the child too, nobody else ends there.
func endRest(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
