package seccomp

import (
	"errors"
	"fmt"
)

var errNotYet = fmt.Errorf("seccomp: %w", errors.ErrUnsupported)

// Available returns nil, or why this kernel or container takes no filters. The
// error Is errors.ErrUnsupported. It changes nothing.
func Available() error { return errNotYet }

// CanRestrictProcess returns why RestrictProcess would fail, as far as that can
// be told before. noNewPrivs says that it will be set by then; without it the
// thread needs CAP_SYS_ADMIN. The trial is made on a thread that has ended when
// it returns. Nothing else of the process changes.
func CanRestrictProcess(program []Instruction, noNewPrivs bool) error { return errNotYet }

// RestrictThread installs the filter on the calling thread, which the caller has
// locked, and which has no_new_privs set or CAP_SYS_ADMIN.
func RestrictThread(program []Instruction) error { return errNotYet }

// RestrictProcess installs the filter on all threads of this process or on none.
// The calling thread, which the caller has locked, has no_new_privs set or
// CAP_SYS_ADMIN; no_new_privs becomes set for all.
func RestrictProcess(program []Instruction) error { return errNotYet }
