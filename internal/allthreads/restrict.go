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

const idMask = maxThreadID - 1

// patience bounds how long the threads are held while the last ones are waited
// for, in milliseconds. Between two tries all run for a tenth of that, so that
// one that another waits for in the kernel (a FUSE server, say) gets on.
var patience = []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 3200}

var (
	calls      sync.Mutex // one call at a time
	generation uint32     // of the last try, of all calls
	stuck      *call      // a thread has not left the handler, and uses what is this call's
	unanswered bool       // a signal may be pending still, which would kill without a handler
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
	if stuck != nil {
		if load(&shared.inside) > 0 {
			return &Error{Op: "hold all threads", Errno: unix.EDEADLK}
		}
		stuck.release()
		stuck = nil
	}
	// A copy, since a thread that never answers leaves it in use.
	fd, err := unix.FcntlInt(uintptr(ruleset), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &Error{Op: "fcntl", Errno: err.(syscall.Errno)}
	}
	c := &call{process: unix.Getpid(), ruleset: fd}
	if c.restrict(flags, noNewPrivs); stuck == nil {
		c.release()
	}
	if c.errno == 0 {
		return nil
	}
	failure := &Error{Op: steps[c.step], Errno: c.errno, Restricted: int(c.restricted), Failed: int(c.failed)}
	if c.step == stepFiles {
		failure.Thread = c.apart
	}
	return failure
}

// restrict is Restrict. What failed is kept in c.
func (c *call) restrict(flags uint32, noNewPrivs bool) {
	if errno := tasks.open(); errno != 0 {
		c.fail(stepOpen, errno)
		return
	}
	c.tasks, c.listed, c.own = tasks.fd, tasks.listed, tasks.own
	c.asksFiles = kcmpWorks()
	if errno := installHandler(); errno != 0 {
		c.fail(stepHandler, errno)
		return
	}
	for _, bound := range patience {
		bound *= time.Millisecond
		if err := c.prepare(flags, noNewPrivs); err != nil {
			c.fail(stepMap, err.(syscall.Errno))
			break
		}
		ignoreAtomics()
		c.attempt(int64(bound))
		heedAtomics()
		unanswered = !c.held && (unanswered || c.sent)
		if !c.empty {
			stuck = c
			break
		}
		c.unmap()
		if c.held || c.errno != unix.ETIMEDOUT && c.errno != unix.EAGAIN {
			break
		}
		pause := unix.NsecToTimespec(int64(bound / 10))
		unix.Nanosleep(&pause, nil) // time.Sleep may open descriptors for the runtime
	}
	if !unanswered {
		removeHandler()
	}
}

// kcmpWorks reports whether the kernel answers kcmp, and not a filter: to a type
// that there is none of, with an error that others have no reason for.
func kcmpWorks() bool {
	const none = 99
	thread := uintptr(unix.Gettid())
	_, _, errno := unix.RawSyscall6(unix.SYS_KCMP, thread, thread, none, 0, 0, 0)
	return errno == unix.EINVAL
}

// call is one call of Restrict. All that it needs while the threads are held is
// allocated before.
type call struct {
	process int
	thread  int // the calling thread
	ruleset int // a descriptor of its own

	tasks       int  // the task directory, or -1
	own, listed bool // as in taskList
	asksFiles   bool // the kernel tells which threads share their descriptors

	memory []byte // of entries
	// entries has the entry of each thread id.
	entries *[maxThreadID]uint32
	info    siginfo
	dirents [32 << 10]byte
	text    [512]byte     // the start of a stat file
	path    [16]byte      // of it, and a NUL at the end
	time    unix.Timespec // of futex and clock_gettime
	stat    unix.Stat_t   // of the task directory

	seen    sweep
	sent    bool // a signal
	queued  bool // as many are under way as this user may have, or were
	stalled bool // after the last sweep nobody parked for a while
	held    bool // every other thread was parked
	apart   int  // a parked thread that has descriptors of its own, or 0
	empty   bool // no thread is in the handler any more

	// Without a list, where threads are looked for.
	lowest, highest int  // the ids near those that are known
	everywhere      bool // not only there
	clean           int  // the sweeps over all ids that found nobody new

	// What failed. A number and not an Error: to store a string is a write
	// barrier, and that calls the Go runtime.
	step               step
	errno              syscall.Errno
	restricted, failed uint32
}

// nearby is how far from the known thread ids new ones are looked for first.
const nearby = 1000

// statFile is what follows the thread id in path.
const statFile = "/stat\x00"

// step is where a call fails.
type step uint32

const (
	stepHold step = iota
	stepNoNewPrivs
	stepRestrict
	stepList
	stepProbe
	stepSignal
	stepQueue
	stepOpen
	stepHandler
	stepMap
	stepMask
	stepClock
	stepCount
	stepPoller
	stepFiles
)

var steps = [...]string{"hold all threads", "prctl", "landlock_restrict_self", "list /proc/self/task", "tgkill", "rt_tgsigqueueinfo",
	"rt_tgsigqueueinfo, within RLIMIT_SIGPENDING", "open /proc/self/task", "rt_sigaction", "mmap of 16 MiB, within RLIMIT_AS",
	"rt_sigprocmask", "clock_gettime", "fstat",
	"an io_uring with IORING_SETUP_SQPOLL has a thread that no restriction reaches: make such a ring afterwards, or without that flag",
	"it has descriptors of its own (CLONE_FILES), and the ruleset's is not among them: start it afterwards, or have it share them"}

// sweep counts what one pass over all threads found.
type sweep struct {
	parked  uint32 // held since before this sweep began
	late    uint32 // held since
	pending uint32 // have the signal, and have not answered
	silent  uint32 // never answer, and need no restriction
	missed  uint32 // have gone, or could not be sent the signal yet
}

// siginfo is the kernel's siginfo_t with the members for SI_QUEUE.
type siginfo struct {
	signo, errno, code, _ int32
	pid, uid              int32
	thread, generation    uint32 // si_value, which the handler looks at
	_                     [96]byte
}

// prepare sets up the board for a new try.
func (c *call) prepare(flags uint32, noNewPrivs bool) error {
	// Untouched pages cost nothing, so the table can be indexed by thread id.
	memory, err := unix.Mmap(-1, 0, maxThreadID*4, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	c.memory = memory
	c.entries = (*[maxThreadID]uint32)(unsafe.Pointer(&memory[0]))
	c.thread = unix.Gettid()
	c.errno, c.failed, c.sent, c.queued, c.stalled, c.held, c.empty = 0, 0, false, false, false, false, false
	c.lowest, c.highest = max(min(c.process, c.thread)-nearby, 1), max(c.process, c.thread)+nearby
	c.everywhere, c.clean, c.apart = false, 0, 0
	copy(c.path[len(c.path)-len(statFile):], statFile)
	if generation++; generation == 0 {
		generation = 1
	}
	c.info = siginfo{signo: sig, code: -1, pid: int32(c.process), uid: int32(unix.Getuid()), generation: generation} // SI_QUEUE
	shared.order, shared.parked, shared.wakeAt, shared.sweep = orderWait, 0, 0, firstSweep
	shared.restricted, shared.failed, shared.errno = 0, 0, 0
	shared.ruleset, shared.flags, shared.noNewPrivs = uint32(c.ruleset), flags, 0
	if noNewPrivs {
		shared.noNewPrivs = 1
	}
	shared.threads = uintptr(unsafe.Pointer(c.entries))
	store(&shared.generation, generation)
	return nil
}

// unmap gives back the memory of a try.
func (c *call) unmap() {
	if c.memory != nil {
		unix.Munmap(c.memory)
		c.memory, c.entries = nil, nil
	}
}

// release gives back all that c has. No thread uses it any more.
func (c *call) release() {
	c.unmap()
	unix.Close(c.ruleset)
}
