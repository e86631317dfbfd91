package landlock

import (
	"errors"
	"fmt"
	"strings"
)

// Shortfall is what a ruleset asks for and a kernel cannot do: in a [Report] what
// has to be done without, in an [UnsupportedError] why nothing was restricted. The
// zero value is that nothing is missing.
type Shortfall struct {
	// Missing is handled by the ruleset, but this kernel cannot restrict
	// it: it is still allowed everywhere.
	Missing Rights `json:"missing"`
	// Denied is allowed by a rule, but this kernel denies it everywhere:
	// FSRefer on ABI 1, where files cannot move between directories.
	Denied AccessFS `json:"denied"`
	// MissingLog are the flags of Log that this kernel does not know: it
	// logs by its own defaults, below ABI 7 not at all.
	MissingLog LogFlags `json:"missing_log"`
	// MissingQuiet says that the ruleset has quiet rules, and this kernel
	// logs their denials all the same.
	MissingQuiet bool `json:"missing_quiet"`
	// MissingSocketFilter says that the ruleset has FilterSockets, and that no
	// seccomp filter can be had, whatever the ABI.
	MissingSocketFilter bool `json:"missing_socket_filter"`
}

// Report says what a kernel made of a ruleset. Enforced and Missing together
// are the rights that the ruleset handles, and FSRefer where any filesystem right
// is enforced: the kernel denies it then, handled or not.
//
// The zero value is that of a failed Apply: nothing is enforced, and it is not
// Complete.
//
// It goes into a log in one line, by String, and into JSON in words: both work
// with [log/slog].
type Report struct {
	// Kernel is what the running kernel offers; the zero value where there
	// is no Landlock.
	Kernel Kernel `json:"kernel"`
	// Enforced is denied now, except where a rule allows it. Where it is
	// empty there is no sandbox, but for a SocketFilter. UDP is in it also
	// where it is the filter that refuses it, and FSRefer on ABI 1 too, which
	// has no such right and denies moves everywhere.
	Enforced Rights `json:"enforced"`
	// SocketFilter says that FilterSockets is in force.
	SocketFilter bool `json:"socket_filter"`
	// Shortfall is what the ruleset asks for and is not in force. Only BestEffort
	// lets it hold anything, and New(V1) its Denied. Its fields are read as the
	// Report's own, as in report.Missing, and are so in JSON.
	Shortfall
	// Skipped are the paths of the caller's AllowOptional, AllowIf and Quiet
	// of which a call got no rule, each once: they did not exist, led to a file
	// that can have none of the access, or to a pipe, a socket or another object
	// of no filesystem, which is not restricted.
	// What the presets of Use skip is not in it. It does not count in Complete.
	Skipped []string `json:"skipped,omitempty"`
	// NoIoctl are the paths of rules that let devices in /dev be read or written,
	// and not controlled: their ioctl fails, so terminals have no raw mode and no
	// size. A path is not named where FSIoctlDev is in the same rule, in another for
	// the same file, or in one for a directory above; and /dev is not where it is in
	// a rule for /dev/tty or /dev/pts, such as those of preset.Terminal. Only paths
	// that begin with /dev are looked at, so a rule for / is not named, and not
	// /dev/null and its kin, which have no ioctl to lose. It does not count in Complete.
	NoIoctl []string `json:"no_ioctl,omitempty"`
}

// Complete reports whether everything that the ruleset asks for is in force:
// something is, and there is no Shortfall.
func (r Report) Complete() bool {
	return (!r.Enforced.isZero() || r.SocketFilter) && r.Shortfall == (Shortfall{})
}

// String returns the report in one short line, for people: what is enforced,
// and then what is not, with the Linux release that has it. The fields, and the
// report in JSON, name every right.
func (r Report) String() string {
	text := "NOT SANDBOXED: nothing is enforced"
	if r.SocketFilter {
		text = "NOT SANDBOXED: nothing but the socket filter is enforced"
	}
	if abi := int(r.Kernel.ABI); !r.Enforced.isZero() {
		text = fmt.Sprintf("enforced on ABI %d: %s", abi, r.Enforced.brief())
		if abi == 0 {
			text = "enforced without Landlock: " + r.Enforced.brief()
		}
		if r.SocketFilter {
			text += r.filtered()
		}
	} else if abi > 0 {
		text += fmt.Sprint(" on ABI ", abi)
	}
	if r.Kernel.ABI == 0 && !r.Missing.isZero() {
		text += "; no Landlock here to restrict " + r.Missing.brief()
	} else if lacks := r.lacks(); len(lacks) > 0 {
		text += "; not on this kernel: " + strings.Join(lacks, ", ")
	}
	if r.MissingSocketFilter {
		text += "; no seccomp here to filter sockets"
	}
	if r.Denied != 0 {
		text += fmt.Sprintf("; denied in spite of a rule: %v (allowed from Linux %s on)", r.Denied, V2.linux())
	}
	if len(r.NoIoctl) > 0 {
		text += "; no ioctl, without FSIoctlDev, on devices by " + few(r.NoIoctl)
	}
	if len(r.Skipped) > 0 {
		text += "; skipped: " + few(r.Skipped)
	}
	return text
}

// few names the first of some paths.
func few(paths []string) string {
	some := paths[:min(3, len(paths))]
	text := fmt.Sprintf("%q", some)
	if more := len(paths) - len(some); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// filtered says what the socket filter does.
func (r Report) filtered() string {
	if by := (Rights{Net: r.Enforced.Net &^ r.Kernel.ABI.Net()}); !by.isZero() {
		return ", sockets filtered (which enforces " + by.brief() + ")"
	}
	return ", sockets filtered"
}

// lacks names what the kernel cannot do, each with the Linux release that can.
func (r Report) lacks() (all []string) {
	linux := "Linux " // for the first
	add := func(what, release string) {
		all = append(all, fmt.Sprintf("%s (%s%s)", what, linux, release))
		linux = ""
	}
	for v := V1; v <= newest; v++ {
		missing := r.Missing.intersect(abis[v].adds)
		// Below ABI 8 a Sandbox has scopes and Apply has not.
		forAll := r.Kernel.ABI >= V6 && r.Missing.Scope != 0
		switch {
		case v == V6 && forAll:
		case v == V6 && missing.Scope != 0:
			add(missing.brief(), v.linux()+", for a whole process "+abiTSYNC.linux())
		case v == abiTSYNC && forAll:
			add(Rights{Scope: r.Missing.Scope}.brief()+" for a whole process", v.linux())
		case !missing.isZero():
			add(missing.brief(), v.linux())
		}
		if v == abiLog && r.MissingLog != 0 {
			add(r.MissingLog.String(), v.linux())
		}
		if v == abiQuiet && r.MissingQuiet {
			add("quiet rules", v.linux())
		}
	}
	if unknown := r.Missing.minus(knownRights); !unknown.isZero() {
		all = append(all, unknown.String())
	}
	return all
}

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
