package landlock

import (
	"os"
	"slices"
	"sync/atomic"
)

// Sandbox is a ruleset loaded into the kernel: its paths are opened and its
// rules final. Start, Run, Exec and Do enforce it on a child, a program or a
// piece of work, any number of times, and this process stays as it is. It is
// safe for concurrent use.
//
// A child that Start makes inherits from the calling thread what any child does
// (namespaces, capabilities, CPU affinity). Exec and Do use a thread of their
// own, which has the process's: an affinity, a priority or a cgroup that only the
// calling thread has is not passed on. Other differences are errors: see Exec.
type Sandbox struct {
	file         *os.File // the ruleset; nil where Landlock has nothing to enforce
	checker      *checker // what was loaded, to answer for it
	unrestricted bool     // there is nothing to enforce; the zero value is no way out
	restriction
	report  Report
	closed  atomic.Bool
	allowed atomic.Pointer[string] // the program that was wrapped last, where it may run
}

var errClosed error = &sentinel{"landlock: use of a Sandbox that is closed, or was never prepared", os.ErrClosed}

// Prepare loads the ruleset for children and pieces of work, and restricts
// nothing. A child has one domain from its first instruction, so scopes are
// enforced from ABI 6 on, where Apply needs ABI 8.
//
// The errors are those of Apply, less the ones of the restriction. Close
// releases the kernel's copy; a Sandbox that is forgotten is closed by the
// garbage collector.
func (r *Ruleset) Prepare() (*Sandbox, error) {
	l, err := r.load(oneThread)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{checker: l.checker, restriction: l.restriction, report: l.report}
	s.unrestricted = l.ruleset == noRuleset && l.filter == nil
	if l.ruleset != noRuleset {
		s.file = os.NewFile(uintptr(l.ruleset), "landlock-ruleset")
		l.checker.ruleset = noRuleset // it is the file's now
	}
	return s, nil
}

// Report says what the Sandbox enforces. It can be asked after Close too.
func (s *Sandbox) Report() Report {
	if s == nil {
		return Report{}
	}
	report := s.report
	report.Skipped = slices.Clone(report.Skipped)
	report.NoIoctl = slices.Clone(report.NoIoctl)
	return report
}

// Fd returns the ruleset's file descriptor for those who make the system calls
// themselves. It is close-on-exec, and valid until Close, as long as the
// Sandbox is reachable (see [runtime.KeepAlive]). It is ^uintptr(0) after
// Close, and where BestEffort(0) left Landlock nothing to enforce.
// [Sandbox.Enforcement] has what else they need. Whoever has the descriptor can add
// rules (landlock_add_rule(2)), for all whom the Sandbox restricts afterwards: no child
// should inherit it.
func (s *Sandbox) Fd() uintptr {
	number := ^uintptr(0)
	if s == nil || s.file == nil {
		return number
	}
	// Not by File.Fd, which must not run at the same time as Close.
	if conn, err := s.file.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { number = fd })
	}
	return number
}

// Enforcement is what it takes, besides the descriptor that [Sandbox.Fd] returns, to
// enforce a Sandbox's ruleset by system calls of one's own, or by the
// [syscall.SysProcAttr] of Go 1.28, where Fd is not ^uintptr(0):
//
//	e := sandbox.Enforcement()
//	attr.UseLandlock, attr.LandlockFD, attr.LandlockFlags = true, int(sandbox.Fd()), e.Flags
//	attr.NoNewPrivs = e.NoNewPrivs
type Enforcement struct {
	Flags uint32 // of landlock_restrict_self(2), for one thread
	// NoNewPrivs: set no_new_privs first (prctl(2), PR_SET_NO_NEW_PRIVS). It is false
	// with AllowNewPrivs, and from ABI 11 on, where Flags have it set.
	NoNewPrivs bool
	// SocketFilter: the ruleset has FilterSockets, which is not in its descriptor.
	// The sockets that it closes stay open then; Start, Wrap, Exec and Do close them.
	SocketFilter bool
}

// Enforcement returns what Fd's ruleset is enforced with. It can be asked after Close
// too, and is the zero value where there is nothing to enforce.
func (s *Sandbox) Enforcement() Enforcement {
	if s == nil || s.unrestricted {
		return Enforcement{}
	}
	return Enforcement{Flags: s.flags, NoNewPrivs: s.noNewPrivs, SocketFilter: s.filter != nil}
}

// usable returns an error where s was closed, or never prepared.
func (s *Sandbox) usable() error {
	if s == nil || s.closed.Load() || s.file == nil && s.filter == nil && !s.unrestricted {
		return errClosed
	}
	return nil
}

// withFd calls f with the ruleset's descriptor, or noRuleset, which is not
// closed, and opened as something else, meanwhile.
func (s *Sandbox) withFd(f func(ruleset int) error) error {
	if s.file == nil && s.filter != nil && !s.closed.Load() {
		return f(noRuleset)
	}
	if s.file == nil {
		return errClosed
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return errClosed
	}
	if conn.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return errClosed
	}
	return err
}

// Close releases the ruleset. What is restricted by it stays so. Closing it
// again does nothing; any other use is an error that Is [os.ErrClosed].
func (s *Sandbox) Close() error {
	if s == nil || s.closed.Swap(true) || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// layers returns what answers for s. Once it is closed nothing keeps the numbers of its
// files from being given to others.
func (s *Sandbox) layers() (layers, error) {
	if s == nil || s.checker == nil || s.closed.Load() {
		return nil, errClosed
	}
	return layers{s.checker}, nil
}
