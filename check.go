package landlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// DeniedError says which rights a ruleset does not allow on a path or a port,
// and what would. It Is [io/fs.ErrPermission]. Explain returns several where it takes
// several rules: [All] lists them.
//
// Without Guess the ruleset refuses what the error is about, and adding its Rule, or
// what the text says where there is none, lets it through, unless something else
// refuses it as well: what another DeniedError of the same explanation is about, or
// what is in Uncertain.
type DeniedError struct {
	Path    string   // as resolved; empty for a port, a scope, and where what failed names no file
	Port    int      // -1 for a path and for a scope; meant only where Path is empty and Missing.Net is not
	Missing Rights   // those that were asked for and are denied; none for a process outside the sandbox
	Nearest string   // the path of the nearest rule above, as the ruleset has it; empty where there is none
	Allowed AccessFS // what is allowed there
	// Guess: something else that is known may be the reason as well, and what was
	// tried is not known well enough to tell. Uncertain says what.
	Guess bool
	// Uncertain says what else may be the reason, or missing; empty where nothing can be.
	Uncertain string

	// Rule is what to add to the ruleset, by [Ruleset.Add]: what people would write. For
	// files that is the narrowest of AllowRead, AllowExecute and AllowReadWrite that has
	// what is missing, so it may allow more: to make a file, AllowReadWrite of its
	// directory. The least is Missing alone: set Rule.FS to Missing.FS. (Rule has no
	// more where none of the three has what is missing, and where all that is missing is
	// to write or truncate what is in a directory.)
	//
	// Of a device Explain names the preset that is made for it in the text, and Rule has
	// what that preset gives this one path: mostly to read and write, since an error does
	// not say what it was opened for, and to control terminals.
	//
	// It is the zero Rule, which is a mistake to add, and the text says what there is,
	//   - where no rule would do, or is not known, as for a scope;
	//   - where it takes more than one, or a preset, as for a program and its libraries;
	//   - where nobody is to be advised one: to write beneath a directory of the system's.
	Rule Rule

	what    string // what is denied, in place of rights that no rule allows
	instead string // what would allow it, in place of Rule
	with    string // what else is to be said of either
}

// Error says in one line what is missing, what there is, and what to add, such as
//
//	landlock: no rule for write_file on /srv/data/x, only for read_file,read_dir on /srv: AllowReadWrite("/srv/data/x") would allow it
func (e *DeniedError) Error() string { return e.text("") }

// text is Error for who has named a path already.
func (e *DeniedError) text(named string) string {
	text := "landlock: "
	if e.Guess {
		text += "a guess: "
	}
	text += e.subject(named)
	if remedy := e.remedy(" would allow it"); remedy != "" {
		text += ": " + remedy
	}
	if e.Uncertain != "" {
		text += " (" + e.Uncertain + ")"
	}
	return text
}

// suggest notes the rule that would allow what is missing.
func (e *DeniedError) suggest(rule Rule) { e.Rule, e.instead, e.with = rule, "", "" }

// suggestText notes what would allow it where no rule does.
func (e *DeniedError) suggestText(text string) { e.Rule, e.instead, e.with = Rule{}, text, "" }

// remedy returns what would allow it, with a verb for that; empty where nothing does.
func (e *DeniedError) remedy(verb string) string {
	call := e.instead
	if call == "" && e.Rule != (Rule{}) {
		call = e.Rule.String()
	}
	if call == "" {
		return ""
	}
	return call + verb + e.with
}

// also adds to e what is missing elsewhere. Where that takes a rule of its own there are
// two, and none that would do alone.
func (e *DeniedError) also(more *DeniedError) {
	both := more.Rule.FS&e.Missing.FS == e.Missing.FS && isBeneath(e.Path, more.Rule.Path)
	e.Missing.FS |= more.Missing.FS
	switch own, other := e.Rule, more.Rule; {
	case other == Rule{}:
		e.suggestText(more.instead)
	case both:
		e.suggest(other)
	case own != Rule{}:
		e.suggestText(own.String() + " and " + other.String())
	}
}

func (e *DeniedError) subject(named string) string {
	switch {
	case e.what != "" && (e.Path == "" || e.Path == named):
		return e.what
	case e.what != "":
		return printable(e.Path) + ": " + e.what
	case e.Missing.Scope != 0:
		return fmt.Sprintf("%v outside the sandbox: the ruleset's scope denies it, and no rule can allow it", e.Missing.Scope)
	case e.Path == "" && e.Missing.Net != 0 && e.Port >= 0:
		return fmt.Sprintf("no rule for %v on port %d", e.Missing.Net, e.Port)
	}
	text := "access denied"
	if e.Missing == (Rights{FS: e.Missing.FS}) && e.Missing.FS != 0 {
		text = "no rule for " + e.Missing.FS.String()
	} else if !e.Missing.isZero() {
		text = "no rule for " + e.Missing.String()
	}
	if e.Path != "" && e.Path != named {
		text += " on " + printable(e.Path)
	}
	switch e.Nearest {
	case "":
		return text
	case e.Path:
		return fmt.Sprintf("%s, only for %v", text, e.Allowed)
	}
	return fmt.Sprintf("%s, only for %v on %s", text, e.Allowed, printable(e.Nearest))
}

// Is reports whether target is [io/fs.ErrPermission].
func (e *DeniedError) Is(target error) bool { return target == fs.ErrPermission }

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

// advise notes the rule that would allow what is missing: for the file itself, or its
// directory where files are made and removed. There is none where that would be to write
// beneath a directory of the system's, or where the kernel takes none.
func (c *checker) advise(e *DeniedError, missing AccessFS, p *place.Place) {
	e.suggestText("")
	if c.kernel.ABI == V1 && missing&FSRefer != 0 {
		return
	}
	on := p.Path
	if (missing&^fsFile != 0 || !p.Exists()) && !p.IsDirectory() {
		on = filepath.Dir(p.Path)
	}
	c.adviseOn(e, missing, on, on != p.Path || p.IsDirectory())
}

// adviseOn is advise for a path, which may be a directory's.
func (c *checker) adviseOn(e *DeniedError, missing AccessFS, on string, directory bool) {
	if strings.HasPrefix(on, "/proc/") {
		on, directory = "/proc", true // the kernel loses rules for what is beneath, and the next process has other files there
	}
	if directory && missing&^(FSReadExecute|FSIoctlDev|FSResolveUnix) != 0 && isSystems(on) {
		e.suggestText(fmt.Sprintf("only a rule to write beneath %s", printable(on)))
		return
	}
	access := helpers(missing, directory)
	if c.strict && c.kernel.ABI == V1 {
		access &^= FSRefer // which it denies in spite of a rule, and a strict ruleset is not loaded then
	}
	e.suggest(Rule{Path: on, Port: -1, FS: access})
}

// helpers returns the rights of the narrowest helper that has those that are missing, and
// these alone where none has them.
func helpers(missing AccessFS, directory bool) AccessFS {
	if directory && missing&^(FSWriteFile|FSTruncate) == 0 {
		return missing // AllowReadWrite also lets all that is beneath be read and removed
	}
	for _, helper := range []AccessFS{FSRead, FSReadExecute, FSReadWrite} {
		if missing&^helper == 0 {
			return helper
		}
	}
	return missing
}

// isSystems reports whether a directory is one of the system's, beneath which nobody is
// advised to let a program write.
func isSystems(dir string) bool {
	switch dir {
	case "/", "/home", "/opt", "/root", "/run", "/srv", "/var":
		return true
	}
	if shared := "/dev/shm"; dir == shared || strings.HasPrefix(dir, shared+"/") {
		return false
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/")
	switch top {
	case "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr":
		return true
	}
	return false
}

const allUDP = ", and all other UDP with it: the socket filter refuses UDP as a whole, and this kernel cannot tell its ports apart"

// withAllUDP says of an error for ports what else its rule allows. A strict ruleset is not
// loaded with the rule: the filter cannot stand in for the rights any more.
func (c *checker) withAllUDP(e *DeniedError) {
	if e.Missing.Net&c.refused.Net == 0 {
		return
	}
	if c.strict {
		e.suggestText(e.remedy("") + " and BestEffort")
	}
	e.with = allUDP
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

// move is what a rename, or a link, needs.
type move struct {
	from, to *place.Place // neither follows a link at its end
	link     bool         // from stays
	exchange bool         // to takes the place of from
}

// errNotMoved is the error where the move fails for other reasons than a ruleset.
var errNotMoved = errors.New("cannot be moved there in any case")

// errMountPoint is the error for a file that a mount covers: the kernel looks at
// what is beneath, which no path leads to, and does not move it in any case.
var errMountPoint = errors.New("it is a mount point")

// move returns an error for each directory on which rights are missing, and
// whether the kernel answers EXDEV: where it is only about one directory and
// another, that is.
func (c *checker) move(m move) (denied []*DeniedError, crossing bool, err error) {
	if !m.from.Exists() || m.exchange && !m.to.Exists() {
		return nil, false, errNotMoved
	}
	source, err := m.from.Above()
	if err != nil {
		return nil, false, err
	}
	defer source.Close()
	target, err := m.to.Above()
	if err != nil {
		return nil, false, err
	}
	defer target.Close()
	mount := source.ID.Mount
	if m.link { // of what is found there, which may be a mount
		mount = m.from.ID.Mount
	}
	if mount != target.ID.Mount {
		return nil, false, errNotMoved
	}
	if !m.link && m.from.ID.Mount != mount || m.to.Exists() && m.to.ID.Mount != mount {
		return nil, false, errMountPoint
	}
	var atSource AccessFS
	atTarget := makeRight(m.from, c.kernel)
	if !m.link {
		atSource |= removeRight(m.from)
		atTarget |= removeRight(m.to)
	}
	if m.exchange {
		atSource |= makeRight(m.to, c.kernel)
	}
	if source.ID == target.ID {
		e, err := c.at(atSource|atTarget, target)
		return appendDenied(nil, e), false, err
	}
	e, err := c.at(atSource|FSRefer, source)
	if err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	if e, err = c.at(atTarget|FSRefer, target); err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	crossing = !slices.ContainsFunc(denied, func(e *DeniedError) bool { return e.Missing.FS&^FSRefer != 0 })
	if e, err = c.gains(m.from, source, target); err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	if m.exchange {
		if e, err = c.gains(m.to, target, source); err != nil {
			return nil, false, err
		}
		denied = appendDenied(denied, e)
	}
	return denied, crossing, nil
}

// mayGain returns the rights that a file may not gain by a move.
func (c *checker) mayGain(file *place.Place) AccessFS {
	if file.IsDirectory() {
		return c.denied.FS
	}
	return c.denied.FS & fsFile
}

// beforeAndAfter returns what a file is allowed in one directory, and in another.
func (c *checker) beforeAndAfter(file, from, to *place.Place) (here, there allowance, err error) {
	here, there, err = c.compared(from, to)
	if own := c.allRules()[file.ID.OnAnyMount()].allowed; err == nil && own != 0 {
		if doubt := c.doubt(file.Level()); doubt != nil {
			here.unsure, here.why = here.unsure|own, doubt
		} else {
			here.sure |= own
		}
	}
	return here, there, err
}

// gains returns the error for what a file would be allowed after a move and is
// not before, or nil.
func (c *checker) gains(file, from, to *place.Place) (*DeniedError, error) {
	here, there, err := c.beforeAndAfter(file, from, to)
	if err != nil {
		return nil, err
	}
	mayGain := c.mayGain(file)
	gained := there.sure &^ (here.sure | here.unsure) & mayGain
	if perhaps := (there.sure | there.unsure) &^ here.sure & mayGain; gained == 0 && perhaps != 0 {
		return nil, cmp.Or(here.why, there.why)
	}
	e := c.deny(gained, from, here.nearest)
	if e != nil {
		e.Uncertain = fmt.Sprintf("a file may not gain rights by a move, and %s allows these", printable(to.Path))
	}
	return e, nil
}

// settle has the rules that are advised for a move be enough: a file may not gain by those
// either. They allow no more than is missing, or else it takes as much where the file is.
func (c *checker) settle(m move, denied []*DeniedError) ([]*DeniedError, error) {
	source, err := m.from.Above()
	if err != nil {
		return denied, err
	}
	defer source.Close()
	target, err := m.to.Above()
	if err != nil {
		return denied, err
	}
	defer target.Close()
	if source.ID == target.ID {
		return denied, nil
	}
	if denied, err = c.settleOne(m.from, source, target, denied); err == nil && m.exchange {
		denied, err = c.settleOne(m.to, target, source, denied)
	}
	return denied, err
}

func (c *checker) settleOne(file, from, to *place.Place, denied []*DeniedError) ([]*DeniedError, error) {
	here, there, err := c.beforeAndAfter(file, from, to)
	if err != nil {
		return denied, err
	}
	gained := func() AccessFS {
		return advised(to, denied) &^ (advised(from, denied) | here.sure | here.unsure | there.sure) & c.mayGain(file)
	}
	for _, e := range denied {
		if gained() != 0 && e.allows(to) && !e.allows(from) {
			e.Rule.FS &= e.Missing.FS
		}
	}
	e := c.deny(gained(), from, here.nearest)
	if e != nil {
		e.Uncertain = fmt.Sprintf("a file may not gain rights by a move, and the rule for %s would allow these", printable(to.Path))
	}
	return appendDenied(denied, e), nil
}

// allows reports whether the rule that e advises counts at a place.
func (e *DeniedError) allows(p *place.Place) bool {
	return e.Rule != (Rule{}) && isBeneath(p.Path, e.Rule.Path)
}

// advised returns what the rules that are advised allow at a place.
func advised(p *place.Place, denied []*DeniedError) (access AccessFS) {
	for _, e := range denied {
		if e.allows(p) {
			access |= e.Rule.FS
		}
	}
	return access
}

// compared returns what is allowed in two directories, as far as the kernel compares it:
// on another mount than that of "/" the rule for "/" itself comes too late, unless with it
// all that is denied is allowed in both.
func (c *checker) compared(from, to *place.Place) (here, there allowance, err error) {
	both := func(top place.ID) error {
		if here, err = c.allowedBelow(top, c.denied.FS, from); err == nil {
			there, err = c.allowedBelow(top, c.denied.FS, to)
		}
		return err
	}
	if both(place.ID{}) != nil || from.ID.Mount == from.Root.Mount || c.denied.FS&^(here.sure&there.sure) == 0 {
		return here, there, err
	}
	err = both(from.Root)
	return here, there, err
}

// makeRight returns the right that making a file of a kind takes.
func makeRight(p *place.Place, kernel Kernel) AccessFS {
	switch p.Type() {
	case fs.ModeSymlink:
		return FSMakeSym
	case fs.ModeDir:
		return FSMakeDir
	case fs.ModeDevice | fs.ModeCharDevice:
		if p.IsWhiteout() && kernel.Errata&ErratumWhiteouts != 0 {
			return FSMakeReg
		}
		return FSMakeChar
	case fs.ModeDevice:
		return FSMakeBlock
	case fs.ModeNamedPipe:
		return FSMakeFifo
	case fs.ModeSocket:
		return FSMakeSock
	}
	return FSMakeReg
}

func removeRight(p *place.Place) AccessFS {
	switch {
	case !p.Exists():
		return 0
	case p.IsDirectory():
		return FSRemoveDir
	}
	return FSRemoveFile
}

func appendDenied(all []*DeniedError, e *DeniedError) []*DeniedError {
	if e == nil {
		return all
	}
	return append(all, e)
}
