// Package landlock lets a program sandbox itself with Linux Landlock: it gives
// up, for good, the access to files and network that it will not need, before
// it handles input that it cannot trust. It needs no root, no container and no
// C.
//
//	report, err := landlock.New(landlock.V9).BestEffort(landlock.V4).
//		AllowRead("/usr/share").
//		AllowReadWrite(os.TempDir()).
//		AllowConnectTCP(443).
//		FilterSockets(). // no way around the rules for TCP
//		Apply()
//	if err != nil {
//		log.Fatal(err) // not sandboxed: do not go on
//	}
//	log.Print(report) // what is enforced on this kernel
//
// # Terms
//
// A [Ruleset] handles access rights: each is denied everywhere, unless a rule
// allows it beneath a path or on a port. Enforcing a ruleset puts a thread into
// a domain, which all that it starts inherits and which it cannot leave. Domains
// stack: what is done must be allowed by every layer.
//
// # Kernels
//
// What can be denied grew with the kernel's [ABI], from Linux 5.13 to 7.3.
// [New] names the ABI that the program was written for, and everything that it
// can deny is denied, on this kernel and on all later ones. On an older kernel
// nothing is restricted and the error says what is missing, unless
// [Ruleset.BestEffort] allows less, down to a floor. The [Report] then says
// exactly what is enforced. On other operating systems the package compiles,
// and [Probe] returns [ErrNotBuilt].
//
// # Limits
//
// Landlock leaves some things alone: files that are open already; metadata
// (stat, chmod, chown, setxattr, utime) and locks; the working directory; ioctl on
// what is no device; io_uring's commands to devices, Multipath TCP, MSG_FASTOPEN,
// and sockets that are neither TCP, UDP nor Unix, unless [Ruleset.FilterSockets]
// closes those; a terminal that is shared, and the signals that it sends; System V
// IPC, and making and removing POSIX message queues; the limits and priorities of
// other processes. A process that is root keeps its capabilities, and some of them
// lead around any sandbox: with CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN it opens
// every file of a file system that a rule allows a directory of. Drop them first.
// README has a table of it all.
//
// The kernel's own description is the man page landlock(7) and
// Documentation/userspace-api/landlock.rst.
package landlock
