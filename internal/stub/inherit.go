//go:build linux && (386 || amd64 || arm64)

package stub

import (
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SendInherited sends a byte and files to a socket: those of descriptors, and then
// that of fd where a child that is made at this moment would inherit it. It reports
// whether it was sent.
//
// Other threads open and close descriptors meanwhile, so that no look at fd can be
// followed by the right deed. A child of its own does both: its descriptors are a
// copy, which nobody changes, of those of the calling thread. It shares the memory,
// and the thread waits for its end, as in vfork. The end of a copy leaves the process
// its locks on files, which it would lose where it closed a descriptor.
func SendInherited(socket, fd int, descriptors []int) (sent bool, err error) {
	content := [1]byte{}
	vector := unix.Iovec{Base: &content[0]}
	vector.SetLen(len(content))
	message := func(descriptors []int) *unix.Msghdr {
		control := unix.UnixRights(descriptors...)
		m := &unix.Msghdr{Iov: &vector, Control: &control[0]}
		m.SetIovlen(1)
		m.SetControllen(len(control))
		return m
	}
	d := &deed{fd: uintptr(fd), socket: uintptr(socket), with: message(append(slices.Clip(descriptors), fd))}
	if len(descriptors) > 0 {
		d.without = message(descriptors)
	}
	pid := d.do()
	if pid < 0 {
		return false, os.NewSyscallError("clone", syscall.Errno(-pid))
	}
	if errno := -int(d.answer); errno > 0 {
		return false, os.NewSyscallError("sendmsg", syscall.Errno(errno))
	}
	return d.sent != 0, nil
}

// deed is what the child does. The assembly takes its offsets from here.
type deed struct {
	fd            uintptr
	socket        uintptr
	with, without *unix.Msghdr // the messages: with fd's file, and, if there is one, without
	sent          uintptr
	answer        uintptr // to the sending
}

// do has a child do it, and returns its process id, or an errno as the kernel does.
func (d *deed) do() (pid int) {
	// Whoever opens a file and then makes it close-on-exec holds this.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A handler that runs in the child would take it for this thread.
	all, old := ^uint64(0), uint64(0)
	const setMask, size = 2, unsafe.Sizeof(all)
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), size, 0, 0); errno != 0 {
		return -int(errno)
	}
	pid = doAsChild(d)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, size, 0, 0)
	if pid > 0 {
		for _, err := unix.Wait4(pid, nil, unix.WALL, nil); err == unix.EINTR; {
			_, err = unix.Wait4(pid, nil, unix.WALL, nil)
		}
	}
	return pid
}

// doAsChild is assembly.
//
//go:noescape
func doAsChild(d *deed) (pid int)
