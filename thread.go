package landlock

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"example.com/landlock/internal/osthread"
)

// applyLock keeps Apply apart from the threads that Sandboxes restrict. Apply
// holds it alone, and each thread shares it from its restriction until what it
// was restricted for is under way. From ABI 8 Apply gives every thread its own
// domain, and would set one free that has a stricter one; below, it might find
// one with a layer too many.
var applyLock sync.RWMutex

// apartThreads has the threads that Sandboxes have restricted, by their numbers, until
// they are gone. Each has a layer that the others have not: found out half way that it
// takes no more, an Apply would be a PartialError, or, where the Go runtime restricts the
// threads, the end of the program. It may have a filter, too, and none can be put on all
// threads while one has another. The value tells whether it runs the function of a Do.
// The others have nothing left to do, and may take a moment to end.
var apartThreads struct {
	sync.Mutex
	inDo map[int]bool
}

var errDoRunning = errors.New("landlock: Apply while a Do is running, or from inside it: " +
	"Apply restricts all threads, and would change that one's domain")

// setApart says what the calling thread is apart for: the function of a Do, or
// nothing that lasts. Whoever has waited for that calls forgetApart.
func setApart(inDo bool) {
	apartThreads.Lock()
	defer apartThreads.Unlock()
	if apartThreads.inDo == nil {
		apartThreads.inDo = make(map[int]bool)
	}
	apartThreads.inDo[osthread.ID()] = inDo
}

// forgetApart forgets a thread that is about to end, as soon as it is gone: later its
// number may be another's. Mostly it is gone already.
func forgetApart(thread int) {
	if forgetEnded(thread) {
		return
	}
	go func() {
		const first, longest = 50 * time.Microsecond, 100 * time.Millisecond
		for wait := first; !forgetEnded(thread); wait = min(2*wait, longest) {
			osthread.Sleep(wait)
		}
	}()
}

// forgetEnded reports whether there is nothing left to wait for: the thread is gone, or its
// number is that of another Do.
func forgetEnded(thread int) bool {
	apartThreads.Lock()
	defer apartThreads.Unlock()
	if apartThreads.inDo[thread] {
		return true
	}
	if !osthread.Ended(thread) {
		return false
	}
	delete(apartThreads.inDo, thread)
	return true
}

// insideDo reports whether the caller is the function of a Do: nothing else runs on
// its thread. The caller keeps its thread meanwhile: one that it has just left
// may be a Do's by the time it is looked up.
func insideDo() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	apartThreads.Lock()
	defer apartThreads.Unlock()
	return apartThreads.inDo[osthread.ID()]
}

// awaitApart returns when no thread is apart any more. The caller holds applyLock alone, so
// none is added. A Do is too long to wait for.
func awaitApart() error {
	threads, err := threadsApart()
	if err != nil {
		return err
	}
	if err := osthread.AwaitEnd(threads...); err != nil {
		return fmt.Errorf("landlock: wait for what an earlier Exec or Do has restricted: %w", err)
	}
	return nil
}

func threadsApart() (threads []int, err error) {
	apartThreads.Lock()
	defer apartThreads.Unlock()
	for thread, inDo := range apartThreads.inDo {
		if inDo {
			return nil, errDoRunning
		}
		threads = append(threads, thread)
	}
	return threads, nil
}

// restrictProcess restricts every thread of this process. What may fail of the
// socket filter is found out before anything is restricted.
func (p *plan) restrictProcess(ruleset int) error {
	if ruleset == noRuleset && p.filter == nil {
		return nil
	}
	applyLock.Lock()
	defer applyLock.Unlock()
	if err := awaitApart(); err != nil {
		return err
	}
	if p.filter != nil {
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
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("landlock: filter sockets: %w: with AllowNewPrivs, which leaves no_new_privs unset, it takes CAP_SYS_ADMIN", err)
	}
	return fmt.Errorf("landlock: filter sockets: %w", err)
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
