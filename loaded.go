package landlock

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// checker is a ruleset as it was loaded: what is denied, and which files its rules
// are for. It knows those by their numbers and keeps none open: as long as the
// kernel has the rules, it gives the numbers to no other files.
type checker struct {
	kernel  Kernel
	denied  Rights // denied, except where a rule allows it
	sockets bool   // there is a socket filter
	refused Rights // what of denied that one denies, in the kernel's stead
	strict  bool   // the ruleset is loaded with all rules, or not at all
	ports   map[uint16]AccessNet
	rules   []fileRule
	mounts  []fileID // by which the first rule of each file system was loaded
	root    fileID   // what "/" was
	here    string   // the working directory, if a rule's path is relative to it

	once    sync.Once
	files   map[fileID]grant // of rules, made when it is asked for
	outside AccessFS         // what rules allow that may be for directories above "/"

	pathsOnce sync.Once
	paths     map[string][]*fileRule // of rules, made when an error is explained by it

	ruleset int // to be closed in the end: noRuleset where others do that
}

// fileRule is a rule for a path, and the file that was there.
type fileRule struct {
	id        fileID // on any mount
	rule      *wantedRule
	allowed   AccessFS
	directory bool
	removed   bool // and has nothing beneath
	devices   bool // are opened by it
	unreached bool // a directory to which no path is known: it may be above "/"
}

// grant is what the rules of one file allow.
type grant struct {
	path    string // of the first of them
	allowed AccessFS
}

// newChecker returns what a plan has loaded as ruleset.
func (p *plan) newChecker(ruleset int) (*checker, error) {
	c := &checker{kernel: p.report.Kernel, denied: p.report.Enforced, sockets: p.report.SocketFilter, refused: p.inStead(), strict: p.strict,
		rules: p.files, mounts: p.mounts, ruleset: ruleset}
	for i := range p.rules {
		if allowed, _ := p.forPort(&p.rules[i]); allowed != 0 {
			if c.ports == nil {
				c.ports = make(map[uint16]AccessNet)
			}
			c.ports[uint16(p.rules[i].Port)] |= allowed
		}
	}
	if slices.ContainsFunc(c.rules, func(f fileRule) bool { return f.rule.isRelative() }) {
		c.here, _ = syscall.Getwd() // without it less can be explained; os.Getwd would link much more
	}
	if len(c.rules) > 0 {
		var err error
		if c.root, err = rootDirectory(); err != nil {
			return nil, fmt.Errorf("landlock: find out what is loaded: %w", err)
		}
	}
	return c, nil
}

// mayLeadOut reports whether a rule may be for something that is not beneath the root of
// this process: what was open, or found by a link of /proc, or from a working directory
// that is not there itself.
func (p *plan) mayLeadOut(rule *wantedRule) bool {
	if rule.isRelative() && p.below == nil {
		below := workingDirectoryReached()
		p.below = &below
	}
	return rule.Open || strings.Contains(rule.Path, "/proc/") || rule.isRelative() && !*p.below
}

// isRelative reports whether a rule's path was taken from the working directory. The name
// of an open file that is relative may be so to any directory.
func (rule *wantedRule) isRelative() bool { return !rule.Open && !filepath.IsAbs(rule.Path) }

// absolutePath returns the path of a rule from the root, or "" where that is not known.
func (c *checker) absolutePath(rule *wantedRule) string {
	switch {
	case filepath.IsAbs(rule.Path):
		return filepath.Clean(rule.Path)
	case rule.isRelative() && c.here != "":
		return filepath.Join(c.here, rule.Path)
	}
	return ""
}

// allRules returns the rules by their files.
func (c *checker) allRules() map[fileID]grant {
	c.once.Do(func() {
		c.files = make(map[fileID]grant, len(c.rules))
		for i := range c.rules {
			f := &c.rules[i]
			g, known := c.files[f.id]
			if !known {
				g.path = f.rule.Path
			}
			g.allowed |= f.allowed
			c.files[f.id] = g
			if f.unreached {
				c.outside |= f.allowed
			}
		}
	})
	return c.files
}

// aboveRoot returns what rules may allow on directories above the root of this
// process, where the kernel goes on and no path leads to.
func (c *checker) aboveRoot(root fileID) AccessFS {
	c.allRules()
	if root == c.root {
		return c.outside
	}
	var all AccessFS
	for i := range c.rules {
		if c.rules[i].directory && !c.rules[i].removed {
			all |= c.rules[i].allowed
		}
	}
	return all
}

func (c *checker) close() {
	if c.ruleset != noRuleset {
		closeFd(c.ruleset)
		c.ruleset = noRuleset
	}
}

// layers is what answers for a ruleset: one for each time that it was applied, or
// one for what would be loaded now.
type layers []*checker

func (l layers) close() {
	for _, c := range l {
		c.close()
	}
}

// applied is what Apply has made of a ruleset.
type applied struct {
	wanted // as it was
	layers layers
}

// noteApplied keeps what is enforced from now on, to answer for it.
func (r *Ruleset) noteApplied(c *checker) {
	for {
		before := r.applied.Load()
		now := &applied{wanted: r.wanted, layers: layers{c}}
		if before != nil {
			now.layers = append(append(layers{}, before.layers...), c)
		}
		if r.applied.CompareAndSwap(before, now) {
			return
		}
	}
}

// isAs reports whether nothing was added that matters to what is allowed. Rules and
// mistakes are only ever appended.
func (w *wanted) isAs(other *wanted) bool {
	return len(w.rules) == len(other.rules) && len(w.mistakes) == len(other.mistakes) &&
		w.filtersSockets() == other.filtersSockets() && w.bestEffort == other.bestEffort && w.floor == other.floor
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

// onTarget returns what would answer for r on a kernel that can restrict all that r
// handles.
func (r *Ruleset) onTarget() (layers, error) {
	r = r.orEmpty()
	if mistakes := r.notToLoad(); len(mistakes) > 0 {
		return nil, joined(mistakes)
	}
	if !hasPlaces {
		return nil, ErrNotBuilt
	}
	p, err := r.fit(Kernel{ABI: newest, Errata: ^Errata(0)}, nil, oneThread)
	if err != nil {
		return nil, err
	}
	if errs := p.addRules(noRuleset); len(errs) > 0 {
		return nil, joined(errs)
	}
	c, err := p.newChecker(noRuleset)
	return layers{c}, err
}

// joined returns errors as one, of which there is at least one.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// layers returns what answers for s. Once it is closed nothing keeps the numbers of its
// files from being given to others.
func (s *Sandbox) layers() (layers, error) {
	if s == nil || s.checker == nil || s.closed.Load() {
		return nil, errClosed
	}
	return layers{s.checker}, nil
}
