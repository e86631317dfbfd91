package landlock

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// AccessFS is a set of filesystem access rights. The bits are the kernel's
// LANDLOCK_ACCESS_FS_* values.
//
// A right that a [Ruleset] handles is denied everywhere, except beneath the
// paths for which a rule allows it. A right that is not handled is not
// restricted at all, with FSRefer as the one exception. What is on no file system
// that can be mounted (pipes, sockets, memory files) no right restricts.
type AccessFS uint64

// The filesystem access rights. A rule on a directory covers everything beneath
// it; a rule on a file may hold only the rights that the list below marks
// "file" (the others are masked off, see [Ruleset.Allow]).
const (
	// FSExecute (file) allows running a file. The kernel also asks for
	// FSReadFile, and for both on the loader of a dynamically linked
	// program and the interpreter of a script. Libraries are mapped, for
	// which FSReadFile is enough. An interpreter that the administrator
	// registered with binfmt_misc's flag F, as qemu-user-static is, the
	// kernel has open already: it runs without a rule, in the sandbox.
	// ABI 1.
	FSExecute AccessFS = 1 << iota
	// FSWriteFile (file) allows opening a file for writing. O_TRUNC needs
	// FSTruncate as well, where the file is a regular one, and O_CREAT
	// FSMakeReg, where it is not there yet. On a directory it also allows
	// making files there that have no name (O_TMPFILE); to give them one
	// takes FSMakeReg. It is enough to shorten a file, by fallocate with
	// FALLOC_FL_COLLAPSE_RANGE. ABI 1.
	FSWriteFile
	// FSReadFile (file) allows opening a file for reading. ABI 1.
	FSReadFile
	// FSReadDir allows opening a directory to list it. On Btrfs, what is
	// open so can be used to make subvolumes there, which takes no
	// FSMakeDir, and as root to remove them. Of a subvolume of the user's own
	// whose root can be listed, a snapshot can be made in any directory that
	// can be listed. Where that directory allows FSReadFile, every file of the
	// subvolume can be read there, with a rule or without: give no FSReadDir on
	// the root of a subvolume (inode 256; its mount point often is one), nor
	// above it. ABI 1.
	FSReadDir
	// FSRemoveDir allows removing an empty directory, renaming a directory,
	// and replacing an empty one by a rename. ABI 1.
	FSRemoveDir
	// FSRemoveFile allows unlinking or renaming a file, and replacing one by
	// a rename. ABI 1.
	FSRemoveFile
	// FSMakeChar allows making, renaming or linking a character device.
	// Whiteouts of overlayfs, which are such devices, are FSMakeReg's where
	// [ErratumWhiteouts] is fixed. ABI 1.
	FSMakeChar
	// FSMakeDir allows making or renaming a directory. A subvolume of Btrfs
	// is made without it, see FSReadDir. ABI 1.
	FSMakeDir
	// FSMakeReg allows making, renaming or linking a regular file, or a
	// whiteout of overlayfs (see [ErratumWhiteouts]). Where that is not
	// fixed, the whiteout that a move by RENAME_WHITEOUT leaves behind, a
	// character device 0:0, takes neither this right nor FSMakeChar, but
	// FSRemoveFile and FSRefer alone, which the move takes. ABI 1.
	FSMakeReg
	// FSMakeSock allows making, renaming or linking a Unix domain socket. ABI 1.
	FSMakeSock
	// FSMakeFifo allows making, renaming or linking a named pipe. ABI 1.
	FSMakeFifo
	// FSMakeBlock allows making, renaming or linking a block device. ABI 1.
	FSMakeBlock
	// FSMakeSym allows making, renaming or linking a symbolic link. ABI 1.
	FSMakeSym
	// FSRefer allows moving or linking a file from one directory to
	// another; both need it, and the move may not gain rights for the file.
	// Every ruleset that handles any filesystem right denies it, handled or
	// not, unless a rule allows it. One that handles none leaves moves
	// alone, but not in a layer above or below one that handles some: there
	// the kernel denies them too (seen on Linux 6.12 to 7.3), so one ruleset
	// for both is better than two. Where it alone is missing, or the file
	// would gain rights, the error is EXDEV. ABI 2; on ABI 1 it is always
	// denied.
	FSRefer
	// FSTruncate (file) allows truncating a regular file, by truncate,
	// ftruncate, creat or O_TRUNC. For ftruncate it is decided when the file
	// is opened. It is enough to empty a file: truncate and O_RDONLY|O_TRUNC
	// take no FSWriteFile. Devices and named pipes are not truncated: there
	// O_TRUNC does nothing, and takes no right. ABI 3.
	FSTruncate
	// FSIoctlDev (file) allows ioctl calls on a character or block device
	// opened from then on. Terminals are such devices: with a rule to read and
	// write them and without this right they open, and then have neither raw mode
	// nor a size ([Report].NoIoctl). Always allowed are the calls that the
	// kernel answers itself for all files: FIOCLEX, FIONCLEX, FIONBIO,
	// FIOASYNC, FIOQSIZE, FIGETBSZ, FIFREEZE, FITHAW, FICLONE, FICLONERANGE,
	// FIDEDUPERANGE, FS_IOC_FIEMAP, FS_IOC_GETFSUUID and
	// FS_IOC_GETFSSYSFSPATH; and on what is no device, all calls. No right
	// governs the commands that devices take by io_uring (IORING_OP_URING_CMD);
	// [Ruleset.FilterSockets] refuses io_uring. ABI 5.
	FSIoctlDev
	// FSResolveUnix (file) allows connecting, or sending, to a Unix domain
	// socket by its path, where the socket was made outside the domain, as
	// those are that this process made before it was restricted. One that was
	// made in the domain, or in a domain beneath it, needs no right, and what
	// is connected stays so. ABI 9.
	FSResolveUnix
)

// Groups of rights that are commonly given together. They never grow: what a later
// ABI brings is asked for by name, so that no update of this package allows more
// than was written.
const (
	// FSRead opens files for reading and lists directories.
	FSRead = FSReadFile | FSReadDir
	// FSReadExecute is FSRead and the right to run files.
	FSReadExecute = FSRead | FSExecute
	// FSWrite creates, removes, writes, truncates and moves regular files,
	// directories, symbolic links, sockets and named pipes. It makes no
	// device nodes, makes no ioctl calls on devices, connects to no sockets
	// and runs nothing: each of those has to be asked for by name.
	FSWrite = FSWriteFile | FSRemoveDir | FSRemoveFile | FSMakeDir | FSMakeReg |
		FSMakeSock | FSMakeFifo | FSMakeSym | FSRefer | FSTruncate
	// FSReadWrite is FSRead and FSWrite. It has no FSIoctlDev: beneath /dev,
	// terminals and most other devices are of little use without.
	FSReadWrite = FSRead | FSWrite
)

// fsFile are the rights that a rule on something other than a directory may
// hold; the kernel refuses the others there.
const fsFile = FSExecute | FSWriteFile | FSReadFile | FSTruncate | FSIoctlDev | FSResolveUnix

// fsMake are the rights to make something.
const fsMake = FSMakeChar | FSMakeDir | FSMakeReg | FSMakeSock | FSMakeFifo | FSMakeBlock | FSMakeSym

// AccessNet is a set of network access rights. The bits are the kernel's
// LANDLOCK_ACCESS_NET_* values.
//
// Ports are the only thing that a network rule can tell apart: there are no
// rules for addresses or hosts. The TCP rights cover TCP proper: a Multipath TCP
// socket, which [net.Listen] makes by default, is not restricted by them. (On a
// kernel without the fix for [ErratumTCPSockets] it still is.)
// [Ruleset.FilterSockets] refuses it, with all others that no right governs.
type AccessNet uint64

// The network access rights.
const (
	// NetBindTCP allows binding a TCP socket to a local port. Port 0 stands
	// for any port that the kernel picks. ABI 4.
	NetBindTCP AccessNet = 1 << iota
	// NetConnectTCP allows connecting a TCP socket to a remote port. ABI 4.
	NetConnectTCP
	// NetBindUDP allows binding a UDP socket to a local port. A client that
	// binds none itself needs it on port 0, since connecting and sending do
	// so for it. ABI 10.
	NetBindUDP
	// NetConnectSendUDP allows connecting a UDP socket to a remote port, and
	// sending to an address that is given with the data. Sending without an
	// address, on a connected socket, needs no right. On an IPv6 socket,
	// sending to an address of family AF_UNSPEC is always denied. ABI 10.
	NetConnectSendUDP
)

// Scope is a set of restrictions on reaching processes outside the sandbox. The
// bits are the kernel's LANDLOCK_SCOPE_* values. A scope has no rules: once
// handled, it is denied to everything outside the domain. What is in domains
// beneath it is not outside.
type Scope uint64

// The scopes.
const (
	// ScopeAbstractUnixSocket denies connecting, or sending, to an abstract
	// Unix socket that was made outside the domain, as those are that this
	// process made before it was restricted. What is connected stays so. ABI 6.
	ScopeAbstractUnixSocket Scope = 1 << iota
	// ScopeSignal denies sending a signal to a process outside the domain.
	// After Apply this process, its threads and all children that they start
	// reach each other. A child of a Sandbox has a domain of its own: it
	// reaches itself and its children, but not its parent nor another child
	// of the same Sandbox; its parent reaches it. The signals of a terminal
	// are the kernel's own: who shares one can have them sent, see
	// [Sandbox.Start]. ABI 6.
	ScopeSignal
)

// LogFlags choose which denials the kernel writes to the audit log. The bits
// are the kernel's LANDLOCK_RESTRICT_SELF_LOG_* values. ABI 7.
type LogFlags uint32

// The logging flags.
const (
	// LogSameExecOff mutes denials of the restricted program itself, up to
	// its next execve. For programs that are expected to probe what they
	// may do.
	LogSameExecOff LogFlags = 1 << iota
	// LogNewExecOn logs denials of programs started by execve after the
	// restriction, which are muted by default.
	LogNewExecOn
	// LogSubdomainsOff mutes denials of domains that the restricted program,
	// or what it starts, makes below its own later. For container managers
	// and the like.
	LogSubdomainsOff
)

// Rights is everything that a ruleset can handle.
type Rights struct {
	FS    AccessFS  `json:"fs"`    // denied, except beneath the paths for which a rule allows it
	Net   AccessNet `json:"net"`   // denied, except on the ports for which a rule allows it
	Scope Scope     `json:"scope"` // denied to everything outside the domain
}

// The kernel's words, in the order of the bits. Audit records use them too,
// with a prefix: fs.read_file, net.bind_tcp, scope.signal.
var (
	fsWords = words{"execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file",
		"make_char", "make_dir", "make_reg", "make_sock", "make_fifo", "make_block", "make_sym",
		"refer", "truncate", "ioctl_dev", "resolve_unix"}
	netWords   = words{"bind_tcp", "connect_tcp", "bind_udp", "connect_send_udp"}
	scopeWords = words{"abstract_unix_socket", "signal"}
	logWords   = words{"log_same_exec_off", "log_new_exec_on", "log_subdomains_off"}
)

// String returns the rights in the kernel's words, such as
// "read_file,read_dir". No right at all is "none", an unknown bit is in
// hexadecimal.
func (a AccessFS) String() string { return fsWords.format(uint64(a)) }

// MarshalText returns the text of String.
func (a AccessFS) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts what String returns, in any order, with or without
// spaces around the commas. An unknown word is an error that lists the known
// ones.
func (a *AccessFS) UnmarshalText(text []byte) error {
	return unmarshal(a, fsWords, "filesystem access right", text)
}

// String returns the rights in the kernel's words, such as
// "bind_tcp,connect_tcp". No right at all is "none", an unknown bit is in
// hexadecimal.
func (a AccessNet) String() string { return netWords.format(uint64(a)) }

// MarshalText returns the text of String.
func (a AccessNet) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts what String returns, in any order, with or without
// spaces around the commas. An unknown word is an error that lists the known
// ones.
func (a *AccessNet) UnmarshalText(text []byte) error {
	return unmarshal(a, netWords, "network access right", text)
}

// String returns the scopes in the kernel's words, such as
// "abstract_unix_socket,signal". No scope at all is "none", an unknown bit is
// in hexadecimal.
func (s Scope) String() string { return scopeWords.format(uint64(s)) }

// MarshalText returns the text of String.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts what String returns, in any order, with or without
// spaces around the commas. An unknown word is an error that lists the known
// ones.
func (s *Scope) UnmarshalText(text []byte) error { return unmarshal(s, scopeWords, "scope", text) }

// String returns the flags in the kernel's words, such as "log_new_exec_on". No
// flag at all is "none", an unknown bit is in hexadecimal.
func (f LogFlags) String() string { return logWords.format(uint64(f)) }

// MarshalText returns the text of String.
func (f LogFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText accepts what String returns, in any order, with or without
// spaces around the commas. An unknown word is an error that lists the known
// ones.
func (f *LogFlags) UnmarshalText(text []byte) error { return unmarshal(f, logWords, "log flag", text) }

// String returns the rights in the words of the kernel's audit records, such as
// "fs.read_file,net.bind_tcp,scope.signal". No right at all is "none".
func (r Rights) String() string {
	var names []string
	names = fsWords.appendNames(names, "fs.", uint64(r.FS))
	names = netWords.appendNames(names, "net.", uint64(r.Net))
	names = scopeWords.appendNames(names, "scope.", uint64(r.Scope))
	return joinNames(names)
}

// brief says the same as String in fewer words, for people, such as "read,write".
func (a AccessFS) brief() string {
	return joinNames(appendGroups(nil, fsGroups, fsWords, uint64(a)))
}

// group is a word for several rights.
type group struct {
	mask uint64
	name string
}

var (
	fsGroups    = []group{{uint64(FSRead), "read"}, {uint64(FSWrite), "write"}}
	netGroups   = []group{{uint64(NetBindTCP | NetConnectTCP), "TCP"}, {uint64(NetBindUDP | NetConnectSendUDP), "UDP"}}
	scopeGroups = []group{{uint64(ScopeAbstractUnixSocket | ScopeSignal), "scopes"},
		{uint64(ScopeAbstractUnixSocket), "abstract_unix_socket scope"}, {uint64(ScopeSignal), "signal scope"}}
)

// appendGroups appends the name of each group that mask has all of, and of each
// right that is left.
func appendGroups(names []string, groups []group, w words, mask uint64) []string {
	for _, g := range groups {
		if mask&g.mask == g.mask {
			names = append(names, g.name)
			mask &^= g.mask
		}
	}
	return w.appendNames(names, "", mask)
}

func (r Rights) isZero() bool          { return r == Rights{} }
func (r Rights) union(s Rights) Rights { return Rights{r.FS | s.FS, r.Net | s.Net, r.Scope | s.Scope} }
func (r Rights) intersect(s Rights) Rights {
	return Rights{r.FS & s.FS, r.Net & s.Net, r.Scope & s.Scope}
}
func (r Rights) minus(s Rights) Rights {
	return Rights{r.FS &^ s.FS, r.Net &^ s.Net, r.Scope &^ s.Scope}
}

// words names the bits of a mask, lowest first.
type words []string

// known returns the mask of all bits that have a name.
func (w words) known() uint64 { return 1<<len(w) - 1 }

func (w words) format(mask uint64) string { return joinNames(w.appendNames(nil, "", mask)) }

// appendNames appends the name of each bit of mask, and the unknown bits as one
// hexadecimal number.
func (w words) appendNames(names []string, prefix string, mask uint64) []string {
	for rest := mask & w.known(); rest != 0; rest &= rest - 1 {
		names = append(names, prefix+w[bits.TrailingZeros64(rest)])
	}
	if unknown := mask &^ w.known(); unknown != 0 {
		names = append(names, fmt.Sprintf("%s%#x", prefix, unknown))
	}
	return names
}

func joinNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// unmarshal parses what format returns, so that a mask survives a round trip
// even where it has bits of a newer kernel.
func unmarshal[M ~uint32 | ~uint64](mask *M, w words, kind string, text []byte) error {
	var parsed M
	if s := strings.TrimSpace(string(text)); s != "none" {
		for word := range strings.SplitSeq(s, ",") {
			word = strings.TrimSpace(word)
			if word == "none" {
				return fmt.Errorf("landlock: %s %q: none stands alone; known are %s", kind, s, strings.Join(w, ", "))
			}
			if i := slices.Index(w, word); i >= 0 {
				parsed |= 1 << i
				continue
			}
			hex, isHex := strings.CutPrefix(word, "0x")
			value, err := strconv.ParseUint(hex, 16, 64)
			if !isHex || err != nil || uint64(M(value)) != value {
				return fmt.Errorf("landlock: unknown %s %q: known are %s and none", kind, word, strings.Join(w, ", "))
			}
			parsed |= M(value)
		}
	}
	*mask = parsed
	return nil
}
