package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/landlock/internal/place"
)

// Check reports whether the ruleset allows access on a path, on this kernel: nil
// where it does, and a [DeniedError] where not. It restricts nothing, and opens
// nothing for reading or writing.
//
// It decides as the kernel does, by files and not by names: the path is looked
// up, symbolic links and all, and what counts are the rules of the file found
// and of the directories above it, across mount points, to the root. Rights that
// this kernel cannot restrict, or that the ruleset does not handle, are allowed; see
// [Ruleset.CheckTarget] for what a newer one will say. So are rights that the kernel
// never asks for: FSReadDir on what is no directory, FSTruncate on what is no regular file, FSIoctlDev on what is no
// device, FSResolveUnix on what is no socket.
//
// After Apply it answers for what is enforced: by the files that the rules were loaded
// for, whatever their paths lead to now, and where it was applied several times, by all
// of them. That takes some microseconds, however many rules there are. Before, it answers
// for what would be loaded now, and loads it; the errors of that are Check's too: an
// [UnsupportedError] on a kernel that is too old, [ErrNotBuilt] off Linux, the ruleset's
// mistakes. A ruleset that was changed since Apply answers by both: no later rule widens
// what is enforced already. For a child, ask the Sandbox: [Sandbox.Check].
//
// The rights to make and remove files, and FSRefer, are about names: they are asked
// of the directory that the name is in, or will be, also where the name is a symbolic
// link. Only a link that leads to nothing is followed for FSMakeReg, since a file that
// is opened to be made is made there. Of a path that is a directory Check tells what may
// be done in it; to remove or move the directory itself takes rights on the one above.
// (A link to a directory is a name. With a slash at its end it is the directory.)
//
// A path that does not exist is judged as what would be made there; that its
// directory does not exist either is an error, as is anything else that keeps
// Check from finding out: an [io/fs.PathError], and never a wrong yes. That is
//   - a path that is too long, links that lead in a circle, a directory that this user
//     may not search;
//   - a directory above that is covered by a mount: the kernel looks at what is beneath;
//   - a rule for something beneath /proc (or tracefs) other than its root, where it
//     depends on that: the kernel loses such rules, see [Ruleset.Allow];
//   - a rule for a file of overlayfs that has several names, and one for a terminal in
//     /dev/pts, whose number another one may have by now;
//   - what /proc shows of another process to those alone that may trace it: the kernel
//     asks whether it is in the sandbox;
//   - where it depends on a rule whose file system may have been unmounted everywhere
//     since, which takes the rule with it (found out from Linux 6.8 on);
//   - in a chroot, where it depends on a rule for a directory that may be above its root.
//
// Where BestEffort(0) leaves nothing to enforce, everything is allowed.
//
// Only this ruleset is looked at, and no other layer, file mode or security
// module. Files are told apart by device and inode number: where a file system
// gives two of them one number, as overlayfs does for hard links in a lower layer
// and some network file systems do, Check takes them for one. An unknown bit, an
// access of 0, an empty path and one with a NUL are errors that Are
// [io/fs.ErrInvalid].
func (r *Ruleset) Check(access AccessFS, path string) error {
	return checkPath(r.layers, access, path)
}

// CheckNet reports whether the ruleset would allow access on a port, on this
// kernel: nil where it would, and a [DeniedError] where not. As with
// [Ruleset.Check], rights that are not handled, or that this kernel cannot
// restrict, are allowed; what [Ruleset.FilterSockets] denies in the kernel's stead
// is denied. What the TCP rights do not cover, such as Multipath TCP, is no
// concern of it: see [AccessNet]. Its other errors are those of Check.
func (r *Ruleset) CheckNet(access AccessNet, port uint16) error {
	return checkPort(r.layers, access, port)
}

// CheckTarget is [Ruleset.Check] for a kernel that can restrict all that the ruleset
// handles: what a newer one than this will say. A program that is to run on many
// kernels finds out by it, on any of them, whether its rules are enough. It needs no
// Landlock; off Linux it is [ErrNotBuilt]. It takes the files that are there now, also
// after Apply.
func (r *Ruleset) CheckTarget(access AccessFS, path string) error {
	return checkPath(r.onTarget, access, path)
}

// CheckNetTarget is [Ruleset.CheckNet] for a kernel that can restrict all that the
// ruleset handles, as [Ruleset.CheckTarget] is for paths.
func (r *Ruleset) CheckNetTarget(access AccessNet, port uint16) error {
	return checkPort(r.onTarget, access, port)
}

// Check is [Ruleset.Check] for what the Sandbox was loaded with: by the files that the
// rules were for then, whatever their paths lead to now. After Close it is an error that
// Is [os.ErrClosed]: nothing keeps their numbers from other files any more.
func (s *Sandbox) Check(access AccessFS, path string) error {
	return checkPath(s.layers, access, path)
}

// CheckNet is [Ruleset.CheckNet] for what the Sandbox was loaded with.
func (s *Sandbox) CheckNet(access AccessNet, port uint16) error {
	return checkPort(s.layers, access, port)
}

// onTarget returns what would answer for r on a kernel that can restrict all that r
// handles.
func (r *Ruleset) onTarget() (layers, error) {
	r = r.orEmpty()
	if mistakes := r.notToLoad(); len(mistakes) > 0 {
		return nil, joined(mistakes)
	}
	if !place.Supported {
		return nil, ErrNotBuilt
	}
	p, err := r.fit(Kernel{ABI: newest, Errata: ^Errata(0)}, nil, oneThread)
	if err != nil {
		return nil, err
	}
	l := &loaded{plan: p, ruleset: noRuleset}
	if errs := l.addRules(); len(errs) > 0 {
		return nil, joined(errs)
	}
	c, err := l.newChecker()
	return layers{c}, err
}

// checkPath is Check for what answers.
func checkPath(answers func() (layers, error), access AccessFS, path string) error {
	if unknown := access &^ knownRights.FS; access == 0 || unknown != 0 {
		return invalid(fmt.Sprintf("landlock: check access %v on %q: no right, or an unknown one", access, path))
	}
	if err := wrongPath(path); err != nil {
		return checkError(&fs.PathError{Op: "look up", Path: path, Err: err})
	}
	all, err := answers()
	if err != nil {
		return err
	}
	defer all.close()
	for _, c := range all {
		if access&c.denied.FS == 0 {
			continue
		}
		denied, err := c.path(access&c.denied.FS, path)
		if err != nil {
			return checkError(err)
		}
		if denied != nil {
			return denied
		}
	}
	return nil
}

// checkError is the error for what could not be found out.
func checkError(err error) error { return fmt.Errorf("landlock: check: %w", err) }

// checkPort is CheckNet for what answers.
func checkPort(answers func() (layers, error), access AccessNet, port uint16) error {
	if unknown := access &^ knownRights.Net; access == 0 || unknown != 0 {
		return invalid(fmt.Sprintf("landlock: check access %v on port %d: no right, or an unknown one", access, port))
	}
	all, err := answers()
	if err != nil {
		return err
	}
	defer all.close()
	for _, c := range all {
		if denied := c.port(access, port); denied != nil {
			return denied
		}
	}
	return nil
}

// fsName is the rights that are about a name in a directory and not about the file.
const fsName = FSRemoveDir | FSRemoveFile | FSMakeChar | FSMakeDir | FSMakeReg | FSMakeSock | FSMakeFifo | FSMakeBlock | FSMakeSym | FSRefer

// path returns the error for rights that are denied on what a path leads to, or nil.
// Those that are about the name go by that, where it is a link.
func (c *checker) path(access AccessFS, path string) (*DeniedError, error) {
	name, err := findPlace(path, false)
	if err != nil {
		return nil, err
	}
	defer name.Close()
	if !name.IsLink() {
		return c.atFile(access, name)
	}
	names := access & fsName
	if access == names&^FSMakeReg {
		return c.at(names, name)
	}
	file, err := findPlace(path, true)
	if err != nil {
		if access == names { // no file is made by a link that leads to nowhere
			return c.at(names, name)
		}
		return nil, err
	}
	defer file.Close()
	if !file.Exists() {
		names &^= FSMakeReg // which open makes there
	}
	denied, err := c.atFile(access&^names, file)
	if err != nil {
		return nil, err
	}
	more, err := c.at(names, name)
	switch {
	case err != nil || denied == nil:
		return more, err
	case more != nil:
		denied.also(more)
	}
	return denied, nil
}

// findPlace is [place.Find] for a path of the caller's.
func findPlace(path string, follow bool) (*place.Place, error) {
	if err := wrongPath(path); err != nil {
		return nil, &fs.PathError{Op: "look up", Path: path, Err: err}
	}
	return place.Find(path, follow)
}

// atFile is at, for who asks before.
func (c *checker) atFile(access AccessFS, p *place.Place) (*DeniedError, error) {
	denied, err := c.at(access, p)
	if denied != nil && denied.Missing.FS&FSResolveUnix != 0 && p.IsSocket() {
		denied.Uncertain = "a socket that was made in the sandbox can be connected to all the same"
	}
	if denied == nil && err == nil && c.isAnothers(p) {
		err = &fs.PathError{Op: "look above", Path: p.Path, Err: errAnothers}
	}
	return denied, err
}

// isAnothers reports whether it is a file of another process, which shows it to those
// alone that may trace it: that is not for rules to say.
func (c *checker) isAnothers(p *place.Place) bool {
	process, guarded := place.Guarded(p.Path)
	if !guarded || !c.hasDomain() {
		return false
	}
	_, err := os.Lstat("/proc/self/task/" + filepath.Base(process))
	return err != nil
}

// at returns the error for rights that are denied at a place, or nil.
func (c *checker) at(access AccessFS, p *place.Place) (*DeniedError, error) {
	access &= c.denied.FS &^ neverAsked(p)
	if access == 0 || p.Inside {
		return nil, nil
	}
	allowed, err := c.allowed(access, p)
	if err != nil {
		return nil, &fs.PathError{Op: "look above", Path: p.Path, Err: err}
	}
	missing := access &^ allowed.sure
	if missing == 0 {
		return nil, nil
	}
	if certain := missing &^ allowed.unsure; certain != 0 {
		return c.deny(certain, p, allowed.nearest), nil
	}
	return nil, &fs.PathError{Op: "look above", Path: p.Path, Err: allowed.why}
}

// neverAsked returns the rights that the kernel does not ask for on such a file. On a
// directory they are about the files in it.
func neverAsked(p *place.Place) (rights AccessFS) {
	if !p.Exists() || p.IsDirectory() {
		return 0
	}
	rights = FSReadDir
	if !p.IsDevice() {
		rights |= FSIoctlDev
	}
	if !p.IsSocket() {
		rights |= FSResolveUnix
	}
	if !p.IsRegular() {
		rights |= FSTruncate
	}
	return rights
}

// deny returns the error for rights that are missing at a place, or nil where
// none are.
func (c *checker) deny(missing AccessFS, p *place.Place, nearest grant) *DeniedError {
	if missing == 0 {
		return nil
	}
	e := &DeniedError{Path: p.Path, Port: -1, Missing: Rights{FS: missing}, Nearest: nearest.path, Allowed: nearest.allowed}
	if p.IsAtPath() {
		c.advise(e, missing, p)
	} else {
		e.Uncertain = "no path leads there from here"
	}
	return e
}

// allowance is what rules allow at a place.
type allowance struct {
	sure    AccessFS
	unsure  AccessFS // this too, perhaps
	why     error    // it is not sure
	nearest grant    // what those nearest to it allow
}

// Why it cannot be told whether a rule counts.
var (
	errAboveRoot = errors.New("it depends on a rule for a directory that may be above the root of this process")
	errAnothers  = errors.New("it depends on whether the process is in the sandbox: nobody else's may be looked into, whatever the rules are")
	errUnmounted = errors.New("it depends on a rule that was loaded by a mount that may be gone: where its file system was unmounted everywhere, so is the rule")
)

// doubt returns why the kernel may not have the rule for a file any more.
func (c *checker) doubt(on place.Level) error {
	if err := on.MayBeLost(); err != nil {
		return err
	}
	for _, loaded := range c.mounts {
		if loaded.Device == on.ID.Device && place.MayBeUnmounted(loaded.Mount, on.ID.Mount) {
			return errUnmounted
		}
	}
	return nil
}

// allowed returns what rules allow at a place. It looks no further than it takes to
// allow access.
func (c *checker) allowed(access AccessFS, p *place.Place) (allowance, error) {
	return c.allowedBelow(place.ID{}, access, p)
}

// allowedBelow is allowed without the rules for a directory.
func (c *checker) allowedBelow(top place.ID, access AccessFS, p *place.Place) (allowance, error) {
	var all allowance
	files := c.allRules()
	err := p.Upwards(func(on place.Level) (more bool) {
		g := files[on.ID.OnAnyMount()]
		if g.allowed == 0 || on.ID == top {
			return true
		}
		if all.nearest.allowed == 0 {
			all.nearest = g
		}
		if doubt := c.doubt(on); doubt != nil {
			all.unsure |= g.allowed
			all.why = doubt
		} else {
			all.sure |= g.allowed
		}
		return access&^all.sure != 0
	})
	if err != nil || access&^all.sure == 0 {
		return all, err
	}
	if above := c.aboveRoot(p.Root) &^ all.sure; above != 0 {
		all.unsure |= above
		all.why = errAboveRoot
	}
	return all, nil
}

// port is CheckNet.
func (c *checker) port(access AccessNet, port uint16) *DeniedError {
	missing := access & c.denied.Net &^ c.ports[port]
	if missing == 0 {
		return nil
	}
	e := &DeniedError{Port: int(port), Missing: Rights{Net: missing}}
	e.suggest(Rule{Port: int(port), Net: missing})
	c.withAllUDP(e)
	return e
}
