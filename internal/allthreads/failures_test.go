//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads"
)

// Whatever fails, nothing is left behind, and the next call works.

// failing runs f, which has Restrict fail before it restricts anything, and checks
// that it leaves no handler and no descriptor.
func (c *child) failing(what string, f func()) {
	handler, before := c.handler(), openFiles()
	f()
	if got := c.handler(); got != handler {
		c.fatalf("%s: the signal's action is %x, want the former one, %x", what, got, handler)
	}
	for fd := range openFiles() {
		link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		if !before[fd] && !strings.HasSuffix(link, "/task") { // which is kept
			c.fatalf("%s: descriptor %d is left open: %s", what, fd, link)
		}
	}
	c.wantFree()
}

// succeeding checks that what failed does not any more.
func (c *child) succeeding() {
	handler := c.handler()
	c.mustRestrict(c.ruleset)
	if got := c.handler(); got != handler {
		c.fatalf("the signal's action is %x, want the former one, %x", got, handler)
	}
	c.wantDenied()
}

// handler returns the action of the signal.
func (c *child) handler() (action [4]uint64) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, 33, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	if errno != 0 {
		c.fatalf("rt_sigaction: %v, want the action", errno)
	}
	return action
}

func (c *child) setHandler(action [4]uint64) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, 33, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		c.fatalf("rt_sigaction: %v, want the action set", errno)
	}
}

func openFiles() map[int]bool {
	open := map[int]bool{}
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}

// limited runs f with a soft limit, on a thread that it keeps: a new one may take
// what is limited.
func (c *child) limited(resource int, limit uint64, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Rlimit
	c.must("getrlimit", unix.Getrlimit(resource, &old))
	c.must("setrlimit", unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: old.Max}))
	f()
	c.must("setrlimit", unix.Setrlimit(resource, &old))
}

// spareThreads has the Go runtime have some: one that is made when addresses are
// short may not get its stack.
func spareThreads(count int) {
	var spare sync.WaitGroup
	spare.Add(count)
	for range count {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			spare.Done()
			spare.Wait()
		}()
	}
	spare.Wait()
}

// mustFailHere is mustFail on this thread.
func (c *child) mustFailHere(errno syscall.Errno) {
	err := allthreads.Restrict(c.ruleset, 0, false)
	failure, ok := errors.AsType[*allthreads.Error](err)
	if !ok || failure.Restricted != 0 || !errors.Is(err, errno) {
		c.fatalf("Restrict: %#v, want an Error with %v and no thread restricted", err, errno)
	}
	fmt.Println(err)
}

// noAddressSpace has the process take no more addresses than it has.
func noAddressSpace(c *child) {
	c.startSleepers()
	// The Go runtime ends a program that it has no memory for: it has some, and
	// threads, before there is no more.
	spareThreads(10)
	runtime.KeepAlive(make([]byte, 16<<20))
	runtime.GC()
	debug.SetGCPercent(-1)
	var pages uint64
	text, _ := os.ReadFile("/proc/self/statm")
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		c.skip("needs /proc")
	}
	c.limited(unix.RLIMIT_AS, pages*uint64(os.Getpagesize()), func() { c.must("Restrict", restrict(c.ruleset)) })
	c.room--
	c.wantDenied()
}

func noDescriptors(c *child) {
	c.startSleepers()
	c.handler() // and all else that the Go runtime may open for it
	os.ReadFile("/proc/self/stat")
	for room := range 2 { // for the ruleset and the list
		c.failing("no descriptors", func() { c.withRoom(room, func() { c.mustFailHere(unix.EMFILE) }) })
	}
	c.succeeding()
	if !allthreads.Listed() {
		c.fatalf("the list of threads is taken for another namespace's")
	}
}

// noDescriptorToAsk has a thread that gives no answer, and no descriptor to find out why.
func noDescriptorToAsk(c *child) {
	c.startSleepers()
	c.endMain()
	c.withRoom(2, func() { c.mustFailHere(unix.EMFILE) })
	c.wantFree()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// withRoom runs f with no more than so many descriptors left.
func (c *child) withRoom(room int, f func()) {
	open, limit := openFiles(), 0
	for ; open[limit] || room > 0; limit++ {
		if !open[limit] {
			room--
		}
	}
	c.limited(unix.RLIMIT_NOFILE, uint64(limit), f)
}

func noPendingSignals(c *child) {
	c.startSleepers()
	full := allthreads.SetPatience(10, 10)
	c.failing("no pending signals", func() {
		c.limited(unix.RLIMIT_SIGPENDING, 0, func() { c.mustFailHere(unix.EAGAIN) })
	})
	full()
	c.succeeding()
}

// refusedCalls has a filter refuse what Restrict calls, on the calling thread.
func refusedCalls(c *child) {
	c.startSleepers()
	c.failing("none", func() { c.mustFail(-1, unix.EBADF) })
	restrictOnce := func(number int) {
		onOwnThread(func() {
			c.must("prctl", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			if err := refuse(number); err != nil {
				c.skip(err.Error())
			}
			start := time.Now()
			err := allthreads.Restrict(c.ruleset, 0, true)
			failure, ok := errors.AsType[*allthreads.Error](err)
			if !ok || failure.Restricted != 0 || !errors.Is(err, unix.EPERM) {
				c.fatalf("call %d refused: Restrict: %#v, want an Error with EPERM and no thread restricted", number, err)
			}
			c.noteRefusal(failure)
			fmt.Println(err, time.Since(start))
		})
	}
	for what, number := range map[string]int{
		"fcntl":                  unix.SYS_FCNTL,
		"rt_sigaction":           unix.SYS_RT_SIGACTION,
		"lseek":                  unix.SYS_LSEEK,
		"getdents64":             unix.SYS_GETDENTS64,
		"rt_tgsigqueueinfo":      unix.SYS_RT_TGSIGQUEUEINFO,
		"prctl":                  unix.SYS_PRCTL,
		"landlock_restrict_self": unix.SYS_LANDLOCK_RESTRICT_SELF,
	} {
		for range 2 {
			c.failing(what, func() { restrictOnce(number) })
		}
	}
	c.succeeding()
}

// stuckInHandler has a thread that a debugger stops there, as far as Restrict can
// tell. When it has left, all is well again.
func stuckInHandler(c *child) {
	c.startSleepers()
	file, err := os.Open(c.witness)
	c.must("os.Open", err)
	c.failing("stuck", func() {
		leave := allthreads.Enter()
		c.mustFail(int(file.Fd()), unix.EBADFD)
		c.mustFail(c.ruleset, unix.EDEADLK)
		leave()
		c.mustFail(int(file.Fd()), unix.EBADFD)
	})
	c.failing("slow to leave", func() {
		runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // Restrict keeps one
		first, second := allthreads.Enter(), allthreads.Enter()
		go func() {
			for _, leave := range []func(){first, second} { // together they take longer than one may
				time.Sleep(6 * time.Second)
				leave()
			}
		}()
		c.mustFail(int(file.Fd()), unix.EBADFD)
		c.mustFail(int(file.Fd()), unix.EBADFD)
	})
	file.Close()
	c.succeeding()
}

// forgedSignals has another process send this one the signal, with values as ours have
// them, all the time.
func forgedSignals(c *child) {
	c.startSleepers()
	path, err := os.Executable()
	c.must("os.Executable", err)
	forger := exec.Command(path)
	forger.Env = append(os.Environ(), scenarioVariable+"=forge signals")
	c.must("start", forger.Start())
	for range 10 {
		c.mustRestrict(c.ruleset)
	}
	c.must("kill", forger.Process.Kill())
	forger.Wait()
	c.wantDenied()
}

func forgeSignals(*child) {
	parent := os.Getppid()
	for parent == os.Getppid() {
		for generation := uint32(1); generation < 50; generation++ {
			for _, place := range []uint32{7, 1 << 20, 0x0fffffff, 0xfffffff0} {
				info := struct {
					signo, errno, code, _ int32
					pid, uid              int32
					place, generation     uint32
					_                     [96]byte
				}{signo: 33, code: -1, place: place, generation: generation} // SI_QUEUE
				unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(parent), 33, uintptr(unsafe.Pointer(&info)))
			}
		}
	}
}

// slowThreadHiddenProc has a thread take its time once a domain hides /proc, where the
// ids of the others are far from the process's. It is waited for, and nobody asks for
// each id that there may be.
func slowThreadHiddenProc(c *child) {
	c.startSleepers()
	c.mustRestrict(c.newRuleset(hideProc))
	const setMask = 2
	mask, old := uint64(1)<<(33-1), uint64(0)
	blocked := make(chan bool)
	go func() {
		runtime.LockOSThread()
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		close(blocked)
		pause := unix.NsecToTimespec(int64(70 * time.Millisecond))
		unix.Nanosleep(&pause, nil)
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		runtime.UnlockOSThread()
	}()
	<-blocked
	c.mustRestrict(c.ruleset)
	if !allthreads.Listed() {
		c.fatalf("the list of threads is given up")
	}
	c.wantDenied()
}

// oneRefusesNoNewPrivs has a thread whose filter refuses that, and the kernel refuse the
// ruleset.
func oneRefusesNoNewPrivs(c *child) {
	ready, end := make(chan error), make(chan bool)
	go onOwnThread(func() {
		if unix.Geteuid() == 0 { // else it has no_new_privs already
			ready <- refuse(unix.SYS_PRCTL)
		} else {
			ready <- errors.New("needs root, to install the filter")
		}
		<-end
	})
	if err := <-ready; err != nil {
		c.skip(err.Error())
	}
	c.startSleepers()
	file, err := os.Open(c.witness)
	c.must("os.Open", err)
	err = restrict(int(file.Fd()))
	failure, ok := errors.AsType[*allthreads.Error](err)
	if !ok || failure.Restricted != 0 || failure.Failed != 1 || !errors.Is(err, unix.EBADFD) {
		c.fatalf("Restrict: %#v, want EBADFD, no thread restricted and one that fails", err)
	}
	c.noteRefusal(failure)
	c.wantFree()
	end <- true
}

// refuse has a filter refuse a system call of the calling thread.
func refuse(number int) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("needs seccomp: %w", errno)
	}
	return nil
}
