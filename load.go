package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"example.com/landlock/internal/place"
	"example.com/landlock/internal/seccomp"
)

var errOnlyDirectories error = &sentinel{"not a directory, and only directories can have these rights", syscall.ENOTDIR}

// loaded is a ruleset that the kernel has: the plan that it follows, its descriptor,
// which is noRuleset where there is nothing to enforce, and what answers for it. The
// descriptor is the checker's to close.
type loaded struct {
	*plan
	ruleset int
	checker *checker

	open    opener          // of the rules' paths
	files   []fileRule      // what each rule was added for
	mounts  []place.ID      // the first of each file system
	below   *bool           // whether the working directory is beneath "/"; nil: not asked yet
	skipped map[string]bool // what report.Skipped names
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
	l := &loaded{plan: p, ruleset: noRuleset}
	if err == nil && !p.handled.isZero() {
		errs = append(errs, l.makeRuleset()...)
	}
	if len(errs) == 0 {
		if l.checker, err = l.newChecker(); err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	if l.ruleset != noRuleset {
		closeFd(l.ruleset)
	}
	return nil, joined(errs)
}

// makeRuleset makes the system calls of the plan, and returns an error for each that
// failed, or else has the ruleset.
func (l *loaded) makeRuleset() []error {
	ruleset, err := createRuleset(l.handled, l.quiet, l.attrSize)
	if err != nil {
		return []error{fmt.Errorf("landlock: make the ruleset: %w", err)}
	}
	l.ruleset = ruleset
	complete := false
	defer func() { // also where a judge panics
		if !complete {
			closeFd(ruleset)
			l.ruleset = noRuleset
		}
	}()
	errs := l.addRules()
	complete = len(errs) == 0
	return errs
}

// addRules adds every rule, and returns an error for each that is wrong.
func (l *loaded) addRules() []error {
	var errs []error
	defer l.open.close()
	for i := range l.rules {
		rule := &l.rules[i]
		var err error
		if rule.isPort() {
			err = l.addPortRule(rule)
		} else {
			err = l.addPathRule(rule)
		}
		switch _, refused := err.(*RuleError); {
		case err == nil:
		case rule.Optional && (errors.Is(err, fs.ErrNotExist) || !refused && (errors.Is(err, errNoPlace) || errors.Is(err, errOnlyDirectories))):
			l.skip(rule)
		case refused:
			errs = append(errs, err)
		default:
			errs = appendRuleError(errs, err, rule)
		}
	}
	l.report.NoIoctl = noIoctl(l.files)
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
func (l *loaded) skip(rule *wantedRule) {
	if rule.preset {
		return
	}
	if l.skipped == nil {
		l.skipped = make(map[string]bool)
	}
	if !l.skipped[rule.Path] {
		l.skipped[rule.Path] = true
		l.report.Skipped = append(l.report.Skipped, rule.Path)
	}
}

// addPortRule adds a rule for a port, where this kernel has a use for it. Without a ruleset
// there is nothing to be found out: any port is taken.
func (l *loaded) addPortRule(rule *wantedRule) error {
	allowed, flags := l.forPort(rule)
	if allowed == 0 && flags == 0 || l.ruleset == noRuleset {
		return nil
	}
	return addPort(l.ruleset, uint16(rule.Port), allowed, flags)
}

// addPathRule opens the rule's path, or borrows its file, and adds the rule.
func (l *loaded) addPathRule(rule *wantedRule) error {
	if rule.Open {
		return l.addFileRule(rule, rule.file)
	}
	fd, err := l.open.path(rule.Path)
	if err != nil {
		return err
	}
	if rule.Judged {
		l.open.close() // it may need descriptors
		return l.addJudgedRule(rule, os.NewFile(uintptr(fd), rule.Path))
	}
	defer l.open.closeLater(fd)
	return l.addOpenRule(rule, fd)
}

// addJudgedRule adds the rule for what was found at its path, unless its judge
// objects. That is a RuleError: what the judge returns may be an error of this package
// from elsewhere, and is not to be taken for one about the rule.
func (l *loaded) addJudgedRule(rule *wantedRule, found *os.File) error {
	defer found.Close()
	given := *found // which the judge may overwrite
	if err := rule.judge(&given); err != nil {
		return rule.failed(err)
	}
	return l.addFileRule(rule, found)
}

// addFileRule adds the rule for a file that somebody else may close, or overwrite.
func (l *loaded) addFileRule(rule *wantedRule, file *os.File) error {
	if *file == (os.File{}) {
		return errNilFile
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	// Not by Fd, which may turn the file into a blocking one.
	if conn.Control(func(fd uintptr) { err = l.addOpenRule(rule, int(fd)) }) != nil {
		return os.ErrClosed
	}
	return err
}

// addOpenRule adds the rule for an open file, and notes which file that is. Of rights
// that just a directory can have the kernel takes none on another file.
func (l *loaded) addOpenRule(rule *wantedRule, fd int) error {
	allowed, flags := l.forPath(rule)
	if allowed == 0 && flags == 0 {
		return l.tryRule(fd, rule)
	}
	id, directory, removed, err := place.Opened(fd)
	if err != nil {
		return err
	}
	if !directory && allowed&^fsFile != 0 {
		if allowed &= fsFile; allowed == 0 {
			return l.tryRule(fd, rule)
		}
	}
	if l.ruleset != noRuleset {
		err = addPath(l.ruleset, fd, allowed, flags)
	} else if place.IsNowhere(fd) {
		err = errNoPlace
	}
	if err != nil {
		return err
	}
	if allowed == 0 {
		return nil // a quiet one
	}
	devices, err := l.opensDevices(rule, fd, allowed)
	if err != nil {
		return err
	}
	if l.files == nil {
		l.files = make([]fileRule, 0, len(l.rules))
	}
	l.noteMount(id)
	l.files = append(l.files, fileRule{
		id: id.OnAnyMount(), rule: rule, allowed: allowed, directory: directory, removed: removed, devices: devices,
		unreached: directory && !removed && l.mayLeadOut(rule) && !place.Reachable(fd, id, rule.Path),
	})
	return nil
}

// mayLeadOut reports whether a rule may be for something that is not beneath the root of
// this process: what was open, or found by a link of /proc, or from a working directory
// that is not there itself.
func (l *loaded) mayLeadOut(rule *wantedRule) bool {
	if rule.isRelative() && l.below == nil {
		below := place.WorkingDirectoryReachable()
		l.below = &below
	}
	return rule.Open || strings.Contains(rule.Path, "/proc/") || rule.isRelative() && !*l.below
}

// noteMount keeps by which mount a file system was met first.
func (l *loaded) noteMount(id place.ID) {
	for i := range l.mounts {
		if l.mounts[i].Device == id.Device {
			return
		}
	}
	l.mounts = append(l.mounts, id)
}

// tryRule returns why a rule is wrong of which this kernel knows no right: one
// that is wrong is wrong on every kernel. It asks by a ruleset of its own, with
// rights that each kernel knows. Without a ruleset there is none to ask.
func (l *loaded) tryRule(fd int, rule *wantedRule) error {
	access := FSReadFile
	if rule.FS&fsFile == 0 && !rule.Quiet {
		access = FSReadDir
	}
	if l.ruleset == noRuleset {
		if access == FSReadDir {
			return errOnlyDirectories
		}
		return nil
	}
	l.open.close() // no descriptor is to be missing for those that are kept for later
	own, err := createRuleset(V1.Rights(), Rights{}, attrSize(V1))
	if err != nil {
		return &commonError{fmt.Errorf("landlock: make a ruleset to try rules with: %w", err)}
	}
	defer closeFd(own)
	if err = addPath(own, fd, access, 0); access == FSReadDir && errors.Is(err, syscall.EINVAL) {
		return errOnlyDirectories
	}
	return err
}

// newChecker returns what answers for all that was loaded.
func (l *loaded) newChecker() (*checker, error) {
	c := &checker{kernel: l.report.Kernel, denied: l.report.Enforced, sockets: l.report.SocketFilter, refused: l.inStead(), strict: l.strict,
		rules: l.files, mounts: l.mounts, ruleset: l.ruleset}
	for i := range l.rules {
		if allowed, _ := l.forPort(&l.rules[i]); allowed != 0 {
			if c.ports == nil {
				c.ports = make(map[uint16]AccessNet)
			}
			c.ports[uint16(l.rules[i].Port)] |= allowed
		}
	}
	if slices.ContainsFunc(c.rules, func(f fileRule) bool { return f.rule.isRelative() }) {
		c.here, _ = syscall.Getwd() // without it less can be explained; os.Getwd would link much more
	}
	if len(c.rules) > 0 {
		var err error
		if c.root, err = place.Root(); err != nil {
			return nil, fmt.Errorf("landlock: find out what is loaded: %w", err)
		}
	}
	return c, nil
}

// layers returns what answers for r: what is in force, and where that is nothing, or r was
// changed since, what Prepare would load now. The caller closes it.
func (r *Ruleset) layers() (layers, error) {
	var inForce layers
	if r != nil {
		if now := r.applied.Load(); now != nil {
			if now.isAs(&r.wanted) {
				return now.layers, nil
			}
			inForce = now.layers
		}
	}
	l, err := r.load(oneThread)
	if err != nil {
		return nil, err
	}
	return append(slices.Clip(inForce), l.checker), nil
}

// isAs reports whether nothing was added that matters to what is allowed. Rules and
// mistakes are only ever appended.
func (w *wanted) isAs(other *wanted) bool {
	return len(w.rules) == len(other.rules) && len(w.mistakes) == len(other.mistakes) &&
		w.filtersSockets() == other.filtersSockets() && w.bestEffort == other.bestEffort && w.floor == other.floor
}

// joined returns errors as one, of which there is at least one.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
