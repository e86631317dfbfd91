//go:build !linux

package osthread

import (
	"errors"
	"time"
)

// Without Landlock and seccomp nobody spends a thread.

func ID() int               { return 0 }
func IsMain() bool          { return false }
func Ended(id int) bool     { return true }
func Sleep(d time.Duration) {}
func AwaitEnd(id int) error { return errors.ErrUnsupported }
