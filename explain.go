package landlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"example.com/landlock/internal/place"
	"example.com/landlock/internal/system"
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

// explain adds to the error of an execve which files the ruleset has to allow:
// the kernel says EACCES and not whether it means the program or its loader.
func (s *Sandbox) explain(err error, path string) error {
	if !errors.Is(err, syscall.EACCES) {
		return err
	}
	return explain(err, s.checker.executing(path))
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
	switch denied := answered(e, syscall.EACCES); {
	case denied && makesSocket(e.Syscall):
		return (*checker).someSocket
	case denied && e.Syscall == "ioctl":
		return (*checker).controlling
	case !answered(e, syscall.EPERM):
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
	if answered(e.Err, syscall.EACCES) || answered(e.Err, syscall.EPERM) {
		if process, ok := guardedProcess(e.Path); ok {
			return lookingInto(e, process, o)
		}
	}
	return o
}

// filesOperation returns what failed with EACCES, which is Landlock's answer where
// rules are about files.
func filesOperation(e *fs.PathError) operation {
	if !answered(e.Err, syscall.EACCES) {
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
		return func(c *checker) []error { return c.failing(path, FSIoctlDev, place.ModeExists) }
	case "truncate", "ftruncate":
		return func(c *checker) []error { return c.failing(path, FSTruncate, place.ModeWrite) }
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

// linkOperation returns what failed with two paths. The kernel answers EXDEV
// where it is about moving alone.
func linkOperation(e *os.LinkError) operation {
	denied, crossing := answered(e.Err, syscall.EACCES), answered(e.Err, system.EXDEV)
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
