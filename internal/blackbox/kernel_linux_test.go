package blackbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/allthreads"
	"example.com/landlock/internal/allthreads/uring"
	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/testenv"
)

// These tests are of the kernel more than of this package: each holds something
// that the documentation says of Linux against the one that runs it.

// What Probe says is the kernel's own answer.
func TestProbeIsTheKernels(t *testing.T) {
	ask := func(flag uintptr) (int, unix.Errno) {
		answer, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, flag)
		if errno != 0 {
			return 0, errno
		}
		return int(answer), 0
	}
	abi, errno := ask(unix.LANDLOCK_CREATE_RULESET_VERSION)
	want, known := map[unix.Errno]error{0: nil, unix.ENOSYS: landlock.ErrNotBuilt, unix.EOPNOTSUPP: landlock.ErrDisabled, unix.EPERM: landlock.ErrBlocked}[errno]
	if !known {
		t.Fatalf("landlock_create_ruleset: %v", errno)
	}
	errata, _ := ask(unix.LANDLOCK_CREATE_RULESET_ERRATA) // EINVAL where it cannot be asked
	if kernel, err := landlock.Probe(); err != want || kernel != (landlock.Kernel{ABI: landlock.ABI(abi), Errata: landlock.Errata(errata)}) {
		t.Errorf("Probe: %v, %v, want ABI %d, errata %#x, %v", kernel, err, abi, errata, want)
	}
}

// A whiteout, the device that overlayfs leaves where a file was removed, takes
// the right to make files where erratum 4 is mended, and else that to make
// devices.
func TestWhiteouts(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		needed, other := landlock.FSMakeChar, landlock.FSMakeReg
		if kernel.Errata&landlock.ErratumWhiteouts != 0 {
			needed, other = other, needed
		}
		for right, want := range map[landlock.AccessFS]error{needed: nil, other: unix.EACCES} {
			folder := filepath.Join(dir, right.String())
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar | landlock.FSMakeReg}).Allow(right, folder))
			err := s.Do(func() error { return unix.Mknod(filepath.Join(folder, "whiteout"), unix.S_IFCHR, 0) })
			if !errors.Is(err, want) {
				t.Errorf("with %v alone, erratum 4 mended %t: %v, want %v", right, needed == landlock.FSMakeReg, err, want)
			}
		}
	})
}

// Moves between directories are denied by layers with filesystem rights. Layers
// without leave them alone by themselves, but not beside one that has some.
func TestMovesNeedFilesystemRights(t *testing.T) {
	someFS := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar})
	someNet := landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectTCP})
	scope := landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeAbstractUnixSocket})
	movable := func(dir string) *landlock.Ruleset {
		return landlock.NewHandling(landlock.Rights{FS: landlock.FSRefer}).Allow(landlock.FSRefer, dir)
	}
	for _, test := range []struct {
		name   string
		needed landlock.ABI
		layers func(dir string) []*landlock.Ruleset
		want   error
	}{
		{"a filesystem right", landlock.V1, func(string) []*landlock.Ruleset { return []*landlock.Ruleset{someFS} }, unix.EXDEV},
		{"network rights", landlock.V4, func(string) []*landlock.Ruleset { return []*landlock.Ruleset{someNet} }, nil},
		{"scopes", landlock.V6, func(string) []*landlock.Ruleset { return []*landlock.Ruleset{scope} }, nil},
		{"both", landlock.V6, func(string) []*landlock.Ruleset { return []*landlock.Ruleset{someNet, scope} }, nil},
		{"moves allowed", landlock.V2, func(dir string) []*landlock.Ruleset { return []*landlock.Ruleset{movable(dir)} }, nil},
		{"moves allowed, above network rights", landlock.V4, func(dir string) []*landlock.Ruleset { return []*landlock.Ruleset{someNet, movable(dir)} }, unix.EXDEV},
		{"moves allowed, below network rights", landlock.V4, func(dir string) []*landlock.Ruleset { return []*landlock.Ruleset{movable(dir), someNet} }, unix.EXDEV},
		{"moves allowed, below scopes", landlock.V6, func(dir string) []*landlock.Ruleset { return []*landlock.Ruleset{movable(dir), scope} }, unix.EXDEV},
		{"moves allowed, below a filesystem right", landlock.V2, func(dir string) []*landlock.Ruleset { return []*landlock.Ruleset{movable(dir), someFS} }, unix.EXDEV},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.NeedABI(t, test.needed)
			prepare := func(t *testing.T, dir string) {
				testenv.Write(t, filepath.Join(dir, "from", "file"), "text")
				testenv.Write(t, filepath.Join(dir, "to", "other"), "text")
			}
			testenv.InChild(t, prepare, func(t *testing.T, dir string) {
				for _, r := range test.layers(dir) {
					enforceOnThread(t, testenv.MustPrepare(t, r))
				}
				if err := os.Rename(filepath.Join(dir, "from", "file"), filepath.Join(dir, "to", "file")); !errors.Is(err, test.want) {
					t.Errorf("move: %v, want %v", err, test.want)
				}
			})
		})
	}
}

// The TCP rights are for TCP proper. Before erratum 1 was mended they met
// Multipath TCP too.
func TestMultipathTCP(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	socket := func() (int, error) {
		return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	}
	fd, err := socket()
	if err != nil {
		t.Skip("needs Multipath TCP: ", err)
	}
	unix.Close(fd)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		var want error
		if kernel, _ := landlock.Probe(); kernel.Errata&landlock.ErratumTCPSockets == 0 {
			want = unix.EACCES
		}
		listener, err := listenTCP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		address := &unix.SockaddrInet4{Port: listener.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP | landlock.NetConnectTCP}))
		if _, err := net.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, want) {
			t.Errorf("net.Listen: %v, want %v", err, want)
		}
		if _, err := net.Dial("tcp", listener.Addr().String()); !errors.Is(err, unix.EACCES) {
			t.Errorf("connect by TCP: %v, want EACCES", err)
		}
		for name, try := range map[string]func(fd int) error{
			"connect": func(fd int) error { return unix.Connect(fd, address) },
			"bind":    func(fd int) error { return unix.Bind(fd, &unix.SockaddrInet4{}) },
		} {
			fd, err := socket()
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := try(fd); !errors.Is(err, want) {
				t.Errorf("%s by Multipath TCP: %v, want %v", name, err, want)
			}
		}
		// net.Listen makes such a socket first: with the filter it goes on to TCP.
		if noFilter() != nil {
			return
		}
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP}).FilterSockets())
		if _, err := socket(); err != unix.EPROTONOSUPPORT {
			t.Errorf("a socket of Multipath TCP, with the filter: %v, want EPROTONOSUPPORT", err)
		}
		if _, err := net.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, unix.EACCES) {
			t.Errorf("net.Listen, with the filter: %v, want EACCES", err)
		}
	})
}

// A rule is for a file, under all its names, and not for a name.
func TestRulesFollowFiles(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"file", "new file", "dir/old", "new dir/new", "elsewhere/linked"} {
			testenv.Write(t, filepath.Join(dir, name), name)
		}
		if err := os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "elsewhere", "link")); err != nil {
			t.Fatal(err)
		}
	}
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("file", "dir"))
		for _, move := range [][2]string{{"file", "renamed"}, {"new file", "file"}, {"dir", "renamed dir"}, {"new dir", "dir"}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Write(t, "renamed dir/newer", "newer")
		for name, want := range map[string]error{
			"renamed": nil, "elsewhere/link": nil, "renamed dir/old": nil, "renamed dir/newer": nil,
			"file": unix.EACCES, "dir/new": unix.EACCES, "elsewhere/linked": unix.EACCES,
		} {
			if _, err := os.ReadFile(name); !errors.Is(err, want) {
				t.Errorf("read %s: %v, want %v", name, err, want)
			}
		}
	})
}

// A rule is lost where the file system makes another inode for its file, once
// nothing uses the old one and memory gets short: procfs does, tracefs for events,
// and overlayfs for hard links of a lower layer. An open descriptor keeps it. Who
// lost a rule is denied.
func TestRulesThatAreLost(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	if os.Getuid() != 0 {
		t.Skip("needs root, to have the kernel forget files")
	}
	testenv.InChildAs(t, inNamespaces(t)[:1], nil, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		tracing := mountAt(t, filepath.Join(dir, "tracing"), "tracefs", "")
		merged := overlay(t, dir)
		process := fmt.Sprint("/proc/", waiting(t, (*exec.Cmd).Start))
		own := testenv.Write(t, filepath.Join(dir, "file"), "text")
		rules := []lostRule{
			{"all of procfs", "/proc", "/proc/meminfo", false},
			{"a file of procfs", "/proc/meminfo", "/proc/meminfo", true},
			{"a directory of procfs", "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv4/conf/all/forwarding", true}, // of this network, so that nobody else uses it
			{"a process", process, process + "/status", true},
			{"sysfs", "/sys/kernel", "/sys/kernel/uevent_seqnum", false},
			{"a disk, or memory", own, own, false},
			{"tracefs", tracing + "/trace_options", tracing + "/trace_options", false},
			{"events of tracefs", tracing + "/events/sched", tracing + "/events/sched/enable", kernel.ABI >= landlock.V4}, // since Linux 6.6
			{"overlayfs", merged + "/single", merged + "/single", false},
			{"a hard link on overlayfs", merged + "/linked", merged + "/linked", true},
		}
		rules = slices.DeleteFunc(rules, func(r lostRule) bool {
			_, err := os.Stat(r.file)
			if err != nil {
				t.Logf("%s: not in this kernel: %v", r.name, err)
			}
			return err != nil
		})
		checkLost(t, rules, false)
		checkLost(t, rules, true)
	})
}

// lostRule is a rule, a file that it is for, and whether it can be lost.
type lostRule struct {
	name, path, file string
	lost             bool
}

// checkLost has the kernel forget files, and compares which rules are lost. None
// is where descriptors are held.
func checkLost(t *testing.T, rules []lostRule, held bool) {
	t.Helper()
	readable := map[string]func() error{}
	for _, r := range rules {
		file := openPathOnly(t, r.path)
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowFile(landlock.FSReadFile, file))
		if held {
			defer file.Close()
		} else {
			file.Close()
		}
		readable[r.name] = func() error { return s.Do(func() error { _, err := os.ReadFile(r.file); return err }) }
		if err := readable[r.name](); err != nil {
			t.Errorf("%s, before: %v", r.name, err)
		}
	}
	wrong := func(r lostRule) bool {
		want := error(nil)
		if r.lost && !held {
			want = unix.EACCES
		}
		return !errors.Is(readable[r.name](), want)
	}
	for n := 0; n < 3 || n < 50 && slices.ContainsFunc(rules, wrong); n++ {
		must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0)) // the kernel need not forget all at once
	}
	for _, r := range rules {
		if wrong(r) {
			t.Errorf("%s, with a descriptor held: %t: %v, want it lost: %t", r.name, held, readable[r.name](), r.lost && !held)
		}
	}
}

// What is beneath /proc/PID/net gets another inode at each look, so a rule for a
// file there allows nothing from the beginning.
func TestRulesOnProcNet(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		const file = "/proc/self/net/dev"
		for rule, want := range map[string]error{file: unix.EACCES, "/proc": nil} {
			s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, rule))
			if err := s.Do(func() error { _, err := os.ReadFile(file); return err }); !errors.Is(err, want) {
				t.Errorf("read %s by a rule for %s: %v, want %v", file, rule, err, want)
			}
		}
	})
}

// overlay mounts an overlayfs, where the kernel has it: "single" has one name in
// the lower layer, and "linked" two.
func overlay(t *testing.T, dir string) (merged string) {
	t.Helper()
	testenv.Write(t, filepath.Join(dir, "lower", "single"), "text")
	must(t, os.Link(testenv.Write(t, filepath.Join(dir, "lower", "linked"), "text"), filepath.Join(dir, "lower", "other")))
	for _, name := range []string{"upper", "work"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	return mountAt(t, filepath.Join(dir, "merged"), "overlay",
		fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work,index=off", dir))
}

// mountAt mounts a file system on a new directory, where the kernel has it.
func mountAt(t *testing.T, path, kind, data string) string {
	t.Helper()
	must(t, os.Mkdir(path, 0o700))
	unix.Mount(kind, path, kind, 0, data)
	return path
}

func openPathOnly(t *testing.T, path string) *os.File {
	t.Helper()
	return os.NewFile(uintptr(mustGet[int](t)(unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0))), path)
}

// A socket is of the domain that it was made in: one that this process made
// before is outside of it afterwards.
func TestSocketsMadeBefore(t *testing.T) {
	for _, test := range []struct {
		name    string
		since   landlock.ABI
		rights  landlock.Rights
		address string
		want    error
	}{
		{"abstract", landlock.V6, landlock.Rights{Scope: landlock.ScopeAbstractUnixSocket}, "@%s/", unix.EPERM},
		{"by path", landlock.V9, landlock.Rights{FS: landlock.FSResolveUnix}, "%s/", unix.EACCES},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.NeedABI(t, test.since)
			testenv.InChild(t, nil, func(t *testing.T, dir string) {
				address := func(name string) string { return fmt.Sprintf(test.address, dir) + name }
				listen := func(when string) {
					stream := mustGet[net.Listener](t)(net.Listen("unix", address(when)))
					datagram := mustGet[net.PacketConn](t)(net.ListenPacket("unixgram", address(when+" datagram")))
					t.Cleanup(func() { stream.Close(); datagram.Close() })
				}
				listen("before")
				connected := mustGet[net.Conn](t)(net.Dial("unixgram", address("before datagram")))
				defer connected.Close()
				enforceOnThread(t, testenv.MustPrepare(t, landlock.NewHandling(test.rights)))
				listen("after")
				for when, want := range map[string]error{"before": test.want, "after": nil} {
					if err := connect(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: address(when)}); !errors.Is(err, want) {
						t.Errorf("connect to a socket made %s: %v, want %v", when, err, want)
					}
					if err := send(unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: address(when + " datagram")}, 0); !errors.Is(err, want) {
						t.Errorf("send to a socket made %s: %v, want %v", when, err, want)
					}
				}
				if _, err := connected.Write([]byte("text")); err != nil {
					t.Errorf("send to what was connected before: %v", err)
				}
			})
		})
	}
}

// To send to an address without a family is denied on IPv6 sockets, whatever the
// rules are: the kernel takes it for no address, and would ask for no port.
func TestUnspecifiedUDP(t *testing.T) {
	testenv.NeedABI(t, landlock.V10)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		conn := mustGet[net.PacketConn](t)(net.ListenPacket("udp4", "127.0.0.1:0"))
		defer conn.Close()
		port := conn.LocalAddr().(*net.UDPAddr).Port
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectSendUDP}).AllowSendUDP(uint16(port)))
		for domain, want := range map[int]error{unix.AF_INET: nil, unix.AF_INET6: unix.EACCES} {
			if err := sendUnspecified(domain, port); !errors.Is(err, want) {
				t.Errorf("send on a socket of family %d: %v, want %v", domain, err, want)
			}
		}
	})
}

// What keeps a child from signalling others by a terminal: neither a session of
// its own nor the lack of a descriptor by itself, but both.
func TestTerminalThatIsNotShared(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		kernel, _ := landlock.Probe()
		ownSession(t)
		controller, terminal := openTerminal(t)
		s := &scene{t: t}
		s.shareTerminal(controller, terminal)
		defer s.clear()
		for _, test := range []struct {
			name   string
			setsid bool
			stdin  *os.File
			try    string
			sends  unix.Signal  // 0: it fails
			below  landlock.ABI // 0: on every kernel
		}{
			{"its session and a descriptor", false, terminal, "resize", unix.SIGWINCH, 0},
			{"a descriptor", true, terminal, "resize", unix.SIGWINCH, 0},
			{"its session, by /dev/tty", false, nil, "resize=/dev/tty", unix.SIGWINCH, landlock.V5},
			{"neither, by /dev/tty", true, nil, "resize=/dev/tty", 0, 0},
			{"neither, by its name", true, nil, "resize=" + terminal.Name(), unix.SIGWINCH, landlock.V5},
			{"a descriptor, and an answer", true, terminal, "interrupt", unix.SIGINT, 0},
		} {
			r := runnable(bestForChildren()).Allow(landlock.FSReadFile|landlock.FSWriteFile, "/dev/tty", terminal.Name(), os.DevNull)
			cmd, out := try(test.try)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: test.setsid}
			if test.stdin != nil {
				cmd.Stdin = test.stdin
			}
			must(t, testenv.MustPrepare(t, r).Run(cmd))
			works := test.sends != 0 && (test.below == 0 || kernel.ABI < test.below)
			if got := strings.HasSuffix(out.String(), ": ok\n"); got != works {
				t.Errorf("with %s: %s, want it to work: %v", test.name, out, works)
			} else if works {
				if err := hears(test.sends)(s); err != nil {
					t.Errorf("with %s: %v", test.name, err)
				}
			}
		}
	})
}

// What a kernel cannot restrict stays allowed, and the Report says so.
func TestMissingRightsStayAllowed(t *testing.T) {
	for _, test := range []struct {
		since landlock.ABI
		right landlock.Rights
		try   func(dir string) error
	}{
		{landlock.V3, landlock.Rights{FS: landlock.FSTruncate}, func(dir string) error { return os.Truncate(filepath.Join(dir, "file"), 0) }},
		{landlock.V4, landlock.Rights{Net: landlock.NetBindTCP}, func(string) error {
			listener, err := listenTCP("127.0.0.1:0")
			if err == nil {
				listener.Close()
			}
			return err
		}},
		{landlock.V5, landlock.Rights{FS: landlock.FSIoctlDev}, func(string) error {
			device, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer device.Close()
			if _, err = unix.IoctlGetTermios(int(device.Fd()), unix.TCGETS); err == unix.ENOTTY {
				err = nil // what the device itself answers
			}
			return err
		}},
		{landlock.V9, landlock.Rights{FS: landlock.FSResolveUnix}, func(dir string) error {
			conn, err := net.Dial("unix", filepath.Join(dir, "socket"))
			if err == nil {
				conn.Close()
			}
			return err
		}},
		{landlock.V10, landlock.Rights{Net: landlock.NetBindUDP}, func(string) error {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err == nil {
				conn.Close()
			}
			return err
		}},
	} {
		t.Run(test.since.String(), func(t *testing.T) {
			testenv.NeedABI(t, landlock.V1)
			testenv.NeedBelow(t, test.since)
			prepare := func(t *testing.T, dir string) { populate(t, dir, landlock.FSResolveUnix) }
			testenv.InChild(t, prepare, func(t *testing.T, dir string) {
				_, err := landlock.New(test.since).Apply()
				if unsupported, ok := errors.AsType[*landlock.UnsupportedError](err); !ok || minus(test.right, unsupported.Missing) != (landlock.Rights{}) {
					t.Errorf("strict Apply: %v, want %v to be missing", err, test.right)
				}
				report := testenv.MustApply(t, landlock.New(test.since).BestEffort(landlock.V1).AllowReadWrite(os.DevNull))
				if minus(test.right, report.Missing) != (landlock.Rights{}) || report.Complete() {
					t.Errorf("%v, want %v to be missing", report, test.right)
				}
				if _, err := os.ReadFile(filepath.Join(dir, "file")); !errors.Is(err, unix.EACCES) {
					t.Errorf("what the kernel can restrict: %v, want EACCES", err)
				}
				if err := test.try(dir); err != nil {
					t.Errorf("what it cannot: %v", err)
				}
			})
		})
	}
}

// waiting starts a child that waits until the test ends.
func waiting(t *testing.T, start func(*exec.Cmd) error) (pid int) {
	t.Helper()
	cmd, _ := try("wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	return cmd.Process.Pid
}

// Whom a child of a Sandbox reaches: each has a domain of its own.
func TestScopesOfChildren(t *testing.T) {
	testenv.NeedABI(t, landlock.V6)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		for scope, want := range map[landlock.Scope]string{landlock.ScopeSignal: "ok", landlock.ScopeAbstractUnixSocket: "EPERM"} {
			cmd, out := try("unix=@" + dir)
			if err := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{Scope: scope})).Run(cmd); err != nil || out.String() != lines("unix=@"+dir+": "+want) {
				t.Errorf("scope %v, connect to the parent's abstract socket: %v: %s, want %s", scope, err, out, want)
			}
		}
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal}))
		sandboxed := waiting(t, s.Start)
		if err := unix.Kill(sandboxed, 0); err != nil {
			t.Errorf("to a sandboxed child: %v", err)
		}
		free := waiting(t, (*exec.Cmd).Start)
		cmd, out := try("family", fmt.Sprint("signal=", sandboxed), fmt.Sprint("signal=", free), fmt.Sprint("signal=", os.Getpid()))
		err = s.Run(cmd)
		want := []string{"family: ok"} // a child to its own child, and that one to it
		for _, pid := range []int{sandboxed, free, os.Getpid()} {
			want = append(want, fmt.Sprintf("signal=%d: EPERM", pid))
		}
		if err != nil || out.String() != lines(want...) {
			t.Errorf("from a sandboxed child to its family, another child of the Sandbox, a free one and the parent: %v\n%swant\n%s", err, out, lines(want...))
		}
	})
}

// A process that has applied a ruleset goes on to start sandboxed children: the
// paths of their rules need not be allowed to it, and give the child no more
// than the process has.
func TestSandboxAfterApply(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		own, secret := filepath.Join(dir, "own"), filepath.Join(dir, "secret")
		testenv.MustApply(t, runnable(landlock.New(landlock.V1)).AllowRead(own).AllowReadWrite("/dev/null"))
		s := testenv.MustPrepare(t, runnable(landlock.New(landlock.V1)).AllowRead(secret).AllowReadWrite(own))
		cmd, out := try("read="+filepath.Join(own, "file"), "write="+filepath.Join(own, "file"), "read="+secret)
		if err := s.Run(cmd); err != nil || !strings.Contains(out.String(), "own/file: ok\nwrite") || strings.Count(out.String(), ": EACCES\n") != 2 {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// With one domain for all threads it does not matter which of them signals, and
// which of them has started a child.
func TestSignalsAfterApply(t *testing.T) {
	testenv.NeedABI(t, landlock.V8)
	testenv.InBoth(t, func(t *testing.T, _ string) {
		before := waiting(t, (*exec.Cmd).Start)
		outside, said := try("wait", fmt.Sprint("signal=", os.Getpid()))
		stdin, err := outside.StdinPipe()
		if err := errors.Join(err, outside.Start()); err != nil {
			t.Fatal(err)
		}
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal}))
		stdin.Close()
		if err := outside.Wait(); err != nil || strings.Count(said.String(), ": ok") != 2 {
			t.Errorf("from a process outside: %v: %s", err, said)
		}
		after := onItsOwnThread(func() int { return waiting(t, (*exec.Cmd).Start) })
		for range 10 {
			onItsOwnThread(func() int {
				for pid, want := range map[int]error{before: unix.EPERM, after: nil, os.Getpid(): nil} {
					if err := unix.Kill(pid, 0); !errors.Is(err, want) {
						t.Errorf("signal %d of %d (before), %d (after): %v, want %v", pid, before, after, err, want)
					}
				}
				return 0
			})
		}
		cmd, out := try(fmt.Sprint("signal=", after), fmt.Sprint("signal=", os.Getpid()))
		if err := cmd.Run(); err != nil || strings.Count(out.String(), ": ok") != 2 {
			t.Errorf("from a child to a brother and to the parent: %v: %s", err, out)
		}
	})
}

// Where each thread has a domain of its own, it is by chance who may signal a
// child: this is why Apply enforces no scope below ABI 8.
func TestSignalsOfThreads(t *testing.T) {
	testenv.NeedABI(t, landlock.V6)
	testenv.InBoth(t, func(t *testing.T, _ string) {
		kernel, _ := landlock.Probe()
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal}))
		child := onItsOwnThread(func() int {
			enforceOnThread(t, s)
			pid := waiting(t, (*exec.Cmd).Start)
			if err := unix.Kill(pid, 0); err != nil {
				t.Errorf("from a thread to its child: %v", err)
			}
			return pid
		})
		if err := unix.Kill(child, 0); err != nil {
			t.Errorf("from a free thread to a restricted thread's child: %v", err)
		}
		onItsOwnThread(func() int {
			enforceOnThread(t, s)
			if err := unix.Kill(child, 0); err != unix.EPERM {
				t.Errorf("from a thread to another thread's child: %v, want EPERM", err)
			}
			var want error
			if kernel.Errata&landlock.ErratumScopedSignals == 0 {
				want = unix.EPERM
			}
			if err := unix.Kill(os.Getpid(), 0); !errors.Is(err, want) {
				t.Errorf("from a thread to its process: %v, want %v", err, want)
			}
			return 0
		})
	})
}

// Below ABI 8 any Apply gives each thread a domain of its own, whatever the ruleset
// handles: none looks into a child that another has started. From there on all do.
func TestLookingIntoChildrenAfterApply(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		kernel, _ := landlock.Probe()
		// A thread that is made later has the domain of the one that makes it.
		starter, other := lockedThread(t), lockedThread(t)
		check := func(who string, child int, want bool) {
			for call, err := range lookInto(child) {
				want := want || call == "kill" || strings.HasPrefix(call, "read ")
				if works := err == nil; works != want || !works && !errors.Is(err, fs.ErrPermission) {
					t.Errorf("%s, %s: %v, want it to work: %t", who, call, err, want)
				}
			}
		}
		var before, after int
		starter(func() { before = waiting(t, (*exec.Cmd).Start) })
		other(func() { check("another thread, before Apply", before, true) })
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		starter(func() {
			check("a child of before Apply", before, false)
			after = waiting(t, (*exec.Cmd).Start)
			check("the thread that has started it", after, true)
		})
		other(func() {
			check("another thread", after, kernel.ABI >= landlock.V8)
			check("another thread, its own child", waiting(t, (*exec.Cmd).Start), true)
			if _, err := os.Readlink("/proc/self/exe"); err != nil {
				t.Errorf("another thread, its own process: %v", err)
			}
		})
	})
}

// lockedThread returns what runs a function on a thread that is there from now on.
func lockedThread(t *testing.T) (run func(f func())) {
	work, done := make(chan func()), make(chan bool)
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
			done <- true
		}
	}()
	t.Cleanup(func() { close(work) })
	run = func(f func()) {
		work <- f
		<-done
	}
	run(func() {})
	return run
}

// trace attaches to a child, and lets go of it.
func trace(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(pid)
}

// lookInto returns what the kernel answers to this thread about a process.
func lookInto(pid int) map[string]error {
	proc := fmt.Sprintf("/proc/%d/", pid)
	answers := map[string]error{"kill": unix.Kill(pid, 0)}
	for _, name := range []string{"stat", "status", "cmdline", "uid_map"} {
		_, answers["read "+name] = os.ReadFile(proc + name)
	}
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err != nil || scope[0] < '2' {
		answers["ptrace"] = trace(pid)
	}
	for _, name := range []string{"exe", "cwd", "root", "fd/0", "ns/net"} {
		_, answers["readlink "+name] = os.Readlink(proc + name)
	}
	mem, err := os.Open(proc + "mem")
	if answers["open mem"] = err; err == nil {
		mem.Close()
	}
	if os.Getuid() != 0 { // Linux 6.12 refuses it to root too, 6.18 does not
		_, answers["open environ"] = os.ReadFile(proc + "environ")
		_, answers["open maps"] = os.ReadFile(proc + "maps")
	}
	local := make([]byte, 1)
	_, err = unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &local[0], Len: 1}}, []unix.RemoteIovec{{Len: 1}}, 0)
	if err == unix.EFAULT { // it may, and there is nothing at address 0
		err = nil
	}
	answers["process_vm_readv"] = err
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		defer unix.Close(fd)
		taken, err := unix.PidfdGetfd(fd, 0, 0)
		if answers["pidfd_getfd"] = err; err == nil {
			unix.Close(taken)
		}
	}
	const vm = 1 // KCMP_VM
	if _, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(pid), vm, 0, 0, 0); errno == unix.EPERM {
		answers["kcmp"] = errno
	} else if errno != unix.ENOSYS {
		answers["kcmp"] = nil
	}
	return answers
}

// onItsOwnThread runs f on a thread that ends with it.
func onItsOwnThread(f func() int) int {
	result := make(chan int, 1)
	osthread.Take(func() (reusable bool) {
		result <- f()
		return false
	})
	return <-result
}

// What an io_uring kept of the time before Apply stays unrestricted: registered
// credentials, and a thread that looks for requests. Its other requests are
// those of the thread that submits them, and restricted.
func TestRingsMadeBefore(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		path := testenv.Write(t, filepath.Join(dir, "file"), "")
		ring := newRing(t, 0)
		before, err := ring.Register()
		if err != nil {
			t.Fatalf("io_uring_register: %v", err)
		}
		for _, flags := range []uint8{0, uring.Async} {
			if err := ring.Open(path, flags, 0); err != nil {
				t.Fatalf("before Apply, flags %#x: %v", flags, err)
			}
		}
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSWriteFile}))
		for _, flags := range []uint8{0, uring.Async} {
			if err := ring.Open(path, flags, 0); err != unix.EACCES {
				t.Errorf("after Apply, flags %#x: %v, want EACCES", flags, err)
			}
			if err := ring.Open(path, flags, before); err != nil {
				t.Errorf("with credentials registered before, flags %#x: %v, want what README says: that it works", flags, err)
			}
		}
		if err := newRing(t, uring.SetupSQPoll).Open(path, 0, 0); err != unix.EACCES {
			t.Errorf("with a thread made after Apply: %v, want EACCES", err)
		}
	})
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		path := testenv.Write(t, filepath.Join(dir, "file"), "")
		ring := newRing(t, uring.SetupSQPoll)
		_, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSWriteFile}).Apply()
		if kernel, _ := landlock.Probe(); kernel.ABI >= landlock.V8 || !allthreads.Supported {
			if err != nil {
				t.Fatalf("Apply: %v", err)
			}
			if _, err := os.OpenFile(path, os.O_WRONLY, 0); !errors.Is(err, unix.EACCES) {
				t.Errorf("open: %v, want EACCES", err)
			}
		} else if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "IORING_SETUP_SQPOLL") {
			t.Errorf("Apply: %v, want EBUSY, and that IORING_SETUP_SQPOLL is why", err)
		}
		if err := ring.Open(path, 0, 0); err != nil {
			t.Errorf("with a thread made before Apply: %v, want what README says: that it works", err)
		}
	})
}

func newRing(t *testing.T, flags uint32) *uring.Ring {
	t.Helper()
	ring, err := uring.New(flags)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("needs io_uring: %v", err)
	}
	if err != nil {
		t.Fatalf("io_uring_setup: %v", err)
	}
	return ring
}

// The right to truncate empties a file without the right to write it.
func TestTruncateAlone(t *testing.T) {
	testenv.NeedABI(t, landlock.V3)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		path := testenv.Write(t, filepath.Join(dir, "file"), "text")
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSWriteFile | landlock.FSTruncate}).Allow(landlock.FSTruncate, dir))
		for name, try := range map[string]func() error{
			"truncate":         func() error { return os.Truncate(path, 0) },
			"O_RDONLY|O_TRUNC": func() error { return openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_TRUNC) },
		} {
			if err := try(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := openAt(unix.AT_FDCWD, path, unix.O_WRONLY); err != unix.EACCES {
			t.Errorf("open to write: %v, want EACCES", err)
		}
	})
}

// What is on no file system that can be mounted is not restricted: it is opened
// anew by way of /proc.
func TestUnmountableIsFree(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		path := testenv.Write(t, filepath.Join(dir, "file"), "text")
		file := mustGet[*os.File](t)(os.Open(path))
		defer file.Close()
		memory := mustGet[int](t)(unix.MemfdCreate("memory", unix.MFD_CLOEXEC))
		defer unix.Close(memory)
		reader, writer, err := os.Pipe()
		must(t, err)
		defer reader.Close()
		defer writer.Close()
		reopen := func(fd uintptr, flags int) error {
			return openAt(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), flags)
		}
		pipe, regular := writer.Fd(), file.Fd()
		testenv.MustApply(t, landlock.New(landlock.V1))
		if err := errors.Join(reopen(uintptr(memory), unix.O_RDWR), reopen(pipe, unix.O_RDWR)); err != nil {
			t.Errorf("open a memory file and a pipe anew: %v", err)
		}
		if err := reopen(regular, unix.O_RDONLY); err != unix.EACCES {
			t.Errorf("open a file anew: %v, want EACCES", err)
		}
	})
}
