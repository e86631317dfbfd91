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

// patience bounds how long the threads are held while the last ones are waited
// for, in milliseconds. Between two tries all run for a tenth of that, so that
// one that another waits for in the kernel (a FUSE server, say) gets on.
var patience = []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 3200}

var (
	calls      sync.Mutex // one call at a time
	current    call
	stuck      bool // a thread has not left the handler, and uses what is current's
	unanswered bool // a signal may be pending still, which would kill without a handler
	tasks      = taskList{fd: -1}
)

// Restrict makes every thread of this process, this one first, set no_new_privs
// where that is asked for, and enforce the ruleset.
//
// Every other thread is held in a signal handler before the first is
// restricted, and goes on once it is restricted. The error is an *Error.
func Restrict(ruleset int, flags uint32, noNewPrivs bool) error {
	calls.Lock()
	defer calls.Unlock()
	c := &current
	if stuck {
		if load(&shared.inside) > 0 {
			return &Error{Op: "hold all threads", Errno: unix.EDEADLK}
		}
		c.release()
		stuck = false
	}
	// A copy, since a thread that never answers leaves it in use.
	fd, err := unix.FcntlInt(uintptr(ruleset), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &Error{Op: "fcntl", Errno: err.(syscall.Errno)}
	}
	*c = call{process: unix.Getpid(), ruleset: fd}
	if c.restrict(flags, noNewPrivs); !stuck {
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
	for i, bound := range patience {
		bound *= time.Millisecond
		// The list may be another namespace's where that cannot be told.
		c.listed = tasks.listed && (tasks.own || i < 3)
		again := c.try(bound, flags, noNewPrivs)
		if again && c.step == stepAsk {
			if errno := tasks.ask(); errno != 0 {
				c.fail(stepOpen, errno)
				break
			}
			c.listed = tasks.listed
			again = c.try(bound, flags, noNewPrivs)
		}
		if !again {
			break
		}
		pause := unix.NsecToTimespec(int64(bound / 10))
		unix.Nanosleep(&pause, nil) // time.Sleep may open descriptors for the runtime
	}
	if !unanswered {
		removeHandler()
	}
}

// try makes one attempt, and reports whether another may go better.
func (c *call) try(bound time.Duration, flags uint32, noNewPrivs bool) (again bool) {
	switch errno := installHandler(); errno {
	case 0:
	case unix.EBUSY:
		c.fail(stepOnTop, errno)
		return true
	default:
		c.fail(stepHandler, errno)
		return false
	}
	if errno := c.prepare(flags, noNewPrivs); errno != 0 {
		c.fail(stepRandom, errno)
		return false
	}
	ignoreAtomics()
	c.attempt(int64(bound))
	heedAtomics()
	unanswered = !c.held && (unanswered || c.sent > load(&shared.parked))
	stuck = !c.empty
	return c.empty && !c.held && (c.errno == unix.ETIMEDOUT || c.errno == unix.EAGAIN)
}

// call is one call of Restrict. All that it needs while the threads are held is
// allocated before.
type call struct {
	process int
	thread  int // the calling thread
	ruleset int // a descriptor of its own

	listed bool // as tasks.listed, for this try
	info   siginfo
	text   [512]byte     // the start of a stat file
	path   [16]byte      // of it, and a NUL at the end
	time   unix.Timespec // of futex and clock_gettime
	stat   unix.Stat_t   // of the task directory

	seen    sweep
	sent    uint32 // signals
	queued  bool   // as many are under way as this user may have, or were
	stalled bool   // after the last sweep nobody parked for a while
	held    bool   // every other thread was parked
	apart   int    // a parked thread that has descriptors of its own, or 0
	empty   bool   // no thread is in the handler any more

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
	stepOnTop
	stepAsk
	stepMany
	stepMask
	stepClock
	stepCount
	stepPoller
	stepFiles
	stepRandom
	stepOthers
)

var steps = [...]string{"hold all threads", "prctl", "landlock_restrict_self", "list /proc/self/task", "tgkill", "rt_tgsigqueueinfo",
	"rt_tgsigqueueinfo, within RLIMIT_SIGPENDING", "open /proc/self/task", "rt_sigaction",
	"rt_sigaction: another handler of signal 33 is on top of this package's", "ask whose /proc/self/task is", "more than 32768 thread ids",
	"rt_sigprocmask", "clock_gettime", "fstat of /proc/self/task",
	"an io_uring with IORING_SETUP_SQPOLL has a thread that no restriction reaches: make such a ring afterwards, or without that flag",
	"it has descriptors of its own (CLONE_FILES), and the ruleset's is not among them: start it afterwards, or have it share them",
	"getrandom", "a process that shares this one's memory is held as well"}

// sweep counts what one pass over all threads found.
type sweep struct {
	parked  uint32 // held since before this sweep began
	late    uint32 // held since
	pending uint32 // have the signal, and have not answered
	missed  uint32 // have gone, or could not be sent the signal yet
}

// siginfo is the kernel's siginfo_t with the members for SI_QUEUE.
type siginfo struct {
	signo, errno, code, _ int32
	pid, uid              int32
	place, generation     uint32 // si_value, which the handler looks at; the thread by its place in the table
	_                     [96]byte
}

// prepare sets up the board for a new try.
func (c *call) prepare(flags uint32, noNewPrivs bool) syscall.Errno {
	forget()
	c.errno, c.failed, c.sent, c.queued, c.stalled, c.held, c.empty = 0, 0, 0, false, false, false, false
	c.everywhere, c.clean, c.apart = false, 0, 0
	copy(c.path[len(c.path)-len(statFile):], statFile)
	// Whoever may send this process signals must not know it. Not by unix.Getrandom: that
	// has the Go runtime map memory for it. GRND_INSECURE does not wait where the machine
	// has just started.
	var generation uint32
	if _, _, errno := syscall.RawSyscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&generation)), unsafe.Sizeof(generation), unix.GRND_INSECURE); errno != 0 {
		return errno
	}
	c.info.signo, c.info.code, c.info.generation = sig, -1, generation|1 // SI_QUEUE
	c.info.pid, c.info.uid = int32(c.process), int32(unix.Getuid())
	shared.order, shared.parked, shared.wakeAt, shared.sweep = orderWait, 0, 0, firstSweep
	shared.restricted, shared.failed, shared.errno = 0, 0, 0
	shared.ruleset, shared.flags, shared.noNewPrivs = uint32(c.ruleset), flags, 0
	if noNewPrivs {
		shared.noNewPrivs = 1
	}
	return 0
}

// forget forgets the threads of the try before.
func forget() {
	for ; found > 0; found-- {
		thread := &table[latest]
		latest, thread.id, thread.entry, thread.silent = thread.before, 0, unseen, false
	}
	// That the page is written before it is read spares a second fault.
	table[uint32(unix.Getpid())&placeMask].entry = unseen
}

// release gives back what c has. No thread uses it any more.
func (c *call) release() { unix.Close(c.ruleset) }
