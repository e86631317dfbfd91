package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strconv"

	"example.com/landlock/internal/system"
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
	"put the restrictions into fewer rulesets", system.E2BIG}

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

// sentinel is an error with a text of its own that Is another one.
type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string { return e.text }
func (e *sentinel) Unwrap() error { return e.is }

// invalid returns an error that Is [fs.ErrInvalid].
func invalid(text string) error { return &sentinel{text, fs.ErrInvalid} }

// errNoPlace is the error for what lies in no filesystem. The kernel takes no rule
// for it, and asks for none.
var errNoPlace = errors.New("a pipe, a socket or another object of no filesystem, which Landlock does not restrict and takes no rule for")

// mistake makes any error one that Is [fs.ErrInvalid] too.
type mistake struct{ error }

func (m mistake) Unwrap() error        { return m.error }
func (m mistake) Is(target error) bool { return target == fs.ErrInvalid }

// commonError is why no rule of a kind can be had, whatever it names: it is said
// once, and blamed on none.
type commonError struct{ error }

func (e *commonError) Unwrap() error { return e.error }

// printable returns a path as it is, unless it has what does not belong into a
// line of a log.
func printable(path string) string {
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` {
		return quoted
	}
	return path
}

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

// find returns the first error of a type in err's tree that is not a nil
// pointer.
func find[E error](err error) (none E) {
	found := walk(err, func(err error) bool {
		_, ok := err.(E)
		return ok && !isNil(err)
	})
	if e, ok := found.(E); ok {
		return e
	}
	return none
}

// answered reports whether errno is in err's tree. Unlike errors.Is it calls no
// method of a nil pointer.
func answered(err, errno error) bool {
	return walk(err, func(err error) bool { return err == errno }) != nil
}

// walk returns the first error in err's tree that matches.
func walk(err error, match func(error) bool) error {
	for err != nil {
		if match(err) {
			return err
		}
		if isNil(err) {
			return nil
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				if found := walk(err, match); found != nil {
					return found
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// isNil reports whether err is nil, or a nil pointer, whose methods would not expect that.
func isNil(err error) bool {
	value := reflect.ValueOf(err)
	return err == nil || value.Kind() == reflect.Pointer && value.IsNil()
}
