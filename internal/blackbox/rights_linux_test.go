package blackbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// Each filesystem right, alone: what it is for works where a rule allows it and
// is refused where none does.
func TestEachRightFS(t *testing.T) {
	errno := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	worked := func(err error) bool { return err == nil }
	mknod := func(mode uint32, dev int) func(dir string) error {
		return func(dir string) error { return unix.Mknod(filepath.Join(dir, "new"), mode|0o600, dev) }
	}
	open := func(flags int) func(dir string) error {
		return func(dir string) error {
			file, err := os.OpenFile(filepath.Join(dir, "file"), flags, 0o600)
			if err == nil {
				file.Close()
			}
			return err
		}
	}
	tests := []struct {
		right   landlock.AccessFS
		try     func(dir string) error
		denied  error
		allowed func(error) bool
		root    bool
	}{
		{right: landlock.FSExecute, try: func(dir string) error {
			cmd := exec.Command(filepath.Join(dir, "program"))
			cmd.Env = []string{childTry + "=1"}
			return cmd.Run()
		}},
		{right: landlock.FSWriteFile, try: open(os.O_WRONLY)},
		{right: landlock.FSReadFile, try: open(os.O_RDONLY)},
		{right: landlock.FSReadDir, try: func(dir string) error { _, err := os.ReadDir(dir); return err }},
		{right: landlock.FSRemoveDir, try: func(dir string) error { return unix.Rmdir(filepath.Join(dir, "empty")) }},
		{right: landlock.FSRemoveFile, try: func(dir string) error { return unix.Unlink(filepath.Join(dir, "file")) }},
		{right: landlock.FSMakeChar, try: mknod(unix.S_IFCHR, 1<<8|3), root: true},
		{right: landlock.FSMakeDir, try: func(dir string) error { return os.Mkdir(filepath.Join(dir, "new"), 0o700) }},
		{right: landlock.FSMakeReg, try: mknod(unix.S_IFREG, 0)},
		{right: landlock.FSMakeSock, try: mknod(unix.S_IFSOCK, 0)},
		{right: landlock.FSMakeFifo, try: mknod(unix.S_IFIFO, 0)},
		{right: landlock.FSMakeBlock, try: mknod(unix.S_IFBLK, 7<<8), root: true},
		{right: landlock.FSMakeSym, try: func(dir string) error { return os.Symlink("to", filepath.Join(dir, "new")) }},
		{right: landlock.FSRefer, denied: unix.EXDEV, try: func(dir string) error {
			return os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "empty", "link"))
		}},
		{right: landlock.FSTruncate, try: func(dir string) error { return os.Truncate(filepath.Join(dir, "file"), 0) }},
		{right: landlock.FSIoctlDev, allowed: errno(unix.ENOTTY), try: func(dir string) error {
			file, err := os.Open(filepath.Join(dir, "device"))
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
			return err
		}},
		{right: landlock.FSResolveUnix, try: func(dir string) error {
			conn, err := net.Dial("unix", filepath.Join(dir, "socket"))
			if err == nil {
				conn.Close()
			}
			return err
		}},
	}
	if len(tests) != bits.OnesCount64(uint64(landlock.V11.FS())) {
		t.Errorf("%d rights are tested, there are %d", len(tests), bits.OnesCount64(uint64(landlock.V11.FS())))
	}
	for _, test := range tests {
		t.Run(test.right.String(), func(t *testing.T) {
			first := landlock.V1
			for first.FS()&test.right == 0 {
				first++
			}
			testenv.NeedABI(t, first)
			denied, allowed := errno(fs.ErrPermission), worked
			if test.denied != nil {
				denied = errno(test.denied)
			}
			if test.allowed != nil {
				allowed = test.allowed
			}
			prepare := func(t *testing.T, dir string) {
				for _, d := range []string{"yes", "no"} {
					d = filepath.Join(dir, d)
					populate(t, d, test.right)
					if os.Getuid() == 0 || !test.root {
						again := filepath.Join(t.TempDir(), "unrestricted")
						populate(t, again, test.right)
						if err := test.try(again); !allowed(err) {
							t.Errorf("without a sandbox: %v", err)
						}
					}
				}
			}
			testenv.InChild(t, prepare, func(t *testing.T, dir string) {
				if test.root {
					testenv.NeedRoot(t, "without a sandbox too")
				}
				yes, no := filepath.Join(dir, "yes"), filepath.Join(dir, "no")
				r := landlock.NewHandling(landlock.Rights{FS: test.right}).Allow(test.right, yes)
				if test.right == landlock.FSIoctlDev {
					r.Allow(test.right, "/dev/zero") // what yes/device leads to
				}
				if test.right == landlock.FSExecute { // the loader is executed too
					r.AllowOptional(test.right, "/lib", "/lib64", "/usr/lib", "/usr/lib64")
				}
				testenv.MustApply(t, r)
				if err := test.try(no); !denied(err) {
					t.Errorf("where no rule allows it: %v", err)
				}
				if err := test.try(yes); !allowed(err) {
					t.Errorf("where a rule allows it: %v", err)
				}
			})
		})
	}
}

// populate fills dir with one of each thing that a right is about.
func populate(t *testing.T, dir string, right landlock.AccessFS) {
	t.Helper()
	testenv.Write(t, filepath.Join(dir, "file"), "text")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(empty, 0o777)
	switch right {
	case landlock.FSExecute:
		program, err := os.ReadFile(testenv.Self())
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(testenv.Write(t, filepath.Join(dir, "program"), string(program)), 0o755)
	case landlock.FSIoctlDev:
		device := "/dev/null"
		if filepath.Base(dir) == "yes" {
			device = "/dev/zero"
		}
		if err := os.Symlink(device, filepath.Join(dir, "device")); err != nil {
			t.Fatal(err)
		}
	case landlock.FSResolveUnix:
		listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, "socket"), 0o777)
		t.Cleanup(func() { listener.Close() })
	case landlock.FSRefer:
		// Linking another user's file is refused by fs.protected_hardlinks.
		os.Chown(filepath.Join(dir, "file"), 65534, 65534)
	}
}

// listenTCP makes plain TCP sockets: Multipath TCP, Go's default for listeners, passes
// the kernel's TCP rules.
func listenTCP(address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), "tcp", address)
}

func TestEachRightNet(t *testing.T) {
	listen := func(t *testing.T) (net.Listener, uint16) {
		listener, err := listenTCP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener, uint16(listener.Addr().(*net.TCPAddr).Port)
	}
	address := func(port uint16) string { return fmt.Sprint("127.0.0.1:", port) }
	t.Run("connect_tcp", func(t *testing.T) {
		testenv.NeedABI(t, landlock.V4)
		testenv.InChild(t, nil, func(t *testing.T, _ string) {
			open, openPort := listen(t)
			defer open.Close()
			shut, shutPort := listen(t)
			defer shut.Close()
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectTCP}).AllowConnectTCP(openPort))
			if conn, err := net.Dial("tcp", address(openPort)); err != nil {
				t.Errorf("connect to the allowed port: %v", err)
			} else {
				conn.Close()
			}
			if _, err := net.Dial("tcp", address(shutPort)); !errors.Is(err, unix.EACCES) {
				t.Errorf("connect to another port: %v, want EACCES", err)
			}
			if l, err := listenTCP(address(0)); err != nil {
				t.Errorf("listen, which is not handled: %v", err)
			} else {
				l.Close()
			}
		})
	})
	t.Run("bind_tcp", func(t *testing.T) {
		testenv.NeedABI(t, landlock.V4)
		testenv.InChild(t, nil, func(t *testing.T, _ string) {
			first, allowed := listen(t)
			second, denied := listen(t) // beside it, or it could be the same
			first.Close()
			second.Close()
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP}).AllowBindTCP(allowed, 0))
			if l, err := listenTCP(address(allowed)); err != nil {
				t.Errorf("listen on the allowed port: %v", err)
			} else {
				l.Close()
			}
			if l, err := listenTCP(address(0)); err != nil {
				t.Errorf("listen on any port: %v", err)
			} else {
				l.Close()
			}
			if _, err := listenTCP(address(denied)); !errors.Is(err, unix.EACCES) {
				t.Errorf("listen on another port: %v, want EACCES", err)
			}
		})
	})
	t.Run("udp", func(t *testing.T) {
		testenv.NeedABI(t, landlock.V10)
		testenv.InChild(t, nil, func(t *testing.T, _ string) {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			port := uint16(server.LocalAddr().(*net.UDPAddr).Port)
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindUDP | landlock.NetConnectSendUDP}).
				AllowSendUDP(port).AllowBindUDP(0))
			conn, err := net.Dial("udp", address(port))
			if err != nil {
				t.Fatalf("connect to the allowed port: %v", err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Errorf("send to the allowed port: %v", err)
			}
			unconnected, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatalf("bind to any port: %v", err)
			}
			defer unconnected.Close()
			for to, want := range map[uint16]error{port: nil, port ^ 1: unix.EACCES} {
				if _, err := unconnected.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(to)}); !errors.Is(err, want) {
					t.Errorf("send to port %d, without connecting: %v, want %v", to, err, want)
				}
			}
			if _, err := net.Dial("udp", address(port^1)); !errors.Is(err, unix.EACCES) {
				t.Errorf("connect to another port: %v, want EACCES", err)
			}
			if _, err := net.ListenPacket("udp", address(port^1)); !errors.Is(err, unix.EACCES) {
				t.Errorf("bind to a port: %v, want EACCES", err)
			}
		})
	})
}

// enforceOnThread restricts the calling thread as a child's would be.
func enforceOnThread(t *testing.T, s *landlock.Sandbox) {
	t.Helper()
	runtime.LockOSThread() // for good
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, s.Fd(), 0, 0); errno != 0 {
		t.Fatalf("landlock_restrict_self: %v", errno)
	}
}

func TestEachScope(t *testing.T) {
	testenv.NeedABI(t, landlock.V6)
	prepare := func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	connect := func(dir string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + dir})
	}
	// Signal 0 reaches nobody, and is checked like the others. To itself, since
	// the ordinary user may not signal a parent that is root.
	signal := func(thread int) error { return unix.Tgkill(unix.Getpid(), thread, 0) }
	for _, apply := range []bool{false, true} {
		for _, scope := range []landlock.Scope{0, landlock.ScopeAbstractUnixSocket, landlock.ScopeSignal} {
			t.Run(fmt.Sprintf("%v, apply %v", scope, apply), func(t *testing.T) {
				if apply {
					testenv.NeedABI(t, landlock.V8)
				}
				testenv.InChild(t, prepare, func(t *testing.T, dir string) {
					r := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar, Scope: scope})
					parent := os.Getppid()
					reachable := unix.Kill(parent, 0) == nil
					if apply {
						testenv.MustApply(t, r)
					} else {
						s, err := r.Prepare()
						if err != nil {
							t.Fatal(err)
						}
						defer s.Close()
						enforceOnThread(t, s)
					}
					if err := connect(dir); (err == nil) != (scope != landlock.ScopeAbstractUnixSocket) || err != nil && err != unix.EPERM {
						t.Errorf("connect to the parent's abstract socket: %v", err)
					}
					if err := unix.Kill(parent, 0); reachable && ((err == nil) != (scope != landlock.ScopeSignal) || err != nil && err != unix.EPERM) {
						t.Errorf("signal the parent: %v", err)
					}
					if err := signal(unix.Gettid()); err != nil {
						t.Errorf("signal this thread: %v", err)
					}
				})
			})
		}
	}
}

// Below ABI 8 a scope would cut the threads of a process off from each other.
func TestScopesNeedThreadSync(t *testing.T) {
	testenv.NeedABI(t, landlock.V6)
	testenv.NeedBelow(t, landlock.V8)
	_, err := landlock.New(landlock.V6).Apply()
	if unsupported, ok := errors.AsType[*landlock.UnsupportedError](err); !ok || unsupported.Needed != landlock.V8 || unsupported.Missing != (landlock.Rights{Scope: landlock.V6.Scopes()}) {
		t.Errorf("strict Apply: %v", err)
	}
	testenv.InBoth(t, func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		before := waiting(t, (*exec.Cmd).Start)
		free, out := try("wait", fmt.Sprint("signal=", before), "unix=@"+dir)
		report := testenv.MustApply(t, landlock.New(landlock.V6).BestEffort(landlock.V6).AllowExecute("/").AllowReadWrite(os.DevNull))
		if report.Missing != (landlock.Rights{Scope: landlock.V6.Scopes()}) || report.Enforced.Scope != 0 {
			t.Errorf("report %v", report)
		}
		if err := unix.Kill(before, 0); err != nil {
			t.Errorf("signal a process outside: %v", err)
		}
		if err := free.Run(); err != nil || strings.Count(out.String(), ": ok") != 3 {
			t.Errorf("a child that reaches outside: %v: %s", err, out)
		}
	})
}
