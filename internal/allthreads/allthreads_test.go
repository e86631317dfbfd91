//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads"
	"example.com/landlock/internal/allthreads/cthreads"
	"example.com/landlock/internal/allthreads/uring"
)

const (
	denyWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	hideProc  = denyWrite | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_READ_FILE
)

var scenarios map[string]func(*child)

func init() { // not in the declaration, since scenarios start themselves
	scenarios = map[string]func(*child){
		"blocked system calls":           blockedSystemCalls,
		"500 threads":                    manyThreads,
		"churn":                          churn,
		"setgid during":                  setGIDDuring,
		"setgid after":                   setGIDAfter,
		"Go's own operations":            ownOperations,
		"three times, /proc hidden":      threeTimes,
		"no /proc":                       noProc,
		"/proc hidden":                   hiddenProc,
		"/proc hidden, started":          hiddenProcStarted,
		"another namespace's /proc":      foreignProc,
		"task list replaced":             taskListReplaced,
		"main thread ended":              mainThreadEnded,
		"io_uring's workers":             uringWorkers,
		"io_uring's poller":              uringPoller,
		"descriptors of its own":         ownDescriptors,
		"wait that another thread ends":  waitForAnother,
		"few pending signals":            fewPendingSignals,
		"signal blocked":                 signalBlocked,
		"signal blocked, chain":          signalBlockedChain,
		"stuck in the handler":           stuckInHandler,
		"no pending signals":             noPendingSignals,
		"no address space":               noAddressSpace,
		"no descriptors":                 noDescriptors,
		"no descriptor to ask":           noDescriptorToAsk,
		"signals that others make up":    forgedSignals,
		"forge signals":                  forgeSignals,
		"slow thread, /proc hidden":      slowThreadHiddenProc,
		"one refuses no_new_privs":       oneRefusesNoNewPrivs,
		"system calls refused":           refusedCalls,
		"caller fails, bad ruleset":      badRuleset,
		"caller fails, too many layers":  tooManyLayers,
		"another fails, too many layers": laterThreadFails,
		"everything at once":             everythingAtOnce,
		"concurrent calls":               concurrentCalls,
		"measure Restrict":               measure(measuredRestrict),
		"measure AllThreadsSyscall":      measure(measuredRuntime),
		"exit":                           func(*child) { os.Exit(0) },
	}
}

// perKind is how many threads of each kind most scenarios start.
const perKind = 3

// startSleepers starts threads that wait in the kernel, in each way there is.
func (c *child) startSleepers() {
	for kind := cthreads.Sleep; kind <= cthreads.Cond; kind++ {
		c.start(kind, perKind)
		c.startC(kind, perKind, true)
	}
}

// startChurn starts threads that start threads all the time.
func (c *child) startChurn() {
	c.start(cthreads.Churn, 1)
	c.startC(cthreads.Churn, 1, true)
	c.startC(cthreads.Chain, 2, false)
}

func blockedSystemCalls(c *child) {
	c.startSleepers()
	c.start(cthreads.Busy, 1)
	c.startC(cthreads.Busy, 1, true)
	c.settle(c.cThreads * 3 / 4)
	c.wantFree()
	c.settle(c.cThreads * 3 / 4)
	c.mustRestrict(c.ruleset)
	c.startSleepers() // created later
	c.wantDenied()
}

func manyThreads(c *child) {
	for _, kind := range []cthreads.Kind{cthreads.Read, cthreads.Futex, cthreads.Sleep} {
		c.start(kind, 100)
		c.startC(kind, 100, true)
	}
	if !cthreads.Available {
		c.start(cthreads.Futex, 300)
	}
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

func churn(c *child) {
	c.startChurn()
	c.start(cthreads.SetGID, 1)
	c.start(cthreads.Sleep, 2)
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// setGIDDuring has libc, or the Go runtime, reach all threads by the same signal
// meanwhile.
func setGIDDuring(c *child) {
	c.startSleepers()
	c.start(cthreads.SetGID, 2)
	for range 10 {
		c.mustRestrict(c.ruleset)
	}
	c.wantDenied()
}

// setGIDAfter has libc, or the Go runtime, do so afterwards.
func setGIDAfter(c *child) {
	if cthreads.Available && !cthreads.Glibc {
		c.skip("needs glibc: musl 1.2.3 crashes Go programs that change their ids")
	}
	c.startSleepers()
	c.mustRestrict(c.ruleset)
	group := unix.Getegid()
	if unix.Geteuid() == 0 {
		group++
	}
	for range 10 {
		c.must("setegid", syscall.Setegid(group))
		c.must("setuid", syscall.Setuid(unix.Getuid()))
	}
	if got := unix.Getegid(); got != group {
		c.fatalf("effective group %d, want %d", got, group)
	}
	c.wantDenied()
}

// ownOperations has Go code wait while all threads are restricted.
func ownOperations(c *child) {
	reader, writer, err := os.Pipe()
	c.must("os.Pipe", err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.skip("needs the loopback interface: " + err.Error())
	}
	c.startSleepers()
	results := make(chan error)
	waits := map[string]func() error{
		"time.Sleep": func() error { time.Sleep(20 * time.Millisecond); return nil },
		"os.File.Read": func() error {
			_, err := io.ReadFull(reader, make([]byte, 1))
			return err
		},
		"net.Listener.Accept": func() error {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 1))
			return err
		},
	}
	for what, wait := range waits {
		go func() {
			if err := wait(); err != nil {
				err = fmt.Errorf("%s: %w", what, err)
				results <- err
				return
			}
			results <- nil
		}()
	}
	c.mustRestrict(c.ruleset)
	_, err = writer.Write([]byte{0})
	c.must("os.File.Write", err)
	conn, err := net.Dial("tcp", listener.Addr().String())
	c.must("net.Dial", err)
	_, err = conn.Write([]byte{0})
	c.must("net.Conn.Write", err)
	for range waits {
		c.must("an operation under way", <-results)
	}
	c.wantDenied()
}

func threeTimes(c *child) {
	c.startSleepers()
	c.startChurn()
	c.mustRestrict(c.newRuleset(hideProc))
	if _, err := os.ReadDir("/proc/self/task"); !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
		c.fatalf("read /proc/self/task: %v, want EACCES", err)
	}
	c.mustRestrict(c.ruleset)
	c.startSleepers()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// noProc runs in a mount namespace of its own, where nothing is at /proc.
func noProc(c *child) {
	c.must("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	c.must("mount", unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""))
	c.startChurn()
	signalBlocked(c)
}

// hiddenProc starts this program again in a domain that hides /proc from the start.
func hiddenProc(c *child) {
	path, err := os.Executable()
	c.must("os.Executable", err)
	c.must("setenv", os.Setenv(scenarioVariable, "/proc hidden, started"))
	onOwnThread(func() {
		c.must("prctl", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(c.newRuleset(unix.LANDLOCK_ACCESS_FS_READ_DIR)), 0, 0)
		if errno != 0 {
			c.fatalf("landlock_restrict_self: %v, want no error", errno)
		}
		c.must("exec", syscall.Exec(path, os.Args[:1], os.Environ()))
	})
}

func hiddenProcStarted(c *child) {
	if _, err := os.ReadDir("/proc/self/task"); err == nil {
		c.fatalf("/proc/self/task can be read, want it hidden")
	}
	c.startSleepers()
	c.startChurn()
	c.mustRestrict(c.ruleset)
	c.mustRestrict(c.ruleset)
	c.wantDenied()
	fmt.Println(passed + "/proc hidden")
	os.Exit(0)
}

// foreignProc runs in a new pid namespace, under the /proc of the old one.
func foreignProc(c *child) {
	if self, err := os.Readlink("/proc/self"); err == nil && self == "1" || os.Getpid() != 1 {
		c.fatalf("this is process %d, and %s to /proc, want 1 and another", os.Getpid(), self)
	}
	c.startSleepers()
	c.startChurn()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// taskListReplaced closes what Restrict keeps open, as a program does that
// closes all descriptors, and opens an empty directory in its place.
func taskListReplaced(c *child) {
	c.mustRestrict(c.ruleset)
	replaced := 0
	directory, err := os.MkdirTemp("", "empty")
	c.must("os.MkdirTemp", err)
	defer os.Remove(directory)
	empty, err := os.Open(directory)
	c.must("os.Open", err)
	for fd := range 100 {
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.HasSuffix(target, "/task") {
			c.must("dup3", unix.Dup3(int(empty.Fd()), fd, unix.O_CLOEXEC))
			replaced++
		}
	}
	if replaced == 0 {
		c.skip("needs /proc")
	}
	c.startSleepers()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// mainThreadEnded ends the main thread, which the kernel then keeps as a zombie.
func mainThreadEnded(c *child) {
	c.startSleepers()
	c.endMain()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

func (c *child) endMain() {
	endMainThread <- true
	stat := func() string {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", os.Getpid()))
		return string(data)
	}
	if stat() == "" {
		c.skip("needs /proc")
	}
	for !strings.Contains(stat(), ") Z ") {
		runtime.Gosched()
	}
}

// newRing makes an io_uring.
func (c *child) newRing(flags uint32) *uring.Ring {
	ring, err := uring.New(flags)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		c.skip("needs io_uring: " + err.Error())
	}
	c.must("io_uring_setup", err)
	return ring
}

// hasThread reports whether this process has a thread of a name.
func hasThread(prefix string) bool {
	names, _ := filepath.Glob("/proc/self/task/*/comm")
	return slices.ContainsFunc(names, func(name string) bool {
		text, _ := os.ReadFile(name)
		return strings.HasPrefix(string(text), prefix)
	})
}

// uringWorkers has workers, which take no signals and do each request with the
// credentials of the thread that submits it.
func uringWorkers(c *child) {
	ring := c.newRing(0)
	before, err := ring.Register()
	c.must("io_uring_register", err)
	c.must("open by a worker", ring.Open(c.witness, uring.Async, 0))
	if !hasThread("iou-wrk-") {
		c.fatalf("no thread is called iou-wrk-, want a worker of io_uring")
	}
	c.startSleepers()
	c.startChurn()
	c.mustRestrict(c.ruleset)
	if err := ring.Open(c.witness, uring.Async, 0); err != unix.EACCES {
		c.fatalf("open by a worker: %v, want EACCES", err)
	}
	c.must("open by a worker, with credentials registered before", ring.Open(c.witness, uring.Async, before))
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// uringPoller has a thread that takes requests from memory, and keeps the
// credentials of the ring's making.
func uringPoller(c *child) {
	c.startSleepers()
	ring := c.newRing(uring.SetupSQPoll)
	c.must("open by the poller", ring.Open(c.witness, 0, 0))
	start := time.Now()
	c.mustFail(c.ruleset, unix.EBUSY)
	fmt.Printf("refused after %v\n", time.Since(start).Round(time.Millisecond))
	c.wantFree()
	ring.Close()
	for hasThread("iou-sqp-") {
		runtime.Gosched()
	}
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

// ownDescriptors has a thread that has another ruleset under each number which the
// ruleset may get.
func ownDescriptors(c *child) {
	c.startSleepers()
	if _, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(os.Getpid()), 2, 0, 0, 0); errno != 0 {
		c.skip("needs kcmp: " + errno.Error())
	}
	other := c.newRuleset(unix.LANDLOCK_ACCESS_FS_MAKE_CHAR)
	thread, end := make(chan int), make(chan bool)
	go onOwnThread(func() {
		c.must("unshare", unix.Unshare(unix.CLONE_FILES))
		for range 100 {
			_, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 0)
			c.must("fcntl", err)
		}
		thread <- unix.Gettid()
		<-end
	})
	id := <-thread
	for range 2 {
		c.failing("descriptors of its own", func() {
			err := restrict(c.ruleset)
			failure, ok := errors.AsType[*allthreads.Error](err)
			if !ok || failure.Restricted != 0 || failure.Thread != id || !errors.Is(err, unix.EBADF) {
				c.fatalf("Restrict: %#v, want EBADF for thread %d and no thread restricted", err, id)
			}
			fmt.Println(err)
		})
	}
	end <- true
	for unix.Tgkill(unix.Getpid(), id, 0) != unix.ESRCH {
		runtime.Gosched()
	}
	c.succeeding()
}

// waitForAnother has a thread wait, and answer no signal, until another has
// done something: it starts a program, and the kernel does not let that begin
// until the lease on its file is given back. A filesystem that this process
// serves makes threads wait like that too.
func waitForAnother(c *child) {
	debug.SetGCPercent(-1) // which would wait for it as well
	runtime.GOMAXPROCS(4)
	directory, err := os.MkdirTemp("", "lease")
	c.must("os.MkdirTemp", err)
	program := filepath.Join(directory, "program")
	c.must("os.WriteFile", os.WriteFile(program, []byte("of no format"), 0o700))
	file, err := os.Open(program)
	c.must("os.Open", err)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGIO)
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		c.skip("needs a filesystem with leases: " + err.Error())
	}
	c.startSleepers()
	started := make(chan error)
	go func() { started <- exec.Command(program).Start() }()
	<-asked
	c.must("os.RemoveAll", os.RemoveAll(directory))
	go func() {
		for !signalPending() {
			runtime.Gosched()
		}
		unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}()
	c.mustRestrict(c.ruleset)
	if err := <-started; err == nil {
		c.fatalf("started a file of no format, want an error")
	}
	c.wantDenied()
}

// signalPending reports whether a thread of this process has yet to answer.
func signalPending() bool {
	names, _ := filepath.Glob("/proc/self/task/*/status")
	return slices.ContainsFunc(names, func(name string) bool {
		status, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(status), "\nSigPnd:\t")
		line, _, _ := strings.Cut(rest, "\n")
		pending, _ := strconv.ParseUint(line, 16, 64)
		return pending&(1<<(33-1)) != 0
	})
}

// fewPendingSignals leaves this user no more than a few signals under way.
func fewPendingSignals(c *child) {
	c.startSleepers()
	c.start(cthreads.Read, 50)
	status, _ := os.ReadFile("/proc/self/status")
	_, queued, _ := strings.Cut(string(status), "\nSigQ:")
	var pending uint64
	if _, err := fmt.Sscanf(queued, "%d/", &pending); err != nil {
		c.skip("needs /proc")
	}
	for _, more := range []uint64{5, 2} {
		c.must("setrlimit", unix.Setrlimit(unix.RLIMIT_SIGPENDING, &unix.Rlimit{Cur: pending + more, Max: pending + more}))
		c.mustRestrict(c.ruleset)
	}
	c.wantDenied()
}

// signalBlocked has a thread block the signal, which libc lets no thread do.
func signalBlocked(c *child) {
	c.startSleepers()
	const setMask = 2
	mask, old := uint64(1)<<(33-1), uint64(0)
	blocked, steps, result := make(chan bool), make(chan bool), make(chan unix.Errno)
	go func() {
		runtime.LockOSThread()
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		close(blocked)
		for range steps {
			result <- tryOpen(c.witness)
			unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		}
	}()
	open := func(want unix.Errno) {
		steps <- true
		if errno := <-result; errno != want {
			c.fatalf("open by the thread that blocks the signal: %v, want %v", errno, want)
		}
	}
	<-blocked
	full := func() {}
	if !long {
		full = allthreads.SetPatience(10, 10)
	}
	start := time.Now()
	c.mustFail(c.ruleset, unix.ETIMEDOUT)
	took := time.Since(start)
	fmt.Printf("gave up after %v\n", took.Round(time.Millisecond))
	ours := c.handler() // which stays until the signal has arrived
	onTop := ours
	onTop[0]++
	c.setHandler(onTop)
	c.mustFail(c.ruleset, unix.EBUSY)
	c.setHandler(ours)
	full()
	c.wantFree()
	open(0)
	open(0) // by now the leftover signal has arrived
	c.mustRestrict(c.ruleset)
	open(unix.EACCES)
	c.wantDenied()
}

// signalBlockedChain has threads that block the signal, and each start the next and end.
func signalBlockedChain(c *child) {
	if !cthreads.Available {
		c.skip("needs cgo")
	}
	c.startSleepers()
	allthreads.SetPatience(slices.Repeat([]time.Duration{20}, 20)...)
	cthreads.StartBlockedChain()
	c.mustFail(c.ruleset, unix.ETIMEDOUT)
	c.wantFree()
}

func badRuleset(c *child) {
	file, err := os.Open(c.witness)
	c.must("os.Open", err)
	c.startSleepers()
	c.startChurn()
	c.mustFail(int(file.Fd()), unix.EBADFD)
	c.mustFail(-1, unix.EBADF)
	c.wantFree()
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

func tooManyLayers(c *child) {
	c.startSleepers()
	for c.room > 0 {
		c.mustRestrict(c.ruleset)
	}
	c.mustFail(c.ruleset, unix.E2BIG)
	c.wantDenied()
}

// laterThreadFails has one thread that can take no more layers.
func laterThreadFails(c *child) {
	if c.startC(cthreads.Futex, 1, false); !cthreads.Available {
		c.start(cthreads.Futex, 1)
	}
	c.probe(true) // stacks
	c.startSleepers()
	err := restrict(c.ruleset)
	failure, ok := errors.AsType[*allthreads.Error](err)
	if !ok || failure.Restricted < c.cThreads+len(c.goThreads)-1 || failure.Failed != 1 || !errors.Is(err, unix.E2BIG) {
		c.fatalf("Restrict: %#v, want E2BIG in one thread and all others restricted", err)
	}
	if r := c.probe(false); r.Denied != r.Threads {
		c.fatalf("threads: %+v, want each to be denied the file, be it by its own layers", r)
	}
}

// everythingAtOnce has the Go runtime do all it can do to threads meanwhile.
func everythingAtOnce(c *child) {
	c.startSleepers() // before the storms, in which that takes long
	c.startChurn()
	c.start(cthreads.SetGID, 1)
	signals := make(chan os.Signal, 100)
	signal.Notify(signals)
	c.must("pprof.StartCPUProfile", pprof.StartCPUProfile(io.Discard))
	debug.SetGCPercent(1)
	path, err := os.Executable()
	c.must("os.Executable", err)
	environment := append(os.Environ(), scenarioVariable+"=exit")
	stop, stopped := make(chan bool), make(chan error)
	var garbage [][]byte
	storms := []func() error{
		func() error { // garbage
			garbage = append(garbage[:len(garbage)%1000], make([]byte, 1<<12))
			return nil
		},
		func() error { // what the race detector keeps under locks
			for range 1000 {
				atomic.AddInt64(new(int64), 1)
			}
			return nil
		},
		func() error { runtime.GOMAXPROCS(1 + time.Now().Nanosecond()/1000%4); return nil },
		func() error {
			cmd := exec.Command(path)
			cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environment, os.Stdin, os.Stdout, os.Stdout
			return cmd.Run()
		},
		func() error { return unix.Kill(os.Getpid(), unix.SIGUSR1) },
	}
	running := make(chan bool)
	for _, storm := range storms {
		go func() {
			err := storm()
			running <- true
			for err == nil {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
					err = storm()
				}
			}
			stopped <- err
		}()
	}
	for range storms {
		<-running
	}
	for range 5 {
		c.mustRestrict(c.ruleset)
	}
	close(stop)
	for range storms {
		c.must("a storm", <-stopped)
	}
	pprof.StopCPUProfile()
	debug.SetGCPercent(100)
	c.wantDenied()
}

func concurrentCalls(c *child) {
	c.startSleepers()
	c.startChurn()
	const calls = 8
	results := make(chan error)
	for range calls {
		go func() { results <- restrict(c.ruleset) }()
	}
	for range calls {
		c.must("Restrict", <-results)
	}
	c.room -= calls
	c.mustRestrict(c.ruleset)
	c.wantDenied()
}

func TestRestrict(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		var attr *syscall.SysProcAttr
		switch name {
		case "exit", "forge signals", "/proc hidden, started", "measure Restrict", "measure AllThreadsSyscall":
			continue // parts of others
		case "another namespace's /proc":
			attr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		case "no /proc":
			attr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		}
		t.Run(name, func(t *testing.T) {
			if name == "no address space" && raceEnabled {
				t.Skip("the race detector ends a program that is short of addresses")
			}
			if name == "stuck in the handler" && !long {
				t.Skip("waits for the thread, which takes long")
			}
			if name == "no /proc" && (!long || testing.Short()) {
				t.Skip("asks for each of four million thread ids, which takes long")
			}
			runScenario(t, self(t), name, attr)
		})
	}
}

func TestChurn(t *testing.T) {
	rounds := 5
	switch {
	case long && raceEnabled:
		rounds = 50
	case long:
		rounds = 200
	}
	for range rounds {
		runScenario(t, self(t), "churn", nil)
	}
}

// long has the tests run at full length.
var long = os.Getenv("LANDLOCK_LONG_TESTS") != ""

// raceEnabled reports whether this binary has the race detector.
var raceEnabled = func() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()
