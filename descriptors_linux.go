package landlock

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/stub"
)

// handover is how a stub gets the files that it needs.
//
// A child inherits what this process has open and not close-on-exec, each file
// under its number, and which those are can change at any time. A number that
// os/exec is given a file for cannot be inherited as well. So all that the stub
// gets comes by a socket, once it runs, and has numbers then that nothing else has.
// The socket itself has the number of a file that os/exec is given anyway: that
// file comes by the socket, too, and the stub puts it in its place.
type handover struct {
	here  *os.File // this end of the socket, where the stub says what fails
	there *os.File // its end
	slot  int      // the number of that in the child
	took  right    // the file whose number it is

	rights   []int   // descriptors that are sent
	owned    []int   // to close here
	socket   uintptr // where the stub has the number of its end
	received uintptr // and those of what was sent
	limit    uintptr // and the child's RLIMIT_NOFILE
}

// right is a file that is sent, by its place among all.
type right int

const noRight right = -1

// send adds a file to what is sent.
func (h *handover) send(fd int) right {
	h.rights = append(h.rights, fd)
	return right(len(h.rights) - 1)
}

// sendOwn is send for a file that is closed here then.
func (h *handover) sendOwn(fd int) right {
	h.owned = append(h.owned, fd)
	return h.send(fd)
}

func newHandover() (*handover, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("socketpair", err))
	}
	h := &handover{here: os.NewFile(uintptr(pair[0]), "landlock-here"), there: os.NewFile(uintptr(pair[1]), "landlock-there"), took: noRight}
	if err := sharesDescriptors(h.here); err != nil {
		h.here.Close()
		h.there.Close()
		return nil, err
	}
	return h, nil
}

// sharesDescriptors returns an error where the calling thread has descriptors of its
// own: what is the Sandbox's ruleset in those of the process may be another there. So a
// file that it has just made must be there for another thread, too.
func sharesDescriptors(file *os.File) error {
	fd := int(file.Fd())
	var own, others unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("fstat", err))
	}
	err := statOfOthers(fd, &others)
	if err == nil && own.Dev == others.Dev && own.Ino == others.Ino {
		return nil
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("landlock: start a child: whether the calling thread has descriptors of its own cannot be told: %w", os.NewSyscallError("stat", err))
	}
	return errors.New("landlock: start a child: the calling thread and another one do not share their descriptors (unshare with CLONE_FILES), so the Sandbox's may be another here: " +
		"keep goroutines that are locked to such a thread from starting children")
}

// statOfOthers looks at what another thread than the calling one has under a number.
func statOfOthers(fd int, stat *unix.Stat_t) error {
	if !osthread.IsMain() {
		return unix.Stat(fmt.Sprint("/proc/self/fd/", fd), stat) // of the main thread
	}
	if err := unix.Stat(fmt.Sprintf("/proc/self/task/%d/fd/%d", someThread.Load(), fd), stat); err == nil {
		return nil
	}
	var err error
	done := make(chan struct{})
	osthread.Take(func() (reusable bool) { // one that cannot end meanwhile
		defer close(done)
		err = unix.Stat(fmt.Sprint("/proc/thread-self/fd/", fd), stat)
		someThread.Store(int64(osthread.ID()))
		return true
	})
	<-done
	return err
}

// someThread is one that was not the main thread.
var someThread atomic.Int64

// chooseSlot chooses the number of the socket in the child: that of a stream for
// which os/exec has no pipe to copy, or of one of the ExtraFiles, or the one
// after them.
func (c *child) chooseSlot() error {
	for fd, stream := range []any{c.was.Stdin, c.was.Stdout, c.was.Stderr} {
		file, isFile := stream.(*os.File)
		if stream != nil && !isFile || c.controls(fd) {
			continue
		}
		if stream == nil {
			mode := os.O_RDONLY
			if fd > 0 {
				mode = os.O_WRONLY
			}
			null, err := unix.Open(os.DevNull, mode|unix.O_CLOEXEC, 0)
			if err != nil {
				return &os.PathError{Op: "open", Path: os.DevNull, Err: err} // as os/exec
			}
			c.slot, c.took = fd, c.sendOwn(null)
			return nil
		}
		c.takeSlot(fd, file)
		return nil
	}
	for i, file := range c.was.ExtraFiles {
		if fd := 3 + i; !c.controls(fd) {
			c.takeSlot(fd, file)
			return nil
		}
	}
	c.slot = 3 + len(c.was.ExtraFiles)
	return nil
}

// takeSlot has the socket take the place of a file of cmd's. It is nothing to
// send where that is nil or closed: then the program has nothing there.
func (c *child) takeSlot(fd int, file *os.File) {
	c.slot = fd
	if number := file.Fd(); number != ^uintptr(0) { // which makes it block, as os/exec does
		c.took = c.send(int(number))
	}
}

// controls reports whether os/exec makes a descriptor the child's terminal, or
// gives that up, before the stub runs.
func (c *child) controls(fd int) bool {
	return c.attr != nil && (c.attr.Setctty && fd == c.attr.Ctty || c.attr.Noctty && fd == 0)
}

// handOver sends the stub's files. Where nothing of cmd's is in the slot, what the
// child would inherit there is sent with them.
func (c *child) handOver() error {
	defer c.closeOwned()
	if c.slot < 3+len(c.was.ExtraFiles) || !inherits(c.slot) {
		if len(c.rights) == 0 {
			return nil
		}
		return sendError(os.NewSyscallError("sendmsg", unix.Sendmsg(int(c.here.Fd()), []byte{0}, unix.UnixRights(c.rights...), nil, unix.MSG_DONTWAIT)))
	}
	sent, err := stub.SendInherited(int(c.here.Fd()), c.slot, c.rights)
	if sent {
		c.took = c.send(c.slot)
	}
	return sendError(err)
}

func sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ETOOMANYREFS):
		return fmt.Errorf("landlock: start a child: hand descriptors over to the child: %w: "+
			"processes of this user have more of them on the way to each other than RLIMIT_NOFILE", err)
	}
	return fmt.Errorf("landlock: start a child: hand descriptors over to the child: %w", err)
}

// inherits reports whether a child would inherit a descriptor.
func inherits(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

// takeOver has the stub receive what was sent, and put back what its socket took
// the place of. It may have more descriptors meanwhile than the program: os/exec
// gives a child the soft limit that this process was started with.
func (c *child) takeOver() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("getrlimit", err))
	}
	limit.Cur = limit.Max
	slot := uintptr(c.slot)
	c.limit = c.image.Writable(bytesOf(new(unix.Rlimit)))
	c.image.Add(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, c.image.Data(bytesOf(&limit)), c.limit)
	c.socket = c.image.Writable(bytesOf(new(int32(c.slot)))) // until it has another
	c.image.Add(unix.SYS_FCNTL|stub.Store, slot, unix.F_DUPFD_CLOEXEC, 3, 0, c.socket)
	if len(c.rights) > 0 {
		c.receive()
	}
	if c.took == noRight {
		c.image.Add(unix.SYS_CLOSE, slot)
	} else {
		c.image.Add(unix.SYS_DUP3|stub.Indirect, c.number(c.took), slot)
	}
	c.taking = len(c.image.Calls())
	return nil
}

// restoreLimit has the stub give the program the limit that the child had.
func (c *child) restoreLimit() { c.image.Add(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, c.limit) }

// number returns the address of the descriptor that a file has in the stub.
func (h *handover) number(r right) uintptr { return h.received + 4*uintptr(r) }

// receive has the stub receive one message, with a byte and files.
func (c *child) receive() {
	none := make([]int, len(c.rights))
	for i := range none {
		none[i] = math.MaxInt32 // a number that is nobody's, where less is received
	}
	control := unix.UnixRights(none...)
	vector := struct{ base, length uintptr }{c.image.Writable([]byte{0}), 1}
	message := struct {
		name        uintptr
		nameLength  uint32
		vectors     uintptr
		vectorCount uintptr
		control     uintptr
		controlSize uintptr
		flags       int32
	}{
		vectors: c.image.Data(bytesOf(&vector)), vectorCount: 1,
		control: c.image.Writable(control), controlSize: uintptr(len(control)),
	}
	c.received = message.control + uintptr(unix.CmsgLen(0))
	c.image.Add(unix.SYS_RECVMSG, uintptr(c.slot), c.image.Writable(bytesOf(&message)), unix.MSG_CMSG_CLOEXEC)
	last := right(len(c.rights) - 1) // which is missing where there is no room for all
	c.image.Add(unix.SYS_FCNTL|stub.Indirect, c.number(last), unix.F_GETFD)
}

// awaitProgram returns once the stub has become the program, or failed.
func (h *handover) awaitProgram() (failure stub.Failure, failed bool, err error) {
	failure, failed, err = stub.ReadFailure(h.here)
	if errors.Is(err, unix.ECONNRESET) { // it was killed before it received anything
		return stub.Failure{}, false, nil
	}
	return failure, failed, err
}

// keepClear gives the stub's end of the socket a number here that is above least.
// os/exec first moves files that are in its way to numbers above the highest of
// those that it passes, over whatever the child would inherit there. So it makes
// sure, as far as there is room, that the highest is this one, and that nobody has
// those that follow.
func (c *child) keepClear(least int) error {
	highest, moved := least, 1 // the pipe of os/exec's own
	for slot, file := range append(c.streams(), c.was.ExtraFiles...) {
		if fd := file.Fd(); fd != ^uintptr(0) {
			highest = max(highest, int(fd))
			if int(fd) < slot {
				moved++
			}
		}
	}
	const ofExec = 16 // descriptors that os/exec opens itself, for pipes and /dev/null: they take the lowest numbers
	numbers, err := reserve(c.there, highest+ofExec, 1+moved)
	if err != nil { // there are not so many
		numbers, err = reserve(c.there, least+1, 1+moved)
	}
	if err != nil {
		return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("fcntl", err))
	}
	c.there.Close()
	c.there = os.NewFile(uintptr(numbers[0]), "landlock-there")
	c.owned = append(c.owned, numbers[1:]...)
	return nil
}

// streams returns cmd's standard streams, nil for those that are no files.
func (c *child) streams() []*os.File {
	files := make([]*os.File, 3)
	for i, stream := range []any{c.was.Stdin, c.was.Stdout, c.was.Stderr} {
		files[i], _ = stream.(*os.File)
	}
	return files
}

// reserve returns count numbers for a file that follow each other, or, where those
// that are free are scattered, that do not.
func reserve(file *os.File, least, count int) ([]int, error) {
	var numbers []int
	for gaps := 0; len(numbers) < count; {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, least)
		if err != nil {
			closeAll(numbers)
			return nil, err
		}
		if fd != least && gaps < 10 {
			closeAll(numbers)
			numbers = numbers[:0]
			gaps++
		}
		numbers = append(numbers, fd)
		least = fd + 1
	}
	return numbers, nil
}

func closeAll(descriptors []int) {
	for _, fd := range descriptors {
		unix.Close(fd)
	}
}

func (h *handover) closeOwned() {
	closeAll(h.owned)
	h.owned = nil
}

// close closes what only the stub needs.
func (h *handover) close() {
	h.there.Close()
	h.closeOwned()
}

// above returns a file under a number that is not below least.
func above(file *os.File, least int) (*os.File, error) {
	if int(file.Fd()) >= least {
		return file, nil
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, least)
	if err != nil {
		return nil, fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// bytesOf returns the memory of a value without pointers.
func bytesOf[T any](value *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(value)), unsafe.Sizeof(*value))
}
