//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads/cthreads"
)

// tryOpen returns 0, or why the file could not be opened.
func tryOpen(path string) unix.Errno {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err.(unix.Errno)
	}
	unix.Close(fd)
	return 0
}

// stackLayers restricts the calling thread until the kernel takes no more, and
// returns how often. The thread can be used for nothing else after that.
func stackLayers(ruleset int) int {
	unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	for layers := 0; ; layers++ {
		if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno == unix.E2BIG {
			return layers
		} else if errno != 0 {
			return -1
		}
	}
}

func noNewPrivs() bool {
	set, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return set == 1
}

// What short-lived threads of Go know and tell, as those of C do.
var (
	armed                        atomic.Int32 // what arm was called with
	goChildren, goEscaped, goOdd atomic.Int32
)

func init() { armed.Store(-1) }

// goThread is a goroutine locked to its thread.
type goThread struct {
	kind    cthreads.Kind
	witness string
	ruleset int
	pipe    [2]int
	probe   chan bool
	answer  chan answer
}

type answer struct {
	open                    unix.Errno
	layers, gid, interrupts int
	noNewPrivs              bool
}

// newGoThread starts a thread, or returns nil for kinds that only C has.
func newGoThread(c *child, kind cthreads.Kind) *goThread {
	switch kind {
	case cthreads.Sleep, cthreads.Read, cthreads.Futex, cthreads.Busy, cthreads.Churn:
	case cthreads.SetGID:
		if cthreads.Available && !cthreads.Glibc {
			return nil // the handler of musl 1.2.3 overflows goroutines' stacks
		}
	default:
		return nil
	}
	t := &goThread{kind: kind, witness: c.witness, ruleset: c.ruleset, probe: make(chan bool, 1), answer: make(chan answer, 1)}
	if kind == cthreads.Read {
		c.must("pipe2", unix.Pipe2(t.pipe[:], unix.O_CLOEXEC))
	}
	started := make(chan bool)
	go func() {
		runtime.LockOSThread()
		close(started)
		t.run()
	}()
	<-started
	return t
}

func (t *goThread) run() {
	for {
		var a answer
		for len(t.probe) == 0 {
			switch t.kind {
			case cthreads.Sleep:
				time.Sleep(5 * time.Millisecond)
			case cthreads.Read:
				if _, err := unix.Read(t.pipe[0], make([]byte, 1)); err == unix.EINTR {
					a.interrupts++
				}
			case cthreads.Futex:
				t.probe <- <-t.probe // the thread waits for its goroutine in a futex
			case cthreads.SetGID:
				syscall.Setegid(unix.Getegid())
				time.Sleep(time.Millisecond / 2) // else nobody else gets a turn
			case cthreads.Churn:
				ended := make(chan bool)
				go t.child(ended)
				<-ended
			}
		}
		stack := <-t.probe
		a.open = tryOpen(t.witness)
		a.noNewPrivs = noNewPrivs()
		if stack {
			a.layers = stackLayers(t.ruleset)
		}
		a.gid = unix.Getegid()
		t.answer <- a
	}
}

// child is a short-lived thread: it ends with its goroutine, which stays locked.
func (t *goThread) child(ended chan<- bool) {
	runtime.LockOSThread()
	defer close(ended)
	expected := int(armed.Load()) // before tryOpen
	errno := tryOpen(t.witness)
	if expected < 0 {
		return
	}
	goChildren.Add(1)
	if errno != unix.EACCES {
		goEscaped.Add(1)
	}
	if expected > 0 && unix.Gettid() != unix.Getpid() && stackLayers(t.ruleset) != expected {
		goOdd.Add(1)
	}
}

// add adds a thread's answer to the result of a probe.
func (t *goThread) add(r *cthreads.Result, a answer) {
	if r.Threads == 0 {
		r.Least, r.Most = a.layers, a.layers
	}
	r.Threads++
	r.Least, r.Most = min(r.Least, a.layers), max(r.Most, a.layers)
	switch a.open {
	case 0:
		r.Opened++
	case unix.EACCES:
		r.Denied++
	default:
		r.Failed++
	}
	r.Interrupted[t.kind] += a.interrupts
	if a.gid != unix.Getegid() {
		r.GIDDiffers++
	}
	if a.noNewPrivs {
		r.NoNewPrivs++
	}
}

// settle returns once so many threads sleep in the kernel. No other means tells
// that a thread has not only announced its system call but is in it.
func (c *child) settle(count int) {
	for deadline := time.Now().Add(5 * time.Minute); ; runtime.Gosched() {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return // no /proc here: the test is a little weaker
		}
		sleeping := 0
		for _, entry := range entries {
			stat, _ := os.ReadFile("/proc/self/task/" + entry.Name() + "/stat")
			if _, rest, _ := bytes.Cut(stat, []byte(") ")); len(rest) > 0 && rest[0] == 'S' {
				sleeping++
			}
		}
		if sleeping >= count {
			return
		}
		if time.Now().After(deadline) {
			c.fatalf("%d threads sleep, want %s", sleeping, strconv.Itoa(count))
		}
	}
}
