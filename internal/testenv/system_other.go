//go:build !linux

package testenv

import (
	"errors"
	"os"
	"os/exec"
)

// User is whom a child runs as.
type User struct{ Name string }

// Users are this user.
func Users() []User { return []User{{"this user"}} }

func (User) become(*exec.Cmd, string) {}

// Self is this test binary.
func Self() string { return os.Args[0] }

func kernelABI() (int, error) { return 0, errors.New("there is no Landlock but on Linux") }
