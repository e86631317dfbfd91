package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/system"
)

var errInsideDo = errors.New("landlock: Exec or Do from inside a Do: " +
	"it would start from the process's domain and not from this one; Start works there")

// Exec replaces this process with a program inside the sandbox, as
// [syscall.Exec] does: on success it does not return. The program keeps the
// process id and whatever descriptors are not close-on-exec. On an error this
// process goes on as it was, unrestricted; where the ruleset is why, the error
// says which path to allow.
//
// It restricts a thread of its own: what the calling one, if it is locked, has
// given up the program must not get back. So Exec fails where the two differ in
// users, groups, capabilities, securebits, no_new_privs,
// namespaces, number of seccomp filters, label of a security module, personality,
// speculation or time stamp settings, descriptors, umask, root or working
// directory. It fails as well where one of these cannot be told, and says which and
// why. For that it needs /proc, and a descriptor to read it with where there is a
// seccomp filter, before Linux 6.8, and where kcmp is missing or refused, as in many
// containers (then three). Where a filter refuses setfsuid, setfsgid or personality,
// as systemd's do, /proc tells instead. An earlier sandbox has to allow reading /proc there.
//
// Three things no thread can tell of itself, and so Exec cannot see them: a Landlock
// domain that only the calling thread has, which filters it has, where the other
// has as many, and its session keyring, since to ask for one is to get one. The
// program has the keyring of the other thread, which is that of the process unless
// a thread joined one. It does not look at the thread's share of the machine
// (affinity, scheduling, priority, cgroup). Start inherits everything but
// descriptors of the thread's own, with which it fails.
func (s *Sandbox) Exec(argv0 string, argv, envv []string) error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.unrestricted {
		applyLock.RLock() // or the program might begin with a signal of Apply's, which would end it
		defer applyLock.RUnlock()
		return execError(argv0, system.Exec(argv0, argv, envv))
	}
	if insideDo() {
		return errInsideDo
	}
	applyLock.RLock() // or an Apply might come between the two threads that are compared
	caller, release := osthread.Hold()
	defer release()
	thread, err := osthread.Spend(func() error {
		defer applyLock.RUnlock()
		err := s.compare(caller)
		if err == nil {
			err = threadError(caller.KeepDeathSignal())
		}
		if err == nil {
			setApart(false)
			err = s.withFd(s.restrictThread)
		}
		if err == nil {
			err = execError(argv0, system.Exec(argv0, argv, envv))
		}
		return err
	})
	forgetApart(thread)
	return s.explain(err, argv0)
}

// compare returns an error where this thread would give what it runs back what the
// caller's has given up.
func (s *Sandbox) compare(caller osthread.State) error {
	return threadError(caller.Compare(s.setsNoNewPrivs()))
}

// threadError says whose error one of a thread is.
func threadError(err error) error {
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

func execError(path string, err error) error { return &fs.PathError{Op: "exec", Path: path, Err: err} }

// Do runs f on a thread of its own that is restricted, and returns its error. It
// is no boundary against code execution: f shares its memory with the rest of
// the process, so an attacker who takes over f is free. It is a net under bugs,
// such as a path that leads out of a directory.
//
// f must not start programs with os/exec, nor by other means: such a program
// shares the domain of f's thread, and can trace it, and with it this process,
// while f runs. [Sandbox.Start] and [Ruleset.Start] are safe there: their child
// has one layer more than f. (Its streams that are nil are /dev/null, which f
// has to be allowed to open.)
//
// A panic and a [runtime.Goexit] in f are carried over to the caller. The thread
// ends with f. Like Exec, Do fails where its thread has other than the calling one,
// and where that cannot be told: see there for what is compared and what that needs.
//
// The filter of FilterSockets is on f's thread too, and ends with it: sockets that
// f could not make, other threads can.
//
// Only what f itself does is restricted. Goroutines that it starts are not, nor
// is what it passes to others, and packages start some unseen: an http.Client
// dials in one. What a package loads when it is first used (MIME types, the
// local time zone, root certificates) it loads restricted in f, and keeps for
// everybody: use it once before. f must not call [runtime.UnlockOSThread] more
// often than it locks, nor resume an [iter.Pull] that was begun outside.
//
// From inside f Exec, another Do and Apply are errors, and Apply fails on every
// goroutine while a Do is running.
func (s *Sandbox) Do(f func() error) error {
	if f == nil {
		return errors.New("landlock: Do of a nil function")
	}
	if err := s.usable(); err != nil {
		return err
	}
	if s.unrestricted {
		return f()
	}
	if insideDo() {
		return errInsideDo
	}
	applyLock.RLock() // until beginDo has compared the threads, and restricted its own
	caller, release := osthread.Hold()
	defer release()
	o := outcome{goexit: true} // unless it comes back
	thread, _ := osthread.Spend(func() error {
		defer setApart(false)
		if err := s.beginDo(caller); err != nil {
			o = outcome{err: err}
			return nil
		}
		o.call(f)
		return nil
	})
	forgetApart(thread)
	return o.pass()
}

// beginDo restricts this thread for a Do, and lets go of applyLock, which its
// caller has shared since before it looked at its own thread.
func (s *Sandbox) beginDo(caller osthread.State) error {
	defer applyLock.RUnlock()
	if err := s.compare(caller); err != nil {
		return err
	}
	setApart(true)
	return s.withFd(s.restrictThread)
}

// outcome is how a function ended.
type outcome struct {
	err      error
	panicked bool
	value    any    // of the panic
	stack    string // of the function when it panicked
	goexit   bool
}

func (o *outcome) call(f func() error) {
	defer func() {
		if value := recover(); value != nil {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			*o = outcome{panicked: true, value: value, stack: string(stack)}
		}
	}()
	*o = outcome{err: f()}
}

// pass ends the caller in the same way.
func (o outcome) pass() error {
	switch {
	case o.panicked:
		// A recover finds the second panic alone. Where there is none,
		// the runtime prints both, and with the first f's own stack.
		defer panic(o.value)
		panic("in the function of a Do, " + o.stack)
	case o.goexit:
		runtime.Goexit()
	}
	return o.err
}

// Exec is Prepare and [Sandbox.Exec] in one. See there.
func (r *Ruleset) Exec(argv0 string, argv, envv []string) error {
	s, err := r.Prepare()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Exec(argv0, argv, envv)
}
