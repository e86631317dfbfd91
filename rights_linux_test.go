package landlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConstants(t *testing.T) {
	for name, pair := range map[string][2]uint64{
		"execute":      {uint64(FSExecute), unix.LANDLOCK_ACCESS_FS_EXECUTE},
		"write_file":   {uint64(FSWriteFile), unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
		"read_file":    {uint64(FSReadFile), unix.LANDLOCK_ACCESS_FS_READ_FILE},
		"read_dir":     {uint64(FSReadDir), unix.LANDLOCK_ACCESS_FS_READ_DIR},
		"remove_dir":   {uint64(FSRemoveDir), unix.LANDLOCK_ACCESS_FS_REMOVE_DIR},
		"remove_file":  {uint64(FSRemoveFile), unix.LANDLOCK_ACCESS_FS_REMOVE_FILE},
		"make_char":    {uint64(FSMakeChar), unix.LANDLOCK_ACCESS_FS_MAKE_CHAR},
		"make_dir":     {uint64(FSMakeDir), unix.LANDLOCK_ACCESS_FS_MAKE_DIR},
		"make_reg":     {uint64(FSMakeReg), unix.LANDLOCK_ACCESS_FS_MAKE_REG},
		"make_sock":    {uint64(FSMakeSock), unix.LANDLOCK_ACCESS_FS_MAKE_SOCK},
		"make_fifo":    {uint64(FSMakeFifo), unix.LANDLOCK_ACCESS_FS_MAKE_FIFO},
		"make_block":   {uint64(FSMakeBlock), unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK},
		"make_sym":     {uint64(FSMakeSym), unix.LANDLOCK_ACCESS_FS_MAKE_SYM},
		"refer":        {uint64(FSRefer), unix.LANDLOCK_ACCESS_FS_REFER},
		"truncate":     {uint64(FSTruncate), unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		"ioctl_dev":    {uint64(FSIoctlDev), unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		"resolve_unix": {uint64(FSResolveUnix), unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},

		"bind_tcp":         {uint64(NetBindTCP), unix.LANDLOCK_ACCESS_NET_BIND_TCP},
		"connect_tcp":      {uint64(NetConnectTCP), unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		"bind_udp":         {uint64(NetBindUDP), unix.LANDLOCK_ACCESS_NET_BIND_UDP},
		"connect_send_udp": {uint64(NetConnectSendUDP), unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP},

		"abstract_unix_socket": {uint64(ScopeAbstractUnixSocket), unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
		"signal":               {uint64(ScopeSignal), unix.LANDLOCK_SCOPE_SIGNAL},

		"log_same_exec_off":  {uint64(LogSameExecOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF},
		"log_new_exec_on":    {uint64(LogNewExecOn), unix.LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON},
		"log_subdomains_off": {uint64(LogSubdomainsOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF},

		"tsync": {uint64(restrictTSYNC), unix.LANDLOCK_RESTRICT_SELF_TSYNC},
		"quiet": {uint64(addRuleQuiet), unix.LANDLOCK_ADD_RULE_QUIET},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %#x, x/sys/unix has %#x", name, pair[0], pair[1])
		}
	}
}

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
		right   AccessFS
		try     func(dir string) error
		denied  error
		allowed func(error) bool
		root    bool
	}{
		{right: FSExecute, try: func(dir string) error {
			cmd := exec.Command(filepath.Join(dir, "program"))
			cmd.Env = []string{childTry + "=1"}
			return cmd.Run()
		}},
		{right: FSWriteFile, try: open(os.O_WRONLY)},
		{right: FSReadFile, try: open(os.O_RDONLY)},
		{right: FSReadDir, try: func(dir string) error { _, err := os.ReadDir(dir); return err }},
		{right: FSRemoveDir, try: func(dir string) error { return unix.Rmdir(filepath.Join(dir, "empty")) }},
		{right: FSRemoveFile, try: func(dir string) error { return unix.Unlink(filepath.Join(dir, "file")) }},
		{right: FSMakeChar, try: mknod(unix.S_IFCHR, 1<<8|3), root: true},
		{right: FSMakeDir, try: func(dir string) error { return os.Mkdir(filepath.Join(dir, "new"), 0o700) }},
		{right: FSMakeReg, try: mknod(unix.S_IFREG, 0)},
		{right: FSMakeSock, try: mknod(unix.S_IFSOCK, 0)},
		{right: FSMakeFifo, try: mknod(unix.S_IFIFO, 0)},
		{right: FSMakeBlock, try: mknod(unix.S_IFBLK, 7<<8), root: true},
		{right: FSMakeSym, try: func(dir string) error { return os.Symlink("to", filepath.Join(dir, "new")) }},
		{right: FSRefer, denied: unix.EXDEV, try: func(dir string) error {
			return os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "empty", "link"))
		}},
		{right: FSTruncate, try: func(dir string) error { return os.Truncate(filepath.Join(dir, "file"), 0) }},
		{right: FSIoctlDev, allowed: errno(unix.ENOTTY), try: func(dir string) error {
			file, err := os.Open(filepath.Join(dir, "device"))
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
			return err
		}},
		{right: FSResolveUnix, try: func(dir string) error {
			conn, err := net.Dial("unix", filepath.Join(dir, "socket"))
			if err == nil {
				conn.Close()
			}
			return err
		}},
	}
	if len(tests) != len(fsWords) {
		t.Errorf("%d rights are tested, there are %d", len(tests), len(fsWords))
	}
	for _, test := range tests {
		t.Run(test.right.String(), func(t *testing.T) {
			needABI(t, lowestABI(Rights{FS: test.right}))
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
			inChild(t, prepare, func(t *testing.T, dir string) {
				if test.root {
					needRoot(t, "without a sandbox too")
				}
				yes, no := filepath.Join(dir, "yes"), filepath.Join(dir, "no")
				r := NewHandling(Rights{FS: test.right}).Allow(test.right, yes)
				if test.right == FSIoctlDev {
					r.Allow(test.right, "/dev/zero") // what yes/device leads to
				}
				if test.right == FSExecute { // the loader is executed too
					r.AllowOptional(test.right, "/lib", "/lib64", "/usr/lib", "/usr/lib64")
				}
				mustApply(t, r)
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
func populate(t *testing.T, dir string, right AccessFS) {
	t.Helper()
	write(t, filepath.Join(dir, "file"), "text")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(empty, 0o777)
	switch right {
	case FSExecute:
		program, err := os.ReadFile(self())
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(write(t, filepath.Join(dir, "program"), string(program)), 0o755)
	case FSIoctlDev:
		device := "/dev/null"
		if filepath.Base(dir) == "yes" {
			device = "/dev/zero"
		}
		if err := os.Symlink(device, filepath.Join(dir, "device")); err != nil {
			t.Fatal(err)
		}
	case FSResolveUnix:
		listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, "socket"), 0o777)
		t.Cleanup(func() { listener.Close() })
	case FSRefer:
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
		needABI(t, V4)
		inChild(t, nil, func(t *testing.T, _ string) {
			open, openPort := listen(t)
			defer open.Close()
			shut, shutPort := listen(t)
			defer shut.Close()
			mustApply(t, NewHandling(Rights{Net: NetConnectTCP}).AllowConnectTCP(openPort))
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
		needABI(t, V4)
		inChild(t, nil, func(t *testing.T, _ string) {
			first, allowed := listen(t)
			second, denied := listen(t) // beside it, or it could be the same
			first.Close()
			second.Close()
			mustApply(t, NewHandling(Rights{Net: NetBindTCP}).AllowBindTCP(allowed, 0))
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
		needABI(t, V10)
		inChild(t, nil, func(t *testing.T, _ string) {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			port := uint16(server.LocalAddr().(*net.UDPAddr).Port)
			mustApply(t, NewHandling(Rights{Net: NetBindUDP | NetConnectSendUDP}).
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
func enforceOnThread(t *testing.T, s *Sandbox) {
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
	needABI(t, V6)
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
		for _, scope := range []Scope{0, ScopeAbstractUnixSocket, ScopeSignal} {
			t.Run(fmt.Sprintf("%v, apply %v", scope, apply), func(t *testing.T) {
				if apply {
					needABI(t, V8)
				}
				inChild(t, prepare, func(t *testing.T, dir string) {
					r := NewHandling(Rights{FS: FSMakeChar, Scope: scope})
					parent := os.Getppid()
					reachable := unix.Kill(parent, 0) == nil
					if apply {
						mustApply(t, r)
					} else {
						s, err := r.Prepare()
						if err != nil {
							t.Fatal(err)
						}
						defer s.Close()
						enforceOnThread(t, s)
					}
					if err := connect(dir); (err == nil) != (scope != ScopeAbstractUnixSocket) || err != nil && err != unix.EPERM {
						t.Errorf("connect to the parent's abstract socket: %v", err)
					}
					if err := unix.Kill(parent, 0); reachable && ((err == nil) != (scope != ScopeSignal) || err != nil && err != unix.EPERM) {
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
	needABI(t, V6)
	needBelow(t, V8)
	_, err := New(V6).Apply()
	if unsupported, ok := errors.AsType[*UnsupportedError](err); !ok || unsupported.Needed != V8 || unsupported.Missing != (Rights{Scope: V6.Scopes()}) {
		t.Errorf("strict Apply: %v", err)
	}
	inBoth(t, func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		before := waiting(t, (*exec.Cmd).Start)
		free, out := try("wait", fmt.Sprint("signal=", before), "unix=@"+dir)
		report := mustApply(t, New(V6).BestEffort(V6).AllowExecute("/").AllowReadWrite(os.DevNull))
		if report.Missing != (Rights{Scope: V6.Scopes()}) || report.Enforced.Scope != 0 {
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
