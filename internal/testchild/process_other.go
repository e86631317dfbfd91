//go:build !linux

package testchild

import "os/exec"

func tie(*exec.Cmd) {}

func endRest(*exec.Cmd) {}
