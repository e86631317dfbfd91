package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Explain answers why an operation failed. It takes an error of os, net, os/exec
// or syscall, wrapped or not. Where the ruleset denies what was tried, it returns
// err wrapped with a [DeniedError] for each path or port on which rights are
// missing, and with a [Rule] that would allow it: the narrowest of AllowRead,
// AllowExecute and AllowReadWrite, which may allow more (where files are made and
// removed, AllowReadWrite of the directory), see its Rule. [All] lists them; [errors.Is]
// and [errors.As] find the original too. Otherwise it returns err itself: a file that
// is not there, its mode, a read-only file system or a port that is taken are
// nothing that Landlock has to do with.
//
// It covers opening, listing, truncating, removing, making, renaming and linking
// files, executing programs, controlling devices (ioctl), making, connecting and
// binding sockets, signals, and looking into other processes: [io/fs.PathError],
// [os.LinkError], [net.OpError], and [os.SyscallError] of a call that has no path.
// It also covers errors that name what was wanted and hide what was refused, and
// names the preset: a net.DNSError, the errors of os/user for who is not found, an
// [os/exec.ExitError] with status 126 or 127, and an errno alone, which
// time.LoadLocation returns. ([os.Process.Signal] does too: make it an
// os.NewSyscallError("kill", err).)
//
// Of errors that are joined, by [errors.Join] or several %w, each is explained, and each
// reason then names its path. What is certain comes before what is a guess, so that
// errors.As finds it.
//
// An error does not say everything. What else may be the reason is in Uncertain, and
// where that is as likely the DeniedError is a Guess. How a file was opened is not in an
// error: where reading is denied that is the reason, and what is not denied may have
// been opened for writing, which is a Guess; where files may be made, the file may be one
// that the open has made, and the call names the directory. Names that are relative to an [os.Root] are
// not explained, since nobody knows where it is; those of an [os.DirFS] are taken for
// ones of the working directory where there is such a file that is denied, as a
// Guess. Ask [Ruleset.Check] there.
//
// After Apply it answers for what is enforced, as Check does. Rules belong to files:
// where the file that a rule was for was replaced, as editors, log rotation and links to
// the current release do, it says so, and advises the directory, which holds the next
// one too. Where a link leads out of its directory now, or that is one of the system's
// such as /etc, it advises no directory. Which path the rule of an open file is for is
// not known. Before Apply, and where the ruleset was changed since, it answers for what
// would be loaded now, and leaves out rules whose path is gone; they are named where
// something is denied. Where the ruleset cannot be loaded for other reasons, or there is
// no descriptor to look with, the error says so. For a child ask [Sandbox.Explain].
//
// Some refusals are no ruleset's to allow, and err is wrapped with words. Nobody in the
// sandbox can trace a process outside, or have its memory and descriptors; its environ
// and maps root can read, with CAP_PERFMON (seen on Linux 6.18). Outside is a child that
// was started before too, and below ABI 8, after Apply, one that another thread has
// started; the kernel is asked whether it is one. A socket that FilterSockets refuses
// has no right, but for UDP where the filter stands in for its rights. A move that this
// ruleset allows is denied by another layer that has no rule for it.
//
// It works in the sandbox too, since Landlock hides neither names nor modes, but where
// the first line of a script or the loader of a program cannot be read it knows less.
// On a kernel that is too old for the ruleset, and off Linux, nothing is enforced and
// err is returned as it is. So is nil.
func (r *Ruleset) Explain(err error) error { return explainBy(r.layersNow, err) }

// Explain is [Ruleset.Explain] for what the Sandbox was loaded with: by the files that
// the rules were for then. It answers for a child, whose error has to come back as one
// of this process's, and for a Do. After Close it says that
// it cannot tell.
func (s *Sandbox) Explain(err error) error {
	return explainBy(func() (layers, []string, error) {
		l, err := s.layers()
		return l, nil, err
	}, err)
}

// explainBy is Explain by what answers.
func explainBy(answers func() (l layers, gone []string, err error), err error) error {
	parts := partsOf(err)
	var operations []operation
	for _, part := range parts {
		if find[*DeniedError](part) != nil {
			return err // there is nothing to add
		}
		if o := operationOf(part, len(parts) == 1); o != nil {
			operations = append(operations, o)
		}
	}
	if len(operations) == 0 {
		return err
	}
	all, gone, checkErr := answers()
	if errors.Is(checkErr, errors.ErrUnsupported) {
		return err // so nothing is enforced
	}
	if checkErr != nil {
		return explain(err, cannotTell(checkErr))
	}
	defer all.close()
	var sure, others []error
	for _, o := range operations {
		if reasons := all.reasons(o); certain(reasons) {
			sure = append(sure, reasons...)
		} else {
			others = append(others, reasons...)
		}
	}
	reasons := append(sure, others...)
	if len(gone) > 0 && len(reasons) > 0 {
		uncertain(reasons[:1], withoutRules(gone))
	}
	return explain(err, reasons)
}

// reasons returns why what was tried is denied: what the first layer says that does not
// have to guess.
func (all layers) reasons(o operation) (reasons []error) {
	for _, c := range all {
		if more := o(c); len(reasons) == 0 || certain(more) {
			reasons = more
		}
		if certain(reasons) {
			break
		}
	}
	return reasons
}

// partsOf returns the errors that are joined in err's tree, or err itself: of what was
// tried each names its own. What is explained already is left out.
func partsOf(err error) (parts []error) {
	if isNil(err) {
		return nil
	}
	for inner := err; ; {
		switch e := inner.(type) {
		case *explained:
			return nil
		case *fs.PathError, *os.LinkError, *os.SyscallError:
			return []error{err}
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				parts = append(parts, partsOf(one)...)
			}
			return parts
		case interface{ Unwrap() error }:
			if inner = e.Unwrap(); isNil(inner) {
				return []error{err}
			}
		default:
			return []error{err}
		}
	}
}

// cannotTell is the reason where a reason could not be looked for.
func cannotTell(err error) []error {
	return []error{fmt.Errorf("landlock: whether the ruleset denies it cannot be told: %w", err)}
}

// notFound is cannotTell for a path that could not be looked up. One that leads
// nowhere is reason enough, and none of Landlock's.
func notFound(err error) []error {
	if leadsNowhere(err) {
		return nil
	}
	return cannotTell(err)
}

// explained is an error with the reasons for it.
type explained struct {
	err     error
	reasons []error
}

// explain adds reasons to an error, if there are any.
func explain(err error, reasons []error) error {
	if len(reasons) == 0 {
		return err
	}
	return &explained{err, reasons}
}

func (e *explained) Error() string {
	named := onlyPath(e.err)
	var texts []string
	for _, reason := range e.reasons {
		text := reason.Error()
		if denied, ok := reason.(*DeniedError); ok {
			text = denied.text(named)
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return e.err.Error() + ": " + strings.Join(texts, "; ")
}

// onlyPath returns the path that an error names, or "" where it names several, or none.
func onlyPath(err error) (path string) {
	if find[*explained](err) != nil {
		return "" // which names one too
	}
	objects := 0
	for _, part := range partsOf(err) {
		if e := find[*fs.PathError](part); e != nil {
			path = e.Path
		} else if _, isSocket := socketOperation(part); !isSocket && find[*os.LinkError](part) == nil {
			continue
		}
		objects++
	}
	if objects != 1 {
		return ""
	}
	return path
}

func (e *explained) Unwrap() []error { return append([]error{e.err}, e.reasons...) }

// operation finds out why what was tried is denied: no reason where a ruleset
// does not deny it.
type operation func(c *checker) []error

// operationOf returns what was tried when err came of it, or nil for an error
// that is not Landlock's. An errno counts where it is alone.
func operationOf(err error, alone bool) operation {
	if o := hiddenOperation(err); o != nil {
		return o
	}
	if link := find[*os.LinkError](err); link != nil {
		return linkOperation(link)
	}
	if dial, ok := socketOperation(err); ok {
		return dial.operation()
	}
	if path := find[*fs.PathError](err); path != nil {
		return pathOperation(path)
	}
	if call := find[*os.SyscallError](err); call != nil {
		return callOperation(call)
	}
	if alone {
		return errnoOperation(err)
	}
	return nil
}

// callOperation returns what a system call that has no path was for.
func callOperation(e *os.SyscallError) operation {
	switch denied := answered(e, errDenied); {
	case denied && makesSocket(e.Syscall):
		return (*checker).someSocket
	case denied && e.Syscall == "ioctl":
		return (*checker).controlling
	case !answered(e, errNotPermitted):
		return nil
	}
	switch e.Syscall {
	case "kill", "tgkill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo":
		return func(c *checker) []error {
			return c.scope(ScopeSignal, "or the process is another user's")
		}
	case "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "get_robust_list", "move_pages", "migrate_pages":
		return (*checker).tracing
	}
	return nil
}

// pathOperation returns what failed at a path.
func pathOperation(e *fs.PathError) operation {
	if wrongPath(e.Path) != nil {
		return nil
	}
	o := filesOperation(e)
	if answered(e.Err, errDenied) || answered(e.Err, errNotPermitted) {
		if process, ok := guardedProcess(e.Path); ok {
			return lookingInto(e, process, o)
		}
	}
	return o
}

// filesOperation returns what failed with EACCES, which is Landlock's answer where
// rules are about files.
func filesOperation(e *fs.PathError) operation {
	if !answered(e.Err, errDenied) {
		return nil
	}
	path := e.Path
	if strings.HasSuffix(e.Op, "at") && !filepath.IsAbs(path) {
		return nil // it is beneath an os.Root, and nobody knows where that is
	}
	switch strings.TrimSuffix(e.Op, "at") {
	case "open", "openfd":
		if fs.ValidPath(path) {
			return func(c *checker) []error { return c.openingHere(path) }
		}
		return func(c *checker) []error { return c.opening(path) }
	case "ioctl":
		return func(c *checker) []error { return c.failing(path, FSIoctlDev, modeExists) }
	case "truncate", "ftruncate":
		return func(c *checker) []error { return c.failing(path, FSTruncate, modeWrite) }
	case "mkdir":
		return inDirectory(path, FSMakeDir)
	case "mkfifo":
		return inDirectory(path, FSMakeFifo)
	case "mknod":
		return inDirectory(path, FSMakeReg|FSMakeChar|FSMakeBlock|FSMakeFifo|FSMakeSock)
	case "symlink":
		return inDirectory(path, FSMakeSym)
	case "remove", "unlink", "rmdir":
		return func(c *checker) []error { return c.removing(path, e.Op) }
	case "fork/exec":
		return func(c *checker) []error { return c.starting(path) }
	case "exec", "execve":
		return func(c *checker) []error { return c.executing(path) }
	}
	return nil
}

// starting returns why a program may not have been started by os/exec, whose error is the
// same where the directory that it was to start in may not be searched.
func (c *checker) starting(path string) []error {
	reasons := c.executing(path)
	if !filepath.IsAbs(path) {
		guess(reasons, "if the path is relative to the working directory, and not to Dir of an exec.Cmd")
	}
	if len(reasons) > 0 {
		uncertain(reasons[:1], "or Dir of the exec.Cmd, if it has one, may not be searched")
	}
	return reasons
}

// openingHere is opening for a path that is relative to the working directory, or
// to that of an os.DirFS: so it is a guess, and none where there is no such file here.
func (c *checker) openingHere(path string) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	if !p.exists() {
		return nil
	}
	return guess(c.opening(path), "if the path is relative to the working directory, and not to an os.DirFS")
}

// guess makes reasons guesses, and says why they are.
func guess(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Guess = true
		}
	}
	return uncertain(reasons, why)
}

// uncertain adds what is not known to each reason.
func uncertain(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Uncertain = strings.TrimPrefix(denied.Uncertain+"; "+why, "; ")
		}
	}
	return reasons
}

// What file modes have to allow.
const (
	modeExists  uint32 = 0
	modeExecute uint32 = 1
	modeWrite   uint32 = 2
	modeRead    uint32 = 4
)

// failing returns why a path may not be used: what using says, or else that it is
// another file than the one that was denied.
func (c *checker) failing(path string, access AccessFS, mode uint32) []error {
	if reasons := c.using(path, access, mode); len(reasons) > 0 || !modesAllow(path, mode) {
		return reasons
	}
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	return c.allowedNow(p)
}

// using returns why rights are denied on what a path leads to, where its mode is
// not the reason: that is looked at first.
func (c *checker) using(path string, access AccessFS, mode uint32) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	if !p.exists() || !modesAllow(path, mode) {
		return nil
	}
	return c.usingPlace(p, access, path)
}

// usingPlace is using for a place, which a path has led to.
func (c *checker) usingPlace(p *place, access AccessFS, path string) []error {
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
	defer p.close()
	mayRead, mayWrite := modesAllow(path, modeRead), modesAllow(path, modeWrite)
	switch {
	case !p.exists(): // so it was to be made
		return p.modeToo(c.usingPlace(p, FSMakeReg, path))
	case p.isDirectory():
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
	if found, ok := c.replaced(denied.Missing.FS, p.path, path, p.path); ok {
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

// openingDirectory returns why a directory may not have been opened: to be read, or for a
// file without a name to be made there, which its mode has to let be written for.
func (c *checker) openingDirectory(p *place, path string, mayRead, mayWrite bool) []error {
	const unnamed = "if a file without a name was to be made there (O_TMPFILE)"
	var reading, making []error
	if mayRead {
		reading = c.usingPlace(p, FSReadDir, path)
	}
	if mayWrite {
		making = c.usingPlace(p, FSReadFile|FSWriteFile, path)
	}
	switch {
	case len(making) == 0 || len(reading) > 0 && isSystems(p.path):
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
func (c *checker) reading(denied *DeniedError, p *place, path string, mayWrite bool) *DeniedError {
	all := denied.Missing.FS
	writing := all &^ FSReadFile
	c.narrow(denied, FSReadFile, p)
	denied.Uncertain = besidesReading(p, writing != 0, mayWrite)
	lost, wasForWriting := c.replaced(writing, p.path, path, p.path)
	switch made := c.madeNow(all, p); {
	case wasForWriting && !isSystems(filepath.Dir(p.path)):
		other := &DeniedError{Path: p.path}
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
	if found, ok := c.replaced(FSReadFile, p.path, path, p.path); ok {
		return c.denyReplaced(denied, found)
	}
	return denied
}

// madeNow returns the rule that allows what is missing on a file that the open itself
// may have made: a rule for the file would come too late for the next one.
func (c *checker) madeNow(missing AccessFS, p *place) Rule {
	if c.denied.FS&FSMakeReg == 0 || missing&^FSTruncate == 0 || !p.isRegular() || !p.empty || !p.mayChange() {
		return Rule{}
	}
	directory, err := p.above()
	if err != nil {
		return Rule{}
	}
	defer directory.close()
	if denied, err := c.at(FSMakeReg, directory); err != nil || denied != nil || isSystems(directory.path) {
		return Rule{}
	}
	return Rule{Path: directory.path, Port: -1, FS: missing}
}

// narrow makes e about no more than these rights.
func (c *checker) narrow(e *DeniedError, missing AccessFS, p *place) {
	e.Missing.FS = missing
	c.advise(e, missing, p)
	suggestPreset(e)
}

// besidesReading returns what else may have been asked of a file that may not be read.
func besidesReading(p *place, writingDenied, mayWrite bool) string {
	switch {
	case writingDenied && !isSystems(filepath.Dir(p.path)):
		return fmt.Sprintf("if it was opened for writing, AllowReadWrite(%q)", p.path)
	case !writingDenied && mayWrite && p.isRegular():
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
	case path != "/dev/tty0" && (inPts || strings.HasPrefix(path, "/dev/tty")) && isStream(path):
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
		defer p.close()
		return c.above(p, access, path)
	}
}

// above returns why rights are denied in the directory of a place.
func (c *checker) above(p *place, access AccessFS, path string) []error {
	directory, err := p.above()
	if errors.Is(err, errNothingAbove) {
		return nil
	}
	if err != nil {
		return cannotTell(err)
	}
	defer directory.close()
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
	return p.modeToo([]error{c.orReplaced(denied, filepath.Dir(path))})
}

// modeToo says of reasons why nothing is made or removed in the directory of a place
// where its mode is one too: the kernel asks Landlock first.
func (p *place) modeToo(reasons []error) []error {
	if p.mayChange() {
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
	defer p.close()
	if !p.exists() {
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

// executing returns why a program may not be executed: itself, its interpreter or
// its loader. A rule for the first of them alone leads to the next refusal.
func (c *checker) executing(program string) []error {
	var all []error
	var denials []*DeniedError
	files := programFiles(program)
	if cannotRun(files) {
		return nil
	}
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			continue // a script may be its own interpreter
		}
		for _, reason := range c.using(file, FSExecute|FSReadFile, modeExecute) {
			all = append(all, reason)
			if denied, ok := reason.(*DeniedError); ok {
				denials = append(denials, denied)
			}
		}
	}
	if len(all) == 0 && len(files) > 0 {
		return c.failing(program, FSExecute|FSReadFile, modeExecute)
	}
	single := c.needsNoMore(files)
	for i, denied := range denials {
		switch {
		case single:
			denied.suggest(Rule{Path: denied.Path, Port: -1, FS: FSReadExecute})
		case i == 0:
			denied.suggestText(fmt.Sprintf("Use(preset.Programs(%q))", programName(files[0])))
		default:
			denied.suggestText("") // it is said already
		}
	}
	return all
}

// needsNoMore reports whether it can be seen that a program takes no other files to
// start than these, or may read the libraries of the loader, which is the last of them.
func (c *checker) needsNoMore(files []string) bool {
	if len(files) == 0 {
		return true
	}
	last := files[len(files)-1]
	if !canRead(last) {
		return false
	}
	return !isLoaderOf(files) || len(c.using(filepath.Dir(last), FSReadFile, modeExists)) == 0
}

// programName returns the name by which a program is found in PATH, or else its path.
func programName(path string) string {
	name := filepath.Base(path)
	if found, err := exec.LookPath(name); err == nil && isSameFile(found, path) {
		return name
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

func isSameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, otherErr := os.Stat(b)
	return err == nil && otherErr == nil && os.SameFile(one, other)
}

func canRead(path string) bool {
	file, err := os.Open(path)
	if err == nil {
		file.Close()
	}
	return err == nil
}

// linkOperation returns what failed with two paths. The kernel answers EXDEV
// where it is about moving alone.
func linkOperation(e *os.LinkError) operation {
	denied, crossing := answered(e.Err, errDenied), answered(e.Err, errCrossDevice)
	if !denied && !crossing || wrongPath(e.New) != nil {
		return nil
	}
	inRoot := strings.HasSuffix(e.Op, "at") // an os.Root, and nobody knows where that is
	switch op := strings.TrimSuffix(e.Op, "at"); op {
	case "symlink":
		if !denied || inRoot && !filepath.IsAbs(e.New) {
			return nil
		}
		return inDirectory(e.New, FSMakeSym)
	case "rename", "link", "exchange":
		if wrongPath(e.Old) != nil || inRoot && !(filepath.IsAbs(e.Old) && filepath.IsAbs(e.New)) {
			return nil
		}
		return func(c *checker) []error { return c.moving(e.Old, e.New, op, crossing) }
	}
	return nil
}

// moving returns why a file may not be moved or linked, where that is what the
// kernel's answer was about.
func (c *checker) moving(from, to, op string, answer bool) []error {
	old, err := findPlace(from, false)
	if err != nil {
		return notFound(err)
	}
	defer old.close()
	new, err := findPlace(to, false)
	if err != nil {
		return notFound(err)
	}
	defer new.close()
	m := move{from: old, to: new, link: op == "link", exchange: op == "exchange"}
	denied, crossing, err := c.move(m)
	if c.kernel.ABI == V1 && slices.ContainsFunc(denied, func(e *DeniedError) bool { return e.Missing.FS&FSRefer != 0 }) {
		crossing = true // it asks nothing else then
	}
	switch {
	case errors.Is(err, errNotMoved), errors.Is(err, errMountPoint), errors.Is(err, errNothingAbove):
		return nil
	case err != nil:
		return cannotTell(err)
	case crossing != answer:
		return nil
	case len(denied) == 0 && answer:
		return []error{c.otherLayer()}
	}
	for i, e := range denied {
		asked := filepath.Dir(to)
		if e.Path == filepath.Dir(old.path) {
			asked = filepath.Dir(from)
		}
		denied[i] = c.orReplaced(e, asked)
	}
	if denied, err = c.settle(m, denied); err != nil {
		return cannotTell(err)
	}
	var reasons []error
	for _, e := range denied {
		reasons = append(reasons, e)
	}
	if len(reasons) > 0 && (op == "link" || old.mayChange()) {
		new.modeToo(reasons[:1])
	} else if len(reasons) > 0 {
		old.modeToo(reasons[:1])
	}
	return reasons
}

// otherLayer says whose answer EXDEV is where this ruleset allows a move.
func (c *checker) otherLayer() error {
	if c.denied.FS == 0 {
		return errors.New("landlock: no rule can allow the move here: this ruleset handles no filesystem right, and some kernels deny moves for such a layer too; " +
			"or another layer denies it")
	}
	return errors.New("landlock: this ruleset allows the move: another layer denies it, which needs a rule with FSRefer too, or the file system has reasons of its own")
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

// scope returns why something outside the sandbox was not reached.
func (c *checker) scope(scope Scope, unless string) []error {
	if c.denied.Scope&scope == 0 {
		return nil
	}
	return []error{&DeniedError{Port: -1, Missing: Rights{Scope: scope}, Uncertain: unless}}
}
