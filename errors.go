package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
)

// Why there is no Landlock to be had. Each of them Is [errors.ErrUnsupported],
// and its text says what to do. [Probe] returns them, and so does every method
// that loads a ruleset, unless it has a [Ruleset.BestEffort] with a floor of 0.
var (
	// ErrNotBuilt: the kernel was built without Landlock, or is older than
	// Linux 5.13, or this is not Linux.
	ErrNotBuilt error = &sentinel{"landlock: not built into this kernel or operating system: " +
		"needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y", errors.ErrUnsupported}
	// ErrDisabled: the kernel has Landlock, and it was turned off at boot.
	ErrDisabled error = &sentinel{"landlock: disabled at boot: " +
		"add landlock to the lsm= parameter of the kernel's command line (or to CONFIG_LSM)", errors.ErrUnsupported}
	// ErrBlocked: something between this process and the kernel refuses one
	// of the system calls, usually the seccomp filter of a container. It is
	// told by an answer that Landlock itself never gives. A floor of 0 puts up
	// with it where the first call is refused, landlock_create_ruleset, and not
	// where a later one is. A filter that kills, in place of refusing, leaves
	// nobody to return it: see [Probe].
	ErrBlocked error = &sentinel{"landlock: system calls refused, probably by a container's seccomp filter: " +
		"allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self in its profile", errors.ErrUnsupported}
)

// ErrTooManyLayers is returned where no more domains can be stacked on this
// process: the kernel takes 16, those of its parents included. Nothing has changed.
// It Is E2BIG.
var ErrTooManyLayers error = &sentinel{"landlock: no room for another layer: the kernel stacks 16 on a process: " +
	"put the restrictions into fewer rulesets", errTooBig}

// errNoThreads is why Apply cannot work in some binaries on some kernels.
var errNoThreads error = &sentinel{"landlock: cannot restrict all threads of a binary with cgo on this architecture below ABI 8 (Linux 7.0): " +
	"build with CGO_ENABLED=0", errors.ErrUnsupported}

// errNoStub is why Start cannot work on some architectures.
var errNoStub error = &sentinel{"landlock: start a child: no sandboxed children on this architecture, only on 386, amd64 and arm64: " +
	"use Exec in a program of its own", errors.ErrUnsupported}

// sentinel is an error with a text of its own that Is another one.
type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string { return e.text }
func (e *sentinel) Unwrap() error { return e.is }

// invalid returns an error that Is [fs.ErrInvalid].
func invalid(text string) error { return &sentinel{text, fs.ErrInvalid} }

// The mistakes that need no more words.
var (
	errNothing   = invalid("landlock: the ruleset handles no right at all")
	errEmptyPath = invalid("empty path")
	errNUL       = invalid("path contains a NUL byte")
	errNilFile   = invalid("nil file")
)

// mistake makes any error one that Is [fs.ErrInvalid] too.
type mistake struct{ error }

func (m mistake) Unwrap() error        { return m.error }
func (m mistake) Is(target error) bool { return target == fs.ErrInvalid }

// UnsupportedError says that the kernel is too old for a ruleset, or takes no
// seccomp filter for its FilterSockets. Nothing has been restricted. It Is
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Kernel Kernel // what is running
	Needed ABI    // the lowest ABI that would do; the kernel's own where only a socket filter is missing
	// Shortfall is what this kernel cannot do of all that the ruleset asks for,
	// also where BestEffort would do without some of it. Missing has FSRefer on
	// ABI 1 as well, which denies it everywhere and has no rules for it.
	Shortfall

	threadScopes bool  // scopes are missing only because of the other threads
	bestEffort   bool  // the floor is not met, or nothing would be enforced
	noFilter     error // why there are no seccomp filters, where that is a reason
}

// Error names what is missing and the Linux release that has it.
func (e *UnsupportedError) Error() string {
	newer := e.Needed > e.Kernel.ABI
	switch {
	case *e == (UnsupportedError{}):
		return "landlock: the kernel cannot do what the ruleset asks for"
	case !e.MissingSocketFilter || newer && e.bestEffort:
		return e.tooOld()
	}
	text := "FilterSockets needs a seccomp filter, which cannot be had here"
	if e.noFilter != nil {
		text += ": " + e.noFilter.Error()
	}
	switch {
	case newer:
		return e.tooOld() + "; " + text
	case e.bestEffort:
		return "landlock: " + text + onlyLowerFloor
	}
	return "landlock: " + text + "; BestEffort would run without"
}

// onlyLowerFloor is what to do where a floor is in the way.
const onlyLowerFloor = "; only BestEffort with a lower floor would run here"

// tooOld says what a newer kernel would bring.
func (e *UnsupportedError) tooOld() string {
	var missing []string
	// Only what the ABI that is asked for would add.
	if rights := e.Missing.intersect(e.Needed.Rights()); !rights.isZero() {
		missing = append(missing, rights.String())
	}
	if e.MissingLog != 0 {
		missing = append(missing, e.MissingLog.String())
	}
	if e.MissingQuiet {
		missing = append(missing, "quiet rules")
	}
	has := "no Landlock"
	if e.Kernel.ABI > 0 {
		has = fmt.Sprint("ABI ", int(e.Kernel.ABI))
	}
	text := fmt.Sprintf("landlock: the ruleset needs ABI %d (Linux %s), this kernel has %s", int(e.Needed), e.Needed.linux(), has)
	if len(missing) > 0 {
		text += " and lacks " + strings.Join(missing, ", ")
	} else if e.Denied != 0 {
		text += fmt.Sprintf(", where no rule can allow %v", e.Denied)
	}
	if e.threadScopes {
		text += "; for all threads of a process, scopes need ABI 8 (Linux 7.0): an older kernel gives each thread a domain of its own"
	}
	if e.bestEffort {
		return text + onlyLowerFloor
	}
	return text + "; BestEffort would run with less"
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// Unwrap returns why there are no seccomp filters, where that is what is missing.
func (e *UnsupportedError) Unwrap() error { return e.noFilter }

// All returns every error of type E in err's tree, where [errors.AsType] returns the
// first: in the order of errors.Is, each once, and no nil pointers. It is nil where
// there is none.
//
// Several things can be wrong at once. A move takes rules for two directories, and what
// Explain returns has a DeniedError for each; Apply returns an error for each wrong rule:
//
//	for _, denied := range landlock.All[*landlock.DeniedError](rules.Explain(err)) { … }
//	for _, wrong := range landlock.All[*landlock.RuleError](err) { … }
func All[E error](err error) (all []E) {
	known := make(map[error]bool)
	walk(err, func(err error) bool {
		if e, ok := as[E](err); ok {
			comparable := reflect.ValueOf(e).Comparable()
			if !comparable || !known[e] {
				all = append(all, e)
			}
			if comparable {
				known[e] = true
			}
		}
		return false
	})
	return all
}

// as returns err itself as an E, or what its As method makes of it.
func as[E error](err error) (e E, ok bool) {
	if isNil(err) {
		return e, false
	}
	if e, ok = err.(E); ok {
		return e, true
	}
	converts, ok := err.(interface{ As(any) bool })
	return e, ok && converts.As(&e) && !isNil(e)
}

// RuleError says which rule of a ruleset is wrong, and why. Those of several rules are
// joined: [All] lists them.
type RuleError struct {
	Rule                // the one that is wrong, as the call has it
	Access fmt.Stringer // its FS, or for a port its Net
	Err    error        // why: unwraps to fs.ErrNotExist, fs.ErrInvalid and the like

	hint string // what to do about it
}

// Error returns the rule, the cause, and what to do where that can be told, such as
//
//	landlock: AllowReadWrite("/srv/data/x"): open: no such file or directory: make it first, or allow its directory
//
// The rule is named by the call that makes it, as by [Rule.String].
func (e *RuleError) Error() string {
	text := "landlock: rule"
	if e.Rule != (Rule{}) {
		text = "landlock: " + e.Rule.String()
	}
	if e.Err == nil {
		return text + " is wrong"
	}
	text += ": " + e.Err.Error()
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// commonError is why no rule of a kind can be had, whatever it names: it is said
// once, and blamed on none.
type commonError struct{ error }

func (e *commonError) Unwrap() error { return e.error }

// PartialError says that some threads of this process are restricted and some
// are not, because the kernel failed half way. There is no way back, and no
// telling which goroutine meets which: the only safe thing left is to exit.
//
// It takes a kernel below ABI 8 (Linux 7.0), which restricts threads one by
// one, and one that runs out of memory meanwhile, or a thread that has stacked
// more layers than the others by its own system calls, that has no CAP_SYS_ADMIN
// with AllowNewPrivs, or that has a seccomp filter of its own which refuses
// landlock_restrict_self. On other architectures
// than amd64 and arm64 the Go runtime ends the process then.
//
// With FilterSockets there is one more way, on any kernel: the ruleset is enforced
// on all threads, and then the kernel has no memory for the socket filter, or a
// thread has a seccomp filter that the others have not. Such a thread is found out
// before anything is restricted, by the number of filters that /proc says it has;
// but not where an earlier sandbox hides /proc, where all threads have as many
// filters and one has others, or where it gets its filter meanwhile.
type PartialError struct {
	Restricted int   // threads that are restricted
	Failed     int   // threads that are not
	Err        error // the kernel's answer to the first that failed
	// MissingSocketFilter: every thread is restricted by Landlock, and none
	// has the socket filter.
	MissingSocketFilter bool
}

// Error says how many threads there are of each kind, and what to do.
func (e *PartialError) Error() string {
	if *e == (PartialError{}) {
		return "landlock: some threads may be restricted and others not: exit now, nothing else is safe"
	}
	if e.MissingSocketFilter {
		return fmt.Sprintf("landlock: the ruleset is enforced and its socket filter is not: exit now, nothing else is safe: %v", e.Err)
	}
	return fmt.Sprintf("landlock: %d threads are restricted and %d are not: exit now, nothing else is safe: %v",
		e.Restricted, e.Failed, e.Err)
}

// Unwrap returns the kernel's answer.
func (e *PartialError) Unwrap() error { return e.Err }
