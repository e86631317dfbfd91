//go:build linux && (amd64 || arm64)

package allthreads

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported reports whether this architecture has a handler.
const Supported = true

// sig is SIGSETXID to glibc and SIGCANCEL to musl. Neither lets a program block
// it, and Go's runtime leaves it alone.
const sig = 33

// maxThreadID is the kernel's PID_MAX_LIMIT on 64-bit machines.
const maxThreadID = 1 << 22

// The bounds on how long the threads are held while the last ones are waited
// for. Between two tries they run, so that one that another waits for in the
// kernel (a FUSE server, say) gets on.
var patience = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond, 8 * time.Second}

var (
	calls      sync.Mutex // one call at a time
	generation uint32     // of the last try, of all calls
	broken     bool       // a thread never left the handler: no later call can work
	tasks      = taskList{fd: -1}
)

// Restrict makes every thread of this process, this one first, set no_new_privs
// where that is asked for, and enforce the ruleset. The calling goroutine must
// be locked to its thread.
//
// Every other thread is held in a signal handler before the first is
// restricted, and goes on once it is restricted. The error is an *Error.
func Restrict(ruleset int, flags uint32, noNewPrivs bool) error {
	calls.Lock()
	defer calls.Unlock()
	if broken {
		return &Error{Op: "hold all threads", Errno: unix.EDEADLK}
	}
	// A copy, since a thread that never answers leaves it in use.
	fd, err := unix.FcntlInt(uintptr(ruleset), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &Error{Op: "fcntl", Errno: err.(syscall.Errno)}
	}
	tasks.open()
	c := &call{process: unix.Getpid(), tasks: tasks.fd}
	if errno := installHandler(); errno != 0 {
		unix.Close(fd)
		return &Error{Op: "rt_sigaction", Errno: errno}
	}
	for _, bound := range c.patience() {
		if err := c.prepare(fd, flags, noNewPrivs); err != nil {
			c.fail(stepMap, err.(syscall.Errno))
			break
		}
		c.attempt(int64(bound))
		if !c.empty {
			break
		}
		unix.Munmap(c.memory)
		if c.held || c.errno != unix.ETIMEDOUT {
			break
		}
		time.Sleep(time.Millisecond) // let the threads run before the next try
	}
	if broken = !c.empty; !broken { // else a thread in the handler uses memory and descriptor
		unix.Close(fd)
	}
	if c.held { // else a signal may be pending still, and without a handler it would kill
		removeHandler()
	}
	if c.errno != 0 {
		return &Error{Op: steps[c.step], Errno: c.errno, Restricted: int(c.restricted), Failed: int(c.failed)}
	}
	return nil
}

// call is one call of Restrict. All that it needs while the threads are held is
// allocated before.
type call struct {
	process int
	thread  int // the calling thread
	tasks   int // the task directory, or -1

	memory []byte // of entries
	// entries has the entry of each thread id.
	entries *[maxThreadID]uint32
	info    siginfo
	dirents [32 << 10]byte
	time    unix.Timespec // of futex and clock_gettime

	stat unix.Stat_t // of the task directory

	seen  sweep
	held  bool // every other thread was parked
	empty bool // no thread is in the handler any more

	// What failed. A number and not an Error: to store a string is a write
	// barrier, and that calls the Go runtime.
	step               step
	errno              syscall.Errno
	restricted, failed uint32
}

// step is where a call fails.
type step uint32

const (
	stepHold step = iota
	stepNoNewPrivs
	stepRestrict
	stepList
	stepProbe
	stepSignal
	stepMap
)

var steps = [...]string{"hold all threads", "prctl", "landlock_restrict_self", "getdents64", "tgkill", "rt_tgsigqueueinfo", "mmap"}

// sweep counts what one pass over all threads found.
type sweep struct {
	parked  uint32 // held since before this sweep began
	late    uint32 // held since
	pending uint32 // have the signal, and have not answered
	ended   uint32 // are only listed still
	missed  uint32 // have gone, or could not be sent the signal yet
}

// siginfo is the kernel's siginfo_t with the members for SI_QUEUE.
type siginfo struct {
	signo, errno, code, _ int32
	pid, uid              int32
	thread, generation    uint32 // si_value, which the handler looks at
	_                     [96]byte
}

func (c *call) patience() []time.Duration {
	if c.tasks >= 0 {
		return patience
	}
	return []time.Duration{time.Minute} // a sweep over all thread ids takes up to a second, more under emulation
}

// prepare sets up the board for a new try.
func (c *call) prepare(fd int, flags uint32, noNewPrivs bool) error {
	// Untouched pages cost nothing, so the table can be indexed by thread id.
	memory, err := unix.Mmap(-1, 0, maxThreadID*4, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	c.memory = memory
	c.entries = (*[maxThreadID]uint32)(unsafe.Pointer(&memory[0]))
	c.thread = unix.Gettid()
	c.errno, c.failed, c.held, c.empty = 0, 0, false, false
	if generation++; generation == 0 {
		generation = 1
	}
	c.info = siginfo{signo: sig, code: -1, pid: int32(c.process), uid: int32(unix.Getuid()), generation: generation} // SI_QUEUE
	shared.order, shared.parked, shared.wakeAt, shared.sweep = orderWait, 0, 0, firstSweep
	shared.restricted, shared.failed, shared.errno = 0, 0, 0
	shared.ruleset, shared.flags, shared.noNewPrivs = uint32(fd), flags, 0
	if noNewPrivs {
		shared.noNewPrivs = 1
	}
	if tasks.mainEnded() {
		c.entries[c.process] = ended
	}
	shared.threads = uintptr(unsafe.Pointer(c.entries))
	store(&shared.generation, generation)
	return nil
}

// From here to the end of this file nothing may call the Go runtime, not even
// to grow the stack or to be preempted: the threads that are held may have its
// locks. So every function is nosplit, allocates nothing and stores no pointer,
// and all signals are blocked. None calls the race detector either. They are
// not inlined, since one large frame after another leaves a binary for a
// debugger too little of the stack.

// attempt holds all other threads, restricts this one and then the others.
// Where one does not answer in time, all go on as they were.
//
//go:nosplit
//go:norace
func (c *call) attempt(bound int64) {
	all, old := ^uint64(0), uint64(0)
	sigprocmask(&all, &old)
	order := uint32(orderLeave)
	c.hold(c.now() + bound)
	if c.held && c.restrictSelf() {
		order = orderRestrict
	}
	store(&shared.generation, 0)
	store(&shared.order, order)
	c.futex(&shared.order, futexWake, 1<<30, 0)
	c.awaitEmpty(c.now() + int64(10*time.Second))
	if order == orderRestrict {
		c.count()
	}
	sigprocmask(&old, nil)
}

// hold returns when every other thread is parked. A parked thread neither ends
// nor starts another, so what makes a sweep the last is that each thread which
// it found was parked before it began, and that there are no more.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) hold(deadline int64) {
	slice, clean := int64(time.Millisecond), 0
	for number := uint32(firstSweep); ; number++ {
		store(&shared.sweep, number)
		c.seen = sweep{}
		if c.tasks >= 0 {
			c.sweepTasks(number)
		} else {
			c.sweepThreadIDs(number)
		}
		if c.errno != 0 {
			return
		}
		if c.seen.late+c.seen.pending+c.seen.missed == 0 && c.complete(&clean) {
			c.held = true
			return
		}
		if c.now() > deadline {
			c.fail(stepHold, unix.ETIMEDOUT)
			c.failed = c.seen.pending + c.seen.missed
			return
		}
		if c.seen.pending+c.seen.missed > 0 && !c.awaitParked(slice) && slice < int64(50*time.Millisecond) {
			slice *= 2
		}
	}
}

// complete reports whether the sweep has found all threads there are. The list
// does not show it: the kernel cuts it short where a thread ends while it is
// read. But the directory's link count tells how many threads there are now.
// Without a list there is no count: it takes two sweeps in a row that find
// nobody new.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) complete(clean *int) bool {
	if c.tasks < 0 {
		*clean++
		return *clean == 2
	}
	if system(unix.SYS_FSTAT, uintptr(c.tasks), uintptr(unsafe.Pointer(&c.stat)), 0, 0, 0, 0) != 0 {
		return false
	}
	const dots = 2 // a directory's own links
	return uint64(c.stat.Nlink) == dots+1+uint64(c.seen.parked)+uint64(c.seen.ended)
}

// fail keeps what failed.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) fail(at step, errno syscall.Errno) { c.step, c.errno = at, errno }

// awaitParked waits until as many threads are parked as the last sweep makes
// expect, or until no more come for a while: those have ended.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) awaitParked(slice int64) bool {
	expected := c.seen.parked + c.seen.late + max(c.seen.pending, 1)
	store(&shared.wakeAt, expected)
	for {
		parked := load(&shared.parked)
		if parked >= expected {
			return true
		}
		if c.futex(&shared.parked, futexWait, parked, slice) == unix.ETIMEDOUT {
			return false
		}
	}
}

// awaitEmpty waits until no thread is in the handler.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) awaitEmpty(deadline int64) {
	for c.now() < deadline {
		inside := load(&shared.inside)
		if inside == 0 {
			c.empty = true
			return
		}
		c.futex(&shared.inside, futexWait, inside, int64(50*time.Millisecond))
	}
}

// restrictSelf restricts the calling thread.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) restrictSelf() bool {
	if shared.noNewPrivs != 0 {
		if errno := system(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
			c.fail(stepNoNewPrivs, syscall.Errno(-errno))
			return false
		}
	}
	if errno := system(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(shared.ruleset), uintptr(shared.flags), 0, 0, 0, 0); errno != 0 {
		c.fail(stepRestrict, syscall.Errno(-errno))
		return false
	}
	return true
}

// count fills in the failure where a thread was not restricted.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) count() {
	restricted, failed, parked := load(&shared.restricted), load(&shared.failed), load(&shared.parked)
	if restricted == parked {
		return
	}
	c.fail(stepRestrict, syscall.Errno(load(&shared.errno)))
	if failed == 0 {
		c.errno = unix.ETIMEDOUT
	}
	c.restricted, c.failed = restricted+1, parked-restricted
}

// sweepTasks visits each thread that the task directory lists.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) sweepTasks(number uint32) {
	result := system(unix.SYS_LSEEK, uintptr(c.tasks), 0, 0, 0, 0, 0)
	for result == 0 {
		result = system(unix.SYS_GETDENTS64, uintptr(c.tasks), uintptr(unsafe.Pointer(&c.dirents)), unsafe.Sizeof(c.dirents), 0, 0, 0)
		if result <= 0 {
			break
		}
		c.visitAll(uintptr(result), number)
		result = 0
	}
	if result < 0 {
		c.fail(stepList, syscall.Errno(-result))
	}
}

// visitAll visits the threads in the first n bytes of dirents. They are of
// struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) visitAll(n uintptr, number uint32) {
	for at := uintptr(0); at+19 < n && n <= unsafe.Sizeof(c.dirents); {
		length := uintptr(c.dirents[at+16]) | uintptr(c.dirents[at+17])<<8
		thread := 0
		for i := at + 19; i < n && c.dirents[i] >= '0' && c.dirents[i] <= '9' && thread < maxThreadID; i++ {
			thread = thread*10 + int(c.dirents[i]-'0')
		}
		if thread > 0 { // not "." or ".."
			c.visit(thread, number)
		}
		at += max(length, 1)
	}
}

// sweepThreadIDs visits each thread that there is, by asking for every id there
// can be. It needs no /proc.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) sweepThreadIDs(number uint32) {
	for thread := 1; thread < maxThreadID && c.errno == 0; thread++ {
		errno := -system(unix.SYS_TGKILL, uintptr(c.process), uintptr(thread), 0, 0, 0, 0)
		if errno == 0 {
			c.visit(thread, number)
		} else if syscall.Errno(errno) != unix.ESRCH {
			c.fail(stepProbe, syscall.Errno(errno))
		}
	}
}

// visit looks at one thread, and signals it where it is new.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) visit(thread int, number uint32) {
	if thread == c.thread || thread >= maxThreadID {
		return
	}
	switch entry := load(&c.entries[thread]); {
	case entry == unseen:
		c.signal(thread)
	case entry == signalled:
		c.seen.pending++
	case entry == ended:
		c.seen.ended++
	case entry < number:
		c.seen.parked++
	default:
		c.seen.late++
	}
}

// signal sends our signal to one thread. rt_tgsigqueueinfo and not tgkill: the
// value tells the handler whose it is, and libc ignores one that is not by
// tgkill.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) signal(thread int) {
	store(&c.entries[thread], signalled)
	c.info.thread = uint32(thread)
	errno := syscall.Errno(-system(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(c.process), uintptr(thread), sig, uintptr(unsafe.Pointer(&c.info)), 0, 0))
	switch errno {
	case 0:
		c.seen.pending++
		return
	case unix.ESRCH, // it has ended
		unix.EAGAIN: // as many signals are queued as this user may have: the next sweep sends it
		c.seen.missed++
	default:
		c.fail(stepSignal, errno)
	}
	store(&c.entries[thread], unseen)
}

// now returns the time in nanoseconds, without the vDSO, whose code wants a
// larger stack.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) now() int64 {
	system(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&c.time)), 0, 0, 0, 0)
	return c.time.Sec*1e9 + c.time.Nsec
}

const (
	futexWait = 128 + iota // FUTEX_WAIT_PRIVATE
	futexWake              // FUTEX_WAKE_PRIVATE
)

// futex waits for at most the given nanoseconds, or wakes up to value threads.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) futex(addr *uint32, op uintptr, value uint32, timeout int64) syscall.Errno {
	c.time.Sec, c.time.Nsec = timeout/1e9, timeout%1e9
	return syscall.Errno(-system(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), op, uintptr(value), uintptr(unsafe.Pointer(&c.time)), 0, 0))
}

//go:nosplit
//go:norace
//go:noinline
func sigprocmask(set, old *uint64) {
	const setMask = 2
	system(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
