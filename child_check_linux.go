package landlock

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// wrongAttributes returns what cannot be had of cmd.SysProcAttr: what os/exec does
// not survive, and what would have the child share with this process, or with its
// parent, what a sandbox is to keep from it.
func wrongAttributes(cmd *exec.Cmd) error {
	attr := cmd.SysProcAttr
	if attr == nil {
		return nil
	}
	for _, flag := range wrongCloneflags {
		if attr.Cloneflags&flag.bit != 0 {
			return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.Cloneflags %#x has %s: %s", attr.Cloneflags, flag.name, flag.why)}
		}
	}
	if rest := attr.Cloneflags &^ (namespaceFlags | uintptr(unix.SIGCHLD)); rest != 0 { // os/exec adds SIGCHLD itself
		return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.Cloneflags %#x has %#x, which is no namespace", attr.Cloneflags, rest)}
	}
	for _, capability := range attr.AmbientCaps {
		if capability >= 64 { // at which the Go runtime would end this process
			return mistake{fmt.Errorf("landlock: start a child: SysProcAttr.AmbientCaps has %d: capabilities are numbers below 64: %w", capability, syscall.EINVAL)}
		}
	}
	if attr.Setctty && attr.Ctty >= 3+len(cmd.ExtraFiles) { // where the stub has files
		//lint:ignore ST1005 as os/exec
		return startError(cmd, errors.New("Setctty set but Ctty not valid in child"))
	}
	return nil
}

const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// wrongCloneflags are those of clone(2) that make no namespace.
var wrongCloneflags = []struct {
	bit       uintptr
	name, why string
}{
	{unix.CLONE_VM, "CLONE_VM", "the child's memory would be this process's"},
	{unix.CLONE_FS, "CLONE_FS", "the child's root, working directory and umask would be this process's"},
	{unix.CLONE_FILES, "CLONE_FILES", "the child's descriptors would be this process's"},
	{unix.CLONE_SIGHAND, "CLONE_SIGHAND", "the child's signal handlers would be this process's"},
	{unix.CLONE_PIDFD, "CLONE_PIDFD", "os/exec says where to put the descriptor: set SysProcAttr.PidFD"},
	{unix.CLONE_PTRACE, "CLONE_PTRACE", "whoever traces this process would trace the child, and the child's tracer is for its parent to choose: set SysProcAttr.Ptrace"},
	{unix.CLONE_VFORK, "CLONE_VFORK", "os/exec decides it, and a child with a user namespace would wait for this process, and this process for it"},
	{unix.CLONE_PARENT, "CLONE_PARENT", "the child would be one of this process's parent, and Wait would not find it"},
	{unix.CLONE_THREAD, "CLONE_THREAD", "the child would be a thread of this process"},
	{unix.CLONE_SYSVSEM, "CLONE_SYSVSEM", "what this process is to undo to System V semaphores would be the child's to undo, too"},
	{unix.CLONE_SETTLS, "CLONE_SETTLS", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_DETACHED, "CLONE_DETACHED", "it has no meaning any more"},
	{unix.CLONE_UNTRACED, "CLONE_UNTRACED", "the child would escape whoever traces this process"},
	{unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID", "it takes an address, which os/exec does not pass"},
	{unix.CLONE_IO, "CLONE_IO", "the child's queue of input and output would be this process's"},
}

// errNoStub is why Start cannot work on some architectures.
var errNoStub error = &sentinel{"landlock: start a child: no sandboxed children on this architecture, only on 386, amd64 and arm64: " +
	"use Exec in a program of its own", errors.ErrUnsupported}

// noStubFor returns why no stub can start cmd. It has no room for all paths that are too
// long for the kernel.
func noStubFor(cmd *exec.Cmd) error {
	const longest = 4096 // PATH_MAX, with the NUL
	switch {
	case !stub.Supported:
		return errNoStub
	case len(cmd.Path) >= longest, changesRoot(cmd) && max(len(cmd.SysProcAttr.Chroot), len(cmd.Dir)) >= longest:
		return startError(cmd, unix.ENAMETOOLONG)
	case changesRoot(cmd) && strings.ContainsRune(cmd.SysProcAttr.Chroot+cmd.Dir, 0):
		return startError(cmd, unix.EINVAL)
	}
	return nil
}

func changesRoot(cmd *exec.Cmd) bool { return cmd.SysProcAttr != nil && cmd.SysProcAttr.Chroot != "" }
