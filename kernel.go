package landlock

import (
	"fmt"
	"sync"
)

// Errata is the set of Landlock's own bugs that the running kernel has fixed: a
// set bit means fixed. A kernel that cannot be asked reports none.
type Errata uint32

// The errata that the kernel documents.
const (
	// ErratumTCPSockets: the TCP rights restrict TCP sockets alone. Without
	// the fix they restrict other stream protocols too (Multipath TCP, SMC,
	// SCTP). Concerns ABI 4 and up.
	ErratumTCPSockets Errata = 1 << iota
	// ErratumScopedSignals: threads of one process can signal each other
	// under ScopeSignal, whatever their domains. Concerns ABI 6 and up.
	ErratumScopedSignals
	// ErratumDisconnectedDirs: a rename or a link gains no rights for a file
	// by way of a directory that was moved out of the bind mount by which it
	// is reached. Without the fix that could widen what is allowed, past
	// FSRefer. Concerns all ABIs.
	ErratumDisconnectedDirs
	// ErratumWhiteouts: overlayfs whiteouts are made, renamed and linked with
	// FSMakeReg, not with FSMakeChar. Without the fix, what a move by
	// RENAME_WHITEOUT leaves behind takes neither. Concerns all ABIs.
	ErratumWhiteouts
)

var errataWords = words{"tcp_sockets", "scoped_signals", "disconnected_dirs", "whiteouts"}

// String names the errata that are fixed, such as "tcp_sockets,scoped_signals".
func (e Errata) String() string { return errataWords.format(uint64(e)) }

// MarshalText returns the text of String.
func (e Errata) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText accepts what String returns, in any order, with or without
// spaces around the commas. An unknown word is an error that lists the known
// ones.
func (e *Errata) UnmarshalText(text []byte) error { return unmarshal(e, errataWords, "erratum", text) }

// Kernel is what the running kernel offers. ABI is the kernel's own number, which
// may be above the newest that this package knows; it is 0 where there is no
// Landlock.
type Kernel struct {
	ABI    ABI    `json:"abi"`
	Errata Errata `json:"errata"`
}

// String returns the ABI, the Linux release that brought it, and the errata
// that are fixed, such as "ABI 6, since Linux 6.12; errata fixed: tcp_sockets".
func (k Kernel) String() string {
	if k.ABI <= 0 {
		return k.ABI.String()
	}
	return fmt.Sprintf("%v; errata fixed: %v", k.ABI, k.Errata)
}

// Probe asks the running kernel for its Landlock ABI and errata. The answer, an
// error included, is kept for the life of the process, since a kernel does not
// change; only the first call makes system calls.
//
// The error is [ErrNotBuilt], [ErrDisabled] or [ErrBlocked] where there is no
// Landlock to be had, and says what to do about it. It is ErrNotBuilt on every
// operating system but Linux.
//
// There is no asking without the call landlock_create_ruleset. A seccomp filter that
// kills or traps whoever makes it, in place of refusing it, ends the process here, as
// Android's does to apps. Where such a filter is in force, call neither Probe nor what
// loads a ruleset, whatever its floor.
func Probe() (Kernel, error) { return probeOnce() }

var probeOnce = sync.OnceValues(func() (Kernel, error) {
	abi, errata, err := probe()
	return Kernel{ABI(abi), Errata(errata)}, err
})
