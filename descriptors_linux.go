package landlock

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
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

	rights []int // descriptors that are sent
	owned  []int // to close here
}

// right is a file that is sent, by its place among all.
type right int

const noRight right = -1

// noFile stands in place of a descriptor where there is nothing to send.
const noFile = -1

// send adds a file to what is sent.
func (h *handover) send(fd int) right {
	h.rights = append(h.rights, fd)
	return right(len(h.rights) - 1)
}

// sendOwn is send for a file, if there is one, that is closed here then.
func (h *handover) sendOwn(fd int) right {
	if fd == noFile {
		return noRight
	}
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
func (h *handover) chooseSlot(cmd *exec.Cmd) error {
	for fd, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		file, isFile := stream.(*os.File)
		if stream != nil && !isFile || controls(cmd, fd) {
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
			h.slot, h.took = fd, h.sendOwn(null)
			return nil
		}
		h.takeSlot(fd, file)
		return nil
	}
	for i, file := range cmd.ExtraFiles {
		if fd := 3 + i; !controls(cmd, fd) {
			h.takeSlot(fd, file)
			return nil
		}
	}
	h.slot = 3 + len(cmd.ExtraFiles)
	return nil
}

// takeSlot has the socket take the place of a file of cmd's. It is nothing to
// send where that is nil or closed: then the program has nothing there.
func (h *handover) takeSlot(fd int, file *os.File) {
	h.slot = fd
	if number := file.Fd(); number != ^uintptr(0) { // which makes it block, as os/exec does
		h.took = h.send(int(number))
	}
}

// controls reports whether os/exec makes a descriptor the child's terminal, or
// gives that up, before the stub runs.
func controls(cmd *exec.Cmd, fd int) bool {
	attr := cmd.SysProcAttr
	return attr != nil && (attr.Setctty && fd == attr.Ctty || attr.Noctty && fd == 0)
}

// handOver sends the stub's files. Where nothing of cmd's is in the slot, what the
// child would inherit there is sent with them.
func (h *handover) handOver(cmd *exec.Cmd) error {
	defer h.closeOwned()
	if h.slot < 3+len(cmd.ExtraFiles) || !inherits(h.slot) {
		if len(h.rights) == 0 {
			return nil
		}
		return sendError(os.NewSyscallError("sendmsg", unix.Sendmsg(int(h.here.Fd()), []byte{0}, unix.UnixRights(h.rights...), nil, unix.MSG_DONTWAIT)))
	}
	sent, err := stub.SendInherited(int(h.here.Fd()), h.slot, h.rights)
	if sent {
		h.took = h.send(h.slot)
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

// taken is where the stub has what it takes over.
type taken struct {
	files  uintptr // the numbers of what was sent
	socket uintptr // that of its end
	limit  uintptr // the child's RLIMIT_NOFILE
}

// number returns the address of the descriptor that a file has in the stub, and 0 for
// none.
func (t taken) number(r right) uintptr {
	if r == noRight {
		return 0
	}
	return t.files + 4*uintptr(r)
}

// takeOver has the stub receive what was sent, and put back what its socket took
// the place of. It may have more descriptors meanwhile than the program: os/exec
// gives a child the soft limit that this process was started with.
func (h *handover) takeOver(image *stub.Image) (t taken, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return t, fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("getrlimit", err))
	}
	limit.Cur = limit.Max
	slot := uintptr(h.slot)
	t.limit = image.Writable(bytesOf(new(unix.Rlimit)))
	image.Add(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, image.Data(bytesOf(&limit)), t.limit)
	t.socket = image.Writable(bytesOf(new(int32(h.slot)))) // until it has another
	image.Add(unix.SYS_FCNTL|stub.Store, slot, unix.F_DUPFD_CLOEXEC, 3, 0, t.socket)
	if len(h.rights) > 0 {
		t.files = receive(image, slot, len(h.rights))
	}
	if h.took == noRight {
		image.Add(unix.SYS_CLOSE, slot)
	} else {
		image.Add(unix.SYS_DUP3|stub.Indirect, t.number(h.took), slot)
	}
	return t, nil
}

// receive has the stub receive one message, with a byte and files. It returns the address
// of the numbers that they have there.
func receive(image *stub.Image, socket uintptr, count int) (files uintptr) {
	none := make([]int, count)
	for i := range none {
		none[i] = math.MaxInt32 // a number that is nobody's, where less is received
	}
	control := unix.UnixRights(none...)
	vector := struct{ base, length uintptr }{image.Writable([]byte{0}), 1}
	message := struct {
		name        uintptr
		nameLength  uint32
		vectors     uintptr
		vectorCount uintptr
		control     uintptr
		controlSize uintptr
		flags       int32
	}{
		vectors: image.Data(bytesOf(&vector)), vectorCount: 1,
		control: image.Writable(control), controlSize: uintptr(len(control)),
	}
	files = message.control + uintptr(unix.CmsgLen(0))
	image.Add(unix.SYS_RECVMSG, socket, image.Writable(bytesOf(&message)), unix.MSG_CMSG_CLOEXEC)
	last := files + 4*uintptr(count-1) // which is missing where there is no room for all
	image.Add(unix.SYS_FCNTL|stub.Indirect, last, unix.F_GETFD)
	return files
}

// keepClear gives the stub's end of the socket a number here that is above least.
// os/exec first moves files that are in its way to numbers above the highest of
// those that it passes, over whatever the child would inherit there. So it makes
// sure, as far as there is room, that the highest is this one, and that nobody has
// those that follow.
func (h *handover) keepClear(cmd *exec.Cmd, least int) error {
	highest, moved := least, 1 // the pipe of os/exec's own
	for slot, file := range append(streams(cmd), cmd.ExtraFiles...) {
		if fd := file.Fd(); fd != ^uintptr(0) {
			highest = max(highest, int(fd))
			if int(fd) < slot {
				moved++
			}
		}
	}
	const ofExec = 16 // descriptors that os/exec opens itself, for pipes and /dev/null: they take the lowest numbers
	numbers, err := reserve(h.there, highest+ofExec, 1+moved)
	if err != nil { // there are not so many
		numbers, err = reserve(h.there, least+1, 1+moved)
	}
	if err != nil {
		return fmt.Errorf("landlock: start a child: %w", os.NewSyscallError("fcntl", err))
	}
	h.there.Close()
	h.there = os.NewFile(uintptr(numbers[0]), "landlock-there")
	h.owned = append(h.owned, numbers[1:]...)
	return nil
}

// streams returns cmd's standard streams, nil for those that are no files.
func streams(cmd *exec.Cmd) []*os.File {
	files := make([]*os.File, 3)
	for i, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
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
