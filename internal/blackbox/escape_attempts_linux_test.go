package blackbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/testenv"
)

// What an attacker tries, in README's words.
const (
	rowOpen       = "open what no rule allows, by any call and any way there but the next two"
	rowHandle     = "as root: open any file by its handle (`open_by_handle_at`), on a mount whose root has a rule"
	rowBtrfs      = "on Btrfs: make and remove subvolumes, and snapshot one whose root it may list into where it may read, which gives all its files to read"
	rowExecute    = "run a program that no rule allows, but for interpreters that the administrator registered with binfmt_misc's flag `F` (qemu-user-static is)"
	rowChange     = "make, remove, link or move what no rule allows, but for subvolumes and the next two"
	rowWhiteout   = "leave a whiteout (a character device 0:0) where it may move files from (`RENAME_WHITEOUT`)"
	rowNameless   = "make a file without a name (`O_TMPFILE`) where it may write files"
	rowIoctl      = "control a device (`ioctl`)"
	rowCommon     = "make `ioctl` calls on what is no device, and on devices those that are for all files: `FIOCLEX`, `FIONBIO`, `FIOASYNC`, `FIOQSIZE`, `FIGETBSZ`, `FS_IOC_FIEMAP`, `FICLONE` and more"
	rowRingIoctl  = "control a device by io_uring (`IORING_OP_URING_CMD`)"
	rowTruncate   = "truncate"
	rowShorten    = "shorten what it may write by `fallocate`; open a device or FIFO with `O_TRUNC`, which does nothing there"
	rowUnixPath   = "connect to a Unix socket by path"
	rowMetadata   = "change modes, owners, times, flags, attributes and ACLs"
	rowLock       = "lock what it may open (`flock`)"
	rowLook       = "see names, sizes and modes, or change directory"
	rowWatch      = "watch files (inotify, fanotify)"
	rowCode       = "run code from memory, or from a file that it can read"
	rowOpenNow    = "use what is open already: a descriptor, one that others send, an io_uring made before"
	rowReach      = "trace the parent or a sibling, or take its memory and descriptors, or by `/proc` or a pidfd its files and namespaces"
	rowNamespaces = "as root: enter its namespaces by `NS_MNT_GET_NEXT` (Linux 6.12) or a file handle (6.18)"
	rowRootReach  = "as root: read `environ` and `auxv` of others, `maps`, `smaps`, `smaps_rollup`, `numa_maps` and `pagemap`, and list their `map_files`, where `/proc` is readable"
	rowOwn        = "reach itself, its own threads and children"
	rowProcRead   = "read what `/proc` tells everybody of them, where it is readable: `cmdline`, `mountinfo`, `net/tcp` and more, and the numbers of their descriptors"
	rowProcWrite  = "set their `oom_score_adj`, `coredump_filter`, `autogroup`, `clear_refs` and `sched`, where `/proc` is writable"
	rowAdopted    = "make a process that is a child of its parent (`CLONE_PARENT`), which a `wait` for any child then returns"
	rowSignal     = "signal them, by any call"
	rowLimits     = "set their limits (`RLIMIT_CPU` kills), priorities and processors"
	rowSeen       = "see that they are there"
	rowAbstract   = "connect to an abstract Unix socket"
	rowShared     = "use System V shared memory, queues and semaphores"
	rowQueues     = "open POSIX message queues"
	rowMakeQueues = "make and remove POSIX message queues"
	rowKeys       = "read a key of its user"
	rowTerminal   = "type into its terminal (`TIOCSTI`)"
	rowJobs       = "interrupt and stop them by the terminal that they share; as root, hang it up"
	rowTCP        = "connect or bind by TCP"
	rowFastOpen   = "connect by TCP with `MSG_FASTOPEN`"
	rowListen     = "listen by TCP without bind"
	rowMultipath  = "connect or bind by Multipath TCP"
	rowUDP        = "send, connect or bind by UDP"
	rowProtocols  = "use other protocols: ping, vsock, UDP-Lite (before Linux 7.1)"
	rowRoute      = "look at interfaces and routes by netlink; as root, change them"
	rowRootNet    = "as root: raw and packet sockets"
	rowMount      = "mount, unmount, remount, move a mount, `pivot_root`"
	rowMountFlags = "as root: change flags of a mount, make one that is nowhere, `chroot`, freeze a file system"
	rowFailRoot   = "leave its root for an empty one (`fchroot`, Linux 7.3)"
	rowUserNS     = "make a user namespace"
	rowKernel     = "use more of the kernel: `userfaultfd`, its own performance events"
	rowRootKernel = "as root: BPF, performance events of all"
)

var (
	denied = []unix.Errno{unix.EACCES}
	moves  = []unix.Errno{unix.EACCES, unix.EXDEV}
	scoped = []unix.Errno{unix.EPERM}
	traced = []unix.Errno{unix.EPERM, unix.EACCES}
)

// escapes are all attempts, in the order in which they are made.
var escapes = slices.Concat(
	rows(rowOpen, landlock.V1, denied, openAttempts),
	rows(rowOpen, landlock.V1, denied, []attempt{
		procAttempt(inStrict, "", "status"),
		{name: "open in own directory, through a symbolic link", in: inOwn, try: func(w *world) error {
			return inTurn(ready(os.Symlink(w.at("secret/file"), w.at("own/link"))),
				func() error { return openAt(unix.AT_FDCWD, w.at("own/link"), unix.O_RDONLY) })
		}},
	}),
	rows(rowQueues, landlock.V1, denied, []attempt{
		{name: "mq_open", needs: "POSIX queues", try: func(w *world) error {
			fd, err := openQueue(w.Queue, unix.O_RDWR)
			unix.Close(fd)
			return err
		}},
		{name: "mq_open of a new queue", needs: "POSIX queues", try: func(w *world) error {
			defer removeQueue(w.Queue + "-new") // it is there all the same
			fd, err := openQueue(w.Queue+"-new", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
			unix.Close(fd)
			return err
		}},
	}),
	rows(rowMakeQueues, 0, nil, []attempt{
		{name: "make a queue", needs: "POSIX queues", try: func(w *world) error {
			fd, _ := openQueue(w.Queue+"-made", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
			unix.Close(fd)
			return removeQueue(w.Queue + "-made")
		}},
		{name: "remove a queue", needs: "POSIX queues", try: func(w *world) error { return removeQueue(w.Queue + "-other") }},
	}),
	rows(rowHandle, 0, nil, handleAttempts),
	rows(rowBtrfs, 0, nil, btrfsAttempts),
	rows(rowIoctl, landlock.V5, denied, []attempt{
		// With neither read nor write access a file can be opened.
		{name: "ioctl of a device that is open for nothing else", try: func(w *world) error {
			fd, err := unix.Open(os.DevNull, unix.O_ACCMODE|unix.O_CLOEXEC, 0)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(fd)
			if err := ioctl(fd, unix.TCGETS, unsafe.Pointer(new(unix.Termios))); err != unix.ENOTTY {
				return err
			}
			return nil // it is the device that answered
		}},
	}),
	rows(rowCommon, 0, nil, commonAttempts()),
	rows(rowRingIoctl, 0, nil, []attempt{
		{name: "io_uring command to a device that is open for nothing else", needs: "io_uring, and such commands of /dev/null (Linux 6.0)", try: func(*world) error {
			return withFile(os.DevNull, unix.O_ACCMODE, func(device int) error {
				var params ringParams
				ring, err := params.setUp()
				if err != nil {
					return ready(err)
				}
				defer unix.Close(ring)
				return params.submit(ring, ringCommand, device, 0, 0)
			})
		}},
	}),
	rows(rowExecute, landlock.V1, denied, []attempt{
		{name: "execve", needs: "a temporary directory without noexec", try: func(w *world) error { return run(w.at("../program"), 0) }},
		{name: "execve of an O_PATH descriptor", needs: "a temporary directory without noexec", try: func(w *world) error {
			return withPath(w.at("../program"), func(fd int) error { return run(fmt.Sprint("/proc/self/fd/", fd), 0) })
		}},
	}),
	rows(rowChange, landlock.V1, moves, changeAttempts),
	rows(rowWhiteout, 0, moves, []attempt{ // refused where erratum 4 is mended, and by ABI 1
		{name: "RENAME_WHITEOUT", needs: "whiteouts on this file system", try: func(w *world) error {
			return unix.Renameat2(unix.AT_FDCWD, w.at("from/file"), unix.AT_FDCWD, w.at("to/file"), unix.RENAME_WHITEOUT)
		}},
	}),
	rows(rowNameless, 0, nil, []attempt{
		{name: "O_TMPFILE where it may write", in: inWrite, needs: "files without names on this file system", try: func(w *world) error {
			return openAt(unix.AT_FDCWD, w.at("own"), unix.O_TMPFILE|unix.O_WRONLY)
		}},
	}),
	rows(rowTruncate, landlock.V3, denied, []attempt{
		{name: "truncate", try: func(w *world) error { return unix.Truncate(w.at("secret/long"), 1) }},
		{name: "truncate what it may write", in: inWrite, try: func(w *world) error { return unix.Truncate(w.at("own/short"), 1) }},
		{name: "ftruncate what it may write", in: inWrite, try: func(w *world) error {
			return withFile(w.at("own/short"), unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, 1) })
		}},
		{name: "open to truncate what it may write", in: inWrite, try: func(w *world) error {
			return openAt(unix.AT_FDCWD, w.at("own/short"), unix.O_WRONLY|unix.O_TRUNC)
		}},
	}),
	rows(rowShorten, 0, nil, []attempt{
		{name: "collapse a range of what it may write", in: inWrite, needs: "FALLOC_FL_COLLAPSE_RANGE on this file system", try: func(w *world) error {
			return withFile(w.at("own/long"), unix.O_WRONLY, func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 64<<10)
			})
		}},
		{name: "open a FIFO with O_TRUNC", in: inWrite, try: func(w *world) error {
			return openAt(unix.AT_FDCWD, w.at("own/fifo"), unix.O_RDWR|unix.O_TRUNC)
		}},
		{name: "open a device with O_TRUNC", in: inWrite, try: func(w *world) error {
			return openAt(unix.AT_FDCWD, os.DevNull, unix.O_WRONLY|unix.O_TRUNC)
		}},
	}),
	rows(rowLock, 0, nil, []attempt{
		{name: "flock", try: func(w *world) error {
			return withFile(w.at("allowed/file"), unix.O_RDONLY, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		}},
	}),
	rows(rowUnixPath, landlock.V9, denied, []attempt{
		{name: "connect to a Unix socket", try: func(w *world) error {
			return connect(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: w.at("secret/stream")})
		}},
		{name: "connect to a Unix socket of an O_PATH descriptor", try: func(w *world) error {
			return withPath(w.at("secret/stream"), func(fd int) error {
				return connect(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: fmt.Sprint("/proc/self/fd/", fd)})
			})
		}},
		{name: "send to a Unix socket", try: func(w *world) error {
			return send(unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: w.at("secret/datagram")}, 0)
		}},
	}),
	rows(rowMetadata, 0, nil, metadataAttempts),
	rows(rowLook, 0, nil, []attempt{
		{name: "stat", try: func(w *world) error { return unix.Stat(w.at("secret/file"), new(unix.Stat_t)) }},
		{name: "open to neither read nor write", try: func(w *world) error {
			return openAt(unix.AT_FDCWD, w.at("secret/file"), unix.O_ACCMODE)
		}},
		{name: "access", try: func(w *world) error { return unix.Access(w.at("secret/file"), unix.R_OK) }},
		{name: "readlink", try: func(w *world) error { _, err := unix.Readlink(w.at("secret/link"), make([]byte, 10)); return err }},
		{name: "chdir", try: func(w *world) error {
			return apart(func() error { return errors.Join(unix.Unshare(unix.CLONE_FS), unix.Chdir(w.at("secret"))) })
		}},
	}),
	rows(rowWatch, 0, nil, []attempt{
		{name: "inotify", try: func(w *world) error {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err == nil {
				_, err = unix.InotifyAddWatch(fd, w.at("secret"), unix.IN_ALL_EVENTS)
			}
			return err
		}},
		{name: "fanotify", needs: "fanotify, on this file system and for this user", try: func(w *world) error {
			fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, 0)
			if err == nil {
				err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN, unix.AT_FDCWD, w.at("secret/file"))
			}
			return err
		}},
	}),
	rows(rowCode, 0, nil, []attempt{
		{name: "execute a memfd", needs: "memfds that may be executed", try: runMemfd},
		{name: "map a readable file as code", needs: "a temporary directory without noexec", try: func(w *world) error {
			fd, err := unix.Open(w.at("allowed/file"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
			}
			return err
		}},
	}),
	rows(rowOpenNow, 0, nil, []attempt{
		{name: "read an inherited descriptor", try: func(*world) error { return readSecret(fdSecret) }},
		{name: "read a descriptor that was sent", try: func(*world) error {
			control := make([]byte, unix.CmsgSpace(4))
			if _, _, _, _, err := unix.Recvmsg(fdMail, make([]byte, 1), control, 0); err != nil {
				return err
			}
			messages, err := unix.ParseSocketControlMessage(control)
			if err != nil {
				return err
			}
			fds, err := unix.ParseUnixRights(&messages[0])
			if err != nil {
				return err
			}
			return readSecret(fds[0])
		}},
		{name: "make a file by an io_uring of the parent", needs: "io_uring, with SQPOLL for this user", try: func(w *world) error {
			return w.Ring.open(fdRing, unix.AT_FDCWD, w.Memory, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC)
		}},
	}),
	rows(rowReach, landlock.V1, traced, reachAttempts),
	rows(rowReach, landlock.V1, traced, procAttempts()),
	rows(rowNamespaces, 0, nil, namespaceAttempts),
	rows(rowRootReach, 0, traced, rootReachAttempts), // refused before Linux gave this to CAP_PERFMON
	rows(rowOwn, 0, nil, []attempt{{name: "signal, trace and read itself and its child", try: reachOwn}}),
	rows(rowProcRead, 0, nil, procReadAttempts()),
	rows(rowProcWrite, 0, nil, procWriteAttempts()),
	rows(rowAdopted, 0, nil, []attempt{
		{name: "CLONE_PARENT", seen: adopted, try: func(w *world) error {
			cmd := exec.Command(testenv.Self(), "wait")
			cmd.Env = append(os.Environ(), childTry+"=1")
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, Setpgid: true, Pgid: w.Prey[preyJoined]}
			stdin, err := cmd.StdinPipe()
			return inTurn(err, cmd.Start, stdin.Close)
		}},
	}),
	rows(rowSignal, landlock.V6, scoped, signalAttempts),
	rows(rowLimits, 0, nil, []attempt{
		// One second of RLIMIT_CPU would kill whoever uses that much.
		{name: "prlimit", try: func(w *world) error {
			return w.each(func(k task) error {
				return unix.Prlimit(k.Thread, unix.RLIMIT_CPU, &unix.Rlimit{Cur: 3600, Max: 3600}, nil)
			})
		}},
		{name: "setpriority", try: func(w *world) error {
			return w.each(func(k task) error {
				raw, err := unix.Getpriority(unix.PRIO_PROCESS, k.Thread) // 20 to 1
				if err != nil {
					return err
				}
				return unix.Setpriority(unix.PRIO_PROCESS, k.Thread, 20-raw)
			})
		}},
		{name: "sched_setaffinity", try: func(w *world) error {
			return w.each(func(k task) error {
				var set unix.CPUSet
				if err := unix.SchedGetaffinity(k.Thread, &set); err != nil {
					return err
				}
				return unix.SchedSetaffinity(k.Thread, &set)
			})
		}},
		{name: "ioprio_set", try: func(w *world) error {
			const whoProcess, bestEffort4 = 1, 2<<13 | 4
			return w.each(func(k task) error {
				_, err := number(unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(k.Thread), bestEffort4))
				return err
			})
		}},
	}),
	rows(rowSeen, 0, nil, []attempt{
		{name: "pidfd_open", try: func(w *world) error {
			return w.eachProcess(func(k task) error { fd, err := pidfdOf(k); unix.Close(fd); return err })
		}},
		{name: "getpgid", try: func(w *world) error {
			return w.each(func(k task) error { _, err := unix.Getpgid(k.Thread); return err })
		}},
		procAttempt(inProc, "", "status"),
	}),
	rows(rowAbstract, landlock.V6, scoped, []attempt{
		{name: "connect to an abstract socket", try: func(w *world) error {
			return connect(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: w.abstract("stream")})
		}},
		{name: "send to an abstract socket", try: func(w *world) error {
			return send(unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: w.abstract("datagram")}, 0)
		}},
	}),
	rows(rowShared, 0, nil, sharedAttempts),
	rows(rowKeys, 0, nil, []attempt{
		{name: "keyctl", needs: "keyrings", try: func(w *world) error {
			_, err := unix.KeyctlBuffer(unix.KEYCTL_READ, w.Key, make([]byte, 10), 0)
			return err
		}},
	}),
	rows(rowTCP, landlock.V4, denied, []attempt{
		{name: "connect by TCP", try: func(w *world) error { return connect(unix.AF_INET, unix.SOCK_STREAM, 0, local(w.TCP)) }},
		{name: "connect by TCP with TCP_FASTOPEN_CONNECT", needs: "net.ipv4.tcp_fastopen", try: func(w *world) error {
			return withSocket(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
				return inTurn(ready(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)), func() error { return unix.Connect(fd, local(w.TCP)) })
			})
		}},
		{name: "connect by TCP of IPv6", needs: "IPv6", try: func(w *world) error { return connect(unix.AF_INET6, unix.SOCK_STREAM, 0, mapped(w.TCP)) }},
		{name: "bind by TCP", try: func(*world) error { return bind(unix.AF_INET, unix.SOCK_STREAM, 0, local(0)) }},
		{name: "bind by TCP of IPv6", needs: "IPv6", try: func(*world) error { return bind(unix.AF_INET6, unix.SOCK_STREAM, 0, mapped(0)) }},
		{name: "bind by TCP without a family", try: func(*world) error {
			return withSocket(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
				any := unspecified(0)
				any.Addr = [4]byte{}
				_, err := number(unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(any)), unsafe.Sizeof(*any)))
				return err
			})
		}},
	}),
	rows(rowFastOpen, 0, denied, []attempt{ // refused where that is mended
		{name: "connect by TCP with MSG_FASTOPEN", needs: "net.ipv4.tcp_fastopen", try: func(w *world) error {
			return send(unix.AF_INET, unix.SOCK_STREAM, 0, local(w.TCP), unix.MSG_FASTOPEN)
		}},
		{name: "connect by TCP of IPv6 with MSG_FASTOPEN", needs: "net.ipv4.tcp_fastopen and IPv6", try: func(w *world) error {
			return send(unix.AF_INET6, unix.SOCK_STREAM, 0, mapped(w.TCP), unix.MSG_FASTOPEN)
		}},
	}),
	rows(rowListen, 0, nil, []attempt{
		{name: "listen by TCP without bind", try: func(*world) error {
			return withSocket(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error { return unix.Listen(fd, 1) })
		}},
	}),
	rows(rowMultipath, 0, denied, []attempt{ // refused where erratum 1 is not mended
		{name: "connect by Multipath TCP", needs: "Multipath TCP", try: func(w *world) error {
			return connect(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, local(w.TCP))
		}},
		{name: "bind by Multipath TCP", needs: "Multipath TCP", try: func(*world) error {
			return bind(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, local(0))
		}},
	}),
	rows(rowUDP, landlock.V10, denied, []attempt{
		{name: "connect by UDP", try: func(w *world) error { return connect(unix.AF_INET, unix.SOCK_DGRAM, 0, local(w.UDP)) }},
		{name: "send by UDP", try: func(w *world) error { return send(unix.AF_INET, unix.SOCK_DGRAM, 0, local(w.UDP), 0) }},
		{name: "connect by UDP of IPv6", needs: "IPv6", try: func(w *world) error { return connect(unix.AF_INET6, unix.SOCK_DGRAM, 0, mapped(w.UDP)) }},
		{name: "send by UDP of IPv6", needs: "IPv6", try: func(w *world) error { return send(unix.AF_INET6, unix.SOCK_DGRAM, 0, mapped(w.UDP), 0) }},
		{name: "send by UDP of IPv6 to IPv4", needs: "IPv6", with: []unix.Errno{unix.EINVAL}, try: func(w *world) error { return send(unix.AF_INET6, unix.SOCK_DGRAM, 0, local(w.UDP), 0) }},
		{name: "send by UDP of IPv6 without a family", needs: "IPv6", try: func(w *world) error {
			err := sendUnspecified(unix.AF_INET6, w.UDP)
			if err == unix.EDESTADDRREQ {
				return nil // to the kernel it is no address
			}
			return err
		}},
		{name: "send by UDP without a family", try: func(w *world) error { return sendUnspecified(unix.AF_INET, w.UDP) }},
		{name: "bind by UDP", try: func(*world) error { return bind(unix.AF_INET, unix.SOCK_DGRAM, 0, local(0)) }},
	}),
	rows(rowProtocols, 0, nil, []attempt{
		{name: "ping", needs: "net.ipv4.ping_group_range", try: func(*world) error {
			return send(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, local(0), 0)
		}},
		{name: "netlink", try: func(*world) error {
			return bind(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}},
		{name: "vsock", needs: "vsock", try: func(*world) error {
			return bind(unix.AF_VSOCK, unix.SOCK_STREAM, 0, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY})
		}},
		{name: "UDP-Lite", needs: "UDP-Lite (before Linux 7.1)", try: func(w *world) error {
			return send(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, local(w.UDP), 0)
		}},
	}),
	rows(rowRoute, 0, nil, []attempt{
		{name: "netlink for routes", try: func(*world) error {
			return bind(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}},
	}),
	rows(rowRootNet, 0, nil, []attempt{
		{name: "raw", by: byRoot, try: func(*world) error {
			return send(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, local(0), 0)
		}},
		{name: "packet", by: byRoot, needs: "packet sockets", try: func(*world) error {
			const loopback = 1
			return bind(unix.AF_PACKET, unix.SOCK_RAW, 0, &unix.SockaddrLinklayer{Ifindex: loopback})
		}},
	}),
	rows(rowMount, landlock.V1, scoped, mountAttempts),
	rows(rowMountFlags, 0, nil, mountFlagAttempts),
	rows(rowFailRoot, 0, nil, []attempt{
		{name: "fchroot", needs: "fchroot (Linux 7.3)", try: func(*world) error {
			const fchroot, emptyRoot = 472, -10004
			root := emptyRoot
			return apart(func() error {
				return inTurn(unix.Unshare(unix.CLONE_FS),
					func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, // a sandbox has it
					func() error { _, err := number(unix.Syscall(fchroot, uintptr(root), 0, 0)); return err })
			})
		}},
	}),
	rows(rowUserNS, 0, nil, []attempt{
		{name: "make a user namespace", needs: "user namespaces for this user", try: func(*world) error {
			return run(testenv.Self(), unix.CLONE_NEWUSER)
		}},
	}),
	rows(rowKernel, 0, nil, []attempt{
		{name: "userfaultfd", needs: "userfaultfd", try: func(*world) error {
			const userModeOnly = 1
			fd, err := number(unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly, 0, 0))
			unix.Close(fd)
			return err
		}},
		{name: "perf_event_open of itself", needs: "kernel.perf_event_paranoid of 2 or less", try: func(*world) error { return countTime(0, -1) }},
	}),
	rows(rowRootKernel, 0, nil, []attempt{
		{name: "bpf", by: byRoot, try: func(*world) error {
			const mapCreate, array = 0, 2
			attr := [16]uint32{array, 4, 4, 1} // its type, and sizes of key, value and map
			fd, err := number(unix.Syscall(unix.SYS_BPF, mapCreate, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)))
			unix.Close(fd)
			return err
		}},
		{name: "perf_event_open of a processor", by: byRoot, try: func(*world) error { return countTime(-1, 0) }},
		{name: "perf_event_open of others, as root", by: byRoot, try: func(w *world) error {
			return w.each(func(k task) error { return countTime(k.Thread, -1) })
		}},
	}),
	rows(rowTerminal, 0, nil, []attempt{
		{name: "TIOCSTI", needs: "dev.tty.legacy_tiocsti=1", try: func(*world) error {
			key := byte('x')
			return ioctl(fdTerminal, unix.TIOCSTI, unsafe.Pointer(&key))
		}},
	}),
	rows(rowJobs, 0, nil, terminalAttempts), // the last of them ends the terminal
)

// rows fills in what attempts have in common.
func rows(row string, since landlock.ABI, with []unix.Errno, attempts []attempt) []attempt {
	for i := range attempts {
		attempts[i].row, attempts[i].since = row, since
		if attempts[i].with == nil {
			attempts[i].with = with
		}
	}
	return attempts
}

var openAttempts = []attempt{
	{name: "open to read", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("secret/file"), unix.O_RDONLY) }},
	{name: "open to write", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("secret/file"), unix.O_WRONLY) }},
	{name: "open to write what is readable", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("allowed/file"), unix.O_RDWR) }},
	{name: "open beneath what it can list", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("volume/file"), unix.O_RDONLY) }},
	{name: "open to append", try: func(w *world) error {
		return openAt(unix.AT_FDCWD, w.at("secret/file"), unix.O_WRONLY|unix.O_APPEND)
	}},
	{name: "open to truncate", try: func(w *world) error {
		return openAt(unix.AT_FDCWD, w.at("allowed/file"), unix.O_WRONLY|unix.O_TRUNC)
	}},
	{name: "list a directory", try: func(w *world) error { _, err := os.ReadDir(w.at("secret")); return err }},
	{name: "open from an allowed directory", try: func(w *world) error {
		fd, err := unix.Open(w.at("allowed"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return ready(err)
		}
		defer unix.Close(fd)
		return openAt(fd, "../secret/file", unix.O_RDONLY)
	}},
	{name: "open from an O_PATH directory", try: func(w *world) error {
		return withPath(w.at("secret"), func(fd int) error { return openAt(fd, "file", unix.O_RDONLY) })
	}},
	{name: "reopen an O_PATH descriptor", try: func(w *world) error {
		return withPath(w.at("secret/file"), func(fd int) error {
			return openAt(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.O_RDONLY)
		})
	}},
	{name: "reopen an inherited descriptor to write", try: func(*world) error {
		return openAt(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fdSecret), unix.O_RDWR)
	}},
	{name: "openat2", try: func(w *world) error {
		return withPath(w.Dir, func(dir int) error {
			fd, err := unix.Openat2(dir, "secret/file", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
			unix.Close(fd)
			return err
		})
	}},
	{name: "openat2 of an O_PATH descriptor", try: func(w *world) error {
		return withPath(w.at("secret"), func(dir int) error {
			fd, err := unix.Openat2(dir, "file", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
			unix.Close(fd)
			return err
		})
	}},
	{name: "open by handle, on a mount whose root has no rule", by: byRoot, needs: "file handles on this file system", try: func(w *world) error {
		return withFile(w.at("allowed"), unix.O_RDONLY, func(mount int) error { return openHandle(w.at("secret/file"), mount, unix.O_RDONLY) })
	}},
	{name: "open by io_uring", needs: "io_uring", try: func(w *world) error {
		var params ringParams
		ring, err := params.setUp()
		if err != nil {
			return ready(err)
		}
		defer unix.Close(ring)
		path, err := unix.BytePtrFromString(w.at("secret/file"))
		if err != nil {
			return err
		}
		defer runtime.KeepAlive(path)
		return params.open(ring, unix.AT_FDCWD, uintptr(unsafe.Pointer(path)), unix.O_RDONLY|unix.O_CLOEXEC)
	}},
	{name: "open in a copy of a mount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error {
			mount, err := unix.OpenTree(unix.AT_FDCWD, w.at("secret"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(mount)
			return openAt(mount, "file", unix.O_RDONLY)
		})
	}},
	{name: "open in a namespace made of a directory", by: byRoot, needs: "OPEN_TREE_NAMESPACE", try: func(w *world) error {
		return inOwnMounts(func() error {
			mounts, err := unix.OpenTree(unix.AT_FDCWD, w.at("secret"), openTreeNamespace|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(mounts)
			if err := unix.Setns(mounts, unix.CLONE_NEWNS); err != nil {
				return ready(err)
			}
			return openAt(unix.AT_FDCWD, "/file", unix.O_RDONLY)
		})
	}},
	{name: "make a file in a new mount", by: byRoot, try: func(w *world) error {
		mount, err := newMount()
		if err != nil {
			return ready(err)
		}
		defer unix.Close(mount)
		return openAt(mount, "file", unix.O_CREAT|unix.O_WRONLY)
	}},
	{name: "be given a descriptor by fanotify", by: byRoot, needs: "fanotify", try: func(w *world) error {
		events, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return ready(err)
		}
		defer unix.Close(events)
		if err := unix.FanotifyMark(events, unix.FAN_MARK_ADD, unix.FAN_OPEN, unix.AT_FDCWD, w.at("secret/file")); err != nil {
			return ready(err)
		}
		if _, err := unix.Write(fdBell, []byte("x")); err != nil {
			return ready(err)
		}
		if _, err := unix.Read(fdBell, make([]byte, 1)); err != nil {
			return ready(err)
		}
		event := make([]byte, unsafe.Sizeof(unix.FanotifyEventMetadata{}))
		if _, err := unix.Read(events, event); err != nil {
			return err
		}
		return readSecret(int((*unix.FanotifyEventMetadata)(unsafe.Pointer(&event[0])).Fd))
	}},
	{name: "open /dev/tty", try: func(*world) error { return openAt(unix.AT_FDCWD, "/dev/tty", unix.O_RDWR) }},
}

// A file that a handle leads to is no longer beneath the root of such a mount:
// the kernel looks for rules above it, up to the root of its file system, and goes
// on at the root of the mount.
var handleAttempts = []attempt{
	{name: "open by handle, in a bind mount", by: byRoot, needs: "file handles on this file system", try: func(w *world) error {
		return withFile(w.at("view/allowed"), unix.O_RDONLY, func(mount int) error { return openHandle(w.at("secret/file"), mount, unix.O_RDONLY) })
	}},
	{name: "open by handle to write, in a bind mount", in: inOwn, by: byRoot, needs: "file handles on this file system", try: func(w *world) error {
		return withFile(w.at("view/own"), unix.O_RDONLY, func(mount int) error { return openHandle(w.at("secret/file"), mount, unix.O_RDWR) })
	}},
	{name: "open by handle, in a copy of a mount", by: byRoot, needs: "file handles on this file system", try: func(w *world) error {
		return inOwnMounts(func() error {
			copied, err := unix.OpenTree(unix.AT_FDCWD, w.at("allowed"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(copied)
			mount, err := unix.Openat(copied, ".", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(mount)
			return openHandle(w.at("secret/file"), mount, unix.O_RDONLY)
		})
	}},
}

// openHandle opens a file by its handle, on the mount that a descriptor is of.
func openHandle(path string, mount, flags int) error {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return ready(err)
	}
	fd, err := unix.OpenByHandleAt(mount, handle, flags|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return readSecret(fd)
}

// For the kernel these are ioctl calls on a directory that is open, and no making
// of directories.
var btrfsAttempts = []attempt{
	{name: "make a subvolume where it can read", needs: "Btrfs", try: func(w *world) error {
		return w.subvolume(btrfsCreate, "allowed", "subvolume", -1)
	}},
	{name: "remove a subvolume where it can read", by: byRoot, needs: "Btrfs", try: func(w *world) error {
		return w.subvolume(btrfsDestroy, "allowed", "subvolume", -1)
	}},
	{name: "read in a snapshot of what it can list", needs: "Btrfs", try: func(w *world) error {
		return withFile(w.at("volume"), unix.O_RDONLY, func(volume int) error {
			return inTurn(w.subvolume(btrfsSnapshot, "volume/readable", "snapshot", volume),
				func() error { return openAt(unix.AT_FDCWD, w.at("volume/readable/snapshot/file"), unix.O_RDONLY) })
		})
	}},
}

const (
	btrfsSnapshot = 0x50009401 // BTRFS_IOC_SNAP_CREATE
	btrfsCreate   = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	btrfsDestroy  = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
)

// subvolume makes or removes a subvolume, or makes a snapshot of another one.
func (w *world) subvolume(request uintptr, dir, name string, of int) error {
	arguments := struct { // struct btrfs_ioctl_vol_args
		of   int64
		name [4088]byte
	}{of: int64(of)}
	copy(arguments.name[:], name)
	return withFile(w.at(dir), unix.O_RDONLY, func(fd int) error { return ioctl(fd, request, unsafe.Pointer(&arguments)) })
}

// commonAttempts are the ioctl calls that Landlock leaves alone: on a device that
// is open for nothing they get the kernel's common answer.
func commonAttempts() (attempts []attempt) {
	attempts = append(attempts, attempt{name: "FIONREAD of a file", try: func(w *world) error {
		return withFile(w.at("allowed/file"), unix.O_RDONLY, func(fd int) error {
			_, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			return err
		})
	}})
	for _, call := range []struct {
		name    string
		request uintptr
		answers []error
	}{
		{"FIOCLEX", 0x5451, []error{nil}},
		{"FIONCLEX", 0x5450, []error{nil}},
		{"FIONBIO", 0x5421, []error{nil}},
		{"FIOASYNC", 0x5452, []error{nil}},
		{"FIOQSIZE", 0x5460, []error{unix.ENOTTY}},
		{"FIGETBSZ", 2, []error{nil, unix.EINVAL}},
		{"FS_IOC_FIEMAP", 0xc020660b, []error{unix.EOPNOTSUPP}},
		{"FICLONE", unix.FICLONE, []error{unix.EBADF}},
		{"FICLONERANGE", unix.FICLONERANGE, []error{unix.EBADF}},
		{"FIDEDUPERANGE", unix.FIDEDUPERANGE, []error{nil, unix.EINVAL}},
		{"FS_IOC_GETFSUUID", 0x80111500, []error{nil, unix.ENOTTY}},
		{"FS_IOC_GETFSSYSFSPATH", 0x80811501, []error{nil, unix.ENOTTY}},
	} {
		attempts = append(attempts, attempt{name: call.name + " of a device that is open for nothing else", try: func(*world) error {
			fd, err := unix.Open(os.DevNull, unix.O_ACCMODE|unix.O_CLOEXEC, 0)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(fd)
			argument := [256]byte{} // no file, no number, or nothing asked for
			if strings.HasPrefix(call.name, "FICLONE") {
				argument[0], argument[1], argument[2], argument[3] = 0xff, 0xff, 0xff, 0xff
			}
			if err := ioctl(fd, call.request, unsafe.Pointer(&argument)); !slices.Contains(call.answers, err) {
				return err
			}
			return nil
		}})
	}
	return attempts
}

var changeAttempts = []attempt{
	{name: "creat", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("secret/new"), unix.O_CREAT|unix.O_WRONLY) }},
	{name: "creat where it can read", try: func(w *world) error {
		return openAt(unix.AT_FDCWD, w.at("allowed/new"), unix.O_CREAT|unix.O_WRONLY)
	}},
	{name: "O_TMPFILE", try: func(w *world) error { return openAt(unix.AT_FDCWD, w.at("secret"), unix.O_TMPFILE|unix.O_WRONLY) }},
	{name: "mkdir", try: func(w *world) error { return unix.Mkdir(w.at("secret/new dir"), 0o700) }},
	{name: "mkfifo", try: func(w *world) error { return unix.Mkfifo(w.at("secret/fifo"), 0o600) }},
	{name: "make a socket", try: func(w *world) error {
		return bind(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: w.at("secret/socket")})
	}},
	{name: "mknod of a device", by: byRoot, try: func(w *world) error {
		return unix.Mknod(w.at("secret/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	}},
	{name: "mknod of a whiteout where it may move files from", try: func(w *world) error {
		return unix.Mknod(w.at("from/whiteout"), unix.S_IFCHR, 0)
	}},
	{name: "symlink", try: func(w *world) error { return unix.Symlink("file", w.at("secret/new link")) }},
	{name: "link to where it can read", try: func(w *world) error { return unix.Link(w.at("secret/file"), w.at("allowed/link")) }},
	{name: "link of an O_PATH descriptor", try: func(w *world) error {
		return withPath(w.at("secret/file"), func(fd int) error {
			return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, w.at("allowed/link of path"), unix.AT_SYMLINK_FOLLOW)
		})
	}},
	{name: "link of a file without a name", in: inWrite, needs: "files without names on this file system", try: func(w *world) error {
		return withFile(w.at("own"), unix.O_TMPFILE|unix.O_WRONLY, func(fd int) error {
			return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, w.at("own/named"), unix.AT_SYMLINK_FOLLOW)
		})
	}},
	{name: "creat where it may write", in: inWrite, try: func(w *world) error {
		return openAt(unix.AT_FDCWD, w.at("own/new"), unix.O_CREAT|unix.O_WRONLY)
	}},
	{name: "link to its own directory", in: inOwn, try: func(w *world) error { return unix.Link(w.at("secret/file"), w.at("own/hard link")) }},
	{name: "rename", try: func(w *world) error { return unix.Rename(w.at("secret/old"), w.at("secret/renamed")) }},
	{name: "rename into its own directory", in: inOwn, try: func(w *world) error {
		return unix.Rename(w.at("secret/empty"), w.at("own/empty"))
	}},
	{name: "exchange with a file of its own", in: inOwn, try: func(w *world) error {
		return unix.Renameat2(unix.AT_FDCWD, w.at("secret/file"), unix.AT_FDCWD, w.at("own/file"), unix.RENAME_EXCHANGE)
	}},
	{name: "unlink", try: func(w *world) error { return unix.Unlink(w.at("secret/removed")) }},
	{name: "rmdir", try: func(w *world) error { return unix.Rmdir(w.at("secret/dir")) }},
}

var metadataAttempts = []attempt{
	{name: "chmod", try: func(w *world) error { return unix.Chmod(w.at("allowed/file"), 0o600) }},
	{name: "chmod of what it cannot read", try: func(w *world) error { return unix.Chmod(w.at("secret"), 0o700) }},
	{name: "chown", try: func(w *world) error { return unix.Lchown(w.at("secret"), os.Getuid(), os.Getgid()) }},
	{name: "utimensat", try: func(w *world) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, w.at("secret"), make([]unix.Timespec, 2), 0)
	}},
	{name: "setxattr", needs: "attributes of users on this file system", try: func(w *world) error {
		return unix.Setxattr(w.at("allowed/file"), "user.landlock", []byte("x"), 0)
	}},
	{name: "set flags of a file", needs: "file flags on this file system", try: func(w *world) error {
		return withFile(w.at("allowed/file"), unix.O_RDONLY, func(fd int) error {
			flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
			return inTurn(err, func() error { return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags) })
		})
	}},
	{name: "set an ACL", needs: "ACLs on this file system", try: func(w *world) error {
		const owner, group, others, nobody = 1, 4, 0x20, -1
		type entry struct {
			Tag, Permissions uint16
			ID               int32
		}
		acl, err := binary.Append(nil, binary.LittleEndian, struct {
			Version uint32
			Entries [3]entry
		}{2, [3]entry{{owner, 6, nobody}, {group, 4, nobody}, {others, 0, nobody}}})
		if err != nil {
			return err
		}
		return unix.Setxattr(w.at("allowed/file"), "system.posix_acl_access", acl, 0)
	}},
}

var reachAttempts = []attempt{
	{name: "PTRACE_ATTACH", try: func(w *world) error {
		return apart(func() error {
			return w.each(func(k task) error {
				return inTurn(unix.PtraceAttach(k.Thread), func() error { return letGo(k.Thread) })
			})
		})
	}},
	{name: "PTRACE_SEIZE", try: func(w *world) error {
		return apart(func() error {
			return w.each(func(k task) error {
				return inTurn(unix.PtraceSeize(k.Thread),
					func() error { return unix.PtraceInterrupt(k.Thread) },
					func() error { return letGo(k.Thread) })
			})
		})
	}},
	{name: "process_vm_readv", try: func(w *world) error {
		return w.each(func(k task) error {
			local, remote := w.memory(make([]byte, 1))
			_, err := unix.ProcessVMReadv(k.Thread, local, remote, 0)
			return granted(err)
		})
	}},
	{name: "process_vm_writev", try: func(w *world) error {
		return w.each(func(k task) error {
			local, remote := w.memory([]byte(w.Dir[:1])) // what is there already
			_, err := unix.ProcessVMWritev(k.Thread, local, remote, 0)
			return granted(err)
		})
	}},
	{name: "pidfd_getfd", try: func(w *world) error {
		return w.eachDescriptor(func(pidfd int) error {
			fd, err := unix.PidfdGetfd(pidfd, 0, 0)
			unix.Close(fd)
			return err
		})
	}},
	{name: "kcmp", needs: "kcmp", try: func(w *world) error {
		const files = 2
		return w.each(func(k task) error {
			_, err := number(unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(k.Thread), files, 0, 0, 0))
			return err
		})
	}},
	{name: "PIDFD_GET_UTS_NAMESPACE", needs: "Linux 6.11", try: func(w *world) error {
		const getUTS = 0xff0a
		return w.eachDescriptor(func(pidfd int) error {
			fd, err := number(unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), getUTS, 0))
			unix.Close(fd)
			return err
		})
	}},
	{name: "setns", by: byRoot, try: func(w *world) error {
		return apart(func() error {
			return w.eachDescriptor(func(pidfd int) error { return unix.Setns(pidfd, unix.CLONE_NEWUTS) })
		})
	}},
	{name: "perf_event_open of others", by: byOthers, needs: "kernel.perf_event_paranoid of 2 or less", try: func(w *world) error {
		return w.each(func(k task) error { return countTime(k.Thread, -1) })
	}},
}

var namespaceAttempts = []attempt{
	{name: "setns to a namespace that is found from its own", by: byRoot, needs: "NS_MNT_GET_NEXT (Linux 6.12)", try: func(w *world) error {
		return inOwnMounts(func() error {
			const next, previous = 0x8010b70b, 0x8010b70c // NS_MNT_GET_NEXT and PREV
			fd, err := findMounts(w.Mounts, previous)
			if err == unix.ENOENT { // the parent's may have the higher number
				fd, err = findMounts(w.Mounts, next)
			}
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Setns(fd, unix.CLONE_NEWNS)
		})
	}},
	{name: "setns to a namespace of a file handle", by: byRoot, needs: "handles of namespaces (Linux 6.18)", try: func(w *world) error {
		const kind, root = 0xf1, -10003
		return apart(func() error {
			if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
				return ready(err)
			}
			fd, err := unix.OpenByHandleAt(root, unix.NewFileHandle(kind, w.UTS), unix.O_RDONLY|unix.O_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Setns(fd, unix.CLONE_NEWUTS)
		})
	}},
}

// findMounts opens the namespace of mounts that has the number, beginning with this
// thread's own and going on as the request does.
func findMounts(wanted uint64, request uintptr) (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == nil {
		if id, _ := namespaceID(fd); id == wanted {
			return fd, nil
		}
		var following int
		following, err = number(unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(new([2]uint64)))))
		unix.Close(fd)
		fd = following
	}
	return -1, err
}

// namespaceID returns the kernel's number of a namespace of mounts.
func namespaceID(fd int) (id uint64, err error) {
	err = ioctl(fd, unix.NS_GET_MNTNS_ID, unsafe.Pointer(&id))
	return id, err
}

var rootReachAttempts = append(memoryAttempts(inProc, byRoot), attempt{
	name: "process_madvise", by: byRoot, needs: "process_madvise", try: func(w *world) error {
		const cold = 20
		page := unix.RemoteIovec{Base: w.Memory &^ uintptr(os.Getpagesize()-1), Len: os.Getpagesize()}
		return w.eachDescriptor(func(pidfd int) error {
			_, err := number(unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(pidfd), uintptr(unsafe.Pointer(&page)), 1, cold, 0, 0))
			return granted(err)
		})
	},
})

// memoryAttempts are those on files of processes that tell of their memory.
func memoryAttempts(in, by string) (attempts []attempt) {
	for _, name := range []string{"environ", "auxv", "maps", "smaps", "smaps_rollup", "numa_maps", "pagemap"} {
		a := procAttempt(in, by, name)
		a.needs = "a kernel with this file"
		attempts = append(attempts, a)
	}
	a := procListAttempt(in, by, "map_files")
	a.needs = "a kernel with this directory"
	return append(attempts, a)
}

// procAttempts are those on files of processes that only who may trace them
// can open, in any sandbox.
func procAttempts() (attempts []attempt) {
	for _, name := range []string{"mem", "root", "cwd", "exe", "fd/0", "ns/uts"} {
		attempts = append(attempts, procAttempt(inStrict, "", name), procAttempt(inProc, "", name))
	}
	attempts = slices.Concat(attempts, memoryAttempts(inStrict, ""), memoryAttempts(inProc, byOthers))
	return append(attempts, attempt{name: "readlink of /proc/PID/exe", try: func(w *world) error {
		return w.each(func(k task) error {
			_, err := unix.Readlink(k.proc("exe"), make([]byte, 10))
			return gone(err)
		})
	}})
}

func procAttempt(in, by, name string) attempt {
	return attempt{name: "open /proc/PID/" + name + ", " + in, in: in, by: by, try: func(w *world) error {
		return w.each(func(k task) error { return gone(openAt(unix.AT_FDCWD, k.proc(name), unix.O_RDONLY|unix.O_NONBLOCK)) })
	}}
}

// procListAttempt is for a directory that processes have, and threads not.
func procListAttempt(in, by, name string) attempt {
	return attempt{name: "list /proc/PID/" + name + ", " + in, in: in, by: by, try: func(w *world) error {
		return w.eachProcess(func(k task) error {
			dir, err := os.Open(fmt.Sprintf("/proc/%d/%s", k.Process, name))
			if err == nil {
				defer dir.Close()
				_, err = dir.Readdirnames(0)
			}
			return bare(err)
		})
	}}
}

// bare returns the error number that package os has wrapped.
func bare(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return gone(errno)
	}
	return err
}

func procReadAttempts() []attempt {
	attempts := []attempt{procListAttempt(inProc, "", "fd")}
	for _, name := range []string{"cmdline", "mountinfo", "net/tcp"} {
		attempts = append(attempts, procAttempt(inProc, "", name))
	}
	return attempts
}

// procWriteAttempts set what is set already, the marks of pages and the counts of
// the scheduler apart.
func procWriteAttempts() (attempts []attempt) {
	for _, file := range [][2]string{{"oom_score_adj", ""}, {"coredump_filter", "0x33"}, {"autogroup", "0"}, {"clear_refs", "1"}, {"sched", "0"}} {
		name, text := file[0], []byte(file[1])
		attempts = append(attempts, attempt{name: "write /proc/PID/" + name, in: inProcWrite, needs: "a kernel with this file", try: func(w *world) error {
			return w.eachProcess(func(k task) error {
				path, value := fmt.Sprintf("/proc/%d/%s", k.Process, name), text
				var err error
				if len(text) == 0 {
					value, err = os.ReadFile(path) // what is there already
				}
				err = inTurn(err, func() error { return os.WriteFile(path, value, 0) })
				if errors.Is(err, unix.EAGAIN) { // it is not set so often
					return nil
				}
				return bare(err)
			})
		}})
	}
	return attempts
}

func (k task) proc(name string) string {
	return fmt.Sprintf("/proc/%d/task/%d/%s", k.Process, k.Thread, name)
}

// reachOwn does to this process and to a child of its own what must not be done
// to others.
func reachOwn(w *world) error {
	cmd := exec.Command(testenv.Self(), "wait")
	cmd.Env = append(os.Environ(), childTry+"=1")
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err := inTurn(err, cmd.Start); err != nil {
		return err
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	child := cmd.Process.Pid
	local, remote := w.memory(make([]byte, 1))
	remote[0].Base = uintptr(unsafe.Pointer(&parentMemory))
	_, self := unix.ProcessVMReadv(os.Getpid(), local, remote, 0)
	_, other := unix.ProcessVMReadv(child, local, remote, 0)
	return errors.Join(self, granted(other), unix.Kill(os.Getpid(), 0), unix.Kill(child, 0),
		apart(func() error { return unix.Tgkill(os.Getpid(), os.Getpid(), 0) }),
		apart(func() error { return inTurn(unix.PtraceAttach(child), func() error { return letGo(child) }) }))
}

// Signal 0 asks whether another one might be sent.
var signalAttempts = []attempt{
	{name: "kill", try: func(w *world) error { return w.eachProcess(func(k task) error { return unix.Kill(k.Process, 0) }) }},
	{name: "kill of a process group", try: func(w *world) error { return unix.Kill(-w.Prey[preyOwned], 0) }},
	{name: "tkill", try: func(w *world) error {
		return w.each(func(k task) error {
			_, err := number(unix.Syscall(unix.SYS_TKILL, uintptr(k.Thread), 0, 0))
			return err
		})
	}},
	{name: "tgkill", try: func(w *world) error { return w.each(func(k task) error { return unix.Tgkill(k.Process, k.Thread, 0) }) }},
	{name: "rt_sigqueueinfo", try: func(w *world) error {
		return w.each(func(k task) error {
			_, err := number(unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(k.Thread), 0, uintptr(unsafe.Pointer(queued()))))
			return err
		})
	}},
	{name: "rt_tgsigqueueinfo", try: func(w *world) error {
		return w.each(func(k task) error {
			_, err := number(unix.Syscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(k.Process), uintptr(k.Thread), 0, uintptr(unsafe.Pointer(queued())), 0, 0))
			return err
		})
	}},
	{name: "pidfd_send_signal", try: func(w *world) error {
		return w.eachDescriptor(func(pidfd int) error { return unix.PidfdSendSignal(pidfd, 0, nil, 0) })
	}},
	{name: "F_SETOWN", seen: killed(preyOwned), try: func(w *world) error {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		for _, set := range [][2]int{{unix.F_SETOWN, w.Prey[preyOwned]}, {unix.F_SETSIG, int(unix.SIGKILL)}, {unix.F_SETFL, unix.O_ASYNC}} {
			if _, err := unix.FcntlInt(uintptr(fds[0]), set[0], set[1]); err != nil {
				return err
			}
		}
		_, err = unix.Write(fds[1], []byte("x"))
		return err
	}},
}

var sharedAttempts = []attempt{
	{name: "shmat", needs: "System V shared memory", try: func(w *world) error { _, err := unix.SysvShmAttach(w.Segment, 0, 0); return err }},
	{name: "msgsnd", needs: "System V queues", try: func(w *world) error {
		message := [2]uintptr{1} // of type 1, and empty
		_, err := number(unix.Syscall6(unix.SYS_MSGSND, uintptr(w.Messages), uintptr(unsafe.Pointer(&message)), 0, unix.IPC_NOWAIT, 0, 0))
		return err
	}},
	{name: "msgrcv", needs: "System V queues", try: func(w *world) error {
		var message [2]uintptr
		_, err := number(unix.Syscall6(unix.SYS_MSGRCV, uintptr(w.Messages), uintptr(unsafe.Pointer(&message)), 0, 0, unix.IPC_NOWAIT, 0))
		return err
	}},
	{name: "semctl", needs: "System V semaphores", try: func(w *world) error {
		const setValue = 16
		_, err := number(unix.Syscall6(unix.SYS_SEMCTL, uintptr(w.Counter), 0, setValue, 1, 0, 0))
		return err
	}},
}

var mountAttempts = []attempt{
	{name: "mount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error { return unix.Mount("tmpfs", w.at("own"), "tmpfs", 0, "") })
	}},
	{name: "bind mount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error { return unix.Mount(w.at("secret"), w.at("allowed"), "", unix.MS_BIND, "") })
	}},
	{name: "remount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error {
			return unix.Mount("", w.at("allowed/mount"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOEXEC, "")
		})
	}},
	{name: "umount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error { return unix.Unmount(w.at("allowed/mount"), unix.MNT_DETACH) })
	}},
	{name: "move_mount", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error {
			mount, err := unix.OpenTree(unix.AT_FDCWD, w.at("secret"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(mount)
			return unix.MoveMount(mount, "", unix.AT_FDCWD, w.at("allowed"), unix.MOVE_MOUNT_F_EMPTY_PATH)
		})
	}},
	{name: "reconfigure a file system", by: byRoot, try: func(w *world) error {
		fd, err := unix.Fspick(unix.AT_FDCWD, w.at("allowed/mount"), unix.FSPICK_CLOEXEC)
		if err != nil {
			return ready(err)
		}
		defer unix.Close(fd)
		return inTurn(ready(unix.FsconfigSetFlag(fd, "rw")), func() error { return unix.FsconfigReconfigure(fd) })
	}},
	{name: "pivot_root", by: byRoot, needs: "a root that is no initramfs", try: func(w *world) error {
		return inOwnMounts(func() error { return unix.PivotRoot(w.at("allowed/mount"), w.at("allowed/mount/old")) })
	}},
	{name: "mount in a user namespace of its own", needs: "user namespaces for this user", try: func(w *world) error {
		return run(testenv.Self(), unix.CLONE_NEWUSER|unix.CLONE_NEWNS, "mount="+w.at("own"))
	}},
}

const openTreeNamespace = 1 << 1 // OPEN_TREE_NAMESPACE, which x/sys/unix lacks

var mountFlagAttempts = []attempt{
	{name: "mount_setattr", by: byRoot, needs: "mount_setattr (Linux 5.12)", try: func(w *world) error {
		return inOwnMounts(func() error {
			return unix.MountSetattr(unix.AT_FDCWD, w.at("allowed/mount"), 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOEXEC})
		})
	}},
	{name: "open_tree", by: byRoot, try: func(w *world) error {
		return inOwnMounts(func() error {
			mount, err := unix.OpenTree(unix.AT_FDCWD, w.at("secret"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			unix.Close(mount)
			return err
		})
	}},
	{name: "open_tree as a namespace", by: byRoot, needs: "OPEN_TREE_NAMESPACE", try: func(w *world) error {
		mounts, err := unix.OpenTree(unix.AT_FDCWD, w.at("secret"), openTreeNamespace|unix.OPEN_TREE_CLOEXEC)
		unix.Close(mounts)
		return err
	}},
	{name: "fsmount", by: byRoot, try: func(*world) error {
		mount, err := newMount()
		unix.Close(mount)
		return err
	}},
	{name: "chroot", by: byRoot, try: func(w *world) error {
		return apart(func() error {
			return inTurn(unix.Unshare(unix.CLONE_FS), func() error { return unix.Chroot(w.at("secret")) })
		})
	}},
	// Of a tmpfs, which cannot be frozen, and answers that only to who might.
	{name: "FIFREEZE", by: byRoot, try: func(w *world) error {
		const freeze = 0xc0045877
		fd, err := unix.Open(w.at("allowed/mount"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var stat unix.Statfs_t
		if err := unix.Fstatfs(fd, &stat); err != nil || int64(stat.Type) != unix.TMPFS_MAGIC {
			return fmt.Errorf("not a tmpfs: %v", err)
		}
		if err := ioctl(fd, freeze, nil); err != unix.EOPNOTSUPP {
			return err
		}
		return nil
	}},
}

// The prey of a scene: processes in groups of their own.
const (
	preyOwned       = "F_SETOWN"
	preyInterrupted = "SIGINT"
	preyStopped     = "SIGTTIN"
	preyJoined      = "CLONE_PARENT"
)

// adopted reports whether this process has a child that another one has made, in
// the group of a prey.
func adopted(s *scene) error {
	hunted := s.hunted[preyJoined]
	hunted.stdin.Close() // so that it ends: the group has a child to wait for
	for {
		process, err := unix.Wait4(-hunted.cmd.Process.Pid, nil, 0, nil)
		if err != unix.EINTR && process != hunted.cmd.Process.Pid {
			return err // ECHILD, where there was the prey alone
		}
	}
}

// killed reports whether a prey of the scene has been killed.
func killed(prey string) func(s *scene) error {
	return func(s *scene) error {
		hunted := s.hunted[prey]
		hunted.stdin.Close()
		hunted.cmd.Wait()
		if status := hunted.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			return unix.EPERM
		}
		return nil
	}
}

// stopped reports whether a prey of the scene has been stopped.
func stopped(prey string) func(s *scene) error {
	return func(s *scene) error {
		hunted := s.hunted[prey]
		hunted.stdin.Close() // so that it ends, if it can
		status, err := waitUntraced(hunted.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if !status.Stopped() {
			return unix.EPERM
		}
		return hunted.cmd.Process.Signal(unix.SIGCONT)
	}
}

// What a terminal is asked for its kind, and answers as if it were typed.
const (
	whoAreYou = "\x1b[c"
	itIsMe    = "\x1b[?1;2c"
)

var terminalAttempts = []attempt{
	{name: "have who reads stopped, by making another group the foreground one", try: func(w *world) error {
		return inForeground(w, preyInterrupted, func() error { return nil })
	}},
	{name: "interrupt by what the terminal answers", seen: killed(preyInterrupted), try: func(w *world) error {
		return inForeground(w, preyInterrupted, func() error {
			pidfd, err := unix.PidfdOpen(w.Prey[preyInterrupted], 0)
			if err != nil {
				return ready(err)
			}
			defer unix.Close(pidfd)
			settings, err := unix.IoctlGetTermios(fdTerminal, unix.TCGETS)
			if err != nil {
				return err
			}
			settings.Cc[unix.VINTR] = itIsMe[len(itIsMe)-1]
			return inTurn(unix.IoctlSetTermios(fdTerminal, unix.TCSETS, settings),
				func() error { _, err := unix.Write(fdTerminal, []byte(whoAreYou)); return err },
				func() error { return awaitEnd(pidfd) })
		})
	}},
	{name: "stop by reading in the background", seen: stopped(preyStopped), try: func(w *world) error {
		cmd := exec.Command(testenv.Self(), "terminal")
		cmd.Env = append(os.Environ(), childTry+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.NewFile(fdTerminal, "terminal"), os.Stderr, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: w.Prey[preyStopped]}
		if err := cmd.Start(); err != nil {
			return err
		}
		status, err := waitUntraced(cmd.Process.Pid)
		if err == nil && status.StopSignal() != unix.SIGTTIN {
			err = fmt.Errorf("the reader ended with %#x", status)
		}
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}},
	{name: "be told of another size of the terminal", seen: hears(unix.SIGWINCH), try: func(*world) error {
		size, err := unix.IoctlGetWinsize(fdTerminal, unix.TIOCGWINSZ)
		if err != nil {
			return err
		}
		size.Row++
		return unix.IoctlSetWinsize(fdTerminal, unix.TIOCSWINSZ, size)
	}},
	{name: "hang the terminal up", by: byRoot, seen: hears(unix.SIGHUP), try: func(*world) error {
		_, err := number(unix.Syscall(unix.SYS_VHANGUP, 0, 0, 0))
		return err
	}},
}

// inForeground runs f while a prey's group has the terminal.
func inForeground(w *world, prey string, f func() error) error {
	signal.Ignore(unix.SIGTTOU) // this process is in the background meanwhile
	give := func(group int) error { return unix.IoctlSetPointerInt(fdTerminal, unix.TIOCSPGRP, group) }
	if err := give(w.Prey[prey]); err != nil {
		return err
	}
	return errors.Join(f(), give(w.Foreground))
}

// waitUntraced waits until a child has stopped or ended.
func waitUntraced(process int) (status unix.WaitStatus, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(process, &status, unix.WUNTRACED, nil)
	}
	return status, err
}

// awaitEnd waits for the end of a process.
func awaitEnd(pidfd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 10_000)
		switch {
		case n == 0 && err == nil:
			return unix.ETIMEDOUT
		case err != unix.EINTR:
			return err
		}
	}
}

// What follows makes system calls for the attempts.

func number(value, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(value), nil
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	_, err := number(unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)))
	return err
}

// inTurn returns err, or else that of the first step that fails.
func inTurn(err error, steps ...func() error) error {
	for _, step := range steps {
		if err != nil {
			return err
		}
		err = step()
	}
	return err
}

// ready is for what an attempt needs: where that fails nothing was refused.
func ready(err error) error {
	if err != nil {
		err = fmt.Errorf("not even tried: %v", err)
	}
	return err
}

// apart runs f on a thread that ends with it.
func apart(f func() error) error {
	result := make(chan error, 1)
	osthread.Take(func() (reusable bool) {
		result <- f()
		return false
	})
	return <-result
}

// inOwnMounts runs f on a thread with mounts of its own.
func inOwnMounts(f func() error) error {
	return apart(func() error { return inTurn(ready(unix.Unshare(unix.CLONE_NEWNS)), f) })
}

func openAt(dir int, path string, flags int) error {
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// withFile opens a path that it can.
func withFile(path string, flags int, f func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return ready(err)
	}
	defer unix.Close(fd)
	return f(fd)
}

// withPath opens a path with O_PATH, which no right is for.
func withPath(path string, f func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ready(err)
	}
	defer unix.Close(fd)
	return f(fd)
}

// gone makes ESRCH of what /proc says of a thread that has ended.
func gone(err error) error {
	if err == unix.ENOENT {
		return unix.ESRCH
	}
	return err
}

// granted takes an address that does not exist for success: whoever may not
// have the memory is not told that.
func granted(err error) error {
	if err == unix.EFAULT || err == unix.ENOMEM {
		return nil
	}
	return err
}

func readSecret(fd int) error {
	text := make([]byte, 20)
	n, err := unix.Pread(fd, text, 0)
	if err == nil && string(text[:n]) != "secret/file" {
		err = fmt.Errorf("read %q", text[:n])
	}
	return err
}

// run runs this test binary under a path, and in new namespaces, as a program
// that tries what its arguments say.
func run(path string, flags uintptr, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), childTry+"=1")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	if flags != 0 { // it keeps this capability when it executes the program
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}}
	}
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		_, outcome, _ := strings.Cut(line, ": ")
		for errno := unix.Errno(1); errno < 200 && outcome != "ok\n"; errno++ {
			if unix.ErrnoName(errno)+"\n" == outcome {
				return errno
			}
		}
	}
	return err
}

// runMemfd runs a copy of this test binary from memory.
func runMemfd(*world) error {
	program, err := os.Open(testenv.Self())
	if err != nil {
		return err
	}
	defer program.Close()
	number, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	writable := os.NewFile(uintptr(number), "program")
	if _, err := io.Copy(writable, program); err != nil {
		return err
	}
	readable, err := os.Open(fmt.Sprint("/proc/self/fd/", number)) // what is open to write cannot be run
	if err != nil {
		return err
	}
	defer readable.Close()
	writable.Close()
	return run(fmt.Sprint("/proc/self/fd/", readable.Fd()), 0)
}

func withSocket(domain, kind, protocol int, f func(fd int) error) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return ready(err)
	}
	defer unix.Close(fd)
	return f(fd)
}

func connect(domain, kind, protocol int, address unix.Sockaddr) error {
	return withSocket(domain, kind, protocol, func(fd int) error { return unix.Connect(fd, address) })
}

func bind(domain, kind, protocol int, address unix.Sockaddr) error {
	return withSocket(domain, kind, protocol, func(fd int) error { return unix.Bind(fd, address) })
}

func send(domain, kind, protocol int, address unix.Sockaddr, flags int) error {
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // an ICMP one, where that matters
	return withSocket(domain, kind, protocol, func(fd int) error { return unix.Sendto(fd, echo, flags, address) })
}

func local(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

// mapped is local, in the words of IPv6.
func mapped(port int) *unix.SockaddrInet6 {
	return &unix.SockaddrInet6{Port: port, Addr: [16]byte{10: 0xff, 0xff, 127, 0, 0, 1}}
}

// unspecified is local without a family, which Linux takes for one of IPv4.
func unspecified(port int) *unix.RawSockaddrInet4 {
	a := &unix.RawSockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.Port))[:], uint16(port))
	return a
}

// sendUnspecified sends by UDP to an address without a family.
func sendUnspecified(domain, port int) error {
	return withSocket(domain, unix.SOCK_DGRAM, 0, func(fd int) error {
		text, to := [1]byte{}, unspecified(port)
		_, err := number(unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&text)), 1, 0, uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to)))
		return err
	})
}

func openQueue(name string, flags int) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	return number(unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), uintptr(flags|unix.O_CLOEXEC), 0o600, 0, 0, 0))
}

func removeQueue(name string) error {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, err = number(unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(path)), 0, 0))
	return err
}

// newMount mounts a file system nowhere.
func newMount() (int, error) {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
}

// letGo ends the tracing of a thread that is about to stop for it. Signals that
// come first go on to the thread: were it let go at one of them, the SIGSTOP of
// PTRACE_ATTACH would stop its process.
func letGo(thread int) error {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(thread, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || !status.Stopped():
			return err
		case status.StopSignal() == unix.SIGSTOP || status>>16 == unix.PTRACE_EVENT_STOP:
			return unix.PtraceDetach(thread)
		default:
			if err := unix.PtraceCont(thread, int(status.StopSignal())); err != nil {
				return err
			}
		}
	}
}

// memory is where a thread of the parent has parentMemory, as a vector.
func (w *world) memory(own []byte) ([]unix.Iovec, []unix.RemoteIovec) {
	local := make([]unix.Iovec, 1)
	if len(own) > 0 {
		local[0].Base = &own[0]
	}
	local[0].SetLen(len(own))
	return local, []unix.RemoteIovec{{Base: w.Memory, Len: len(own)}}
}

// eachProcess is each for the first thread of every process.
func (w *world) eachProcess(try func(k task) error) error {
	return w.each(func(k task) error {
		if k.Thread != k.Process {
			return unix.ESRCH
		}
		return try(k)
	})
}

// eachDescriptor is each with a descriptor of the thread. Before Linux 6.9 only
// the first thread of a process can have one.
func (w *world) eachDescriptor(try func(pidfd int) error) error {
	return w.each(func(k task) error {
		pidfd, err := pidfdOf(k)
		if err != nil {
			return err
		}
		defer unix.Close(pidfd)
		return try(pidfd)
	})
}

func pidfdOf(k task) (int, error) {
	flags := 0
	if k.Thread != k.Process {
		flags = unix.O_EXCL // PIDFD_THREAD
	}
	pidfd, err := unix.PidfdOpen(k.Thread, flags)
	if err == unix.EINVAL {
		err = unix.ESRCH
	}
	return pidfd, err
}

// queued is a siginfo_t as sigqueue makes it.
func queued() *[32]int32 { return &[32]int32{0, -1, -1} } // si_code is the second or third number

// countTime makes a performance event of a thread, or of all on a processor.
func countTime(thread, processor int) error {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK,
		Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, thread, processor, -1, unix.PERF_FLAG_FD_CLOEXEC)
	unix.Close(fd)
	return err
}

// ringParams is struct io_uring_params.
type ringParams struct {
	SQEntries, CQEntries, Flags, ThreadCPU, ThreadIdle, Features, WQ uint32
	_                                                                [3]uint32
	SQ                                                               struct {
		Head, Tail, Mask, Entries, Flags, Dropped, Array, _ uint32
		_                                                   uint64
	}
	CQ struct {
		Head, Tail, Mask, Entries, Overflow, CQEs, Flags, _ uint32
		_                                                   uint64
	}
}

const ringPolled = 1 << 1 // IORING_SETUP_SQPOLL: a thread of the maker's takes the requests

// setUp makes a ring.
func (p *ringParams) setUp() (fd int, err error) {
	return number(unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(p)), 0))
}

// open opens a file through a ring. The path is an address in the memory of the
// ring's maker.
func (p *ringParams) open(ring, dir int, path uintptr, flags uint32) error {
	return p.submit(ring, ringOpenat, dir, path, flags)
}

const (
	ringOpenat  = 18
	ringCommand = 46
)

// submit has a ring carry out one request.
func (p *ringParams) submit(ring int, request byte, fd int, address uintptr, flags uint32) error {
	if p.SQ.Array == 0 {
		return unix.ENOSYS // it was not made
	}
	const (
		submissions, completions, entries = 0, 0x8000000, 0x10000000 // offsets
		getEvents, wakeUp                 = 1, 2
	)
	var maps [3][]byte
	for i, offset := range []int64{submissions, completions, entries} {
		var err error
		if maps[i], err = unix.Mmap(ring, offset, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return err
		}
		defer unix.Munmap(maps[i])
	}
	sq, cq, entry := maps[0], maps[1], maps[2]
	word := func(m []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&m[offset])) }
	order := binary.NativeEndian
	entry[0] = request
	order.PutUint32(entry[4:], uint32(fd))
	order.PutUint64(entry[16:], uint64(address))
	if request == ringOpenat {
		order.PutUint32(entry[24:], 0o600)
	}
	order.PutUint32(entry[28:], flags)
	*word(sq, p.SQ.Array) = 0
	atomic.AddUint32(word(sq, p.SQ.Tail), 1)
	for atomic.LoadUint32(word(cq, p.CQ.Tail)) == 0 {
		_, err := number(unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), 1, 1, getEvents|wakeUp, 0, 0))
		if err != nil && err != unix.EINTR {
			return err
		}
	}
	result := int32(*word(cq, p.CQ.CQEs+8))
	if result < 0 {
		return unix.Errno(-result)
	}
	return nil
}
