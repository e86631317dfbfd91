package landlock

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// enforcing keeps Apply apart from the threads that Sandboxes restrict. Apply
// holds it alone, and each thread shares it from its restriction until what it
// was restricted for is under way: from ABI 8 Apply gives every thread its own
// domain, and would set one free that has a stricter one; below, it might find
// one with a layer too many.
var enforcing sync.RWMutex

// A Do is too long to wait for, so Apply fails while one is running.
var (
	working   atomic.Int64 // Do calls between their restriction and their end; raised under enforcing
	workPlace sync.Map     // their thread ids
)

var (
	errClosed error = &sentinel{"landlock: use of a Sandbox that is closed, or was never prepared", os.ErrClosed}

	errWorking = errors.New("landlock: Apply while a Do is running, or from inside it: " +
		"Apply restricts all threads, and would change that one's domain")
	errInsideDo = errors.New("landlock: a Sandbox cannot be used from inside a Do: " +
		"it would start from the process's domain and not from this one; use os/exec, which inherits it")
)

// layered is set before a Sandbox restricts its first thread. Such a thread has
// one layer more than the others, and lives as long as the child that it made.
var layered atomic.Bool

// restrictProcess restricts every thread of this process.
func restrictProcess(ruleset int, p *plan) error {
	enforcing.Lock()
	defer enforcing.Unlock()
	if working.Load() > 0 {
		return errWorking
	}
	if p.flags&restrictTSYNC == 0 {
		if layered.Load() {
			if err := tryTwice(ruleset, p); err != nil {
				return err
			}
		}
		return restrictEachThread(ruleset, p.flags, p.noNewPrivs)
	}
	return onOwnThread(func() error { return restrictThread(ruleset, p.flags, p.noNewPrivs) })
}

// tryTwice fails where a thread that has one layer more than the others could
// not be restricted. Found out half way that would be a PartialError, or, where
// the Go runtime restricts the threads, the end of the program.
func tryTwice(ruleset int, p *plan) error {
	result, thread := make(chan error, 1), 0
	takeThread(func() (reusable bool) {
		thread = threadID()
		err := restrictThread(ruleset, p.flags, p.noNewPrivs)
		if err == nil {
			err = restrictThread(ruleset, p.flags, p.noNewPrivs)
		}
		result <- err
		return false
	})
	if err := <-result; err != nil {
		return err
	}
	return awaitThreadEnd(thread) // it has even more layers
}

// onOwnThread runs f on a thread of its own, and returns what it returns. Where
// f fails the thread ends, and with it what f had changed of the thread alone.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	takeThread(func() (reusable bool) {
		err := f()
		result <- err
		return err == nil
	})
	return <-result
}

// takeThread starts f on an operating system thread that is not the main one,
// and that nothing else runs on. When f returns, the thread ends too, unless f
// says that others may use it.
func takeThread(f func() (reusable bool)) { go occupyThread(f, func() {}) }

// occupyThread calls taken once f has a thread, and f on it.
func occupyThread(f func() (reusable bool), taken func()) {
	runtime.LockOSThread()
	if isMainThread() {
		// The main thread cannot end. While this goroutine holds it,
		// another one is bound to get another thread.
		other := make(chan struct{})
		go occupyThread(f, func() { close(other) })
		<-other
		runtime.UnlockOSThread()
		taken()
		return
	}
	taken()
	if f() {
		runtime.UnlockOSThread()
	}
}
