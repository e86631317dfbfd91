//go:build !linux

package landlock

import (
	"errors"
	"os/exec"
)

// What the system calls would answer; no kernel does here.
var (
	errTooBig       = errors.New("argument list too long")
	errDenied       = errors.New("permission denied")
	errNotPermitted = errors.New("operation not permitted")
	errCrossDevice  = errors.New("invalid cross-device link")
	errInvalid      = errors.New("invalid argument")
	errNotDirectory = errors.New("not a directory")
)

func probe() (Kernel, error) { return Kernel{}, ErrNotBuilt }

// Without an ABI nothing below is ever called.

func createRuleset(handled, quiet Rights, size uintptr) (int, error)         { return -1, ErrNotBuilt }
func addPath(ruleset, parent int, access AccessFS, flags uint32) error       { return ErrNotBuilt }
func addPort(ruleset int, port uint16, access AccessNet, flags uint32) error { return ErrNotBuilt }
func closeFd(fd int)                                                         {}
func restrictSelf(ruleset int, flags uint32, noNewPrivs bool) error          { return ErrNotBuilt }
func hasDevices(fd int) (bool, error)                                        { return false, ErrNotBuilt }
func setNoNewPrivs() error                                                   { return ErrNotBuilt }
func canFilter() error                                                       { return ErrNotBuilt }
func restrictEachThread(ruleset int, flags uint32, noNewPrivs bool) error    { return ErrNotBuilt }

type opener struct{}

func (opener) path(path string) (int, error) { return -1, ErrNotBuilt }
func (opener) closeLater(fd int)             {}
func (opener) close()                        {}

type threadState struct{}

func (threadState) keepDeathSignal() error             { return ErrNotBuilt }
func holdThread() (caller threadState, release func()) { return threadState{}, func() {} }
func (s *Sandbox) likeCaller(caller threadState) error { return ErrNotBuilt }

func wrongAttributes(cmd *exec.Cmd) error { return nil }

func (s *Sandbox) start(cmd *exec.Cmd) error { return failStart(cmd, ErrNotBuilt) }
func (s *Sandbox) wrap(cmd *exec.Cmd) error  { return ErrNotBuilt }
