package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/landlock/internal/place"
)

// A rule belongs to the file that its path led to when it was loaded. Once there is
// another one, the rule is of no use for it, and its path tells so.

// rulesByPath returns the rules by their paths, from the root. Those for open files are
// left out: the name of such a file need not have led to it.
func (c *checker) rulesByPath() map[string][]*fileRule {
	c.pathsOnce.Do(func() {
		c.paths = make(map[string][]*fileRule, len(c.rules))
		for i := range c.rules {
			rule := &c.rules[i]
			if path := c.absolutePath(rule.rule); path != "" && !rule.rule.Open {
				c.paths[path] = append(c.paths[path], rule)
			}
		}
	})
	return c.paths
}

// replacement is what took the place of a file that a rule is for.
type replacement struct {
	rule    string       // the path, as the ruleset has it
	path    string       // from the root
	allowed AccessFS     // by the rule, on the file that was there
	now     *place.Place // closed
}

// replaced returns the nearest rule for a file, or what is above it, that would allow
// some of what is missing if its path still led to where it did. The file is at on, and
// these paths lead to it: rules for links on the way count too.
func (c *checker) replaced(missing AccessFS, on string, paths ...string) (found replacement, ok bool) {
	if missing == 0 {
		return replacement{}, false
	}
	rules := c.rulesByPath()
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			continue
		}
		way := []string{path}
		for _, link := range linksOf(path) {
			way = append(way, link.path)
		}
		for _, path := range way {
			if found, ok := replacedAbove(missing, on, path, rules); ok {
				return found, true
			}
		}
	}
	return replacement{}, false
}

func replacedAbove(missing AccessFS, on, path string, rules map[string][]*fileRule) (found replacement, ok bool) {
	for {
		if found, ok := replacedBy(missing, path, rules[path]); ok && isBeneath(on, found.now.Path) {
			return found, true
		}
		if path == "/" {
			return replacement{}, false
		}
		path = filepath.Dir(path)
	}
}

func replacedBy(missing AccessFS, path string, rules []*fileRule) (found replacement, ok bool) {
	for _, rule := range rules {
		if rule.allowed&missing == 0 {
			continue
		}
		if found.now == nil {
			now, err := findPlace(path, true)
			if err != nil {
				return replacement{}, false
			}
			now.Close()
			found.now = now
		}
		if found.now.Exists() && found.now.ID.OnAnyMount() != rule.id {
			found.rule, found.path = rule.rule.Path, path
			found.allowed |= rule.allowed
		}
	}
	return found, found.allowed != 0
}

// symlink is a symbolic link on the way of a path.
type symlink struct {
	at   string // where it is, with no other link on the way
	to   string // where it leads
	path string // what is left of the path, once it is followed
}

// isLast reports whether the path ends with it.
func (l symlink) isLast() bool { return l.path == l.to }

// linksOf returns the links on the way of a path from the root, in the order in which
// they are followed.
func linksOf(path string) (all []symlink) {
	for len(all) < place.MaxLinks {
		link, ok := firstLink(path)
		if !ok {
			break
		}
		all = append(all, link)
		path = link.path
	}
	return all
}

func firstLink(path string) (link symlink, ok bool) {
	for end := 1; end <= len(path); end++ {
		if end < len(path) && path[end] != '/' {
			continue
		}
		at := path[:end]
		to, err := os.Readlink(at)
		if err != nil {
			continue // it is none
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		to = filepath.Clean(to)
		return symlink{at: at, to: to, path: filepath.Join(to, path[end:])}, true
	}
	return symlink{}, false
}

// holder returns the narrowest directory for a rule that is to hold what the path leads
// to now, and what it does once that is replaced again or a link on the way is switched.
// There is none where a link leads out of its own directory: who may switch it would
// choose what is advised. Nor is one of the system's, which holds too much else.
func (found replacement) holder() (dir string, ok bool) {
	dir = filepath.Dir(found.now.Path)
	for _, link := range linksOf(found.path) {
		in, to := filepath.Dir(link.at), filepath.Dir(link.to)
		inside := isBeneath(link.to, in)
		switch {
		case !link.isLast() && isSystems(in) && filepath.Dir(in) == "/" && (!inside || in == "/" || isSystems(to)):
			continue // as the system has for directories, such as /var/run
		case !inside:
			return "", false
		case link.isLast() && !found.now.IsDirectory():
			to = in // where a file may be the next
		}
		for !isBeneath(to, dir) {
			dir = filepath.Dir(dir)
		}
	}
	return dir, !holdsTooMuch(dir)
}

// holdsTooMuch reports whether nobody is advised to let a program read all that is
// beneath a directory because of one file.
func holdsTooMuch(dir string) bool {
	above := filepath.Dir(dir)
	return above == "/home" || above == "/" && isSystems(dir)
}

// orReplaced returns e, or where all that it misses is what a rule allows on a file that
// was replaced, that. The paths are those by which what failed was asked for.
func (c *checker) orReplaced(e *DeniedError, paths ...string) *DeniedError {
	if e == nil {
		return nil
	}
	found, ok := c.replaced(e.Missing.FS, e.Path, append(paths, e.Path)...)
	if !ok || e.Missing.FS&^found.allowed != 0 {
		return e
	}
	return c.denyReplaced(e, found)
}

// denyReplaced returns e as the error for what a rule allows on a file that was replaced.
// The directory that the file is in keeps its rule, and also holds the next one.
func (c *checker) denyReplaced(e *DeniedError, found replacement) *DeniedError {
	rule := "its rule"
	if found.rule != e.Path {
		rule = "the rule for " + printable(found.rule)
	}
	replaced := *e
	replaced.what = rule + " is for another file than the one there now: it was replaced"
	if dir, ok := found.holder(); ok && isBeneath(e.Path, dir) {
		holding := replaced
		if c.adviseOn(&holding, e.Missing.FS, dir, true); holding.Rule != (Rule{}) {
			return &holding
		}
	}
	if len(linksOf(found.path)) == 0 { // so the same rule will do
		c.advise(&replaced, e.Missing.FS, found.now)
	}
	if replaced.Rule != (Rule{}) {
		replaced.with = ", once the ruleset is loaded again"
	}
	return &replaced
}

// allowedNow is for a ruleset that was loaded to explain what failed under one that was
// loaded earlier: it allows a file by a rule for the file itself.
func (c *checker) allowedNow(p *place.Place) []error {
	if c.ruleset == noRuleset || !p.Exists() || p.IsDirectory() {
		return nil
	}
	rule := c.allRules()[p.ID.OnAnyMount()]
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
	rest.rules = slices.Clone(r.rules)
	for i := range rest.rules {
		rest.rules[i].Optional = !rest.rules[i].Open
	}
	rest.applied.Store(r.applied.Load())
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
