package landlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
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
// own, which has the process's: what only the calling thread has set for
// itself, such as an affinity or a priority, they do not see.
type Sandbox struct {
	file       *os.File // the ruleset; nil where free
	free       bool     // there is nothing to enforce; the zero value is no way out
	flags      uint32
	noNewPrivs bool
	report     Report
	closed     atomic.Bool
}

// Prepare loads the ruleset for children and pieces of work, and restricts
// nothing. A child has one domain from its first instruction, so scopes are
// enforced from ABI 6 on, where Apply needs ABI 8.
//
// The errors are those of Apply, less the ones of the restriction. Close
// releases the kernel's copy; a Sandbox that is forgotten is closed by the
// garbage collector.
func (r *Ruleset) Prepare() (*Sandbox, error) {
	file, p, err := r.load(oneThread)
	if err != nil {
		return nil, err
	}
	return &Sandbox{file: file, free: file == nil, flags: p.flags, noNewPrivs: p.noNewPrivs, report: p.report}, nil
}

// Report says what the Sandbox enforces. It can be asked after Close too.
func (s *Sandbox) Report() Report {
	report := s.report
	report.Skipped = slices.Clone(report.Skipped)
	return report
}

// Fd returns the ruleset's file descriptor for those who make the system calls
// themselves. It is close-on-exec, and valid until Close, as long as the
// Sandbox is reachable (see [runtime.KeepAlive]). It is ^uintptr(0) after
// Close, and where BestEffort(0) left nothing to enforce.
func (s *Sandbox) Fd() uintptr {
	number := ^uintptr(0)
	if s.file == nil {
		return number
	}
	// Not by File.Fd, which must not run at the same time as Close.
	if conn, err := s.file.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { number = fd })
	}
	return number
}

// Close releases the ruleset. What is restricted by it stays so. Closing it
// again does nothing; any other use is an error that Is [os.ErrClosed].
func (s *Sandbox) Close() error {
	if s.closed.Swap(true) || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Apply restricts every thread of this process, and with them all threads and
// processes that they start from now on, for the rest of their lives. What is
// open already stays usable: open what is needed first. There is no undo, and a
// second Apply can only take away more. Open already is also an io_uring with a
// thread of its own (IORING_SETUP_SQPOLL) or with registered credentials
// (IORING_REGISTER_PERSONALITY): make such rings afterwards, or not at all. Up to
// 16 layers stack, 15 below ABI 8 once a Do was used, or an Exec that failed:
// their threads have one more.
//
// On success the Report says what is enforced. On an error the Report is the
// zero value and nothing is restricted. The errors are the ruleset's mistakes
// and every [RuleError], joined; [ErrNotBuilt], [ErrDisabled] and [ErrBlocked];
// [UnsupportedError]; [ErrTooManyLayers]; and whatever else the kernel answers.
// The exception is [PartialError], after which the only safe thing is to exit.
//
// It sets no_new_privs first, unless AllowNewPrivs was called. Where an error
// comes after that, no_new_privs may stay set below ABI 8 on other architectures
// than amd64 and arm64.
//
// It waits while an Exec is under way, and fails while a Do is running or from
// inside one. A child that another goroutine is starting meanwhile is before it
// or after it.
//
// From ABI 8 (Linux 7.0) the kernel restricts all threads at once, and gives
// each the domain of this call, also a thread that the program restricted by
// other means. Below, this package holds all threads, those of C code too, and
// reaches each in turn. It fails where one does not answer for 10 seconds, and
// where an io_uring has a thread of its own. Below ABI 8 the scopes count as
// missing: threads would have domains of their own.
func (r *Ruleset) Apply() (Report, error) {
	file, p, err := r.load(wholeProcess)
	if err != nil {
		return Report{}, err
	}
	if file != nil {
		defer file.Close()
		if err := restrictProcess(int(file.Fd()), p); err != nil {
			return Report{}, err
		}
	}
	return p.report, nil
}

// load makes the kernel's ruleset of r, and returns it with the plan that it
// follows. The file is nil where there is nothing to enforce.
func (r *Ruleset) load(who reach) (*os.File, plan, error) {
	errs := r.check()
	kernel, probeErr := Probe()
	p, err := r.fit(kernel, who)
	if probeErr != nil && !(r.bestEffort && r.floor == 0 && errors.Is(probeErr, errors.ErrUnsupported)) {
		err = probeErr // it says more than that the ABI is 0
	}
	if err != nil && len(errs) == 0 { // else the caller has something to mend first
		errs = append(errs, err)
	}
	var file *os.File
	if err == nil && !p.handled.isZero() {
		var more []error
		file, more = p.load()
		errs = append(errs, more...)
	}
	switch len(errs) {
	case 0:
		return file, p, nil
	case 1:
		err = errs[0]
	default:
		err = errors.Join(errs...)
	}
	file.Close()
	return nil, plan{}, err
}

// load makes the system calls of p, and returns an error for each that failed.
func (p *plan) load() (*os.File, []error) {
	fd, err := createRuleset(p.handled, p.quiet, p.attrSize)
	if err != nil {
		return nil, []error{fmt.Errorf("landlock: make the ruleset: %w", err)}
	}
	return os.NewFile(uintptr(fd), "landlock-ruleset"), p.addRules(fd)
}

// addRules adds every rule, and returns an error for each that is wrong.
func (p *plan) addRules(ruleset int) []error {
	var errs []error
	for i := range p.paths {
		rule := &p.paths[i]
		err := rule.add(ruleset)
		if rule.optional && errors.Is(err, fs.ErrNotExist) {
			p.report.Skipped = append(p.report.Skipped, rule.path)
			continue
		}
		if err != nil {
			errs = append(errs, &RuleError{Path: rule.name(), Port: -1, Access: cmp.Or(rule.access, rule.quiet), Err: err})
		}
	}
	for _, rule := range p.ports {
		if rule.allowed == 0 && rule.flags == 0 {
			continue
		}
		if err := addPort(ruleset, rule.port, rule.allowed, rule.flags); err != nil {
			errs = append(errs, &RuleError{Port: int(rule.port), Access: cmp.Or(rule.access, rule.quiet), Err: err})
		}
	}
	return errs
}

// add opens the rule's path, or borrows its file, and adds the rule.
func (rule *plannedPath) add(ruleset int) error {
	if rule.file != nil {
		conn, err := rule.file.SyscallConn()
		if err != nil {
			return err
		}
		// Not by Fd, which may turn the file into a blocking one.
		if conn.Control(func(fd uintptr) { err = rule.addTo(ruleset, int(fd)) }) != nil {
			return os.ErrClosed
		}
		return err
	}
	fd, err := openPath(rule.path)
	if err != nil {
		return err
	}
	defer closeFd(fd)
	return rule.addTo(ruleset, fd)
}

// addTo adds the rule for an open file. The kernel answers EINVAL to a right
// that only a directory can have; only then is it worth a look what fd is.
func (rule *plannedPath) addTo(ruleset, fd int) error {
	allowed, flags := rule.allowed, rule.flags
	if allowed == 0 && flags == 0 {
		return nil
	}
	err := addPath(ruleset, fd, allowed, flags)
	if !errors.Is(err, errInvalid) || allowed&^fsFile == 0 || isDirectory(fd) {
		return err
	}
	if rule.access&fsFile == 0 {
		return &sentinel{"not a directory, and only directories can have these rights", errNotDirectory}
	}
	if allowed &= fsFile; allowed == 0 && flags == 0 {
		return nil
	}
	return addPath(ruleset, fd, allowed, flags)
}
