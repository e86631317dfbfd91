//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads"
	"example.com/landlock/internal/allthreads/cthreads"
)

// A restriction cannot be undone, so each scenario runs in a process of its own:
// this test binary again, with these variables set.
const (
	scenarioVariable = "ALLTHREADS_SCENARIO"
	witnessVariable  = "ALLTHREADS_WITNESS" // the file that a scenario's ruleset denies
)

// The line that a scenario ends with. A process that ended without is no pass.
const (
	passed  = "scenario passed: "
	skipped = "scenario skipped: "
)

func TestMain(m *testing.M) {
	name := os.Getenv(scenarioVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	run, ok := scenarios[name]
	if !ok {
		fmt.Println("no such scenario:", name)
		os.Exit(1)
	}
	c := &child{witness: os.Getenv(witnessVariable)}
	go func() {
		c.setUp()
		run(c)
		fmt.Println(passed + name)
		os.Exit(0)
	}()
	<-endMainThread
	syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) // and not RawSyscall: that would take the runtime's processor along
}

var endMainThread = make(chan bool)

func init() {
	if os.Getenv(scenarioVariable) != "" {
		runtime.LockOSThread() // the main goroutine to the main thread
	}
}

// witness makes the file that scenarios are denied.
func witness(t testing.TB) string {
	t.Helper()
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi == 0 {
		t.Skipf("needs Landlock: landlock_create_ruleset: %v", errno)
	}
	path := filepath.Join(t.TempDir(), "witness")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runScenario runs a scenario of a test binary in a process of its own.
func runScenario(t *testing.T, binary, name string, attr *syscall.SysProcAttr) {
	t.Helper()
	path := witness(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // only a hang takes so long
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), scenarioVariable+"="+name, witnessVariable+"="+path,
		"ASAN_OPTIONS=detect_leaks=0") // the Go runtime's own are none, and a sandbox is in the way of the search
	cmd.SysProcAttr = attr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // shows where it hangs
	cmd.WaitDelay = time.Minute
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if attr != nil && errors.Is(err, unix.EPERM) {
		t.Skip("needs root: ", err)
	}
	text := "\n" + output.String()
	if _, reason, ok := strings.Cut(text, "\n"+skipped); ok && err == nil {
		t.Skip(strings.TrimSpace(reason))
	}
	report, _, ok := strings.Cut(text, "\n"+passed+name+"\n")
	if err != nil || !ok {
		t.Fatalf("scenario %q: %v, want it to end with %q; output:%s", name, err, passed+name, text)
	}
	if report != "" {
		t.Logf("%s: %s", name, strings.TrimSpace(report))
	}
	if errno := tryOpen(path); errno != 0 {
		t.Fatalf("after scenario %s: open the witness, unrestricted: %v, want it to be possible", name, errno)
	}
}

// self returns the path of this test binary.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// child is the process that a scenario runs in.
type child struct {
	witness   string
	ruleset   int  // denies the witness
	room      int  // how many layers each thread can stack
	privs     bool // no_new_privs is set, on all threads
	goThreads []*goThread
	cThreads  int
}

func (c *child) setUp() {
	c.ruleset = c.newRuleset(unix.LANDLOCK_ACCESS_FS_WRITE_FILE)
	c.privs = noNewPrivs()
	cthreads.Setup(c.witness, c.ruleset)
	onOwnThread(func() { c.room = stackLayers(c.ruleset) })
}

// onOwnThread runs f on a thread that ends with it.
func onOwnThread(f func()) {
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // for good
		f()
		thread <- unix.Gettid()
	}()
	for id := <-thread; unix.Tgkill(unix.Getpid(), id, 0) != unix.ESRCH; {
		runtime.Gosched()
	}
}

func (c *child) fatalf(format string, arguments ...any) {
	fmt.Printf("failed: "+format+"\n", arguments...)
	os.Exit(1)
}

func (c *child) skip(reason string) {
	fmt.Println(skipped + reason)
	os.Exit(0)
}

func (c *child) must(what string, err error) {
	if err != nil {
		c.fatalf("%s: %v, want no error", what, err)
	}
}

// newRuleset returns a ruleset that handles some rights and allows nothing.
func (c *child) newRuleset(access uint64) int {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: access}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	if errno != 0 {
		c.fatalf("landlock_create_ruleset: %v, want a ruleset", errno)
	}
	return int(fd)
}

// restrict calls Restrict as the library does.
func restrict(ruleset int) error { return allthreads.Restrict(ruleset, 0, true) }

// mustRestrict restricts, and from then on holds every thread to it.
func (c *child) mustRestrict(ruleset int) {
	start := time.Now()
	c.must("Restrict", restrict(ruleset))
	c.room--
	if took := time.Since(start); took > 100*time.Millisecond {
		fmt.Printf("Restrict took %v\n", took.Round(time.Millisecond))
	}
	arm(0) // there may be more layers to come
}

// arm holds short-lived threads to be restricted, as Armed does.
func arm(layers int) {
	armed.Store(int32(layers))
	cthreads.Armed(layers)
}

// mustFail restricts, and expects it to fail at an errno before any thread is restricted.
func (c *child) mustFail(ruleset int, errno syscall.Errno) {
	err := restrict(ruleset)
	failure, ok := errors.AsType[*allthreads.Error](err)
	if !ok || failure.Restricted != 0 || !errors.Is(err, errno) {
		c.fatalf("Restrict: %#v, want an Error with %v and no thread restricted", err, errno)
	}
	c.noteRefusal(failure)
}

// noteRefusal keeps that the kernel refused the ruleset, which it does once
// no_new_privs is set.
func (c *child) noteRefusal(failure *allthreads.Error) {
	c.privs = c.privs || failure.Op == "landlock_restrict_self"
}

// start starts threads of a kind, of C and of Go.
func (c *child) start(kind cthreads.Kind, count int) {
	c.startC(kind, count, false)
	for range count {
		if t := newGoThread(c, kind); t != nil {
			c.goThreads = append(c.goThreads, t)
		}
	}
}

func (c *child) startC(kind cthreads.Kind, count int, masked bool) {
	cthreads.Start(kind, count, masked)
	if cthreads.Available {
		c.cThreads += count
	}
}

// probe makes every thread open the witness, and stack layers where stack is set.
func (c *child) probe(stack bool) cthreads.Result {
	r := cthreads.Probe(stack)
	if r.Threads != c.cThreads {
		c.fatalf("%d of %d threads of C answered", r.Threads, c.cThreads)
	}
	for _, t := range c.goThreads {
		t.probe <- stack
		if t.kind == cthreads.Read {
			unix.Write(t.pipe[1], []byte{0})
		}
	}
	for _, t := range c.goThreads {
		t.add(&r, <-t.answer)
	}
	r.Children, r.Escaped, r.OddChildren = r.Children+int(goChildren.Load()), r.Escaped+int(goEscaped.Load()), r.OddChildren+int(goOdd.Load())
	return r
}

// wantFree fails unless every thread can open the witness, and all are alike in
// no_new_privs.
func (c *child) wantFree() {
	privs := 0
	r := c.probe(false)
	if c.privs {
		privs = r.Threads
	}
	if r.Opened != r.Threads || r.NoNewPrivs != privs {
		c.fatalf("threads: %+v, want each to open the file, and %d with no_new_privs", r, privs)
	}
}

// wantDenied fails unless every thread is refused the witness, has the layers
// that the calls of Restrict make and no more, and system calls went on.
func (c *child) wantDenied() {
	churns := 0
	for _, t := range c.goThreads {
		if t.kind == cthreads.Churn {
			churns++
		}
	}
	arm(c.room)
	for children := 0; churns > 0 && children < 20; { // let short-lived threads come and go
		children = c.probe(false).Children
		runtime.Gosched()
	}
	arm(0) // threads that start others are about to stack layers
	r := c.probe(true)
	idle := make(chan unix.Errno)
	for range 100 { // on whatever threads the Go runtime has
		go func() { idle <- tryOpen(c.witness) }()
	}
	for range 100 {
		if errno := <-idle; errno != unix.EACCES {
			c.fatalf("open by a goroutine: %v, want EACCES", errno)
		}
	}
	switch {
	case r.Denied != r.Threads || r.NoNewPrivs != r.Threads:
		c.fatalf("threads: %+v, want each to be denied the file and to have no_new_privs", r)
	case r.Threads > 0 && (r.Least != c.room || r.Most != c.room):
		c.fatalf("threads: %+v, want each to stack %d more layers", r, c.room)
	case r.Escaped > 0 || r.OddChildren > 0:
		c.fatalf("short-lived threads: %+v, want each restricted as often as the others", r)
	case r.Interrupted[cthreads.Read] > 0 || r.Interrupted[cthreads.Futex] > 0 || r.GIDFailed > 0 || r.GIDDiffers > 0:
		c.fatalf("threads: %+v, want no EINTR from read and futex, and no trouble with setgid", r)
	}
	fmt.Printf("%d threads, %d short-lived; EINTR: nanosleep %d, poll %d, epoll_wait %d\n", r.Threads, r.Children,
		r.Interrupted[cthreads.Sleep], r.Interrupted[cthreads.Poll], r.Interrupted[cthreads.Epoll])
}
