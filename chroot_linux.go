package landlock

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// The stub changes its root, and not os/exec, since there may be no /proc in the new one,
// or what somebody else has put there. It needs CAP_SYS_CHROOT for that. A child that
// becomes root has it, and another is left it by os/exec as an ambient capability; the
// stub then gives it up.

// openRoot opens the SysProcAttr.Chroot that cmd asks for. It is noFile where there is
// none, and where its path may lead elsewhere for the child.
func openRoot(cmd *exec.Cmd) (root int, err error) {
	if !changesRoot(cmd) || namespaces(cmd.SysProcAttr)&unix.CLONE_NEWNS != 0 {
		return noFile, nil
	}
	root, err = unix.Open(cmd.SysProcAttr.Chroot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil { // before the child has another user, who may have no way there
		return noFile, startError(cmd, err)
	}
	return root, nil
}

// namespaces returns the flags of those that the child has for itself.
func namespaces(attr *syscall.SysProcAttr) uintptr { return attr.Cloneflags | attr.Unshareflags }

// keepChroot has os/exec leave the stub CAP_SYS_CHROOT, where it would have lost
// it, and returns the capabilities that the stub then keeps.
func keepChroot(attr *syscall.SysProcAttr) (kept *[2]unix.CapUserData, err error) {
	if becomesRoot(attr) || slices.Contains(attr.AmbientCaps, unix.CAP_SYS_CHROOT) {
		return nil, nil
	}
	var sets [2]unix.CapUserData
	if namespaces(attr)&unix.CLONE_NEWUSER == 0 { // which begins without inheritable ones
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capget(&header, &sets[0]); err != nil {
			return nil, fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("capget", err))
		}
	}
	for i := range sets {
		sets[i].Effective, sets[i].Permitted = 0, 0
	}
	for _, capability := range attr.AmbientCaps {
		sets[capability/32].Permitted |= 1 << (capability % 32)
		sets[capability/32].Inheritable |= 1 << (capability % 32)
	}
	attr.AmbientCaps = append(slices.Clip(attr.AmbientCaps), unix.CAP_SYS_CHROOT)
	return &sets, nil
}

// becomesRoot reports whether the child is user 0 of its user namespace, so that
// it has all capabilities of that when it is executed.
func becomesRoot(attr *syscall.SysProcAttr) bool {
	const noRoot = 1 // SECBIT_NOROOT
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil || bits&noRoot != 0 && namespaces(attr)&unix.CLONE_NEWUSER == 0 {
		return false
	}
	user := os.Geteuid()
	switch {
	case attr.Credential != nil:
		return attr.Credential.Uid == 0
	case namespaces(attr)&unix.CLONE_NEWUSER == 0:
		return user == 0
	}
	for _, m := range attr.UidMappings {
		if user >= m.HostID && user-m.HostID < m.Size {
			return m.ContainerID+user-m.HostID == 0
		}
	}
	return false
}

// changeRoot has the stub change its root, and then its directory.
func changeRoot(image *stub.Image, cmd *exec.Cmd, root uintptr) {
	if !changesRoot(cmd) {
		return
	}
	if root != 0 {
		image.Add(unix.SYS_FCHDIR|stub.Indirect, root)
	} else {
		image.Add(unix.SYS_CHDIR, image.Path(cmd.SysProcAttr.Chroot))
	}
	image.Add(unix.SYS_CHROOT, image.Path("."))
	if cmd.Dir != "" {
		image.Add(unix.SYS_CHDIR, image.Path(cmd.Dir))
	}
}

// giveUpChroot has the stub give up CAP_SYS_CHROOT: what matters of a program's
// capabilities before it is executed are the ambient and the inheritable ones.
func giveUpChroot(image *stub.Image, kept *[2]unix.CapUserData) {
	if kept == nil {
		return
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	image.Add(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, unix.CAP_SYS_CHROOT)
	image.Add(unix.SYS_CAPSET, image.Data(bytesOf(&header)), image.Data(bytesOf(kept)))
}
