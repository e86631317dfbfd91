package main

import (
	"encoding/binary"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// typing are the ioctls that put input into a terminal, as if somebody had
// typed it: what shares the terminal with the command, most likely the shell
// that has started it, would take it for commands, outside the sandbox.
// Landlock leaves descriptors alone that are open already.
var typing = []uint32{unix.TIOCSTI, unix.TIOCLINUX}

// ioctlNumbers are the numbers of ioctl to all architectures that Go runs on,
// and to those that their processes may change to.
var ioctlNumbers = []struct{ arch, number uint32 }{
	{unix.AUDIT_ARCH_X86_64, 16},
	{unix.AUDIT_ARCH_X86_64, 0x40000000 + 514}, // x32
	{unix.AUDIT_ARCH_I386, 54},
	{unix.AUDIT_ARCH_AARCH64, 29},
	{unix.AUDIT_ARCH_ARM, 54},
	{unix.AUDIT_ARCH_RISCV64, 29},
	{unix.AUDIT_ARCH_RISCV32, 29},
	{unix.AUDIT_ARCH_LOONGARCH64, 29},
	{unix.AUDIT_ARCH_S390X, 54},
	{unix.AUDIT_ARCH_S390, 54},
	{unix.AUDIT_ARCH_PPC64LE, 54},
	{unix.AUDIT_ARCH_PPC64, 54},
	{unix.AUDIT_ARCH_PPC, 54},
	{unix.AUDIT_ARCH_MIPSEL64, 5015},
	{unix.AUDIT_ARCH_MIPS64, 5015},
	{unix.AUDIT_ARCH_MIPSEL64N32, 6015},
	{unix.AUDIT_ARCH_MIPS64N32, 6015},
	{unix.AUDIT_ARCH_MIPSEL, 4054},
	{unix.AUDIT_ARCH_MIPS, 4054},
}

// refuseTyping makes the ioctls in typing fail with EPERM, for this process and
// what it executes. (A session of its own would do so for a command without
// privileges, but take Ctrl-C and Ctrl-Z away from it.) The signals that a
// terminal sends by itself stay: what has them sent is what each program that uses
// a terminal does.
func refuseTyping() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	filter := typingFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// On all threads, since any may be the one that executes the command.
	// Without SPEC_ALLOW kernels before 5.16 would slow the command down.
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// typingFilter returns the filter. It looks at arguments of an ioctl alone: for
// each other call the kernel knows in advance that it is allowed.
func typingFilter() []unix.SockFilter {
	const (
		number, architecture = 0, 4 // in struct seccomp_data
		load                 = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal                = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer               = unix.BPF_RET | unix.BPF_K
	)
	request := uint32(16 + 8) // the second argument, of which the kernel looks at the lower half
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		request += 4
	}
	var isTyping []unix.SockFilter
	for _, value := range typing {
		isTyping = append(isTyping,
			unix.SockFilter{Code: equal, Jf: 1, K: value},
			unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	var filter []unix.SockFilter
	for _, ioctl := range ioctlNumbers {
		skip := uint8(2 + 1 + len(isTyping) + 1)
		filter = append(filter,
			unix.SockFilter{Code: load, K: architecture},
			unix.SockFilter{Code: equal, Jf: skip, K: ioctl.arch},
			unix.SockFilter{Code: load, K: number},
			unix.SockFilter{Code: equal, Jf: skip - 2, K: ioctl.number},
			unix.SockFilter{Code: load, K: request})
		filter = append(append(filter, isTyping...), unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
	}
	return append(filter, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
}
