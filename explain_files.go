package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"example.com/landlock/internal/place"
)

// operation finds out why what was tried is denied: no reason where a ruleset
// does not deny it.
type operation func(c *checker) []error

// cannotTell is the reason where a reason could not be looked for.
func cannotTell(err error) []error {
	return []error{fmt.Errorf("landlock: whether the ruleset denies it cannot be told: %w", err)}
}

// notFound is cannotTell for a path that could not be looked up. One that leads
// nowhere is reason enough, and none of Landlock's.
func notFound(err error) []error {
	if place.LeadsNowhere(err) {
		return nil
	}
	return cannotTell(err)
}

// The presets that reasons name.
const (
	usersPreset     = "Users"
	dnsPreset       = "DNS"
	timeZonesPreset = "TimeZones"
	nullPreset      = "NullDevices"
)

// failing returns why a path may not be used: what using says, or else that it is
// another file than the one that was denied.
func (c *checker) failing(path string, access AccessFS, mode uint32) []error {
	if reasons := c.using(path, access, mode); len(reasons) > 0 || !place.ModesAllow(path, mode) {
		return reasons
	}
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.Close()
	return c.allowedNow(p)
}

// using returns why rights are denied on what a path leads to, where its mode is
// not the reason: that is looked at first.
func (c *checker) using(path string, access AccessFS, mode uint32) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.Close()
	if !p.Exists() || !place.ModesAllow(path, mode) {
		return nil
	}
	return c.usingPlace(p, access, path)
}

// usingPlace is using for a place, which a path has led to.
func (c *checker) usingPlace(p *place.Place, access AccessFS, path string) []error {
	denied, err := c.at(access, p)
	switch {
	case err != nil:
		return cannotTell(err)
	case denied == nil:
		return nil
	}
	suggestPreset(denied)
	return []error{c.orReplaced(denied, path)}
}

// opening returns why a file may not have been opened. The error does not tell how it
// was. So reading comes first, which most opens ask for, and that it was opened for
// writing is a guess, and the last.
func (c *checker) opening(path string) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.Close()
	mayRead, mayWrite := place.ModesAllow(path, place.ModeRead), place.ModesAllow(path, place.ModeWrite)
	switch {
	case !p.Exists(): // so it was to be made
		return modeToo(p, c.usingPlace(p, FSMakeReg, path))
	case p.IsDirectory():
		return c.openingDirectory(p, path, mayRead, mayWrite)
	}
	var asked AccessFS
	if mayRead {
		asked |= FSReadFile
	}
	if mayWrite {
		asked |= FSWriteFile | FSTruncate
	}
	denied, err := c.at(asked, p)
	switch {
	case err != nil:
		return cannotTell(err)
	case asked == 0:
		return nil
	case denied == nil:
		return c.allowedNow(p)
	}
	if denied.Missing.FS&FSReadFile != 0 {
		return []error{c.reading(denied, p, path, mayWrite)}
	}
	if found, ok := c.replaced(denied.Missing.FS, p.Path, path, p.Path); ok {
		c.narrow(denied, denied.Missing.FS&found.allowed, p)
		return guess([]error{c.denyReplaced(denied, found)}, "if it was opened for writing")
	}
	denied.Guess = true
	denied.Uncertain = "if it was opened for writing: the ruleset allows to read it, though another layer or security module may not"
	if !mayRead {
		denied.Uncertain = "if it was opened for writing: its mode forbids to read it"
	}
	suggestPreset(denied)
	if rule := c.madeNow(denied.Missing.FS, p); rule != (Rule{}) {
		denied.suggest(rule)
		denied.Uncertain += "; it may have just been made, so its directory is named"
	}
	return append(c.allowedNow(p), denied)
}

// openingHere is opening for a path that is relative to the working directory, or
// to that of an os.DirFS: so it is a guess, and none where there is no such file here.
func (c *checker) openingHere(path string) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.Close()
	if !p.Exists() {
		return nil
	}
	return guess(c.opening(path), "if the path is relative to the working directory, and not to an os.DirFS")
}

// openingDirectory returns why a directory may not have been opened: to be read, or for a
// file without a name to be made there, which its mode has to let be written for.
func (c *checker) openingDirectory(p *place.Place, path string, mayRead, mayWrite bool) []error {
	const unnamed = "if a file without a name was to be made there (O_TMPFILE)"
	var reading, making []error
	if mayRead {
		reading = c.usingPlace(p, FSReadDir, path)
	}
	if mayWrite {
		making = c.usingPlace(p, FSReadFile|FSWriteFile, path)
	}
	switch {
	case len(making) == 0 || len(reading) > 0 && isSystems(p.Path):
		return reading
	case len(reading) == 0:
		return guess(making, unnamed)
	}
	if denied, ok := making[0].(*DeniedError); ok && denied.remedy("") != "" {
		uncertain(reading, unnamed+", "+denied.remedy(""))
	}
	return reading
}

// reading returns denied, of a file that may not be opened for reading, as the error for
// that, and says what else it takes where the file was opened for writing.
func (c *checker) reading(denied *DeniedError, p *place.Place, path string, mayWrite bool) *DeniedError {
	all := denied.Missing.FS
	writing := all &^ FSReadFile
	c.narrow(denied, FSReadFile, p)
	denied.Uncertain = besidesReading(p, writing != 0, mayWrite)
	lost, wasForWriting := c.replaced(writing, p.Path, path, p.Path)
	switch made := c.madeNow(all, p); {
	case wasForWriting && !isSystems(filepath.Dir(p.Path)):
		other := &DeniedError{Path: p.Path}
		c.narrow(other, all&lost.allowed, p)
		other = c.denyReplaced(other, lost)
		why := ", "
		if lost.allowed&FSReadFile == 0 {
			why = ": " + other.what + ": "
		}
		denied.Uncertain = "if it was opened for writing" + why + other.remedy("")
	case made != Rule{} && writing != 0:
		denied.Uncertain = "if it was opened for writing, and perhaps just made, " + made.String()
	case made != Rule{} && mayWrite:
		denied.Uncertain += ": if it was just made, " + made.String()
	}
	if found, ok := c.replaced(FSReadFile, p.Path, path, p.Path); ok {
		return c.denyReplaced(denied, found)
	}
	return denied
}

// madeNow returns the rule that allows what is missing on a file that the open itself
// may have made: a rule for the file would come too late for the next one.
func (c *checker) madeNow(missing AccessFS, p *place.Place) Rule {
	if c.denied.FS&FSMakeReg == 0 || missing&^FSTruncate == 0 || !p.IsRegular() || !p.Empty || !p.MayChange() {
		return Rule{}
	}
	directory, err := p.Above()
	if err != nil {
		return Rule{}
	}
	defer directory.Close()
	if denied, err := c.at(FSMakeReg, directory); err != nil || denied != nil || isSystems(directory.Path) {
		return Rule{}
	}
	return Rule{Path: directory.Path, Port: -1, FS: missing}
}

// narrow makes e about no more than these rights.
func (c *checker) narrow(e *DeniedError, missing AccessFS, p *place.Place) {
	e.Missing.FS = missing
	c.advise(e, missing, p)
	suggestPreset(e)
}

// besidesReading returns what else may have been asked of a file that may not be read.
func besidesReading(p *place.Place, writingDenied, mayWrite bool) string {
	switch {
	case writingDenied && !isSystems(filepath.Dir(p.Path)):
		return fmt.Sprintf("if it was opened for writing, AllowReadWrite(%q)", p.Path)
	case !writingDenied && mayWrite && p.IsRegular():
		return "os.Create and os.CreateTemp read as well, and leave an empty file where they may not"
	}
	return ""
}

// suggestPreset names the preset that is made for a device. The rule has what that one
// has: devices are mostly opened for reading and writing, which an error does not say.
func suggestPreset(e *DeniedError) {
	preset, access := "", FSReadFile|FSWriteFile
	switch e.Path {
	case "/dev/null", "/dev/zero", "/dev/full":
		preset = nullPreset
	case "/dev/random", "/dev/urandom":
		preset, access = nullPreset, FSReadFile
	default:
		preset, access = presetForTerminal(e.Path), access|FSIoctlDev
	}
	if preset != "" && e.Missing.FS&^access == 0 {
		e.suggest(Rule{Path: e.Path, Port: -1, FS: access})
		e.instead = "Use(preset." + preset + ")"
	}
}

// presetForTerminal returns the preset that allows a terminal, or what makes some: of
// those with a name of their own, Terminal is for the ones that are this process's.
func presetForTerminal(path string) string {
	switch inPts := filepath.Dir(path) == "/dev/pts"; {
	case path == "/dev/tty":
		return "Terminal"
	case path != "/dev/tty0" && (inPts || strings.HasPrefix(path, "/dev/tty")) && place.IsStream(path):
		return "Terminal"
	case inPts || path == "/dev/ptmx":
		return "PseudoTerminals"
	}
	return ""
}

// inDirectory is for what takes rights in the directory of a path, whose last
// element is not followed.
func inDirectory(path string, access AccessFS) operation {
	return func(c *checker) []error {
		p, err := findPlace(path, false)
		if err != nil {
			return notFound(err)
		}
		defer p.Close()
		return c.above(p, access, path)
	}
}

// above returns why rights are denied in the directory of a place.
func (c *checker) above(p *place.Place, access AccessFS, path string) []error {
	directory, err := p.Above()
	if errors.Is(err, place.ErrNothingAbove) {
		return nil
	}
	if err != nil {
		return cannotTell(err)
	}
	defer directory.Close()
	denied, err := c.at(access, directory)
	if err != nil {
		return cannotTell(err)
	}
	if denied == nil {
		return nil
	}
	if access&(access-1) != 0 {
		uncertain([]error{denied}, "one of them, which the error does not tell")
	}
	return modeToo(p, []error{c.orReplaced(denied, filepath.Dir(path))})
}

// modeToo says of reasons why nothing is made or removed in the directory of a place
// where its mode is one too: the kernel asks Landlock first.
func modeToo(p *place.Place, reasons []error) []error {
	if p.MayChange() {
		return reasons
	}
	return uncertain(reasons, "the mode of the directory forbids it too")
}

// removing returns why something may not be removed.
func (c *checker) removing(path, op string) []error {
	p, err := findPlace(path, false)
	if err != nil {
		return notFound(err)
	}
	defer p.Close()
	if !p.Exists() {
		return nil
	}
	access := removeRight(p)
	switch op { // which say what they take it for
	case "unlink":
		access = FSRemoveFile
	case "rmdir":
		access = FSRemoveDir
	}
	return c.above(p, access, path)
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

// controlling returns why an ioctl may have failed on a device of which nothing is known.
func (c *checker) controlling() []error {
	if c.denied.FS&FSIoctlDev == 0 {
		return nil
	}
	denied := &DeniedError{Port: -1, Missing: Rights{FS: FSIoctlDev}}
	denied.suggestText("for the terminal of this process, Use(preset.Terminal), and for others Use(preset.PseudoTerminals)")
	return guess([]error{denied}, "or the device has reasons of its own: the error does not say which it is")
}

// guardedProcess returns the directory in /proc of the process that a path goes through, if
// it is one of its guarded files that it goes through. Links are not followed at
// first: what comes after one that is refused cannot be.
func guardedProcess(path string) (dir string, ok bool) {
	if absolute, err := absolute(path); err == nil {
		path = absolute
	}
	if dir, ok = place.Guarded(path); ok {
		return dir, true
	}
	p, err := findPlace(path, true)
	if err != nil {
		return "", false
	}
	defer p.Close()
	return place.Guarded(p.Path)
}

// absolute returns a path from the root, and cleans nothing: what is before ".." may
// be a link.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	here, err := filepath.Abs(".")
	return here + "/" + path, err
}

// lookingInto returns why a file of a process may not be looked into: the process is
// outside the sandbox, or whatever else it is.
func lookingInto(e *fs.PathError, process string, otherwise operation) operation {
	return func(c *checker) []error {
		outside := []error{&DeniedError{Path: e.Path, Port: -1, what: processOutside}}
		seen := place.SightUnknown
		if c.hasDomain() {
			seen = place.See(process)
		}
		switch seen {
		case place.SightRefused:
			if c.kernel.ABI < V8 {
				uncertain(outside, "below ABI 8 a child that another thread has started is outside too")
			}
			return outside
		case place.SightDoubted:
			return guess(outside, "or it may not be looked into without a sandbox either")
		}
		var reasons []error
		if otherwise != nil {
			reasons = otherwise(c)
		}
		const unseen = "if it is outside the sandbox in which this was tried: it is not for this thread"
		switch {
		case seen == place.SightUnknown, e.Op == "open" && !place.ModesAllow(e.Path, place.ModeRead):
			return reasons
		case certain(reasons):
			return uncertain(reasons, "and the process must not be outside the sandbox")
		}
		return append(guess(outside, unseen), reasons...)
	}
}

const processOutside = "the process is outside the sandbox, and no rule can allow to look into it"

// tracing returns why a system call may not have been let into another process.
func (c *checker) tracing() []error {
	if !c.hasDomain() {
		return nil
	}
	return guess([]error{&DeniedError{Port: -1, what: processOutside}},
		"or it is another user's, or may not be traced without a sandbox either")
}
