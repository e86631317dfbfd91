//go:build linux && (amd64 || arm64)

package allthreads

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// In this file nothing may call the Go runtime, not even to grow the stack or to
// be preempted: the threads that are held may have its locks. So every function
// but the first is nosplit, none allocates or stores a pointer, and all signals
// are blocked. An index is masked rather than checked, since the failing check is
// a call too. None calls the race detector either. They are not inlined, and
// make few system calls each: large frames, one after another, leave a binary
// for a debugger too little of the stack.

// attempt holds all other threads, restricts this one and then the others.
// Where one does not answer in time, all go on as they were.
//
// With its signals blocked this goroutine stays on its thread, since nothing can
// preempt it: so it need not be locked to it, for which the Go runtime might have to
// start one.
//
//go:norace
//go:noinline
func (c *call) attempt(bound int64) {
	all, old := ^uint64(0), uint64(0)
	c.fail(stepMask, sigprocmask(&all, &old))
	store(&shared.generation, c.info.generation)
	c.thread = system(unix.SYS_GETTID, 0, 0, 0, 0, 0, 0)
	c.lowest, c.highest = max(min(c.process, c.thread)-nearby, 1), max(c.process, c.thread)+nearby
	order := uint32(orderLeave)
	if deadline := c.now() + bound; c.errno == 0 {
		c.hold(deadline)
	}
	if c.held && c.areOurs() {
		order = c.restrictSelf()
	}
	store(&shared.generation, 0)
	store(&shared.order, order)
	c.futex(&shared.order, futexWake, 1<<30, 0)
	c.awaitEmpty()
	switch order {
	case orderRestrict:
		c.count()
	case orderNoNewPrivs:
		c.failed = load(&shared.failed)
	}
	sigprocmask(&old, nil)
}

// hold returns when every other thread is parked, which then neither ends nor starts
// another.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) hold(deadline int64) {
	slice := int64(time.Millisecond)
	if c.signalNearby() && (c.seen.pending == 0 || c.awaitParked(0, slice)) && c.allHeld() {
		c.held = true
		return
	}
	for number := uint32(firstSweep); ; number++ {
		before := load(&shared.parked)
		store(&shared.sweep, number)
		c.seen = sweep{}
		if c.listed {
			c.sweepTasks(number)
		} else {
			deadline += c.sweepThreadIDs(number)
		}
		if c.errno == 0 && (c.allHeld() || c.complete()) {
			c.held = true
			return
		}
		if c.errno != 0 {
			c.awaitAnswers()
			return
		}
		if c.now() > deadline {
			c.giveUp()
			return
		}
		if c.seen.pending+c.seen.missed > 0 {
			c.stalled = !c.awaitParked(before, slice)
			switch {
			case !c.stalled && c.allHeld():
				c.held = true
				return
			case c.stalled && !tasks.asked && slice > int64(4*time.Millisecond):
				c.fail(stepAsk, unix.EAGAIN) // which takes the Go runtime
				return
			case c.stalled && slice < int64(50*time.Millisecond):
				slice *= 2
			}
		}
	}
}

// signalNearby sends the signal to those whose ids follow the process's, and reports
// whether that were all, as mostly where the program has just begun: so they need not
// be listed, which takes as long as to signal some.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) signalNearby() bool {
	const few = 8
	c.seen = sweep{}
	for thread := c.process; thread <= c.process+few; thread++ {
		c.visit(thread, firstSweep)
	}
	return c.errno == 0 && tasks.fd >= 0 && c.threads() == 1+c.seen.pending
}

// awaitAnswers waits a little for those that have been sent a signal, so that none is
// left pending.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) awaitAnswers() {
	if c.sent > 0 {
		c.awaitParked(c.sent-1, int64(50*time.Millisecond))
	}
}

// giveUp fails since the time is over, and says for what.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) giveUp() {
	c.fail(stepHold, unix.ETIMEDOUT)
	if c.queued && c.seen.missed > 0 {
		c.fail(stepQueue, unix.EAGAIN)
	}
	c.failed = c.seen.pending + c.seen.missed
}

// complete reports, where threads cannot be counted, whether all there are were parked
// before the sweep began: it takes two over all ids in a row that find nobody new. And it
// says where the next sweep is to look.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) complete() bool {
	everywhere := c.everywhere
	c.everywhere = false
	if c.seen.late+c.seen.pending+c.seen.missed > 0 {
		c.clean = 0
		return false
	}
	if everywhere {
		c.clean++
	}
	c.everywhere = !c.listed
	return tasks.fd < 0 && c.clean == enough
}

// allHeld reports whether every thread but this one is parked now, or never answers and
// needs no restriction, however they were found.
//
// Those that never answer are found before the threads are counted, and again afterwards.
// The second time shows that they were there to be counted; the first, that they had no
// way left to start another thread: one that is found to have ended only then might have
// done that after the count.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) allHeld() bool {
	if tasks.fd < 0 {
		return false
	}
	left := c.notParked()
	if left > 0 && c.stalled && tasks.own {
		c.silent(false)
		left = c.notParked()
		left -= c.silent(true)
	}
	return left == 0 && c.errno == 0
}

// notParked counts the other threads that are not parked. The kernel counts a thread from
// before it runs until after it has ended. Those that are parked are counted before, and
// stay.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) notParked() uint32 {
	parked := load(&shared.parked)
	return c.threads() - 1 - parked
}

// silent counts, and marks, the threads that have been sent a signal and will never
// answer; with again, only those that the last time has marked.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) silent(again bool) (count uint32) {
	for i, at := uint32(0), latest; i < found; i, at = i+1, table[at&placeMask].before {
		thread := &table[at&placeMask]
		if load(&thread.entry) != signalled || again && !thread.silent {
			continue
		}
		if thread.silent = c.isSilent(int(thread.id)); thread.silent {
			count++
		}
	}
	return count
}

// threads returns how many threads this process has, by the task directory's link
// count. Where that cannot be had, or another thread has put something else under the
// directory's descriptor meanwhile, c fails.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) threads() uint32 {
	if errno := system(unix.SYS_FSTAT, uintptr(tasks.fd), uintptr(unsafe.Pointer(&c.stat)), 0, 0, 0, 0); errno != 0 {
		c.fail(stepCount, syscall.Errno(-errno))
		return 0
	}
	if c.stat.Dev != tasks.stat.Dev || c.stat.Ino != tasks.stat.Ino {
		c.fail(stepCount, unix.EBADF)
		return 0
	}
	const dots = 2 // a directory's own links
	return uint32(c.stat.Nlink) - dots
}

// enough is the number of clean sweeps over all thread ids that show that there
// are no more.
const enough = 2

// fail keeps what failed; 0 is nothing.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) fail(at step, errno syscall.Errno) { c.step, c.errno = at, errno }

// watching is for how many nanoseconds the caller watches before it sleeps: to be
// woken takes longer than most threads need to answer. It does not yield: where there
// is more to do than processors, that would cost it a turn of everybody else.
const watching = int64(50 * time.Microsecond)

// awaitParked waits until as many threads are parked as the last sweep makes
// expect, and one more than before it, or until no more come for a while: those have
// ended, or take no signals.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) awaitParked(before uint32, slice int64) bool {
	expected := max(c.seen.parked+c.seen.late+max(c.seen.pending, 1), before+1)
	store(&shared.wakeAt, expected)
	for until := c.now() + watching; ; {
		parked := load(&shared.parked)
		if parked >= expected {
			return true
		}
		if c.now() < until {
			continue
		}
		if errno := c.futex(&shared.parked, futexWait, parked, slice); errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			return false // ETIMEDOUT, or what leads there
		}
	}
}

// awaitEmpty waits until no thread is in the handler, or until none has left it for ten
// seconds. It sleeps first, since what the threads have to do there this processor can do
// as well as another, and watches for the last one. While the process is stopped it has
// not waited, whatever the clock says.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) awaitEmpty() {
	const enough, slice = int64(10 * time.Second), int64(50 * time.Millisecond)
	fewest, waited, before, until := ^uint32(0), int64(0), c.now(), int64(0)
	for waited < enough {
		inside, now := load(&shared.inside), c.now()
		waited += min(now-before, 2*slice)
		before = now
		if inside < fewest {
			fewest, waited = inside, 0
		}
		switch {
		case inside == 0:
			c.empty = true
			return
		case inside == 1 && until == 0:
			until = now + watching
		case inside == 1 && now < until:
		default:
			c.futex(&shared.inside, futexWait, inside, slice)
		}
	}
}

// restrictSelf restricts the calling thread, and returns the order for the others.
// Where the kernel refuses the ruleset, all of them are left with no_new_privs: that
// cannot be taken back, and which thread is the caller's is chance.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) restrictSelf() (order uint32) {
	order = orderLeave
	if shared.noNewPrivs != 0 {
		if errno := system(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
			c.fail(stepNoNewPrivs, syscall.Errno(-errno))
			return order
		}
		order = orderNoNewPrivs
	}
	if errno := system(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(shared.ruleset), uintptr(shared.flags), 0, 0, 0, 0); errno != 0 {
		c.fail(stepRestrict, syscall.Errno(-errno))
		return order
	}
	return orderRestrict
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

// sweepTasks visits each thread that the task directory lists. It gives
// structs linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) sweepTasks(number uint32) {
	const mask = uint(len(dirents) - 1)
	for n := c.list(true); n > 0; n = c.list(false) {
		for at := uint(0); at < n; {
			thread := 0
			for i := at + 19; dirents[i&mask] >= '0' && dirents[i&mask] <= '9' && thread < maxThreadID; i++ {
				thread = thread*10 + int(dirents[i&mask]-'0')
			}
			if thread > 0 { // not "." or ".."
				c.visit(thread, number)
			}
			at += max(uint(dirents[(at+16)&mask])|uint(dirents[(at+17)&mask])<<8, 1)
		}
	}
}

// dirents is for the list of threads.
var dirents [32 << 10]byte

// list reads the first or the next entries of the task directory, and returns
// how many bytes they are.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) list(first bool) uint {
	n := 0
	if first {
		n = system(unix.SYS_LSEEK, uintptr(tasks.fd), 0, 0, 0, 0, 0)
	}
	if n == 0 {
		n = system(unix.SYS_GETDENTS64, uintptr(tasks.fd), uintptr(unsafe.Pointer(&dirents)), uintptr(len(dirents)), 0, 0, 0)
	}
	if n < 0 {
		c.fail(stepList, syscall.Errno(-n))
		return 0
	}
	return uint(n)
}

// sweepThreadIDs visits each thread that there is, by asking for every id that
// it can have, and needs no list. Those are the ids near the known ones first,
// until none is left that was not parked, and then all. It returns by how much
// the deadline moves: by the time that all took, unless enough sweeps were clean.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) sweepThreadIDs(number uint32) int64 {
	began, thread := c.now(), c.lowest
	if c.everywhere {
		thread = 1
	}
	for c.errno == 0 && thread < maxThreadID && (c.everywhere || thread <= c.highest) {
		if c.exists(thread) {
			c.lowest, c.highest = min(c.lowest, thread), max(c.highest, thread+nearby)
			c.visit(thread, number)
		}
		thread++
	}
	if !c.everywhere || c.clean > enough {
		return 0
	}
	return c.now() - began
}

// exists reports whether this process has a thread of that id.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) exists(thread int) bool {
	errno := syscall.Errno(-system(unix.SYS_TGKILL, uintptr(c.process), uintptr(thread), 0, 0, 0, 0))
	if errno != 0 && errno != unix.ESRCH {
		c.fail(stepProbe, errno)
	}
	return errno == 0
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
	at := place(thread)
	if table[at&placeMask].id == 0 && !c.add(thread, at) {
		return
	}
	switch entry := load(&table[at&placeMask].entry); {
	case entry == unseen:
		c.signal(thread, at)
	case entry == signalled:
		c.seen.pending++
	case entry < number:
		c.seen.parked++
	default:
		c.seen.late++
	}
}

const placeMask = uint32(len(table) - 1)

// place returns where in the table a thread is, or is to be.
//
//go:nosplit
//go:norace
//go:noinline
func place(thread int) uint32 {
	at := uint32(thread) & placeMask
	for id := table[at&placeMask].id; id != 0 && id != uint32(thread); id = table[at&placeMask].id {
		at = (at + 1) & placeMask
	}
	return at
}

// add puts a thread that was not seen before at its place.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) add(thread int, at uint32) bool {
	if found == mostThreads {
		c.fail(stepMany, unix.ENOBUFS)
		return false
	}
	table[at&placeMask].id, table[at&placeMask].before = uint32(thread), latest
	found, latest = found+1, at
	return true
}

// areOurs fails where a thread has descriptors of its own: the ruleset's number may be
// another ruleset there. Where kcmp is not built in, or a filter refuses it, the thread
// is taken for one like the others. It fails too where more have parked than this process
// has been found to have: a process that shares its memory runs the handler as well.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) areOurs() bool {
	const files = 2 // KCMP_FILES
	ours := uint32(0)
	for i, at := uint32(0), latest; i < found; i, at = i+1, table[at&placeMask].before {
		if load(&table[at&placeMask].entry) < firstSweep {
			continue
		}
		ours++
		if system(unix.SYS_KCMP, uintptr(c.thread), uintptr(table[at&placeMask].id), files, 0, 0, 0) > 0 {
			c.apart = int(table[at&placeMask].id)
			c.fail(stepFiles, unix.EBADF)
			return false
		}
	}
	if ours != load(&shared.parked) {
		c.fail(stepOthers, unix.EAGAIN)
		return false
	}
	return true
}

// signal sends our signal to one thread. rt_tgsigqueueinfo and not tgkill: the
// value tells the handler whose it is, and libc ignores one that is not by
// tgkill.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) signal(thread int, at uint32) {
	store(&table[at&placeMask].entry, signalled)
	c.info.place = at
	errno := syscall.Errno(-system(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(c.process), uintptr(thread), sig, uintptr(unsafe.Pointer(&c.info)), 0, 0))
	switch errno {
	case 0:
		c.sent++
		c.seen.pending++
		return
	case unix.ESRCH: // it has ended
		c.seen.missed++
	case unix.EAGAIN: // as many signals are queued as this user may have: the next sweep sends it
		c.queued = true
		c.seen.missed++
	default:
		c.fail(stepSignal, errno)
	}
	store(&table[at&placeMask].entry, unseen)
}

// isSilent reports whether a thread that has not answered never will, and needs
// no restriction: it has ended and is only listed still, as a main thread is
// until the process ends, or it is a worker of io_uring, which does each request
// with the credentials of the thread that submitted it. It is asked each time, since
// the id may be another thread's by then.
//
// A thread that polls an io_uring for submissions uses those of the ring's
// making, and there is no way to change them. Where one is found, c fails.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) isSilent(thread int) bool {
	const mask = uint(len(c.text) - 1)
	n := c.readStat(thread)
	// PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS ...: the name may
	// hold anything.
	name, end := uint(0), uint(0)
	for i := uint(0); i < n; i++ {
		switch {
		case c.text[i&mask] == '(' && name == 0:
			name = i + 1
		case c.text[i&mask] == ')':
			end = i
		}
	}
	spaces, flags := 0, 0
	for i := end; i < n && spaces <= 7; i++ {
		if b := c.text[i&mask]; b == ' ' {
			spaces++
		} else if spaces == 7 {
			flags = flags*10 + int(b-'0')
		}
	}
	if state := c.text[(end+2)&mask]; end > 0 && (state == 'Z' || state == 'X') {
		return true
	}
	const ofUring = 0x10 // PF_IO_WORKER
	if flags&ofUring == 0 {
		return false
	}
	// A thread that is only being made has no name of its own yet.
	var kind uint32 // the name's "wrk-" or "sqp-"
	for i := name + 4; i < name+8; i++ {
		kind = kind<<8 | uint32(c.text[i&mask])
	}
	if kind == 's'<<24|'q'<<16|'p'<<8|'-' {
		c.fail(stepPoller, unix.EBUSY)
	}
	return kind == 'w'<<24|'r'<<16|'k'<<8|'-'
}

// readStat fills text with a thread's stat file, and returns how much there is.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) readStat(thread int) uint {
	const mask = uint(len(c.path) - 1)
	at := uint(len(c.path) - len(statFile))
	for ; thread > 0; thread /= 10 {
		at--
		c.path[at&mask] = '0' + byte(thread%10)
	}
	fd := system(unix.SYS_OPENAT, uintptr(tasks.fd), uintptr(unsafe.Pointer(&c.path[at&mask])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if fd < 0 {
		return 0 // it has ended, or this may not be read
	}
	n := system(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&c.text)), uintptr(len(c.text)), 0, 0, 0)
	system(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0)
	return uint(max(n, 0))
}

// now returns the time in nanoseconds, without the vDSO, whose code wants a
// larger stack.
//
//go:nosplit
//go:norace
//go:noinline
func (c *call) now() int64 {
	if errno := system(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&c.time)), 0, 0, 0, 0); errno != 0 {
		c.fail(stepClock, syscall.Errno(-errno))
	}
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
func sigprocmask(set, old *uint64) syscall.Errno {
	const setMask = 2
	return syscall.Errno(-system(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0))
}
