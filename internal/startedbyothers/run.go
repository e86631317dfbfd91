// Package startedbyothers wraps commands that other packages start, and tests
// that those are in the sandbox then, and are otherwise as without one.
package startedbyothers

import (
	"context"
	"io"
	"os/exec"

	"github.com/creack/pty"

	"example.com/landlock"
)

// run runs a shell command for a model, on a terminal of its own, and copies what
// it prints to output.
func run(ctx context.Context, sandbox *landlock.Sandbox, command string, output io.Writer) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	if err := sandbox.Wrap(cmd); err != nil {
		return err
	}
	terminal, err := pty.Start(cmd)
	if err != nil {
		return err
	}
	io.Copy(output, terminal) // a terminal ends with EIO
	terminal.Close()          // hangs up, where output failed
	return cmd.Wait()
}
