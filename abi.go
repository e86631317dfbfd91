package landlock

import (
	"fmt"
	"math/bits"
	"strings"
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
	abiUDP        = V10
	abiNoNewPrivs = V11
	newest        = V11
)

// The flags of landlock_restrict_self besides the logging ones, and the one of
// landlock_add_rule.
const (
	restrictTSYNC      uint32 = 1 << 3
	restrictNoNewPrivs uint32 = 1 << 4
	addRuleQuiet       uint32 = 1 << 0
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

// knownRights is every right that this package knows.
var knownRights = newest.Rights()

// brief says the same as String in fewer words, for people: "all filesystem
// rights but refer, TCP". All means all that this package knows.
func (r Rights) brief() string {
	var names []string
	all := knownRights
	switch without := all.FS &^ r.FS; {
	case r.FS == all.FS:
		names = append(names, "all filesystem rights")
	case r.FS&^all.FS == 0 && bits.OnesCount64(uint64(without)) < 5:
		names = append(names, "all filesystem rights but "+without.String())
	default:
		names = appendGroups(names, fsGroups, fsWords, uint64(r.FS))
	}
	names = appendGroups(names, netGroups, netWords, uint64(r.Net))
	names = appendGroups(names, scopeGroups, scopeWords, uint64(r.Scope))
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// FS returns the filesystem rights of this ABI; see [ABI.Rights].
func (v ABI) FS() AccessFS { return v.Rights().FS }

// Net returns the network rights of this ABI; see [ABI.Rights].
func (v ABI) Net() AccessNet { return v.Rights().Net }

// Scopes returns the scopes of this ABI; see [ABI.Rights].
func (v ABI) Scopes() Scope { return v.Rights().Scope }

// String returns the version with the Linux release that brought it, such as
// "ABI 7, since Linux 6.15".
func (v ABI) String() string {
	switch {
	case v == 0:
		return "no Landlock"
	case v < 0:
		return fmt.Sprintf("ABI %d, no such version", int(v))
	case v > newest:
		return fmt.Sprintf("ABI %d, after Linux %s", int(v), newest.linux())
	}
	return fmt.Sprintf("ABI %d, since Linux %s", int(v), v.linux())
}

// linux returns the Linux release that brought v.
func (v ABI) linux() string { return abis[v.known()].linux }

// lowestABI returns the first ABI that has all of r, or 0 where none has.
func lowestABI(r Rights) ABI {
	for v := V1; v <= newest; v++ {
		if r.minus(v.Rights()).isZero() {
			return v
		}
	}
	return 0
}

// since returns the first ABI that has any of r, or 0 where none has.
func (r Rights) since() ABI {
	for v := V1; v <= newest; v++ {
		if !r.intersect(v.Rights()).isZero() {
			return v
		}
	}
	return 0
}
