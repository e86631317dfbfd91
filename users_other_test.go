//go:build !linux

package landlock

import (
	"os"
	"os/exec"
)

type testUser struct{ name string }

func testUsers() []testUser { return []testUser{{"this user"}} }

func (testUser) become(*exec.Cmd, string) {}

func self() string { return os.Args[0] }

func tryAll([]string) {}
