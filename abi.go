package landlock

import (
	"fmt"
	"sync"
)

// ABI is a version of the kernel's Landlock interface. Each version adds to the
// one before and takes nothing away. 0 means that there is no Landlock.
type ABI int

// The ABI versions, with the Linux version that brought each. A distribution
// may have brought one to an older kernel: [Probe] tells what is there.
const (
	V1  ABI = 1 + iota // Linux 5.13: 13 filesystem rights
	V2                 // Linux 5.19: FSRefer
	V3                 // Linux 6.2: FSTruncate
	V4                 // Linux 6.7: NetBindTCP and NetConnectTCP
	V5                 // Linux 6.10: FSIoctlDev
	V6                 // Linux 6.12: the scopes
	V7                 // Linux 6.15: the logging flags
	V8                 // Linux 7.0: one call restricts all threads, and scopes for Apply with it
	V9                 // Linux 7.1: FSResolveUnix
	V10                // Linux 7.2: NetBindUDP, NetConnectSendUDP and quiet rules
	V11                // Linux 7.3: no_new_privs is set together with the restriction
)

// What ABIs bring besides rights.
const (
	abiLog        = V7
	abiTSYNC      = V8
	abiQuiet      = V10
	abiNoNewPrivs = V11
	newest        = V11
)

// abis is the one table of which ABI has what.
var abis = [newest + 1]struct {
	linux string // the first Linux release that has it
	adds  Rights
}{
	V1: {"5.13", Rights{FS: FSExecute | FSWriteFile | FSReadFile | FSReadDir | FSRemoveDir | FSRemoveFile |
		FSMakeChar | FSMakeDir | FSMakeReg | FSMakeSock | FSMakeFifo | FSMakeBlock | FSMakeSym}},
	V2:  {"5.19", Rights{FS: FSRefer}},
	V3:  {"6.2", Rights{FS: FSTruncate}},
	V4:  {"6.7", Rights{Net: NetBindTCP | NetConnectTCP}},
	V5:  {"6.10", Rights{FS: FSIoctlDev}},
	V6:  {"6.12", Rights{Scope: ScopeAbstractUnixSocket | ScopeSignal}},
	V7:  {"6.15", Rights{}},
	V8:  {"7.0", Rights{}},
	V9:  {"7.1", Rights{FS: FSResolveUnix}},
	V10: {"7.2", Rights{Net: NetBindUDP | NetConnectSendUDP}},
	V11: {"7.3", Rights{}},
}

// known returns v as a version of the table: one that is newer than this
// package counts as the newest it knows, a negative one as none.
func (v ABI) known() ABI { return max(0, min(v, newest)) }

// Rights returns every right that a kernel with this ABI can restrict. A
// version above V11 counts as V11, one below V1 has none.
func (v ABI) Rights() Rights {
	var all Rights
	for _, abi := range abis[:v.known()+1] {
		all = all.union(abi.adds)
	}
	return all
}

// FS returns the filesystem rights of this ABI; see [ABI.Rights].
func (v ABI) FS() AccessFS { return v.Rights().FS }

// Net returns the network rights of this ABI; see [ABI.Rights].
func (v ABI) Net() AccessNet { return v.Rights().Net }

// Scopes returns the scopes of this ABI; see [ABI.Rights].
func (v ABI) Scopes() Scope { return v.Rights().Scope }

// String returns the version with the Linux release that brought it, such as
// "ABI 7 (Linux 6.15)".
func (v ABI) String() string {
	switch {
	case v == 0:
		return "no Landlock"
	case v < 0:
		return fmt.Sprintf("ABI %d (no such version)", int(v))
	case v > newest:
		return fmt.Sprintf("ABI %d (after Linux %s)", int(v), abis[newest].linux)
	}
	return fmt.Sprintf("ABI %d (Linux %s)", int(v), abis[v].linux)
}

// lowestABI returns the first ABI that has all of r, or 0 where none has.
func lowestABI(r Rights) ABI {
	for v := V1; v <= newest; v++ {
		if r.minus(v.Rights()).isZero() {
			return v
		}
	}
	return 0
}

// Errata is the set of Landlock's own bugs that the running kernel has fixed: a
// set bit means fixed. A kernel that cannot be asked reports none.
type Errata uint32

// The errata that the kernel documents.
const (
	// ErratumTCPSockets: the TCP rights no longer hit other stream
	// protocols (Multipath TCP, SMC, SCTP), which pass them now. Concerns
	// ABI 4 and up.
	ErratumTCPSockets Errata = 1 << iota
	// ErratumScopedSignals: threads of one process can signal each other
	// under ScopeSignal. Concerns ABI 6 and up.
	ErratumScopedSignals
	// ErratumDisconnectedDirs: rules hold for directories that were moved
	// out of the mount by which they were opened. Concerns all ABIs.
	ErratumDisconnectedDirs
	// ErratumWhiteouts: overlayfs whiteouts are made with FSMakeReg, not
	// with FSMakeChar. Concerns all ABIs.
	ErratumWhiteouts
)

var errataWords = words{"tcp_sockets", "scoped_signals", "disconnected_dirs", "whiteouts"}

// String names the errata that are fixed, such as "tcp_sockets,scoped_signals".
func (e Errata) String() string { return errataWords.format(uint64(e)) }

// Kernel is what the running kernel offers. ABI is the kernel's own number and
// may be above the newest that this package knows.
type Kernel struct {
	ABI    ABI
	Errata Errata
}

// String returns the ABI, the Linux release that brought it, and the errata
// that are fixed.
func (k Kernel) String() string {
	if k.ABI <= 0 {
		return k.ABI.String()
	}
	return fmt.Sprintf("%v, errata fixed: %v", k.ABI, k.Errata)
}

// Probe asks the running kernel for its Landlock ABI and errata. The answer, an
// error included, is kept for the life of the process, since a kernel does not
// change; only the first call makes system calls.
//
// The error is [ErrNotBuilt], [ErrDisabled] or [ErrBlocked] where there is no
// Landlock to be had, and says what to do about it. It is ErrNotBuilt on every
// operating system but Linux.
func Probe() (Kernel, error) { return probeOnce() }

var probeOnce = sync.OnceValues(probe)
