package landlock

import (
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/stub"
)

// chooseDescriptors gives each file of the stub the descriptor that it has in the
// child. They follow cmd's ExtraFiles, without a gap: os/exec closes what it is
// given no file for.
//
// The program may be about to inherit something under such a number, which this
// process has open and not close-on-exec. Such a number the stub's files leave
// out. os/exec cannot: it is given a file for it all the same, and the stub puts
// back the right one, which it gets by a socket.
func (c *child) chooseDescriptors() error {
	for i, file := range c.files {
		file.fd = c.firstDescriptor() + i
	}
	if !slices.ContainsFunc(c.files, func(file *placed) bool { return inherits(file.fd) }) {
		return nil
	}
	return c.goAround()
}

// firstDescriptor returns the number that follows those of cmd's own files.
func (c *child) firstDescriptor() int { return 3 + len(c.was.ExtraFiles) }

// inherits reports whether a child would inherit a descriptor.
func inherits(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// goAround chooses descriptors that leave out what the program inherits, and
// sends that to the stub.
//
// Other threads open and close descriptors meanwhile. So it looks at a copy of
// them, which nobody else has: there a number stays the file that it was when it
// was found not to be close-on-exec. A file that is sent has no number; so none
// has to be closed here, at which the process would lose its locks on the file.
func (c *child) goAround() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: start: %w", os.NewSyscallError("socketpair", err))
	}
	defer unix.Close(pair[0])
	socket := c.place(os.NewFile(uintptr(pair[1]), "landlock-inherited"))
	_, err = osthread.Spend(func() error {
		if err := copyDescriptors(); err != nil {
			return err
		}
		fd := c.firstDescriptor()
		for _, file := range c.files {
			for ; inherits(fd); fd++ {
				c.inherited = append(c.inherited, fd)
			}
			file.fd = fd
			fd++
		}
		for some := range slices.Chunk(c.inherited, mostRights) {
			if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(some...), nil, unix.MSG_DONTWAIT); err != nil {
				return c.cannotPassOn(os.NewSyscallError("sendmsg", err))
			}
		}
		return nil
	})
	for some := range slices.Chunk(c.inherited, mostRights) {
		c.receive(socket.fd, some)
	}
	return err
}

// copyDescriptors gives this thread, which has to end, descriptors of its own: a
// copy of the process's.
func copyDescriptors() error {
	// Whoever opens a file and then makes it close-on-exec holds this.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	// Containers that refuse unshare take this, which closes nothing here.
	err := unix.CloseRange(math.MaxUint32, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE)
	if err == unix.ENOSYS { // before Linux 5.9
		err = unix.Unshare(unix.CLONE_FILES)
	}
	if err != nil {
		return fmt.Errorf("landlock: start: copy the descriptors that a child inherits: %w", os.NewSyscallError("close_range", err))
	}
	return nil
}

// mostRights is less than how many descriptors the kernel takes in one message.
const mostRights = 250

// receive has the stub receive a message with files, and give each its
// descriptor.
func (c *child) receive(socket int, descriptors []int) {
	none := slices.Repeat([]int{-1}, len(descriptors)) // which nobody has: no message, no file
	control := unix.UnixRights(none...)
	received := c.image.Writable(control)
	content := c.image.Writable([]byte{0})
	vector := [2]uintptr{content, 1}
	message := struct {
		name        uintptr
		nameLength  uint32
		vectors     uintptr
		vectorCount uintptr
		control     uintptr
		controlSize uintptr
		flags       int32
	}{
		vectors: c.image.Writable(bytesOf(&vector)), vectorCount: 1,
		control: received, controlSize: uintptr(len(control)),
	}
	c.image.Add(unix.SYS_RECVMSG, uintptr(socket), c.image.Writable(bytesOf(&message)))
	for i, fd := range descriptors {
		number := received + uintptr(unix.CmsgLen(0)+4*i)
		c.image.Add(unix.SYS_DUP3|stub.Indirect, number, uintptr(fd))
		c.image.Add(unix.SYS_CLOSE|stub.Indirect, number)
	}
}

// cannotPassOn says why the child cannot inherit all that it would.
func (c *child) cannotPassOn(err error) error {
	return fmt.Errorf("landlock: start: pass on descriptors %v, which this process has open and not close-on-exec: %w: "+
		"make them close-on-exec, or name them in ExtraFiles", c.inherited, err)
}

// extraFiles returns the files that os/exec passes after the standard streams.
func (c *child) extraFiles() []*os.File {
	all := slices.Clip(c.was.ExtraFiles)
	for _, file := range c.files {
		for 3+len(all) < file.fd {
			all = append(all, file.File) // to be replaced by what the program inherits
		}
		all = append(all, file.File)
	}
	return all
}

// bytesOf returns the memory of a value without pointers.
func bytesOf[T any](value *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(value)), unsafe.Sizeof(*value))
}
