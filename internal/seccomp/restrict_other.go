//go:build !linux

package seccomp

import (
	"errors"
	"fmt"
)

var errNotLinux = fmt.Errorf("seccomp: this is not Linux: %w", errors.ErrUnsupported)

// Available returns an error that Is errors.ErrUnsupported.
func Available() error { return errNotLinux }

// CanRestrictProcess returns an error that Is errors.ErrUnsupported.
func (p Program) CanRestrictProcess(noNewPrivs bool) error { return errNotLinux }

// RestrictThread returns an error that Is errors.ErrUnsupported.
func (p Program) RestrictThread() error { return errNotLinux }

// RestrictProcess returns an error that Is errors.ErrUnsupported.
func (p Program) RestrictProcess() error { return errNotLinux }
