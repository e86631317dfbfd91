package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"example.com/landlock/internal/seccomp"
)

var errOnlyDirectories error = &sentinel{"not a directory, and only directories can have these rights", errNotDirectory}

// errNoPlace is the error for what lies in no filesystem. The kernel takes no rule
// for it, and asks for none.
var errNoPlace = errors.New("a pipe, a socket or another object of no filesystem, which Landlock does not restrict and takes no rule for")

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

// restriction is what is done to a thread besides enforcing a ruleset.
type restriction struct {
	flags      uint32 // of landlock_restrict_self
	noNewPrivs bool   // set it by prctl first
	filter     socketFilter
}

func (r *restriction) setsNoNewPrivs() bool { return r.noNewPrivs || r.flags&restrictNoNewPrivs != 0 }

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

// Apply restricts every thread of this process, and with them all threads and
// processes that they start from now on, for the rest of their lives. What is
// open already stays usable: open what is needed first. There is no undo, and a
// second Apply can only take away more. Open already is also an io_uring with a
// thread of its own (IORING_SETUP_SQPOLL) or with registered credentials
// (IORING_REGISTER_PERSONALITY): make such rings afterwards, or not at all. Up to
// 16 layers stack.
//
// On success the Report says what is enforced. On an error the Report is the
// zero value and nothing is restricted. The errors are the ruleset's mistakes
// and every [RuleError], joined, where what stops all rules (no descriptors, a
// working directory that was removed) is said once; [ErrNotBuilt], [ErrDisabled] and [ErrBlocked];
// [UnsupportedError]; [ErrTooManyLayers]; and whatever else the kernel answers.
// The exception is [PartialError], after which the only safe thing is to exit.
//
// With [Ruleset.FilterSockets] it also fails where a thread has a seccomp filter
// that the others have not, or where they have no room for one more. As far as it
// can be, that is found out before anything is restricted, by /proc and on a thread
// that ends; the ruleset comes next, and the filter last, for all threads at once.
// A /proc that is hidden or missing is passed over. One that cannot be read for want
// of descriptors is an error. Afterwards Exec and Do have to read /proc/thread-self:
// allow reading /proc.
//
// It sets no_new_privs first, unless AllowNewPrivs was called. Where the kernel then
// refuses the ruleset below ABI 8, as with ErrTooManyLayers, no_new_privs stays set, on
// every thread.
//
// It waits while an Exec is under way, and fails while a Do is running or from
// inside one.
//
// From ABI 8 (Linux 7.0) the kernel restricts all threads at once, and gives
// each the domain of this call, also a thread that the program restricted by
// other means. Below, this package holds all threads, those of C code too, and
// reaches each in turn. It fails where one does not answer for 10 seconds, where
// one has descriptors of its own (unshare with CLONE_FILES), where
// an io_uring has a thread of its own, where it cannot have three descriptors
// (RLIMIT_NOFILE), and with more than 32,768 threads. It can be called again. (On
// other architectures than amd64 and arm64 the Go runtime does it: not in a binary with cgo, and such threads
// and rings go unnoticed.) Where kcmp is missing or refused, as in many containers,
// a thread with descriptors of its own is not seen: it enforces whatever ruleset it
// has under the same number, or it is a [PartialError].
//
// Below ABI 8 each thread has a domain of its own from then on, whatever the ruleset
// handles. So the scopes count as missing. And the kernel keeps each thread from
// looking into processes that another thread has started, or that were started before:
// ptrace, process_vm_readv, pidfd_getfd, kcmp, and in /proc/PID exe, mem, fd, ns and
// their like fail with EACCES or EPERM, and so do environ and maps but for root with
// CAP_PERFMON (seen on Linux 6.18), now and then, as goroutines wander from thread to
// thread. What starts processes and looks into them does both on one
// thread ([runtime.LockOSThread]). Signals, waiting, pipes and /proc/PID/stat work from
// each thread, and all of os/exec. From ABI 8 on only what was started before is out of
// reach.
func (r *Ruleset) Apply() (Report, error) {
	l, err := r.load(wholeProcess)
	if err != nil {
		return Report{}, err
	}
	err = l.restrictProcess(l.ruleset)
	l.checker.close() // before others get to see it
	if err != nil {
		return Report{}, err
	}
	r.noteApplied(l.checker)
	return l.report, nil
}

// DryRun returns what Apply would answer here and now, and restricts nothing.
// It opens the paths and has the kernel take every rule, so the Report and the
// errors are those of Apply. Only what the kernel says to the restriction
// itself remains to be seen: whether there is room for another layer, say. A
// child gets what [Sandbox.Report] says, which can be more.
func (r *Ruleset) DryRun() (Report, error) {
	l, err := r.load(wholeProcess)
	if err != nil {
		return Report{}, err
	}
	l.checker.close()
	return l.report, nil
}

// noRuleset stands in place of a ruleset's descriptor where there is nothing to
// enforce.
const noRuleset = -1

// loaded is a ruleset that the kernel has: the plan that it follows, its descriptor,
// which is noRuleset where there is nothing to enforce, and what answers for it. The
// descriptor is the checker's to close.
type loaded struct {
	*plan
	ruleset int
	checker *checker
}

// load has the kernel make a ruleset of r.
func (r *Ruleset) load(who reach) (*loaded, error) {
	r = r.orEmpty()
	errs := r.notToLoad()
	kernel, probeErr := Probe()
	var noFilter error
	if r.filtersSockets() {
		_, noFilter = r.newFilter(seccomp.Sockets{})
	}
	p, err := r.fit(kernel, noFilter, who)
	old, _ := err.(*UnsupportedError)
	if probeErr != nil && (old != nil && old.Needed > 0 || !errors.Is(probeErr, errors.ErrUnsupported)) {
		err = probeErr // it says more than that the ABI is 0
	}
	if err == nil && p.sockets != nil {
		p.filter, err = r.newFilter(*p.sockets)
	}
	if err != nil && len(errs) == 0 { // else the caller has something to mend first
		errs = append(errs, err)
	}
	ruleset := noRuleset
	if err == nil && !p.handled.isZero() {
		var more []error
		ruleset, more = p.makeRuleset()
		errs = append(errs, more...)
	}
	if len(errs) == 0 {
		c, err := p.newChecker(ruleset)
		if err == nil {
			return &loaded{p, ruleset, c}, nil
		}
		errs = append(errs, err)
	}
	if ruleset != noRuleset {
		closeFd(ruleset)
	}
	return nil, joined(errs)
}

// makeRuleset makes the system calls of p, and returns an error for each that
// failed, or else the ruleset.
func (p *plan) makeRuleset() (int, []error) {
	ruleset, err := createRuleset(p.handled, p.quiet, p.attrSize)
	if err != nil {
		return noRuleset, []error{fmt.Errorf("landlock: make the ruleset: %w", err)}
	}
	complete := false
	defer func() { // also where a judge panics
		if !complete {
			closeFd(ruleset)
		}
	}()
	errs := p.addRules(ruleset)
	if complete = len(errs) == 0; !complete {
		return noRuleset, errs
	}
	return ruleset, nil
}

// addRules adds every rule, and returns an error for each that is wrong.
func (p *plan) addRules(ruleset int) []error {
	var errs []error
	defer p.open.close()
	for i := range p.rules {
		rule := &p.rules[i]
		var err error
		if rule.isPort() {
			err = p.addPortRule(ruleset, rule)
		} else {
			err = p.addPathRule(ruleset, rule)
		}
		switch {
		case err == nil:
		case rule.Optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoPlace)):
			p.skip(rule)
		default:
			errs = appendRuleError(errs, err, rule)
		}
	}
	p.report.NoIoctl = p.noIoctl()
	return errs
}

// appendRuleError appends the error for a rule, or else the cause that rules have in
// common, unless that is there already.
func appendRuleError(errs []error, err error, rule *wantedRule) []error {
	common, ok := errors.AsType[*commonError](err)
	if !ok {
		return append(errs, rule.failed(err))
	}
	said := func(err error) bool { return err.Error() == common.Error() }
	if slices.ContainsFunc(errs, said) {
		return errs
	}
	return append(errs, common.error)
}

// skip notes that a path of the caller's has no rule, once for all that are for it.
func (p *plan) skip(rule *wantedRule) {
	if rule.preset {
		return
	}
	if p.skipped == nil {
		p.skipped = make(map[string]bool)
	}
	if !p.skipped[rule.Path] {
		p.skipped[rule.Path] = true
		p.report.Skipped = append(p.report.Skipped, rule.Path)
	}
}

// addPortRule adds a rule for a port, where this kernel has a use for it. Without a ruleset
// there is nothing to be found out: any port is taken.
func (p *plan) addPortRule(ruleset int, rule *wantedRule) error {
	allowed, flags := p.forPort(rule)
	if allowed == 0 && flags == 0 || ruleset == noRuleset {
		return nil
	}
	return addPort(ruleset, uint16(rule.Port), allowed, flags)
}

// addPathRule opens the rule's path, or borrows its file, and adds the rule.
func (p *plan) addPathRule(ruleset int, rule *wantedRule) error {
	if rule.Open {
		return p.addFileRule(ruleset, rule, rule.file)
	}
	fd, err := p.open.path(rule.Path)
	if err != nil {
		return err
	}
	if rule.Judged {
		p.open.close() // it may need descriptors
		return p.addJudgedRule(ruleset, rule, os.NewFile(uintptr(fd), rule.Path))
	}
	defer p.open.closeLater(fd)
	return p.addOpenRule(ruleset, rule, fd)
}

// addJudgedRule adds the rule for what was found at its path, unless its judge
// objects.
func (p *plan) addJudgedRule(ruleset int, rule *wantedRule, found *os.File) error {
	defer found.Close()
	given := *found // which the judge may overwrite
	if err := rule.judge(&given); err != nil {
		return err
	}
	return p.addFileRule(ruleset, rule, found)
}

// addFileRule adds the rule for a file that somebody else may close, or overwrite.
func (p *plan) addFileRule(ruleset int, rule *wantedRule, file *os.File) error {
	if *file == (os.File{}) {
		return errNilFile
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	// Not by Fd, which may turn the file into a blocking one.
	if conn.Control(func(fd uintptr) { err = p.addOpenRule(ruleset, rule, int(fd)) }) != nil {
		return os.ErrClosed
	}
	return err
}

// addOpenRule adds the rule for an open file, and notes which file that is. Of rights
// that just a directory can have the kernel takes none on another file.
func (p *plan) addOpenRule(ruleset int, rule *wantedRule, fd int) error {
	allowed, flags := p.forPath(rule)
	if allowed == 0 && flags == 0 {
		return p.tryRule(ruleset, fd, rule)
	}
	f, err := identifyRule(fd)
	if err != nil {
		return err
	}
	if !f.directory && allowed&^fsFile != 0 {
		if allowed &= fsFile; allowed == 0 {
			return p.tryRule(ruleset, fd, rule)
		}
	}
	if ruleset != noRuleset {
		err = addPath(ruleset, fd, allowed, flags)
	} else if hasNoPlace(fd) {
		err = errNoPlace
	}
	if err != nil {
		return err
	}
	if allowed == 0 {
		return nil // a quiet one
	}
	f.rule, f.allowed = rule, allowed
	f.unreached = f.directory && !f.removed && p.mayLeadOut(rule) && !reachable(fd, f.id, rule.Path)
	if p.files == nil {
		p.files = make([]fileRule, 0, len(p.rules))
	}
	if f.devices, err = p.opensDevices(rule, fd, allowed); err != nil {
		return err
	}
	p.noteMount(f.id)
	f.id = f.id.onAnyMount()
	p.files = append(p.files, f)
	return nil
}

// noteMount keeps by which mount a file system was met first.
func (p *plan) noteMount(id fileID) {
	for i := range p.mounts {
		if p.mounts[i].device == id.device {
			return
		}
	}
	p.mounts = append(p.mounts, id)
}

// tryRule returns why a rule is wrong of which this kernel knows no right: one
// that is wrong is wrong on every kernel. It asks by a ruleset of its own, with
// rights that each kernel knows. Without a ruleset there is none to ask.
func (p *plan) tryRule(ruleset, fd int, rule *wantedRule) error {
	access := FSReadFile
	if rule.FS&fsFile == 0 && !rule.Quiet {
		access = FSReadDir
	}
	if ruleset == noRuleset {
		if access == FSReadDir {
			return errOnlyDirectories
		}
		return nil
	}
	p.open.close() // no descriptor is to be missing for those that are kept for later
	own, err := createRuleset(V1.Rights(), Rights{}, attrSize(V1))
	if err != nil {
		return &commonError{fmt.Errorf("landlock: make a ruleset to try rules with: %w", err)}
	}
	defer closeFd(own)
	if err = addPath(own, fd, access, 0); access == FSReadDir && errors.Is(err, errInvalid) {
		return errOnlyDirectories
	}
	return err
}
