package landlock

import "example.com/landlock/internal/seccomp"

// reach is whom one enforcement restricts.
type reach int

const (
	oneThread    reach = iota // a thread that then becomes a child, or ends
	wholeProcess              // every thread of this process
)

// netUDP is what governs a UDP socket as a whole.
const netUDP = NetBindUDP | NetConnectSendUDP

// plan is what one kernel can do of a ruleset: the arguments of every system
// call, and the report of it.
type plan struct {
	// Of landlock_create_ruleset. Nothing handled: there is nothing to enforce.
	handled, quiet Rights
	attrSize       uintptr // how much of the attr this kernel knows

	// Of landlock_add_rule: the ruleset's own rules, not changed by the
	// plan. What is left of one on this kernel: forPath and forPort.
	rules  []wantedRule
	strict bool // no BestEffort

	restriction                  // its filter is made of sockets, once loaded
	sockets     *seccomp.Sockets // what the seccomp filter refuses; nil where there is none

	report Report // what it skips, and NoIoctl, are known once it is loaded
}

// restriction is what is done to a thread besides enforcing a ruleset.
type restriction struct {
	flags      uint32 // of landlock_restrict_self
	noNewPrivs bool   // set it by prctl first
	filter     socketFilter
}

func (r *restriction) setsNoNewPrivs() bool { return r.noNewPrivs || r.flags&restrictNoNewPrivs != 0 }

// forPath returns the arguments of landlock_add_rule for a path rule. Neither
// is set where the kernel has no use for it.
func (p *plan) forPath(rule *wantedRule) (allowed AccessFS, flags uint32) {
	if !rule.Quiet {
		return rule.FS & p.handled.FS, 0
	}
	if p.quiet.FS != 0 {
		flags = addRuleQuiet
	}
	return 0, flags
}

// forPort is forPath for ports.
func (p *plan) forPort(rule *wantedRule) (allowed AccessNet, flags uint32) {
	if !rule.Quiet {
		return rule.Net & p.handled.Net, 0
	}
	if p.quiet.Net != 0 {
		flags = addRuleQuiet
	}
	return 0, flags
}

// fit works out what a kernel can do of r. It is pure: it makes no system call
// and changes nothing. That no seccomp filter can be had is noFilter; it is nil
// where one can. The error is an *UnsupportedError.
func (r *Ruleset) fit(kernel Kernel, noFilter error, who reach) (*plan, error) {
	p := r.assess(kernel, noFilter, who)
	if !r.accepts(p) {
		return nil, r.unsupported(p, noFilter, who)
	}
	abi := kernel.ABI.known()
	p.attrSize = attrSize(abi)
	p.noNewPrivs = !r.newPrivs && abi < abiNoNewPrivs
	if abi >= abiLog {
		p.flags |= uint32(r.log)
	}
	if abi >= abiTSYNC && who == wholeProcess {
		p.flags |= restrictTSYNC
	}
	if abi >= abiNoNewPrivs && !r.newPrivs {
		p.flags |= restrictNoNewPrivs
	}
	if abi >= abiQuiet {
		p.quiet = r.quiet.intersect(p.handled)
	}
	p.rules, p.strict = r.rules, !r.bestEffort
	return p, nil
}

// assess fills in what is handled, and the report.
func (r *Ruleset) assess(kernel Kernel, noFilter error, who reach) *plan {
	abi := kernel.ABI.known()
	handled := r.handled.intersect(restrictable(abi, who))
	p := &plan{handled: handled, report: Report{Kernel: kernel, Enforced: handled}}
	if handled.FS != 0 {
		r.assessRefer(p, abi)
	}
	if r.filtersSockets() {
		r.assessSockets(p, noFilter)
	}
	p.report.Missing = r.handled.minus(p.report.Enforced)
	if abi < abiLog {
		p.report.MissingLog = r.log
	}
	p.report.MissingQuiet = abi < abiQuiet && !r.quiet.intersect(r.handled.union(p.handled)).isZero()
	return p
}

// restrictable returns the rights that a kernel can restrict for who. Below ABI
// 8 each thread gets a domain of its own, and a scope would cut the threads of
// a process off from each other's sockets and children: not for a whole
// process.
func restrictable(abi ABI, who reach) Rights {
	can := abi.Rights()
	if who == wholeProcess && abi < abiTSYNC {
		can.Scope = 0
	}
	return can
}

// assessRefer settles the one right that is denied whether handled or not. A
// rule that names it needs it handled, which denies no more than before. ABI 1
// denies it as well, and has no rule for it.
func (r *Ruleset) assessRefer(p *plan, abi ABI) {
	p.report.Enforced.FS |= FSRefer
	var named, allowed AccessFS
	for i := range r.rules {
		rule := &r.rules[i]
		named |= rule.FS & FSRefer
		if !rule.Quiet {
			allowed |= rule.FS & FSRefer
		}
	}
	if abi == V1 {
		p.report.Denied = allowed
		return
	}
	p.handled.FS |= named
}

// assessSockets settles what the seccomp filter is to refuse. Where Landlock
// does not know UDP yet, and none is to be allowed, that is UDP as a whole.
func (r *Ruleset) assessSockets(p *plan, noFilter error) {
	if noFilter != nil {
		p.report.MissingSocketFilter = true
		return
	}
	p.report.SocketFilter = true
	p.sockets = &seccomp.Sockets{
		RefuseUDP:      p.handled.Net&netUDP == 0 && r.refusesUDP(),
		RefuseFastOpen: r.handled.Net&NetConnectTCP != 0,
	}
	p.report.Enforced.Net |= p.inStead().Net
}

// refusesUDP reports whether r wants no UDP at all.
func (r *Ruleset) refusesUDP() bool {
	for i := range r.rules {
		if rule := &r.rules[i]; !rule.Quiet && rule.Net&netUDP != 0 {
			return false
		}
	}
	return r.handled.Net&netUDP == netUDP
}

// inStead returns the rights that the socket filter enforces in the kernel's
// stead.
func (p *plan) inStead() Rights {
	if p.sockets != nil && p.sockets.RefuseUDP {
		return Rights{Net: netUDP}
	}
	return Rights{}
}

// accepts reports whether the caller puts up with what a kernel can do.
func (r *Ruleset) accepts(p *plan) bool {
	report := &p.report
	switch {
	case r.bestEffort:
		return report.Kernel.ABI >= r.floor && (r.floor == 0 || !report.Enforced.isZero())
	case report.Shortfall != (Shortfall{Denied: report.Denied}):
		return false
	case r.byRights:
		return report.Denied == 0
	}
	return report.Kernel.ABI >= r.strictABI(p)
}

// strictABI returns the lowest ABI that a strict ruleset of New takes: its target,
// or less where it is only for what the socket filter enforces that it is so high.
func (r *Ruleset) strictABI(p *plan) ABI {
	if inStead := p.inStead(); r.target == abiUDP && !inStead.isZero() {
		return lowestABI(r.handled.minus(inStead))
	}
	return r.target
}

// unsupported returns the error for a plan that is not accepted.
func (r *Ruleset) unsupported(p *plan, noFilter error, who reach) error {
	abi := p.report.Kernel.ABI.known()
	needed := abi // where it is only the filter that is missing
	for needed < newest && !r.accepts(r.assess(Kernel{ABI: needed}, nil, who)) {
		needed++
	}
	e := &UnsupportedError{Kernel: p.report.Kernel, Needed: needed, Shortfall: p.report.Shortfall, bestEffort: r.bestEffort}
	e.Missing = r.handled.minus(restrictable(abi, who)).minus(p.inStead())
	e.threadScopes = e.Missing.Scope&abi.Scopes() != 0
	if e.MissingSocketFilter && (needed == abi || !r.bestEffort) {
		e.noFilter = noFilter
	}
	return e
}

// attrSize returns how many bytes of landlock_ruleset_attr an ABI knows.
func attrSize(abi ABI) uintptr {
	switch {
	case abi >= abiQuiet:
		return 48
	case abi >= V6:
		return 24
	case abi >= V4:
		return 16
	}
	return 8
}
