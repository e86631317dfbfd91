package landlock

import (
	"path/filepath"
	"sync"

	"example.com/landlock/internal/place"
)

// noRuleset stands in place of a ruleset's descriptor where there is nothing to
// enforce.
const noRuleset = -1

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
	mounts  []place.ID // by which the first rule of each file system was loaded
	root    place.ID   // what "/" was
	here    string     // the working directory, if a rule's path is relative to it

	once    sync.Once
	files   map[place.ID]grant // of rules, made when it is asked for
	outside AccessFS           // what rules allow that may be for directories above "/"

	pathsOnce sync.Once
	paths     map[string][]*fileRule // of rules, made when an error is explained by it

	ruleset int // to be closed in the end: noRuleset where others do that
}

// fileRule is a rule for a path, and the file that was there.
type fileRule struct {
	id        place.ID // on any mount
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
func (c *checker) allRules() map[place.ID]grant {
	c.once.Do(func() {
		c.files = make(map[place.ID]grant, len(c.rules))
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
func (c *checker) aboveRoot(root place.ID) AccessFS {
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

// hasDomain reports whether Landlock enforces anything, and so keeps processes apart.
func (c *checker) hasDomain() bool {
	return c.denied.FS != 0 || c.denied.Scope != 0 || c.denied.Net&^c.refused.Net != 0
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
