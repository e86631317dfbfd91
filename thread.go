package landlock

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/landlock/internal/osthread"
)

// applyLock keeps Apply apart from the threads that Sandboxes restrict. Apply
// holds it alone, and each thread shares it from its restriction until what it
// was restricted for is under way. From ABI 8 Apply gives every thread its own
// domain, and would set one free that has a stricter one; below, it might find
// one with a layer too many.
var applyLock sync.RWMutex

// A Do is too long to wait for, so Apply fails while one is running.
var (
	doCount   atomic.Int64 // Do calls between their restriction and their end; raised under applyLock
	doThreads sync.Map     // their thread ids
)

var (
	errClosed error = &sentinel{"landlock: use of a Sandbox that is closed, or was never prepared", os.ErrClosed}

	errDoRunning = errors.New("landlock: Apply while a Do is running, or from inside it: " +
		"Apply restricts all threads, and would change that one's domain")
	errInsideDo = errors.New("landlock: Exec or Do from inside a Do: " +
		"it would start from the process's domain and not from this one; Start works there")
	errStarted   = errors.New("exec: already started") // as os/exec
	errNoCommand = errors.New("landlock: start a child: nil command")
)

// hadMoreLayers is set before a Sandbox restricts its first thread, which has
// one layer more than the others and may take a moment to end.
var hadMoreLayers atomic.Bool

// ownFilters has the threads that a Sandbox gives a socket filter. No filter can
// be put on all threads while one of them has another of its own, and these may
// take a moment to end.
var ownFilters struct {
	sync.Mutex
	threads []int
	enough  int // how many there are when it is time to look which have ended
}

// noteOwnFilter is called by a thread that is about to have a filter of its own.
func noteOwnFilter() {
	ownFilters.Lock()
	defer ownFilters.Unlock()
	if len(ownFilters.threads) >= ownFilters.enough {
		ownFilters.threads = slices.DeleteFunc(ownFilters.threads, osthread.Ended)
		ownFilters.enough = 2*len(ownFilters.threads) + 16
	}
	ownFilters.threads = append(ownFilters.threads, osthread.ID())
}

// awaitOwnFilters returns when those threads have ended. None of them has
// anything left to do while applyLock is held, and no Do is running. So one that
// is still there after some seconds is another that has got its number.
func awaitOwnFilters() {
	ownFilters.Lock()
	defer ownFilters.Unlock()
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond / 10) {
		if ownFilters.threads = slices.DeleteFunc(ownFilters.threads, osthread.Ended); len(ownFilters.threads) == 0 {
			return
		}
	}
	ownFilters.threads = nil
}

// restrictProcess restricts every thread of this process. What may fail of the
// socket filter is found out before anything is restricted.
func (p *plan) restrictProcess(ruleset int) error {
	if ruleset == noRuleset && p.filter == nil {
		return nil
	}
	applyLock.Lock()
	defer applyLock.Unlock()
	if doCount.Load() > 0 {
		return errDoRunning
	}
	if p.filter != nil {
		awaitOwnFilters()
		if err := p.filter.CanRestrictProcess(p.setsNoNewPrivs()); err != nil {
			return filterError(err)
		}
	}
	if ruleset == noRuleset {
		return p.filterProcess()
	}
	if err := p.enforceOnProcess(ruleset); err != nil || p.filter == nil {
		return err
	}
	if err := p.filterProcess(); err != nil {
		return &PartialError{MissingSocketFilter: true, Err: err}
	}
	return nil
}

// enforceOnProcess enforces the ruleset on every thread of this process.
func (p *plan) enforceOnProcess(ruleset int) error {
	if p.flags&restrictTSYNC == 0 {
		if hadMoreLayers.Load() {
			if err := p.tryTwice(ruleset); err != nil {
				return err
			}
		}
		return restrictEachThread(ruleset, p.flags, p.noNewPrivs)
	}
	return onOwnThread(func() error { return p.enforce(ruleset) })
}

// filterProcess puts the socket filter on every thread of this process, or on
// none.
func (p *plan) filterProcess() error {
	return onOwnThread(func() error {
		if p.setsNoNewPrivs() { // else on some other thread, so far
			if err := setNoNewPrivs(); err != nil {
				return err
			}
		}
		if err := p.filter.RestrictProcess(); err != nil {
			return filterError(err)
		}
		return nil
	})
}

// restrictThread restricts the calling thread alone.
func (r *restriction) restrictThread(ruleset int) error {
	if err := r.enforce(ruleset); err != nil || r.filter == nil {
		return err
	}
	if err := r.filter.RestrictThread(); err != nil {
		return filterError(err)
	}
	return nil
}

// enforce enforces the ruleset on the calling thread, or with TSYNC on all. Of
// noRuleset there is no more than no_new_privs.
func (r *restriction) enforce(ruleset int) error {
	if r.noNewPrivs {
		if err := setNoNewPrivs(); err != nil {
			return err
		}
	}
	if ruleset == noRuleset {
		return nil
	}
	return restrictSelf(ruleset, r.flags, r.setsNoNewPrivs())
}

// filterError says what failed where the seccomp filter does.
func filterError(err error) error {
	if errors.Is(err, errDenied) {
		return fmt.Errorf("landlock: filter sockets: %w: with AllowNewPrivs, which leaves no_new_privs unset, it takes CAP_SYS_ADMIN", err)
	}
	return fmt.Errorf("landlock: filter sockets: %w", err)
}

// tryTwice fails where a thread that has one layer more than the others could
// not be restricted. Found out half way that would be a PartialError, or, where
// the Go runtime restricts the threads, the end of the program.
func (p *plan) tryTwice(ruleset int) error {
	thread, err := osthread.Spend(func() error {
		err := p.enforce(ruleset)
		if err == nil {
			err = p.enforce(ruleset)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := osthread.AwaitEnd(thread); err != nil { // it has even more layers
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// onOwnThread runs f on a thread of its own, and returns what it returns. Where
// f fails the thread ends, and with it what f had changed of the thread alone.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	osthread.Take(func() (reusable bool) {
		err := f()
		result <- err
		return err == nil
	})
	return <-result
}
