//go:build !linux

package osthread

import (
	"errors"
	"time"
)

// Without Landlock and seccomp nobody spends a thread, or compares two.

func ID() int                   { return 0 }
func IsMain() bool              { return false }
func Ended(id int) bool         { return true }
func Sleep(d time.Duration)     {}
func AwaitEnd(ids ...int) error { return errors.ErrUnsupported }

type State struct{} // what a thread has

func Hold() (caller State, release func())      { return State{}, func() {} }
func (State) Compare(setsNoNewPrivs bool) error { return errors.ErrUnsupported }
func (State) KeepDeathSignal() error            { return errors.ErrUnsupported }
