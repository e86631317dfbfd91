//go:build linux && (amd64 || arm64)

package allthreads

// board is what the signal handler reads and writes. The handler has no other
// state: it knows no goroutine, no stack but the one it was given, no libc.
type board struct {
	// generation is the upper half of the value that our signals carry. 0
	// means that no call is under way, and every signal is someone else's.
	generation uint32
	// order is the futex that parked threads wait on.
	order uint32
	// inside counts the threads that are in the handler.
	inside uint32
	// parked counts the threads that wait for the order. Reaching wakeAt
	// wakes the caller.
	parked uint32
	wakeAt uint32
	// sweep is the number of the sweep under way; a thread that parks
	// writes it into its entry.
	sweep uint32

	// What to do.
	ruleset    uint32
	flags      uint32
	noNewPrivs uint32

	// What came of it.
	restricted uint32
	failed     uint32
	errno      uint32 // of one of those that failed

	previous uintptr // the handler that was there before ours; 0 and 1 are none
}

var shared board

// The orders.
const (
	orderWait       = 0
	orderRestrict   = 1
	orderLeave      = 2
	orderNoNewPrivs = 3 // set it as the caller has, and leave
)

// mostThreads is how many thread ids a try can meet, those that end meanwhile included.
const mostThreads = 1 << 15

// table has the threads that a try has found, where the hash of its id puts each. It is
// no memory of the try's own: to map some, and above all to unmap it while other
// threads run, takes longer than all the rest. What belongs together lies together,
// since the first touch of each page takes as long as some system calls.
var table [2 * mostThreads]struct {
	id     uint32
	entry  uint32 // what is known of it
	before uint32 // the place of the one that was found before it
	silent bool   // it had no way left to answer when it was last looked at
}

var (
	found  uint32 // how many threads are in the table
	latest uint32 // the place of the last of them
)

// The entry of a thread: one of these, or the sweep during which it parked.
const (
	unseen     = 0
	signalled  = 1
	firstSweep = 2
)

// handlerPC returns the address of the signal handler.
func handlerPC() uintptr

// restorerPC returns the address of the code that a signal handler returns to,
// or 0 where the kernel brings its own.
func restorerPC() uintptr

// load reads *addr, and no later access happens before it. It is here since
// sync/atomic calls into the race detector in a binary built for it.
//
//go:noescape
func load(addr *uint32) uint32

// store writes *addr, and no access moves from one side of it to the other.
//
//go:noescape
func store(addr *uint32, value uint32)

// system makes a system call and returns what the kernel does: an errno is
// negative. It takes less of the stack than syscall.RawSyscall6, and there is
// little where the stack must not grow.
//
//go:noescape
func system(number, a, b, c, d, e, f uintptr) int
