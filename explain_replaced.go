package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// A rule belongs to the file that its path led to when it was loaded. Once there is
// another one, the rule is of no use for it, and its path tells so.

// rulesByPath returns the rules by their paths, from the root.
func (c *checker) rulesByPath() map[string][]*fileRule {
	c.pathsOnce.Do(func() {
		c.paths = make(map[string][]*fileRule, len(c.rules))
		for i := range c.rules {
			if rule := &c.rules[i]; rule.path != "" {
				path := filepath.Clean(rule.path)
				c.paths[path] = append(c.paths[path], rule)
			}
		}
	})
	return c.paths
}

// replacement is what took the place of a file that a rule is for.
type replacement struct {
	rule    string   // the path
	allowed AccessFS // by the rule, on the file that was there
	now     *place   // closed
}

// replaced returns the nearest rule for one of these paths, or what is above one, that
// would allow some of what is missing if its path still led to the same file.
func (c *checker) replaced(missing AccessFS, paths ...string) (found replacement, ok bool) {
	rules := c.rulesByPath()
	for _, path := range paths {
		path, err := filepath.Abs(path)
		for ; err == nil; path = filepath.Dir(path) {
			if found, ok := replacedBy(missing, rules[path]); ok {
				return found, true
			}
			if path == "/" {
				break
			}
		}
	}
	return replacement{}, false
}

func replacedBy(missing AccessFS, rules []*fileRule) (found replacement, ok bool) {
	for _, rule := range rules {
		if rule.allowed&missing == 0 {
			continue
		}
		if found.now == nil {
			now, err := findPlace(rule.path, true)
			if err != nil {
				return replacement{}, false
			}
			now.close()
			found.now = now
		}
		if found.now.exists() && found.now.id.onAnyMount() != rule.id {
			found.rule = rule.rule.path
			found.allowed |= rule.allowed
		}
	}
	return found, found.allowed != 0
}

// orReplaced returns e, or where all that it misses is what a rule allows on a file that
// was replaced, that. The paths are those by which what failed was asked for.
func (c *checker) orReplaced(e *DeniedError, paths ...string) *DeniedError {
	if e == nil || e.Missing.FS == 0 {
		return e
	}
	found, ok := c.replaced(e.Missing.FS, append(paths, e.Path)...)
	if !ok || e.Missing.FS&^found.allowed != 0 {
		return e
	}
	return c.denyReplaced(e.Missing.FS, e, found)
}

// denyReplaced returns the error for rights that a rule allows on a file that was
// replaced. The directory that the file is in keeps its rule, and also holds the next one.
func (c *checker) denyReplaced(missing AccessFS, e *DeniedError, found replacement) *DeniedError {
	rule := "its rule"
	if found.rule != e.Path {
		rule = "the rule for " + printable(found.rule)
	}
	replaced := &DeniedError{Path: e.Path, Port: -1, Missing: Rights{FS: missing}, Nearest: e.Nearest, Allowed: e.Allowed,
		Guess: e.Guess, Uncertain: e.Uncertain, what: rule + " is for another file than the one there now: it was replaced"}
	if call, on := c.call(missing, filepath.Dir(found.now.path), true); call != "" && on != "/" {
		replaced.suggest(call, on)
		return replaced
	}
	if call, on := c.remedy(missing, found.now); call != "" {
		replaced.suggest(call, on)
		replaced.remedy += ", once the ruleset is loaded again"
	}
	return replaced
}

// allowedNow is for a ruleset that was loaded to explain what failed under one that was
// loaded earlier: it allows a file by a rule for the file itself.
func (c *checker) allowedNow(p *place) []error {
	if c.ruleset == noRuleset || !p.exists() || p.isDirectory() {
		return nil
	}
	rule := c.allRules()[p.id.onAnyMount()]
	if rule.allowed == 0 {
		return nil
	}
	return []error{fmt.Errorf("landlock: the rule for %s allows it now: "+
		"if the file was replaced since the ruleset was enforced, allow its directory; otherwise another layer or security module denied it", printable(rule.path))}
}

// layersNow returns what answers for r, as layers does. Rules whose path is gone are
// left out, and their paths returned: nothing is denied for want of them that is there.
func (r *Ruleset) layersNow() (l layers, gone []string, err error) {
	l, err = r.layers()
	if gone = pathsGone(err); len(gone) == 0 {
		return l, nil, err
	}
	rest := r.Clone()
	rest.paths = make([]pathRule, len(r.paths))
	for i, rule := range r.paths {
		rule.optional = true
		rest.paths[i] = rule
	}
	l, err = rest.layers()
	return l, gone, err
}

// pathsGone returns the paths of rules that err says do not exist, if it says nothing else.
func pathsGone(err error) (paths []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			one := pathsGone(err)
			if one == nil {
				return nil
			}
			paths = append(paths, one...)
		}
		return paths
	}
	rule, ok := err.(*RuleError)
	if !ok || rule.Path == "" || !errors.Is(rule, fs.ErrNotExist) {
		return nil
	}
	return []string{rule.Path}
}

// withoutRules says which rules were left out.
func withoutRules(gone []string) string {
	const most = 3
	var names []string
	for _, path := range gone[:min(len(gone), most)] {
		names = append(names, printable(path))
	}
	text := "left out, since there is no such path now: the rule for " + strings.Join(names, ", ")
	if len(gone) > most {
		text += fmt.Sprintf(" and %d more", len(gone)-most)
	}
	return text
}
