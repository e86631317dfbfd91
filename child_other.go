//go:build !linux

package landlock

import "os/exec"

// A Sandbox that is not closed is unrestricted here, and has no use for a stub.

func wrongAttributes(cmd *exec.Cmd) error { return nil }
func noStubFor(cmd *exec.Cmd) error       { return ErrNotBuilt }

type (
	child   struct{}
	started struct{}
)

func (s *Sandbox) build(cmd *exec.Cmd) (*child, error) { return nil, ErrNotBuilt }
func (c *child) start(cmd *exec.Cmd) (*started, error) { return nil, ErrNotBuilt }
func (s *Sandbox) settle(c *started) error             { return ErrNotBuilt }
func (s *Sandbox) wrap(cmd *exec.Cmd) error            { return ErrNotBuilt }
