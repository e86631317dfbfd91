package landlock

import (
	"cmp"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"example.com/landlock/internal/seccomp"
)

// Ruleset is what a caller wants: the rights to deny, and rules that allow some
// of them beneath paths and on ports. Nothing is opened and nothing is
// restricted until it is enforced, and it can be enforced any number of times.
//
// Its methods chain. A mistake in a call (an unknown bit, an empty path, a rule
// for a right that the ruleset does not handle) is kept and returned, together
// with all others, by the methods that load the ruleset: Apply, Prepare, DryRun,
// and those that are made of them. Every mistake Is [io/fs.ErrInvalid].
// [Ruleset.Mistakes] lists them before. Until the ruleset is loaded relative paths
// are just text; they are resolved in the working directory of that moment.
//
// Each rule stands for itself, and what several allow adds up.
//
// A Ruleset is made by [New] or [NewHandling]. It must not be changed while
// another goroutine uses it: give each a [Ruleset.Clone].
type Ruleset struct {
	wanted
	applied atomic.Pointer[applied] // nil before Apply
}

// wanted is what the calls of a Ruleset say.
type wanted struct {
	target     ABI
	handled    Rights
	byRights   bool // made by NewHandling: strict about handled, and not about target
	bestEffort bool
	floor      ABI

	rules []wantedRule // in the order of the calls

	quiet    Rights // whose denials are not logged; the rules say where
	log      LogFlags
	newPrivs bool
	mistakes []error

	// newFilter makes the filter of FilterSockets; nil without that.
	newFilter func(seccomp.Sockets) (socketFilter, error)

	preset *use // Use is calling one
}

// filtersSockets reports whether FilterSockets was called.
func (w *wanted) filtersSockets() bool { return w.newFilter != nil }

// applied is what Apply has made of a ruleset.
type applied struct {
	wanted // as it was
	layers layers
}

// The mistakes that need no more words.
var (
	errNothing = invalid("landlock: the ruleset handles no right at all")
	errNilFile = invalid("nil file")
)

// New returns a ruleset that handles every right of the target ABI: they are
// denied unless a rule allows them. The target is explicit so that an update of
// this module, or of the kernel, never denies more than was tested.
//
// It is strict: on a kernel below target nothing is restricted, and an
// [UnsupportedError] returned. [Ruleset.BestEffort] changes that.
//
// A target that is not one of V1 to V11 is a mistake.
func New(target ABI) *Ruleset {
	r := &Ruleset{wanted: wanted{target: target, handled: target.Rights()}}
	if target < V1 || target > newest {
		r.mistake("target ABI %d: this version of the package knows 1 to %d", int(target), int(newest))
	}
	return r
}

// NewHandling returns a ruleset that handles just these rights; everything else
// stays unrestricted. One exception is the kernel's: FSRefer is denied by every
// ruleset that handles any filesystem right, see there. The target of the
// ruleset is the lowest ABI that has all of handled.
//
// It is strict about these rights, and not about a version: nothing is restricted,
// and an [UnsupportedError] returned, where one of them is missing, or where a rule
// is denied in spite of itself, as one for FSRefer is on ABI 1.
//
// Handling nothing, or an unknown bit, is a mistake.
func NewHandling(handled Rights) *Ruleset {
	r := &Ruleset{wanted: wanted{target: lowestABI(handled), handled: handled, byRights: true}}
	if handled.isZero() {
		r.mistakes = append(r.mistakes, errNothing)
	}
	if unknown := handled.minus(knownRights); !unknown.isZero() {
		r.mistake("the ruleset handles rights that this version of the package does not know: %v", unknown)
	}
	return r
}

// BestEffort lets the ruleset run on kernels below its target, down to floor,
// with what they can restrict. The [Report] says what that is. On a kernel
// below floor nothing is restricted, and the error is an [UnsupportedError].
//
// A floor of V1 or above promises that the kernel is no older, and that something
// is enforced: a kernel that can restrict none of the rights that are handled is an
// UnsupportedError too. It does not promise all that its ABI has: below ABI 8
// [Ruleset.Apply] has no scopes, so with a floor of V6 or V7 it leaves them out
// there, and Report.Missing has them. Who needs scopes for the whole process names
// V8; a [Sandbox] has them from V6 on. Only a floor of 0 can end with no sandbox at
// all; paths are not even looked at then.
//
// A floor of 0 takes every kernel, and a seccomp filter that refuses
// landlock_create_ruleset with an error. One that refuses only the calls after that
// is still [ErrBlocked]. One that kills or traps whoever makes the call, as Android's
// does to apps, ends the process: see [Probe].
//
// A floor above the target, or a negative one, is a mistake, and so is a second
// call: a ruleset has one floor.
func (r *Ruleset) BestEffort(floor ABI) *Ruleset {
	if !r.mayChange("BestEffort") {
		return r
	}
	if r.bestEffort {
		r.mistake("best effort with floor ABI %d, after one with floor ABI %d: a ruleset has one floor, so call it once", int(floor), int(r.floor))
		return r
	}
	r.bestEffort, r.floor = true, floor
	if known := r.target >= V1 && r.target <= newest; known && (floor < 0 || floor > r.target) {
		r.mistake("best effort with floor ABI %d: must be between 0 and the target, ABI %d", int(floor), int(r.target))
	}
	return r
}

// Allow allows access beneath each path, which may be a directory or a file of
// any kind. Symbolic links are followed when the ruleset is loaded, and the
// rule belongs to the file found then: it stays with it when it is renamed, and
// is not for a file that takes its name later.
//
// The kernel holds the rule by the inode, and on some file systems a file is given
// another inode once nothing uses the old one and memory gets short: then the
// rule is lost, and what it allowed is denied. So it is with every rule beneath
// /proc (one for /proc itself stays), with events of tracefs, with files of
// overlayfs that have hard links in a lower layer, and on some network file
// systems. A rule stays for as long as somebody has its file open, an O_PATH
// descriptor included; but not for a file in /proc/PID/net, which gets another
// inode at each look. With its file system unmounted everywhere a rule is gone.
//
// Of the access of one call, rights that only directories can have are dropped
// where the path is not a directory; if none is left, that is a [RuleError].
// Rights that the ruleset does not handle are dropped as well, since they are
// not restricted in the first place. A rule that has only such rights would
// allow nothing that is denied, and is a mistake: handle one of them, or leave
// the rule out. FSRefer counts as handled along with any filesystem right.
//
// What several rules allow adds up, for one path and for one beneath the other.
//
// A rule to read or write a device, or /dev, is seldom enough: from ABI 5 on, what is
// opened by it refuses ioctl without FSIoctlDev, and so a terminal has no raw mode.
// [Report].NoIoctl names such rules.
//
// A path that cannot be opened is a RuleError when the ruleset is loaded. An
// unknown bit, an access of 0, an empty path and one with a NUL are mistakes.
//
// "/proc/self" is followed like any link, and is the directory of the process
// that loads the ruleset: a child would be given its parent's and not its own.
// Give a child "/proc", for reading and not for writing. Of processes outside its
// domain it then reads the command lines, mounts and sockets (net/tcp), and of those
// of its own user the numbers of their descriptors. The kernel still keeps from it
// their memory and what their descriptors lead to, and also their environment and the
// map of their memory unless it has CAP_PERFMON or CAP_SYS_ADMIN, as root has. If it
// may write, it sets their oom_score_adj, which has the kernel kill them first,
// coredump_filter, autogroup, clear_refs and sched.
func (r *Ruleset) Allow(access AccessFS, paths ...string) *Ruleset {
	return r.addPaths(wantedRule{Rule: Rule{FS: access}}, paths)
}

// AllowRead allows FSRead beneath the paths: open files for reading and list
// directories. See [Ruleset.Allow].
func (r *Ruleset) AllowRead(paths ...string) *Ruleset { return r.Allow(FSRead, paths...) }

// AllowReadWrite allows FSReadWrite beneath the paths: FSRead, and create,
// write, truncate, move and remove what is there. On devices it allows no ioctl:
// AllowReadWrite("/dev") leaves terminals that cannot be controlled, so add
// Allow(FSIoctlDev, …), or have [example.com/landlock/preset] allow the terminal. See
// [Ruleset.Allow].
func (r *Ruleset) AllowReadWrite(paths ...string) *Ruleset { return r.Allow(FSReadWrite, paths...) }

// AllowExecute allows FSReadExecute beneath the paths: FSRead, and run
// programs. See [Ruleset.Allow].
func (r *Ruleset) AllowExecute(paths ...string) *Ruleset { return r.Allow(FSReadExecute, paths...) }

// AllowOptional is Allow for paths that need not exist: one that does not is
// skipped and named in [Report].Skipped, unless a preset of [Ruleset.Use] adds the
// rule. So is one that leads to a pipe, a socket, a memfd or another object of no
// filesystem, as /dev/stdout does in some runs: Landlock does not restrict those,
// and has no rules for them. And so is one that leads to a file, where only directories
// can have the access. Any other failure is still an error. Where Allow names the path
// too, Allow still needs it to exist.
func (r *Ruleset) AllowOptional(access AccessFS, paths ...string) *Ruleset {
	return r.addPaths(wantedRule{Rule: Rule{FS: access, Optional: true}}, paths)
}

// AllowIf is AllowOptional for paths that others may lead elsewhere: those that
// an environment variable or a file names, or that lie where others write. Each
// time the ruleset is loaded, or asked by Check, every path is opened and the file
// found given to judge. The rule is for that very file, whatever the path leads to
// meanwhile; where judge returns an error there is none, and the ruleset is not
// loaded. A judge that wants a regular file is
//
//	func(file *os.File) error {
//		info, err := file.Stat()
//		if err == nil && !info.Mode().IsRegular() {
//			err = errors.New("not a regular file")
//		}
//		return err
//	}
//
// The file is open without the right to read it (O_PATH), so that to open it has no
// effect on a device and waits for no FIFO: it tells what it is ([os.File.Stat],
// [os.SameFile]), and its content can be had by opening /proc/self/fd/N. It is
// closed once judge returns, and a judge that closes it fails. Judges of rulesets
// that are loaded at the same time are called at the same time.
//
// The error of judge is that of a [RuleError]. One that Is [io/fs.ErrNotExist] has
// the path skipped, as one that does not exist. A pipe, a socket, a file that can have
// none of the access and their like are skipped as by AllowOptional, if judge has nothing
// against them. What is skipped
// is named in [Report].Skipped, unless a preset of [Ruleset.Use] adds the rule. A
// nil judge is a mistake.
func (r *Ruleset) AllowIf(access AccessFS, judge func(*os.File) error, paths ...string) *Ruleset {
	if r != nil && judge == nil {
		r.mistake("rule %v on %q: nil judge", access, paths)
		return r
	}
	return r.addPaths(wantedRule{Rule: Rule{FS: access, Optional: true, Judged: true}, judge: judge}, paths)
}

// AllowFile is Allow for open files and directories: the rule is for exactly
// the file that was opened, whatever has become of its name. The files must
// stay open until the ruleset is loaded, and may be closed then. A nil file is
// a mistake; a pipe, a socket or a memfd, which needs no rule, is a [RuleError].
func (r *Ruleset) AllowFile(access AccessFS, files ...*os.File) *Ruleset {
	if r == nil {
		return nil
	}
	wrong := r.wrong(Rights{FS: access}, len(files))
	for _, file := range files {
		rule := wantedRule{Rule: Rule{Port: -1, FS: access, Open: true}, file: file}
		if file == nil || *file == (os.File{}) {
			r.addRule(&rule, cmp.Or(wrong, errNilFile))
			continue
		}
		rule.Path = file.Name()
		r.addRule(&rule, wrong)
	}
	return r
}

// AllowNet allows access on the ports: local ones for the bind rights, remote
// ones for the others. To bind port 0 is to have the kernel pick one. Rights
// that the ruleset does not handle are dropped; a rule that has no others, an
// unknown bit and an access of 0 are mistakes.
func (r *Ruleset) AllowNet(access AccessNet, ports ...uint16) *Ruleset {
	return r.addPorts(Rule{Net: access}, ports)
}

// AllowBindTCP allows NetBindTCP on the ports. A process that listens before it
// is restricted does not need it. See [Ruleset.AllowNet].
func (r *Ruleset) AllowBindTCP(ports ...uint16) *Ruleset { return r.AllowNet(NetBindTCP, ports...) }

// AllowConnectTCP allows NetConnectTCP to the ports, on any host. See
// [Ruleset.AllowNet].
func (r *Ruleset) AllowConnectTCP(ports ...uint16) *Ruleset {
	return r.AllowNet(NetConnectTCP, ports...)
}

// AllowBindUDP allows NetBindUDP on the ports. A client that binds none itself needs
// it on port 0, since connecting and sending bind one. See [Ruleset.AllowNet].
func (r *Ruleset) AllowBindUDP(ports ...uint16) *Ruleset { return r.AllowNet(NetBindUDP, ports...) }

// AllowSendUDP allows NetConnectSendUDP to the ports, on any host. A client needs
// AllowBindUDP as well, mostly on port 0. See [Ruleset.AllowNet].
func (r *Ruleset) AllowSendUDP(ports ...uint16) *Ruleset {
	return r.AllowNet(NetConnectSendUDP, ports...)
}

// Add adds rules as values: those of [DeniedError], of another ruleset, or made by a
// program. It does what the call does that [Rule.String] returns. Of another ruleset it
// takes all rules but those with an open file or a judge, which are not in a Rule:
//
//	for rule := range other.Rules() {
//		if !rule.Open && !rule.Judged {
//			r.Add(rule)
//		}
//	}
//	r.Use(preset.DNS).AllowFile(landlock.FSRead, file) // again, as other does
//
// Those are the rules of AllowFile and AllowIf, so call these again; and each preset of
// package [example.com/landlock/preset] has some, so Use it again. What it also adds
// then is there twice, which allows no more. Rules with no right that r handles have to
// be left out too.
//
// A rule that was a preset's is one like any other then: a path that it skips is named
// in [Report].Skipped. Mistakes are those of [Ruleset.Allow] and [Ruleset.AllowNet],
// and besides them, each a [RuleError] with the Rule in it: a rule that is Open or
// Judged; one for a path and a port, or for neither; FS on a port or Net on a path; a
// port above 65535; an optional port; and the zero Rule.
func (r *Ruleset) Add(rules ...Rule) *Ruleset {
	if r == nil {
		return nil
	}
	for _, rule := range rules {
		wrong := rule.misshapen()
		switch {
		case wrong != nil:
		case rule.Open:
			wrong = invalid("a Rule has no open file: call AllowFile with it")
		case rule.Judged:
			wrong = invalid("a Rule has no judge: call AllowIf with it")
		case rule.isPort():
			wrong = r.wrong(Rights{Net: rule.Net}, 1)
		default:
			rule.Port = -1
			rule.Optional = rule.Optional || rule.Quiet
			wrong = cmp.Or(r.wrong(Rights{FS: rule.FS}, 1), wrongPath(rule.Path))
		}
		r.addRule(&wantedRule{Rule: rule}, wrong)
	}
	return r
}

// AllowNewPrivs leaves no_new_privs as it is. Without this call it is set when
// the ruleset is enforced, so that set-user-ID programs and file capabilities
// give no privileges any more. With it the kernel asks for CAP_SYS_ADMIN in the
// process's user namespace, or for no_new_privs to be set already, and refuses
// with EPERM otherwise.
func (r *Ruleset) AllowNewPrivs() *Ruleset {
	if r.mayChange("AllowNewPrivs") {
		r.newPrivs = true
	}
	return r
}

// FilterSockets closes what the network rights leave open: the process, or
// child, can make no socket that they do not govern. Without it there are many,
// and Go's own net.Listen makes one: Multipath TCP passes every rule for TCP.
// Enforcing the ruleset then installs a seccomp filter as well, which takes no
// privilege either, and reaches all threads in one call.
//
//	socket                                    with the filter
//	----------------------------------------  ---------------------------------------
//	AF_UNIX                                   as before
//	AF_INET, AF_INET6: TCP                    as before; the TCP rights govern it
//	AF_INET, AF_INET6: Multipath TCP          EPROTONOSUPPORT: package net and others
//	                                          go on with TCP
//	AF_INET, AF_INET6: UDP                    as before; EACCES where it stands in for
//	                                          the UDP rights, see below
//	AF_NETLINK: NETLINK_ROUTE                 as before; net.Interfaces and C's
//	                                          getaddrinfo use it
//	all others (raw, packet, ping, SCTP,      EACCES
//	SMC, UDP-Lite, vsock, AF_ALG, …)
//	io_uring                                  EPERM: a ring makes sockets past a filter
//	sendto, sendmsg and sendmmsg with         EOPNOTSUPP where NetConnectTCP is
//	MSG_FASTOPEN                              handled: it connects past that
//	setsockopt TCP_ULP                        ENOENT: it can make TCP into SMC; programs
//	                                          do TLS themselves then, not by the kernel
//	sockets by another ABI of the machine     EACCES
//	(i386 and x32 on amd64, arm on arm64)
//
// The same holds of socketpair. No other system call is touched.
//
// It stands in for what an older kernel lacks: where both UDP rights are handled
// and no rule allows any UDP, a kernel below ABI 10 refuses UDP sockets by the
// filter. These rights then count as Enforced, and a strict ruleset needs no ABI
// for them. Where a rule allows UDP on some port they stay missing there: a
// filter cannot tell ports apart. It needs no Landlock at all: with a
// [Ruleset.BestEffort] of 0 it is in force without. [Report].SocketFilter says
// that it is.
//
// Where the kernel or a container takes no seccomp filters, and on 386, s390x and
// mips, for which there is none, a strict ruleset is an [UnsupportedError]; with
// BestEffort the Report has MissingSocketFilter.
//
// It does not reach sockets that are open already, or sent by others, and it
// knows nothing of ports: those are the rights' part. Nor does it keep a child from
// tracing a process of the same user outside, and having that one make sockets:
// Landlock does, but for where the filter is alone, without Landlock or where it
// stands in for all rights that are handled. A TCP socket that was never
// bound can still listen: the kernel picks its port, whatever NetBindTCP says. A
// filter takes some memory and never goes: [Ruleset.Apply] stacks another each
// time, and then [Sandbox.Exec] and [Sandbox.Do] have to read /proc/thread-self.
// A ruleset that handles no network right governs no socket, and calling
// it there is a mistake.
func (r *Ruleset) FilterSockets() *Ruleset {
	if !r.mayChange("FilterSockets") {
		return r
	}
	r.newFilter = newSocketFilter
	if r.handled.Net == 0 && !r.handled.isZero() {
		r.mistake("filter sockets: the ruleset handles no network right that could govern them: " +
			"handle one (New does from V4 on), or leave FilterSockets out")
	}
	return r
}

// Log chooses which denials go to the kernel's audit log (ABI 7). Flags of
// several calls add up. Without it, the log has denials of the restricted
// program itself, also those inside a Do, and has none of programs that it
// executes. A Sandbox's children are such programs: LogNewExecOn logs theirs.
// The kernel logs only where auditing is on (audit=1 at boot, or auditctl -e 1).
// An unknown flag is a mistake.
func (r *Ruleset) Log(flags LogFlags) *Ruleset {
	if !r.mayChange("Log") {
		return r
	}
	if unknown := uint64(flags) &^ logWords.known(); unknown != 0 {
		r.mistake("unknown log flag %#x", unknown)
		return r
	}
	r.log |= flags
	return r
}

// Quiet keeps denials of access beneath the paths out of the audit log (ABI
// 10). It allows nothing, so a path that does not exist, or leads to an object of no
// filesystem, is skipped and named in [Report].Skipped. The kernel has one quiet mask
// for each ruleset: several calls add up to all their rights beneath all their paths.
// Mistakes are those of [Ruleset.Allow].
//
// A denial is kept out where this layer is the innermost one that denies, and all
// rights that it denies there are quiet: to open a file for reading and writing is
// logged where just one of the two is. Denials of tracing and of mounts are never
// quiet.
func (r *Ruleset) Quiet(access AccessFS, paths ...string) *Ruleset {
	return r.addPaths(wantedRule{Rule: Rule{FS: access, Optional: true, Quiet: true}}, paths)
}

// QuietNet keeps denials of access on the ports out of the audit log (ABI 10).
// It allows nothing. Calls add up, and layers count, as with [Ruleset.Quiet].
// Mistakes are those of [Ruleset.AllowNet].
func (r *Ruleset) QuietNet(access AccessNet, ports ...uint16) *Ruleset {
	return r.addPorts(Rule{Net: access, Quiet: true}, ports)
}

// QuietScope keeps denials by the scopes out of the audit log (ABI 10), where
// this layer is the innermost one that has the scope. Scopes
// that the ruleset does not handle are dropped; if no other is given, that is a
// mistake, and so are an unknown bit and a scope of 0.
func (r *Ruleset) QuietScope(scope Scope) *Ruleset {
	if !r.mayChange("QuietScope") {
		return r
	}
	if wrong := r.wrong(Rights{Scope: scope}, 1); wrong != nil {
		r.mistake("quiet scope %v: %w", scope, wrong)
		return r
	}
	r.quiet.Scope |= scope
	return r
}

// Use calls each preset on the ruleset, in order: a preset is a function that
// adds the rules for one purpose. An error that it returns is a mistake, unless it is
// one that is kept already, and so is a nil preset. Package [example.com/landlock/preset] has some.
//
// A preset adds rules, quiet ones among them, and nothing else. It is a mistake if it
// calls BestEffort, AllowNewPrivs, FilterSockets, Log or QuietScope, which then
// change nothing, if it loads the ruleset, which is not complete yet (Apply, Prepare,
// DryRun, Start, Check and their like), or if it puts another one in its place.
//
// What a preset adds by AllowOptional, AllowIf and Quiet is its own business: it
// names paths of many systems, and those that this one lacks are skipped without a
// word in [Report].Skipped. Call the preset on the ruleset yourself to have them
// named: then nothing that it does is a mistake, either.
func (r *Ruleset) Use(presets ...func(*Ruleset) error) *Ruleset {
	if r == nil {
		return nil
	}
	for _, preset := range presets {
		if preset == nil {
			r.mistake("nil preset")
			continue
		}
		for _, err := range r.unsaid(r.use(preset)) {
			r.mistake("preset: %w", err)
		}
	}
	return r
}

// unsaid returns an error of a preset. Of one that repeats mistakes that are kept, as
// that of loading the ruleset does, it returns what is joined with them.
func (r *Ruleset) unsaid(err error) (all []error) {
	isKept := func(err error) bool { return slices.Contains(r.mistakes, err) }
	switch {
	case err == nil, isKept(err):
		return nil
	case walk(err, isKept) == nil:
		return []error{err}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return r.unsaid(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, r.unsaid(err)...)
		}
	}
	return all
}

// use is one call of a preset. It is told by its address, so it is not of size 0.
type use struct{ _ byte }

// use calls a preset.
func (r *Ruleset) use(preset func(*Ruleset) error) error {
	before, applied := r.wanted, r.applied.Load()
	this := new(use)
	defer func() { // also where it panics
		// Any other ruleset lacks this use, and so does what r was before it.
		if r.preset != this {
			r.wanted = before
			r.applied.Store(applied)
			r.mistake("preset: it puts another ruleset in the place of the one that uses it, and may add rules alone")
		}
		r.preset = before.preset
	}()
	r.preset = this
	return preset(r)
}

// mayChange reports whether a method may change what the ruleset is apart from
// its rules. That a preset calls it is a mistake.
func (r *Ruleset) mayChange(method string) bool {
	if r != nil && r.preset != nil {
		r.mistake("preset: it calls %s, and may add rules alone: call it on the ruleset that uses the preset", method)
	}
	return r != nil && r.preset == nil
}

// Clone returns a copy: what is done to one of the two from now on does not
// show in the other. So a program can make one ruleset as a base, and add to a
// clone for each request. The open files of AllowFile are shared. That the ruleset
// was applied is not copied: the clone's Check answers for what it would be. Cloning
// is cheap, however many rules there are.
func (r *Ruleset) Clone() *Ruleset {
	if r == nil {
		return nil
	}
	clone := &Ruleset{wanted: r.wanted}
	clone.preset = nil // a preset's clone is not what Use is called on
	// Rules and mistakes are only ever appended. Without room at their ends,
	// the first append of the clone makes slices of its own.
	clone.rules = slices.Clip(r.rules)
	clone.mistakes = slices.Clip(r.mistakes)
	return clone
}

// Handled returns the rights that the ruleset handles.
func (r *Ruleset) Handled() Rights {
	if r == nil {
		return Rights{}
	}
	return r.handled
}

// Target returns the ABI that the ruleset was made for: the one given to [New],
// or the lowest that has all that was given to [NewHandling]. Where there is no
// such ABI, which is a mistake, it is 0.
func (r *Ruleset) Target() ABI {
	if r == nil {
		return 0
	}
	return r.target
}

// Rules yields the rules of the ruleset in the caller's order: one for each path and
// each port of each call, those of presets and the quiet ones too. A rule that is a
// mistake is none.
func (r *Ruleset) Rules() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		rules := r.orEmpty().rules // those of now, whatever is added meanwhile
		for i := range rules {
			if !yield(rules[i].Rule) {
				return
			}
		}
	}
}

// Options is what a [Ruleset] says besides the rights that it handles and its
// rules. The zero value is that of a ruleset as New makes it.
type Options struct {
	BestEffort    bool     `json:"best_effort"`    // BestEffort was called
	Floor         ABI      `json:"floor"`          // with this floor; 0 also where it was not called
	NewPrivs      bool     `json:"new_privs"`      // AllowNewPrivs was called
	FilterSockets bool     `json:"filter_sockets"` // FilterSockets was called
	Log           LogFlags `json:"log"`            // those of all calls of Log
	QuietScope    Scope    `json:"quiet_scope"`    // those of all calls of QuietScope, handled or not
}

// Options returns what the calls so far say.
func (r *Ruleset) Options() Options {
	r = r.orEmpty()
	return Options{r.bestEffort, r.floor, r.newPrivs, r.filtersSockets(), r.log, r.quiet.Scope}
}

// Mistakes returns what was wrong in the calls so far, in their order: what the
// methods that load the ruleset return, joined. Each Is [io/fs.ErrInvalid], and one
// that is about a single path or port is a [RuleError]. The slice is the caller's
// own. What shows only when the ruleset is loaded, such as a path that does not
// exist, is not among them: see [Ruleset.DryRun].
func (r *Ruleset) Mistakes() []error {
	r = r.orEmpty()
	if r.target == 0 && r.handled.isZero() && len(r.mistakes) == 0 {
		return []error{errNothing} // the zero Ruleset
	}
	return slices.Clone(r.mistakes)
}

// notToLoad returns why r is not to be loaded: its mistakes. That a preset loads
// what it is to add rules to is one.
func (r *Ruleset) notToLoad() []error {
	if r.preset != nil {
		r.mistake("preset: it loads the ruleset, to enforce or to ask it, and may add rules alone: do so after Use")
	}
	return r.Mistakes()
}

// String returns the ruleset in one line, for people: what it handles, its
// options, and its rules in the caller's order.
func (r *Ruleset) String() string {
	r = r.orEmpty()
	text := strings.Join(r.preamble(), ", ")
	before := "" // what the rule before this one allows
	for i := range r.rules {
		what, object := r.rules[i].words()
		switch {
		case before == "":
			text += ": " + what + " " + object
		case before == what:
			text += ", " + object
		default:
			text += "; " + what + " " + object
		}
		before = what
	}
	return text
}

// preamble returns what the ruleset is apart from its rules.
func (r *Ruleset) preamble() []string {
	all := []string{fmt.Sprint("ABI ", int(r.target))}
	if r.handled.isZero() || r.handled != r.target.Rights() {
		all[0] = "handling " + r.handled.brief()
	}
	if r.bestEffort && r.floor == 0 {
		all = append(all, "best effort even without Landlock")
	} else if r.bestEffort {
		all = append(all, fmt.Sprint("best effort from ABI ", int(r.floor)))
	}
	if r.newPrivs {
		all = append(all, "new privileges")
	}
	if r.filtersSockets() {
		all = append(all, "sockets filtered")
	}
	if r.log != 0 {
		all = append(all, r.log.String())
	}
	if quiet := (Rights{Scope: r.quiet.Scope}); !quiet.isZero() {
		all = append(all, "quiet "+quiet.brief())
	}
	if n := len(r.mistakes); n > 0 {
		all = append(all, fmt.Sprintf("MISTAKES (%d)", n))
	}
	return all
}

// orEmpty returns the zero Ruleset in place of nil: using it is a mistake, and
// no panic.
func (r *Ruleset) orEmpty() *Ruleset {
	if r == nil {
		return new(Ruleset)
	}
	return r
}

// mistake keeps an error for the methods that load the ruleset.
func (r *Ruleset) mistake(format string, args ...any) {
	r.mistakes = append(r.mistakes, mistake{fmt.Errorf("landlock: "+format, args...)})
}

// addPaths adds a rule for each path, like the one given.
func (r *Ruleset) addPaths(rule wantedRule, paths []string) *Ruleset {
	if r == nil {
		return nil
	}
	wrong := r.wrong(Rights{FS: rule.FS}, len(paths))
	r.rules = slices.Grow(r.rules, len(paths))
	rule.Port = -1
	for _, rule.Path = range paths {
		r.addRule(&rule, cmp.Or(wrong, wrongPath(rule.Path)))
	}
	return r
}

// addPorts is addPaths for ports.
func (r *Ruleset) addPorts(rule Rule, ports []uint16) *Ruleset {
	if r == nil {
		return nil
	}
	wrong := r.wrong(Rights{Net: rule.Net}, len(ports))
	for _, port := range ports {
		rule.Port = int(port)
		r.addRule(&wantedRule{Rule: rule}, wrong)
	}
	return r
}

// addRule adds a rule, or keeps the mistake that it is.
func (r *Ruleset) addRule(rule *wantedRule, wrong error) {
	if wrong != nil {
		r.mistakes = append(r.mistakes, rule.failed(wrong))
		return
	}
	rule.preset = r.preset != nil
	r.rules = append(r.rules, *rule)
	if rule.Quiet {
		r.quiet.FS |= rule.FS
		r.quiet.Net |= rule.Net
	}
}

// wrong returns why no rule can have this access. A call that names no object
// makes no rule; an access that no rule could have is a mistake all the same.
func (r *Ruleset) wrong(access Rights, objects int) error {
	var err error
	handled := r.handled
	if handled.FS != 0 {
		handled.FS |= FSRefer // which is denied then, handled or not
	}
	if unknown := access.minus(knownRights); access.isZero() {
		err = invalid("no access right given")
	} else if !unknown.isZero() {
		err = invalid(fmt.Sprint("unknown access right ", unknown))
	} else if !handled.isZero() && access.intersect(handled).isZero() && objects > 0 {
		return invalid(fmt.Sprintf("the ruleset does not handle this, so it is allowed everywhere: "+
			"handle it (New does from V%d on), or leave the rule out", int(access.since())))
	}
	if err != nil && objects == 0 {
		r.mistake("rule %v: %w", access, err)
	}
	return err
}
